"""What holds for layers and models of either Keras: what they are made of, and which Keras they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def parts(layer: Any) -> Iterator[Any]:
    """The layer or model and all inside it, however deep."""
    yield layer
    for name in ("layers", "layer", "forward_layer", "backward_layer"):
        inner = getattr(layer, name, None)
        for child in inner if isinstance(inner, (list, tuple)) else [inner]:
            if child is not None and child is not layer and hasattr(child, "weights"):
                yield from parts(child)


def config_of(layer: Any) -> dict[str, Any] | None:
    """What a layer or model would be stored as; None where one inside is its author's and can't tell."""
    try:
        return layer.get_config()  # type: ignore[no-any-return]
    except Exception:  # NotImplementedError of Keras, or whatever the author's own method runs into
        return None


def library_of(thing: Any) -> str:
    """The Keras that a model or layer is of, tf_keras or keras; classes that derive from its own are of it too."""
    modules = {cls.__module__.split(".")[0] for cls in type(thing).__mro__}
    return "tf_keras" if "tf_keras" in modules else "keras"


def fed(layer: Any) -> list[Any] | None:
    """The tensors that a layer is called on, in all its calls; None where they are unknown."""
    calls = getattr(layer, "_inbound_nodes", None)
    if not calls:
        return None
    given = [getattr(call, "input_tensors", None) for call in calls]
    return [t for tensors in given for t in (tensors if isinstance(tensors, (list, tuple)) else [tensors])]
