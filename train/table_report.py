"""The report of a table model: its validation rows again, classified or estimated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.spec import ModelSpec

from .evaluate import class_scores, cost, evaluate_classes, evaluate_values
from .fit import Result
from .report import Report, summary

if TYPE_CHECKING:
    import keras


def write_report(
    output: Path, model: keras.Model, spec: ModelSpec, result: Result, rows: np.ndarray, truth: np.ndarray
) -> None:
    """Write report.json and report.html beside the model.

    Args:
        output: the model's file.
        model: trained.
        spec: stored in it.
        result: of fit.
        rows: (n, columns) float32, the validation rows.
        truth: (n,) class indices, or values of a regression.

    Raises:
        ModelError: they can't be written.
    """
    outputs = model.predict(rows, verbose=0)
    labels = spec.labels
    scores = outputs if labels is None else class_scores(outputs)
    numbers = evaluate_values(outputs[:, 0], truth) if labels is None else evaluate_classes(scores, truth, labels)
    trained = {"best_epoch": result.best_epoch, "epochs": result.epochs, "seconds": round(result.seconds, 1)}
    size = {**cost(model), "bytes": output.stat().st_size}
    report = Report(
        {
            "model": output.name, **spec.provenance, **trained, "size": size, "validation": numbers,
            "history": result.history, "recipe": spec.to_dict(),
        }
    )  # fmt: skip
    report.add_numbers("Validation", {k: v for k, v in numbers.items() if isinstance(v, (int, float))} | trained)
    report.add_curves(result.history, result.best_epoch)
    if labels is None:
        report.add_scatter(outputs[:, 0], truth)
    else:
        report.add_classes(numbers["per_class"])
        report.add_confusion(numbers["confusion"], labels)
        if len(labels) == 2 and len(np.unique(truth)) == 2:
            report.add_roc(scores[:, 1], truth)
    report.add_numbers("Size", size)
    report.add_text("Network", summary(model))
    report.write(output)
