"""Which names of a stored architecture a Keras knows, and which of them an author's script stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecnn.errors import MissingDependencyError

from ..backend import require
from . import keras1, repair, retired, screen, standins
from .stored import Stored


def given(stored: Stored, found: Mapping[str, Any], keras: Any, path: str) -> tuple[dict[str, Any], list[str]]:
    """What of the author's definitions stands for a name in the file, and notes on what doesn't.

    A class of layers does, also under a name that Keras has; a function only where Keras has none of that name, or
    where the file says that it was registered: scripts are full of a softmax or sigmoid that no layer ever used.
    """
    meant = {
        str(config["class_name"]).split(">")[-1]
        for config in stored.layers()
        if not screen.is_keras(config.get("module")) or ">" in str(config["class_name"])
    }
    chosen, notes, words = {}, [], set(screen.words(stored.config))
    for name, value in found.items():
        is_layer = isinstance(value, type) and issubclass(value, keras.layers.Layer) and name not in screen.MODELS
        if not has(keras, name) or (is_layer and name in meant):
            chosen[name] = value
        elif name in words and not isinstance(value, type):
            notes.append(f"{name} in the file is Keras's own, not the function of that name in {path}")
    for word in words:
        if ">" in word and word.split(">")[-1] in found:
            chosen[word] = found[word.split(">")[-1]]
    return chosen, notes


def has(keras: Any, name: str) -> bool:
    """Whether this Keras has a class or function that a file may name so."""
    places = (keras.layers, keras.activations, keras.initializers, keras.regularizers, keras.constraints)
    return name in screen.MODELS or any(hasattr(place, name) for place in places)


def known_layers(*libraries: str) -> set[str]:
    """Classes that these libraries have, or had under other names."""
    known = {*screen.MODELS, *keras1.CLASSES, *retired.NAMES, *screen.BUILT_IN, *standins.NAMES, *standins.APART}
    for name in libraries:
        try:
            keras = require(name)
        except MissingDependencyError:
            continue
        # What the calling program registered itself is code that it trusts.
        known |= {*dir(keras.layers), *keras.saving.get_custom_objects()}
        known |= {v.__name__ for v in vars(keras.layers).values() if isinstance(v, type)}
        known |= _operations(keras)
    return known


def _operations(keras: Any) -> set[str]:
    """Classes that Keras 3 gives to functions of keras.ops in a functional model."""
    if not hasattr(keras, "ops"):
        return set()
    modules = [require(f"keras.src.ops.{part}") for part in repair.OPERATIONS]
    return {name for module in modules for name, value in vars(module).items() if isinstance(value, type)}
