"""The report of a table model: its held-out rows again, classified or estimated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.spec import ModelSpec

from .evaluate import class_scores, cost, evaluate_classes, evaluate_values
from .fit import Result
from .report import Report, summary
from .table_check import TableCheck

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the model says of the held-out rows."""

    rows: np.ndarray
    """(n, inputs) float32."""
    truth: np.ndarray
    """(n,) class indices, or values of a regression."""
    outputs: np.ndarray
    """(n, classes) scores, or (n,) values."""
    numbers: dict[str, Any]
    """JSON types."""

    def describe(self) -> str:
        """The figures in one line."""
        shown = {"accuracy": "accuracy", "roc_auc": "AUC", "r2": "R2", "mae": "mean absolute error"}
        figures = [f"{text} {self.numbers[name]:.4f}" for name, text in shown.items() if name in self.numbers]
        return f"held-out {', '.join(figures)}"


def measure(model: keras.Model, spec: ModelSpec, rows: np.ndarray, truth: np.ndarray) -> Measured:
    """Run the model on the held-out rows, encoded by its recipe, and count."""
    outputs = model.predict(rows, batch_size=1024, verbose=0)
    if spec.labels is None:
        return Measured(rows, truth, outputs[:, 0], evaluate_values(outputs[:, 0], truth))
    scores = class_scores(outputs)
    return Measured(rows, truth, scores, evaluate_classes(scores, truth, spec.labels))


def write_report(
    output: Path, model: keras.Model, spec: ModelSpec, result: Result, data: TableCheck, measured: Measured
) -> None:
    """Write report.json and report.html beside the model.

    Raises:
        ModelError: they can't be written.
    """
    labels, numbers, truth = spec.labels, measured.numbers, measured.truth
    trained = {"best_epoch": result.best_epoch, "epochs": result.epochs, "seconds": round(result.seconds, 1)}
    size = {**cost(model), "bytes": output.stat().st_size}
    report = Report(
        {
            "model": output.name, **spec.provenance, **trained, "size": size, "validation": numbers,
            "history": result.history, "data": dataclasses.asdict(data), "recipe": spec.to_dict(),
        }
    )  # fmt: skip
    report.add_numbers("Held-out rows", {k: v for k, v in numbers.items() if isinstance(v, (int, float))} | trained)
    report.add_curves(result.history, result.best_epoch)
    if labels is None:
        report.add_scatter(measured.outputs, truth)
    else:
        report.add_classes(numbers["per_class"])
        report.add_confusion(numbers["confusion"], labels)
        if len(labels) == 2 and len(np.unique(truth)) == 2:
            report.add_roc(measured.outputs[:, 1], truth)
    report.add_numbers("Size", size)
    report.add_text("Network", summary(model))
    report.write(output)
