"""What does a 1920x1080 JPEG cost from bytes to tensor beside its bare decode, and what does decode="fast" change?

The bare decode is simplejpeg.decode_jpeg of the same bytes with the recipe's DCT: what is above 1.00 is ours.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from race import race

from edgecnn import PixelSpec, preprocess
from edgecnn.decode import decode_for
from edgecnn.presets import from_preset
from edgecnn.selftest import synthetic_image

SIZE = 64
PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "ants-bees"
RECIPES = ("edgecnn", "keras-flow", "keras-dataset")
LEVELS = {"scale": 1.0, "divisor": None, "offset": 0.0, "mean": None, "std": None}
"""A recipe that ends with the pixels, 0 to 255."""


def to_jpeg(image: np.ndarray) -> bytes:
    """Quality 90, 4:2:0, as cameras write."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def measure(seconds: float) -> list[dict[str, Any]]:
    """Per recipe, exact and fast: microseconds to the tensor, and of the bare decode."""
    import simplejpeg

    data = to_jpeg(synthetic_image(1080, 1920))
    rows = []
    for recipe in RECIPES:
        exact = from_preset(recipe, height=SIZE, width=SIZE)
        out = np.empty(exact.shape, np.float32)
        for spec in (exact, dataclasses.replace(exact, decode="fast")):

            def whole(spec=spec, out=out) -> None:
                image, color = decode_for(spec, data, lent=True)
                preprocess(image, spec, out, color=color)

            def bare(fast=exact.decode == "tf") -> np.ndarray:
                return simplejpeg.decode_jpeg(data, "RGB", fastdct=fast)

            other, us, ratio = race(bare, whole, seconds)
            rows.append({"what": f"{recipe}, {spec.decode}", "us": us, "peer_us": other, "ratio": ratio})
    return rows


def errors(most: int = 100) -> tuple[str, list[dict[str, Any]]]:
    """Which photographs, and per recipe the levels by which fast differs from the recipe's decoder after the resize."""
    files = sorted(PHOTOS.glob("*/*/*.jpg"))
    sources = [f.read_bytes() for f in files[:: max(1, len(files) // most)]]
    what = f"{len(sources)} photographs (ants and bees)"
    if not sources:
        sources = [to_jpeg(synthetic_image(h, w)) for h, w in ((480, 640), (1080, 1920), (333, 500))]
        what = f"{len(sources)} synthetic pictures"
    rows = []
    for recipe in RECIPES:
        exact = PixelSpec(**{**from_preset(recipe, height=SIZE, width=SIZE).to_dict(), **LEVELS})
        fast = dataclasses.replace(exact, decode="fast")
        largest, total, values = 0.0, 0.0, 0
        for data in sources:
            a, b = (preprocess(image, s, color=c) for s in (exact, fast) for image, c in (decode_for(s, data),))
            difference = np.abs(a - b)
            largest, total = max(largest, float(difference.max())), total + float(difference.sum())
            values += difference.size
        rows.append({"what": recipe, "largest": largest, "mean": total / values})
    return what, rows
