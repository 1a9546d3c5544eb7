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
    """Findings about the images and their split, a line each; none is a good sign."""
    subsets = {"training": data.training, "validation": data.validation} | ({"test": data.test} if data.test else {})
    sets = {id(subset.images): subset for subset in subsets.values()}.values()
    found = [f"unreadable: {line}" for subset in sets for line in describe_failures(subset.feed, subset.images)]
    found += check_counts(data.training.images.counts)
    every = [image for subset in sets for image in zip(subset.images.sources, subset.images.indices, strict=True)]
    images = ImageSet(
        tuple(source for source, _ in every), np.array([index for _, index in every]), data.training.images.classes
    )
    copies = _copies(images)
    conflicts = [group for group in copies if len({images.indices[i] for i in group}) > 1]
    if conflicts:
        found.append(f"the same image in several classes, {len(conflicts)} times: {_name(images, conflicts)}")
    where: list[str | None] = []
    for one in sets:
        own = {i: name for name, subset in subsets.items() if subset.images is one.images for i in subset.positions}
        where += [own.get(i) for i in range(len(one.images))]
    leaks = [group for group in copies if len({where[i] for i in group}) > 1]
    if leaks:
        found.append(
            f"the same image in training and validation{' or test' if data.test else ''}, {len(leaks)} times: "
            f"{_name(images, leaks)}; its accuracy is too good by these, delete the copies"
        )
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
