"""What a name such as K.mean, tf.nn.softmax, ops.argmax or np.pi means in an expression: that library's own.

The libraries differ in more than names: K.argmax takes the last axis, tf.argmax the first, np.argmax all of them;
K.sqrt stops at 0; ops.gelu approximates. Only functions that compute are found, whatever the name.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgecnn.errors import InputError

from ..backend import require, tensorflow

_TENSORFLOW = {
    "": "argsort boolean_mask broadcast_to cast clip_by_value concat constant convert_to_tensor einsum expand_dims "
    "eye fill gather gather_nd identity linspace meshgrid norm one_hot ones ones_like pad range rank repeat "
    "reshape reverse roll sequence_mask shape size slice sort split squeeze stack stop_gradient strided_slice "
    "tensordot tile transpose unstack where zeros zeros_like",
    "math": "abs acos acosh add add_n argmax argmin asin asinh atan atan2 atanh ceil cos count_nonzero cosh cumprod "
    "cumsum divide divide_no_nan equal erf erfc exp expm1 floor floordiv floormod greater greater_equal "
    "is_finite is_inf is_nan l2_normalize less less_equal log log1p log_sigmoid logical_and logical_not "
    "logical_or logical_xor maximum minimum mod multiply multiply_no_nan negative not_equal pow reciprocal "
    "reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod "
    "reduce_std reduce_sum reduce_variance round rsqrt scalar_mul segment_sum sigmoid sign sin sinh softplus "
    "sqrt square squared_difference subtract tan tanh top_k truediv",
    "nn": "avg_pool avg_pool1d avg_pool2d batch_normalization bias_add crelu depth_to_space elu gelu leaky_relu "
    "local_response_normalization log_softmax max_pool max_pool1d max_pool2d moments relu relu6 selu silu "
    "softmax softsign space_to_depth swish",
    "image": "adjust_brightness adjust_contrast adjust_hue adjust_saturation central_crop convert_image_dtype "
    "crop_and_resize crop_to_bounding_box extract_patches flip_left_right flip_up_down grayscale_to_rgb "
    "hsv_to_rgb pad_to_bounding_box per_image_standardization resize resize_with_crop_or_pad resize_with_pad "
    "rgb_to_grayscale rgb_to_hsv rot90 rgb_to_yuv sobel_edges yuv_to_rgb total_variation transpose",
    "linalg": "band_part diag diag_part l2_normalize matmul matrix_transpose normalize trace",
    "signal": "fft rfft stft",
    "compat.v1": "div extract_image_patches to_float to_int32 to_int64",
    "compat.v1.image": "resize_bicubic resize_bilinear resize_images resize_nearest_neighbor",
}  # fmt: skip
"""Module of TensorFlow -> functions in it that only compute."""

_KERAS = frozenset(
    "abs all any arange argmax argmin batch_dot batch_flatten bias_add cast cast_to_floatx clip concatenate "
    "constant cos cumprod cumsum dot elu epsilon equal exp expand_dims eye flatten floatx gather greater "
    "greater_equal hard_sigmoid image_data_format in_test_phase int_shape l2_normalize less less_equal log max "
    "maximum mean min minimum ndim not_equal one_hot ones ones_like permute_dimensions pool2d pool3d pow prod relu "
    "repeat repeat_elements reshape resize_images resize_volumes reverse round shape sigmoid sign sin slice softmax "
    "softplus softsign spatial_2d_padding spatial_3d_padding sqrt square squeeze stack std stop_gradient sum switch "
    "tanh temporal_padding tile transpose var zeros zeros_like".split()
)  # fmt: skip
"""Functions of keras.backend."""

_NOT_NUMERIC = frozenset(
    "associative_scan cond convert_to_numpy custom_gradient fori_loop map scan shard_map switch vectorize "
    "vectorized_map while_loop".split()
)
"""Functions of keras.ops that take code."""

_BARE = {
    "clip": "clip_by_value", "max": "reduce_max", "min": "reduce_min", "mean": "reduce_mean", "sum": "reduce_sum",
    "prod": "reduce_prod", "std": "reduce_std", "var": "reduce_variance", "any": "reduce_any", "all": "reduce_all",
    "logsumexp": "reduce_logsumexp", "dot": "matmul", "permute_dimensions": "transpose", "lrn":
    "local_response_normalization",
}  # fmt: skip
"""What TensorFlow calls a function that is named without its library."""

_BARE_KERAS = frozenset({"elu", "relu", "reverse"})
"""What keras.backend means by such a name is what people write."""

_OLD_WORDS = {"keep_dims": "keepdims", "dim": "axis", "reduction_indices": "axis", "squeeze_dims": "axis"}
"""Keywords of TensorFlow 1 -> what they are called now."""

_TYPES = frozenset({"bfloat16", "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"})
_CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "newaxis": None}
_METHODS = frozenset({"BILINEAR", "NEAREST_NEIGHBOR", "BICUBIC", "AREA", "LANCZOS3", "LANCZOS5", "GAUSSIAN"})
PYTHON: dict[str, Callable[..., Any]] = {
    "int": int, "float": float, "len": len, "range": range, "abs": abs, "max": max, "min": min, "sum": sum,
    "round": round, "tuple": tuple, "list": list, "reversed": reversed,
}  # fmt: skip
"""Python's own functions that an expression may call."""

_BACKENDS = frozenset({"K", "k", "KB", "backend", "keras_backend"})
_NUMPY = frozenset({"np", "numpy", "jnp", "onp", "knp"})

PREFIXES = _BACKENDS | _NUMPY | {
    "tf", "tensorflow", "keras", "tfk", "ops", "math", "nn", "image", "linalg", "activations", "applications", "compat",
    "F", "T",
}  # fmt: skip
"""What the dotted name of a function or constant may begin with, beside an application."""


def find(path: Sequence[str], keras: Any) -> Any:
    """The function or constant of a dotted name.

    Args:
        path: its parts, as in ("tf", "nn", "relu").
        keras: the Keras that reads the model; its activations and applications are taken.

    Raises:
        InputError: nothing of that name only computes.
    """
    *modules, name = path
    for place in _places(modules):
        found = place(modules, name, keras)
        if found is not _NOTHING:
            return found
    raise InputError(f"{'.'.join(path)!r} is unknown{_nearest(name, bare=not modules)}")


def resize_images_once(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    """keras.backend.resize_images as it was on TensorFlow 1, whose bilinear resize keeps the upper left corner."""
    tf = tensorflow()
    if interpolation == "nearest":
        return require("tf_keras").backend.resize_images(x, height_factor, width_factor, data_format)
    first = data_format == "channels_first"
    x = tf.transpose(x, (0, 2, 3, 1)) if first else x
    x = tf.compat.v1.image.resize_bilinear(x, tf.shape(x)[1:3] * [height_factor, width_factor])
    return tf.transpose(x, (0, 3, 1, 2)) if first else x


def is_application(name: str) -> bool:
    """Whether a module of keras.applications is called so."""
    modules = vars(require("keras.applications"))
    return name in modules and hasattr(modules[name], "preprocess_input")


_NOTHING = object()
_Place = Callable[[Sequence[str], str, Any], Any]


def _places(modules: Sequence[str]) -> list[_Place]:
    """Where to look a name up, the library that its prefix names first."""
    if not modules:
        return [_in_python, _in_tensorflow, _in_backend, _in_ops]
    last = set(modules)
    if modules[-1] == "activations":
        return [_in_activations]
    if "applications" in last or is_application(modules[-1]):
        return [_in_applications]
    if _BACKENDS & last and "tf" not in modules[1:]:
        return [_in_backend, _in_tensorflow]
    if "ops" in last:
        return [_in_ops]
    if _NUMPY & last and not {"tf", "tensorflow"} & last:
        return [_in_numpy]
    if tuple(modules) == ("math",):
        return [_in_math]
    return [_in_tensorflow, _in_backend]


def _in_python(modules: Sequence[str], name: str, keras: Any) -> Any:
    if name in _TYPES:
        return name
    plain = PYTHON.get(name)
    if plain is None:
        return _NOTHING
    other = _in_tensorflow((), name, keras)
    if other is _NOTHING:
        return plain

    def call(x: Any, *more: Any, **options: Any) -> Any:
        # Of a list of tensors Python's sum is their sum.
        return (plain if isinstance(x, (list, tuple)) else _of(plain, other))(x, *more, **options)

    return call


def _in_tensorflow(modules: Sequence[str], name: str, keras: Any) -> Any:
    if name in _TYPES or name == "half":
        return name.replace("half", "float16")
    if name in _CONSTANTS and name != "e":
        return _CONSTANTS[name]
    if name in _METHODS and "ResizeMethod" in modules:
        return name.lower().replace("_neighbor", "")
    if not modules and name in _BARE_KERAS:
        return _NOTHING
    tf = tensorflow()
    homes = [home for home, names in _TENSORFLOW.items() if name in names.split()]
    if not homes or not modules:
        name = _BARE.get(name, name)
        homes = [home for home, names in _TENSORFLOW.items() if name in names.split()]
    if not homes:
        return _NOTHING
    written = [m for m in modules if m not in ("tf", "tensorflow")]
    for home in (written, *(h.split(".") if h else [] for h in homes)):
        module = functools.reduce(lambda m, part: getattr(m, part, None), home, tf)
        function = getattr(module, name, None)
        if callable(function):
            return function if "v1" in written else _with_old_words(function)
    return _NOTHING


def _in_backend(modules: Sequence[str], name: str, keras: Any) -> Any:
    tf = tensorflow()
    own: dict[str, Callable[..., Any]] = {
        "in_train_phase": lambda x, alt, training=None: alt,
        "learning_phase": lambda: 0,
        # Those of the backend are variables.
        "ones": tf.ones, "zeros": tf.zeros, "eye": tf.eye,
        "dot": lambda x, y: backend.dot(tf.convert_to_tensor(x), tf.convert_to_tensor(y)),
    }  # fmt: skip
    if name in _TYPES:
        return name
    backend = require("tf_keras").backend
    return own.get(name) or (getattr(backend, name, _NOTHING) if name in _KERAS else _NOTHING)


def _in_ops(modules: Sequence[str], name: str, keras: Any) -> Any:
    module = require("keras").ops
    for part in modules:
        module = getattr(module, part, module) if part in ("image", "linalg", "nn", "numpy") else module
    function = getattr(module, name, _NOTHING)
    return function if callable(function) and name.islower() and name not in _NOT_NUMERIC else _NOTHING


def _in_numpy(modules: Sequence[str], name: str, keras: Any) -> Any:
    if name in _TYPES:
        return getattr(np, name, name)
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    of_tensors = _in_ops((), name, keras)
    plain = getattr(np.linalg if "linalg" in modules else np, name, None)
    return _NOTHING if of_tensors is _NOTHING or plain is None else _of(plain, of_tensors)


def _in_math(modules: Sequence[str], name: str, keras: Any) -> Any:
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    plain, of_tensors = getattr(math, name, _NOTHING), _in_tensorflow(("tf", "math"), name, keras)
    if plain is _NOTHING or name.startswith("_") or name in ("factorial", "comb", "perm"):
        return of_tensors
    return plain if of_tensors is _NOTHING else _of(plain, of_tensors)


def _in_activations(modules: Sequence[str], name: str, keras: Any) -> Any:
    function = getattr(keras.activations, name, None) or getattr(require("keras").activations, name, None)
    usable = callable(function) and name.islower() and name not in ("get", "serialize", "deserialize")
    return function if usable else _NOTHING


def _in_applications(modules: Sequence[str], name: str, keras: Any) -> Any:
    module = getattr(keras.applications, modules[-1], None)
    return getattr(module, name, _NOTHING) if name == "preprocess_input" else _NOTHING


def _of(plain: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """A function of plain numbers, and another where a tensor is among them."""

    def call(*arguments: Any, **options: Any) -> Any:
        tensors = any(tensorflow().is_tensor(v) for v in tensorflow().nest.flatten([arguments, options]))
        return (other if tensors else plain)(*arguments, **options)

    return call


def _with_old_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of TensorFlow that also takes the keywords of TensorFlow 1."""

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **{_OLD_WORDS.get(k, k): v for k, v in options.items()})

    return call


def _nearest(name: str, *, bare: bool) -> str:
    if name == "preprocess_input":
        return "; write whose it is, as in vgg16.preprocess_input(x)"
    if name.startswith(("random_", "truncated_normal", "dropout")) or name in ("normal", "uniform"):
        return ", and so is any function that draws random numbers; write what stands for them, as in x[0] for the mean"
    known = {n for names in _TENSORFLOW.values() for n in names.split()} | _KERAS | _BARE.keys()
    near = difflib.get_close_matches(name, sorted(known), 3, 0.7)
    return f"; there is {', '.join(near)}" if near else "" if bare else " as a function that only computes"
