"""Proves that an ONNX model computes what its Keras source computes, or raises.

Names, types and shapes come first, then values, on random and real inputs at batch 1 and 3. The
tolerance grows with the outputs' magnitude, since float32 has 24 bits whatever the unit is.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgeCNNError, VerificationError
from edgecnn.spec import ModelSpec

from . import loading
from .backend import reason, require
from .batches import Arrays, run_in_batches
from .load import Source, Tensor
from .optimize import count_nodes
from .quality import DEFAULT_MAX_DROP, measure, top_class
from .report import Report, describe_tensors
from .samples import CHUNK, Samples, read_samples
from .stamp import read_stamp
from .synthetic import BATCHES, random_inputs, random_samples

DEFAULT_ATOL = 1e-5
"""Largest difference allowed for outputs of up to 1; larger outputs are allowed as much more."""

EAGER_BATCH = 2
"""Number of the random batch (of 3 samples) on which the traced model is held against Keras's eager call."""

NOISE_FACTOR = 4
"""A difference this many times the model's own rounding noise is still rounding: the two runtimes round
every intermediate value, the measurement only the weights."""

NOISE_LIMIT = 1e-3
"""Noise never excuses a difference above this share of the output's scale."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How closely two models agree."""

    samples: int
    """Inputs compared."""
    max_abs_diff: float
    """Largest difference of any output value."""
    tolerance: float
    """What was allowed where the difference came nearest to it, in the same unit."""
    top1_agreement: float | None
    """Share of samples with the same class, 0 to 1; None for a regression."""
    rounding_noise: float = 0.0
    """How far Keras's own outputs move when its weights are off by half a unit in the last place; measured
    only where a difference is larger than atol explains, else 0."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dataclasses.asdict(self)


def verify(
    model: bytes,
    source: Source,
    *,
    spec: ModelSpec,
    samples: Samples | None = None,
    atol: float = DEFAULT_ATOL,
) -> Parity:
    """Compare a serialized ONNX model with its Keras source.

    Raises:
        VerificationError: a name, type, shape or value differs; the message has the tensor, the largest
            difference and the tolerance.
    """
    session = open_session(model)
    check_signature(session, source)
    worst = _Worst(source, atol)
    for number, batch in enumerate(random_inputs(source, spec)):
        if number == EAGER_BATCH:
            worst.compare(source.eager(batch), source(batch), batch, "traced random", count=False)
        worst.compare(source(batch), run(session, source, batch), batch, "random")
    if samples is not None:
        start = 0
        for size in (*BATCHES, *[CHUNK] * math.ceil(len(samples) / CHUNK)):
            batch = samples[start : start + size]
            if len(batch[0]):
                worst.compare(source(batch), run(session, source, batch), batch, "real")
            start += size
    return worst.parity(classifies=spec.head != "regression")


def open_session(model: bytes) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        VerificationError: onnxruntime refuses the model.
    """
    ort = require("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as e:
        raise VerificationError(f"onnxruntime refuses the model: {reason(e)}") from e


def run(session: Any, source: Source, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
    """The session's outputs in the order of source.outputs."""
    names = [t.name for t in source.outputs]

    def infer(arrays: Arrays) -> Arrays:
        feed = {t.name: a for t, a in zip(source.inputs, arrays, strict=True)}
        return [np.asarray(y) for y in session.run(names, feed)]

    try:
        return run_in_batches(infer, arrays, source.batch)
    except Exception as e:
        sizes = ", ".join(f"{t.name} {list(a.shape)}" for t, a in zip(source.inputs, arrays, strict=True))
        raise VerificationError(f"onnxruntime can't run the model on {sizes}: {reason(e)}") from e


def run_samples(session: Any, source: Source, samples: Samples) -> Arrays:
    """The session's outputs for all samples, one array an output."""
    parts = [run(session, source, chunk) for chunk in samples.chunks()]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def check_signature(session: Any, source: Source) -> None:
    """Raise where names, types or shapes of inputs or outputs differ from the source's."""
    for what, got, expected in (
        ("input", session.get_inputs(), source.inputs),
        ("output", session.get_outputs(), source.outputs),
    ):
        names = [g.name for g in got]
        if names != [t.name for t in expected]:
            raise VerificationError(f"{what}s are named {names}, expected {[t.name for t in expected]}")
        for g, t in zip(got, expected, strict=True):
            _check_tensor(what, g, t)


def _check_tensor(what: str, got: Any, expected: Tensor) -> None:
    if got.type != _ort_type(expected.dtype):
        raise VerificationError(f"{what} {expected.name} is {got.type}, expected {_ort_type(expected.dtype)}")
    shape = tuple(d if isinstance(d, int) else None for d in got.shape)
    # onnxruntime may know the length of an output that Keras left open; the batch is free in both.
    open_in_keras = [i for i, d in enumerate(expected.shape) if d is None and i > 0 and what == "output"]
    shape = tuple(None if i in open_in_keras else d for i, d in enumerate(shape))
    if shape != expected.shape:
        raise VerificationError(f"{what} {expected.name} has shape {got.shape}, expected {expected.describe()}")


def _ort_type(dtype: str) -> str:
    """onnxruntime's name of a type: 'tensor(float)' for float32."""
    names = {"float32": "float", "float64": "double", "float16": "float16", "bool": "bool", "string": "string"}
    return f"tensor({names.get(dtype, dtype)})"


def main(argv: Sequence[str]) -> int:
    """`edgecnn verify`: compare a written ONNX file with its Keras source.

    Raises:
        VerificationError: they differ.
    """
    options = _parser().parse_args(argv)
    report = Report(source=options.against, output=options.model)
    try:
        _compare_files(options, report)
        report.status = "passed"
    except EdgeCNNError as e:
        report.reason = str(e)
        raise
    finally:
        if options.report:
            report.write(options.report)
    print(f"{options.model} computes what {options.against} computes")
    return 0


def _compare_files(options: argparse.Namespace, report: Report) -> None:
    onnx = require("onnx")
    spec = read_stamp(options.model) or ModelSpec()
    content = Path(options.model).read_bytes()
    model = onnx.ModelProto.FromString(content)
    report.nodes = count_nodes(model)
    report.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    with report.stage("load") as line:
        source = loading.load_from(options.against, options)
        line.append(source.loaded_by)
    report.keras_version, report.loaded_by, report.sha256 = source.keras_version, source.loaded_by, source.sha256
    report.inputs, report.outputs = describe_tensors(source.inputs), describe_tensors(source.outputs)
    report.batch = source.batch
    samples = read_samples(options.data, spec, source.inputs) if options.data else None
    with report.stage("verify") as line:
        kind = quantization_kind(model)
        if kind is None:
            parity = verify(content, source, spec=spec, samples=samples, atol=options.atol)
            report.parity = parity.to_dict()
            line.append(f"{parity.samples} inputs, largest difference {parity.max_abs_diff:.2g}")
            return
        session = open_session(content)
        check_signature(session, source)
        samples = samples or random_samples(source, spec)
        before = [np.concatenate(y) for y in zip(*(source(x) for x in samples.chunks()), strict=True)]
        quality = measure(before, run_samples(session, source, samples), spec, samples)
        report.quantization = {"kind": kind, **quality.to_dict()}
        line.append(f"{kind}, {quality.samples} inputs, drop {quality.drop:.4f}")
        if quality.drop > options.max_drop:
            raise VerificationError(
                f"{options.model} ({kind}) loses {quality.drop:.4f} on {quality.samples} {samples.source}, more "
                f"than --max-drop {options.max_drop:g}"
            )


def quantization_kind(model: Any) -> str | None:
    """int8 or fp16, by what the graph of an onnx.ModelProto holds; None for float32."""
    onnx = require("onnx")
    if any(n.op_type == "DequantizeLinear" for n in model.graph.node):
        return "int8"
    if any(t.data_type == onnx.TensorProto.FLOAT16 for t in model.graph.initializer):
        return "fp16"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgecnn verify",
        description="Prove that an ONNX file computes what its Keras source computes.",
        epilog="Exit status: 0 they agree; 1 they differ; 2 wrong usage or an unusable file.",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--against", metavar="MODEL.h5", required=True, help="the Keras model it was made from")
    parser.add_argument("--data", metavar="DIR|CSV|NPZ", help=loading.DATA_HELP)
    parser.add_argument(
        "--atol",
        type=float,
        default=DEFAULT_ATOL,
        help="largest difference allowed, for outputs above 1 in proportion (default: %(default)g)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=DEFAULT_MAX_DROP,
        help="largest loss of accuracy or agreement of a quantised model (default: %(default)g)",
    )
    parser.add_argument("--report", metavar="FILE.json", help="write what was found, also when it fails")
    loading.add_arguments(parser)
    return parser


class _Worst:
    """Compares outputs batch after batch and keeps what came nearest to its tolerance."""

    def __init__(self, source: Source, atol: float) -> None:
        self._source, self._atol = source, atol
        self._samples = self._agreed = self._judged = 0
        self._difference, self._ratio, self._tolerance, self._noise = 0.0, -1.0, atol, 0.0

    def compare(self, expected: Arrays, got: Arrays, batch: Arrays, kind: str, *, count: bool = True) -> None:
        """Raise VerificationError where got differs from expected."""
        size = len(batch[0])
        for i, (tensor, e, g) in enumerate(zip(self._source.outputs, expected, got, strict=True)):
            where = f"output {tensor.name} on {kind} inputs at batch {size}"
            if e.shape != g.shape or e.dtype != g.dtype:
                raise VerificationError(f"{where} is {g.dtype} {list(g.shape)}, Keras gives {e.dtype} {list(e.shape)}")
            self._compare_values(
                e.astype(np.float64),
                g.astype(np.float64),
                where,
                lambda i=i: self._source.rounding_noise(batch, expected)[i],
            )
        if not count:
            return
        self._samples += size
        first_expected, first_got = expected[0], got[0]
        if first_expected.ndim >= 2:
            same = top_class(first_expected) == top_class(first_got)
            self._agreed, self._judged = self._agreed + int(same.sum()), self._judged + same.size

    def _compare_values(
        self, expected: npt.NDArray[Any], got: npt.NDArray[Any], where: str, noise: Callable[[], float]
    ) -> None:
        finite = np.isfinite(expected)
        if not np.array_equal(expected[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
            raise VerificationError(f"{where} has NaN or infinity in other places than Keras's")
        if not finite.any():
            return
        difference = float(np.abs(expected[finite] - got[finite]).max())
        scale = max(1.0, float(np.abs(expected[finite]).max()))
        tolerance = self._atol * scale
        if difference > tolerance:
            # Costs three runs of the model, so it's asked for only here.
            self._noise = max(self._noise, noise())
            tolerance += min(NOISE_FACTOR * self._noise, NOISE_LIMIT * scale)
        if difference > tolerance:
            raise VerificationError(
                f"{where} differs from Keras by up to {difference:.3g}, more than the tolerance of {tolerance:.3g} "
                f"({int((np.abs(expected - got) > tolerance).sum())} of {expected.size} values)"
            )
        self._difference = max(self._difference, difference)
        if difference / tolerance > self._ratio:
            self._ratio, self._tolerance = difference / tolerance, tolerance

    def parity(self, *, classifies: bool) -> Parity:
        """What was seen over all batches."""
        agreement = self._agreed / self._judged if classifies and self._judged else None
        return Parity(self._samples, self._difference, self._tolerance, agreement, self._noise)
