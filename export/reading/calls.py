"""Gives the calls of layers the numbers that they have in the file, where Keras 3.0 to 3.2 stored others.

3.0 and 3.1 wrote the numbers that the calls had in the author's session, where a notebook's cell that ran twice had
called a backbone before; no Keras opens such a file. 3.2 wrote 0 for all (keras.src.models.functional.serialize_node):
any Keras opens a Siamese network as one that compares its first input with itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from edgecnn.errors import ModelError

from .stored import History, Stored, keras_tensors, layer_configs, references


def restore(stored: Stored, config: Any) -> tuple[Any, list[str]]:
    """(The architecture with the calls that its layers take from others, what a user should know about them).

    Of Keras 3.2, a layer that takes all calls of another is given them in their order, and so are layers that take one
    each.

    Raises:
        ModelError: they are taken in another way.
    """
    version = stored.keras_version or ""
    if not version.startswith(("3.0.", "3.1.", "3.2.")):
        return config, []
    config, guessed = copy.deepcopy(config), []
    for _, inner in layer_configs(config):
        layers = inner.get("layers") if "output_layers" in inner else None
        for layer in layers or ():
            # An input is made by one call, which no file stores.
            count = 1 if layer["class_name"] == "InputLayer" else len(layer.get("inbound_nodes") or ())
            name = layer.get("name")
            takers = list(_taken(layers, name))
            left = [n for n in range(count) if n not in _given_out(inner["output_layers"], layer)]
            if not version.startswith("3.2."):
                _renumber(takers, count, left)
            elif count > 1:
                if not _number(takers, count, left):
                    raise ModelError(
                        f"{stored.path} was written by Keras {version}, which didn't store which of the {count} calls "
                        f"of {name!r} each layer takes; build the model in the code that made it, give it these "
                        "weights with load_weights and save it with a later Keras"
                    )
                guessed.append(repr(name))
    if not guessed:
        return config, []
    return config, [
        f"Keras {version}, which wrote the file, didn't store which call of {', '.join(guessed)} each layer takes; "
        "they are taken in their order"
    ]


def refuse_lost(stored: Stored) -> None:
    """Raise where a function of TensorFlow is called on what Keras 2 didn't store.

    Raises:
        ModelError: it is.
    """
    for layer, inner in layer_configs(stored.config):
        if layer["class_name"] == "TFOpLambda" and any(map(_takes_nothing, layer.get("inbound_nodes") or ())):
            raise ModelError(
                f"{stored.path} doesn't hold what its layer {inner.get('name')!r} takes: Keras 2 didn't store that of "
                f"tf.{inner.get('function')}; save the model as a folder (model.save(FOLDER, save_format='tf')) where "
                "it was made, and export that"
            )


def _takes_nothing(node: Any) -> bool:
    """Whether a call of a function of TensorFlow has a constant as its first argument, and no tensor as another."""
    if not isinstance(node, list) or len(node) != 4 or node[0] != "_CONSTANT_VALUE":
        return False
    return not any(list(map(type, part)) == [str, int, int] for part in _lists(node[3]))


def _lists(value: Any) -> Iterator[list[Any]]:
    """Every list in a value, however deep."""
    if isinstance(value, list):
        yield value
    if isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _lists(inner)


def _taken(layers: list[Any], name: Any) -> Iterator[list[History]]:
    """What each call of a layer takes from the layer of that name."""
    for layer in layers:
        for node in layer.get("inbound_nodes") or ():
            if taken := [history for history, _ in keras_tensors(node) if history[0] == name]:
                yield taken


def _given_out(outputs: Any, layer: Any) -> set[int]:
    """Calls of a layer that the model gives out, whose numbers Keras 3.2 did store: from 1 for functional models."""
    first = 1 if layer["class_name"] == "Functional" else 0
    return {number - first for name, number, _ in references(outputs) if name == layer.get("name")}


def _renumber(takers: list[list[History]], count: int, left: list[int]) -> None:
    """Give the calls that are taken the numbers of those in the file: their order is the same.

    Args:
        takers: what each call of a layer takes.
        count: of the calls in the file.
        left: those which the model doesn't give out.
    """
    taken = sorted({history[1] for histories in takers for history in histories})
    for calls in (list(range(count)), left):
        if len(calls) == len(taken):
            numbers = dict(zip(taken, calls, strict=True))
            for history in (history for histories in takers for history in histories):
                history[1] = numbers[history[1]]
            return


def _number(takers: list[list[History]], count: int, left: list[int]) -> bool:
    """Number the calls that are taken, all as 0; False where several ways are left."""
    for groups in (takers, [[history for taken in takers for history in taken]]):
        by_output = [taken for group in groups for taken in _by_output(group)]
        for calls in (list(range(count)), left):
            if all(len(taken) == len(calls) for taken in by_output):
                for taken in by_output:
                    for history, call in zip(taken, calls, strict=True):
                        history[1] = call
                return True
    return False


def _by_output(taken: list[History]) -> list[list[History]]:
    """Tensors by which output of their layer they are."""
    return [[history for history in taken if history[2] == number] for number in {history[2] for history in taken}]
