"""Looks through a stored architecture for code before any library loads it.

tf-keras has no safe mode for HDF5: a Lambda layer's bytecode runs as soon as its file is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgecnn.errors import ModelError

from .stored import Stored

_MODULES = ("keras", "tf_keras", "builtins", "tensorflow.keras", "tensorflow.python.keras")
"""Where the classes of a stored architecture may come from; anything else would be imported by name."""

_OPERATIONS = ("io.", "raw_ops.", "saved_model.", "py_function", "numpy_function", "py_func", "load_library")
"""TensorFlow functions that a TFOpLambda layer may not call: they touch files or run Python."""

MODELS = frozenset({"Model", "Functional", "Sequential", "Network", "Graph"})
"""Classes of whole models."""

BUILT_IN = frozenset(
    {
        "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer",
        "BatchNormalizationV1", "BatchNormalizationV2", "CuDNNLSTM", "CuDNNGRU", "StackedRNNCells", "LSTMV2", "GRUV2",
        "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM2D", "ConvLSTM2DCell", "Operation",
    }
)  # fmt: skip
"""Layers of Keras and tf-keras that their `layers` module doesn't list."""


def lambda_arguments(stored: Stored) -> dict[str, dict[str, Any]]:
    """Name of each Lambda layer -> the plain arguments that it stores for its function."""
    found = {}
    for config in stored.layers():
        if config["class_name"] == "Lambda":
            inner = config.get("config") or {}
            given = inner.get("arguments") or {}
            plain = {k: v for k, v in given.items() if isinstance(v, (int, float, list, str))}
            found[_name(config)] = plain
    return found


def refuse_code(stored: Stored, *, replaced: Collection[str] = (), allow_lambda: bool = False) -> None:
    """Raise where loading would run code from the file.

    Args:
        replaced: names of Lambda layers for which an expression was given.
        allow_lambda: the user trusts the file.

    Raises:
        ModelError: a Lambda layer, or a class from a module that is none of Keras's.
    """
    for config in _outside(stored.config, replaced):
        kind = config["class_name"]
        if kind in ("TFOpLambda", "SlicingOpLambda"):
            function = str((config.get("config") or {}).get("function", ""))
            if any(part in function for part in _OPERATIONS):
                raise ModelError(f"{stored.path} calls tf.{function} in the layer {_name(config)!r}, which is refused")
        if allow_lambda:
            continue
        if kind == "Lambda":
            raise ModelError(
                f"{stored.path} holds Python code in the Lambda layer {_name(config)!r}; say what it computes, as in "
                f"--lambda {_name(config)}='x / 127.5 - 1', or pass --allow-lambda to run it if you trust the file"
            )
        if kind == "__lambda__":
            raise ModelError(
                f"{stored.path} holds Python code as a function; pass --allow-lambda to run it if you trust the file"
            )


def _outside(config: Any, replaced: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """Every object with a class_name that is not within a replaced Lambda layer."""
    if isinstance(config, Mapping):
        if config.get("class_name") == "Lambda" and _name(config) in replaced:
            return
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _outside(value, replaced)
    elif isinstance(config, list):
        for value in config:
            yield from _outside(value, replaced)


def custom_classes(stored: Stored, known: Collection[str], given: Collection[str] = ()) -> list[str]:
    """Classes of layers that are in no library: the file has their weights but not their code.

    Args:
        known: classes of the libraries, and what the program registered.
        given: classes that the user's own file defines.
    """
    found = []
    for config in _layers(stored.config):
        kind = str(config["class_name"])
        module = config.get("module")
        names = {kind, kind.split(">")[-1], config.get("registered_name")}
        if names & set(given) or config.get("registered_name") in known:
            continue
        foreign = isinstance(module, str) and not module.startswith(_MODULES)
        if (foreign or kind not in known) and kind not in found:
            found.append(kind)
    return found


def _layers(config: Any) -> Iterator[Mapping[str, Any]]:
    """The entries of every list of layers, and what wrappers wrap."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if config.get("class_name") == "Sequential" and isinstance(inner, list):
            yield from (c for c in inner if isinstance(c, Mapping) and "class_name" in c)
        for key, value in config.items():
            if key == "layers" and isinstance(value, list):
                yield from (c for c in value if isinstance(c, Mapping) and "class_name" in c)
            if key in ("layer", "backward_layer", "cell") and isinstance(value, Mapping) and "class_name" in value:
                yield value
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _name(config: Mapping[str, Any]) -> str:
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return str(name or config.get("name") or "?")
