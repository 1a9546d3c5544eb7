"""What decode="fast" costs: real images through it and through the decoder that the training used.

The proof of the graph has no part in this: Keras and ONNX get the same tensors, whoever decoded them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.decode import decode_for
from edgecnn.errors import EdgeCNNError, SourceError
from edgecnn.preprocess import preprocess
from edgecnn.spec import ModelSpec, PixelSpec

from ..source import Source
from .quality import top_class
from .samples import CHUNK, DEFAULT_LIMIT, list_images, spread

_LEVELS = {"scale": 1.0, "divisor": None, "offset": 0.0, "mean": None, "std": None}
"""A recipe that ends with the pixels, 0 to 255, as resized."""


@dataclasses.dataclass(frozen=True)
class Shortcut:
    """Images decoded fast beside the same decoded exactly."""

    training: str
    """The decoder of the training: pil or tf."""
    samples: int
    """Images compared."""
    max_levels: float
    """Largest difference of a pixel after the resize, levels of 255."""
    mean_levels: float
    """The mean of all differences."""
    top1_agreement: float | None
    """Share of images with the same class, 0 to 1; None for a regression."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types, with the decoder in use."""
        return {"decoder": "fast", **dataclasses.asdict(self)}

    def __str__(self) -> str:
        same = "" if self.top1_agreement is None else f"; the class stays the same for {self.top1_agreement:.1%}"
        return (
            f"on {self.samples} images the pixels differ from {self.training}'s by up to {self.max_levels:.0f} of 255 "
            f"levels, {self.mean_levels:.2f} on average{same}"
        )


def measure(source: Source, spec: ModelSpec, training: str, folder: Path) -> Shortcut:
    """Compare decode="fast" with the decoder of the training on a folder of images.

    Args:
        source: the Keras model, which says whether its answers change.
        spec: its recipe, which decodes fast.
        training: the decoder that the training used.
        folder: real images.

    Raises:
        SourceError: none of the images can be read.
    """
    assert spec.pixels is not None
    fast, exact = spec.pixels, dataclasses.replace(spec.pixels, decode=training)
    largest, total, values, same, compared = 0.0, 0.0, 0, 0, 0
    files = spread(list_images(folder), DEFAULT_LIMIT)
    for start in range(0, len(files), CHUNK):
        pairs = [pair for file in files[start : start + CHUNK] if (pair := _pair(file, fast, exact))]
        if not pairs:
            continue
        for (a, color_a), (b, color_b) in pairs:
            difference = np.abs(_levels(a, fast, color_a) - _levels(b, exact, color_b))
            largest, total = max(largest, float(difference.max())), total + float(difference.sum())
            values += difference.size
        answers = [
            top_class(source([np.stack([preprocess(p[k][0], recipe, color=p[k][1]) for p in pairs])])[0])
            for k, recipe in enumerate((fast, exact))
        ]
        same += int(np.sum(answers[0] == answers[1]))
        compared += len(pairs)
    if not compared:
        raise SourceError(f"none of the {len(files)} images in {folder} can be read")
    agreement = None if spec.head == "regression" else same / compared
    return Shortcut(training, compared, largest, total / values, agreement)


def _pair(file: Path, fast: PixelSpec, exact: PixelSpec) -> tuple[Any, Any] | None:
    try:
        return decode_for(fast, file), decode_for(exact, file)
    except EdgeCNNError:
        return None


def _levels(image: np.ndarray, recipe: PixelSpec, color: str) -> np.ndarray:
    return preprocess(image, dataclasses.replace(recipe, dtype="float32", **_LEVELS), color=color)
