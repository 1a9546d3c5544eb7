"""The report of an image classifier: its validation images again, with the most confident mistakes shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.decode import decode
from edgecnn.spec import ModelSpec

from .evaluate import cost, evaluate_classes, worst_mistakes
from .feed import ImageData, value_range
from .fit import Result
from .report import Report, summary

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

SHOWN = 24
"""Mistakes, and augmented images, in the report."""


def write_report(
    output: Path,
    model: keras.Model,
    spec: ModelSpec,
    result: Result,
    data: ImageData,
    training: tf.data.Dataset,
    validation: tf.data.Dataset,
) -> None:
    """Write report.json and report.html beside the model.

    Raises:
        ModelError: they can't be written.
    """
    labels = spec.labels or ()
    scores = model.predict(validation, verbose=0)
    readable = np.array([position not in data.held_feed.failed for position in data.held.tolist()])
    held, scores = data.held[readable], scores[readable]
    truth = data.held_images.indices[held]
    numbers = evaluate_classes(scores, truth, labels)
    worst = worst_mistakes(scores, truth, SHOWN)
    sources = [data.held_images.sources[held[i]] for i in worst]
    mistakes = [
        {
            "source": str(source) if isinstance(source, Path) else None, "label": labels[scores[i].argmax()],
            "score": float(scores[i].max()), "truth": labels[truth[i]],
        }
        for i, source in zip(worst, sources, strict=True)
    ]  # fmt: skip
    trained = {"best_epoch": result.best_epoch, "epochs": result.epochs, "seconds": round(result.seconds, 1)}
    size = {**cost(model), "bytes": output.stat().st_size}
    report = Report(
        {
            "model": output.name, **spec.provenance, **trained, "size": size, "validation": numbers,
            "mistakes": mistakes, "history": result.history, "counts": data.images.counts, "recipe": spec.to_dict(),
        }
    )  # fmt: skip
    shown = {name: value for name, value in numbers.items() if isinstance(value, (int, float))}
    report.add_numbers("Validation", shown | trained)
    report.add_classes(numbers["per_class"])
    report.add_curves(result.history, result.best_epoch)
    report.add_confusion(numbers["confusion"], labels)
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        report.add_roc(scores[:, 1], truth)
    report.add_images(
        "Most confident mistakes",
        [
            (decode(source), f"{m['label']} {m['score']:.2f}, is {m['truth']}")
            for source, m in zip(sources, mistakes, strict=True)
        ],
    )
    report.add_images("What training saw", _augmented(training, spec))
    report.add_numbers("Size", size)
    report.add_text("Recipe", spec.pixels.describe() if spec.pixels else "")
    report.add_text("Network", summary(model))
    report.write(output)


def _augmented(training: tf.data.Dataset, spec: ModelSpec) -> list[tuple[np.ndarray, str]]:
    """Images of the first batches, back on 0..255."""
    low, high = value_range(spec.pixels)
    pictures = []
    for images, targets in training.take(2):
        unit = np.clip((images.numpy() - low) / (high - low), 0, 1)
        pixels = np.rint(unit * 255).astype(np.uint8)
        if spec.pixels.color == "bgr":
            pixels = pixels[..., ::-1]
        pixels = np.repeat(pixels, 3 // pixels.shape[-1], axis=-1)
        names = [spec.labels[i] for i in targets.numpy().argmax(axis=1)]
        pictures += zip(np.ascontiguousarray(pixels), names, strict=True)
    return pictures[:SHOWN]
