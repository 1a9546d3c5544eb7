"""A look at the images before training: unreadable, twice there, on both sides of the split, rare, or telling.

Only exact copies are found: files of equal bytes.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .feed import ImageData, Subset, describe_failures
from .images import ImageSet
from .progress import counted

FEW = 20
"""Samples of a class below which its accuracy is mostly luck."""

_IMBALANCE = 5
"""Times that the largest class may outnumber the smallest without a word."""

_MEASURED = 5000
"""Images whose size is read, evenly spread: some 0.1 ms each."""

_TELLING = 0.9
"""Share of the classes that a file's size or format may give away without a word."""

_NAMED = 3
"""Examples named in one line."""


def check_images(data: ImageData, *, weighted: bool = False) -> list[str]:
    """Findings about the images and their split, a line each; none is a good sign. weighted: as of check_counts."""
    subsets = {"training": data.training, "validation": data.validation} | ({"test": data.test} if data.test else {})
    sets = {id(subset.images): subset for subset in subsets.values()}.values()
    found = [f"unreadable: {line}" for subset in sets for line in describe_failures(subset.feed, subset.images)]
    found += check_counts(data.training.images.counts, weighted=weighted)
    found += _check_sizes(data.training)
    every = [image for subset in sets for image in zip(subset.images.sources, subset.images.indices, strict=True)]
    images = ImageSet(
        tuple(source for source, _ in every), np.array([index for _, index in every]), data.training.images.classes
    )
    copies = _copies(images)
    conflicts = [group for group in copies if len({images.indices[i] for i in group}) > 1]
    if conflicts:
        found.append(
            f"the same image in several classes, {counted(len(conflicts), 'time')}: {_name(images, conflicts)}"
        )
    where: list[str | None] = []
    for one in sets:
        own = {i: name for name, subset in subsets.items() if subset.images is one.images for i in subset.positions}
        where += [own.get(i) for i in range(len(one.images))]
    leaks = [group for group in copies if len({where[i] for i in group}) > 1]
    if leaks:
        times = counted(len(leaks), "time")
        found.append(
            f"the same image in training and validation{' or test' if data.test else ''}, {times}: "
            f"{_name(images, leaks)}; its accuracy is too good by these, delete the copies"
        )
    return found


def check_counts(counts: dict[str, int], *, weighted: bool = False) -> list[str]:
    """Findings about how many samples each class has; weighted: class weights are given, so that they may differ."""
    found = [f"class {name!r} has only {counted(count, 'sample')}" for name, count in counts.items() if count < FEW]
    least, most = min(counts, key=counts.get), max(counts, key=counts.get)
    if counts[most] > _IMBALANCE * counts[least] and not weighted:
        found.append(
            f"class {most!r} has {counts[most]} samples, {least!r} {counts[least]}: consider --class-weight balanced"
        )
    return found


def describe_sizes(subset: Subset) -> str:
    """The smallest and the largest of its images, and which are enlarged for the network."""
    sizes = sorted(_sizes(subset).values(), key=lambda size: size[0] * size[1])
    span = dict.fromkeys(f"{width}x{height}" for width, height in (sizes[0], sizes[-1]))
    height, width = subset.feed.shape[:2]
    small = sum(w < width and h < height for w, h in sizes)
    enlarged = f", {small} of {len(sizes)} smaller than the network's {width}x{height}" if small else ""
    return f"{' to '.join(span)} pixels{enlarged}"


def _sizes(subset: Subset) -> dict[int, tuple[int, int]]:
    """(width, height) of the images that can be read, by their position in the set, by their headers."""
    from PIL import Image

    found = {}
    positions = np.arange(len(subset.images))[:: -(-len(subset.images) // _MEASURED)]
    for i in positions.tolist():
        source = subset.images.sources[i]
        try:
            with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
                found[i] = image.size
        except (OSError, ValueError, Image.DecompressionBombError):
            # The feed has told that already.
            continue
    return found


def _check_sizes(subset: Subset) -> list[str]:
    """Sizes or formats that give the class away."""
    sizes = _sizes(subset)
    found = []
    classes = subset.images.indices[list(sizes)]
    formats = [_suffix(subset.images.sources[i]) for i in sizes]
    for what, values in (("size in pixels", list(sizes.values())), ("suffix", formats)):
        right, chance = _predictable(values, classes)
        if right >= _TELLING > chance:
            found.append(
                f"the {what} of a file alone gives its class away in {right:.0%} of the images: the network may learn "
                "how they were made instead of what they show"
            )
    return found


def _suffix(source: Path | bytes) -> str:
    return source.suffix.lower().replace("jpeg", "jpg") if isinstance(source, Path) else ""


def _predictable(values: Sequence[object], classes: np.ndarray) -> tuple[float, float]:
    """Share of the classes that the others with the same value tell, and that the most frequent class is right."""
    groups = defaultdict(Counter)
    for value, index in zip(values, classes.tolist(), strict=True):
        groups[value][index] += 1
    right = 0
    for counts in groups.values():
        (_, most), *others = counts.most_common(2)
        # Without the image itself its class must still be ahead.
        right += most if most - 1 > (others[0][1] if others else 0) else 0
    return right / len(classes), max(Counter(classes.tolist()).values()) / len(classes)


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
