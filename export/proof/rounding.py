"""How far rounding alone moves a model's outputs, closer than which nobody can reproduce them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..batches import Arrays
from ..source import Source, float_weights
from .in_double import keras_in_double

DRAWS = 3
"""Random patterns of rounding that noise tries."""

MORE_DRAWS = 30
"""As many where these few don't tell: what is chaotic goes wide for some patterns, not for all."""


def noise(
    source: Source, arrays: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]], draws: int = DRAWS
) -> list[float]:
    """How far each output moves when every weight is off by half a unit in the last place of the arithmetic, or in
    float64, if that is more.

    That is what arithmetic in another order does; a model that amplifies it, or adds up a long
    sequence, can't be reproduced more closely by anybody.

    Args:
        source: the Keras model, whose weights are as before afterwards.
        arrays: the inputs.
        expected: the outputs with the weights as they are.
        draws: patterns that are tried.
    """
    unit = 2.0**-11 if source.computes_in_half else 2.0**-24
    variables = float_weights(source.model)
    kept = [v.numpy() for v in variables]
    rng = np.random.default_rng(0)
    worst = [0.0] * len(expected)
    try:
        for _ in range(draws):
            for variable, value in zip(variables, kept, strict=True):
                sign = rng.integers(0, 2, value.shape, np.int8) * 2.0 - 1
                variable.assign((value * (1 + sign * unit)).astype(value.dtype))
            worst = _furthest(worst, source(arrays), expected)
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
    exact = None if unit > 2.0**-24 else keras_in_double(source, arrays)
    return worst if exact is None else _furthest(worst, exact, expected)


def _furthest(worst: list[float], outputs: Arrays, expected: Sequence[npt.NDArray[Any]]) -> list[float]:
    """worst, or the largest difference of each output where that is more."""
    moved = (np.abs(y.astype(np.float64) - e.astype(np.float64)) for y, e in zip(outputs, expected, strict=True))
    return [max(w, float(np.nanmax(m, initial=0.0))) for w, m in zip(worst, moved, strict=True)]
