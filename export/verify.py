"""Proves that an ONNX model computes what its Keras source computes, or raises; `edgecnn verify` any two models.

Names, types and shapes come first, then values, on random and real inputs at batch 1, 3 and 33. What differs is
blamed on a stage, and a difference of the graph on a layer.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import EdgeCNNError, ModelError, VerificationError
from edgecnn.session import Session
from edgecnn.spec import ModelSpec

from . import loading, recipe
from .backend import require
from .batches import Arrays
from .convert import OPSETS, convert, opset_of
from .files import check_written
from .optimize import count_nodes, optimize
from .proof.blame import Blame
from .proof.inference import open_session, run, run_samples
from .proof.onnx_source import OnnxSource, read_onnx
from .proof.parity import Comparison, OutputsDifferError, Parity
from .proof.quality import DEFAULT_MAX_DROP, Quality, measure
from .proof.samples import CHUNK, Samples, read_samples
from .proof.synthetic import BATCHES, byte_pictures, of_other_lengths, random_inputs, random_samples
from .proof.told import check_golden, check_told
from .reading.stored import sniff
from .report import Report, write_reports
from .source import Source, Tensor
from .stamp import HDF5_MAGIC, ZIP_MAGIC, read_head

EAGER_BATCH = 2
"""Number of the random batch (of 3 samples) on which the traced model is held against Keras's eager call."""

ROUGHER = 100
"""How many times the tolerance holds where inputs may be far from those of the training, and outputs saturate."""


def verify(
    model: bytes,
    source: Source,
    *,
    spec: ModelSpec,
    samples: Samples | None = None,
    atol: float = loading.DEFAULT_ATOL,
) -> Parity:
    """Compare a serialized ONNX model with its Keras source.

    Raises:
        VerificationError: a name, type, shape or value differs; the message has the tensor, the largest
            difference and the tolerance. OutputsDifferError where it is a value.
    """
    session = open_session(model)
    check_signature(session, source)
    comparison = Comparison(model, source, atol, regression=spec.head == "regression")
    try:
        _compare(comparison, session, source, spec, samples)
    except OutputsDifferError as e:
        if _is_random(source, e.inputs):
            raise VerificationError(
                f"{source.path} gives other outputs each time it is run, for it draws random numbers, so nothing can "
                "be proved; export the part of the model before, as a decoder or the mean"
            ) from e
        raise
    return comparison.parity(classifies=spec.head != "regression")


def _compare(comparison: Comparison, session: Any, source: Source, spec: ModelSpec, samples: Samples | None) -> None:
    batches = random_inputs(source, spec)
    for number, batch in enumerate(batches):
        if number == EAGER_BATCH:
            comparison.compare(source.eager(batch), source(batch), batch, "traced random", count=False)
        comparison.compare(source(batch), run(session, source, batch), batch, "random")
    longer = of_other_lengths(source, batches[2])
    if longer is not None:
        comparison.compare(source(longer), run(session, source, longer), longer, "longer")
    if samples is not None:
        start = 0
        for size in (*BATCHES, *[CHUNK] * math.ceil(len(samples) / CHUNK)):
            batch = samples[start : start + size]
            if len(batch[0]):
                comparison.compare(source(batch), run(session, source, batch), batch, "real")
            start += size
    pictures = byte_pictures(source, spec, batches[2])
    if pictures is not None:
        _compare_pictures(comparison.rougher(ROUGHER), session, source, pictures)


def _compare_pictures(comparison: Comparison, session: Any, source: Source, pictures: Arrays) -> None:
    """Whether a graph computes about the same on pictures of 0..255, which nobody said that the model takes."""
    expected = source(pictures)
    if all(np.isfinite(y).all() for y in expected):
        comparison.compare(expected, run(session, source, pictures), pictures, "random 0..255")


def _is_random(source: Source, batch: Arrays) -> bool:
    """Whether Keras itself gives something else on the same inputs."""
    return any(
        not np.allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(a).max(initial=0), equal_nan=True)
        for a, b in zip(source(batch), source(batch), strict=True)
    )


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
    """`edgecnn verify`: compare two model files, as a rule an ONNX file with its Keras source.

    Raises:
        VerificationError: they differ.
    """
    options = _parser().parse_args(argv)
    if options.report:
        named = {"model": options.model, "--against": options.against, "--data": options.data}
        read = [(f"file of {name}", Path(path)) for name, path in named.items() if path]
        check_written([("--report", Path(options.report))], read)
    if _is_keras(options.model) and not _is_keras(options.against):
        options.model, options.against = options.against, options.model
    report = Report(source=options.against, output=options.model)
    try:
        _compare_files(options, report)
        report.status = "passed"
    except Exception as e:
        report.reason = str(e) if isinstance(e, EdgeCNNError) else f"unexpected {type(e).__name__}: {e}"
        raise
    finally:
        if options.report:
            write_reports(options.report, [report])
    print(f"{options.model} computes what {options.against} computes")
    return 0


def _is_keras(path: str) -> bool:
    return Path(path).is_dir() or read_head(Path(path), 8).startswith((HDF5_MAGIC, ZIP_MAGIC))


def _open(path: str, options: argparse.Namespace) -> Source:
    """Either of the two files.

    Raises:
        ModelError: it is neither Keras's nor ONNX, or can't be used.
    """
    if _is_keras(path):
        return loading.load_from(path, options)
    try:
        return read_onnx(Path(path))
    except ModelError:
        if Path(path).suffix.lower() != ".onnx":
            sniff(Path(path))  # which says what it is, where that is neither
        raise


def _compare_files(options: argparse.Namespace, report: Report) -> None:
    with report.stage("load") as line:
        source, other = _open(options.against, options), _open(options.model, options)
        if _is_quantised(source) and not _is_quantised(other):
            source, other = other, source
        line.append(" and ".join(dict.fromkeys((source.loaded_by, other.loaded_by))))
    report.tell(source)
    model, spec = _graph_of(other, source, report)
    content = model.SerializeToString()
    report.nodes, report.opset = count_nodes(model), opset_of(model)
    told, notes = recipe.told_by(source, options, spec)
    for note in notes:
        report.note(note)
    followed = spec if spec.pixels is not None else dataclasses.replace(spec, pixels=told.pixels)
    samples = read_samples(options.data, followed, source.inputs) if options.data else None
    blame = Blame(source, spec, told.pixels, samples, options.atol, report)
    kind = quantization_kind(model)
    with report.stage("verify") as line:
        if kind is None:
            graph, quantised = model, None
            try:
                parity = verify(content, source, spec=spec, samples=samples, atol=options.atol)
            except VerificationError as e:
                raise blame.explain(e, graph) from e
            line.append(report.prove(parity))
        else:
            graph, quantised = _float_graph(source, report.opset), content
            try:
                quality = _check_quantised(content, source, spec, samples, options.max_drop)
            except VerificationError as e:
                raise blame.explain(e, graph, quantised) from e
            report.quantization = {"kind": kind, **quality.to_dict()}
            line.append(f"{kind}, {quality.samples} inputs, drop {quality.drop:.4f}")
    with report.stage("stages") as line:
        line.append(blame.check(graph, quantised))
    if spec != ModelSpec():
        check_told(source, spec, told)
    if isinstance(other, OnnxSource):
        check_golden(Session(other.path, device="cpu", several=True), spec)


def _graph_of(other: Source, source: Source, report: Report) -> tuple[Any, ModelSpec]:
    """The onnx.ModelProto of the model that is compared with source, and its recipe.

    One of Keras's is converted here. What it calls its tensors says nothing then, so they get source's names.
    """
    if isinstance(other, OnnxSource):
        return other.model.proto, other.stamp or ModelSpec()
    pairs = ((other.inputs, source.inputs), (other.outputs, source.outputs))
    if all(len(own) == len(theirs) for own, theirs in pairs):
        inputs, outputs = (_named(own, theirs) for own, theirs in pairs)
        if (inputs, outputs) != (other.inputs, other.outputs):
            report.note("the two files name their inputs or outputs differently, so these are compared in their order")
        other = dataclasses.replace(other, inputs=inputs, outputs=outputs)
    with report.stage("convert") as line:
        model = optimize(convert(other))
        line.append(f"{other.path}, {len(model.graph.node)} nodes")
    return model, other.stamp or ModelSpec()


def _is_quantised(source: Source) -> bool:
    return isinstance(source, OnnxSource) and quantization_kind(source.model.proto) is not None


def _named(own: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Own tensors with the names of others."""
    return tuple(dataclasses.replace(a, name=b.name) for a, b in zip(own, others, strict=True))


def _float_graph(source: Source, opset: int) -> Any:
    """Source as an onnx.ModelProto."""
    if isinstance(source, OnnxSource):
        return source.model.proto
    return optimize(convert(source, opset=min(opset, OPSETS[-1])))


def _check_quantised(
    content: bytes, source: Source, spec: ModelSpec, samples: Samples | None, max_drop: float
) -> Quality:
    """What a quantised model loses against Keras itself.

    Raises:
        VerificationError: more than max_drop, or its signature is another.
    """
    session = open_session(content)
    check_signature(session, source)
    samples = samples or random_samples(source, spec)
    before = [np.concatenate(y) for y in zip(*(source(x) for x in samples.chunks()), strict=True)]
    quality = measure(before, run_samples(session, source, samples), spec, samples)
    if not quality.drop <= max_drop:
        raise VerificationError(
            f"the quantised model loses {quality.drop:.4f} on {quality.samples} {samples.source}, more than "
            f"--max-drop {max_drop:g}"
        )
    return quality


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
        description="Prove that an ONNX file computes what its Keras source computes, in whichever order the two come; "
        "or that two files of Keras, or two of ONNX, compute the same.",
        epilog="Exit status: 0 they agree; 1 they differ; 2 wrong usage or an unusable file.",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--against", metavar="MODEL.h5", required=True, help="the Keras model it was made from, or what to compare with"
    )
    proof = parser.add_argument_group("proof")
    loading.add_proof_arguments(proof)
    proof.add_argument(
        "--max-drop",
        type=loading.tolerance,
        default=DEFAULT_MAX_DROP,
        help="largest loss of accuracy or agreement of a quantised model (default: %(default)g)",
    )
    recipe.add_arguments(parser, "how the training turned image files into numbers, where the Keras file doesn't say")
    loading.add_arguments(parser)
    return parser
