"""The report of an image classifier: its validation images again, with the most confident mistakes shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.decode import decode
from edgecnn.spec import ModelSpec, PixelSpec

from .compare import Comparison
from .evaluate import cost, evaluate_classes, worst_mistakes
from .feed import ImageData, Subset, value_range
from .fit import Result
from .report import Report, summary

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHOWN = 24
"""Mistakes, and augmented images, in the report."""

_BATCH = 64
"""Images scored at a time."""


def write_report(
    output: Path,
    model: keras.Model,
    spec: ModelSpec,
    result: Result,
    data: ImageData,
    training: tf.data.Dataset,
    compared: Sequence[Comparison] = (),
) -> None:
    """Write report.json and report.html beside the model.

    Args:
        output: the model's file.
        model: trained.
        spec: stored in it.
        result: of fit.
        data: what it was trained and validated on, and a test set that it never saw.
        training: batches as training saw them.
        compared: what the pixels of other loaders come to, if that was asked for.

    Raises:
        ModelError: they can't be written.
    """
    labels = spec.labels or ()
    scores, truth = _score(model, data.validation)
    numbers = evaluate_classes(scores, truth, labels)
    mistakes, pictures = _mistakes(scores, data.validation, labels)
    test = evaluate_classes(*_score(model, data.test), labels) if data.test else None
    trained = {"best_epoch": result.best_epoch, "epochs": result.epochs, "seconds": round(result.seconds, 1)}
    size = {**cost(model), "bytes": output.stat().st_size}
    images = data.training.images
    report = Report(
        {
            "model": output.name, **spec.provenance, **trained, "size": size, "validation": numbers, "test": test,
            "mistakes": mistakes, "history": result.history, "counts": images.counts, "recipe": spec.to_dict(),
            "resizes": [c.to_dict() for c in compared] or None,
        }
    )  # fmt: skip
    report.add_headline(numbers, trained | {"training images": len(data.training)} | size)
    if test:
        report.add_numbers("Test set", {k: v for k, v in test.items() if isinstance(v, (int, float))})
    report.add_curves(result.history, result.best_epoch)
    report.add_classes(numbers["per_class"])
    report.add_confusion(numbers["confusion"], labels)
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        report.add_roc(scores[:, 1], truth, labels[1])
    report.add_calibration(scores, truth, numbers["ece"])
    report.add_images("Most confident mistakes", pictures)
    report.add_images("What training saw", _augmented(training, spec))
    if compared:
        pictures = list(to_pixels(np.stack([c.example for c in compared]), spec.pixels))
        report.add_resizes(compared, pictures, numbers["samples"])
    report.add_text("Recipe", spec.pixels.describe() if spec.pixels else "")
    report.add_text("Network", summary(model), folded=True)
    report.write(output)


def _score(model: keras.Model, subset: Subset) -> tuple[np.ndarray, np.ndarray]:
    """(n, classes) scores and (n,) classes of the images that can be read."""
    scores = model.predict(subset.batches(_BATCH), verbose=0)
    readable = subset.readable
    return scores[readable], subset.truth[readable]


def _mistakes(
    scores: np.ndarray, subset: Subset, labels: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[tuple[np.ndarray, str]]]:
    """The most confident wrong answers, for report.json and as pictures with captions."""
    positions = subset.positions[subset.readable]
    truth = subset.images.indices[positions]
    found, pictures = [], []
    for i in worst_mistakes(scores, truth, SHOWN):
        source, label, score = subset.images.sources[positions[i]], labels[scores[i].argmax()], float(scores[i].max())
        name = str(source) if isinstance(source, Path) else None
        found.append({"source": name, "label": label, "score": score, "truth": labels[truth[i]]})
        pictures.append((decode(source), f"{label} {score:.2f}, is {labels[truth[i]]}"))
    return found, pictures


def to_pixels(images: np.ndarray, pixels: PixelSpec) -> np.ndarray:
    """(n, h, w, 3) uint8 RGB of (n, h, w, c) float32 tensors of a recipe."""
    low, high = value_range(pixels)
    shown = np.rint(np.clip((images - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    if pixels.color == "bgr":
        shown = shown[..., ::-1]
    return np.ascontiguousarray(np.repeat(shown, 3 // shown.shape[-1], axis=-1))


def _augmented(training: tf.data.Dataset, spec: ModelSpec) -> list[tuple[np.ndarray, str]]:
    """Images of the first batches, back on 0..255."""
    pictures: list[tuple[np.ndarray, str]] = []
    for images, targets in training.take(2):
        names = [_mixture(target, spec.labels) for target in targets.numpy()]
        pictures += zip(to_pixels(images.numpy(), spec.pixels), names, strict=True)
    return pictures[:SHOWN]


def _mixture(target: np.ndarray, labels: tuple[str, ...]) -> str:
    """The class, or for blended images their shares."""
    order = [i for i in np.argsort(-target) if target[i] >= 0.01]
    return " + ".join(labels[i] if len(order) == 1 else f"{target[i]:.0%} {labels[i]}" for i in order)
