"""Which samples are trained on and which are held out, with the same share of every class in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.errors import InputError

from .progress import counted


def split(targets: np.ndarray, names: Sequence[str] | None, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions for training and for validation, every class with the same share in both.

    Args:
        targets: (n,) the class of each sample, or its value.
        names: of the classes; None where there are none, for a regression.
        share: of the samples that validation gets, above 0 and below 1.
        seed: of the shuffle.

    Returns:
        Two int64 arrays, disjoint, sorted.

    Raises:
        InputError: there are too few samples, or of a class, to be in both.
    """
    from sklearn.model_selection import train_test_split

    if names is not None:
        counts = np.bincount(targets, minlength=len(names))
        few = int(np.argmin(counts))
        if counts[few] < 2:
            found = counted(int(counts[few]), "usable sample")
            raise InputError(f"class {names[few]!r} has {found}, a split needs at least 2; add some")
    try:
        training, validation = train_test_split(
            np.arange(len(targets)), test_size=share, random_state=seed, stratify=None if names is None else targets
        )
    except ValueError as e:
        raise InputError(
            f"can't split {counted(len(targets), 'sample')} with a share of {share} held out: {e}"
        ) from None
    return np.sort(training), np.sort(validation)
