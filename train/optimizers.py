"""Optimizers and learning rate schedules, by their Keras names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "constant")

_UNDECAYED = ["bias", "gamma", "beta"]
"""Variables that weight decay spares: it would only shift what batch normalisation sets."""


def build_optimizer(
    name: str,
    *,
    learning_rate: float,
    schedule: str,
    warmup: float,
    steps: int,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
) -> keras.optimizers.Optimizer:
    """An optimizer with its schedule.

    Args:
        name: one of OPTIMIZERS.
        learning_rate: the highest.
        schedule: one of SCHEDULES; cosine falls to 0 over all steps.
        warmup: share of the steps in which the rate rises from 0, before the cosine.
        steps: of the whole training.
        weight_decay: of adamw, spared on biases and batch normalisation.
        momentum: of sgd, with Nesterov.
    """
    from keras import optimizers

    rate: float | keras.optimizers.schedules.LearningRateSchedule = learning_rate
    if schedule == "cosine":
        rising = int(steps * warmup)
        rate = optimizers.schedules.CosineDecay(
            0.0 if rising else learning_rate,
            max(1, steps - rising),
            warmup_target=learning_rate if rising else None,
            warmup_steps=rising,
        )
    if name == "sgd":
        return optimizers.SGD(rate, momentum=momentum, nesterov=momentum > 0)
    if name == "adam":
        return optimizers.Adam(rate)
    optimizer = optimizers.AdamW(rate, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_names=_UNDECAYED)
    return optimizer
