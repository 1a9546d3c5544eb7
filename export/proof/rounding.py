"""How far rounding alone moves a model's outputs, closer than which nobody can reproduce them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import quiet_logs, require
from ..batches import Arrays
from ..layers import library_of, parts
from ..load import Source, float_weights
from ..reading.repair import in_type

DRAWS = 3
"""Random patterns of rounding that noise tries."""

_WIDE = {"float32": "float64", "DT_FLOAT": "DT_DOUBLE"}


def noise(source: Source, arrays: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]]) -> list[float]:
    """How far each output moves when every weight is off by half a unit in the last place of the arithmetic, or in
    float64, if that is more.

    That is what arithmetic in another order does; a model that amplifies it, or adds up a long
    sequence, can't be reproduced more closely by anybody.

    Args:
        source: the Keras model, whose weights are as before afterwards.
        arrays: the inputs.
        expected: the outputs with the weights as they are.
    """
    unit = 2.0**-11 if source.computes_in_half else 2.0**-24
    variables = float_weights(source.model)
    kept = [v.numpy() for v in variables]
    rng = np.random.default_rng(0)
    worst = [0.0] * len(expected)
    try:
        for _ in range(DRAWS):
            for variable, value in zip(variables, kept, strict=True):
                sign = rng.integers(0, 2, value.shape, np.int8) * 2.0 - 1
                variable.assign((value * (1 + sign * unit)).astype(value.dtype))
            worst = _furthest(worst, source(arrays), expected)
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
    exact = None if unit > 2.0**-24 else in_double(source, arrays)
    return worst if exact is None else _furthest(worst, exact, expected)


def in_double(source: Source, arrays: Sequence[npt.NDArray[Any]]) -> Arrays | None:
    """What the model's layers give in float64; None where they can't be built so."""
    keras = require(library_of(source.model))
    try:
        known = {type(part).__name__: type(part) for part in parts(source.model)}
        with keras.saving.custom_object_scope(known), quiet_logs("absl", "tensorflow"):
            twin = type(source.model).from_config(in_type(source.model.get_config(), _WIDE, _wide))
        twin.set_weights(source.model.get_weights())
        wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
        return dataclasses.replace(source, model=twin).eager(wide)
    except Exception:  # a SavedModel, a layer of the author's, one that knows float32 only
        return None


def _furthest(worst: list[float], outputs: Arrays, expected: Sequence[npt.NDArray[Any]]) -> list[float]:
    """worst, or the largest difference of each output where that is more."""
    moved = (np.abs(y.astype(np.float64) - e.astype(np.float64)) for y, e in zip(outputs, expected, strict=True))
    return [max(w, float(np.nanmax(m, initial=0.0))) for w, m in zip(worst, moved, strict=True)]


def _wide(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind == "f" else value
