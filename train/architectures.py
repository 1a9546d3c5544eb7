"""The networks for images: `notebook` and `edge`; those for tables are in perceptrons.py.

Widths of `edge` were chosen by onnxruntime's measured time, not by counting multiply-adds: full 3x3
convolutions at low resolution run at several times the rate of depthwise ones on a CPU, and relu after
every convolution and batch normalisation folds into it, also in int8.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

EDGES = {"edge-small": 0.5, "edge": 1.0, "edge-large": 1.5}
"""Factors on the channels of the default network, by name."""

CNNS = (*EDGES, "notebook")

EDGE_WIDTHS = (16, 32, 48, 96, 128, 160)
"""Channels of the stem and after each halving of the resolution, at width 1."""

SMALLEST_MAP = 4
"""Side of the last feature map, pixels: the resolution is halved while more than this remains."""


INITIALIZERS = {
    "he_normal": "HeNormal", "he_uniform": "HeUniform", "glorot_normal": "GlorotNormal",
    "glorot_uniform": "GlorotUniform", "lecun_normal": "LecunNormal", "random_normal": "RandomNormal",
}  # fmt: skip
"""Option -> class of keras.initializers."""

ACTIVATIONS = ("relu", "elu", "selu", "tanh", "sigmoid", "leaky_relu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernels:
    """How the kernels of a network start and what keeps them small."""

    kernel_initializer: str = "he_normal"
    """One of INITIALIZERS."""
    l1: float = 0.0
    l2: float = 0.0

    def options(self, seed: int) -> dict:
        """The arguments of a Keras layer."""
        from keras import initializers, regularizers

        start = getattr(initializers, INITIALIZERS[self.kernel_initializer])(seed=seed)
        penalty = regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None
        return {"kernel_initializer": start, "kernel_regularizer": penalty}


def notebook_cnn(shape: Sequence[int], classes: int, *, seed: int = 0) -> keras.Model:
    """The tutorial network: three 5x5 convolutions and six dense layers, softmax in the middle.

    Dense kernels start at N(0, 1) and a softmax, a sigmoid and a tanh follow one another, so gradients hardly
    pass: it stays near chance, and is here to compare with.

    Args:
        shape: (height, width, channels) of the input.
        classes: outputs of the softmax.
        seed: of the initial weights.
    """
    from keras import Input, Model, initializers, layers, regularizers

    x = inputs = Input(tuple(shape), name="image")
    for i, filters in enumerate((32, 12, 12)):
        x = layers.Conv2D(filters, 5, activation="relu", kernel_initializer=_glorot(seed + i))(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)

    def dense(x, i, units, activation, regularizer):
        start = initializers.RandomNormal(stddev=1.0, seed=seed + 100 + i)
        return layers.Dense(units, activation=activation, kernel_initializer=start, kernel_regularizer=regularizer)(x)

    x = dense(x, 0, 64, "relu", regularizers.L2(0.01))
    x = layers.Dropout(0.2, seed=seed)(x)
    x = dense(x, 1, 256, "softmax", regularizers.L2(0.01))
    x = dense(x, 2, 128, "elu", regularizers.L2(0.01))
    x = dense(x, 3, 64, "sigmoid", regularizers.L1(0.01))
    x = dense(x, 4, 32, "tanh", regularizers.L1(0.01))
    outputs = dense(x, 5, classes, "softmax", regularizers.L2(0.01))
    return Model(inputs, outputs, name="notebook")


def edge_cnn(
    shape: Sequence[int],
    classes: int,
    *,
    width: float = 1.0,
    dropout: float = 0.2,
    kernels: Kernels | None = None,
    seed: int = 0,
) -> keras.Model:
    """The default network: 3x3 convolutions with batch normalisation, a residual one where it is cheap.

    The number of stages follows the input's size (four halvings at 64x64, three at 32x32), so the last
    feature map is about 4x4 and is averaged.

    Args:
        shape: (height, width, channels) of the input.
        classes: outputs of the softmax.
        width: factor on the channels; the cost grows with its square.
        dropout: share of the averaged features dropped in training.
        kernels: of the convolutions and the last layer.
        seed: of the initial weights and the dropout.
    """
    from keras import Input, Model, layers

    halvings = max(1, min(len(EDGE_WIDTHS) - 1, int(math.log2(max(2, min(shape[:2]) / SMALLEST_MAP)))))
    widths = [max(8, round(w * width / 8) * 8) for w in EDGE_WIDTHS[: halvings + 1]]
    seeds = iter(range(seed * 1000, seed * 1000 + 1000))
    x = inputs = Input(tuple(shape), name="image")
    kernels = kernels or Kernels()
    x = _conv(x, widths[0], kernels.options(next(seeds)))
    for channels in widths[1:]:
        x = layers.MaxPooling2D()(x)
        x = _conv(x, channels, kernels.options(next(seeds)))
    x = _residual(x, kernels.options(next(seeds)))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout, seed=next(seeds))(x)
    last = kernels.options(next(seeds)) | {"kernel_initializer": _glorot(next(seeds))}
    outputs = layers.Dense(classes, activation="softmax", **last)(x)
    return Model(inputs, outputs, name="edge")


def _conv(x, channels: int, kernel: dict, *, relu: bool = True):
    from keras import layers

    x = layers.Conv2D(channels, 3, padding="same", use_bias=False, **kernel)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if relu else x


def _residual(x, kernel: dict):
    from keras import layers

    y = _conv(x, x.shape[-1], kernel, relu=False)
    return layers.ReLU()(layers.Add()([x, y]))


def _glorot(seed: int):
    from keras import initializers

    return initializers.GlorotUniform(seed=seed)
