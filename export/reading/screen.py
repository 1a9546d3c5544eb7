"""Looks through a stored architecture for code before any library loads it.

tf-keras has no safe mode for HDF5: a Lambda layer's bytecode runs as soon as its file is opened.
"""

from __future__ import annotations

import base64
import builtins
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from edgecnn.errors import ModelError

from . import decoded, networks, repair
from .stored import Stored, class_configs

_MODULES = ("keras", "tf_keras", "builtins", "tensorflow.keras", "tensorflow.python.keras")
"""Where the classes of a stored architecture may come from; anything else would be imported by name."""

_OPERATIONS = frozenset(
    {
        "math", "nn", "linalg", "image", "signal", "random", "strings", "sets", "bitwise", "sparse", "ragged", "dtypes",
        "quantization", "audio", "compat", "v1", "v2", "keras", "backend", "activations", "__operators__", "_api",
        "experimental", "numpy", "special",
    }
)  # fmt: skip
"""Modules of TensorFlow whose functions only compute: a TFOpLambda layer may call nothing else."""

_EFFECTS = re.compile(
    r"py_func|numpy_function|load_|_library|(^|\.)(function|print|eval|exec|get_file|save\w*|write\w*|read\w*|"
    r"set_\w+|clear_session|map_fn|foldl|foldr|scan|while_loop|cond|case|switch_case|vectorized_map|import_graph_def|"
    r"timestamp|init_scope|call_\w*)$"
)
"""Functions of those modules, or of tf itself, that do more than compute."""

_TOUCHING = re.compile(r"PyFunc|ReadFile|WriteFile|MatchingFiles|Save|Restore|Dataset|RemoteCall|Print|Reader")
"""Operators of a TensorFlowOpLayer that touch files or run Python."""

_IN_TRAINING = (b"ctc_", b"random_normal", b"sampling")
"""Words in the code of a Lambda that is a loss over what it takes first, or adds noise to that."""


MODELS = frozenset({"Model", "Functional", "Sequential", "Network", "Container", "Graph"})
"""Classes of whole models."""

ONLY_TRAINING = ("_initializer", "_regularizer", "_constraint")
"""How the options of a layer end that only training needs: the file's weights replace every initial value."""

BUILT_IN = frozenset(
    {
        "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer",
        "BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization", "CuDNNLSTM", "CuDNNGRU",
        "StackedRNNCells", "LSTMV2", "GRUV2", "UnifiedLSTM", "UnifiedGRU",
        "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM2D", "ConvLSTM2DCell", "Operation",
        "AddLoss", "AddMetric", "TFDConcat", "TFDIdentity", "SequenceFeatures",
    }
)  # fmt: skip
"""Layers of Keras and tf-keras that their `layers` module doesn't list."""


def lambda_arguments(stored: Stored) -> dict[str, dict[str, Any]]:
    """Name of each layer that an expression can stand in for -> the plain arguments that it stores for its function.

    That is every Lambda layer, and every layer with a lambda as its activation.
    """
    found = {}
    for config in stored.layers():
        if is_lambda(config) or lambda_activations(config):
            inner = config.get("config") or {}
            given = inner.get("arguments") or {}
            found[_name(config)] = {k: _plain(v) for k, v in given.items()}
    return found


def ambiguous_lambdas(stored: Stored) -> set[str]:
    """Names that several Lambda layers have which hold different functions."""
    functions: dict[str, list[Any]] = {}
    for config in stored.layers():
        if is_lambda(config):
            inner = config.get("config") or {}
            functions.setdefault(_name(config), []).append((inner.get("function"), inner.get("arguments")))
    return {name for name, found in functions.items() if any(f != found[0] for f in found)}


def told_apart_by_none(stored: Stored, name: str) -> str:
    """What is said where no expression stands for all Lambda layers of a name."""
    return (
        f"{stored.path} has several Lambda layers called {name!r} that compute different things, so that no expression "
        "stands for all of them; rename them where the model is built, or pass --allow-lambda"
    )


def _plain(value: Any) -> Any:
    """An argument as a number, text or list; rows of numbers and tuples of Keras 3 as lists."""
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        return [_plain(v) for v in value.get("items", ())]
    if isinstance(value, Mapping) and value.get("class_name") == "__numpy__":
        return value.get("config", {}).get("value")
    return value


def refuse_code(stored: Stored, *, replaced: Collection[str], allow_lambda: bool) -> None:
    """Raise where loading would run code from the file, or call what only computes in name.

    Args:
        replaced: names of Lambda layers for which an expression was given.
        allow_lambda: the user trusts the file.

    Raises:
        ModelError: a Lambda layer, a function in bytecode, or a name that leads out of Keras.
    """
    lambdas: dict[str, tuple[str, bool]] = {}
    bytecode = False
    for config in _outside(stored.config, replaced):
        _refuse_calls(stored, config)
        if config["class_name"] == "TFSMLayer" and not allow_lambda:
            folder = (config.get("config") or {}).get("filepath")
            raise ModelError(
                f"{stored.path} holds no more of its layer {_name(config)!r} than that it calls the SavedModel "
                f"{str(folder)!r}: export that folder, or pass --allow-lambda where it is there and you trust it"
            )
        if lambda_activations(config):
            name = _name(config)
            raise ModelError(
                f"{stored.path} has a lambda as the activation of the layer {name!r}, which Keras can't read back; say "
                f"what it computes, as in --lambda {shlex.quote(name)}='x * 2'"
            )
        if is_lambda(config):
            lambdas.setdefault(_name(config), _example(stored, config))
        bytecode |= config["class_name"] == "__lambda__"
    if allow_lambda or not (lambdas or bytecode):
        return
    names = list(lambdas)
    if not names:
        raise ModelError(
            f"{stored.path} holds Python code as a function; pass --allow-lambda to run it if you trust the file"
        )
    twice = ambiguous_lambdas(stored).intersection(names)
    if twice:
        raise ModelError(told_apart_by_none(stored, min(twice)))
    layers = f"Lambda layer{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"
    functions = list(dict.fromkeys(f for config in _outside(stored.config, replaced) if (f := _called(config))))
    options = " ".join(f"--lambda {shlex.quote(name)}='{said}'" for name, (said, _) in lambdas.items())
    untold = [name for name, (_, told) in lambdas.items() if not told]
    each = "each" if len(names) > 1 else "it"
    if functions and not bytecode:
        raise ModelError(
            f"{stored.path} calls {', '.join(functions)} in the {layers}, whose code is not in the file; say what "
            f"{each} computes, as in {options}, or pass --allow-lambda and --custom FILE.py that defines it"
        )
    if not untold:
        asked = f"pass what {each} computes by its bytecode: {options}"
    elif len(untold) < len(names):
        options = " ".join(
            f"--lambda {shlex.quote(name)}='{said if told else 'EXPRESSION'}'" for name, (said, told) in lambdas.items()
        )
        asked = f"pass what {each} computes, by its bytecode but for {', '.join(map(repr, untold))}: {options}"
    else:
        asked = f"say what {each} computes, as in {options}"
    raise ModelError(
        f"{stored.path} holds Python code in the {layers}; {asked}, or pass --allow-lambda to run it if you trust "
        "the file"
    )


def _example(stored: Stored, config: Mapping[str, Any]) -> tuple[str, bool]:
    """(an expression to show for a Lambda, whether its bytecode tells that).

    Untold, it is the first of its inputs where it is a loss or draws numbers in training.
    """
    inner = config.get("config") or {}
    texts = list(words(config))
    codes = [*(base64.b64decode(t) for t in texts if decoded.BASE64.fullmatch(t)), *(t.encode() for t in texts)]
    told = networks.by_code(codes) or decoded.expression(inner.get("function", inner.get("mode")))
    if told is not None:
        return told, True
    if any(word in code for word in _IN_TRAINING for code in codes):
        return "x[0]", False
    models = [_name(entry) for entry in stored.layers() if entry["class_name"] in MODELS]
    return networks.by_name(codes, [_name(config), *models]) or "x / 127.5 - 1", False


def _called(config: Mapping[str, Any]) -> str | None:
    """The function that a Lambda layer only names; None where it holds the code."""
    inner = config.get("config")
    function = inner.get("function") if is_lambda(config) and isinstance(inner, Mapping) else None
    if isinstance(function, Mapping) and function.get("class_name") == "function":
        return str(function.get("config"))
    return function if isinstance(function, str) and inner.get("function_type") == "function" else None


def is_lambda(config: Mapping[str, Any]) -> bool:
    """Whether an entry is a Lambda layer, or a Merge of Keras 1 with a function of its own."""
    inner = config.get("config")
    merges = config["class_name"] == "Merge" and isinstance(inner, Mapping)
    return config["class_name"] == "Lambda" or (merges and inner.get("mode_type", "raw") == "lambda")


def lambda_activations(config: Mapping[str, Any]) -> list[str]:
    """The options of a layer that are lambdas, of which no Keras stores more than that they are, or their bytecode."""
    inner = config.get("config")
    options = inner.items() if isinstance(inner, Mapping) and not is_lambda(config) else ()
    return [key for key, value in options if str(key).endswith("activation") and _is_lambda_function(value)]


def _is_lambda_function(value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value.get("value"), list) or value.get("config") == "<lambda>"
    return bool(value == "<lambda>")


def _refuse_calls(stored: Stored, config: Mapping[str, Any]) -> None:
    """Raise where an entry names a function that would be imported or called while loading."""
    kind, inner = config["class_name"], config.get("config")
    described = inner if isinstance(inner, Mapping) else {}
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        function = str(described.get("function", ""))
        modules = function.split(".")[:-1]
        if not _OPERATIONS.issuperset(modules) or _EFFECTS.search(function):
            raise ModelError(f"{stored.path} calls tf.{function} in the layer {_name(config)!r}, which is refused")
    if kind == "TensorFlowOpLayer":
        operator = _TOUCHING.search(str(described.get("node_def", "")))
        if operator:
            raise ModelError(f"{stored.path} uses the operator {operator[0]} in the layer {_name(config)!r}; refused")
    # Keras gives functions of TensorFlow that module too, such as abs and round.
    if (
        kind == "function"
        and config.get("module") == "builtins"
        and hasattr(builtins, str(inner))
        and inner not in repair.OF_TENSORFLOW
    ):
        raise ModelError(f"{stored.path} calls Python's own function {inner}, which is refused")


def _outside(config: Any, replaced: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """Every object with a class_name that is not within a replaced Lambda layer or activation."""
    if isinstance(config, Mapping):
        if isinstance(config.get("class_name"), str) and _name(config) in replaced:
            if is_lambda(config):
                return
            gone = lambda_activations(config)
            config = {**config, "config": {k: v for k, v in (config.get("config") or {}).items() if k not in gone}}
        if isinstance(config.get("class_name"), str):
            yield config
        for value in config.values():
            yield from _outside(value, replaced)
    elif isinstance(config, list):
        for value in config:
            yield from _outside(value, replaced)


def custom_classes(stored: Stored, known: Collection[str], given: Collection[str]) -> list[str]:
    """Classes and functions that are in no library: the file has their weights but not their code.

    Those that only training needs don't count: initial values, penalties and limits of weights.

    Args:
        known: classes of the libraries, and what the program registered.
        given: classes and functions that the user's own file defines.
    """
    found = []
    config = _after_training(stored.config)
    layers = {id(entry) for entry in _layers(config)}
    for entry in class_configs(config):
        kind, module, registered = str(entry["class_name"]), entry.get("module"), entry.get("registered_name")
        if kind == "function":
            kind = str(entry.get("config"))
        names = {kind, kind.split(">")[-1], registered}
        if names & set(given) or registered in known:
            continue
        foreign = isinstance(module, str) and not is_keras(module)
        if (foreign or (id(entry) in layers and kind not in known)) and kind not in found:
            found.append(kind)
    return found


def _after_training(config: Any) -> Any:
    """The architecture without what stands for a weight's initial value, penalty or limit."""
    if isinstance(config, Mapping):
        return {k: _after_training(v) for k, v in config.items() if not str(k).endswith(ONLY_TRAINING)}
    return [_after_training(value) for value in config] if isinstance(config, list) else config


def is_keras(module: Any) -> bool:
    """Whether a stored module is one of Keras's own; HDF5 stores none."""
    return isinstance(module, str) and any(module == name or module.startswith(name + ".") for name in _MODULES)


def words(config: Any) -> Iterator[str]:
    """Every text in a stored architecture that is a value."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, (Mapping, list)):
        for value in config.values() if isinstance(config, Mapping) else config:
            yield from words(value)


def _layers(config: Any) -> Iterator[Mapping[str, Any]]:
    """The entries of every list of layers, and what wrappers wrap."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if config.get("class_name") == "Sequential" and isinstance(inner, list):
            yield from (c for c in inner if isinstance(c, Mapping) and "class_name" in c)
        for key, value in config.items():
            if key == "layers" and isinstance(value, list):
                yield from (c for c in value if isinstance(c, Mapping) and "class_name" in c)
            if key in ("layer", "backward_layer", "cell") and isinstance(value, Mapping) and "class_name" in value:
                yield value
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _name(config: Mapping[str, Any]) -> str:
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return str(name or config.get("name") or "?")
