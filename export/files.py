"""Files that are written: whole at every moment, and never in the place of one that is read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from edgecnn.errors import ModelError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at every moment path is either what it was or all of content.

    What is no file, such as /dev/stdout or a pipe, is written to as it is.

    Raises:
        ModelError: the folder is missing or read-only, or the disk is full.
    """

    def fill(file: Path) -> None:
        with open(file, "wb") as f:
            f.write(content)
            f.flush()
            if file is not path:
                os.fsync(f.fileno())

    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            fill(path)
        except OSError as e:
            raise ModelError(f"can't write {path}: {e.strerror or e}") from e
    else:
        replace(path, fill)


def replace(path: Path, fill: Callable[[Path], None]) -> None:
    """Let fill write a temporary file beside path, then move it there; a link stays one, to the new file.

    Raises:
        ModelError: the folder is missing or read-only, or the disk is full.
    """
    temporary = None
    try:
        place = Path(os.path.realpath(path))
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent)
        temporary = Path(name)
        os.close(handle)
        fill(temporary)
        # mkstemp makes files private; the result gets the mode that any new file or the old one has.
        temporary.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~_umask())
        os.replace(temporary, place)
    except OSError as e:
        raise ModelError(f"can't write {path}: {e.strerror or e}; nothing was changed there") from e
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_written(written: Iterable[tuple[str, Path]], read: Iterable[tuple[str, Path]]) -> None:
    """Refuse places that can't be written to, or that hold something else that the command writes or reads.

    Args:
        written: (option or argument, path), of which no two may be one file.
        read: likewise, for what must not be written over.

    Raises:
        ModelError: the message names the option and the path.
    """
    taken = {os.path.realpath(path): name for name, path in read}
    for name, path in written:
        if path.is_dir():
            raise ModelError(f"{name} {path} is a folder; give the file to write")
        if not path.parent.is_dir():
            raise ModelError(f"{name} {path}: the folder {path.parent} does not exist; make it, or choose another")
        if path.exists() and not path.is_file():
            continue
        if not os.access(path.parent, os.W_OK):
            raise ModelError(f"{name} {path}: the folder {path.parent} can't be written to; choose another")
        other = taken.get(os.path.realpath(path))
        if other is not None:
            raise ModelError(f"{name} {path} would be written over the {other} of the same name; choose another")
        taken[os.path.realpath(path)] = f"file of {name}"
