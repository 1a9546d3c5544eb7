"""Turns the Sequential models of Keras 1 that begin with a Merge of other models into functional ones.

Keras 2.0 and 2.1 read and wrote them still, later ones have no such form. Their layers keep their names, so that the
file's weights find them.
"""

from __future__ import annotations

import copy
from typing import Any

from edgecnn.errors import ModelError

from ..backend import require

Reference = list[Any]
"""[name of a layer, number of its call, number of the output]."""


def flatten(config: Any) -> Any:
    """The architecture with functional models in the places of Sequential ones that begin with a Merge."""
    if isinstance(config, list):
        return [flatten(value) for value in config]
    if not isinstance(config, dict):
        return config
    if begins_with_merge(config):
        return _Functional(config).config()
    return {key: flatten(value) for key, value in config.items()}


def load_weights(model: Any, path: Any) -> None:
    """Give a model that was made functional the weights of a Keras 2 file, by the names of its layers.

    Their order is that of the branches in the file, and that of the graph in the model.

    Raises:
        ModelError: a layer finds none.
    """
    with require("h5py").File(path, "r") as file:
        stored = set(file.get("model_weights", file))
    missing = [layer.name for layer in model.layers if layer.weights and layer.name not in stored]
    if missing:
        raise ModelError(f"the file holds no weights for the layer {missing[0]!r}")
    model.load_weights(path, by_name=True)


def begins_with_merge(config: Any) -> bool:
    """Whether a model is such a Sequential one."""
    if config.get("class_name") != "Sequential":
        return False
    layers = _layers(config)
    if not layers:
        return False
    first = layers[0]
    return bool((first["class_name"] == "Merge" and first["config"].get("layers")) or begins_with_merge(first))


def _layers(config: Any) -> list[Any]:
    """The layers of a stored Sequential, whose config is a list or holds one."""
    inner = config["config"]
    return list(inner if isinstance(inner, list) else inner.get("layers", []))


class _Functional:
    """A functional architecture that grows call by call."""

    def __init__(self, sequential: Any) -> None:
        self._calls: dict[str, list[list[Reference]]] = {}
        self._layers: dict[str, Any] = {}
        self._inputs: list[str] = []
        self._output = self._add_sequential(sequential)
        inner = sequential["config"]
        self._name = inner.get("name") if isinstance(inner, dict) else None

    def config(self) -> Any:
        """The architecture as Keras stores it."""
        layers = [
            {**entry, "name": name, "inbound_nodes": [[[*r, {}] for r in call] for call in self._calls[name] if call]}
            for name, entry in self._layers.items()
        ]
        inner = {
            "name": self._name or "model",
            "layers": layers,
            "input_layers": [[name, 0, 0] for name in self._inputs],
            "output_layers": [self._output],
        }
        return {"class_name": "Model", "config": inner}

    def _add_sequential(self, sequential: Any) -> Reference:
        first, *rest = _layers(sequential)
        if first["class_name"] == "Merge" and first["config"].get("layers"):
            ends = [self._add_branch(b) for b in first["config"]["layers"]]
            merge = {k: v for k, v in first["config"].items() if k != "layers"}
            last = self._call({"class_name": "Merge", "config": merge}, ends)
        else:
            last = self._add_branch(first)
        for layer in rest:
            last = self._call(flatten(layer), [last])
        return last

    def _add_branch(self, branch: Any) -> Reference:
        """A layer, Sequential or model that stands at the beginning, on inputs of its own."""
        if branch["class_name"] == "Sequential":
            return self._add_sequential(branch)
        inner = branch["config"]
        if branch["class_name"] == "InputLayer":
            return self._input(inner["name"], inner)
        if "input_layers" in inner:
            own = {layer["name"]: layer["config"] for layer in inner["layers"]}
            given = [self._input(name, own[name]) for name, *_ in inner["input_layers"]]
            return self._call(flatten(branch), given)
        return self._call(branch, [self._input(f"{inner['name']}_input", inner)])

    def _input(self, name: str, described: Any) -> Reference:
        if "batch_input_shape" not in described:
            raise ModelError(f"the shape of the input of {name.removesuffix('_input')!r} is not stored")
        kept = {k: described[k] for k in ("batch_input_shape", "input_dtype", "dtype") if k in described}
        if name not in self._layers:
            self._inputs.append(name)
        return self._call({"class_name": "InputLayer", "config": {"name": name, **kept}}, [])

    def _call(self, layer: Any, inbound: list[Reference]) -> Reference:
        name = str(layer["config"]["name"])
        self._layers.setdefault(name, copy.deepcopy(layer))
        calls = self._calls.setdefault(name, [])
        if inbound not in calls:
            calls.append(inbound)
        return [name, calls.index(inbound), 0]
