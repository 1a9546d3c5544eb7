"""Rewrites the architecture of a Keras 1 file in Keras 2's words; its weights tf-keras converts itself.

Sources: get_config of the layers of Keras 1.2.2, and keras/legacy/interfaces.py of Keras 2.0, which
translated the same arguments at run time.
"""

from __future__ import annotations

import copy
from typing import Any

from .repair import without_training
from .stored import class_configs

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "TimeDistributedDense": "Dense",
    "Merge": "Concatenate",
}
"""Class of Keras 1 -> class of Keras 2; of Merge the mode decides."""

_MERGES = {
    "sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum", "dot": "Dot",
    "cos": "Dot",
}  # fmt: skip

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
    "input_dtype": "dtype",
}
"""Argument of Keras 1 -> argument of Keras 2, for every class."""

_RATES = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"})
"""Classes whose p became rate."""

_UNITS = frozenset({"Dense", "TimeDistributedDense", "LSTM", "GRU", "SimpleRNN"})
"""Classes whose output_dim became units."""

_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
"""Arguments that together became kernel_size."""

_LAYOUTS = {"tf": "channels_last", "th": "channels_first"}

_DROPPED = (
    "init", "inner_init", "forget_bias_init", "beta_init", "gamma_init", "consume_less", "W_regularizer",
    "U_regularizer", "b_regularizer", "W_constraint", "b_constraint", "activity_regularizer", "gamma_regularizer",
    "beta_regularizer", "input_length", "weights", "cache_enabled",
)  # fmt: skip
"""What only the training needed, or said twice."""


def translate(config: Any) -> Any:
    """The architecture in Keras 2's words."""
    config = copy.deepcopy(config)
    for layer in list(class_configs(config)):
        inner = layer.get("config")
        if not isinstance(inner, dict) or "layers" in inner:
            continue
        if layer["class_name"] == "Merge":
            _translate_merge(layer, inner)
        else:
            _translate_layer(layer, inner)
    return without_training(config)


def _translate_layer(layer: Any, inner: dict[str, Any]) -> None:
    kind = layer["class_name"]
    layer["class_name"] = CLASSES.get(kind, kind)
    for names in _SIZES:
        if all(name in inner for name in names):
            inner["kernel_size"] = [inner.pop(name) for name in names]
    for old, new in _ARGUMENTS.items():
        if old in inner:
            inner[new] = inner.pop(old)
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
        inner.pop("mode", None)
    if kind == "Deconvolution2D":
        inner.pop("output_shape", None)
    if kind == "GRU":
        inner["reset_after"] = False
    layout = inner.pop("dim_ordering", None)
    if layout in _LAYOUTS:
        inner["data_format"] = _LAYOUTS[layout]
    for key in _DROPPED:
        inner.pop(key, None)


def _translate_merge(layer: Any, inner: dict[str, Any]) -> None:
    mode = inner.get("mode", "sum")
    if mode not in _MERGES:
        return
    layer["class_name"] = _MERGES[mode]
    kept: dict[str, Any] = {"name": inner.get("name")}
    if mode == "concat":
        kept["axis"] = inner.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        axes = inner.get("dot_axes", -1)
        kept |= {"axes": axes, "normalize": mode == "cos"}
    layer["config"] = kept
