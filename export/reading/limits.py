"""Bounds what a model file may make its reader open or allocate, before anything is read from it.

An HDF5 file can point into other files, and claim arrays of any size without holding a byte of them; so can
an archive.
"""

from __future__ import annotations

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


def check_hdf5(file: Any, path: Path) -> None:
    """Refuse an open h5py file that leads elsewhere or claims what it doesn't hold.

    Raises:
        ModelError: it has links out of itself, or more groups or bytes than its size explains.
    """
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
    """Refuse an archive that unpacks to far more than its size.

    Raises:
        ModelError: it does.
    """
    unpacked = sum(item.file_size for item in archive.infolist())
    config = max((i.file_size for i in archive.infolist() if i.filename.endswith(".json")), default=0)
    if unpacked > path.stat().st_size * _EXPANSION + _ALLOWANCE or config > _CONFIG:
        raise ModelError(f"{path} unpacks to {unpacked:,} bytes, more than a model of its size does; refused")
