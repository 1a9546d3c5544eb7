"""Gives a layer that a model calls several times those calls back, of which Keras 3.2 stored only the first.

3.2.0 and 3.2.1 wrote 0 for the number of every call (keras.src.models.functional.serialize_node). Any Keras then opens
a Siamese network as one that compares its first input with itself.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Any

from edgecnn.errors import ModelError

from .stored import Stored, class_configs, layer_configs


def restore(stored: Stored, config: Any) -> tuple[Any, list[str]]:
    """(The architecture with the calls that its layers take from shared ones, what a user should know about them).

    A layer that takes all calls of another is given them in their order, and so are layers that take one each.

    Raises:
        ModelError: they are taken in another way.
    """
    if not (stored.keras_version or "").startswith("3.2."):
        return config, []
    config, shared = copy.deepcopy(config), []
    for _, inner in layer_configs(config):
        layers = inner.get("layers") if "output_layers" in inner else None
        for layer in layers or ():
            count = len(layer.get("inbound_nodes") or ())
            if count < 2:
                continue
            name = layer["name"]
            if not _number(list(_taken(layers, name)), count, _given_out(inner["output_layers"], layer)):
                raise ModelError(
                    f"{stored.path} was written by Keras {stored.keras_version}, which didn't store which of the "
                    f"{count} calls of {name!r} each layer takes; build the model in the code that made it, give it "
                    "these weights with load_weights and save it with a later Keras"
                )
            shared.append(repr(name))
    if not shared:
        return config, []
    return config, [
        f"Keras {stored.keras_version}, which wrote the file, didn't store which call of {', '.join(shared)} each "
        "layer takes; they are taken in their order"
    ]


_History = list[Any]
"""[name of a layer, number of its call, number of the output]."""


def _taken(layers: list[Any], name: str) -> Iterator[list[_History]]:
    """What each call of a layer takes from the layer of that name."""
    for layer in layers:
        for node in layer.get("inbound_nodes") or ():
            tensors = (
                t["config"]["keras_history"] for t in class_configs(node) if t["class_name"] == "__keras_tensor__"
            )
            if taken := [history for history in tensors if history[0] == name]:
                yield taken


def _given_out(outputs: Any, layer: Any) -> set[int]:
    """Calls of a layer that the model gives out, whose numbers Keras 3.2 did store: from 1 for functional models."""
    first = 1 if layer["class_name"] == "Functional" else 0
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    elif outputs and isinstance(outputs[0], str):
        outputs = [outputs]
    return {number - first for name, number, _ in outputs if name == layer["name"]}


def _number(takers: list[list[_History]], count: int, given_out: Collection[int]) -> bool:
    """Number the calls that are taken; False where several ways are left."""
    for group in (takers, [[history for taken in takers for history in taken]]):
        for calls in (range(count), [n for n in range(count) if n not in given_out]):
            by_output = [_by_output(taken) for taken in group]
            if all(len(taken) == len(calls) for outputs in by_output for taken in outputs):
                for outputs in by_output:
                    for taken in outputs:
                        for history, call in zip(taken, calls, strict=True):
                            history[1] = call
                return True
    return False


def _by_output(taken: list[_History]) -> list[list[_History]]:
    """Tensors by which output of their layer they are."""
    return [[history for history in taken if history[2] == number] for number in {history[2] for history in taken}]
