"""What a model file says about itself, read without loading it: kind, architecture, author's Keras, loss.

The first bytes decide the kind, not the name. Nothing here runs code from the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgeCNNError, ModelError

from ..backend import require
from ..stamp import HDF5_MAGIC, ZIP_MAGIC, read_head
from . import limits

_PICKLE = "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"
_HTML = "an HTML page, probably the download page and not the file"
_PROTOBUF = "an ONNX file or a TensorFlow graph already (a protocol buffer); export takes Keras models"

_ARCHIVE = "archive; unpack it first"
_TFJS = "a TensorFlow.js model; export takes the Keras model that it was made from"

_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself: run `git lfs pull` where it came from"),
    (b"\x80\x02\x8a\nl\xfc\x9cf\xf9 j\xa8p\x19", "a PyTorch file; edgecnn exports Keras models"),
    *((bytes([0x80, protocol]), _PICKLE) for protocol in range(2, 6)),
    (b"<!doctype", _HTML),
    (b"<html", _HTML),
    (b"<?xml", "an XML text, not a model"),
    *((bytes([0x08, version, 0x12]), _PROTOBUF) for version in range(1, 32)),
    (b"\n", _PROTOBUF),
    (b"\x1f\x8b", f"a gzip {_ARCHIVE}"),
    (b"bzh", f"a bzip2 {_ARCHIVE}"),
    (b"7z\xbc\xaf", f"a 7z {_ARCHIVE}"),
    (b"\xfd7zxz", f"an xz {_ARCHIVE}"),
    (b"rar!", f"a RAR {_ARCHIVE}"),
    (b"\x93numpy", "a NumPy array, not a model"),
    (b"\x89png", "a PNG image, not a model"),
    (b"\xff\xd8\xff", "a JPEG image, not a model"),
    (b"%pdf", "a PDF document, not a model"),
    (b"matlab ", "a MATLAB file; edgecnn exports Keras models"),
    *(
        (bytes([0x78, level]), f"compressed with zlib, as joblib and pickle do: {_PICKLE}")
        for level in (1, 0x5E, 0x9C, 0xDA)
    ),
    (
        b'{"class_name"',
        "an architecture in JSON, without weights: give the weights' file with --architecture this.json",
    ),
    (b'{"format": "layers-model"', _TFJS),
    (b'{"format":"layers-model"', _TFJS),
    (b'{"modeltopology"', _TFJS),
    (b'{"format": "graph-model"', _TFJS),
    (b'{"format":"graph-model"', _TFJS),
    (b"{", "a JSON text, not a model"),
    (b"404", "the answer of a web server, not the model itself"),
)
"""First bytes, lower case -> what such a file is."""

_OLD_PICKLE = re.compile(rb"\((dp|lp|i)|c\w+(\.\w+)*\n\w+\n")
"""How a pickle of protocol 0 begins."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """A model file before it is loaded."""

    path: Path
    kind: str
    """hdf5, keras (the zip archive of Keras 2.12 and later) or savedmodel (a folder)."""
    config: Any
    """The architecture as JSON; None for a savedmodel, and for weights alone."""
    keras_version: str | None
    """The Keras that wrote the file, as the file says."""
    loss: str | None
    """Name of the training loss, where the file tells."""
    backend: str | None = None
    """What Keras ran on when it wrote the file: tensorflow, theano, cntk, jax, torch."""

    @property
    def generation(self) -> int:
        """1, 2 or 3: the Keras whose meaning the file has; by the words that it uses where it has no version."""
        first = (self.keras_version or "")[:1]
        return int(first) if first in ("1", "2", "3") else _generation_by_words(self.config, self.kind)

    @property
    def before_tensorflow_2(self) -> bool:
        """Whether it computes with TensorFlow 1's functions: Keras up to 2.3, save TensorFlow's own (2.2.4-tf)."""
        version = self.keras_version or ""
        return version.startswith(("2.0.", "2.1.", "2.2.", "2.3.")) and not version.endswith("-tf")

    def layers(self) -> Iterator[Mapping[str, Any]]:
        """Every object with a class_name in the architecture, however deep."""
        return class_configs(self.config)


def read_stored(path: str | os.PathLike[str]) -> Stored:
    """Read what the file says.

    Raises:
        ModelError: the file is missing, damaged or no Keras model; the message says what it is.
    """
    path = Path(path)
    kind = sniff(path)
    try:
        if kind == "keras":
            return _read_archive(path)
        if kind == "savedmodel":
            return Stored(path, kind, None, None, None)
        return _read_hdf5(path)
    except EdgeCNNError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as e:
        raise ModelError(f"{path} is damaged or cut off: {e}") from None


def sniff(path: Path) -> str:
    """'hdf5', 'keras' or 'savedmodel', by the first bytes of the file or the content of the folder.

    Raises:
        ModelError: it is something else; the message says what, where that is recognised.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "savedmodel"
        raise ModelError(f"{path} is a folder without saved_model.pb; give a .keras or .h5 file or a SavedModel")
    head = read_head(path, 512)
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.startswith((ZIP_MAGIC, b"PK\x05\x06")):
        return _sniff_archive(path)
    if not head:
        raise ModelError(f"{path} is empty")
    for magic, what in _FOREIGN:
        if (head.lower() if magic[:1] in b"\n\x08\x80" else head.lstrip().lower()).startswith(magic):
            raise ModelError(f"{path} is {what}")
    if _OLD_PICKLE.match(head):
        raise ModelError(f"{path} is {_PICKLE}")
    if head[257:262] == b"ustar":
        raise ModelError(f"{path} is a tar {_ARCHIVE}")
    if head[4:8] == b"TFL3":
        raise ModelError(f"{path} is a TensorFlow Lite model; export takes the Keras model that it was made from")
    raise ModelError(f"{path} is neither HDF5 (.h5) nor a .keras archive; its first bytes are {head[:8]!r}")


def _sniff_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as e:
        raise ModelError(f"{path} is a damaged or cut-off archive: {e}") from None
    if "config.json" in names:
        return "keras"
    if any(n.endswith("/data.pkl") or n == "data.pkl" for n in names):
        raise ModelError(f"{path} is a PyTorch file; edgecnn exports Keras models")
    if "model.json" in names and any(n.endswith(".bin") for n in names):
        raise ModelError(f"{path} is a TensorFlow.js model; export takes the Keras model that it was made from")
    folder = next((n.removesuffix("config.json") for n in names if n.endswith("/config.json")), None)
    if folder is not None and f"{folder}model.weights.h5" in names:
        raise ModelError(f"{path} holds a model in the folder {folder}; zip what is in that folder, without it")
    inside = next((n for n in names if n.endswith((".h5", ".keras", "saved_model.pb"))), None)
    if inside is not None:
        raise ModelError(f"{path} is a zip archive around {inside}; unpack it and give that file")
    raise ModelError(f"{path} is a zip archive but no .keras model: it holds no config.json")


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files in sorted order, hexadecimal."""
    sha = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with open(file, "rb") as f:
            while block := f.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()


def class_configs(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every object with a class_name in a stored architecture, however deep."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from class_configs(value)
    elif isinstance(config, list):
        for value in config:
            yield from class_configs(value)


def _generation_by_words(config: Any, kind: str) -> int:
    """Keras 1 wrote output_dim and border_mode; only Keras 3 writes batch_shape, and its dtype as an object."""
    words = {key for layer in class_configs(config) for key in layer.get("config") or () if isinstance(key, str)}
    classes = {layer["class_name"] for layer in class_configs(config)}
    if words & {"nb_filter", "border_mode", "W_regularizer", "inner_activation", "input_dtype", "nb_feature"}:
        return 1
    return 3 if "batch_shape" in words or "DTypePolicy" in classes or kind == "keras" else 2


def _read_archive(path: Path) -> Stored:
    with zipfile.ZipFile(path) as archive:
        limits.check_archive(archive, path)
        config = _architecture(archive.read("config.json"), path)
        names = archive.namelist()
        if not any(name.startswith("model.weights.") for name in names):
            raise ModelError(f"{path} holds an architecture without weights, so there is nothing to export")
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    compiled = config.pop("compile_config", None) or {}  # which inference doesn't need, and may hold code
    return Stored(path, "keras", config, metadata.get("keras_version"), _loss_name(compiled.get("loss")))


def _read_hdf5(path: Path) -> Stored:
    h5py = require("h5py")
    limits.check_hdf5(path)
    with h5py.File(path, "r") as f:
        config = _text(f.attrs.get("model_config"))
        if config is not None and "model_weights" not in f and "layer_names" not in f.attrs:
            raise ModelError(f"{path} holds an architecture without weights, so there is nothing to export")
        if config is None and "optimizer_weights" in f and len(f) == 1:
            raise ModelError(f"{path} holds only an optimizer's state, no model")
        if config is None and not _holds_weights(f):
            raise ModelError(f"{path} is an HDF5 file, but Keras didn't write it: it holds {sorted(f)[:5]}")
        training = _text(f.attrs.get("training_config"))
        written_by = _text(f.attrs.get("keras_version"))
        backend = _text(f.attrs.get("backend"))
        if written_by is None and "model_weights" in f:
            written_by = _text(f["model_weights"].attrs.get("keras_version"))
    loss = None
    if training is not None:
        with contextlib.suppress(ValueError, AttributeError):
            loss = _loss_name(json.loads(training).get("loss"))
    return Stored(path, "hdf5", None if config is None else _architecture(config, path), written_by, loss, backend)


def _architecture(text: str | bytes, path: Path) -> Any:
    config = json.loads(text)
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ModelError(f"{path} is damaged: what it stores as its architecture is none")
    return config


def _holds_weights(file: Any) -> bool:
    """Whether an HDF5 file without architecture is what save_weights writes (old form, or Keras 3's)."""
    names = ("model_weights", "layers", "_layer_checkpoint_dependencies")
    return "layer_names" in file.attrs or any(name in file for name in names)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _loss_name(loss: Any) -> str | None:
    if isinstance(loss, Mapping):
        loss = loss.get("class_name") or (loss.get("config") or {}).get("name")
    return loss if isinstance(loss, str) else None
