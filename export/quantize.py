"""Makes a float32 ONNX model smaller: float16 weights, or static int8 as QDQ pairs calibrated on real samples.

Weights are symmetric and per channel, 7 bits wide: with 8, the AVX2 and AVX-512 kernels of CPUs without
VNNI saturate in 16 bits and answer differently from the machine that verified the model (onnxruntime
documentation, "Quantize ONNX models", on reduce_range).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ModelError, VerificationError
from edgecnn.spec import ModelSpec

from .backend import quiet_logs, require
from .batches import Arrays
from .optimize import optimize
from .proof.inference import open_session, run_samples
from .proof.quality import Quality, measure
from .proof.samples import Samples
from .source import Source
from .verify import check_signature

KINDS = ("none", "fp16", "int8", "auto")

CALIBRATION_LIMIT = 256
"""Samples that set the ranges; more hardly moves a minimum or maximum."""

_LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators with weights: where int8 saves size and time."""

_AROUND = (
    "Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat", "Reshape",
    "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Slice", "Split", "Resize",
)  # fmt: skip
"""Operators that may stay in int8 between them. Softmax, Sigmoid and normalisation compute in float."""


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A quantised model and what it cost."""

    model: bytes
    """The serialized ONNX model."""
    kind: str
    """fp16 or int8."""
    quality: Quality
    float_layers: tuple[str, ...]
    """Layers with weights that were left in float32, since the accuracy fell too far with them."""


class TooMuchLostError(VerificationError):
    """Every variant of a quantised model loses more than allowed."""

    def __init__(self, message: str, model: bytes) -> None:
        super().__init__(message)
        self.model = model
        """The variant with all layers quantised."""


def quantize(
    model: Any,
    kind: str,
    *,
    source: Source,
    spec: ModelSpec,
    calibration: Samples,
    judge: Samples,
    max_drop: float,
) -> Quantized:
    """Quantise a verified float32 model so that it loses at most max_drop on the samples of judge.

    int8 is tried on all layers first, then with the last, the first, or both in float32.

    Args:
        model: the float32 onnx.ModelProto.
        kind: "fp16" or "int8".
        calibration: real inputs that set the ranges of int8.
        judge: inputs on which the loss is measured.

    Raises:
        VerificationError: every variant loses more than max_drop.
    """
    before = run_samples(open_session(model.SerializeToString()), source, judge)
    tried: list[str] = []
    first = b""
    for small, left in _variants(model, kind, source, calibration):
        session = open_session(small)
        check_signature(session, source)
        quality = measure(before, run_samples(session, source, judge), spec, judge)
        if quality.drop <= max_drop:
            return Quantized(small, kind, quality, left)
        first = first or small
        tried.append(f"{quality.drop:.4f} with {', '.join(left) or 'no layer'} in float32")
    if not tried:
        raise VerificationError(f"{source.path} has no layer that {kind} could make smaller; use --quantize none")
    raise TooMuchLostError(
        f"{kind} loses more than --max-drop {max_drop:g} on {len(judge)} samples: {'; '.join(tried)}", first
    )


def _variants(model: Any, kind: str, source: Source, calibration: Samples) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    if kind == "fp16":
        yield to_fp16(model), ()
        return
    prepared = _prepare(model)
    layers = [n.name for n in prepared.graph.node if n.op_type in _LAYERS and _has_weights(prepared, n)]
    seen = set()
    for left in ((), layers[-1:], layers[:1], [*layers[:1], *layers[-1:]]):
        key = frozenset(left)
        if len(key) < len(layers) and key not in seen:
            seen.add(key)
            yield to_int8(prepared, source, calibration, tuple(left)), tuple(left)


def to_fp16(model: Any) -> bytes:
    """The model with float16 weights and arithmetic; inputs and outputs stay as they are."""
    float16 = require("onnxruntime.transformers.float16")
    copy = type(model)()
    copy.CopyFrom(model)
    with quiet_logs("onnxruntime"):
        # It leaves Min and Max in float32, and inside a loop puts their casts outside of it.
        blocked = [kind for kind in float16.DEFAULT_OP_BLOCK_LIST if kind not in ("Min", "Max")]
        small = float16.convert_float_to_float16(copy, keep_io_types=True, op_block_list=blocked)
    return bytes(small.SerializeToString())


def to_int8(prepared: Any, source: Source, calibration: Samples, exclude: tuple[str, ...]) -> bytes:
    """The model with int8 layers as QDQ pairs, save for the nodes named in exclude."""
    quantization = require("onnxruntime.quantization")
    # quantize_static moves the weights of the model it is given into a file that it deletes afterwards.
    copy = type(prepared)()
    copy.CopyFrom(prepared)
    reader = _Reader(quantization, source, calibration.thin(CALIBRATION_LIMIT))
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        output = Path(folder) / "int8.onnx"
        with quiet_logs("root", "onnxruntime"):
            quantization.quantize_static(
                copy,
                str(output),
                reader,
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=[*_LAYERS, *_AROUND],
                nodes_to_exclude=list(exclude),
                per_channel=True,
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
            )
        small = require("onnx").load(output)
    del small.metadata_props[:]
    return bytes(optimize(small).SerializeToString())


def _prepare(model: Any) -> Any:
    """onnxruntime's own preparation: shapes of the tensors, BatchNormalization folded into Conv.

    Not its symbolic inference of shapes, which fails on free sizes and on text, and of which nothing here makes use.
    """
    prepare = require("onnxruntime.quantization.shape_inference").quant_pre_process
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        given, output = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
        given.write_bytes(model.SerializeToString())
        try:
            with quiet_logs("root", "onnxruntime"):
                # Its optimisation would write functions out wherever they are used.
                prepare(str(given), str(output), skip_symbolic_shape=True, skip_optimization=bool(model.functions))
        except Exception as e:
            raise ModelError(f"the model can't be prepared for int8: {type(e).__name__}: {e}") from e
        return require("onnx").load(output)


def _has_weights(model: Any, node: Any) -> bool:
    constants = {t.name for t in model.graph.initializer}
    return any(name in constants for name in node.input[1:2]) or node.input[0] in constants


class _Reader:
    """Hands calibration samples to onnxruntime, as few as the model takes: its min-max data must agree in shape."""

    def __init__(self, quantization: Any, source: Source, inputs: Arrays) -> None:
        # Registered rather than inherited, so that importing this module does not import onnxruntime.
        quantization.CalibrationDataReader.register(_Reader)
        self._names, self._size, self._next = [t.name for t in source.inputs], source.batch or 1, 0
        # A fixed batch is filled up with samples that were there already: zeros would widen the ranges.
        fill = np.arange(-(-len(inputs[0]) // self._size) * self._size) % len(inputs[0])
        self._inputs = [a[fill] for a in inputs]

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        """The next samples as the session's feed; None at the end."""
        start, self._next = self._next, self._next + self._size
        if start >= len(self._inputs[0]):
            return None
        return {name: a[start : self._next] for name, a in zip(self._names, self._inputs, strict=True)}
