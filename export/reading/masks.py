"""What a mask meant to the Keras that wrote a file, where the Keras that opens it lets it mean something else.

A stand-in's own name is that of the class it stands for, so every other part of the export meets what it knows.

Sources: keras/layers/wrappers.py and advanced_activations.py of Keras 1.2.2 to 2.3.1, layers/attention of Keras 2.9
and 2.10, src/layers/merging and src/layers/layer.py of Keras 3.3 and 3.4.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from typing import Any

from .stored import Stored, class_configs

PREFIX = "Edge"
"""Before a class's name in an architecture: its stand-in."""

KERAS, TF_KERAS = "keras", "tf.keras"
"""The two lines of versions: Keras on its own, and TensorFlow's up to Keras 2, which took other paths."""

_OF_SEVERAL = {
    "Add": None, "Subtract": None, "Average": None, "Concatenate": None, "Dot": None, "Attention": None,
    "AdditiveAttention": None, "Multiply": "multiply", "Maximum": "maximum", "Minimum": "minimum",
}  # fmt: skip
"""Layers that take a list of tensors -> keras.ops's name of what those compute that later took masks into account."""

_UNTIL = (
    # Later ones give zeros at masked steps, where these repeat the last output.
    ("Bidirectional", KERAS, (1,), (2, 4)),
    # Later ones ask the layer inside for a mask, and hand it one.
    ("TimeDistributed", KERAS, (1,), (2, 2)),
    # Later ones take the mask for one of the same shape as the input. Both TensorFlow 2.3 and 2.4 say 2.4.0.
    ("Softmax", KERAS, (2, 1), (2, 4)),
    ("Softmax", TF_KERAS, (2,), (2, 5)),
    # Later ones hand the mask on; that TensorFlow 2.3 doesn't is certain, of 2.4 nothing is known.
    ("ReLU", TF_KERAS, (2,), (2, 5)),
    # Later ones attend to no masked step, and hand the mask on.
    ("MultiHeadAttention", TF_KERAS, (2, 4), (2, 10)),
    # Later ones hand a mask on, and leave masked values out.
    *((kind, KERAS, (3,), (3, 4)) for kind in _OF_SEVERAL),
)
"""(class, line, the first version with that meaning, the first without)."""


def layers(keras: Any, stored: Stored) -> dict[str, type]:
    """Name -> class with the meaning that it had when the file was written, where that is another one today."""
    line, version = _writer(stored)
    made = _classes(keras)
    return {PREFIX + kind: made[kind] for kind, of, first, end in _UNTIL if of == line and first <= version < end}


def named(config: Any, stand_ins: Mapping[str, type]) -> Any:
    """The architecture with the names of these classes."""
    config = copy.deepcopy(config)
    for layer in class_configs(config):
        name = f"{PREFIX}{layer['class_name']}"
        if name in stand_ins and not _is_operation(layer):
            layer["class_name"] = name  # type: ignore[index]
            if "module" in layer:
                layer |= {"module": None, "registered_name": name}  # type: ignore[operator]
    return config


def _is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether it is a function of keras.ops, some of which have the names of layers."""
    return str(layer.get("module")).startswith("keras.src.ops") or not {"trainable", "layer"} & layer["config"].keys()


def _writer(stored: Stored) -> tuple[str, tuple[int, ...]]:
    """(line, version) of the Keras that wrote the file."""
    text = stored.keras_version or str(stored.generation)
    version = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
    plain = stored.generation == 1 or stored.before_tensorflow_2 or stored.generation == 3
    return KERAS if plain else TF_KERAS, version


def _classes(keras: Any) -> dict[str, type]:
    """Every stand-in, over this Keras's own classes."""
    own = keras.layers

    class Bidirectional(own.Bidirectional):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            for layer in (self.forward_layer, self.backward_layer):
                if hasattr(layer, "zero_output_for_mask"):
                    layer.zero_output_for_mask = False

    class TimeDistributed(own.TimeDistributed):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return super().call(inputs, training=training)

        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return mask

    class Softmax(own.Softmax):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any, mask: Any = None) -> Any:
            return super().call(inputs)

    class ReLU(own.ReLU):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.supports_masking = False

    class MultiHeadAttention(own.MultiHeadAttention):  # type: ignore[misc, name-defined]
        def _compute_attention_mask(self, *tensors: Any, attention_mask: Any = None, **options: Any) -> Any:
            return attention_mask

        def compute_mask(self, *tensors: Any, **options: Any) -> None:
            """Handed none on."""

    made = {c.__name__: c for c in (Bidirectional, TimeDistributed, Softmax, ReLU, MultiHeadAttention)}
    return made | {kind: _of_several(keras, kind, operation) for kind, operation in _OF_SEVERAL.items()}


def _of_several(keras: Any, kind: str, operation: str | None) -> type:
    """A layer of several tensors that knows no masks; Attention still attends to no masked step."""

    class OfSeveral(getattr(keras.layers, kind)):  # type: ignore[misc]
        def compute_mask(self, inputs: Any, mask: Any = None) -> None:
            """Handed none on."""

    if operation is not None:

        def merge(self: Any, inputs: Any) -> Any:
            return functools.reduce(getattr(keras.ops, operation), inputs)

        OfSeveral._merge_function = merge
    OfSeveral.__name__ = OfSeveral.__qualname__ = kind
    return OfSeveral
