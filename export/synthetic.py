"""Made-up inputs in the range that the recipe can produce, the same in every run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.spec import ModelSpec

from .load import Source, Tensor
from .samples import Samples

BATCHES = (1, 3)
"""Batch sizes that are compared: one, and one that no fixed dimension can hide behind."""

_SEED = 20240229
"""Fixes the random inputs, so that a failure can be repeated."""

Arrays = list[npt.NDArray[Any]]


def random_inputs(source: Source, spec: ModelSpec) -> list[Arrays]:
    """Synthetic inputs, one list of arrays a batch: random in the recipe's range, and its two ends.

    The batches have 1 and 3 samples.
    """
    rng = np.random.default_rng(_SEED)
    low, high = value_range(spec)
    batches: list[Arrays] = []
    for size in BATCHES:
        batches.append([_draw(t, size, rng, low, high) for t in source.inputs])
        batches.append([_draw(t, size, rng, -1.0, 1.0) for t in source.inputs])
    batches.append([_draw(t, 1, rng, low, low) for t in source.inputs])
    batches.append([_draw(t, 1, rng, high, high) for t in source.inputs])
    return batches


def value_range(spec: ModelSpec) -> tuple[float, float]:
    """(smallest, largest) value that the recipe can put into the input tensor; a table's are unknown."""
    pixels = spec.pixels
    if spec.table is not None:
        return 0.0, 100.0
    if pixels is None:
        return 0.0, 1.0
    ends = []
    for value in (0.0, 255.0):
        x = value / pixels.divisor if pixels.divisor is not None else value * pixels.scale
        x += pixels.offset
        for mean, std in zip(pixels.mean or (0.0,), pixels.std or (1.0,), strict=True):
            ends.append((x - mean) / std)
    return min(ends), max(ends)


def _draw(tensor: Tensor, size: int, rng: np.random.Generator, low: float, high: float) -> npt.NDArray[Any]:
    """(size, ...) values in [low, high] for one input; a free dimension gets length 7."""
    shape = (size, *(7 if d is None else d for d in tensor.shape[1:]))
    if tensor.dtype == "bool":
        return rng.random(shape) < 0.5
    kind = np.dtype(tensor.dtype)
    if kind.kind in "iu":
        return rng.integers(0, 256 if kind.itemsize == 1 else 10, shape).astype(kind)
    return rng.uniform(low, high, shape).astype(kind)


def random_samples(source: Source, spec: ModelSpec) -> Samples:
    """random_inputs of the first input as Samples, for models with one input."""
    return Samples(np.concatenate([b[0] for b in random_inputs(source, spec)]), None, "random inputs")
