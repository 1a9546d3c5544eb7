"""Command-line options that both trainings share; each shows its default and what Keras calls it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from .optimizers import OPTIMIZERS, SCHEDULES


def parser(prog: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """An argument parser whose help ends every option with its default."""
    return argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, formatter_class=_Help)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS) or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def add_fit_options(target: argparse.ArgumentParser, defaults: Mapping[str, Any]) -> None:
    """Length, optimizer, schedule, stopping, seed and output."""
    group = target.add_argument_group("training")
    group.add_argument("-o", "--output", default="model.keras", metavar="FILE", help=".keras or .h5")
    group.add_argument("--epochs", type=positive, help="most epochs (fit: epochs)")
    group.add_argument("--batch-size", type=positive, help="samples a step (fit: batch_size)")
    group.add_argument("--validation-split", type=share, help="share of each class kept for validation")
    group.add_argument("--optimizer", choices=OPTIMIZERS, help="keras.optimizers")
    group.add_argument("--learning-rate", type=above_zero, help="the highest (optimizer: learning_rate)")
    group.add_argument("--schedule", choices=SCHEDULES, help="cosine: CosineDecay to 0 over all epochs")
    group.add_argument(
        "--warmup", type=fraction, help="share of training in which the rate rises (CosineDecay: warmup_steps)"
    )
    group.add_argument("--weight-decay", type=zero_or_more, help="of adamw (AdamW: weight_decay)")
    group.add_argument("--momentum", type=fraction, help="of sgd, with Nesterov (SGD: momentum)")
    group.add_argument("--label-smoothing", type=fraction, help="CategoricalCrossentropy: label_smoothing")
    group.add_argument(
        "--patience",
        type=whole,
        help="stop after this many epochs without a better val_loss, 0 is never (EarlyStopping: patience); "
        "the best epoch's weights are kept in any case",
    )
    group.add_argument("--seed", type=whole, default=0, help="of split, weights, order and augmentation")
    group.add_argument("--quiet", action="store_true", help="no progress")
    target.set_defaults(**defaults)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, lambda v: v >= 1, "a whole number of at least 1")


def whole(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, lambda v: v >= 0, "a whole number of at least 0")


def above_zero(text: str) -> float:
    """A number above 0."""
    return _number(text, float, lambda v: 0 < v < float("inf"), "a number above 0")


def zero_or_more(text: str) -> float:
    """A number of at least 0."""
    return _number(text, float, lambda v: 0 <= v < float("inf"), "a number of at least 0")


def fraction(text: str) -> float:
    """A number from 0 to below 1."""
    return _number(text, float, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def share(text: str) -> float:
    """A number above 0 and below 1."""
    return _number(text, float, lambda v: 0 < v < 1, "a number above 0 and below 1")


def _number(text: str, kind: type, allowed: Any, expected: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not allowed(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value
