"""Rewrites a stored architecture so that a Keras of today reads it and means the same.

Every rule is data or one small function on the JSON; none touches weights. A rule that changes what a
user may notice returns a note.
"""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..backend import require, tensorflow
from .stored import SHAPE_KEYS, Stored, class_configs, layer_configs, read_stored

_DROPPED_FOR_KERAS_3 = {
    "DepthwiseConv2D": ("groups",),
    "LSTM": ("time_major", "implementation"),
    "GRU": ("time_major", "implementation"),
    "SimpleRNN": ("time_major", "implementation"),
    "LSTMCell": ("implementation",),
    "GRUCell": ("implementation",),
    "RNN": ("time_major",),
    "InputLayer": ("ragged",),
    "Embedding": ("input_length", "batch_input_shape"),
    "Conv2DTranspose": ("groups",),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
}
"""Class -> arguments that Keras 2 wrote and Keras 3 refuses; none of them changes the outputs."""

_RENAMED = {
    "Functional": ("Model", "Network", "Container"),
    "BatchNormalization": ("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization"),
    "LSTM": ("CuDNNLSTM", "UnifiedLSTM"),
    "GRU": ("CuDNNGRU", "UnifiedGRU"),
}
"""Class -> older names of the same."""

_WITH_DROPOUT = frozenset(
    {"LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
)
"""Recurrent classes whose `dropout` acts inside."""

OPERATIONS = ("nn", "numpy", "math", "core", "linalg", "image")
"""Modules of keras.src.ops in which Keras 3 keeps the classes of its functions."""

_MADE_WITH = {
    "Arange": {"dtype": 3},
    "Array": {"dtype": 1},
    "DotProductAttention": {"attn_logits_soft_cap": 7, "flash_attention": 6},
    "FullLike": {"dtype": 2},
    "Isclose": {"equal_nan": 4},
    "OnesLike": {"dtype": 1},
    "Scatter": {"shape": 2},
    "SearchSorted": {"side": 2},
    "Slice": {"shape": 2},
    "ZerosLike": {"dtype": 1},
}
"""Function of keras.ops -> arguments that it is made with since Keras 3.11 -> their places in a call before."""

HARD_SIGMOID = "hard_sigmoid"
"""clip(0.2 x + 0.5, 0, 1) in Keras 1 and 2, relu6(x + 3) / 6 in Keras 3."""

OTHER_HARD_SIGMOID = "edgecnn_hard_sigmoid"
"""Name under which a fallback finds the hard_sigmoid of the generation that wrote the file."""

OF_TENSORFLOW = (
    "abs", "asinh", "atan", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor", "l2_normalize", "log", "log1p",
    "reciprocal", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan",
)  # fmt: skip
"""Functions of tf.math that people give as an activation, which Keras stores by this name but doesn't find again."""


_ENCODERS = ("StringLookup", "IntegerLookup", "TextVectorization", "CategoryEncoding", "Discretization")
"""Layers whose output can be a sparse tensor."""


def for_inference(config: Any, *, free_batch: bool, single: bool) -> tuple[Any, list[str]]:
    """The architecture with a free batch dimension where that is asked for, without state between calls, in float32.

    What computes in float64 does so still, unless single asks for float32.

    Dropout inside RNN cells goes too: it does nothing after training, but keeps converters from knowing the cell.

    A stateful RNN starts every call from zero, which is what a model does after reset_states().
    """
    config, notes = copy.deepcopy(config), []
    if single:
        config = in_type(config, {"float64": "float32", "DT_DOUBLE": "DT_FLOAT"})
        notes.append("trained in float64, for which onnxruntime has not every operator; the model computes in float32")
    mixed = any(_is_mixed(layer) for layer in class_configs(config))
    computing = [inner for layer, inner in layer_configs(config) if layer["class_name"] not in ("InputLayer", "Cast")]
    if not mixed and any(_policy(inner.get("dtype")) in _HALF for inner in computing):
        config = in_type(config, _SINGLE)
        notes.append("trained in half precision, of which no two programs round alike; the model computes in float32")
    for layer, inner in layer_configs(config):
        for key in SHAPE_KEYS:
            shape = inner.get(key)
            if free_batch and isinstance(shape, list) and shape and isinstance(shape[0], int):
                notes.append(f"the fixed batch of {shape[0]} was made free")
                inner[key] = [None, *shape[1:]]
        # Keras 3.6 also stored the casts between its layers.
        if _is_mixed(layer) or (mixed and layer["class_name"] == "Cast" and inner.get("dtype") in _HALF):
            inner["dtype"] = "float32"
            notes.append("trained in mixed precision; the model computes in float32, which its weights have")
        for key in ("dropout", "recurrent_dropout"):
            if layer["class_name"] in _WITH_DROPOUT and inner.get(key):
                inner[key] = 0.0
        if layer["class_name"] in _ENCODERS and inner.get("sparse"):
            inner["sparse"] = False  # the same numbers, in a tensor that ONNX has
        if inner.get("stateful"):  # some wrote 1 or -True, which Keras takes and stores as it is
            inner["stateful"] = False
            notes.append("stateful layers start every call from zero, as after reset_states()")
    return config, list(dict.fromkeys(notes))


_HALF = ("float16", "bfloat16")
_SINGLE = {**dict.fromkeys(_HALF, "float32"), "DT_HALF": "DT_FLOAT", "DT_BFLOAT16": "DT_FLOAT"}


def _is_mixed(layer: Mapping[str, Any]) -> bool:
    """Whether a layer computes in half precision with weights of float32."""
    inner = layer.get("config")
    return isinstance(inner, Mapping) and _policy(inner.get("dtype")) in [f"mixed_{half}" for half in _HALF]


def in_type(config: Any, names: Mapping[str, str], constant: Callable[[Any], Any] = lambda value: value) -> Any:
    """A configuration with other types of numbers, by the names that Keras and TensorFlow's operators have for them.

    Args:
        config: what get_config() gives, or a file stores.
        names: type -> the one to stand for it.
        constant: what becomes of the constants of an operator.
    """
    if isinstance(config, Mapping):
        constants = config.get("constants")  # of an operator, by number
        kept = {"constants": {k: constant(v) for k, v in constants.items()}} if isinstance(constants, Mapping) else {}
        return {key: in_type(value, names, constant) for key, value in config.items() if key not in kept} | kept
    if isinstance(config, (list, tuple)):
        return type(config)(in_type(value, names, constant) for value in config)
    return names.get(config, config) if isinstance(config, str) else config


def _policy(dtype: Any) -> str | None:
    """Name of a stored dtype policy: a string, or {"config": {"name": ...}}."""
    if isinstance(dtype, Mapping):
        dtype = (dtype.get("config") or {}).get("name")
    return dtype if isinstance(dtype, str) else None


def for_tf_keras(config: Any) -> Any:
    """A Keras 2 architecture as the last tf-keras reads it.

    CuDNNLSTM and CuDNNGRU, which run on GPUs only, become LSTM and GRU (the weights are converted on
    loading); a GRU from before `reset_after` existed gets False, as it was then.
    """
    config = copy.deepcopy(config)
    for layer, inner in list(layer_configs(config)):
        kind = layer["class_name"]
        if kind in ("GRU", "GRUCell"):
            inner.setdefault("reset_after", False)
        for new, old in _RENAMED.items():
            if kind in old:
                layer["class_name"] = "Model" if new == "Functional" else new
        for key, value in inner.items():
            if isinstance(value, dict) and value.get("type") == "ndarray" and "value" in value:
                inner[key] = value["value"]  # a number that was NumPy's, as LeakyReLU's alpha in 2.0
            if key.endswith("activation") and isinstance(value, dict) and value.get("class_name") == "Activation":
                inner[key] = value["config"]["activation"]  # a layer, as which its author registered a function
        if kind == "MultiHeadAttention":
            for key in ("query_shape", "key_shape", "value_shape"):
                inner.setdefault(key, None)  # 2.4 did not store them; the layer has them from its first call
        if kind == "Embedding" and "int" in str(inner.get("dtype")):
            del inner["dtype"]  # up to 2.0 that of what it takes
        if kind.startswith("BatchNormalization") and inner.get("virtual_batch_size") is not None:
            inner["axis"] = [axis - 1 for axis in inner["axis"]]  # stored with the dimension that building adds
        if kind == "TFOpLambda" and str(layer.get("inbound_nodes")).startswith("[['_CONSTANT_VALUE'"):
            # The operator asks its first argument for its type, but a constant is stored as a list.
            inner["function"] = inner["function"].replace("__operators__.add", "math.add")
        if kind == "TextVectorization" and isinstance(inner.get("ngrams"), list):
            inner["ngrams"] = tuple(inner["ngrams"])  # as it was before it was stored
        if kind in ("CuDNNLSTM", "CuDNNGRU"):
            inner |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
            if kind == "CuDNNGRU":
                inner["reset_after"] = True
    return config


def with_named_functions(config: Any) -> Any:
    """A Keras 2 architecture with functions as activations by their name, as tf-keras finds those in HDF5."""
    config = copy.deepcopy(config)
    for _, inner in layer_configs(config):
        for key, value in inner.items():
            if key.endswith("activation") and isinstance(value, dict) and value.get("class_name") == "function":
                registered = str(value.get("registered_name"))
                inner[key] = registered if ">" in registered else value["config"]
    return config


def with_tensorflow_functions(config: Any, given: Collection[str]) -> Any:
    """An architecture with functions of TensorFlow as activations under the names that functions() has for them.

    By their own, tf-keras would also put them where a layer is named "log" or an operator is "identity".

    Args:
        given: what the user's own file defines, which goes first.
    """
    config = copy.deepcopy(config)
    theirs = _of_tensorflow().keys() - set(given)
    for _, inner in layer_configs(config):
        for key, value in inner.items():
            if not key.endswith("activation"):
                continue
            if isinstance(value, str) and value in theirs:
                inner[key] = f"edgecnn_{value}"
            elif isinstance(value, dict) and value.get("class_name") == "function" and value.get("config") in theirs:
                value["config"] = f"edgecnn_{value['config']}"
    return config


def with_corners(config: Any) -> Any:
    """A Keras 2.2 or 2.3 architecture whose bilinear upsampling stays that of TensorFlow 1 (retired.py)."""
    config = copy.deepcopy(config)
    for layer in class_configs(config):
        if layer["class_name"] == "UpSampling2D" and layer["config"].get("interpolation") == "bilinear":
            layer["class_name"] = "CornerUpSampling2D"
    return config


def with_current_arguments(config: Any) -> Any:
    """A Keras 3 architecture whose functions of keras.ops have the arguments that they have today."""
    config = copy.deepcopy(config)
    for layer, inner in layer_configs(config):
        kind = layer["class_name"]
        if kind == "Threshold" and "threshold_value" in inner:
            layer["config"] = {"threshold": inner["threshold_value"], "default_value": inner.get("value")}
        for node in layer.get("inbound_nodes") or () if kind in _MADE_WITH else ():
            if not isinstance(node, dict) or not isinstance(node.get("args"), list):
                continue
            for name, place in _MADE_WITH[kind].items():
                if name in node["kwargs"]:
                    inner[name] = node["kwargs"].pop(name)
                elif place < len(node["args"]):
                    inner[name] = node["args"].pop(place)
    return config


def with_rms_scaling(config: Any) -> Any:
    """A Keras 3 architecture whose LayerNormalizations only scale, which Keras 3.0 to 3.3 didn't store.

    They have one weight then, where others have two.
    """
    config = copy.deepcopy(config)
    for layer, inner in layer_configs(config):
        if layer["class_name"] == "LayerNormalization":
            inner.setdefault("rms_scaling", True)
    return config


def for_keras_3(config: Any) -> Any:
    """A Keras 1 or 2 architecture in words that Keras 3 reads."""
    config = copy.deepcopy(config)
    for layer in list(class_configs(config)):
        inner = layer.get("config")
        for new, old in _RENAMED.items():
            if layer["class_name"] in old:
                layer["class_name"] = new
        if layer["class_name"] == "Sequential" and isinstance(inner, list):
            layer["config"] = inner = {"name": "sequential", "layers": inner}
        if not isinstance(inner, dict):
            continue
        for key in _DROPPED_FOR_KERAS_3.get(layer["class_name"], ()):
            inner.pop(key, None)
        if layer["class_name"] == "InputLayer" and "batch_input_shape" in inner:
            inner["batch_shape"] = inner.pop("batch_input_shape")
        for key in ("activation", "recurrent_activation"):
            if inner.get(key) == HARD_SIGMOID:
                inner[key] = OTHER_HARD_SIGMOID
    return _explicit_inputs(config)


def _explicit_inputs(config: Any) -> Any:
    """Turn batch_input_shape on the first layer of a Sequential into an InputLayer."""
    for layer, inner in list(layer_configs(config)):
        if layer["class_name"] != "Sequential" or not inner.get("layers"):
            continue
        first = inner["layers"][0]
        shape = (first.get("config") or {}).pop("batch_input_shape", None) if isinstance(first, dict) else None
        if shape is not None and first.get("class_name") != "InputLayer":
            dtype = first["config"].get("dtype", "float32")
            given = {
                "batch_shape": shape,
                "dtype": dtype if isinstance(dtype, str) else "float32",
                "name": f"{first['config'].get('name', 'first')}_input",
            }
            inner["layers"].insert(0, {"class_name": "InputLayer", "config": given})
    return config


def for_keras_2(config: Any) -> Any:
    """A Keras 3 architecture in words that tf-keras reads."""
    config = copy.deepcopy(config)
    for layer, inner in list(layer_configs(config)):
        if layer["class_name"] == "InputLayer" and "batch_shape" in inner:
            inner["batch_input_shape"] = inner.pop("batch_shape")
        if isinstance(inner.get("dtype"), Mapping):
            inner["dtype"] = _policy(inner["dtype"]) or "float32"
        for key in ("activation", "recurrent_activation"):
            if inner.get(key) == HARD_SIGMOID:
                inner[key] = OTHER_HARD_SIGMOID
        for key in ("quantization_config", "lora_rank"):
            inner.pop(key, None)
    return config


def with_modules(config: Any) -> Any:
    """A Keras 3 architecture from HDF5 in the words of a .keras archive.

    Keras 3 writes functions of keras.ops and the arguments of attention layers into HDF5, but reads them
    only where every class stands with its module.
    """
    if isinstance(config, list):
        return [with_modules(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    config = {key: with_modules(value) for key, value in config.items()}
    kind = config.get("class_name")
    if isinstance(kind, str) and "config" in config and "module" not in config and not kind.startswith("__"):
        if kind in ("Functional", "Model"):
            config |= {
                "class_name": "Functional",
                "module": "keras.src.models.functional",
                "registered_name": "Functional",
            }
        elif module := _operation_module(kind, config["config"]):
            config |= {"module": module, "registered_name": kind}
        elif kind == "Sequential":
            config |= {"module": "keras", "registered_name": None}
        else:
            known = hasattr(require("keras").layers, kind)
            config |= {"module": "keras.layers" if known else None, "registered_name": None if known else kind}
    return config


def with_single_outputs(config: Any) -> Any:
    """A Keras 3 architecture whose inner models hand on their one output, not a list of it.

    Keras 3.0 to 3.3 stored [["conv", 0, 0]] for both; to 3.5 that is a list, which no layer behind it takes.
    """
    config = copy.deepcopy(config)
    for model, inner in layer_configs(config):
        outputs = inner.get("output_layers") if model is not config else None
        if isinstance(outputs, list) and len(outputs) == 1 and isinstance(outputs[0], list):
            inner["output_layers"] = outputs[0]
    return config


def has_several_axes(config: Any) -> bool:
    """Whether a layer works along several axes: reading HDF5, Keras 3 (3.15) drops them and takes the default."""
    return any(
        isinstance(axis, list) and len(axis) > 1 for _, inner in layer_configs(config) for axis in [inner.get("axis")]
    )


def _operation_module(kind: str, inner: Any) -> str | None:
    """Where Keras 3 keeps the class of a keras.ops function; None for layers, which say if they train."""
    if not isinstance(inner, Mapping) or "trainable" in inner or kind in ("InputLayer", "Sequential"):
        return None
    for part in OPERATIONS:
        if hasattr(require(f"keras.src.ops.{part}"), kind):
            return f"keras.src.ops.{part}"
    return None


def without_training(config: Any, *, code_only: bool = False) -> Any:
    """The architecture without what only training needs; the file's weights replace every initial value.

    Args:
        config: the architecture.
        code_only: drop no more of it than functions that are stored as Python code.
    """
    config = copy.deepcopy(config)
    for _, inner in layer_configs(config):
        for key, value in inner.items():
            if code_only and not (isinstance(value, Mapping) and value.get("class_name") == "__lambda__"):
                continue
            if key.endswith("_initializer"):
                inner[key] = "zeros"
            elif key.endswith(("_regularizer", "_constraint")):
                inner[key] = None
    return config


def functions(keras: Any, library: str) -> dict[str, Any]:
    """The other generation's hard_sigmoid under OTHER_HARD_SIGMOID, and those of with_tensorflow_functions()."""

    def of_keras_2(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    def of_keras_3(x: Any) -> Any:
        return keras.backend.relu(x + 3.0, max_value=6.0) / 6.0

    other = of_keras_2 if library == "keras" else of_keras_3
    return {OTHER_HARD_SIGMOID: other, **{f"edgecnn_{name}": f for name, f in _of_tensorflow().items()}}


def _of_tensorflow() -> dict[str, Callable[..., Any]]:
    """Name for itself of each function of TensorFlow that Keras stores by it -> the function."""
    tf = tensorflow()
    return {
        "crelu": tf.nn.crelu,
        "crelu_v2": tf.nn.crelu,
        "identity": tf.identity,
        "log_softmax_v2": tf.nn.log_softmax,
        "neg": tf.negative,
        "softmax_v2": tf.nn.softmax,
        "swish": tf.nn.silu,  # Keras 3 knows a text "swish", but no such function
        **{name: getattr(tf.math, name) for name in OF_TENSORFLOW},
    }


@contextlib.contextmanager
def with_config(stored: Stored, config: Any) -> Iterator[Path]:
    """The model file with another architecture, under a name whose ending fits its content.

    Yields:
        The file itself where nothing changes, else a temporary copy.
    """
    suffix = {"hdf5": ".h5", "keras": ".keras"}[stored.kind]
    same = config == read_stored(stored.path).config
    if same and stored.path.suffix == suffix:
        yield stored.path
        return
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder:
        path = Path(folder) / (stored.path.stem + suffix)
        if same:
            path.symlink_to(stored.path.resolve())
        elif stored.kind == "hdf5":
            shutil.copyfile(stored.path, path)
            with require("h5py").File(path, "r+") as f:
                f.attrs["model_config"] = json.dumps(config)
                if stored.generation == 1 and "model_weights" in f:
                    # tf-keras converts the weights of Keras 1 where it finds this very string.
                    f["model_weights"].attrs["keras_version"] = "1"
                if "model_weights" not in f:
                    _move_weights(f, stored.keras_version)
        else:
            _copy_archive(stored.path, path, {"config.json": json.dumps(config).encode()})
        yield path


def _move_weights(file: Any, keras_version: str | None) -> None:
    """Put what save_weights wrote at the root where a whole model has it."""
    group = file.create_group("model_weights")
    for name in [n for n in file if n not in ("model_weights", "optimizer_weights")]:
        file.move(name, f"model_weights/{name}")
    for key in ("layer_names", "backend", "keras_version", *(k for k in file.attrs if k.startswith("layer_names"))):
        if key in file.attrs and key not in group.attrs:
            group.attrs[key] = file.attrs[key]
    for key in [k for k in file.attrs if k.startswith("layer_names")]:
        del file.attrs[key]  # by which Keras knows a file of weights alone, where it loads them by name
    if keras_version is not None:
        file.attrs["keras_version"] = group.attrs["keras_version"] = keras_version


def _copy_archive(source: Path, target: Path, replaced: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if item.filename in replaced:
                new.writestr(item.filename, replaced[item.filename])
            else:
                with old.open(item) as reader, new.open(item.filename, "w") as writer:
                    shutil.copyfileobj(reader, writer)
