"""`edgecnn train mlp`, also `python train/mlp.py FILE.csv`: the rows of a CSV become a Keras model.

read -> split -> fit -> save, with the columns and the class names inside the file.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # As a script, its own folder comes first on the path, where fit.py or images.py would hide other modules.
    sys.path.pop(0)
    try:
        import edgecnn.train.mlp as _installed
    except ImportError as _e:
        from pathlib import Path as _Path

        _root = _Path(__file__).resolve().parent.parent
        _hint = f"run: {sys.executable} -m pip install '{_root}[cpu,train]'"
        print(f"edgecnn is not installed ({_e}); {_hint}", file=sys.stderr)
        sys.exit(2)
    from edgecnn.cli import guard as _guard

    sys.exit(_guard(_installed.main))

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecnn.cli import OK, SOME_FAILED
from edgecnn.errors import InputError
from edgecnn.spec import ModelSpec

from . import architectures, backend, config
from .check import check_table
from .fit import FitOptions, Result, fit
from .losses import class_weights
from .optimizers import OptimizerOptions
from .options import add_fit_options, add_kernel_options, fraction, parser, pick, positive
from .progress import note
from .saving import check_output
from .split import split
from .table_report import write_report
from .tables import TASKS, Table, read_table

FIT_DEFAULTS: dict[str, Any] = {
    "epochs": 150, "batch_size": 10, "validation_split": 0.33, "optimizer": "adamw", "learning_rate": 1e-3,
    "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.05, "label_smoothing": 0.0,
    "monitor": "val_loss", "patience": 30, "ema_momentum": 0.0,
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Train one table model; the path of the saved model goes to stdout.

    Raises:
        EdgeCNNError: wrong input, or a file that can't be written.
    """
    command, options = parse(argv)
    output = check_output(options.output)
    table = read_table(
        options.file, target=options.target, task=options.task, delimiter=options.delimiter, header=options.header
    )
    backend.start(options.seed)
    chosen, held = _split(table, options)
    targets, outputs, activation = _shape_targets(table)
    note(
        f"{len(chosen)} rows for training, {len(held)} for validation; {len(table.spec.columns)} columns, "
        f"target {table.spec.target!r}: {table.task}" + (f" of {', '.join(table.labels)}" if table.labels else "")
    )
    findings = check_table(table, chosen, held)
    for line in findings:
        note(f"check: {line}")
    if options.check_only:
        print(f"{len(table.rows)} rows, {len(table.spec.columns)} columns; {len(findings)} findings")
        return SOME_FAILED if findings else OK
    model = _build(options, table.rows[chosen], outputs, activation)
    steps = math.ceil(len(chosen) / options.batch_size)
    if options.class_weight != "none" and table.labels is None:
        raise InputError("--class-weight is for classes, the target is a regression")
    weights = class_weights(options.class_weight, table.targets[chosen], table.labels or ())
    spec = _spec(table, options)
    result = fit(
        model,
        lambda start: _batches(table.rows[chosen], targets[chosen], options.batch_size, options.seed, start),
        _ordered(table.rows[held], targets[held], options.batch_size),
        spec,
        pick(
            FitOptions, options, steps_per_epoch=steps, output=output, optimizing=pick(OptimizerOptions, options),
            class_weight=weights, identity=config.identity(options),
        ),
    )  # fmt: skip
    config.write_config(output, command, options)
    if options.report:
        write_report(output, model, spec, result, table.rows[held], table.targets[held])
    note(f"{_describe(result)} (epoch {result.best_epoch} of {result.epochs}), {result.seconds:.0f} s, saved {output}")
    print(output)
    return OK


def parse(argv: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The parser, and the options of a command line and its --config."""
    p = parser(
        "edgecnn train mlp",
        "FILE.csv",
        "Train a network on the rows of a CSV; export reads the saved file without a flag.",
        "Architectures: default standardises its columns inside the model; notebook is the diabetes tutorial's "
        "12 relu, dropout 0.2, 6 relu, dropout 0.2 on raw columns.",
    )
    p.add_argument("file", metavar="FILE.csv", help="numeric columns and a target")
    p.add_argument("--target", metavar="COLUMN", help="name, or position from 1 (-1 is the last); default the last")
    p.add_argument("--task", choices=TASKS, help="default: told from the target's values")
    p.add_argument("--delimiter", metavar="CHAR", type=_character, help="default: sniffed among , ; tab |")
    p.add_argument(
        "--header", action=argparse.BooleanOptionalAction,
        help="whether line 1 holds names; default: it does when none of its cells is a number",
    )  # fmt: skip
    p.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="NAME.report.html and .json by the model"
    )
    group = p.add_argument_group("network")
    group.add_argument("--architecture", choices=architectures.MLPS, default="default", help="the network")
    group.add_argument(
        "--hidden",
        type=positive,
        nargs="+",
        default=[32, 16],
        metavar="N",
        help="units of each hidden layer of default",
    )
    group.add_argument(
        "--dropout", type=fraction, default=0.2, help="after each hidden layer of default (Dropout: rate)"
    )
    group.add_argument(
        "--activation", choices=architectures.ACTIVATIONS, default="relu", help="of the hidden layers of default"
    )
    add_kernel_options(group, "glorot_uniform")
    add_fit_options(p, FIT_DEFAULTS)
    return p, config.parse(p, argv)


def _character(text: str) -> str:
    text = "\t" if text in ("\\t", "tab") else text
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character")
    return text


def _split(table: Table, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    if table.labels is not None:
        return split(table.targets, table.labels, options.validation_split, options.seed)
    from sklearn.model_selection import train_test_split

    positions = np.arange(len(table.rows))
    chosen, held = train_test_split(positions, test_size=options.validation_split, random_state=options.seed)
    return np.sort(chosen), np.sort(held)


def _shape_targets(table: Table) -> tuple[np.ndarray, int, str]:
    """Targets as the loss takes them, (n, outputs) float32; the number of outputs; the last activation."""
    if table.task == "multiclass":
        classes = len(table.labels or ())
        return np.eye(classes, dtype=np.float32)[table.targets], classes, "softmax"
    activation = "sigmoid" if table.task == "binary" else "linear"
    return table.targets.astype(np.float32)[:, np.newaxis], 1, activation


def _build(options: argparse.Namespace, rows: np.ndarray, outputs: int, activation: str):
    if options.architecture == "notebook":
        return architectures.notebook_mlp(rows.shape[1], outputs, activation, seed=options.seed)
    constant = np.flatnonzero(rows.min(axis=0) == rows.max(axis=0))
    if len(constant) == rows.shape[1]:
        raise InputError("every column holds one value only; there is nothing to learn from")
    return architectures.default_mlp(
        rows, outputs, activation, hidden=options.hidden, hidden_activation=options.activation,
        dropout=options.dropout, kernels=pick(architectures.Kernels, options), seed=options.seed,
    )  # fmt: skip


def _batches(rows: np.ndarray, targets: np.ndarray, batch_size: int, seed: int, start: int):
    """Endless batches from the given one on, every pass in a new order that the seed decides."""
    import tensorflow as tf

    def order(number: tf.Tensor) -> tf.data.Dataset:
        mixed = tf.random.experimental.stateless_shuffle(
            tf.range(len(rows), dtype=tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(mixed).batch(batch_size)

    x, y = tf.constant(rows), tf.constant(targets)
    positions = tf.data.Dataset.counter().flat_map(order).skip(start)
    return positions.map(lambda i: (tf.gather(x, i), tf.gather(y, i))).prefetch(4)


def _ordered(rows: np.ndarray, targets: np.ndarray, batch_size: int):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((rows, targets)).batch(max(batch_size, 256))


def _spec(table: Table, options: argparse.Namespace) -> ModelSpec:
    import keras

    return ModelSpec(
        table=table.spec,
        labels=table.labels,
        head=table.head,
        provenance={
            "trained_by": f"edgecnn train mlp --architecture {options.architecture}",
            "keras": keras.__version__,
            "rows": str(len(table.rows)),
            "seed": str(options.seed),
        },
    )


def _describe(result: Result) -> str:
    shown = {"accuracy": "val accuracy", "auc": "AUC", "mae": "val mean absolute error"}
    return ", ".join(f"{text} {result.metrics[name]:.4f}" for name, text in shown.items() if name in result.metrics)
