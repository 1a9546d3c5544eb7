"""What quantisation costs: accuracy on real samples, before and after."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import VerificationError
from edgecnn.spec import ModelSpec

from .samples import Samples

DEFAULT_MAX_DROP = 0.01
"""Largest loss of accuracy (or of agreement, where the true classes are unknown) by quantisation."""

Arrays = list[npt.NDArray[Any]]


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
    """Accuracy lost; agreement lost where the true classes are unknown; 1 - R2 for a regression."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dataclasses.asdict(self)


def measure(before: Arrays, after: Arrays, spec: ModelSpec, samples: Samples) -> Quality:
    """Compare outputs of a float32 and a quantised model on the same samples.

    Raises:
        VerificationError: the quantised outputs hold NaN or infinity where the others don't.
    """
    a, b = before[0].astype(np.float64), after[0].astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        raise VerificationError("the quantised model gives NaN or infinity where the float32 model doesn't")
    difference = float(np.abs(a - b).max(initial=0.0))
    if spec.head == "regression":
        spread = float(np.var(a))
        lost = float(np.mean((a - b) ** 2))
        drop = lost / spread if spread > 0 else float(lost > 0)
        return Quality(len(samples), None, None, None, difference, drop)
    was, now = top_class(before[0]), top_class(after[0])
    agreement = float(np.mean(was == now))
    if samples.classes is None or was.ndim != 1:
        return Quality(len(samples), agreement, None, None, difference, 1 - agreement)
    right, still = float(np.mean(was == samples.classes)), float(np.mean(now == samples.classes))
    return Quality(len(samples), agreement, right, still, difference, right - still)


def top_class(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The predicted class of each sample; a single score is a probability of class 1."""
    if scores.shape[-1] == 1:
        return (scores[..., 0] > 0.5).astype(np.int64)
    return np.asarray(scores.argmax(-1), np.int64)
