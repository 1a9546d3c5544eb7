"""scikit-learn's handwritten digits as images: a real data set that needs no download.

1,797 digits of 8x8 pixels with 17 levels, written by 43 people, ship inside scikit-learn's wheel.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from edgecnn.errors import SourceError

from .images import ImageSet

ENLARGED = 8
"""Pixels of a written image for each of the 8x8: 64x64, smoothed by PIL's bicubic filter."""


def load_digits() -> ImageSet:
    """The digits as PNGs of 64x64, gray, ink light on dark as in scikit-learn."""
    from PIL import Image
    from sklearn.datasets import load_digits as load

    data = load()
    # 0 to 16 onto 0 to 255.
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)
    sources = []
    for image in images:
        side = image.shape[0] * ENLARGED
        file = io.BytesIO()
        Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(file, "PNG")
        sources.append(file.getvalue())
    return ImageSet(tuple(sources), data.target.astype(np.int64), tuple(str(n) for n in data.target_names))


def write_digits(folder: str | os.PathLike[str]) -> int:
    """Write the digits as FOLDER/CLASS/NUMBER.png; returns how many.

    Raises:
        SourceError: the folder can't be written to.
    """
    images = load_digits()
    root = Path(folder)
    try:
        for name in images.classes:
            (root / name).mkdir(parents=True, exist_ok=True)
        for number, (source, index) in enumerate(zip(images.sources, images.indices, strict=True)):
            (root / images.classes[index] / f"{number:04}.png").write_bytes(source)
    except OSError as e:
        raise SourceError(f"{root}: can't write: {e.strerror or e}", code="unwritable") from None
    return len(images)
