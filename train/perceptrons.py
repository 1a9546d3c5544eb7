"""The networks for tables: columns standardised inside the model, then dense layers with dropout."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.spec import TableSpec

from .architectures import Kernels

if TYPE_CHECKING:
    import keras

MLPS = ("default", "notebook")

_CONSTANT = 1e30
"""Variance given to an input that has one value among the training rows: whatever comes later, it stays near 0."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Means and variances, float64."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of_inputs(cls, rows: np.ndarray, spec: TableSpec) -> Scale:
        """Of the number inputs of (n, spec.width) training rows; the inputs that are 0 or 1 stay as they are."""
        mean, variance = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
        numbers = np.zeros(spec.width, bool)
        start = 0
        for column in spec.recipes:
            numbers[start] = column.kind == "number"
            start += column.width
        return cls(np.where(numbers, mean, 0), np.where(variance == 0, _CONSTANT, np.where(numbers, variance, 1)))

    @classmethod
    def of_targets(cls, targets: np.ndarray) -> Scale:
        """Of the (n,) targets of a regression."""
        return cls(np.array(targets.mean(dtype=np.float64)), np.array(targets.var(dtype=np.float64) or 1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What the hidden layers are."""

    hidden: Sequence[int] = (64, 32)
    """Units of each."""
    activation: str = "relu"
    """One of architectures.ACTIVATIONS."""
    dropout: float = 0.3
    """Share of each hidden layer dropped in training."""
    batch_norm: bool = False
    """Batch normalisation before each activation."""
    standardize: bool = True
    """Number inputs to mean 0 and variance 1, by the training rows."""


NOTEBOOK = Network(hidden=(12, 6), dropout=0.2)
"""The diabetes tutorial's: 12 relu, dropout 0.2, 6 relu, dropout 0.2, and the output."""


def perceptron(
    outputs: int,
    activation: str,
    network: Network,
    inputs: Scale,
    targets: Scale | None = None,
    *,
    kernels: Kernels | None = None,
    seed: int = 0,
) -> keras.Model:
    """A network for the rows of a table.

    Args:
        outputs: 1 for two classes or a regression, else the number of classes.
        activation: of the output: sigmoid, softmax or linear.
        network: its hidden layers.
        inputs: of the training rows.
        targets: of a regression: the last layer works in its unit, the model gives the target's.
        kernels: of the hidden layers.
        seed: of the initial weights and the dropout.
    """
    from keras import Input, Model, initializers, layers

    kernels = kernels or Kernels(kernel_initializer="glorot_uniform")
    x = first = Input((len(inputs.mean),), name="row")
    if network.standardize:
        x = layers.Normalization(mean=inputs.mean, variance=inputs.variance, name="standardize")(x)
    for i, units in enumerate(network.hidden):
        x = layers.Dense(units, use_bias=not network.batch_norm, **kernels.options(seed * 1000 + i))(x)
        if network.batch_norm:
            x = layers.BatchNormalization()(x)
        x = layers.Activation(network.activation)(x)
        x = layers.Dropout(network.dropout, seed=seed * 1000 + 100 + i)(x)
    start = initializers.GlorotUniform(seed=seed * 1000 + 200)
    x = layers.Dense(outputs, activation=activation, kernel_initializer=start)(x)
    if targets is not None:
        x = layers.Rescaling(float(np.sqrt(targets.variance)), float(targets.mean), name="unit")(x)
    return Model(first, x, name="mlp")
