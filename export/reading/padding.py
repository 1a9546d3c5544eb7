"""Gives transposed convolutions the output_padding that Keras 3.0 to 3.14 did not store.

Any Keras opens such a file as a model with other sizes. What took the layer's output tells how large that was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from .stored import Stored, class_configs, keras_tensors, layer_configs

_LAYERS = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")

_SAME_SHAPE = ("Activation", "Dropout", "ELU", "GaussianNoise", "LeakyReLU", "ReLU", "SpatialDropout2D")
"""Layers of which not every Keras stored what they were built with."""


def restore(stored: Stored, config: Any) -> tuple[Any, list[str]]:
    """(The architecture with the padding, what a user should know about it)."""
    if stored.generation < 3 or not any(layer["class_name"] in _LAYERS for layer in class_configs(config)):
        return config, []
    config, restored = copy.deepcopy(config), []
    for _, model in layer_configs(config):
        layers = model.get("layers")
        for place, layer in enumerate(layers if isinstance(layers, list) else ()):
            inner = layer.get("config") if isinstance(layer, dict) and layer.get("class_name") in _LAYERS else None
            if not isinstance(inner, dict) or inner.get("output_padding") is not None:
                continue
            taken = _input_of(layer), next(_outputs_of(layers, place), None)
            padding = _padding(inner, *taken) if all(isinstance(shape, list) for shape in taken) else None
            if padding is not None:
                inner["output_padding"] = padding
                restored.append(repr(inner.get("name")))
    if not restored:
        return config, []
    return config, [
        f"the file doesn't store the output_padding of {', '.join(restored)}; the sizes of what took its output tell it"
    ]


def _input_of(layer: Mapping[str, Any]) -> Any:
    """The shape that a layer took at its first call; None where that isn't stored."""
    built = (layer.get("build_config") or {}).get("input_shape")
    return next((shape for _, shape in keras_tensors(layer.get("inbound_nodes"))), None) if built is None else built


def _outputs_of(layers: list[Any], place: int) -> Iterator[Any]:
    """The shape of what layers[place] gave at its first call, as the layers that took it tell."""
    name = layers[place].get("name")
    if name is not None:
        calls = [layer.get("inbound_nodes") for layer in layers]
        yield from (shape for taken, shape in keras_tensors(calls) if taken == [name, 0, 0])
        return
    for layer in layers[place + 1 :]:  # of a Sequential
        if (shape := _input_of(layer)) is not None or layer.get("class_name") not in _SAME_SHAPE:
            yield shape
            return


def _padding(inner: Mapping[str, Any], taken: list[Any], given: list[Any]) -> list[int] | None:
    """What makes the layer give that shape; None where it gives it without, or where a size isn't known."""
    axes = slice(1, -1) if inner.get("data_format") == "channels_last" else slice(2, None)
    sizes = [taken[axes], given[axes], *(inner[key] for key in ("kernel_size", "strides", "dilation_rate"))]
    found, usual = [], True
    for before, after, kernel, stride, dilation in zip(*sizes, strict=True):
        if before is None or after is None:
            return None
        extent = (kernel - 1) * dilation + 1
        same = inner.get("padding") == "same"
        usual &= after == (before * stride if same else (before - 1) * stride + max(extent, stride))
        found.append(after - (before - 1) * stride - extent + (2 * (extent // 2) if same else 0))
    return None if usual or min(found) < 0 else found
