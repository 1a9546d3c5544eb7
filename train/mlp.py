"""`edgecnn train mlp`, also `python train/mlp.py FILE.csv`: the rows of a CSV become a Keras model.

read -> split -> learn the recipe -> check -> fit -> save, with recipe and class names inside the file.
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
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecnn.cli import OK, SOME_FAILED
from edgecnn.errors import InputError
from edgecnn.spec import ModelSpec, TableSpec
from edgecnn.terminal import say

from . import backend, config
from .architectures import Kernels
from .columns import Rules, encode_table, make_spec
from .devices import require_tensorboard
from .fit import FitOptions, fit
from .losses import class_weights
from .mlp_options import parse
from .optimizers import OptimizerOptions
from .options import pick
from .perceptrons import NOTEBOOK, Network, Scale, perceptron
from .saving import check_output
from .split import split
from .table_check import check_table
from .table_report import measure, write_report
from .tables import Reading, Table, read_table

_BATCHES = 32
"""An epoch has about as many steps, where --batch-size is not given."""


def main(argv: Sequence[str]) -> int:
    """Train one table model; the path of the saved model goes to stdout.

    Raises:
        EdgeCNNError: wrong input, or a file that can't be written.
    """
    command, options = parse(argv)
    output = check_output(options.output)
    table = read_table(options.file, pick(Reading, options))
    if options.class_weight != "none" and table.labels is None:
        raise InputError("--class-weight is for classes, the target is a regression")
    if options.tensorboard:
        require_tensorboard()
    backend.start(options.seed)
    training, held = _split(np.arange(len(table)), table, options.validation_split, options.seed)
    stopping = held
    if options.stopping_split:
        training, stopping = _split(training, table, options.stopping_split, options.seed)
    recipe = make_spec(table, training, pick(Rules, options))
    rows = encode_table(table, recipe)
    data = check_table(table, recipe, rows, training, held, weighted=options.class_weight != "none")
    for line in data.findings:
        say(f"check: {line}")
    if options.check_only:
        print(data.describe())
        return SOME_FAILED if data.findings else OK
    say(f"{len(training)} rows for training, {len(held)} held out; {recipe.describe()}")
    if options.monitor != "none" and not options.stopping_split:
        say(f"--monitor {options.monitor} without --stopping-split: the held-out rows choose the epoch they measure")
    options.batch_size = options.batch_size or _batch_size(len(training))
    model, unit = _build(options, table, recipe, rows[training], training)
    targets = _shape_targets(table)
    spec = ModelSpec(table=recipe, labels=table.labels, head=table.head, provenance=_provenance(options, table))
    result = fit(
        model,
        lambda start: _batches(rows[training], targets[training], options.batch_size, options.seed, start),
        _ordered(rows[stopping], targets[stopping]),
        spec,
        pick(
            FitOptions, options, steps_per_epoch=math.ceil(len(training) / options.batch_size), output=output,
            unit=unit, optimizing=pick(OptimizerOptions, options), identity=config.identity(options),
            class_weight=class_weights(options.class_weight, table.targets[training], table.labels or ()),
        ),
    )  # fmt: skip
    config.write_config(output, command, options)
    measured = measure(model, spec, rows[held], table.targets[held])
    if options.report:
        write_report(output, model, spec, result, data, measured)
    say(f"{measured.describe()} (epoch {result.best_epoch} of {result.epochs}), {result.seconds:.0f} s, saved {output}")
    print(output)
    return OK


def _split(positions: np.ndarray, table: Table, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two parts of positions, as by split."""
    first, second = split(table.targets[positions], table.labels, share, seed)
    return positions[first], positions[second]


def _batch_size(rows: int) -> int:
    """A power of two that gives about _BATCHES steps an epoch, from 32 to 1024."""
    return 2 ** round(min(10, max(5, math.log2(rows / _BATCHES))))


def _shape_targets(table: Table) -> np.ndarray:
    """Targets as the loss takes them, (n, outputs) float32."""
    if table.task == "multiclass":
        return np.eye(len(table.labels or ()), dtype=np.float32)[table.targets]
    return table.targets.astype(np.float32)[:, np.newaxis]


def _build(
    options: argparse.Namespace, table: Table, recipe: TableSpec, rows: np.ndarray, training: np.ndarray
) -> tuple[Any, float]:
    """The model, and the unit that a regression's loss measures errors in.

    Raises:
        InputError: there is nothing to learn from.
    """
    if (rows == rows[0]).all():
        raise InputError(f"{table.path}: every column holds one value only; there is nothing to learn from")
    network = pick(Network, options)
    if options.architecture == "notebook":
        network = dataclasses.replace(NOTEBOOK, standardize=options.standardize)
    activation = {"binary": "sigmoid", "multiclass": "softmax", "regression": "linear"}[table.task]
    outputs = len(table.labels or ()) if table.task == "multiclass" else 1
    scale = Scale.of_targets(table.targets[training]) if table.labels is None else None
    model = perceptron(
        outputs, activation, network, Scale.of_inputs(rows, recipe), scale,
        kernels=pick(Kernels, options), seed=options.seed,
    )  # fmt: skip
    return model, 1.0 if scale is None else float(np.sqrt(scale.variance))


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


def _ordered(rows: np.ndarray, targets: np.ndarray):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((rows, targets)).batch(1024)


def _provenance(options: argparse.Namespace, table: Table) -> dict[str, str]:
    import keras

    return {
        "trained_by": f"edgecnn train mlp --architecture {options.architecture}",
        "keras": keras.__version__,
        "rows": str(len(table)),
        "seed": str(options.seed),
    }
