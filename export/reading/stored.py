"""What a model file says about itself, read without loading it: kind, architecture, author's Keras, loss.

The first bytes decide the kind, not the name. Nothing here runs code from the file.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn.errors import EdgeCNNError, ModelError
from edgecnn.wire import fields

from ..backend import require
from ..stamp import HDF5_MAGIC, ZIP_MAGIC, read_head
from . import limits, strangers
from .probe import damaged
from .strangers import shown

SHAPE_KEYS = ("batch_input_shape", "batch_shape")
"""What Keras 1 and 2, and Keras 3, call an input's shape."""


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

    @property
    def batch(self) -> int | None:
        """The batch that the architecture fixes; None where it is free, or isn't known."""
        for _, inner in layer_configs(self.config):
            for key in SHAPE_KEYS:
                shape = inner.get(key)
                if isinstance(shape, (list, tuple)) and shape and isinstance(shape[0], int):
                    return shape[0]
        return None

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
            return _read_savedmodel(path)
        return _read_hdf5(path)
    except EdgeCNNError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as e:
        raise ModelError(f"{shown(path)} {damaged(e)}") from None


def sniff(path: Path) -> str:
    """'hdf5', 'keras' or 'savedmodel', by the first bytes of the file or the names in the folder or archive.

    Raises:
        ModelError: it is something else; the message says what, where that is recognised.
    """
    what = strangers.no_file(path)
    if what is None and path.is_dir():
        if os.path.lexists(path / "saved_model.pb"):
            return "savedmodel"
        what = strangers.of_folder(path)
    if what is None:
        head = read_head(path, strangers.HEAD)
        if head.startswith(HDF5_MAGIC):
            return "hdf5"
        if head.startswith((ZIP_MAGIC, b"PK\x05\x06")):
            what = _stranger_in_archive(path)
            if what is None:
                return "keras"
        else:
            what = strangers.of_file(path, head)
    raise ModelError(f"{shown(path)} {what}")


def _stranger_in_archive(path: Path) -> str | None:
    """What a zip archive is that is no .keras model; None where it is one."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError) as e:
        return f"is a damaged or cut-off archive ({e}); fetch or save it again"
    names = [m.filename for m in members]
    if any(m.flag_bits & 1 for m in members):
        return "is an encrypted zip archive; unpack it with its password and give the model in it"
    if "config.json" in names and any(n.startswith("model.weights.") for n in names):
        return None
    return strangers.of_archive(names)


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


def layer_configs(config: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(entry, its config) of every entry with a class_name whose config is an object, as that of layers is."""
    for entry in class_configs(config):
        inner = entry.get("config")
        if isinstance(entry, dict) and isinstance(inner, dict):
            yield entry, inner


History = list[Any]
"""[name of a layer, number of its call, number of the output]."""


def references(value: Any) -> Iterator[History]:
    """Every History in one of them, in a list of such, or in a dict of them, as models store inputs and outputs."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if value and isinstance(value[0], str):
        yield value
        return
    for reference in value:
        yield from references(reference)


def keras_tensors(nodes: Any) -> Iterator[tuple[History, Any]]:
    """(History, shape) of every tensor that calls in a file of Keras 3 take."""
    for tensor in class_configs(nodes):
        if tensor["class_name"] == "__keras_tensor__":
            yield tensor["config"]["keras_history"], tensor["config"]["shape"]


def _generation_by_words(config: Any, kind: str) -> int:
    """Keras 1 wrote output_dim and border_mode; only Keras 3 writes batch_shape, and its dtype as an object."""
    words = {key for layer in class_configs(config) for key in layer.get("config") or () if isinstance(key, str)}
    classes = {layer["class_name"] for layer in class_configs(config)}
    if words & {"nb_filter", "border_mode", "W_regularizer", "inner_activation", "input_dtype", "nb_feature"}:
        return 1
    return 3 if "batch_shape" in words or "DTypePolicy" in classes or kind == "keras" else 2


def _read_savedmodel(path: Path) -> Stored:
    for file in (path / "saved_model.pb", *sorted(path.glob("variables/variables.*"))):
        what = strangers.no_file(file)
        if what is None:
            what = strangers.pointer(read_head(file, strangers.HEAD))
        if what is not None:
            raise ModelError(f"{shown(file)} {what}")
    graph = path / "saved_model.pb"
    try:
        # SavedModel of TensorFlow's saved_model.proto: its graphs are field 2.
        whole = any(number == 2 for number, _ in list(fields(memoryview(graph.read_bytes()))))
    except ValueError as e:
        raise ModelError(f"{shown(graph)} {damaged(e)}") from None
    if not whole:
        raise ModelError(f"{shown(graph)} is empty or no SavedModel's; fetch or save the model again")
    return Stored(path, "savedmodel", None, None, None)


def _read_archive(path: Path) -> Stored:
    with zipfile.ZipFile(path) as archive:
        limits.check_archive(archive, path)
        config = _architecture(archive.read("config.json"), path)
        names = archive.namelist()
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    compiled = config.pop("compile_config", None) or {}  # which inference doesn't need, and may hold code
    return Stored(path, "keras", config, metadata.get("keras_version"), _loss_name(compiled.get("loss")))


def _read_hdf5(path: Path) -> Stored:
    h5py = require("h5py")
    limits.check_hdf5(path)
    with h5py.File(path, "r") as f:
        config = _text(f.attrs.get("model_config"))
        if config is not None and "model_weights" not in f and "layer_names" not in f.attrs:
            raise ModelError(f"{shown(path)} holds an architecture without weights, so there is nothing to export")
        if config is None and "optimizer_weights" in f and len(f) == 1:
            raise ModelError(f"{shown(path)} holds only an optimizer's state, no model")
        if config is None and not _holds_weights(f):
            raise ModelError(
                f"{shown(path)} is an HDF5 file, but Keras didn't write it: it holds {sorted(f)[:5] or 'nothing'}; "
                "give the file that model.save() wrote"
            )
        compression = _unknown_compression(f)
        if compression is not None:
            raise ModelError(
                f"{shown(path)} is compressed by {compression}, which h5py can't read here; save it again without"
            )
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
    try:
        copy.deepcopy(config)
    except RecursionError:
        raise ModelError(f"{shown(path)} has models within models deeper than can be read; refused") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ModelError(f"{shown(path)} is damaged: what it stores as its architecture is none")
    return config


@contextlib.contextmanager
def architecture_of(path: Path) -> Iterator[None]:
    """Says of a file that it is damaged where its architecture isn't made as Keras makes them.

    Raises:
        ModelError: it isn't.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as e:
        raise ModelError(f"{shown(path)} is damaged: what it stores as its architecture is none") from e


def _holds_weights(file: Any) -> bool:
    """Whether an HDF5 file without architecture is what save_weights writes (old form, or .weights.h5's).

    A model of a class of its author's has no "layers" there but its attributes, and always "vars".
    """
    names = ("model_weights", "layers", "_layer_checkpoint_dependencies", "vars")
    return "layer_names" in file.attrs or any(name in file for name in names)


def _unknown_compression(file: Any) -> str | None:
    """The filter of an array that this HDF5 library doesn't have; None where it has all."""
    h5py = require("h5py")

    def unknown(item: Any) -> str | None:
        made = item.id.get_create_plist()
        for number, _, _, name in map(made.get_filter, range(made.get_nfilters())):
            if not h5py.h5z.filter_avail(number):
                return f"the filter {number} {shown(name.decode('utf-8', 'replace'))}".rstrip()
        return None

    return file.visititems(lambda name, item: unknown(item) if isinstance(item, h5py.Dataset) else None)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _loss_name(loss: Any) -> str | None:
    if isinstance(loss, Mapping):
        loss = loss.get("class_name") or (loss.get("config") or {}).get("name")
    return loss if isinstance(loss, str) else None
