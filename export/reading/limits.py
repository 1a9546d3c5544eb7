"""Bounds what a model file may make its reader open or allocate, before anything is read from it.

An HDF5 file can point into other files, and claim arrays of any size without holding a byte of them; so can
an archive.
"""

from __future__ import annotations

import io
import mmap
import zipfile
from pathlib import Path
from typing import Any

from edgecnn.errors import ModelError

from ..backend import require

_EXPANSION = 200
"""Weights hardly compress; a file that unpacks to more than this many times its size is made to harm."""

_ALLOWANCE = 1 << 28
"""Bytes that any file may unpack to, however small it is: initial values, all zero, do compress."""

_OBJECTS = 200_000
"""Groups and arrays of one file; the largest applications of Keras have some 10,000."""

_CONFIG = 1 << 26
"""Bytes of an archive's JSON."""


_HEAP = b"GCOL\x01\0\0\0"
"""How a global heap of HDF5 begins, which holds texts; its length follows in 8 bytes."""


def open_hdf5(path: Path, member: bytes | None = None) -> Any:
    """Open an HDF5 file, or one inside an archive, that leads nowhere else and holds what it claims.

    Args:
        path: The file, or the archive.
        member: The file inside the archive.

    Returns:
        An h5py.File for reading.

    Raises:
        ModelError: it has links out of itself, more groups or bytes than its size explains, or a heap without an end.
        OSError, RuntimeError: it is damaged.
    """
    if member is None:
        with open(path, "rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as view:
            _check_heaps(view, path)
    else:
        _check_heaps(member, path)
    file = require("h5py").File(path if member is None else io.BytesIO(member), "r")
    try:
        _check_tree(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _check_heaps(content: bytes | mmap.mmap, path: Path) -> None:
    """Walk through every heap as the HDF5 library does: at an object that takes no room it would stay for ever."""
    # Heaps within heaps could be walked through again and again.
    steps, at = len(content) // 8, -1
    while (at := content.find(_HEAP, at + 1)) >= 0:
        here, end = at + 16, at + int.from_bytes(content[at + 8 : at + 16], "little")
        while here + 16 <= min(end, len(content)):
            size = int.from_bytes(content[here + 8 : here + 16], "little")
            # Object 0 is the free rest, and counts its own header.
            room = size if content[here : here + 2] == b"\0\0" else 16 + (size + 7) // 8 * 8
            steps -= 1
            if room == 0 or here + room > end or steps < 0:
                raise ModelError(f"{path} is damaged or cut off: a heap in it has no end")
            here += room


def _check_tree(file: Any, path: Path) -> None:
    h5py = require("h5py")
    allowed = path.stat().st_size * _EXPANSION + _ALLOWANCE
    claimed = seen = 0
    groups = [file]
    visited = set()
    while groups:
        group = groups.pop()
        for name in group:
            seen += 1
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ModelError(f"{path} links to another file at {name!r}, which no model of Keras does; refused")
            item = group.get(name)
            if isinstance(item, h5py.Group):
                # A group may be linked from within itself.
                address = h5py.h5o.get_info(item.id).addr
                if address not in visited:
                    visited.add(address)
                    groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise ModelError(f"{path} keeps {name!r} in another file, which no model of Keras does; refused")
                claimed += item.size * item.dtype.itemsize
            if seen > _OBJECTS or claimed > allowed:
                raise ModelError(f"{path} claims more than a file of its size can hold ({claimed:,} bytes); refused")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size, or holds an HDF5 file that open_hdf5 refuses.

    Raises:
        ModelError: it does.
        OSError, RuntimeError: it is damaged.
    """
    unpacked = sum(item.file_size for item in archive.infolist())
    config = max((i.file_size for i in archive.infolist() if i.filename.endswith(".json")), default=0)
    if unpacked > path.stat().st_size * _EXPANSION + _ALLOWANCE or config > _CONFIG:
        raise ModelError(f"{path} unpacks to {unpacked:,} bytes, more than a model of its size does; refused")
    for item in archive.infolist():
        if item.filename.endswith(".h5"):
            open_hdf5(path, archive.read(item)).close()
