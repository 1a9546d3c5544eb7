"""Reads an HDF5 file from end to end, run as a process of its own: `python probe.py FILE BYTES [MEMBER]`.

The HDF5 library crashes on some damaged files and stays in others for ever; here that harms nobody. An HDF5 file can
also point into other files, and claim arrays of any size without holding a byte of them: what is wrong goes to stdout.
"""

from __future__ import annotations

import contextlib
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

OBJECTS = 200_000
"""Groups and arrays of one file; the largest applications of Keras have some 10,000."""


class LimitError(ValueError):
    """What a file may not hold; the message continues a sentence that names it."""


def objects(file: Any, allowed: int) -> Iterator[Any]:
    """Every group and array of an open h5py.File.

    Args:
        file: The file.
        allowed: Bytes that its arrays may have together.

    Raises:
        LimitError: the file leads elsewhere or claims too much.
    """
    import h5py

    claimed = seen = 0
    groups = [file]
    visited = set()
    while groups:
        group = groups.pop()
        yield group
        for name in group:
            seen += 1
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise LimitError(f"links to another file at {name!r}, which no model of Keras does; refused")
            # Only get() passes over what can't be opened, and only a soft link may lead nowhere.
            item = group[name] if isinstance(link, h5py.HardLink) else group.get(name)
            if isinstance(item, h5py.Group):
                # A group may be linked from within itself.
                address = h5py.h5o.get_info(item.id).addr
                if address not in visited:
                    visited.add(address)
                    groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise LimitError(f"keeps {name!r} in another file, which no model of Keras does; refused")
                claimed += item.size * item.dtype.itemsize
                yield item
            if seen > OBJECTS or claimed > allowed:
                raise LimitError(f"claims more than a file of its size can hold ({claimed:,} bytes); refused")


def damaged(error: Exception) -> str:
    """What is said of a file that can't be read to its end."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f"is damaged or cut off ({' '.join(str(text).split()) or type(error).__name__}); fetch or save it again"


def probe(path: str, allowed: int, member: str | None = None) -> str:
    """What is wrong with a file, or "" if it can be read."""
    import h5py

    try:
        if member is None:
            file = h5py.File(path, "r")
        else:
            with zipfile.ZipFile(path) as archive:
                file = h5py.File(io.BytesIO(archive.read(member)), "r")
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        return damaged(e)
    try:
        found = list(objects(file, allowed))
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as e:
        return str(e) if isinstance(e, LimitError) else damaged(e)
    for item in found:
        # What h5py can't read is for the reader to say, who may not need it.
        with contextlib.suppress(Exception):
            for name in item.attrs:
                with contextlib.suppress(Exception):
                    item.attrs[name]
            if isinstance(item, h5py.Dataset):
                item[()]
    return ""


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are no top-level ones
    print(probe(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]), end="")
