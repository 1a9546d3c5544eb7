"""Real inputs for calibration and verification: a folder of images or a CSV, through the model's own recipe.

Folder order is sorted by name, as Keras's loaders number their classes, so that runs are repeatable.
"""

from __future__ import annotations

import dataclasses
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.blocks import read_blocks
from edgecnn.cells import is_header, is_number, sniff
from edgecnn.decode import decode_for
from edgecnn.errors import EdgeCNNError, SourceError, SpecError, TableError
from edgecnn.preprocess import preprocess
from edgecnn.sources import IMAGE_SUFFIXES
from edgecnn.spec import ModelSpec, PixelSpec, TableSpec

from ..batches import Arrays

if TYPE_CHECKING:
    from ..source import Tensor

_T = TypeVar("_T")

DEFAULT_LIMIT = 512
"""Samples read at most: one answer is 0.2 % of the accuracy, and 64x64 photographs take a second or two."""


MAX_BYTES = 2**31
"""Of real inputs held at a time; 512 of 224x224 take 0.3e9, of 4096x4096 ten would be all."""

_CLASSES = "classes"
"""Name of the array of true class indices in an .npz file."""

CHUNK = 32
"""Samples a call of a model."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs of a model, as it takes them."""

    inputs: Arrays
    """One array an input, (n, ...) in its shape and dtype."""
    classes: npt.NDArray[np.int64] | None
    """(n,) true class indices, where the data tells them."""
    source: str
    """The folder or file that they came from."""
    skipped: tuple[str, ...] = ()
    """One line for each image or row that couldn't be used."""
    cells: tuple[tuple[str, ...], ...] = ()
    """Of table rows: the cells as they are in the file."""
    folder: Path | None = None
    """Of images: the folder that holds them."""

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __getitem__(self, part: slice) -> Arrays:
        """The inputs of some samples."""
        return [a[part] for a in self.inputs]

    def thin(self, limit: int) -> Arrays:
        """At most limit of the inputs at even distances, so that sorted classes all take part."""
        chosen = spread(range(len(self)), limit)
        return [a[chosen] for a in self.inputs]

    def chunks(self) -> Iterator[Arrays]:
        """The inputs in slices of at most CHUNK samples."""
        for start in range(0, len(self), CHUNK):
            yield self[start : start + CHUNK]


def read_samples(
    where: str | Path, spec: ModelSpec, inputs: Sequence[Tensor], *, limit: int = DEFAULT_LIMIT
) -> Samples:
    """Read up to limit samples, spread evenly over the whole of the data.

    Args:
        where: a folder of images (subfolders named after classes give the true classes), a CSV file, or an .npz
            file with an array for each input.
        spec: the recipe; for images and CSV its pixels or table must be known.
        inputs: what the model takes.
        limit: the most samples to read.

    Raises:
        SourceError: nothing is there, or nothing in it can be used.
        SpecError: the recipe that the data needs is unknown.
    """
    where = Path(where)
    if where.is_file() and is_arrays(where):
        return _read_arrays(where, inputs, limit)
    if len(inputs) != 1:
        names = ", ".join(t.name for t in inputs)
        raise SourceError(
            f"{where} can't be used: the model has {len(inputs)} inputs; give an .npz file with the arrays {names}"
        )
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
        images = "a folder of images, or " if len(inputs[0].shape) == 4 else ""
        raise SpecError(
            f"{where} is a file, but the model takes {inputs[0].describe()}; give {images}an .npz file with the array "
            f"{inputs[0].name}"
        )
    return _read_table(where, spec, spec.table, limit)


def is_arrays(where: str | Path) -> bool:
    """Whether a file is one of numpy.savez."""
    return Path(where).suffix.lower() == ".npz"


def _read_arrays(path: Path, inputs: Sequence[Tensor], limit: int) -> Samples:
    """The arrays named after the inputs, and 'classes', the true class indices, where it is there."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            wanted = {_CLASSES, *(t.name for t in inputs)}
            found = {name: stored[name] for name in stored.files if name in wanted}
            there = ", ".join(stored.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as e:
        raise SourceError(f"{path} can't be read as an .npz file: {e}") from None
    missing = [t.describe() for t in inputs if t.name not in found]
    if missing:
        raise SourceError(f"{path} lacks the array {missing[0]}; it holds {there or 'none'}")
    arrays = [_fitting(found[t.name], t, path) for t in inputs]
    classes = found.get(_CLASSES)
    sizes = {len(a) for a in (*arrays, *([] if classes is None else [classes]))}
    if len(sizes) != 1 or sizes == {0}:
        raise SourceError(f"the arrays in {path} must hold the same number of samples, got {sorted(sizes)}")
    chosen = spread(range(sizes.pop()), limit)
    return Samples(
        [a[chosen] for a in arrays],
        None if classes is None else np.asarray(classes, np.int64).reshape(len(classes))[chosen],
        str(path),
    )


def _fitting(array: npt.NDArray[Any], tensor: Tensor, path: Path) -> npt.NDArray[Any]:
    """An array in the type that an input takes; no value may change with it, save for float64's last digits."""
    fits = array.ndim == len(tensor.shape) and all(
        want in (None, got) for got, want in zip(array.shape[1:], tensor.shape[1:], strict=True)
    )
    dtype = object if tensor.dtype == "string" else np.dtype(tensor.dtype)
    kinds = {"b": "b", "i": "biu", "u": "bu", "f": "biuf", "O": "U"}[np.dtype(dtype).kind]
    if not fits or array.dtype.kind not in kinds:
        raise SourceError(
            f"{path}: {tensor.name} is {array.dtype} {list(array.shape)}, the model takes {tensor.describe()}"
        )
    return array.astype(dtype, copy=False)


def within_memory(limit: int, pixels: PixelSpec) -> int:
    """As many of limit input tensors as MAX_BYTES holds, at least one."""
    size = math.prod(pixels.shape) * np.dtype(pixels.dtype).itemsize
    return max(1, min(limit, MAX_BYTES // size))


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
    for file in spread(files, within_memory(limit, pixels)):
        try:
            image, color = decode_for(pixels, file)
            arrays.append(preprocess(image, pixels, color=color))
        except EdgeCNNError as e:
            skipped.append(f"{file}: {e}")
            continue
        classes.append(indices.get(file.relative_to(folder).parts[0], -1))
    if not arrays:
        raise SourceError(f"none of the {len(files)} images in {folder} can be read; the first: {skipped[0]}")
    known = np.array(classes, np.int64) if min(classes) >= 0 else None
    return Samples([np.stack(arrays)], known, str(folder), tuple(skipped), folder=folder)


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
    return Samples([np.stack(values)], known, str(path), tuple(skipped), cells)


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
