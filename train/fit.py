"""Compile, fit, keep the best, evaluate, save: the same for images and tables."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.spec import ModelSpec

from .losses import build_loss, metrics
from .optimizers import OptimizerOptions, build_optimizer, plateau_callback
from .progress import display, note

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a network is trained; the names are Keras's."""

    epochs: int
    batch_size: int
    steps_per_epoch: int
    output: Path
    optimizing: OptimizerOptions = dataclasses.field(default_factory=OptimizerOptions)
    loss: str = "auto"
    gamma: float = 2.0
    label_smoothing: float = 0.0
    class_weight: dict[int, float] | None = None
    ema_momentum: float = 0.0
    """Of the average of the weights that is validated and saved, a step; 0 is none."""
    patience: int = 0
    """Epochs without a better val_loss after which training stops; 0 is never."""
    quiet: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """What came out of a training."""

    metrics: dict[str, float]
    """Of the saved weights on the validation data, by Keras's names; empty without validation data."""
    best_epoch: int
    """Counted from 1."""
    epochs: int
    """That were run."""
    seconds: float
    history: dict[str, list[float]]
    """Keras's History.history."""


def fit(
    model: keras.Model,
    training: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    spec: ModelSpec,
    options: FitOptions,
) -> Result:
    """Train, leave the best weights in the model and in options.output.

    The best epoch is the one with the lowest val_loss (loss without validation data). Its weights are
    on the disk as soon as it ends, so that Ctrl-C or a crash loses nothing before it.

    Args:
        model: a built Keras model.
        training: batches of inputs and targets, without end.
        validation: batches, finite.
        spec: what is stored beside the weights.
        options: how.

    Raises:
        ModelError: the file can't be written.
        KeyboardInterrupt: Ctrl-C; what was saved stays.
    """
    import keras

    from .keep import KeepBest

    start = time.perf_counter()
    model.compile(
        optimizer=build_optimizer(options.optimizing, epochs=options.epochs, steps_per_epoch=options.steps_per_epoch),
        loss=build_loss(options.loss, spec.head, label_smoothing=options.label_smoothing, gamma=options.gamma),
        metrics=metrics(spec.head),
    )
    monitor = "loss" if validation is None else "val_loss"
    best = KeepBest(monitor, options.output, spec, options.ema_momentum)
    callbacks = [best]
    if options.patience:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=options.patience))
    if options.optimizing.schedule == "plateau":
        callbacks.append(plateau_callback(options.optimizing, monitor))
    try:
        with display(options.epochs, quiet=options.quiet) as (verbose, shown):
            history = model.fit(
                training,
                epochs=options.epochs,
                steps_per_epoch=options.steps_per_epoch,
                validation_data=validation,
                callbacks=[*callbacks, *shown],
                class_weight=options.class_weight,
                verbose=verbose,
                shuffle=False,
            )
    except KeyboardInterrupt:
        kept = f"{options.output} holds epoch {best.epoch}" if best.saved else "nothing was saved yet"
        note(f"interrupted; {kept}")
        raise
    best.restore()
    measured = {}
    if validation is not None:
        measured = model.evaluate(validation, verbose=0, return_dict=True)
    epochs = len(history.history["loss"])
    seconds = time.perf_counter() - start
    return Result(measured, best.epoch, epochs, seconds, history.history)
