"""Joins a file of weights alone with the architecture that the user gives."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import InputError, ModelError

from ..backend import quiet_logs, reason, require, tensorflow
from ..layers import library_of
from . import archive, author, once
from .architecture import OPTION, read_architecture
from .generations import Opened, flip_kernels, with_inputs
from .refusals import title
from .stored import Stored


def with_architecture(stored: Stored, path: Path) -> tuple[Stored, list[str]]:
    """stored with the architecture of a model.json or model.yaml, and what a user should know about that.

    Raises:
        InputError: the file is missing or holds none.
    """
    config = read_architecture(path)
    # The words are those of the Keras that wrote them, which may be another than that of the weights. Keras 3 gives no
    # version, but says where its classes are.
    version = config.get("keras_version") or (None if "module" in config else stored.keras_version)
    joined = dataclasses.replace(stored, config=config, keras_version=version)
    if stored.keras_version is None or (stored.generation < 3) == (joined.generation < 3):
        return joined, []
    told = f"the weights are of Keras {stored.keras_version}, but {path} is of Keras {joined.generation}"
    return joined, [f"{told}, as which the model is read; {_differs(stored.generation)}"]


def build(stored: Stored, architecture: str) -> Opened:
    """The model of file.py:function, with the weights of stored, by the Keras that wrote them where that works.

    Raises:
        InputError: the function can't be found or run.
        ModelError: the weights don't fit the model.
    """
    file, _, name = architecture.rpartition(":") if not architecture.endswith(".py") else (architecture, "", "")
    defined = author.check(OPTION, Path(file))
    if not name:
        raise InputError(f"{OPTION} {architecture} names no function; {_choice(file, defined)}")
    tensorflow()
    own, other = ("tf_keras", "keras") if _generation(stored) in (1, 2) else ("keras", "tf_keras")
    errors: list[InputError | ModelError] = []
    for library in (own, other):
        try:
            with author.registrations_kept(library), once.as_written(require(library), stored):
                model = _built(Path(file), name, library, defined, stored)
                with archive.weights_of(stored.path, stored.kind) as path:
                    _assign(model, stored, path, architecture)
                once.renew(model)
                model = with_inputs(require(library_of(model)), model, model.get_build_config())
                if getattr(model, "inputs", None) is None:
                    raise ModelError(
                        f"the model of {architecture} has no known inputs: let the function build it from an Input, or "
                        "call it on data"
                    )
        except (InputError, ModelError) as e:
            errors.append(e)
            continue
        used = library_of(model)
        version = f"{title(used)} {require(used).__version__}"
        return Opened(model, version, tuple(_notes(stored, own, used, errors)))
    raise errors[0]


def _notes(stored: Stored, own: str, used: str, errors: list[InputError | ModelError]) -> list[str]:
    """What a user should know about the library that built the model."""
    if used != own and (errors or _generation(stored) is not None):
        why = f"since {title(own)} said: {errors[0]}" if errors else "which the file imports"
        told = f"the weights look like those of {title(own)}, but the model was built by {title(used)}, {why}"
        return [f"{told}; {_differs(2 if own == 'tf_keras' else 3)}"]
    if used == own and _generation(stored) is None:
        return [
            "the weights don't tell which Keras wrote them, so Keras 3 built the model; where that is wrong, import "
            f"tf_keras in the file: {_differs(2)}"
        ]
    return []


def _generation(stored: Stored) -> int | None:
    """The Keras of the weights, by their version or form; None where that doesn't tell."""
    if stored.keras_version is not None:
        return stored.generation
    if not archive.is_tree(stored.path):
        return 2
    with require("h5py").File(stored.path, "r") as f:
        # Keras 3 names what it stores, in time, and the rate is among its optimizer's variables; neither in tf-keras,
        # which stores metrics.
        second = f.get("optimizer/vars/1")
        if "name" in getattr(f.get("vars"), "attrs", ()) or (second is not None and second.shape == ()):
            return 3
        of_keras_2 = "metrics" in f or "_layer_checkpoint_dependencies" in f or second is not None
        return 2 if of_keras_2 else None


def _differs(generation: int) -> str:
    return f"a function such as hard_sigmoid is another one in Keras {generation}"


def _built(file: Path, name: str, library: str, defined: list[str], stored: Stored) -> Any:
    """What a dotted name of the file is, or gives when it is called: a model."""
    script = author.Script(OPTION, file, library, stored)
    found: Any = script.module
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{OPTION} {file} has no {name}; {_choice(str(file), defined)}")
        found = getattr(found, part)
    if _is_model(found):
        return found
    if not callable(found):
        raise InputError(f"{OPTION} {file}: {name} is of type {type(found).__name__}, no function that returns a model")
    try:
        inspect.signature(found).bind()
    except TypeError as e:
        raise InputError(
            f"{OPTION} {file}: {name} is called without arguments, but is {e}; write a function that calls it with them"
        ) from None
    with script.running():
        model = found()
    if not _is_model(model):
        given = "nothing" if model is None else f"something of type {type(model).__name__}"
        raise InputError(f"{OPTION} {file}: {name} returns {given}; let it return the model")
    return model


def _choice(file: str, defined: list[str]) -> str:
    return f"{file} defines {', '.join(defined)}: write {file}:{defined[0]}" if defined else f"{file} defines none"


def _is_model(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(value, "load_weights") and hasattr(value, "layers")


def _assign(model: Any, stored: Stored, path: Path, architecture: str) -> None:
    """Give the model the weights of the HDF5 file at path, which are those of stored."""
    try:
        with quiet_logs("absl", "tensorflow"):
            archive.load_weights(model, path)
    except Exception as e:
        if not getattr(model, "built", True):
            raise ModelError(
                f"the model of {architecture} has no weights yet: let the function build it from an Input, or call it "
                "on data, before it returns it"
            ) from e
        raise ModelError(f"the weights of {stored.path} don't fit the model of {architecture}: {reason(e)}") from e
    left = _numbers_in(path) - sum(int(np.prod(w.shape)) for layer in model.layers for w in layer.weights)
    if left > 0:
        raise ModelError(
            f"{stored.path} holds {left:,} numbers more than the model of {architecture} has weights for: that model "
            "lacks a layer of the one that was saved"
        )
    if stored.backend == "theano":
        flip_kernels(model)


_OF_TRAINING = re.compile(r"optimizer|_?(compile_)?metrics|loss_tracker")


def _numbers_in(path: Path) -> int:
    """How many numbers a file of weights holds, without those of an optimizer, of metrics and of random generators."""
    h5py, found = require("h5py"), []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and not _OF_TRAINING.match(name):
            found.append(item.size)

    with h5py.File(path, "r") as file:
        file.visititems(add)
    return sum(found)
