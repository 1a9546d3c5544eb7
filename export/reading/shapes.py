"""The shapes of a model's inputs: what the file stores, what its weights add, and whether the loaded model has them.

A library that reads another generation's file may give an input a dimension more, and compute on.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from edgecnn.errors import ModelError

from ..backend import require
from .stored import SHAPE_KEYS, Stored, layer_configs, references


def without_specs(stored: Stored) -> Stored:
    """The file with each Input(type_spec=tf.TensorSpec(...)) by its shape and type, which then has a name too."""
    config = copy.deepcopy(stored.config)
    for layer, inner in layer_configs(config):
        spec = inner.get("type_spec")
        if layer["class_name"] != "InputLayer" or not isinstance(spec, Mapping):
            continue
        # HDF5 stores {"type_spec": "tf.TensorSpec", "serialized": [...]}, an archive {"spec_name": ..., "config": ...}.
        kind, parts = spec.get("type_spec", spec.get("spec_name")), _items(spec.get("serialized", spec.get("config")))
        if kind in ("tf.TensorSpec", "TensorSpec") and isinstance(parts, list) and len(parts) == 3:
            del inner["type_spec"]
            inner |= {"batch_input_shape": _items(parts[0]), "dtype": parts[1]}
    return dataclasses.replace(stored, config=config)


def _items(value: Any) -> Any:
    """What a stored tuple or tf.TensorShape holds; anything else as it is."""
    return value.get("items") if isinstance(value, Mapping) else value


def complete(stored: Stored) -> tuple[Any, list[str]]:
    """(The architecture with the sizes that only its weights tell, what a user should know about them).

    Raises:
        ModelError: they don't tell them either.
    """
    config = stored.config
    early = stored.generation == 2 and stored.before_tensorflow_2 and stored.kind == "hdf5"
    if early and _is_sequential(config) and not _has_shape(config):
        shape = _of_weights(stored, config["config"]["layers"])
        if shape is None:
            raise ModelError(
                f"{stored.path} {_LOST}, and its weights don't tell it; load it in the code that made it and save it "
                "with a later Keras"
            )
        config = copy.deepcopy(config)
        config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, *shape]
        return config, [f"the file {_LOST}; its weights say {_text([tuple(shape)])}, None for any size"]
    return _with_statistics(stored), []


_LOST = "has lost the shape of its input, as Keras 2.2 and 2.3 did where a Sequential begins with an InputLayer"

_AXES = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3, "SeparableConv1D": 1, "SeparableConv2D": 2, "DepthwiseConv2D": 2,
         "Conv2DTranspose": 2, "Conv3DTranspose": 3, "ConvLSTM2D": 2, "Dense": 0, "LSTM": 1, "GRU": 1, "SimpleRNN": 1,
         "CuDNNLSTM": 1, "CuDNNGRU": 1}  # fmt: skip
"""Layers with a kernel -> dimensions of their input between the batch and the channels, steps aside for ConvLSTM2D."""

_SAME_RANK = frozenset(
    {
        "Activation", "AlphaDropout", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "BatchNormalization",
        "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "LeakyReLU",
        "Masking", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "ReLU", "SpatialDropout1D", "SpatialDropout2D",
        "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
    }
)  # fmt: skip
"""Layers behind which the input still has its rank and its channels."""


def _has_shape(config: Any) -> bool:
    layers = config["config"].get("layers") or [{}]
    inner = layers[0].get("config")
    known = not isinstance(inner, Mapping) or any(key in inner for key in SHAPE_KEYS) or "layers" in inner
    return known or bool(config["config"].get("build_input_shape")) or layers[0].get("class_name") == "Merge"


def _of_weights(stored: Stored, layers: list[Any]) -> list[int | None] | None:
    """What the first kernel says of the input without its batch; None where there is none, or where sizes matter."""
    kinds = [str(layer.get("class_name")) for layer in layers]
    flattened = kinds[0] == "Flatten"  # a row of numbers is flat already
    for kind, layer in zip(kinds[flattened:], layers[flattened:], strict=True):
        inner = layer.get("config") or {}
        wrapped, steps = inner, [None] if kind in ("TimeDistributed", "ConvLSTM2D") else []
        if kind in ("Bidirectional", "TimeDistributed"):
            wrapped = inner["layer"]["config"]
            kind = str(inner["layer"]["class_name"])
        if kind == "Embedding":
            return [*steps, wrapped.get("input_length")]
        if kind in _AXES:
            break
        if kind not in _SAME_RANK:
            return None
    else:
        return None
    kernel = _shape_of(stored, str(inner.get("name")))
    axes, sizes = _AXES[kind], "Flatten" in kinds[1:] or "Reshape" in kinds
    if not kernel or (sizes and axes) or (flattened and axes):
        return None
    channels = kernel[-1 if kind.endswith("Transpose") else axes if kind.startswith(("Conv", "Sep", "Dep")) else 0]
    free: list[int | None] = [*steps, *[None] * axes]
    first = wrapped.get("data_format") == "channels_first"
    return [*steps, channels, *[None] * axes] if first else [*free, channels]


def _shape_of(stored: Stored, layer: str) -> tuple[int, ...]:
    """The shape of a layer's first kernel; () where it has none."""
    found: list[tuple[int, ...]] = []

    def look(name: str, item: Any) -> None:
        parts = name.split("/")
        if layer in parts[:-1] and parts[-1].split(":")[0].endswith("kernel") and "recurrent" not in parts[-1]:
            found.append(tuple(item.shape))

    with require("h5py").File(stored.path, "r") as f:
        f.visititems(look)
    return found[0] if found else ()


def _with_statistics(stored: Stored) -> Any:
    """The architecture, with the sizes that a leading Normalization needs and only its statistics tell.

    Keras 2 stored no sizes for a Sequential that saw its first data in fit(), and tf-keras can't read that back.
    """
    config = stored.config
    layers = config["config"].get("layers") if _is_sequential(config) else None
    place, first = next(((i, y) for i, y in enumerate(layers or ()) if y.get("class_name") != "InputLayer"), (0, {}))
    described = first.get("config")
    if first.get("class_name") != "Normalization" or not isinstance(described, dict):
        return config
    shape, axes = described.get("batch_input_shape"), described.get("axis") or ()
    axes = sorted(a % len(shape) for a in ([axes] if isinstance(axes, int) else axes)) if shape else ()
    if all(shape[a] is not None for a in axes):
        return config
    sizes = _statistics(stored, str(described.get("name")))
    if len(sizes) != len(axes):
        return config
    config = copy.deepcopy(config)
    for layer in config["config"]["layers"][: place + 1]:
        for axis, size in zip(axes, sizes, strict=True):
            layer["config"]["batch_input_shape"][axis] = size
    return config


def _is_sequential(config: Any) -> bool:
    if not isinstance(config, Mapping) or config.get("class_name") != "Sequential":
        return False
    return isinstance(config.get("config"), dict)


def _statistics(stored: Stored, layer: str) -> tuple[int, ...]:
    """The shape of a Normalization's mean, of the only one where names don't tell; () where there is none."""
    h5py = require("h5py")
    found: list[tuple[int, ...]] = []

    def look(name: str, item: Any) -> None:
        parts = re.split(r"[/\\]", name)
        if (layer in parts and parts[-1].startswith("mean")) or parts[-3:] == ["normalization", "vars", "0"]:
            found.append(item.shape)

    with contextlib.ExitStack() as opened:
        content: Any = stored.path
        if stored.kind == "keras":
            archive = opened.enter_context(zipfile.ZipFile(stored.path))
            content = io.BytesIO(archive.read("model.weights.h5"))
        opened.enter_context(h5py.File(content, "r")).visititems(look)
    return found[0] if len(found) == 1 else ()


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
        found = [named.get(reference[0]) for reference in references(inner["input_layers"])]
    elif config.get("class_name") == "Sequential":
        found = layers[:1]
    else:
        return
    for layer in found:
        described = (layer or {}).get("config")
        shape = (
            next((described[k] for k in SHAPE_KEYS if k in described), None) if isinstance(described, Mapping) else None
        )
        if shape is not None:
            yield _sizes(shape)


def _sizes(shape: Any) -> tuple[Any, ...]:
    return tuple(shape)[1:]


def _ordered(shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(-1 if size is None else int(size) for size in shape)


def _text(shapes: list[tuple[Any, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
