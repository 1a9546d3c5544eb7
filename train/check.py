"""A look at the images before training: what is unreadable, twice there, on both sides of the split, or rare.

Only exact copies are found: files of equal bytes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .feed import ImageData, describe_failures
from .images import ImageSet

FEW = 20
"""Samples of a class below which its accuracy is mostly luck."""

_IMBALANCE = 5
"""Times that the largest class may outnumber the smallest without a word."""

_NAMED = 3
"""Examples named in one line."""


def check_images(data: ImageData) -> list[str]:
    """Findings about an image set and its split, a line each; none is a good sign."""
    found = [f"unreadable: {line}" for line in describe_failures(data.feed, data.images)]
    found += check_counts(data.images.counts)
    copies = _copies(data.images)
    conflicts = [group for group in copies if len({data.images.indices[i] for i in group}) > 1]
    if conflicts:
        found.append(f"the same image in several classes, {len(conflicts)} times: {_name(data.images, conflicts)}")
    if data.images is data.held_images:
        held = set(data.held.tolist())
        leaks = [group for group in copies if 0 < sum(i in held for i in group) < len(group)]
        if leaks:
            found.append(
                f"the same image in training and validation, {len(leaks)} times: {_name(data.images, leaks)}; "
                "val accuracy is too good by these, delete the copies"
            )
        return found
    both = ImageSet(
        data.images.sources + data.held_images.sources,
        np.concatenate([data.images.indices, data.held_images.indices]),
        data.images.classes,
    )
    border = len(data.images)
    leaks = [group for group in _copies(both) if group[0] < border <= group[-1]]
    if leaks:
        found.append(f"the same image in training and validation, {len(leaks)} times: {_name(both, leaks)}")
    return found


def check_counts(counts: dict[str, int]) -> list[str]:
    """Findings about how many samples each class has."""
    found = [f"class {name!r} has only {count} samples" for name, count in counts.items() if count < FEW]
    least, most = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[most] > _IMBALANCE * counts[least]:
        found.append(
            f"class {most!r} has {counts[most]} samples, {least!r} {counts[least]}: consider --class-weight balanced"
        )
    return found


def _copies(images: ImageSet) -> list[list[int]]:
    """Positions of images with equal bytes; only files of equal size are read."""
    by_size = defaultdict(list)
    for i, source in enumerate(images.sources):
        by_size[source.stat().st_size if isinstance(source, Path) else len(source)].append(i)
    by_content = defaultdict(list)
    for group in by_size.values():
        if len(group) > 1:
            for i in group:
                source = images.sources[i]
                content = source.read_bytes() if isinstance(source, Path) else source
                by_content[hashlib.blake2b(content).digest()].append(i)
    return [group for group in by_content.values() if len(group) > 1]


def _name(images: ImageSet, groups: Sequence[Sequence[int]]) -> str:
    def one(i: int) -> str:
        return str(images.sources[i]) if isinstance(images.sources[i], Path) else f"image {i}"

    named = ", ".join(" = ".join(one(i) for i in group[:2]) for group in groups[:_NAMED])
    return named + (" ..." if len(groups) > _NAMED else "")
