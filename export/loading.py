"""The options that export and verify share: how a Keras file is read, and what the proof is."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import math
from pathlib import Path

from edgecnn.errors import InputError, VerificationError

from .convert import convert
from .load import load
from .proof.inference import open_session
from .proof.synthetic import takes_any_batch
from .reading.stored import Stored
from .source import Source

DEFAULT_ATOL = 1e-5
"""Largest difference allowed for outputs of up to 1; larger outputs are allowed as much more."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --lambda, --allow-lambda, --custom and --architecture."""
    group = parser.add_argument_group("code", "for models that need code which no model file may bring along")
    group.add_argument(
        "--lambda",
        dest="lambdas",
        action="append",
        type=_named,
        metavar="NAME=EXPR",
        help="what a Lambda layer computes, or a lambda that is a layer's activation, as in lambda_1='x / 127.5 - 1' "
        "(x0, x1 for several inputs) or a whole "
        "'lambda a, b: abs(a - b)', with slices, comparisons and the functions of keras.backend and TensorFlow; "
        "a name may be a pattern such as block_*; may be given several times",
    )
    group.add_argument(
        "--allow-lambda", action="store_true", help="run the Python code in Lambda layers; trusted files only"
    )
    group.add_argument("--custom", metavar="FILE.py", help="defines the classes that the model names; it is run")
    group.add_argument(
        "--architecture",
        metavar="FILE",
        help="for a file with weights alone: its model.json or model.yaml, or file.py:function that returns the model; "
        "the function also for a model that Keras can't make from what its file stores",
    )


def add_proof_arguments(group: argparse._ArgumentGroup) -> None:
    """Add --data, --atol and --report."""
    group.add_argument(
        "--data",
        metavar="DIR|CSV|NPZ",
        help="real inputs to compare on: a folder of images (subfolders are classes), a CSV, or an .npz file with one "
        "array an input under its name (and the true class indices as 'classes')",
    )
    group.add_argument(
        "--atol",
        type=tolerance,
        default=DEFAULT_ATOL,
        help="largest difference allowed, for outputs above 1 in proportion (default: %(default)g)",
    )
    group.add_argument("--report", metavar="FILE.json", help="write what was found, also when it fails")


def tolerance(text: str) -> float:
    """The value of an option that says how much may differ: a number from 0, which nothing but a number passes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")


def load_from(path: str | Path | Stored, options: argparse.Namespace) -> Source:
    """load() with the options above; a batch that the layers rely on is fixed, and a note of the Source says so."""
    lambdas: dict[str, str] = {}
    for name, expression in options.lambdas or ():
        if lambdas.setdefault(name, expression) != expression:
            raise InputError(f"--lambda {name} is given twice: {lambdas[name]!r} and {expression!r}")
    read = functools.partial(
        load,
        allow_lambda=options.allow_lambda,
        lambdas=lambdas,
        custom=options.custom,
        architecture=options.architecture,
    )
    source = read(path)
    if source.is_double and not _runs(source):
        read = functools.partial(read, single=True)
        source = read(source.path)
    if source.batch is None and source.stored_batch is not None and not takes_any_batch(source):
        source = read(source.path, free_batch=False)
    if source.batch is None:
        return source
    note = f"the layers rely on a batch of {source.batch}, so the file keeps it; edgecnn pads where fewer samples come"
    return dataclasses.replace(source, notes=(*source.notes, note))


def _runs(source: Source) -> bool:
    """Whether onnxruntime has every operator of the model in the type that it computes in."""
    try:
        open_session(convert(source).SerializeToString())
    except VerificationError:
        return False
    return True


def _named(text: str) -> tuple[str, str]:
    name, equals, expression = text.partition("=")
    if not equals or not name.strip() or not expression.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=EXPRESSION, as in lambda_1='x / 127.5 - 1'")
    return name.strip(), expression
