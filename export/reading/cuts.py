"""Reads a model that its author cut out of another, Model(code, output), as Keras 3.0 stored it.

Such a model has an input of its own since 3.1. 3.0 stored all of the other model and where to begin, of which no later
Keras finds the weights.
"""

from __future__ import annotations

from typing import Any

from ..graph.tracing import on_cpu
from .stored import History, Stored, references


def whole(stored: Stored, config: Any) -> tuple[Any, list[History]]:
    """(The architecture of all that Keras 3.0 cut a model out of, where the model begins; empty if it is all of it)."""
    inner = config.get("config") if (stored.keras_version or "").startswith("3.0.") else None
    if not isinstance(inner, dict) or not isinstance(inner.get("input_layers"), list):
        return config, []
    inputs = [layer["name"] for layer in inner["layers"] if layer["class_name"] == "InputLayer"]
    begins = list(references(inner["input_layers"]))
    if all(name in inputs for name, _, _ in begins):
        return config, []
    return {**config, "config": {**inner, "input_layers": [[name, 0, 0] for name in inputs]}}, begins


@on_cpu()
def cut(keras: Any, model: Any, begins: list[History]) -> Any:
    """The part of a model that begins with these outputs of its layers."""
    given = []
    for name, call, output in begins:
        nodes = model.get_layer(name)._inbound_nodes
        given.append(nodes[min(call, len(nodes) - 1)].output_tensors[output])
    return keras.Model(given if len(given) > 1 else given[0], model.output, name=model.name)
