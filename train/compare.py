"""--compare-resizes: the same images, with the pixels of other loaders; which of them costs accuracy?

Two questions: what if a device loads images so for this model (validate), and what if training did too (train anew)?
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.presets import PRESETS
from edgecnn.spec import PixelSpec
from edgecnn.terminal import say

from .feed import Feed, Subset, value_range

if TYPE_CHECKING:
    import keras

_PIXELS = ("decode", "exif", "fit", "resize")
"""Fields of a recipe that decide the pixels; how they are normalised stays the model's."""

_MOST = 2000
"""Images compared, evenly spread over the validation images: each loader's tensors are held at once."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What another loader's pixels do to a model."""

    name: str
    """Presets that load so, or the recipe."""
    accuracy: float
    drop: float
    """Accuracy that the model's own recipe has more."""
    changed: float
    """Share of the images that get another answer."""
    trained: float | None
    """Accuracy of a model that was trained with these pixels and is validated with them; None where none was."""
    difference: float
    """Mean absolute difference of the pixels from the model's own recipe, levels of 0 to 255."""
    example: np.ndarray
    """(height, width, channels) float32: the image that differs most between the loaders, in the model's range."""

    def to_dict(self) -> dict[str, Any]:
        """JSON types, without the example."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k != "example"}


def compare_resizes(
    model: keras.Model, own: PixelSpec, subset: Subset, train: Callable[[PixelSpec], float] | None = None
) -> list[Comparison]:
    """Validate with the model's own recipe, then with every other loader's; the own one comes first.

    Args:
        model: trained.
        own: its recipe.
        subset: validation images.
        train: trains the same network with the same options on another recipe, and gives its validation accuracy.
    """
    low, high = value_range(own)
    positions = subset.positions[subset.readable]
    positions = positions[:: -(-len(positions) // _MOST)]
    truth = subset.images.indices[positions]
    sources = [subset.images.sources[i] for i in positions]
    rows = []
    loaders = _loaders(own)
    for name, spec in loaders.items():
        feed = Feed(sources, spec, cache="memory")
        images = feed.batch(np.arange(len(sources)))[0]
        rows.append((name, images, model.predict(images, verbose=0).argmax(axis=1)))
    _, first, answers = rows[0]
    accuracy = float((answers == truth).mean())
    distance = sum(np.abs(images - first).mean(axis=(1, 2, 3)) for _, images, _ in rows)
    shown = int(np.argmax(distance))
    found = []
    for name, images, other in rows:
        right = float((other == truth).mean())
        levels = float((np.abs(images - first) / (high - low)).mean() * 255)
        say(f"compare: {name}: accuracy {right:.4f} ({right - accuracy:+.4f}), pixels differ by {levels:.2f} levels")
        changed = float((other != answers).mean())
        found.append(Comparison(name, right, accuracy - right, changed, None, levels, images[shown]))
    if train is None:
        return found
    trained = [accuracy]
    for name, spec in list(loaders.items())[1:]:
        say(f"compare: training anew with the pixels of {name}, {len(trained)} of {len(loaders) - 1}")
        trained.append(train(spec))
        say(f"compare: trained with the pixels of {name}: accuracy {trained[-1]:.4f} ({trained[-1] - accuracy:+.4f})")
    return [dataclasses.replace(c, trained=t) for c, t in zip(found, trained, strict=True)]


def _loaders(own: PixelSpec) -> dict[str, PixelSpec]:
    """The model's own recipe, then those of the presets with other pixels, by the presets' names."""
    names = {own: "this model's own"}
    for preset, fields in PRESETS.items():
        pixels = {f.name: f.default for f in dataclasses.fields(PixelSpec) if f.name in _PIXELS}
        spec = dataclasses.replace(own, **pixels | {k: v for k, v in fields.items() if k in _PIXELS})
        names[spec] = f"{names[spec]}, {preset}" if spec in names else preset
    return {name: spec for spec, name in names.items()}
