"""Rewrites the architecture of a Keras 1 file in Keras 2's words.

Sources: get_config of the layers of Keras 1.0.8 to 1.2.2, and keras/legacy/interfaces.py of Keras 2.0, which
translated the same arguments at run time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from . import merged
from .repair import without_training
from .stored import layer_configs

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
    "Merge": "Concatenate",
}
"""Class of Keras 1 -> class of Keras 2; of Merge the mode decides."""

_MERGES = {
    "sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum", "dot": "Dot",
    "cos": "CosineMerge",
}  # fmt: skip

_NORMALIZATIONS = {0: "BatchNormalization", 1: "SampleNormalization", 2: "BatchStatistics"}
"""Mode of Keras 1's BatchNormalization -> class."""

_ARGUMENTS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "sigma": "stddev",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
}
"""Argument of Keras 1 -> argument of Keras 2, for every class."""

_RATES = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"})
"""Classes whose p became rate."""

_UNITS = frozenset({"Dense", "TimeDistributedDense", "LSTM", "GRU", "SimpleRNN"})
"""Classes whose output_dim became units."""

_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
"""Arguments that together became kernel_size."""

_LAYOUTS = {"tf": "channels_last", "th": "channels_first"}

_WITHOUT_LAYOUT = frozenset(
    {
        "UpSampling2D", "UpSampling3D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D",
        "SpatialDropout2D", "SpatialDropout3D", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    }
)  # fmt: skip
"""Classes that did not always store their dim_ordering: it is then that of the other layers."""

_SIDES = ("top_pad", "bottom_pad", "left_pad", "right_pad")
"""Keys of ZeroPadding2D's padding, which may be any of them."""

_DROPPED = (
    "init", "inner_init", "forget_bias_init", "beta_init", "gamma_init", "consume_less", "W_regularizer",
    "U_regularizer", "b_regularizer", "W_constraint", "b_constraint", "activity_regularizer", "gamma_regularizer",
    "beta_regularizer", "input_length", "weights", "cache_enabled",
)  # fmt: skip
"""What only the training needed, or said twice."""


def translate(config: Any, shapes: Mapping[str, tuple[int, ...]], layout: str | None = None) -> Any:
    """The architecture in Keras 2's words.

    Args:
        config: the architecture as stored.
        shapes: name of a layer -> shape of its first weight. Keras 1 forgot to store a PReLU's shared axes.
        layout: tf or th, the dim_ordering of layers that don't store theirs; None: as the other layers have it.
    """
    config = merged.flatten(copy.deepcopy(config))
    layers = list(layer_configs(config))
    layouts = [inner.get("dim_ordering") for _, inner in layers]
    for layer, inner in layers:
        if "layers" in inner:
            continue
        if layer["class_name"] in _WITHOUT_LAYOUT:
            inner.setdefault("dim_ordering", layout or ("th" if "th" in layouts else "tf"))
        if layer["class_name"] == "Merge":
            _translate_merge(layer, inner)
        else:
            _translate_layer(layer, inner, shapes.get(str(inner.get("name")), ()))
    return without_training(config)


def with_merges(config: Any) -> Any:
    """A Keras 2.0 or 2.1 architecture without the Merge layers that it still had from Keras 1."""
    config = merged.flatten(copy.deepcopy(config))
    for layer, inner in list(layer_configs(config)):
        if layer["class_name"] == "Merge":
            _translate_merge(layer, inner)
    return config


def _translate_layer(layer: Any, inner: dict[str, Any], shape: tuple[int, ...]) -> None:
    kind = layer["class_name"]
    layer["class_name"] = CLASSES.get(kind, kind)
    for names in _SIZES:
        if all(name in inner for name in names):
            inner["kernel_size"] = [inner.pop(name) for name in names]
    for old, new in _ARGUMENTS.items():
        if old in inner:
            inner[new] = inner.pop(old)
    dtype = inner.pop("input_dtype", None)
    if kind == "InputLayer" and dtype is not None:
        inner["dtype"] = dtype
    if kind in _RATES and "p" in inner:
        inner["rate"] = inner.pop("p")
    if kind in _UNITS and "output_dim" in inner:
        inner["units"] = inner.pop("output_dim")
    if kind == "UpSampling1D" and "length" in inner:
        inner["size"] = inner.pop("length")
    if kind == "Embedding":
        inner.pop("dropout", None)
    else:
        inner.pop("input_dim", None)
    if kind == "BatchNormalization":
        layer["class_name"] = _NORMALIZATIONS[inner.pop("mode", 0)]
    if kind in ("PReLU", "SReLU", "ParametricSoftplus") and shape and "shared_axes" not in inner:
        inner["shared_axes"] = [axis for axis, size in enumerate(shape, 1) if size == 1] or None
    if kind == "Bidirectional":
        # Up to 1.1 the wrapped layer was stored after it had been renamed.
        wrapped = inner["layer"]["config"]
        wrapped["name"] = wrapped["name"].removeprefix("forward_")
    if kind == "GRU":
        inner["reset_after"] = False
    if kind.startswith("ZeroPadding"):
        inner["padding"] = _sides(inner["padding"], one=kind == "ZeroPadding1D")
    layout = inner.pop("dim_ordering", None)
    if layout in _LAYOUTS:
        inner["data_format"] = _LAYOUTS[layout]
    for key in _DROPPED:
        inner.pop(key, None)


def _sides(padding: Any, *, one: bool) -> Any:
    """A ZeroPadding layer's padding, along one axis or two, as Keras 2 takes it; Keras 1 also knew sides by name."""
    if isinstance(padding, dict):
        if one:
            return [padding.get(side, 0) for side in _SIDES[2:]]
        padding = [padding.get(side, 0) for side in _SIDES]
    if isinstance(padding, list) and len(padding) == 4:
        return [padding[:2], padding[2:]]
    return padding


def _translate_merge(layer: Any, inner: dict[str, Any]) -> None:
    mode = inner.get("mode", "sum")
    if inner.get("mode_type", "raw") == "lambda":
        # screen.py lets it pass only where an expression or --allow-lambda takes care of it.
        layer["class_name"], layer["config"] = "Lambda", {"name": inner.get("name"), "function": mode}
        return
    if mode not in _MERGES:
        return
    layer["class_name"] = _MERGES[mode]
    kept: dict[str, Any] = {"name": inner.get("name")}
    if mode == "concat":
        kept["axis"] = inner.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        kept["axes"] = inner.get("dot_axes", -1)
    layer["config"] = kept
