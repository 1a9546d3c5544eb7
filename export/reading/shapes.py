"""Holds a loaded model's inputs against the shapes that the file stores for them.

A library that reads another generation's file may give an input a dimension more, and compute on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgecnn.errors import ModelError

_KEYS = ("batch_input_shape", "batch_shape")
"""What Keras 1 and 2, and Keras 3, call an input's shape."""


def check_inputs(model: Any, config: Any) -> None:
    """Raise where the model has other inputs than its architecture.

    Raises:
        ModelError: the number of inputs, their rank or a fixed size differs.
    """
    wanted, got = list(_stored(config)), [_sizes(t.shape) for t in getattr(model, "inputs", None) or ()]
    if not wanted or not got:
        return
    if sorted(map(_ordered, wanted)) != sorted(map(_ordered, got)):
        raise ModelError(f"the file stores inputs of {_text(wanted)}, but they came out as {_text(got)}")


def _stored(config: Any) -> Iterator[tuple[Any, ...]]:
    """The shape of each input without the batch; nothing where the file leaves one open."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    layers = inner if isinstance(inner, list) else inner.get("layers") if isinstance(inner, Mapping) else None
    if not layers:
        return
    if isinstance(inner, Mapping) and "input_layers" in inner:
        named = {layer.get("name") or layer["config"].get("name"): layer for layer in layers}
        found = [named.get(name) for name in _names(inner["input_layers"])]
    elif config.get("class_name") == "Sequential":
        found = layers[:1]
    else:
        return
    for layer in found:
        described = (layer or {}).get("config")
        shape = next((described[k] for k in _KEYS if k in described), None) if isinstance(described, Mapping) else None
        if shape is not None:
            yield _sizes(shape)


def _names(references: Any) -> Iterator[str]:
    """The names in ["a", 0, 0], in a list of such, or in a dict of them."""
    if isinstance(references, Mapping):
        references = list(references.values())
    if references and isinstance(references[0], str):
        yield references[0]
        return
    for reference in references:
        yield from _names(reference)


def _sizes(shape: Any) -> tuple[Any, ...]:
    return tuple(shape)[1:]


def _ordered(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(-1 if size is None else int(size) for size in shape)


def _text(shapes: list[tuple[Any, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
