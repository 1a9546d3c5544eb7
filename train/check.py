"""A look at the data before training: what is unreadable, twice there, on both sides of the split, or rare.

Only exact copies are found: files of equal bytes, rows of equal numbers.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .feed import ImageData, describe_failures
from .images import ImageSet
from .tables import Table

FEW = 20
"""Samples of a class below which its accuracy is mostly luck."""

_IMBALANCE = 5
"""Times that the largest class may outnumber the smallest without a word."""

_NAMED = 3
"""Examples named in one line."""


def check_images(data: ImageData) -> list[str]:
    """Findings about an image set and its split, a line each; none is a good sign."""
    found = [f"unreadable: {line}" for line in describe_failures(data.feed, data.images)]
    found += _check_counts(data.images.counts)
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


def check_table(table: Table, chosen: np.ndarray, held: np.ndarray) -> list[str]:
    """Findings about a table and its split, a line each."""
    found = []
    constant = np.flatnonzero(table.rows.min(axis=0) == table.rows.max(axis=0))
    for column in constant:
        found.append(
            f"column {table.spec.columns[column]!r} has the one value {table.rows[0, column]:g}: it tells nothing"
        )
    if table.labels is not None:
        counts = np.bincount(table.targets, minlength=len(table.labels))
        found += _check_counts(dict(zip(table.labels, counts.tolist(), strict=True)))
        for k, column in enumerate(table.spec.columns):
            order = np.argsort(table.rows[:, k], kind="stable")
            if k not in constant and len(table.labels) == 2 and _separates(table.rows[order, k], table.targets[order]):
                found.append(f"column {column!r} alone decides the target: is it known before the answer is?")
    groups = defaultdict(list)
    for i, row in enumerate(table.rows):
        groups[row.tobytes()].append(i)
    held_rows = set(held.tolist())
    leaks = sum(0 < sum(i in held_rows for i in group) < len(group) for group in groups.values() if len(group) > 1)
    if leaks:
        found.append(f"the same row in training and validation, {leaks} times")
    return found


def _separates(values: np.ndarray, targets: np.ndarray) -> bool:
    """Whether one threshold on sorted values tells the two classes apart."""
    changes = np.flatnonzero(np.diff(targets))
    return len(changes) == 1 and values[changes[0]] < values[changes[0] + 1]


def _check_counts(counts: dict[str, int]) -> list[str]:
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
