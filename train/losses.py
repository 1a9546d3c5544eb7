"""Losses, metrics and class weights, by their Keras and scikit-learn names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.errors import InputError

if TYPE_CHECKING:
    import keras

LOSSES = ("auto", "categorical_crossentropy", "binary_crossentropy", "focal", "mse", "mae", "huber")


def build_loss(
    name: str, head: str, *, label_smoothing: float = 0.0, gamma: float = 2.0, unit: float = 1.0
) -> keras.losses.Loss:
    """Keras's loss.

    Args:
        name: one of LOSSES; auto is cross-entropy for classes, mse for a regression.
        head: softmax, sigmoid or regression, as in ModelSpec.
        label_smoothing: of the cross-entropies and focal.
        gamma: of focal.
        unit: of a regression: what errors are measured in, so that rates and penalties don't depend on the target's.

    Raises:
        InputError: the loss doesn't fit the head.
    """
    from keras import losses

    if name == "auto":
        name = {"softmax": "categorical_crossentropy", "sigmoid": "binary_crossentropy"}.get(head, "mse")
    if name in ("mse", "mae", "huber"):
        kinds = {"mse": losses.MeanSquaredError, "mae": losses.MeanAbsoluteError, "huber": losses.Huber}
        loss = kinds[name]()
        return loss if unit == 1 else lambda truth, predicted: loss(truth / unit, predicted / unit)
    if head == "regression":
        raise InputError(f"--loss {name} is for classes, the target is a regression; use mse, mae or huber")
    if name == "categorical_crossentropy" and head == "sigmoid":
        raise InputError("--loss categorical_crossentropy needs one output a class; use binary_crossentropy or focal")
    if name == "focal":
        focal = losses.CategoricalFocalCrossentropy if head == "softmax" else losses.BinaryFocalCrossentropy
        return focal(gamma=gamma, label_smoothing=label_smoothing)
    kinds = {
        "categorical_crossentropy": losses.CategoricalCrossentropy,
        "binary_crossentropy": losses.BinaryCrossentropy,
    }
    return kinds[name](label_smoothing=label_smoothing)


def metrics(head: str) -> list:
    """Keras's metrics for a head; for classes accuracy comes first."""
    from keras import metrics

    if head == "softmax":
        return ["accuracy"]
    if head == "sigmoid":
        return ["accuracy", metrics.AUC(name="auc")]
    return [metrics.MeanAbsoluteError(name="mae"), metrics.R2Score(name="r2")]


def class_weights(text: str, indices: np.ndarray, names: Sequence[str]) -> dict[int, float] | None:
    """What fit takes as class_weight.

    Args:
        text: "none", "balanced" (scikit-learn's n / (classes * count)) or "NAME=WEIGHT,...", others 1.
        indices: (n,) the class of each training sample.
        names: of the classes.

    Raises:
        InputError: a name or a weight can't be used.
    """
    if text == "none":
        return None
    if text == "balanced":
        from sklearn.utils.class_weight import compute_class_weight

        classes = np.arange(len(names))
        return dict(enumerate(compute_class_weight("balanced", classes=classes, y=indices).tolist()))
    weights = dict.fromkeys(range(len(names)), 1.0)
    for part in text.split(","):
        name, _, value = part.rpartition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = -1.0
        if name not in names or not 0 <= weight < float("inf"):
            raise InputError(
                f"--class-weight {part!r}: give balanced, none or NAME=WEIGHT with NAME of {', '.join(names)}"
            )
        weights[names.index(name)] = weight
    return weights
