"""Bounds what a model file may make its reader open, allocate or wait for, before anything is read from it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from edgecnn.errors import ModelError

_EXPANSION = 200
"""Weights hardly compress; a file that unpacks to more than this many times its size is made to harm."""

_ALLOWANCE = 1 << 28
"""Bytes that any file may unpack to, however small it is: initial values, all zero, do compress."""

_CONFIG = 1 << 26
"""Bytes of an archive's JSON."""


_PROBE = Path(__file__).with_name("probe.py")

_PATIENCE = 60.0
"""Seconds that the probe has, and one more for every 10 MB."""


def check_hdf5(path: Path, member: str | None = None) -> None:
    """Have another process read an HDF5 file, or one inside an archive, from end to end before this one does.

    Raises:
        ModelError: it has links out of itself, or more groups or bytes than its size explains, or reading it fails,
            crashes the HDF5 library or doesn't end.
    """
    size = path.stat().st_size
    allowed = size * _EXPANSION + _ALLOWANCE
    command = [sys.executable, str(_PROBE), str(path), str(allowed), *([] if member is None else [member])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE + size / 1e7, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{path} is damaged: reading it does not end") from None
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise ModelError(f"{path} is damaged: the HDF5 library crashes on it ({last[0]})")
    if said:
        raise ModelError(f"{path} {said}")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size, or holds an HDF5 file that check_hdf5 refuses.

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
            check_hdf5(path, item.filename)
