"""The command line of the export: its options, and what can be refused before anything heavy is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgecnn.errors import ModelError, SourceError
from edgecnn.golden import MAX_SAMPLES

from . import loading, recipe
from .convert import DEFAULT_OPSET, OPSETS
from .files import check_written
from .golden import DEFAULT_COUNT
from .graph import text
from .load import look
from .proof.quality import DEFAULT_MAX_DROP
from .quantize import KINDS
from .reading.stored import Stored, sniff


def parser() -> argparse.ArgumentParser:
    """All options of the export, with their defaults."""
    options = argparse.ArgumentParser(
        prog="edgecnn export",
        description="Convert a Keras model to ONNX, prove that it computes the same, and write it.",
        epilog="Exit status: 0 exported; 1 the outputs differ, nothing was written; 2 wrong usage or unusable model.",
    )
    options.add_argument("models", metavar="MODEL", nargs="+", help="a .keras, .h5 or .hdf5 file, or a SavedModel")
    options.add_argument(
        "-o", "--output", metavar="OUT.onnx", help="default: MODEL with the ending .onnx; of several models a folder"
    )
    recipe.add_arguments(options)
    proof = options.add_argument_group("proof")
    loading.add_proof_arguments(proof)
    proof.add_argument(
        "--golden",
        type=_count,
        default=DEFAULT_COUNT,
        metavar="N",
        help="samples that travel inside the model, so that `edgecnn selftest` proves it on the device; real ones "
        f"where data is given; at most {MAX_SAMPLES}, 0 for none (default: %(default)s)",
    )
    small = options.add_argument_group("size and speed")
    small.add_argument(
        "--quantize",
        choices=KINDS,
        default="none",
        help="fp16 weights, int8 (needs --calibration), or auto: int8 if it loses little, else float32; OUT "
        "then holds the quantised model (default: %(default)s)",
    )
    small.add_argument(
        "--calibration", metavar="DIR|CSV|NPZ", help="real inputs that set the ranges of int8, given as for --data"
    )
    small.add_argument(
        "--max-drop",
        type=loading.tolerance,
        default=DEFAULT_MAX_DROP,
        help="largest loss of accuracy by quantisation, on --data or else on --calibration; without class "
        "folders, of agreement with float32 (default: %(default)g)",
    )
    options.add_argument(
        "--opset",
        type=int,
        choices=OPSETS,
        default=DEFAULT_OPSET,
        metavar="N",
        help=f"ONNX operator set, {OPSETS[0]} to {OPSETS[-1]} (default: %(default)s); where text is split it is "
        f"{text.OPSET}",
    )
    loading.add_arguments(options)
    return options


def jobs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """(model, file to write) for every model of the command line."""
    # Of "." and ".." only the whole path has a name, after which the output is called.
    paths = [Path(m) if Path(m).name not in ("", "..") else Path(m).resolve() for m in options.models]
    pairs = _pairs(paths, options)
    if options.report:
        others = [("model", path) for path in paths] + [("file of -o", output) for _, output in pairs]
        check_written([("--report", Path(options.report))], [*others, *_read(options)])
    return pairs


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MAX_SAMPLES:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {MAX_SAMPLES}")
    return int(text)


def _pairs(paths: list[Path], options: argparse.Namespace) -> list[tuple[Path, Path]]:
    if len(paths) == 1:
        return [(paths[0], Path(options.output) if options.output else paths[0].with_suffix(".onnx"))]
    folder = Path(options.output) if options.output else None
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise ModelError(f"-o {folder} must be a folder, since there are {len(paths)} models")
        _make_folder(folder)
    pairs = [(p, (folder or p.parent) / p.with_suffix(".onnx").name) for p in paths]
    outputs = [o for _, o in pairs]
    twice = next((o for o in outputs if outputs.count(o) > 1), None)
    if twice is not None:
        raise ModelError(f"two of the models would be written to {twice}; export them one by one with -o")
    return pairs


def _read(options: argparse.Namespace) -> list[tuple[str, Path]]:
    """(what it is called, path) of the files that the options name to be read."""
    named = {name: getattr(options, name) for name in ("data", "calibration", "labels", "custom", "architecture")}
    return [(f"file of --{name}", Path(value.partition(".py:")[0])) for name, value in named.items() if value]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as e:
        raise ModelError(f"the folder {folder} can't be made: {e.strerror}") from None


def check(path: Path, output: Path, options: argparse.Namespace) -> Stored:
    """Refuse in a moment what would fail after many seconds; what the model file says of itself."""
    sniff(path)
    if options.quantize in ("int8", "auto") and not options.calibration:
        raise SourceError(
            f"--quantize {options.quantize} needs real samples to set its ranges: give --calibration with a "
            "folder of images, a CSV or an .npz file",
            code="no_calibration",
        )
    for name in ("data", "calibration"):
        where = getattr(options, name)
        if where and not Path(where).exists():
            raise SourceError(f"--{name} {where} does not exist")
    check_written([("-o", output)], [("model", path), *_read(options)])
    return look(path, options.architecture)
