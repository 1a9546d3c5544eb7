"""Which samples are trained on and which are held out, with the same share of every class in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.errors import InputError


def split(indices: np.ndarray, names: Sequence[str], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions for training and for validation, every class with the same share in both.

    Args:
        indices: (n,) the class of each sample.
        names: of the classes, for the message.
        share: of the samples that validation gets, above 0 and below 1.
        seed: of the shuffle.

    Returns:
        Two int64 arrays, disjoint, sorted.

    Raises:
        InputError: a class has too few samples to be in both.
    """
    from sklearn.model_selection import train_test_split

    counts = np.bincount(indices, minlength=len(names))
    few = int(np.argmin(counts))
    if counts[few] < 2:
        raise InputError(f"class {names[few]!r} has {counts[few]} usable sample, a split needs at least 2; add some")
    try:
        training, validation = train_test_split(
            np.arange(len(indices)), test_size=share, random_state=seed, stratify=indices
        )
    except ValueError as e:
        raise InputError(f"can't split {len(indices)} samples with a validation share of {share}: {e}") from None
    return np.sort(training), np.sort(validation)
