"""What a trained model gets right and wrong on held-out samples, in scikit-learn's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

ECE_BINS = 15
"""Bins of the expected calibration error: Guo et al. 2017, "On Calibration of Modern Neural Networks"."""


def evaluate_classes(scores: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Numbers of a classification.

    Args:
        scores: (n, classes) float, rows that sum to 1.
        truth: (n,) int, class indices.
        labels: names by index.

    Returns:
        JSON types: accuracy, per_class, confusion (rows are the truth), ece, and for two classes roc_auc,
        average_precision.
    """
    from sklearn import metrics

    predicted = scores.argmax(axis=1)
    indices = np.arange(len(labels))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, predicted, labels=indices, zero_division=0.0
    )
    result: dict[str, Any] = {
        "samples": len(truth),
        "accuracy": float(metrics.accuracy_score(truth, predicted)),
        "balanced_accuracy": float(recall[support > 0].mean()),
        "per_class": {
            label: {
                "precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": metrics.confusion_matrix(truth, predicted, labels=indices).tolist(),
        "ece": calibration_error(scores, truth),
    }  # fmt: skip
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        result["roc_auc"] = float(metrics.roc_auc_score(truth, scores[:, 1]))
        result["average_precision"] = float(metrics.average_precision_score(truth, scores[:, 1]))
    return result


class CalibrationBins(NamedTuple):
    """Samples by confidence, in those of ECE_BINS equal bins that hold any; each (bins,) float, 0 to 1."""

    confidence: np.ndarray
    """Mean in the bin."""
    accuracy: np.ndarray
    """In the bin."""
    share: np.ndarray
    """Of all samples."""


def calibration_bins(scores: np.ndarray, truth: np.ndarray) -> CalibrationBins:
    """How often the answers given with a confidence are right."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    found = [(confidence[bins == b].mean(), right[bins == b].mean(), (bins == b).mean()) for b in np.unique(bins)]
    return CalibrationBins(*np.array(found).T)


def calibration_error(scores: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over ECE_BINS equal bins, 0 to 1."""
    bins = calibration_bins(scores, truth)
    return float((np.abs(bins.confidence - bins.accuracy) * bins.share).sum())


def accuracy_interval(accuracy: float, samples: int) -> tuple[float, float]:
    """95% interval of a share counted on so many samples: Wilson 1927, "Probable Inference"."""
    z = 1.96
    centre = accuracy + z * z / (2 * samples)
    spread = z * math.sqrt(accuracy * (1 - accuracy) / samples + z * z / (4 * samples * samples))
    return (centre - spread) / (1 + z * z / samples), (centre + spread) / (1 + z * z / samples)


def evaluate_values(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Numbers of a regression: both (n,) float."""
    from sklearn import metrics

    return {
        "samples": len(truth),
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "rmse": float(np.sqrt(metrics.mean_squared_error(truth, predicted))),
        "r2": float(metrics.r2_score(truth, predicted)),
    }


def worst_mistakes(scores: np.ndarray, truth: np.ndarray, most: int) -> list[int]:
    """Positions of wrong answers, the most confident first."""
    wrong = np.flatnonzero(scores.argmax(axis=1) != truth)
    return wrong[np.argsort(-scores[wrong].max(axis=1), kind="stable")][:most].tolist()


def class_scores(outputs: np.ndarray) -> np.ndarray:
    """(n, classes) of a softmax as it is; of one sigmoid output (n, 1) the two columns 1 - p and p."""
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def cost(model: keras.Model) -> dict[str, int]:
    """Parameters, multiply-adds of the convolutions and dense layers for one sample, and FLOPs, two for each."""
    from keras import layers

    multiply_adds = 0
    for layer in model.layers:
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            multiply_adds += int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, layers.Dense):
            multiply_adds += int(np.prod(layer.kernel.shape))
    return {"parameters": int(model.count_params()), "multiply_adds": multiply_adds, "flops": 2 * multiply_adds}
