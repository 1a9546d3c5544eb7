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
    each, and those in a loop that its author wrote out, where each takes what was there before.

    Raises:
        ModelError: they are taken in another way.
    """
    version = stored.keras_version or ""
    if not version.startswith(("3.0.", "3.1.", "3.2.")):
        return config, []
    config, guessed = copy.deepcopy(config), []
    for _, inner in layer_configs(config):
        if "output_layers" not in inner or not inner.get("layers"):
            continue
        graph = _Graph(inner)
        if not version.startswith("3.2."):
            for name in graph.layers:
                _renumber(list(graph.takers(name)), graph.counts[name], graph.left[name])
            continue
        guessed += [repr(name) for name in graph.unknown]
        if unknown := graph.number():
            raise ModelError(
                f"{stored.path} was written by Keras {version}, which didn't store which of the "
                f"{graph.counts[unknown]} calls of {unknown!r} each layer takes; build the model in the code that made "
                "it, give it these weights with load_weights and save it with a later Keras"
            )
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


class _Graph:
    """The calls of a functional model's layers, with what each takes."""

    def __init__(self, inner: Any) -> None:
        self.layers = {layer.get("name"): layer for layer in inner["layers"]}
        # An input is made by one call, which no file stores.
        self.counts = {
            name: 1 if layer["class_name"] == "InputLayer" else len(layer.get("inbound_nodes") or ())
            for name, layer in self.layers.items()
        }
        self.left = {
            name: [n for n in range(count) if n not in _given_out(inner["output_layers"], self.layers[name])]
            for name, count in self.counts.items()
        }
        """Calls that the model doesn't give out."""
        self.unknown = [name for name, count in self.counts.items() if count > 1]
        """Layers of which it isn't known who takes which call."""

    def taken(self, name: Any) -> Iterator[tuple[Any, int, list[History]]]:
        """(Name of a layer, number of its call, what that takes of the layer of the given name)."""
        for taker, layer in self.layers.items():
            for call, node in enumerate(layer.get("inbound_nodes") or ()):
                if taken := [history for history, _ in keras_tensors(node) if history[0] == name]:
                    yield taker, call, taken

    def takers(self, name: Any) -> Iterator[list[History]]:
        """What each call of a layer takes from the layer of that name."""
        return (taken for _, _, taken in self.taken(name))

    def number(self) -> Any:
        """Number the calls that are taken, all as 0; the name of a layer of which several ways are left, else None."""
        while self.unknown:
            known = [
                name
                for name in self.unknown
                if _number(list(self.takers(name)), self.counts[name], self.left[name]) or self._number_in_turn(name)
            ]
            if not known:
                return self.unknown[0]
            self.unknown = [name for name in self.unknown if name not in known]
        shapes: dict[Any, Any] = {}
        for layer in self.layers.values():
            for history, shape in keras_tensors(layer.get("inbound_nodes") or ()):
                if shapes.setdefault(tuple(history), shape) != shape:
                    return history[0]
        return None

    def _number_in_turn(self, name: Any) -> bool:
        """Number the calls of a layer as a loop takes them; False where several ways are left.

        Each call of a layer takes a later one than the call before it, and none that needs what it gives itself. What
        is not settled by that takes the calls that are left over, in their order, where those are as many.
        """
        count = self.counts[name]
        numbered: list[tuple[History, int]] = []
        loops: dict[Any, list[tuple[History, int]]] = {}
        for taker, call, taken in self.taken(name):
            end = self._follows(taker, call, name)
            for of_one in _by_output(taken):
                if len(of_one) == count:
                    numbered += zip(of_one, range(count), strict=True)
                    continue
                for slot, history in enumerate(of_one):
                    loops.setdefault((taker, history[2], slot), []).append((history, end))
        open_ = []
        for loop in loops.values():
            last, latest = count, []
            for _, end in reversed(loop):
                last = min(last, end) - 1
                latest.insert(0, last)
            for first, (history, end) in enumerate(loop):
                if latest[first] == first:
                    numbered.append((history, first))
                else:
                    open_.append((history, end))
        over = [n for n in self.left[name] if n not in [number for _, number in numbered]]
        if len(over) != len(open_) or any(n >= end for n, (_, end) in zip(over, open_, strict=True)):
            return False
        for history, number in [*numbered, *zip([history for history, _ in open_], over, strict=True)]:
            history[1] = number
        return True

    def _follows(self, taker: Any, call: int, name: Any) -> int:
        """The first call of a layer that needs that call of another, or is it; how many it has where none does."""
        reached, ahead = {(taker, call)}, [(taker, call)]
        while ahead:
            of, number = ahead.pop()
            if of in self.unknown:
                continue
            for following, its, taken in self.taken(of):
                if any(history[1] == number for history in taken) and (following, its) not in reached:
                    reached.add((following, its))
                    ahead.append((following, its))
        return min((number for of, number in reached if of == name), default=self.counts[name])


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
