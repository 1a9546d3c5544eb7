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
from ..source import Source
from . import rounding
from .in_double import graph_in_double, keras_in_double
from .quality import top_class

NOISE_FACTOR = 4
"""A difference this many times the model's own rounding noise is still rounding: the two runtimes round
every intermediate value, the measurement only the weights."""

NOISE_LIMIT = 1e-3
"""Noise alone never excuses a difference above this share of the output's scale. One that both the noise and this
don't is rounding where the two models are equal in float64; it may then reach the larger of the two."""

_WHERE_MOVED = "where its weights change in their last bit"


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
    double_difference: float | None = None
    """Largest difference when both compute in float64; measured only where noise doesn't excuse a difference, so that
    it is rounding which explains it. None where it wasn't needed."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return dataclasses.asdict(self)

    @property
    def remark(self) -> str | None:
        """What a user should know of a model that float32 is too coarse for."""
        if self.double_difference is None or self.max_abs_diff <= NOISE_LIMIT:
            return None
        return (
            f"float32 is coarse for this model: the two differ by up to {self.max_abs_diff:.2g}, and Keras from itself "
            f"by {self.rounding_noise:.2g} {_WHERE_MOVED}; in float64 they are equal, to {self.double_difference:.1g}"
        )


class OutputsDifferError(VerificationError):
    """Outputs that differ by more than the tolerance, with the inputs that show it."""

    def __init__(self, message: str, inputs: Arrays) -> None:
        super().__init__(message)
        self.inputs = inputs
        """One array an input, a batch that the model takes."""


class Comparison:
    """Compares outputs batch after batch and keeps what came nearest to its tolerance."""

    def __init__(
        self, model: bytes, source: Source, atol: float, *, regression: bool, noise_limit: float = NOISE_LIMIT
    ) -> None:
        """The first output of a regression may be small altogether; every other is taken for one that reaches 1."""
        self._model, self._source, self._atol = model, source, atol
        self._regression, self._noise_limit = regression, noise_limit
        self._samples = self._agreed = self._judged = 0
        self._difference, self._ratio, self._tolerance, self._noise = 0.0, -1.0, atol, 0.0
        self._rare_noise = 0.0  # counts only where the two are equal in float64
        self._in_double: float | None = None

    def rougher(self, times: float) -> Comparison:
        """One of its own with so many times the tolerance, in which rounding excuses what it explains."""
        return Comparison(self._model, self._source, times * self._atol, regression=self._regression, noise_limit=1.0)

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
                lambda draws, i=i: rounding.noise(self._source, batch, expected, draws)[i],
                lambda worst, i=i: self._double_difference(batch, worst)[i],
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
        self,
        expected: npt.NDArray[Any],
        got: npt.NDArray[Any],
        least_scale: float,
        measure_noise: Callable[[int], float],
        in_double: Callable[[int], float],
    ) -> str | None:
        """What is wrong with got, or None."""
        finite, maker = np.isfinite(expected), self._source.maker
        if not np.array_equal(expected[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
            return f"has NaN or infinity in other places than {maker}'s"
        if not finite.any():
            return None
        differences = np.abs(np.where(finite, expected, 0) - np.where(finite, got, 0))
        difference = float(differences.max())
        scale = max(least_scale, float(np.abs(expected[finite]).max()))
        tolerance = self._atol * scale
        if not difference <= tolerance:  # nor with a tolerance that is no number
            # Costs three runs of the model, so it's asked for only here.
            self._noise = max(self._noise, measure_noise(rounding.DRAWS))
            # Small sums of large numbers have the noise of these, which atol itself allows.
            limit = self._noise_limit * scale
            limit = limit if scale >= 1 else max(limit, self._atol * (1 - scale))
            least, most = sorted((NOISE_FACTOR * self._noise, limit))
            if difference > tolerance + most and self._noise > tolerance:
                self._rare_noise = max(self._rare_noise, measure_noise(rounding.MORE_DRAWS))
                most = max(most, NOISE_FACTOR * self._rare_noise)
            if tolerance + least < difference <= tolerance + most:
                moved = in_double(int(differences.argmax()) // expected[:1].size)
                self._in_double = max(self._in_double or 0.0, moved)
                least = most if moved <= tolerance else least
            tolerance += least
        if not difference <= tolerance:
            noise = f"; {maker} differs from itself by {self._noise:.2g} {_WHERE_MOVED}"
            return (
                f"differs from {maker} by up to {difference:.3g}, more than the tolerance of {tolerance:.3g} "
                f"({int((differences > tolerance).sum())} of {expected.size} values)"
                f"{noise if tolerance < self._noise else ''}"
            )
        self._difference = max(self._difference, difference)
        if tolerance and difference / tolerance > self._ratio:
            self._ratio, self._tolerance = difference / tolerance, tolerance
        return None

    def _double_difference(self, batch: Arrays, worst: int) -> list[float]:
        """How far each output is from Keras's where both compute in float64; infinite where they can't.

        Args:
            batch: the inputs.
            worst: the sample that is looked at, where the batch is free.
        """
        if self._source.batch is None:
            batch = [a[worst : worst + 1] for a in batch]
        expected, got = keras_in_double(self._source, batch), graph_in_double(self._model, batch)
        if expected is None or got is None:
            return [np.inf] * len(self._source.outputs)
        return [
            float(np.abs(e - g).max(initial=0.0)) if e.shape == g.shape and np.isfinite(g).all() else np.inf
            for e, g in zip(expected, got, strict=True)
        ]

    def parity(self, *, classifies: bool) -> Parity:
        """What was seen over all batches."""
        agreement = self._agreed / self._judged if classifies and self._judged else None
        noise = max(self._noise, self._rare_noise)
        return Parity(self._samples, self._difference, self._tolerance, agreement, noise, self._in_double)
