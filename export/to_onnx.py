"""`edgecnn export`, also `python export/to_onnx.py model.h5`: a Keras model becomes a verified ONNX file.

load -> convert -> optimize -> verify -> quantize -> stages -> stamp -> write. Nothing is written unless the
model's outputs were compared with Keras's and agree.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # As a script, its own folder comes first on the path, where load.py or report.py would hide other modules.
    sys.path.pop(0)
    try:
        import edgecnn.export.to_onnx as _installed
    except ImportError as _e:
        from pathlib import Path as _Path

        _root = _Path(__file__).resolve().parent.parent
        _hint = f'run: {sys.executable} -m pip install "{_root}[cpu,export]"'
        print(f"edgecnn is not installed ({_e}); {_hint}", file=sys.stderr)
        sys.exit(2)
    from edgecnn.cli import guard as _guard

    sys.exit(_guard(_installed.main))

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecnn.cli import OK, SOME_FAILED, UNUSABLE
from edgecnn.errors import EdgeCNNError, ModelError, VerificationError
from edgecnn.seal import seal
from edgecnn.spec import ModelSpec
from edgecnn.terminal import say

from . import command_line, loading, recipe
from .backend import tensorflow
from .convert import convert, opset_of
from .files import write_atomically
from .golden import make_golden
from .graph.recurrent import OPERATORS as RECURRENT
from .optimize import count_nodes, optimize
from .proof import shortcut
from .proof.blame import Blame
from .proof.parity import Parity
from .proof.samples import Samples, infer_table, is_arrays, read_samples
from .proof.synthetic import random_samples
from .quantize import CALIBRATION_LIMIT, Quantized, TooMuchLostError, quantize
from .reading.strangers import shown
from .report import Report, summarize, write_reports
from .source import Source
from .stamp import stamp_onnx
from .verify import verify


def main(argv: Sequence[str]) -> int:
    """Export models; the path of each written file goes to stdout.

    Raises:
        EdgeCNNError: the one model could not be exported; VerificationError where the outputs differ. Of
            several models the others are still exported, and the exit status is the worst.
    """
    options = command_line.parser().parse_args(argv)
    jobs = command_line.jobs(options)
    reports, status = [], OK
    unread: BrokenPipeError | None = None
    for number, (path, output) in enumerate(jobs, 1):
        if len(jobs) > 1:
            say(f"[{number}/{len(jobs)}] {shown(path)}")
        report = Report(source=str(path), output=str(output))
        reports.append(report)
        try:
            _export(path, output, options, report)
            report.status = "passed"
            try:
                print(output, flush=True)
            except BrokenPipeError as e:  # the other models are exported all the same
                unread = e
        except Exception as e:
            report.reason = str(e) if isinstance(e, EdgeCNNError) else f"unexpected {type(e).__name__}: {e}"
            if len(jobs) == 1 or not isinstance(e, EdgeCNNError):
                raise
            say(f"edgecnn: {e}")
            status = max(status, SOME_FAILED if isinstance(e, VerificationError) else UNUSABLE)
        finally:
            if options.report:
                write_reports(options.report, reports)
    summarize(reports)
    if unread is not None:
        raise unread
    return status


def _export(path: Path, output: Path, options: argparse.Namespace, report: Report) -> None:
    """The chain of stages; each leaves its part in the report."""
    stored = command_line.check(path, output, options)

    # 1. Load the model with the Keras that understands it.
    with report.stage("start") as line:
        line.append(f"TensorFlow {tensorflow().__version__}")
    with report.stage("load") as line:
        source = loading.load_from(stored, options)
        line += [source.loaded_by, *(t.describe() for t in source.inputs)]
    report.tell(source)
    for note in source.notes:
        report.note(note)

    # 2. Settle the recipe, and read real samples through it.
    spec, notes = recipe.build_spec(source, options)
    for note in notes:
        report.note(note)
    spec = _with_table(spec, source, options)
    with report.stage("samples") as line:
        data = _read(options.data, spec, source, report)
        calibration = _read(options.calibration, spec, source, report)
        judge = data or calibration
        line.append(f"{len(judge)} from {judge.source}" if judge else "none given: random inputs only")
    _tell_shortcut(source, spec, judge, report)

    # 3. Convert and clean the graph.
    with report.stage("convert") as line:
        model = convert(source, opset=options.opset)
        report.opset = opset_of(model)
        line.append(f"opset {report.opset}, {len(model.graph.node)} nodes")
    with report.stage("optimize") as line:
        model = optimize(model)
        line.append(f"{len(model.graph.node)} nodes")
    report.nodes = count_nodes(model)

    # 4. Prove that the graph computes what Keras computes.
    blame = Blame(source, spec, recipe.training_pixels(spec), judge, options.atol, report)
    with report.stage("verify") as line:
        model, parity = _verify(model, source, spec, judge, options, blame)
        report.nodes = count_nodes(model)
        line.append(report.prove(parity))

    # 5. Make it smaller where that was asked for, and prove that too.
    small = None
    if options.quantize != "none":
        with report.stage("quantize") as line:
            small = _quantize(model, source, spec, calibration, judge, options, report, blame)
            line.append("float32" if small is None else _describe(small))

    # 6. Hold the whole way from bytes to outputs against the training library, stage by stage.
    with report.stage("stages") as line:
        line.append(blame.check(model, None if small is None else small.model))
    if small is not None:
        model = type(model).FromString(small.model)
        report.nodes = count_nodes(model)

    # 7. Stamp the recipe and a few golden samples into it, seal it and put it in place.
    with report.stage("write") as line:
        golden = make_golden(source, spec, model.SerializeToString(), judge, count=options.golden, atol=options.atol)
        stamp_onnx(model, spec, golden)
        content = seal(model.SerializeToString())
        write_atomically(output, content)
        report.bytes = len(content)
        line.append(f"{len(content):,} bytes")


def _tell_shortcut(source: Source, spec: ModelSpec, judge: Samples | None, report: Report) -> None:
    """Say that decode="fast" gives other pixels than the training saw, and by how much where there are images."""
    training = spec.provenance.get(recipe.TRAINING_DECODE)
    if training is None:
        return
    text = f"decode fast: the model will see JPEGs shrunk in the DCT, not the pixels that {training} gave the training"
    if judge is None or judge.folder is None:
        report.note(f"{text}; --data with images measures the difference")
        return
    found = shortcut.measure(source, spec, training, judge.folder)
    report.decode = found.to_dict()
    report.note(f"{text}; {found}")


def _verify(
    model: Any,
    source: Source,
    spec: ModelSpec,
    judge: Samples | None,
    options: argparse.Namespace,
    blame: Blame,
) -> tuple[Any, Parity]:
    """The model that passed, and its comparison; a failure names the first layer that differs.

    Recurrent layers are tried as ONNX's operators first; where those differ, as loops.
    """

    def compare(candidate: Any) -> tuple[Any, Parity]:
        content = candidate.SerializeToString()
        return candidate, verify(content, source, spec=spec, samples=judge, atol=options.atol)

    try:
        return compare(model)
    except VerificationError as e:
        error = e
    if set(RECURRENT) & set(count_nodes(model)):
        with contextlib.suppress(ModelError):
            model = optimize(convert(source, opset=options.opset, recurrent=False))
        try:
            return compare(model)
        except VerificationError as e:
            error = e
    raise blame.explain(error, model) from error


def _quantize(
    model: Any,
    source: Source,
    spec: ModelSpec,
    calibration: Samples | None,
    judge: Samples | None,
    options: argparse.Namespace,
    report: Report,
    blame: Blame,
) -> Quantized | None:
    """The quantised model; None where auto stays with float32."""
    wanted = options.quantize
    kind = "int8" if wanted == "auto" else wanted
    report.quantization = {"requested": wanted, "kind": "none"}
    if judge is None:
        # Only fp16 comes here without data: the check of the options saw to it.
        judge = random_samples(source, spec)
    size = len(model.SerializeToString())
    try:
        small = quantize(
            model,
            kind,
            source=source,
            spec=spec,
            calibration=calibration or judge,
            judge=judge,
            max_drop=options.max_drop,
        )
    except (ModelError, VerificationError) as e:
        report.quantization["reason"] = str(e)
        if wanted != "auto":
            if isinstance(e, TooMuchLostError):
                raise blame.explain(e, model, e.model) from e
            raise
        report.note(f"staying with float32: {e}")
        return None
    if len(small.model) >= size:
        larger = f"{kind} makes this small model larger ({size:,} -> {len(small.model):,} bytes)"
        if wanted == "auto":
            report.quantization["reason"] = larger
            report.note(f"staying with float32: {larger}")
            return None
        report.note(larger)
    report.quantization |= {
        "kind": kind,
        "calibration_samples": min(len(calibration or judge), CALIBRATION_LIMIT) if kind == "int8" else 0,
        "float32_bytes": size,
        "quantized_bytes": len(small.model),
        "float_layers": list(small.float_layers),
        **small.quality.to_dict(),
    }
    return small


def _describe(small: Quantized) -> str:
    q = small.quality
    parts = [f"{small.kind}"]
    if q.accuracy_after is not None and q.accuracy_before is not None:
        parts.append(f"accuracy {q.accuracy_before:.4f} -> {q.accuracy_after:.4f}")
    if q.top1_agreement is not None:
        parts.append(f"top-1 agreement {q.top1_agreement:.4f} on {q.samples}")
    else:
        parts.append(f"drop {q.drop:.4f} on {q.samples}")
    if small.float_layers:
        parts.append(f"{len(small.float_layers)} layer(s) left in float32")
    return ", ".join(parts)


def _with_table(spec: ModelSpec, source: Source, options: argparse.Namespace) -> ModelSpec:
    """Take the columns from the CSV that was given, where the training left none."""
    import dataclasses

    given = (w for w in (options.calibration, options.data) if w is not None)
    where = next((w for w in given if Path(w).is_file() and not is_arrays(w)), None)
    inputs = source.inputs
    if where is None or spec.table is not None or spec.pixels is not None or len(inputs) != 1:
        return spec
    if len(inputs[0].shape) != 2 or inputs[0].shape[1] is None or inputs[0].dtype == "string":
        return spec
    return dataclasses.replace(spec, table=infer_table(where, inputs[0].shape[1]))


def _read(where: str | None, spec: ModelSpec, source: Source, report: Report) -> Samples | None:
    if where is None:
        return None
    samples = read_samples(where, spec, source.inputs)
    if samples.skipped:
        report.note(f"{len(samples.skipped)} of the samples can't be used; the first: {samples.skipped[0]}")
    return samples
