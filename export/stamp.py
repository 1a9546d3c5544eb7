"""Stamps: a ModelSpec inside a Keras or ONNX file, so that export and runtime need no flags.

A `.keras` archive gets the member edgecnn.json, HDF5 a root attribute, ONNX an entry of metadata_props.
What a file is, its first bytes say, not its name: Keras 2 wrote HDF5 under the name .keras as well.
Reading a stamp parses JSON and nothing else.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgeCNNError, ModelError, SpecError
from edgecnn.golden import KEY as GOLDEN_KEY
from edgecnn.golden import Golden
from edgecnn.seal import KEY as SEAL_KEY
from edgecnn.seal import seal
from edgecnn.spec import MAX_JSON_BYTES, METADATA_KEY, ModelSpec

from .backend import require
from .files import replace, write_atomically

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
"""First eight bytes of an HDF5 file (HDF5 File Format Specification, superblock)."""

ZIP_MAGIC = b"PK\x03\x04"
"""First four bytes of a zip archive, which a .keras file is."""

_MEMBER = METADATA_KEY + ".json"

_ATTRIBUTE_LIMIT = 60_000
"""Largest HDF5 attribute used, bytes; the format's own limit is 64 KiB. Longer stamps become a dataset."""


def write_stamp(path: str | os.PathLike[str], spec: ModelSpec) -> None:
    """Put spec into a `.keras`, HDF5 or ONNX file, replacing a stamp that is there; the change is atomic.

    Raises:
        ModelError: the file is missing, of another kind, or can't be written.
    """
    path = Path(path)
    text = spec.to_json()
    kind = _kind(path)
    if kind == "keras":
        replace(path, lambda temporary: _write_archive(path, temporary, text))
    elif kind == "hdf5":
        replace(path, lambda temporary: _write_hdf5(path, temporary, text))
    else:
        onnx = require("onnx")
        model = _load_onnx(onnx, path)
        stamp_onnx(model, spec)
        write_atomically(path, seal(model.SerializeToString()))


def read_stamp(path: str | os.PathLike[str]) -> ModelSpec | None:
    """The ModelSpec inside a `.keras`, HDF5 or ONNX file; None where there is no stamp.

    Raises:
        ModelError: the file is missing, of another kind or damaged.
        SpecError: there is a stamp, and this version can't read it.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "keras":
        text = _read_archive(path)
    elif kind == "hdf5":
        text = _read_hdf5(path)
    else:
        onnx = require("onnx")
        text = next((p.value for p in _load_onnx(onnx, path).metadata_props if p.key == METADATA_KEY), None)
    return None if text is None else ModelSpec.from_json(text)


def stamp_onnx(model: Any, spec: ModelSpec, golden: Golden | None = None) -> None:
    """Put spec, and golden samples where there are some, into the metadata_props of an onnx.ModelProto, in place.

    A seal that is there is dropped: it would no longer fit.
    """
    stamps = {METADATA_KEY: spec.to_json()}
    if golden is not None:
        stamps[GOLDEN_KEY] = golden.to_json()
    kept = {p.key: p.value for p in model.metadata_props if p.key != SEAL_KEY}
    del model.metadata_props[:]
    for key, value in {**kept, **stamps}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def read_head(path: Path, size: int) -> bytes:
    """The first bytes of a model file.

    Raises:
        ModelError: it is missing or can't be read.
    """
    try:
        with open(path, "rb") as f:
            return f.read(size)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except OSError as e:
        raise ModelError(f"can't read {path}: {e.strerror or e}") from None


def _kind(path: Path) -> str:
    head = read_head(path, 8)
    if head == HDF5_MAGIC:
        return "hdf5"
    if head.startswith(ZIP_MAGIC):
        return "keras"
    if path.suffix.lower() == ".onnx":
        return "onnx"
    raise ModelError(f"{path} is no .keras archive, HDF5 file or .onnx file; a recipe can't be read from it")


def _write_archive(path: Path, temporary: Path, text: str) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(temporary, "w") as new:
        for item in old.infolist():
            if item.filename != _MEMBER:
                with old.open(item) as source, new.open(item, "w") as target:
                    shutil.copyfileobj(source, target)
        new.writestr(_MEMBER, text)


def _read_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                return None
            if archive.getinfo(_MEMBER).file_size > MAX_JSON_BYTES:
                raise SpecError(f"the recipe inside {path} has more than {MAX_JSON_BYTES} bytes")
            return archive.read(_MEMBER).decode("utf-8")
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError, EOFError) as e:
        raise ModelError(f"{path} is damaged: {e}") from None


def _write_hdf5(path: Path, temporary: Path, text: str) -> None:
    h5py = require("h5py")
    shutil.copyfile(path, temporary)
    with h5py.File(temporary, "r+") as f:
        f.attrs.pop(METADATA_KEY, None)
        f.pop(METADATA_KEY, None)
        if len(text.encode()) <= _ATTRIBUTE_LIMIT:
            f.attrs[METADATA_KEY] = text
        else:
            f.create_dataset(METADATA_KEY, data=text)


def _read_hdf5(path: Path) -> str | None:
    h5py = require("h5py")
    try:
        with h5py.File(path, "r") as f:
            value = f.attrs.get(METADATA_KEY)
            if value is None and isinstance(f.get(METADATA_KEY), h5py.Dataset):
                value = f[METADATA_KEY][()]
    except (OSError, RuntimeError, KeyError) as e:
        raise ModelError(f"{path} is damaged: {e}") from None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if value is None else str(value)


def _load_onnx(onnx: Any, path: Path) -> Any:
    try:
        # External data belongs to a model of more than 2 GB; a recipe needs the graph's own file only.
        return onnx.load(path, load_external_data=False)
    except EdgeCNNError:
        raise
    except Exception as e:
        raise ModelError(f"{path} is no ONNX file: {type(e).__name__}") from None
