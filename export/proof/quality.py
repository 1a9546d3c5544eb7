"""What quantisation costs: accuracy on real samples, before and after."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import VerificationError
from edgecnn.spec import ModelSpec

from ..batches import Arrays
from .samples import Samples

DEFAULT_MAX_DROP = 0.01
"""Largest loss of accuracy (or of agreement, where the true classes are unknown) by quantisation."""


@dataclasses.dataclass(frozen=True)
class Quality:
    """How a quantised model compares with its float32 source on real samples."""

    samples: int
    top1_agreement: float | None
    """Share of samples with the same class, 0 to 1; None for a regression."""
    accuracy_before: float | None
    """Share of right answers of the float32 model; None where the true classes are unknown."""
    accuracy_after: float | None
    max_abs_diff: float
    drop: float
    """Accuracy lost; agreement lost where the true classes are unknown; 1 - R2 for a regression; of the output that
    loses most."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dataclasses.asdict(self)


def measure(before: Arrays, after: Arrays, spec: ModelSpec, samples: Samples) -> Quality:
    """Compare outputs of a float32 and a quantised model on the same samples.

    The spec speaks of the first output, and accuracy is its. What the other outputs lose is judged by what they look
    like, and the worst of all counts.

    Raises:
        VerificationError: the quantised outputs hold NaN or infinity where the others don't.
    """
    for a, b in zip(before, after, strict=True):
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            raise VerificationError("the quantised model gives NaN or infinity where the float32 model doesn't")
    difference = max(float(np.abs(a.astype(float) - b).max(initial=0.0)) for a, b in zip(before, after, strict=True))
    others = [_lost(a, b) for a, b in zip(before[1:], after[1:], strict=True)]
    if spec.head == "regression":
        return Quality(
            len(samples), None, None, None, difference, max(_variance_lost(before[0], after[0]), *others, 0.0)
        )
    was, now = top_class(before[0]), top_class(after[0])
    agreement = float(np.mean(was == now))
    if samples.classes is None or was.ndim != 1:
        return Quality(len(samples), agreement, None, None, difference, max([1 - agreement, *others]))
    right, still = float(np.mean(was == samples.classes)), float(np.mean(now == samples.classes))
    return Quality(len(samples), agreement, right, still, difference, max([right - still, *others]))


def _lost(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """Disagreement where the rows are probabilities, else the variance lost."""
    if before.ndim == 2 and before.shape[1] > 1 and (before >= 0).all() and np.allclose(before.sum(1), 1, atol=1e-3):
        return float(np.mean(top_class(before) != top_class(after)))
    return _variance_lost(before, after)


def _variance_lost(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """1 - R2 of after as an estimate of before."""
    a, b = before.astype(np.float64), after.astype(np.float64)
    spread, lost = float(np.var(a)), float(np.mean((a - b) ** 2))
    return lost / spread if spread > 0 else float(lost > 0)


def top_class(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The predicted class of each sample; a single score is a probability of class 1."""
    if scores.shape[-1] == 1:
        return (scores[..., 0] > 0.5).astype(np.int64)
    return np.asarray(scores.argmax(-1), np.int64)
