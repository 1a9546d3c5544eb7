"""Runs any number of samples through a model whose batch is fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = list[npt.NDArray[Any]]


def run_in_batches(run: Callable[[Arrays], Arrays], arrays: Sequence[npt.NDArray[Any]], size: int | None) -> Arrays:
    """The outputs of run for all samples, which gets size of them at a time, the last ones padded with zeros or "".

    The runtime does the same (edgecnn.session). With size None, run gets them all at once.
    """
    samples = len(arrays[0])
    if size is None or samples == size:
        return run(list(arrays))
    whole_size = -(-samples // size) * size
    padded = [np.full((whole_size, *a.shape[1:]), "" if a.dtype == object else 0, a.dtype) for a in arrays]
    for whole, a in zip(padded, arrays, strict=True):
        whole[:samples] = a
    parts = [run([a[start : start + size] for a in padded]) for start in range(0, len(padded[0]), size)]
    return [np.concatenate(output)[:samples] for output in zip(*parts, strict=True)]
