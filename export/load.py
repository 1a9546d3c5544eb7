"""Reads a Keras model file into a Source: the model, its inputs and outputs, what wrote and what loaded it.

No code from the file runs: pickles are never opened and Lambda layers are refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgeCNNError, ModelError
from edgecnn.spec import ModelSpec

from .backend import quiet_logs, require, tensorflow
from .stamp import HDF5_MAGIC, ZIP_MAGIC, read_stamp

_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself: run `git lfs pull` where it came from"),
    (b"\x80\x02", "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"),
    (b"\x80\x03", "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"),
    (b"\x80\x04", "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"),
    (b"\x80\x05", "a Python pickle, which can run code when opened; ask its author for a .keras or .h5 file"),
    (b"<!doctype html", "an HTML page, probably the download page and not the file"),
    (b"<html", "an HTML page, probably the download page and not the file"),
    (b"\x08\x07\x12", "an ONNX file already, or another protocol buffer; export takes Keras models"),
    (b"\x08\x08\x12", "an ONNX file already, or another protocol buffer; export takes Keras models"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
)
"""First bytes -> what such a file is."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One input or output of a model."""

    name: str
    """As the ONNX file calls it."""
    shape: tuple[int | None, ...]
    """With the batch as dimension 0; None where the length is free."""
    dtype: str
    """NumPy's name of the element type."""

    def describe(self) -> str:
        """'image float32 [batch, 64, 64, 3]'."""
        sizes = ["batch" if i == 0 else "?" if n is None else str(n) for i, n in enumerate(self.shape)]
        return f"{self.name} {self.dtype} [{', '.join(sizes)}]"


@dataclasses.dataclass(frozen=True)
class Source:
    """A loaded Keras model and what is known about its file."""

    path: Path
    model: Any
    """The keras.Model."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    keras_version: str | None
    """The Keras that wrote the file, as the file says."""
    loaded_by: str
    """The library that read it, with its version."""
    sha256: str
    stamp: ModelSpec | None
    """The recipe that the training left in the file."""
    loss: str | None = None
    """Name of the training loss, where the file tells."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the file was read."""

    def __call__(self, arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The model's outputs in inference mode, one array an output, for one array an input."""
        result = self.call(*(tensorflow().convert_to_tensor(a) for a in arrays))
        return [np.asarray(r) for r in result]

    def call(self, *tensors: Any) -> list[Any]:
        """The model on TensorFlow tensors, in inference mode; outputs in the order of `outputs`."""
        result = self.model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return tensorflow().nest.flatten(result)


def load(path: str | os.PathLike[str], *, allow_lambda: bool = False) -> Source:
    """Read a .keras, .h5 or .hdf5 model for inference.

    Args:
        path: the file; its first bytes decide what it is, not its name.
        allow_lambda: run the Python code that a Lambda layer holds. Only for files that you trust.

    Raises:
        ModelError: the file is missing, is no Keras model, holds code, or can't be read.
    """
    path = Path(path)
    sniff(path)
    stamp = read_stamp(path)
    config, written_by, loss = _read_config(path)
    _refuse_lambda(path, config, allow_lambda)
    tensorflow()
    keras = require("keras")
    with _named_by_content(path) as named:
        model = _load_with(keras, named, allow_lambda)
    inputs, outputs = _signature(model, path)
    return Source(
        path=path,
        model=model,
        inputs=inputs,
        outputs=outputs,
        keras_version=written_by,
        loaded_by=f"Keras {keras.__version__}",
        sha256=digest(path),
        stamp=stamp,
        loss=loss,
    )


def sniff(path: Path) -> str:
    """'hdf5' or 'keras', by the first bytes of the file.

    Raises:
        ModelError: it is something else; the message says what, where that is recognised.
    """
    if path.is_dir():
        raise ModelError(f"{path} is a folder; give the .keras or .h5 file")
    try:
        with open(path, "rb") as f:
            head = f.read(64)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except OSError as e:
        raise ModelError(f"can't read {path}: {e.strerror or e}") from None
    if head.startswith(HDF5_MAGIC):
        return "hdf5"
    if head.startswith(ZIP_MAGIC):
        return _sniff_archive(path)
    if not head:
        raise ModelError(f"{path} is empty")
    for magic, what in _FOREIGN:
        if head.lower().startswith(magic):
            raise ModelError(f"{path} is {what}")
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
    raise ModelError(f"{path} is a zip archive but no .keras model: it holds no config.json")


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def _read_config(path: Path) -> tuple[Any, str | None, str | None]:
    """(architecture as JSON, version of Keras that wrote it, training loss), without loading the model."""
    try:
        if sniff(path) == "keras":
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                names = archive.namelist()
                metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
            compiled = config.get("compile_config") or {}
            return config, metadata.get("keras_version"), _loss_name(compiled.get("loss"))
        h5py = require("h5py")
        with h5py.File(path, "r") as f:
            text = f.attrs.get("model_config")
            if text is None:
                raise ModelError(
                    f"{path} holds weights without their architecture (saved by save_weights); save the whole "
                    "model with model.save('model.keras')"
                )
            trained = f.attrs.get("training_config")
            written_by = f.attrs.get("keras_version")
        loss = _loss_name(json.loads(trained).get("loss")) if trained is not None else None
        return json.loads(text), _text(written_by), loss
    except EdgeCNNError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, AttributeError) as e:
        raise ModelError(f"{path} is damaged or cut off: {e}") from None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _loss_name(loss: Any) -> str | None:
    if isinstance(loss, Mapping):
        loss = loss.get("class_name") or (loss.get("config") or {}).get("name")
    return loss if isinstance(loss, str) else None


def layer_configs(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every object with a class_name in a stored architecture, however deep."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from layer_configs(value)
    elif isinstance(config, list):
        for value in config:
            yield from layer_configs(value)


def _refuse_lambda(path: Path, config: Any, allowed: bool) -> None:
    if allowed:
        return
    for layer in layer_configs(config):
        if layer["class_name"] in ("Lambda", "__lambda__"):
            name = (layer.get("config") or {}).get("name") or layer.get("name") or "?"
            raise ModelError(
                f"{path} holds Python code in the Lambda layer {name!r}, which would run on this machine; if you "
                "trust the file, pass --allow-lambda"
            )


@contextlib.contextmanager
def _named_by_content(path: Path) -> Iterator[Path]:
    """The file under a name whose ending fits its content: Keras goes by the ending."""
    suffix = {"hdf5": ".h5", "keras": ".keras"}[sniff(path)]
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        link = Path(folder) / (path.stem + suffix)
        link.symlink_to(path.resolve())
        yield link


def _load_with(keras: Any, path: Path, allow_lambda: bool) -> Any:
    options: dict[str, Any] = {"compile": False}
    if allow_lambda:
        options["safe_mode"] = False
    try:
        with quiet_logs("absl", "tensorflow"):
            return keras.models.load_model(path, **options)
    except Exception as e:
        first = str(e).strip().splitlines()[0] if str(e).strip() else ""
        raise ModelError(f"Keras {keras.__version__} can't load {path}: {type(e).__name__}: {first[:300]}") from e


def _signature(model: Any, path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The model's inputs and outputs under the names that the ONNX file will use."""
    if not getattr(model, "built", True) or getattr(model, "inputs", None) is None:
        raise ModelError(
            f"{path} holds a model without known inputs (never built or called); call it once on data, or give "
            "it an Input, and save it again"
        )
    used: set[str] = set()
    inputs = [_tensor(t, t.name, used) for t in model.inputs]
    names = _output_names(model)
    outputs = [_tensor(t, n, used) for t, n in zip(model.outputs, names, strict=True)]
    return tuple(inputs), tuple(outputs)


def _output_names(model: Any) -> list[str]:
    functional = getattr(model, "_functional", None) or model
    names = list(getattr(functional, "output_names", None) or [])
    if len(names) == len(model.outputs):
        return names
    return [f"output_{i}" if i else "output" for i in range(len(model.outputs))]


def _tensor(tensor: Any, name: str, used: set[str]) -> Tensor:
    """A Keras tensor as a Tensor with a name that is plain ('Identity:0' becomes 'Identity') and unused."""
    name = name.split(":")[0].split("/")[-1] or "tensor"
    unique, n = name, 1
    while unique in used:
        n += 1
        unique = f"{name}_{n}"
    used.add(unique)
    shape = (None, *(None if d is None else int(d) for d in tuple(tensor.shape)[1:]))
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return Tensor(unique, shape, dtype)
