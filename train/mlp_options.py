"""The command line of `edgecnn train mlp`, and the defaults of its presets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from edgecnn.cells import MISSING

from . import architectures, config
from .options import add_fit_options, add_kernel_options, fraction, parser, positive
from .perceptrons import MLPS
from .tables import TASKS

DEFAULTS: dict[str, Any] = {
    "epochs": 60, "batch_size": None, "validation_split": 0.33, "optimizer": "adamw", "learning_rate": 3e-3,
    "schedule": "cosine", "warmup": 0.1, "weight_decay": 1.0, "label_smoothing": 0.0,
    "monitor": None, "patience": 30, "ema_momentum": 0.0,
    "architecture": "default", "hidden": [64, 32], "dropout": 0.3, "activation": "relu", "standardize": True,
}  # fmt: skip
"""Measured on scikit-learn's tables and the diabetes CSV, 12 seeds: few rows want few steps and strong decay."""

NOTEBOOK: dict[str, Any] = {
    "architecture": "notebook", "epochs": 150, "batch_size": 10, "validation_split": 0.33, "seed": 7,
    "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": True, "schedule": "constant",
    "weight_decay": 0.0, "label_smoothing": 0.0, "ema_momentum": 0.0, "stopping_split": 0.2, "patience": 0,
}  # fmt: skip
"""The training of the diabetes tutorial. Its 150 epochs are too many (accuracy over 10 seeds 0.746 by the last epoch,
0.756 by the best), so a fifth of the training rows chooses the epoch."""

_ADAM_RATE = 1e-3
"""keras.optimizers.Adam's own, which the tutorial uses."""


def parse(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser, and the options of a command line and its --config."""
    p = parser(
        "edgecnn train mlp",
        "FILE.csv",
        "Train a network on the rows of a CSV; export reads the saved file without a flag.",
        "COLUMNS are names, positions from 1 (the last is -1) or ranges of positions, with commas between: age,3,5-7. "
        "Rules for the cells are learned from the training rows, travel inside the model, and `edgecnn info` tells "
        "them. The held-out rows decide nothing, they only measure: without --stopping-split the last epoch is kept.",
    )
    p.add_argument("file", metavar="FILE.csv", help="a table with a target column; UTF-8")
    p.add_argument(
        "--preset", choices=("notebook",),
        help="the diabetes tutorial's network and training: 12 relu, dropout 0.2, 6 relu, dropout 0.2; SGD 0.01 with "
        "Nesterov momentum 0.9 (or --optimizer adam), 150 epochs, batches of 10, split 0.33, seed 7. Added to it: "
        "columns are standardised (--no-standardize), and the best epoch is kept (--stopping-split 0)",
    )  # fmt: skip
    p.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="NAME.report.html and .json by the model"
    )
    _add_table_options(p)
    group = p.add_argument_group("network")
    group.add_argument("--architecture", choices=MLPS, help="notebook: that of --preset notebook, alone")
    group.add_argument(
        "--hidden", type=positive, nargs="+", metavar="N", help="units of each hidden layer; not of notebook"
    )
    group.add_argument("--dropout", type=fraction, help="after each hidden layer (Dropout: rate); not of notebook")
    group.add_argument("--activation", choices=architectures.ACTIVATIONS, help="of the hidden layers; not of notebook")
    group.add_argument(
        "--batch-norm", action="store_true", help="BatchNormalization before each activation; not of notebook"
    )
    group.add_argument(
        "--standardize", action=argparse.BooleanOptionalAction,
        help="number columns to mean 0 and variance 1, inside the model (Normalization)",
    )  # fmt: skip
    add_kernel_options(group, "glorot_uniform")
    add_fit_options(p, DEFAULTS)
    p.add_argument(
        "--stopping-split", type=fraction, default=0.0, metavar="SHARE",
        help="share of the training rows that decides, by --monitor, which epoch is kept and when to stop; 0: all "
        "epochs are run and the last is kept",
    )  # fmt: skip
    first = config.parse(p, argv)
    if first.preset == "notebook":
        p.set_defaults(**NOTEBOOK)
        if first.optimizer == "adam":
            p.set_defaults(learning_rate=_ADAM_RATE)
    options = config.parse(p, argv)
    if options.monitor is None:
        options.monitor = "val_loss" if options.stopping_split else "none"
    return p, options


def _add_table_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("table")
    group.add_argument("--target", metavar="COLUMN", help="name or position; default the last")
    group.add_argument("--task", choices=TASKS, help="default: told from the target's values")
    group.add_argument(
        "--delimiter", metavar="CHAR", type=_character, help="default: told from the file, of , ; tab | space :"
    )
    group.add_argument(
        "--header", action=argparse.BooleanOptionalAction,
        help="whether line 1 holds names; default: it does when none of its cells is a number or stands below again",
    )  # fmt: skip
    names = {"type": _names, "default": (), "metavar": "COLUMNS"}
    group.add_argument("--numeric", **names, help="columns of numbers; default: those that hold nothing else")
    group.add_argument("--categorical", **names, help="columns of categories; default: those with text")
    group.add_argument("--ignore", **names, help="columns that the model doesn't take")
    group.add_argument(
        "--missing", choices=("accept", "refuse"), default="accept",
        help="a missing number becomes the median of the training rows, with a second input that says so where "
        "training rows missed values too; a missing category is a category of its own. Missing is: empty, "
        + ", ".join(MISSING[1:]),
    )  # fmt: skip
    group.add_argument("--missing-values", type=_names, default=(), metavar="TEXTS", help="that mean missing as well")
    group.add_argument("--missing-zeros", **names, help="columns in which 0 means missing as well")
    group.add_argument(
        "--missing-indicator", action=argparse.BooleanOptionalAction, default=True, help="that second input"
    )
    group.add_argument(
        "--rare", type=positive, default=3, metavar="N",
        help="categories with fewer training rows share one input, as do those that come later; where none is rare, "
        "a later one is none of the categories",
    )  # fmt: skip
    group.add_argument(
        "--unseen",
        choices=("accept", "refuse"),
        default="accept",
        help="refuse: a category that is not in this file is an error later",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _character(text: str) -> str:
    text = "\t" if text in ("\\t", "tab") else text
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character")
    return text
