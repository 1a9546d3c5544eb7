"""Compile, fit, keep the best, evaluate, save: the same for images and tables."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.errors import InputError
from edgecnn.spec import ModelSpec
from edgecnn.terminal import say

from .devices import tensorboard
from .losses import build_loss, metrics
from .optimizers import OptimizerOptions, build_optimizer, plateau_callback
from .progress import display
from .workers import check_epochs

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
    unit: float = 1.0
    """What the loss of a regression measures errors in."""
    class_weight: dict[int, float] | None = None
    ema_momentum: float = 0.0
    """Of the average of the weights that is validated and saved, a step; 0 is none."""
    monitor: str = "val_loss"
    """What decides which epoch is the best; none keeps the last."""
    patience: int = 0
    """Epochs without a better one after which training stops; 0 is never."""
    resume: bool = False
    """Go on with a training that was cut off, if there is one."""
    identity: dict[str, Any] = dataclasses.field(default_factory=dict)
    """JSON types: only a training with the same may be gone on with."""
    validation_steps: int | None = None
    """Batches validated on after each epoch; None is all."""
    checkpoints: bool = False
    """Keep every epoch, numbered, beside the best one."""
    tensorboard: bool = False
    """Write TensorBoard logs beside the model."""
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
    training: Callable[[int], tf.data.Dataset],
    validation: tf.data.Dataset | None,
    spec: ModelSpec,
    options: FitOptions,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Result:
    """Train, leave the best weights in the model and in options.output.

    The best epoch is the one that options.monitor says. Its weights are on the disk within seconds, and
    Ctrl-C loses nothing before it.

    Args:
        model: a built Keras model.
        training: from the number of the first step to batches of inputs and targets, without end.
        validation: batches, finite.
        spec: what is stored beside the weights.
        options: how.
        callbacks: more of them, which depend on nothing but the epoch.

    Raises:
        InputError: the monitor doesn't fit the head, or --resume the options or the other workers.
        ModelError: the file can't be written.
        KeyboardInterrupt: Ctrl-C; what was saved stays.
    """
    import keras

    from .keep import KeepBest, higher_is_better
    from .resume import Resume

    start = time.perf_counter()
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=build_optimizer(
                options.optimizing, epochs=options.epochs, steps_per_epoch=options.steps_per_epoch
            ),
            loss=build_loss(
                options.loss,
                spec.head,
                label_smoothing=options.label_smoothing,
                gamma=options.gamma,
                unit=options.unit,
            ),
            metrics=metrics(spec.head),
        )
        # For every weight, also those that a callback freezes for a while.
        model.optimizer.build(model.trainable_variables)
    monitor = options.monitor.removeprefix("val_") if validation is None else options.monitor
    if monitor.removeprefix("val_") == "accuracy" and spec.head == "regression":
        raise InputError("--monitor val_accuracy is for classes, the target is a regression; use val_loss")
    mode = "max" if higher_is_better(monitor) else "min"
    best = KeepBest(monitor, options.output, spec, options.ema_momentum, each_epoch=options.checkpoints)
    counting = []
    if options.patience and monitor != "none":
        counting.append(keras.callbacks.EarlyStopping(monitor, patience=options.patience, mode=mode))
    if options.optimizing.schedule == "plateau":
        counting.append(plateau_callback(options.optimizing, "loss" if monitor == "none" else monitor, mode))
    if options.tensorboard:
        callbacks = [*callbacks, tensorboard(options.output.with_name(f"{options.output.stem}.tensorboard"))]
    resume = Resume(options.output, options.identity, best, counting, go_on=options.resume)
    if options.resume and model.distribute_strategy.num_replicas_in_sync > 1:
        check_epochs(model.distribute_strategy, resume.epoch)
    if options.resume:
        say(f"going on after epoch {resume.epoch}" if resume.epoch else "nothing to go on with; starting anew")
    try:
        with display(options.epochs, quiet=options.quiet) as (verbose, shown):
            model.fit(
                training(resume.epoch * options.steps_per_epoch),
                epochs=options.epochs,
                initial_epoch=resume.epoch,
                steps_per_epoch=options.steps_per_epoch,
                validation_data=validation,
                validation_steps=options.validation_steps,
                callbacks=[best, *callbacks, *counting, *shown, resume],
                class_weight=options.class_weight,
                verbose=verbose,
                shuffle=False,
            )
    except KeyboardInterrupt:
        best.flush()
        kept = f"{options.output} holds epoch {best.epoch}" if best.saved else "nothing was saved yet"
        say(f"interrupted; {kept}" + (", --resume goes on" if resume.epoch else ""))
        raise
    best.restore()
    resume.finish()
    measured = {}
    if validation is not None:
        measured = model.evaluate(validation, verbose=0, return_dict=True)
    seconds = time.perf_counter() - start
    return Result(measured, best.epoch, resume.epoch, seconds, resume.history)
