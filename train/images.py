"""Class folders, or a CSV of path,label -> image files with their classes.

Classes are the names, sorted; nothing is decoded here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgecnn.cells import read_cells
from edgecnn.errors import SourceError, TableError
from edgecnn.sources import IMAGE_SUFFIXES

TRAIN_FOLDERS = ("train", "training")
VALIDATION_FOLDERS = ("val", "valid", "validation")
TEST_FOLDERS = ("test", "testing")
"""Names of subfolders that hold a split made by the user."""


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images and their classes."""

    sources: tuple[Path | bytes, ...]
    """Files, or encoded images."""
    indices: np.ndarray
    """(n,) int64, the class of each source."""
    classes: tuple[str, ...]
    """Names by index."""

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, chosen: Sequence[int] | np.ndarray) -> ImageSet:
        """The images at these positions, in this order."""
        return ImageSet(tuple(self.sources[i] for i in chosen), self.indices[np.asarray(chosen, int)], self.classes)

    @property
    def one_hot(self) -> np.ndarray:
        """(n, classes) float32."""
        return np.eye(len(self.classes), dtype=np.float32)[self.indices]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        counted = np.bincount(self.indices, minlength=len(self.classes))
        return dict(zip(self.classes, counted.tolist(), strict=True))


class Sets(NamedTuple):
    """What a user has split already; None where that is left to do."""

    training: ImageSet
    validation: ImageSet | None = None
    test: ImageSet | None = None


def find_sets(folder: str | os.PathLike[str]) -> Sets:
    """Images of a folder of class folders, of its subfolders train, val and test where it has those, or of a CSV.

    Raises:
        SourceError: the folder is missing, holds no classes, only one, or an empty one.
        TableError: a line of the CSV is no path and label.
    """
    root = Path(folder)
    if root.is_file() and root.suffix.lower() == ".csv":
        return Sets(read_list(root))
    training, *others = (
        next((root / name for name in names if (root / name).is_dir()), None)
        for names in (TRAIN_FOLDERS, VALIDATION_FOLDERS, TEST_FOLDERS)
    )
    if training is None or not any(others):
        return Sets(find_images(root))
    images = find_images(training)
    return Sets(images, *(find_images(other, classes=images.classes) if other else None for other in others))


def find_images(folder: str | os.PathLike[str], *, classes: Sequence[str] | None = None) -> ImageSet:
    """Images below each class folder, sorted by path.

    Args:
        folder: holds one folder a class.
        classes: the classes that there must be, for a validation folder.

    Raises:
        SourceError: as for find_sets, or the classes are others.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise SourceError(f"{root}: {what}; give a folder that holds one folder of images a class", code="missing_file")
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {name: list(_walk(root / name)) for name in names}
    if not any(files.values()):
        raise SourceError(
            f"{root}: no images in class folders; expected {root}/CLASS/*.jpg (or .png, .bmp, .gif, .webp)",
            code="empty_folder",
        )
    if classes is not None and tuple(names) != tuple(classes):
        raise SourceError(f"{root}: classes {', '.join(names)}, but training has {', '.join(classes)}")
    if len(names) == 1:
        raise SourceError(f"{root}: only one class, {names[0]!r}; a classifier needs at least two folders")
    empty = [name for name in names if not files[name]]
    if empty:
        raise SourceError(
            f"{root / empty[0]}: no images; add some, or remove the folder from {root}", code="empty_folder"
        )
    paths = [path for name in names for path in files[name]]
    indices = np.repeat(np.arange(len(names)), [len(files[name]) for name in names])
    return ImageSet(tuple(paths), indices, tuple(names))


def read_list(path: Path) -> ImageSet:
    """Images of a CSV of path,label; paths are relative to the CSV, a header "path,label" is skipped.

    Raises:
        SourceError: it holds fewer than two classes.
        TableError: it can't be read, or a line has other cells or names no file.
    """
    lines = [(number, [c.strip() for c in cells]) for block in read_cells(path, ",") for number, cells in block]
    if lines and lines[0][1][:2] == ["path", "label"]:
        lines = lines[1:]
    found: list[tuple[Path, str]] = []
    for number, cells in lines:
        if len(cells) != 2 or not all(cells):
            raise TableError(f"{path}, line {number}: expected path,label, got {','.join(cells)!r:.80}")
        source = path.parent / cells[0]
        if not source.is_file():
            raise TableError(f"{path}, line {number}: no such file: {source}")
        found.append((source, cells[1]))
    classes = sorted({label for _, label in found})
    if len(classes) < 2:
        raise SourceError(f"{path}: {len(classes)} classes; a classifier needs at least two", code="empty_table")
    indices = np.array([classes.index(label) for _, label in found])
    return ImageSet(tuple(source for source, _ in found), indices, tuple(classes))


def _walk(folder: Path) -> Iterator[Path]:
    for directory, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield Path(directory, name)
