"""Runs converted models with onnxruntime on the CPU, the same way for every check of the export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import VerificationError
from edgecnn.golden import as_numbers

from ..backend import reason, require
from ..batches import Arrays, run_in_batches
from ..source import Source
from .samples import Samples


def open_session(model: bytes, *, optimized: bool = True) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        model: the serialized model.
        optimized: let onnxruntime fuse and reorder its nodes, as it does on a device.

    Raises:
        VerificationError: onnxruntime refuses the model.
    """
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise VerificationError(f"onnxruntime refuses the model: {reason(e)}") from e


def run(session: Any, source: Source, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
    """The session's outputs in the order of source.outputs; text as_numbers."""
    names = [t.name for t in source.outputs]

    def infer(arrays: Arrays) -> Arrays:
        feed = {t.name: a for t, a in zip(source.inputs, arrays, strict=True)}
        return [as_numbers(np.asarray(y)) for y in session.run(names, feed)]

    try:
        return run_in_batches(infer, arrays, source.batch)
    except Exception as e:
        sizes = ", ".join(f"{t.name} {list(a.shape)}" for t, a in zip(source.inputs, arrays, strict=True))
        raise VerificationError(f"onnxruntime can't run the model on {sizes}: {reason(e)}") from e


def run_samples(session: Any, source: Source, samples: Samples) -> Arrays:
    """The session's outputs for all samples, one array an output."""
    parts = [run(session, source, chunk) for chunk in samples.chunks()]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
