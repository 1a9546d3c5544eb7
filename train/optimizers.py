"""Optimizers and learning rate schedules, by their Keras names."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant", "exponential", "plateau")

_UNDECAYED = ["bias", "gamma", "beta"]
"""Variables that weight decay spares: it would only shift what batch normalisation sets."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """Keras's optimizer and schedule; the names are Keras's."""

    optimizer: str = "adamw"
    """One of OPTIMIZERS."""
    learning_rate: float = 2e-3
    """The highest."""
    schedule: str = "cosine"
    """One of SCHEDULES; cosine falls to 0 over all steps, exponential by decay_rate an epoch."""
    warmup: float = 0.1
    """Share of all steps in which the rate rises from 0, before the cosine."""
    decay_rate: float = 0.96
    factor: float = 0.1
    """Of plateau: the rate is multiplied by it."""
    plateau_patience: int = 10
    """Of plateau: epochs without a better val_loss before that."""
    weight_decay: float = 0.05
    """Of adamw, spared on biases and batch normalisation."""
    momentum: float = 0.9
    """Of sgd and rmsprop."""
    nesterov: bool = True
    """Of sgd."""
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    """Of adam, adamw and rmsprop."""
    rho: float = 0.9
    """Of rmsprop."""
    clipnorm: float = 0.0
    """Largest norm of each gradient; 0 is none."""


def build_optimizer(options: OptimizerOptions, *, epochs: int, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """An optimizer with its schedule; `plateau` also needs the callback of plateau_callback."""
    from keras import optimizers

    o = options
    rate = _rate(o, epochs, steps_per_epoch)
    clip = {"clipnorm": o.clipnorm} if o.clipnorm else {}
    if o.optimizer == "sgd":
        return optimizers.SGD(rate, momentum=o.momentum, nesterov=o.nesterov and o.momentum > 0, **clip)
    if o.optimizer == "rmsprop":
        return optimizers.RMSprop(rate, rho=o.rho, momentum=o.momentum, epsilon=o.epsilon, **clip)
    betas = {"beta_1": o.beta_1, "beta_2": o.beta_2, "epsilon": o.epsilon}
    if o.optimizer == "adam":
        return optimizers.Adam(rate, **betas, **clip)
    optimizer = optimizers.AdamW(rate, weight_decay=o.weight_decay, **betas, **clip)
    optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
    return optimizer


def _rate(o: OptimizerOptions, epochs: int, steps_per_epoch: int):
    from keras.optimizers import schedules

    steps = epochs * steps_per_epoch
    if o.schedule == "exponential":
        return schedules.ExponentialDecay(o.learning_rate, steps_per_epoch, o.decay_rate, staircase=True)
    if o.schedule != "cosine":
        return o.learning_rate
    rising = int(steps * o.warmup)
    if not rising:
        return schedules.CosineDecay(o.learning_rate, steps)
    return schedules.CosineDecay(0.0, steps - rising, warmup_target=o.learning_rate, warmup_steps=rising)


def plateau_callback(options: OptimizerOptions, monitor: str, mode: str) -> keras.callbacks.Callback:
    """Keras's ReduceLROnPlateau, for schedule `plateau`."""
    from keras.callbacks import ReduceLROnPlateau

    return ReduceLROnPlateau(monitor, mode=mode, factor=options.factor, patience=options.plateau_patience)
