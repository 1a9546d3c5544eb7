"""Make the pictures that the repository carries; `make digits` runs this after it has made the model.

runtime/edgecnn/digits.png: the digits 0 to 9 in a row, from images that the model was not trained on.
runtime/edgecnn/selftest.jpg: a 4:2:0 JPEG with odd sides; made only where it is missing, since its digests are kept.
docs/predict.png: what the README shows.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import edgecnn
from edgecnn.selftest import synthetic_image
from edgecnn.train.cnn_options import FIT_DEFAULTS
from edgecnn.train.digits import load_digits
from edgecnn.train.split import split

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "runtime/edgecnn/digits.onnx"

SHOWN = (2, 3, 5, 7, 8)


def held_out() -> list[np.ndarray]:
    """One image a digit, the second of its class in the validation split of `make digits`: (64, 64, 3) uint8."""
    digits = load_digits()
    _, validation = split(digits.indices, digits.classes, FIT_DEFAULTS["validation_split"], seed=0)
    chosen = [[i for i in validation if digits.indices[i] == n][1] for n in range(10)]
    return [edgecnn.decode(digits.sources[i]) for i in chosen]


def draw(images: list[np.ndarray], path: Path) -> None:
    """Each image with its label, and bars of the best three scores."""
    results = edgecnn.Predictor(MODEL).predict_batch(images)
    figure, axes = plt.subplots(2, len(images), figsize=(9, 3.1), height_ratios=(2, 1), layout="constrained")
    for (above, below), image, result in zip(axes.T, images, results, strict=True):
        above.imshow(image)
        above.set_title(f"{result.label}  {result.score:.3f}", fontsize=13, fontweight="bold")
        above.axis("off")
        top = result.top(3)[::-1]
        bars = below.barh([t[0] for t in top], [t[2] for t in top], color=["#bbb", "#bbb", "#1f77b4"])
        below.bar_label(bars, fmt="%.3f", padding=2, fontsize=8)
        below.set_xlim(0, 1.35)
        below.set_xticks([])
        below.spines[["top", "right", "bottom"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Write all three."""
    images = held_out()
    strip = Image.fromarray(np.concatenate(images, axis=1)).convert("L")
    strip.save(ROOT / "runtime/edgecnn/digits.png", optimize=True)
    jpeg = ROOT / "runtime/edgecnn/selftest.jpg"
    if not jpeg.exists():
        Image.fromarray(synthetic_image(53, 75)).save(jpeg, quality=75, subsampling="4:2:0")
    draw([images[n] for n in SHOWN], ROOT / "docs/predict.png")


if __name__ == "__main__":
    main()
