"""Rewrites the architecture of a Keras 1 file in Keras 2's words; its weights tf-keras converts itself.

Sources: the Keras 1.2.2 layers' get_config, and keras/legacy/interfaces.py of Keras 2.0, which translated
the same arguments at run time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .stored import class_configs

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "Merge": "Concatenate",
    "MaxoutDense": "MaxoutDense",
    "Highway": "Highway",
}
"""Class of Keras 1 -> class of Keras 2."""

_ARGUMENTS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "bias": "use_bias",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "p": "rate",
    "sigma": "stddev",
    "beta_init": "beta_initializer",
    "gamma_init": "gamma_initializer",
    "subsample": "strides",
    "subsample_length": "strides",
    "filter_length": "kernel_size",
    "pool_length": "pool_size",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
}
"""Argument of Keras 1 -> argument of Keras 2; for Embedding and output_dim see _rename."""

_DROPPED = ("input_dim", "input_length", "consume_less", "mode", "W_learning_rate_multiplier",
            "b_learning_rate_multiplier", "weights", "forget_bias_init")  # fmt: skip

_LAYOUTS = {"tf": "channels_last", "th": "channels_first"}

_MERGES = {
    "sum": "Add", "mul": "Multiply", "concat": "Concatenate", "ave": "Average", "max": "Maximum", "dot": "Dot",
    "cos": "Dot",
}  # fmt: skip


def translate(config: Any) -> Any:
    """The architecture in Keras 2's words; one that has them already comes back unchanged."""
    config = copy.deepcopy(config)
    for layer in list(class_configs(config)):
        inner = layer.get("config")
        if isinstance(inner, dict):
            _translate_layer(layer, inner)
    return config


def _translate_layer(layer: Any, inner: dict[str, Any]) -> None:
    kind = layer["class_name"]
    if kind == "Merge":
        _translate_merge(layer, inner)
        return
    if not _is_keras_1(kind, inner):
        return
    layer["class_name"] = CLASSES.get(kind, kind)
    if kind == "Embedding":
        if "init" in inner:
            inner["embeddings_initializer"] = inner.pop("init")
        for key in ("W_regularizer", "W_constraint", "activity_regularizer", "dropout", "bias"):
            inner.pop(key, None)
    else:
        _rename(kind, inner)
    layout = inner.pop("dim_ordering", None)
    if layout in _LAYOUTS:
        inner["data_format"] = _LAYOUTS[layout]


def _is_keras_1(kind: str, inner: Mapping[str, Any]) -> bool:
    words = {"nb_filter", "border_mode", "dim_ordering", "output_dim", "p", "init", "inner_init", "sigma",
             "pool_length", "mode", "bias", "gamma_init", "inner_activation", "W_regularizer"}  # fmt: skip
    return kind in CLASSES or (bool(words & set(inner)) and not (kind == "Embedding" and "init" not in inner))


def _rename(kind: str, inner: dict[str, Any]) -> None:
    size = [inner.pop(k) for k in ("kernel_dim1", "kernel_dim2", "kernel_dim3") if k in inner]
    size = size or [inner.pop(k) for k in ("nb_row", "nb_col") if k in inner]
    if size:
        inner["kernel_size"] = size
    if "output_dim" in inner and kind != "Embedding":
        inner["units"] = inner.pop("output_dim")
    if inner.get("forget_bias_init") is not None and kind == "LSTM":
        inner["unit_forget_bias"] = inner["forget_bias_init"] == "one"
    if kind == "RepeatVector" or kind == "Reshape":
        return
    for key in _DROPPED:
        if not (key == "mode" and kind not in ("BatchNormalization",)):
            inner.pop(key, None)
    if kind == "UpSampling1D" and "length" in inner:
        inner["size"] = inner.pop("length")
    for old, new in _ARGUMENTS.items():
        if old in inner and not (old == "p" and "rate" in inner):
            inner[new] = inner.pop(old)
    for key in ("kernel_initializer", "recurrent_initializer", "beta_initializer", "gamma_initializer"):
        if isinstance(inner.get(key), str):
            inner[key] = {"one": "ones", "zero": "zeros", "normal": "random_normal",
                          "uniform": "random_uniform"}.get(inner[key], inner[key])  # fmt: skip
    if kind in ("Deconvolution2D",):
        inner.pop("output_shape", None)


def _translate_merge(layer: Any, inner: dict[str, Any]) -> None:
    mode = inner.get("mode", "sum")
    axis = inner.get("concat_axis", -1)
    layer["class_name"] = _MERGES.get(mode, "Merge") if isinstance(mode, str) else "Merge"
    kept: dict[str, Any] = {"name": inner.get("name")}
    if mode == "concat":
        kept["axis"] = axis
    if mode in ("dot", "cos"):
        axes = inner.get("dot_axes", 1)
        kept |= {"axes": axes if axes != -1 else 1, "normalize": mode == "cos"}
    layer["config"] = kept
