"""Transfer learning: networks of keras.applications, trained from their end to their beginning in stages.

First only the new last layer learns, then a share of the backbone from its end, then all of it. One optimizer
and one schedule span all stages, so a training goes on after a cut as any other does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.errors import InputError, ModelError, SourceError
from edgecnn.export.reading.stored import read_stored
from edgecnn.spec import PixelSpec

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network of keras.applications."""

    name: str
    """Of the function in keras.applications."""
    scaling: Mapping[str, Any]
    """Fields of PixelSpec that its weights expect; keras.applications' preprocess_input."""


BACKBONES = {
    "mobilenetv2": Backbone("MobileNetV2", {"scale": 1.0, "divisor": 127.5, "offset": -1.0}),
    # 0 to 255: Rescaling and Normalization are its first layers.
    "efficientnetb0": Backbone("EfficientNetB0", {"scale": 1.0, "divisor": None, "offset": 0.0}),
}
"""--architecture -> network."""

SMALLEST = 32
"""Least height and width that keras.applications builds these for."""


def backbone_recipe(architecture: str, pixels: PixelSpec) -> PixelSpec:
    """The recipe with the scaling that the backbone's weights expect.

    Raises:
        InputError: they expect another colour or a larger image.
    """
    if pixels.color != "rgb":
        raise InputError(f"--color {pixels.color}: {architecture} takes rgb")
    if min(pixels.height, pixels.width) < SMALLEST:
        raise InputError(f"--image-size {pixels.height}x{pixels.width}: {architecture} needs at least {SMALLEST}")
    return dataclasses.replace(pixels, **{"mean": None, "std": None, **BACKBONES[architecture].scaling})


def build_backbone(
    architecture: str, weights: str, shape: Sequence[int], classes: int, *, dropout: float = 0.2, seed: int = 0
) -> tuple[keras.Model, list[keras.Layer]]:
    """A classifier on a backbone.

    Args:
        architecture: one of BACKBONES.
        weights: "imagenet", "none", or a file of the backbone's weights or of a whole model on it.
        shape: (height, width, 3) of the input.
        classes: outputs of the softmax.
        dropout: share of the averaged features dropped in training.
        seed: of the new weights and the dropout.

    Returns:
        The model, and the backbone's layers in order.

    Raises:
        SourceError: the weights can't be had.
        InputError: they belong to another network.
    """
    import keras
    from keras import layers

    make = getattr(keras.applications, BACKBONES[architecture].name)
    inputs = keras.Input(tuple(shape), name="image")

    def build(source: str | None) -> keras.Model:
        return make(input_tensor=inputs, include_top=False, weights=source)

    base = _with_imagenet(build, architecture) if weights == "imagenet" else build(None)
    x = layers.GlobalAveragePooling2D()(base.output)
    x = layers.Dropout(dropout, seed=seed)(x)
    start = keras.initializers.GlorotUniform(seed=seed)
    # float32 also in mixed precision: a softmax in 16 bits loses the small probabilities.
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", kernel_initializer=start)(x)
    model = keras.Model(inputs, outputs, name=architecture)
    if weights not in ("imagenet", "none"):
        _load(Path(weights), base)
    return model, list(base.layers)


def _with_imagenet(build: Callable[[str], keras.Model], architecture: str) -> keras.Model:
    try:
        # Keras shows the download on stdout, and warns at other sizes that the weights are those of 224x224.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build("imagenet")
    except Exception as e:
        # Keras raises a bare Exception where the download fails; anything else is its own to explain.
        if "fetch failure" not in str(e):
            raise
        raise SourceError(
            f"--weights imagenet: the weights of {architecture} can't be downloaded here; give a file that was "
            f"downloaded elsewhere with --weights FILE, or start from scratch with --weights none"
        ) from None


def _load(path: Path, base: keras.Model) -> None:
    """Read a backbone's weights, from a file of them alone or of a whole model on it."""
    if not path.is_file():
        raise SourceError(f"--weights {path}: no such file", code="missing_file")
    try:
        read_stored(path)  # no damaged file gets as far as the HDF5 library
    except ModelError as e:
        raise InputError(f"--weights {e}") from None
    try:
        base.load_weights(path)
        return
    except Exception as e:
        reason = " ".join(str(e).split())
    before = [np.array(w) for w in base.get_weights()]
    with contextlib.suppress(Exception):
        # An HDF5 file of a whole model has a layer more, but the backbone's have their names.
        base.load_weights(path, by_name=True)
    if all(np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True)):
        raise InputError(
            f"--weights {path}: holds no weights of this backbone (keras.applications, include_top=False, alone or in "
            f"a model on it): {reason:.200}"
        )


def unfreezing(layers: Sequence[keras.Layer], shares: Sequence[float], epochs: int) -> keras.callbacks.Callback:
    """The callback that trains a growing share of a backbone; batch normalisation keeps its statistics.

    Args:
        layers: of the backbone, in order.
        shares: of the layers, from the end, that are trained in each equal part of the epochs.
        epochs: of the whole training.
    """
    from keras.callbacks import Callback
    from keras.layers import BatchNormalization

    class Unfreeze(Callback):
        def __init__(self) -> None:
            super().__init__()
            self.stage = -1

        def on_epoch_begin(self, epoch, logs=None):
            stage = epoch * len(shares) // epochs
            if stage == self.stage:
                return
            self.stage = stage
            first = round(len(layers) * (1 - shares[stage]))
            for i, layer in enumerate(layers):
                layer.trainable = i >= first and not isinstance(layer, BatchNormalization)
            # The step was traced with the variables that were trained before.
            self.model.make_train_function(force=True)

    return Unfreeze()
