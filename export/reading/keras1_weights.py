"""Puts the weights of a Keras 1 file into the model that its translated architecture describes.

By name and not by position: Keras 1 named every weight after its layer (dense_1_W), and its LSTMs have twelve
arrays where Keras 2's have three, which lets tf-keras's own conversion miscount inside nested models.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import ModelError

from ..backend import require

Named = tuple[str, Any]
"""(name of a weight, its array)."""

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Deconvolution2D")
"""Kinds whose kernels Theano applies mirrored."""


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name of a layer -> shape of its first weight, for every beginning of a weight's name that may be a layer's."""
    found: dict[str, tuple[int, ...]] = {}
    for _, weights in _read(path):
        for name, array in weights:
            parts = name.removesuffix(":0").split("_")
            for end in range(1, len(parts)):
                found.setdefault("_".join(parts[:end]), array.shape)
    return found


def assign(model: Any, path: Path, *, backend: str | None) -> None:
    """Set all weights of model.

    Args:
        backend: what Keras ran on, where the file tells. Keras 1 didn't store it, but only TensorFlow's
            weights have names that end in ":0".

    Raises:
        ModelError: a layer finds no or other weights.
    """
    stored = _read(path)
    mirrored = backend == "theano" if backend else not any(n.endswith(":0") for _, ws in stored for n, _ in ws)
    leaves = {layer.name: layer for layer in _leaves(model)}
    found: dict[str, list[Any]] = {}
    for group, weights in stored:
        if group in leaves:
            found[group] = [array for _, array in weights]
            continue
        for name, array in weights:
            owner = max((n for n in leaves if name.startswith(n + "_")), key=len, default=group)
            found.setdefault(owner, []).append(array)
    for name, layer in leaves.items():
        if layer.weights and name not in found:
            raise ModelError(f"the file holds no weights for the layer {name!r}")
        if layer.weights:
            _set(layer, found[name], mirrored=mirrored)


def _read(path: Path) -> list[tuple[str, list[Named]]]:
    """(name of a group, its weights) in the file's order."""
    with require("h5py").File(path, "r") as file:
        root = file.get("model_weights", file)
        groups = [_text(n) for n in root.attrs["layer_names"]]
        return [(g, [(_text(n), root[g][n][()]) for n in root[g].attrs["weight_names"]]) for g in groups]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _leaves(model: Any) -> Iterator[Any]:
    """The layers that hold weights themselves, inside wrappers and models too."""
    inner = getattr(model, "layers", None) or [
        getattr(model, name) for name in ("layer", "forward_layer", "backward_layer") if hasattr(model, name)
    ]
    if hasattr(model, "forward_layer"):
        inner = [model.forward_layer, model.backward_layer]
    for layer in inner:
        yield from _leaves(layer)
    if not inner:
        yield model


def _set(layer: Any, arrays: list[Any], *, mirrored: bool) -> None:
    arrays = _converted(layer, arrays)
    if mirrored and type(layer).__name__ in _CONVOLUTIONS:
        arrays[0] = np.flip(arrays[0], range(arrays[0].ndim - 2))
    try:
        layer.set_weights(arrays)
    except ValueError as e:
        got = ", ".join(str(list(a.shape)) for a in arrays)
        raise ModelError(f"the weights of the layer {layer.name!r} are {got}, expected others ({e})") from None


def _converted(layer: Any, arrays: list[Any]) -> list[Any]:
    """The arrays of one layer in Keras 2's order and axes."""
    kind, first = type(layer).__name__, getattr(layer, "data_format", None) == "channels_first"
    kernel, *rest = arrays
    if kind == "Conv1D":
        # (length, 1, input, filters); up to 1.1 (filters, input, length, 1).
        if kernel.shape[1] != 1 or kernel.shape[3] != layer.filters:
            kernel = np.transpose(kernel, (2, 3, 1, 0))
        return [kernel[:, 0], *rest]
    if kind in ("Conv2D", "Conv3D") and first:
        return [np.moveaxis(kernel, (1, 0), (-2, -1)), *rest]
    if kind in ("Conv2DTranspose", "Deconvolution2D"):
        return [np.transpose(kernel, (2, 3, 0, 1) if first else (0, 1, 3, 2)), *rest]
    if kind == "SeparableConv2D" and first:
        return [np.transpose(kernel, (2, 3, 1, 0)), np.transpose(rest[0], (2, 3, 1, 0)), *rest[1:]]
    if kind == "Highway":
        # Kernels first; up to 1.1 each had its bias behind it.
        return sorted(arrays, key=lambda array: -array.ndim)
    if kind == "GRU" and len(arrays) == 9:
        return _joined(arrays, (0, 1, 2))
    if kind in ("LSTM", "ConvLSTM2D") and len(arrays) == 12:
        # Keras 1: i c f o; Keras 2: i f c o.
        arrays = _joined(arrays, (0, 2, 1, 3), axis=0 if kind == "ConvLSTM2D" and first else -1)
        if kind == "ConvLSTM2D" and first:
            return [*(np.transpose(a, (2, 3, 1, 0)) for a in arrays[:2]), arrays[2]]
    return arrays


def _joined(arrays: list[Any], gates: tuple[int, ...], axis: int = -1) -> list[Any]:
    """[kernel, recurrent kernel, bias] from three arrays a gate."""
    return [np.concatenate([arrays[3 * g + i] for g in gates], axis) for i in range(3)]
