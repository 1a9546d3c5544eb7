"""The report of a table model: its held-out rows again, classified or estimated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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

MOST_PERMUTED = 2000
"""Held-out rows that the importance of columns is told from, the first ones."""

MOST_SHOWN = 30
"""Columns whose importance is shown."""

REPEATS = 5
"""Times that each column is shuffled."""


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
    metric, importance = permutation(model, spec, measured)
    report = Report(
        {
            "model": output.name, **spec.provenance, **trained, "size": size, "validation": numbers,
            "importance": {"metric": metric, "columns": {name: mean for name, (mean, _) in importance.items()}},
            "history": result.history, "data": dataclasses.asdict(data), "recipe": spec.to_dict(),
        }
    )  # fmt: skip
    report.add_headline(numbers, trained | {"rows": data.rows} | size)
    report.add_findings("To look at in the data", data.findings)
    report.add_curves(result.history, result.best_epoch)
    if labels is None:
        report.add_residuals(measured.outputs, truth)
    else:
        report.add_classes(numbers["per_class"])
        report.add_confusion(numbers["confusion"], labels)
        if len(labels) == 2 and len(np.unique(truth)) == 2:
            report.add_roc(measured.outputs[:, 1], truth, labels[1])
        report.add_calibration(measured.outputs, truth, numbers["ece"])
    if importance:
        report.add_importance(importance, metric)
    _add_columns(report, spec, data)
    report.add_text("Network", summary(model), folded=True)
    report.write(output)


def _add_columns(report: Report, spec: ModelSpec, data: TableCheck) -> None:
    assert spec.table is not None
    head = ("column", "missing", "different", "min", "median", "max", "becomes")
    rows = [
        (c["name"], c["missing"], c["different"], c.get("min"), c.get("median"), c.get("max"), recipe.describe(6))
        for c, recipe in zip(data.columns, spec.table.recipes, strict=True)
    ]
    report.add_table(f"Columns: {spec.table.describe()}", rows, head)


def permutation(model: keras.Model, spec: ModelSpec, measured: Measured) -> tuple[str, dict[str, tuple[float, float]]]:
    """What the held-out rows' metric loses when one column is shuffled among them, by scikit-learn.

    Returns:
        Name of the metric, and (mean, standard deviation) by column, the highest first, at most MOST_SHOWN.
    """
    from sklearn.inspection import permutation_importance

    assert spec.table is not None
    widths = [column.width for column in spec.table.recipes]
    starts = np.cumsum([0, *widths])
    inputs, truth = measured.rows[:MOST_PERMUTED], measured.truth[:MOST_PERMUTED]
    metric, score = _metric(spec, truth)
    if len(truth) < 2:
        return metric, {}

    class Shuffled:
        """Takes row numbers, one for each column: shuffling those shuffles all inputs of a column together."""

        def fit(self, rows: np.ndarray, truth: np.ndarray) -> None:
            """Trained already."""

    def scorer(estimator: object, rows: np.ndarray, truth: np.ndarray) -> float:
        taken = [inputs[rows[:, i], starts[i] : starts[i + 1]] for i in range(len(widths))]
        outputs = np.asarray(model(np.concatenate(taken, axis=1), training=False))
        return score(truth, outputs)

    order = np.repeat(np.arange(len(truth))[:, np.newaxis], len(widths), axis=1)
    found = permutation_importance(Shuffled(), order, truth, scoring=scorer, n_repeats=REPEATS, random_state=0)
    ranked = np.argsort(-found.importances_mean, kind="stable")[:MOST_SHOWN]
    names = spec.table.columns
    return metric, {names[i]: (float(found.importances_mean[i]), float(found.importances_std[i])) for i in ranked}


def _metric(spec: ModelSpec, truth: np.ndarray) -> tuple[str, Callable[[np.ndarray, np.ndarray], float]]:
    from sklearn import metrics

    if spec.labels is None:
        return "R2", lambda truth, outputs: float(metrics.r2_score(truth, outputs[:, 0]))
    if len(spec.labels) == 2 and len(np.unique(truth)) == 2:
        return "ROC AUC", lambda truth, outputs: float(metrics.roc_auc_score(truth, outputs[:, -1]))
    return "accuracy", lambda truth, outputs: float(metrics.accuracy_score(truth, class_scores(outputs).argmax(axis=1)))
