"""Real inputs for calibration and verification: a folder of images or a CSV, through the model's own recipe.

Folder order is sorted by name, as Keras's loaders number their classes, so that runs are repeatable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.cells import is_header, is_number, sniff
from edgecnn.decode import decode_for
from edgecnn.errors import EdgeCNNError, SourceError, SpecError, TableError
from edgecnn.preprocess import preprocess
from edgecnn.sources import IMAGE_SUFFIXES
from edgecnn.spec import ModelSpec, PixelSpec, TableSpec
from edgecnn.table import read_blocks

_T = TypeVar("_T")

DEFAULT_LIMIT = 512
"""Samples read at most: one answer is 0.2 % of the accuracy, and 64x64 photographs take a second or two."""


CHUNK = 32
"""Samples a call of a model."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs of a model with one input, as it takes them."""

    inputs: npt.NDArray[np.generic]
    """(n, ...) in the model's shape and dtype."""
    classes: npt.NDArray[np.int64] | None
    """(n,) true class indices, where the data tells them."""
    source: str
    """The folder or file that they came from."""
    skipped: tuple[str, ...] = ()
    """One line for each image or row that couldn't be used."""
    cells: tuple[tuple[str, ...], ...] = ()
    """Of table rows: the cells as they are in the file."""

    def __len__(self) -> int:
        return len(self.inputs)

    def thin(self, limit: int) -> npt.NDArray[np.generic]:
        """At most limit of the inputs at even distances, so that sorted classes all take part."""
        return self.inputs[spread(range(len(self)), limit)]

    def chunks(self) -> Iterator[npt.NDArray[np.generic]]:
        """The inputs in slices of at most CHUNK samples."""
        for start in range(0, len(self), CHUNK):
            yield self.inputs[start : start + CHUNK]


def read_samples(where: str | Path, spec: ModelSpec, *, limit: int = DEFAULT_LIMIT) -> Samples:
    """Read up to limit samples, spread evenly over the whole of the data.

    Args:
        where: a folder of images (subfolders named after classes give the true classes) or a CSV file.
        spec: the recipe; its pixels or table must be known.
        limit: the most samples to read.

    Raises:
        SourceError: nothing is there, or nothing in it can be used.
        SpecError: the recipe that the data needs is unknown.
    """
    where = Path(where)
    if where.is_dir():
        if spec.pixels is None:
            raise SpecError(
                f"{where} holds images, but the model's pixel recipe is unknown; say how it was trained with "
                "--preset or --resize, --color, --scale ..."
            )
        return _read_images(where, spec, spec.pixels, limit)
    if not where.exists():
        raise SourceError(f"{where} does not exist; give a folder of images or a CSV file")
    if spec.table is None:
        raise SpecError(f"{where} is a file, but the model takes images; give a folder of them")
    return _read_table(where, spec, spec.table, limit)


def class_names(folder: Path) -> list[str]:
    """The subfolders with their names sorted, as Keras numbers classes."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def list_images(folder: Path) -> list[Path]:
    """Every image below a folder, sorted by path."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _read_images(folder: Path, spec: ModelSpec, pixels: PixelSpec, limit: int) -> Samples:
    files = list_images(folder)
    if not files:
        raise SourceError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})", code="empty_folder")
    indices = _class_indices(folder, spec.labels)
    arrays, classes, skipped = [], [], []
    for file in spread(files, limit):
        try:
            image, color = decode_for(pixels, file)
            arrays.append(preprocess(image, pixels, color=color))
        except EdgeCNNError as e:
            skipped.append(f"{file}: {e}")
            continue
        classes.append(indices.get(file.relative_to(folder).parts[0], -1))
    if not arrays:
        raise SourceError(f"none of the {len(files)} images in {folder} can be read; the first: {skipped[0]}")
    known = classes and min(classes) >= 0
    return Samples(np.stack(arrays), np.array(classes, np.int64) if known else None, str(folder), tuple(skipped))


def _class_indices(folder: Path, labels: Sequence[str] | None) -> dict[str, int]:
    """Subfolder -> class index: by the model's labels where all are among them, else by sorted name."""
    names = class_names(folder)
    if labels is not None:
        if all(name in labels for name in names):
            return {name: labels.index(name) for name in names}
        if len(names) != len(labels):
            return {}
    return {name: i for i, name in enumerate(names)}


def infer_table(path: str | Path, columns: int) -> TableSpec:
    """A TableSpec for a CSV of which only the model's number of inputs is known.

    One column more than the model takes is the target, in last place.

    Raises:
        TableError: the file has another number of columns.
    """
    delimiter, lines = sniff(path)
    width = len(lines[0]) if lines else 0
    if width not in (columns, columns + 1):
        raise TableError(f"{path} has {width} columns, the model takes {columns} (and may have one target more)")
    header = is_header(lines[0], lines[1:])
    fields = tuple(c.strip() for c in lines[0]) if header else tuple(f"column {i + 1}" for i in range(width))
    target = fields[-1] if width > columns else None
    return TableSpec(fields=fields, target=target, header=header, delimiter=delimiter)


def _read_table(path: Path, spec: ModelSpec, table: TableSpec, limit: int) -> Samples:
    """Every stride-th usable row; the stride doubles where there are many, so memory doesn't grow with the file."""
    kept: list[tuple[npt.NDArray[np.float32], tuple[str, ...], str | None]] = []
    skipped: list[str] = []
    count, stride = 0, 1
    for block in read_blocks(path, table):
        skipped += map(str, block.failures.values())
        for i in range(len(block.lines)):
            if i in block.failures:
                continue
            if count % stride == 0:
                kept.append((block.values[i].copy(), block.cells(i), block.target(i)))
                if len(kept) > 2 * limit:
                    kept, stride = kept[::2], 2 * stride
            count += 1
    if not kept:
        raise SourceError(f"no row of {path} can be used; {skipped[0]}")
    values, cells, targets = zip(*spread(kept, limit), strict=True)
    to_class = _class_of(spec)
    classes = [to_class(target) if target is not None else -1 for target in targets]
    known = np.array(classes, np.int64) if min(classes) >= 0 else None
    return Samples(np.stack(values), known, str(path), tuple(skipped), cells)


def _class_of(spec: ModelSpec) -> Callable[[str], int]:
    """Target cell -> class index, -1 where it is no class."""
    labels = spec.labels or ()

    def to_class(cell: str) -> int:
        if cell in labels:
            return labels.index(cell)
        if spec.head == "regression" or not is_number(cell):
            return -1
        value = float(cell)
        if [n for n in labels if is_number(n) and float(n) == value]:
            return next(i for i, n in enumerate(labels) if is_number(n) and float(n) == value)
        return int(value) if value >= 0 and value == int(value) else -1

    return to_class


def spread(items: Sequence[_T], limit: int) -> list[_T]:
    """At most limit items at even distances, the first among them."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]
