"""How closely a converted model agrees with its source: measured batch after batch, raised where it isn't close enough.

The tolerance goes with the outputs' magnitude, since float32 has 24 bits whatever the unit is; probabilities have 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import VerificationError

from ..batches import Arrays
from ..load import Source
from . import rounding
from .quality import top_class

NOISE_FACTOR = 4
"""A difference this many times the model's own rounding noise is still rounding: the two runtimes round
every intermediate value, the measurement only the weights."""

NOISE_LIMIT = 1e-3
"""Noise never excuses a difference above this share of the output's scale."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How closely two models agree."""

    samples: int
    """Inputs compared."""
    max_abs_diff: float
    """Largest difference of any output value."""
    tolerance: float
    """What was allowed where the difference came nearest to it, in the same unit."""
    top1_agreement: float | None
    """Share of samples with the same class, 0 to 1; None for a regression."""
    rounding_noise: float = 0.0
    """How far Keras's own outputs move when its weights are off by half a unit in the last place; measured
    only where a difference is larger than atol explains, else 0."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dataclasses.asdict(self)


class OutputsDifferError(VerificationError):
    """Outputs that differ by more than the tolerance, with the inputs that show it."""

    def __init__(self, message: str, inputs: Arrays) -> None:
        super().__init__(message)
        self.inputs = inputs
        """One array an input, a batch that the model takes."""


class Comparison:
    """Compares outputs batch after batch and keeps what came nearest to its tolerance."""

    def __init__(self, source: Source, atol: float, *, regression: bool, noise_limit: float = NOISE_LIMIT) -> None:
        """The first output of a regression may be small altogether; every other is taken for one that reaches 1."""
        self._source, self._atol, self._regression, self._noise_limit = source, atol, regression, noise_limit
        self._samples = self._agreed = self._judged = 0
        self._difference, self._ratio, self._tolerance, self._noise = 0.0, -1.0, atol, 0.0

    def rougher(self, times: float) -> Comparison:
        """One of its own with so many times the tolerance, in which rounding excuses what it explains."""
        return Comparison(self._source, times * self._atol, regression=self._regression, noise_limit=1.0)

    def compare(self, expected: Arrays, got: Arrays, batch: Arrays, kind: str, *, count: bool = True) -> None:
        """Raise VerificationError where got differs from expected."""
        size, maker = len(batch[0]), self._source.maker
        for i, (tensor, e, g) in enumerate(zip(self._source.outputs, expected, got, strict=True)):
            where = f"output {tensor.name} on {kind} inputs at batch {size}"
            if e.shape != g.shape or e.dtype != g.dtype:
                raise VerificationError(
                    f"{where} is {g.dtype} {list(g.shape)}, {maker} gives {e.dtype} {list(e.shape)}"
                )
            problem = self._compare_values(
                e.astype(np.float64),
                g.astype(np.float64),
                0.0 if self._regression and i == 0 else 1.0,
                lambda i=i: rounding.noise(self._source, batch, expected)[i],
            )
            if problem is not None:
                raise OutputsDifferError(f"{where} {problem}", batch)
        if not count:
            return
        self._samples += size
        first_expected, first_got = expected[0], got[0]
        if first_expected.ndim >= 2:
            same = top_class(first_expected) == top_class(first_got)
            self._agreed, self._judged = self._agreed + int(same.sum()), self._judged + same.size

    def _compare_values(
        self, expected: npt.NDArray[Any], got: npt.NDArray[Any], least_scale: float, noise: Callable[[], float]
    ) -> str | None:
        """What is wrong with got, or None."""
        finite, maker = np.isfinite(expected), self._source.maker
        if not np.array_equal(expected[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
            return f"has NaN or infinity in other places than {maker}'s"
        if not finite.any():
            return None
        difference = float(np.abs(expected[finite] - got[finite]).max())
        scale = max(least_scale, float(np.abs(expected[finite]).max()))
        tolerance = self._atol * scale
        if not difference <= tolerance:  # nor with a tolerance that is no number
            # Costs three runs of the model, so it's asked for only here.
            self._noise = max(self._noise, noise())
            # Small sums of large numbers have the noise of these, which atol itself allows.
            limit = self._noise_limit * scale
            limit = limit if scale >= 1 else max(limit, self._atol * (1 - scale))
            tolerance += min(NOISE_FACTOR * self._noise, limit)
        if not difference <= tolerance:
            return (
                f"differs from {maker} by up to {difference:.3g}, more than the tolerance of {tolerance:.3g} "
                f"({int((np.abs(expected - got) > tolerance).sum())} of {expected.size} values)"
            )
        self._difference = max(self._difference, difference)
        if tolerance and difference / tolerance > self._ratio:
            self._ratio, self._tolerance = difference / tolerance, tolerance
        return None

    def parity(self, *, classifies: bool) -> Parity:
        """What was seen over all batches."""
        agreement = self._agreed / self._judged if classifies and self._judged else None
        return Parity(self._samples, self._difference, self._tolerance, agreement, self._noise)
