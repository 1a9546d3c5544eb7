"""Command-line options that both trainings share; each shows its default and what Keras calls it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from .architectures import INITIALIZERS
from .losses import LOSSES
from .optimizers import OPTIMIZERS, SCHEDULES, OptimizerOptions

_T = TypeVar("_T")


def parser(prog: str, source: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """An argument parser whose help ends every option with its default; `source` is what it trains on."""
    usage = f"{prog} {source} [-o model.keras] [options]"
    return argparse.ArgumentParser(
        prog=prog, usage=usage, description=description, epilog=epilog, formatter_class=_Help
    )


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, (), argparse.SUPPRESS) or action.default is False
        if silent or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def pick(kind: type[_T], options: argparse.Namespace, **others: Any) -> _T:
    """A dataclass filled from the options of the same names."""
    names = [f.name for f in dataclasses.fields(kind) if f.name not in others and hasattr(options, f.name)]
    return kind(**{name: getattr(options, name) for name in names}, **others)


def add_fit_options(
    target: argparse.ArgumentParser, defaults: Mapping[str, Any], epochs: str = "", weight_decay: str = ""
) -> None:
    """Length, loss, stopping, seed and output; `epochs` and `weight_decay` tell defaults that vary."""
    target.add_argument("-o", "--output", default="model.keras", metavar="FILE", help=".keras or .h5")
    target.add_argument(
        "--check-only",
        action="store_true",
        help="look at the data, say what is wrong with it and stop; status 1 where something is",
    )
    target.add_argument("--resume", action="store_true", help="go on with this training where it was cut off")
    target.add_argument("--config", metavar="FILE", help="TOML or YAML of options; the command line wins")
    target.add_argument(
        "--checkpoints",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep every epoch beside the best one (ModelCheckpoint): NAME.checkpoints/NAME.{epoch:02d}-{val_loss:.2f}",
    )
    target.add_argument(
        "--tensorboard", action="store_true", help="TensorBoard logs in NAME.tensorboard (keras.callbacks.TensorBoard)"
    )
    group = target.add_argument_group("training")
    group.add_argument("--epochs", type=positive, help=f"most epochs (fit: epochs){epochs}")
    group.add_argument("--batch-size", type=positive, help="samples a step (fit: batch_size)")
    group.add_argument("--validation-split", type=share, help="share of each class kept for validation")
    group.add_argument("--loss", choices=LOSSES, default="auto", help="keras.losses; auto: cross-entropy, or mse")
    group.add_argument("--gamma", type=zero_or_more, default=2.0, help="of focal (CategoricalFocalCrossentropy: gamma)")
    group.add_argument("--label-smoothing", type=fraction, help="CategoricalCrossentropy: label_smoothing")
    group.add_argument(
        "--class-weight", default="none", metavar="W", help="balanced, or NAME=WEIGHT,... (fit: class_weight)"
    )
    group.add_argument(
        "--monitor",
        choices=("val_accuracy", "val_loss", "none"),
        help="what decides the best epoch (EarlyStopping: monitor); none keeps the last",
    )
    group.add_argument(
        "--patience",
        type=whole,
        help="stop after this many epochs without a better one, 0 is never (EarlyStopping: patience); "
        "the best epoch's weights are kept in any case",
    )
    group.add_argument(
        "--ema-momentum",
        type=fraction,
        help="of the average of the weights that is validated and saved, a step; 0 is none (Optimizer: ema_momentum)",
    )
    group.add_argument("--seed", type=whole, default=0, help="of split, weights, order and augmentation")
    group.add_argument("--quiet", action="store_true", help="no progress")
    _add_optimizer_options(target, weight_decay)
    target.set_defaults(**defaults)


def _add_optimizer_options(target: argparse.ArgumentParser, weight_decay: str) -> None:
    group = target.add_argument_group("optimizer")
    group.add_argument("--optimizer", choices=OPTIMIZERS, help="keras.optimizers")
    group.add_argument("--learning-rate", type=above_zero, help="the highest (learning_rate)")
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="CosineDecay to 0 over all epochs, ExponentialDecay a step each epoch, or ReduceLROnPlateau",
    )
    group.add_argument("--warmup", type=fraction, help="share of training in which the rate rises, with cosine")
    group.add_argument("--weight-decay", type=zero_or_more, help=f"of adamw (AdamW: weight_decay){weight_decay}")
    fields = {f.name: f.default for f in dataclasses.fields(OptimizerOptions)}
    for name, kind, text in (
        ("decay-rate", above_zero, "of exponential (ExponentialDecay: decay_rate)"),
        ("factor", fraction, "of plateau (ReduceLROnPlateau: factor)"),
        ("plateau-patience", positive, "of plateau (ReduceLROnPlateau: patience)"),
        ("momentum", fraction, "of sgd and rmsprop"),
        ("beta-1", fraction, "of adam and adamw"),
        ("beta-2", fraction, "of adam and adamw"),
        ("epsilon", above_zero, "of adam, adamw and rmsprop"),
        ("rho", fraction, "of rmsprop"),
        ("clipnorm", zero_or_more, "largest norm of a gradient, 0 is none"),
    ):
        group.add_argument(f"--{name}", type=kind, default=fields[name.replace("-", "_")], help=text)
    group.add_argument(
        "--nesterov", action=argparse.BooleanOptionalAction, default=fields["nesterov"], help="of sgd (SGD: nesterov)"
    )


def add_kernel_options(group: Any, initializer: str) -> None:
    """Start and regularisation of the kernels."""
    group.add_argument(
        "--kernel-initializer", choices=INITIALIZERS, default=initializer, help="keras.initializers; not of notebook"
    )
    group.add_argument("--l1", type=zero_or_more, default=0.0, help="regularizers.L1 of every kernel; not of notebook")
    group.add_argument("--l2", type=zero_or_more, default=0.0, help="regularizers.L2 of every kernel; not of notebook")


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


def part(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, float, lambda v: 0 <= v <= 1, "a number from 0 to 1")


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
