"""Draw docs/predict.png: images and what the built-in classifier says of them."""

from pathlib import Path

import matplotlib.pyplot as plt

import edgecnn
from edgecnn.train.digits import load_digits

SHOWN = (3, 5, 7, 8, 9)


def main() -> None:
    """Write the picture beside this file."""
    images = [edgecnn.decode(load_digits().sources[i]) for i in SHOWN]
    results = edgecnn.Predictor(Path(edgecnn.__file__).with_name("digits.onnx")).predict_batch(images)
    figure, axes = plt.subplots(2, len(SHOWN), figsize=(9, 3.1), height_ratios=(2, 1), layout="constrained")
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
    figure.savefig(Path(__file__).with_name("predict.png"), dpi=110)


if __name__ == "__main__":
    main()
