"""What the user named (files, folders, globs, videos, CSVs, stdin) -> items in the order of the output.

Nothing is decoded here. What can't be used becomes a Failure in its place, so that the rest goes on.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from .blocks import Block, read_blocks
from .capture import Frame, read_video
from .errors import EdgeCNNError, SourceError, TableError
from .spec import TableSpec

IMAGE_SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .ppm .pgm .pbm .pnm".split())
"""Suffixes that a folder is searched for; a file that is named outright may have any."""

VIDEO_SUFFIXES = frozenset(".mp4 .m4v .avi .mov .mkv .webm .mpg .mpeg .ts .wmv .flv".split())

_WHERE_ROWS = "give a table model .csv files"


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFile:
    """A path that should hold one image."""

    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a table."""

    source: str
    block: Block


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be used, in the place of its result."""

    source: str
    error: EdgeCNNError
    frame: int | None = None
    row: int | None = None


Item = ImageFile | Frame | Rows | Failure


def read_sources(names: Iterable[str], table: TableSpec | None, *, max_frames: int | None = None) -> Iterator[Item]:
    """Expand the sources of a command line, lazily.

    Args:
        names: images, folders (searched recursively), globs, videos, CSV files, or '-' for paths on stdin.
        table: the table recipe of a table model, None for an image model.
        max_frames: frames taken from each video.
    """
    for name in names:
        if name == "-":
            lines = (line.rstrip("\r\n") for line in sys.stdin)
            yield from read_sources((line for line in lines if line), table, max_frames=max_frames)
            continue
        try:
            yield from _expand(name, table, max_frames)
        except (SourceError, TableError) as e:
            yield Failure(name, e)


def _expand(name: str, table: TableSpec | None, max_frames: int | None) -> Iterator[Item]:
    if os.path.isdir(name):
        yield from _folder(name, table)
    elif not os.path.lexists(name) and glob.has_magic(name):
        found = sorted(glob.glob(name, recursive=True))
        if not found:
            raise SourceError(f"{name}: no file matches", code="missing_file")
        for path in found:
            yield from _expand(path, table, max_frames)
    elif not os.path.exists(name):
        raise SourceError(f"{name}: no such file", code="missing_file")
    else:
        yield from _file(name, table, max_frames)


def _folder(name: str, table: TableSpec | None) -> Iterator[Item]:
    if table is not None:
        raise SourceError(f"{name}: a folder, but the model takes table rows; {_WHERE_ROWS}", code="wrong_kind")
    paths = (
        os.path.join(folder, file)
        for folder, folders, files in _walk(name)
        for file in files
        if Path(file).suffix.lower() in IMAGE_SUFFIXES
    )
    empty = True
    for path in paths:
        empty = False
        yield ImageFile(path)
    if empty:
        raise SourceError(
            f"{name}: no images in this folder or below ({', '.join(sorted(IMAGE_SUFFIXES))})",
            code="empty_folder",
        )


def _walk(name: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, files in os.walk(name):
        folders.sort()
        yield folder, folders, sorted(files)


def _file(name: str, table: TableSpec | None, max_frames: int | None) -> Iterator[Item]:
    suffix = Path(name).suffix.lower()
    if suffix == ".csv":
        if table is None:
            raise SourceError(f"{name}: a table, but the model takes images", code="wrong_kind")
        for block in read_blocks(name, table):
            yield Rows(name, block)
    elif table is not None:
        raise SourceError(f"{name}: not a .csv, but the model takes table rows; {_WHERE_ROWS}", code="wrong_kind")
    elif suffix in VIDEO_SUFFIXES:
        for frame in read_video(name):
            if max_frames is not None and frame.number >= max_frames:
                return
            yield frame
    else:
        yield ImageFile(name)
