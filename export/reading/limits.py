"""Bounds what a model file may make its reader open, allocate or wait for, before anything is read from it."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import math
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgecnn.errors import ModelError

from .strangers import shown

_EXPANSION = 200
"""Weights hardly compress; a file that unpacks to more than this many times its size is made to harm."""

_ALLOWANCE = 1 << 28
"""Bytes that any file may unpack to, however small it is: initial values, all zero, do compress."""

MAX_CONFIG = 1 << 26
"""Bytes of an architecture in JSON."""


_WEIGHTS_EXPANSION = 8
"""Weights in memory over the file's size: 4 where they were stored as bytes, and as much again for a packed archive."""

MAX_VALUES = 1 << 28
"""Values of one tensor a sample: 1 GB of float32, 1024x1024 pixels of 256 channels."""

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
        raise ModelError(f"{shown(path)} is damaged: reading it does not end") from None
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise ModelError(f"{shown(path)} is damaged: the HDF5 library crashes on it ({last[0]})")
    if said:
        raise ModelError(f"{shown(path)} {said}")


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive that unpacks to far more than its size, or holds an HDF5 file that check_hdf5 refuses.

    Raises:
        ModelError: it does.
        OSError, RuntimeError: it is damaged.
    """
    unpacked = sum(item.file_size for item in archive.infolist())
    config = max((i.file_size for i in archive.infolist() if i.filename.endswith(".json")), default=0)
    if unpacked > path.stat().st_size * _EXPANSION + _ALLOWANCE or config > MAX_CONFIG:
        raise ModelError(f"{shown(path)} unpacks to {unpacked:,} bytes, more than a model of its size does; refused")
    for item in archive.infolist():
        if item.filename.endswith(".h5"):
            check_hdf5(path, item.filename)


@contextlib.contextmanager
def bounded_weights(keras: Any, path: Path) -> Iterator[None]:
    """Refuse a model, while it is built, whose weights are far more than its file can hold.

    Args:
        keras: keras or tf_keras.
        path: The file.

    Raises:
        ModelError: they are.
    """
    layer, allowed = keras.layers.Layer, _WEIGHTS_EXPANSION * path.stat().st_size + _ALLOWANCE
    original, parameters = layer.add_weight, inspect.signature(layer.add_weight)
    total = 0

    def add_weight(*args: Any, **kwargs: Any) -> Any:
        nonlocal total
        shape = parameters.bind(*args, **kwargs).arguments.get("shape") or ()
        total += 4 * math.prod(int(n) for n in ((shape,) if isinstance(shape, int) else shape) if n is not None)
        if total > allowed:
            raise ValueError(f"its weights need {total:,} bytes")
        return original(*args, **kwargs)

    layer.add_weight = add_weight
    try:
        yield
    except Exception:
        if total > allowed:
            raise ModelError(f"its weights need {total:,} bytes, more than a file of its size can hold") from None
        raise
    finally:
        layer.add_weight = original


@contextlib.contextmanager
def bounded_rounds(keras: Any) -> Iterator[None]:
    """Refuse an architecture that waits for a call of a layer which never comes, where tf-keras waits for ever.

    It goes round the layers until every call could be made; each round that is of use makes one at least.
    """
    if keras.__name__ != "tf_keras":
        yield  # Keras 3 sees it by itself
        return
    module = importlib.import_module("tf_keras.src.engine.functional")
    original = module.reconstruct_from_config

    def reconstruct(config: Any, *args: Any, **kwargs: Any) -> Any:
        return original({**config, "layers": _Rounds(config["layers"])}, *args, **kwargs)

    module.reconstruct_from_config = reconstruct
    try:
        yield
    finally:
        module.reconstruct_from_config = original


class _Rounds(list[Any]):
    """Layers that can be gone through as often as there are calls of them."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers)
        self._left = 2 + sum(max(1, len(layer.get("inbound_nodes") or ())) for layer in layers)

    def __iter__(self) -> Iterator[Any]:
        self._left -= 1
        if self._left < 0:
            raise ValueError("a layer is called on the output of a call that the file does not hold")
        return super().__iter__()


def check_tensors(layers: Iterable[Any]) -> None:
    """Refuse a model with a tensor between its layers that no memory holds, before it is run.

    Raises:
        ModelError: one has more than MAX_VALUES values a sample.
    """
    for layer in layers:
        tensors = list(getattr(layer, "inputs", None) or [])
        with contextlib.suppress(AttributeError, ValueError, RuntimeError):  # never called, or more than once
            tensors += layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]
        for tensor in tensors:
            values = math.prod(int(n) for n in tuple(getattr(tensor, "shape", ()))[1:] if n is not None)
            if values > MAX_VALUES:
                raise ModelError(
                    f"its layer {layer.name!r} has {values:,} values a sample, more than the {MAX_VALUES:,} that "
                    "export runs"
                )
