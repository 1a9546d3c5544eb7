"""Where decoded images are kept: in memory, or in a file that vanishes with the process.

The file is read and written, not mapped: a full disk is then an error and not a crash, and what was read does
not count as memory of the process.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CACHES = ("auto", "memory", "disk", "none")
"""auto: memory up to MEMORY_LIMIT, else the disk if half of what is free is enough, else none."""

MEMORY_LIMIT = 2**30
"""Largest set of tensors that auto keeps in memory, bytes: 21,000 RGB images of 64x64."""


class MemoryCache:
    """An array of every image, (n, height, width, channels) float32."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._images = np.empty(tuple(shape), np.float32)

    def write(self, first: int, images: np.ndarray) -> None:
        """Put images at position `first` and after."""
        self._images[first : first + len(images)] = images

    def read(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions."""
        return self._images[positions]


class DiskCache:
    """The same in a temporary file without a name.

    Raises:
        OSError: there is no file to be had, or from write, the disk is full.
    """

    def __init__(self, shape: Sequence[int], folder: Path | None) -> None:
        self._shape = tuple(shape[1:])
        self._bytes = int(np.prod(self._shape)) * 4
        self._file = tempfile.TemporaryFile(dir=folder, prefix="edgecnn-cache-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def write(self, first: int, images: np.ndarray) -> None:
        """Put images at position `first` and after."""
        view = memoryview(np.ascontiguousarray(images, np.float32)).cast("B")
        done = 0
        while done < len(view):
            done += os.pwrite(self._file.fileno(), view[done:], first * self._bytes + done)

    def read(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions."""
        out = np.empty((len(positions), *self._shape), np.float32)
        for image, position in zip(out, positions.tolist(), strict=True):
            os.preadv(self._file.fileno(), [memoryview(image).cast("B")], position * self._bytes)
        return out


def choose_cache(name: str, shape: Sequence[int], folder: Path | None) -> MemoryCache | DiskCache | None:
    """A cache for float32 images of this (n, height, width, channels), by its name in CACHES; None keeps nothing."""
    needed = int(np.prod(shape)) * 4
    if name == "memory" or (name == "auto" and needed <= MEMORY_LIMIT):
        return MemoryCache(shape)
    if name == "disk" or (name == "auto" and needed <= shutil.disk_usage(folder or tempfile.gettempdir()).free // 2):
        return DiskCache(shape, folder)
    return None
