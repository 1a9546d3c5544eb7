"""Opens a stored model with the Keras whose meaning it has: 1 and 2 with tf-keras, 3 with Keras 3.

Keras 3 can open an old file and silently compute something else (hard_sigmoid is another function there,
an input may get a dimension more), so the other library is only the fallback, and the result says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError, MissingDependencyError, ModelError

from ..backend import quiet_logs, reason, require, tensorflow
from ..tracing import on_cpu
from . import archive, keras1, keras1_weights, limits, masks, merged, repair, retired, screen, shapes, standins
from .expression import Expression
from .stored import Stored

_UNKNOWN = re.compile(r"(?:Unknown|Could not locate) (\w[\w ]*?):? (?=['\"])['\"]([\w>]+)")
"""How Keras names a class or function that it doesn't have."""

INSTALL_LEGACY = "python -m pip install tf-keras"
"""What opens the files of Keras 1 and 2 with their own meaning."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model and how it came to be."""

    model: Any
    """A keras.Model or tf_keras.Model."""
    loaded_by: str
    notes: tuple[str, ...]
    stored_batch: int | None = None
    """The batch that the file fixes, whether the model still has it or not."""


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One way to open a file."""

    library: str
    """Module to import: tf_keras or keras."""
    changes: tuple[Callable[[Any], Any], ...]
    """Applied to the stored architecture in this order."""


def open_model(
    stored: Stored,
    expressions: Mapping[str, Expression],
    *,
    allow_lambda: bool = False,
    custom: str | os.PathLike[str] | None = None,
    free_batch: bool = True,
) -> Opened:
    """Open the file, with its own generation of Keras first; a fixed batch is made free where that can be done.

    Raises:
        ModelError: it needs code that isn't there, or neither library can open it; the message is then what
            the file's own generation said.
    """
    tensorflow()
    own = "tf_keras" if stored.generation < 3 else "keras"
    given = _under_stored_names(stored, _definitions(Path(custom), own)) if custom is not None else {}
    # The other library is imported only where its own one doesn't know a class.
    missing = screen.custom_classes(stored, _known_layers(own), given)
    if missing and screen.custom_classes(stored, _known_layers("keras", "tf_keras"), given):
        raise ModelError(
            f"{stored.path} needs the class {', '.join(missing)}, whose code is not in the file; pass --custom "
            "FILE.py that defines it"
        )
    config = shapes.complete(stored)
    errors: list[tuple[str, Exception]] = []
    for attempt in _attempts(stored):
        try:
            keras = require(attempt.library)
            with limits.bounded_weights(keras, stored.path):
                model, notes = _open(keras, stored, config, attempt, expressions, given, allow_lambda, free_batch)
            shapes.check_inputs(model, config)
            limits.check_tensors(parts(model))
        except InputError:
            raise
        except Exception as e:
            errors.append((_title(attempt.library), e))
            continue
        if attempt.library != own:
            why = next(reason(e) for name, e in errors if name == _title(own))
            notes.append(
                f"written by Keras {stored.keras_version or '1'} but opened by {_title(attempt.library)}, since "
                f"{_title(own)} said: {why}; its inputs have the shapes that the file stores, and what the two "
                "compute differently was mapped, but its own Keras could not confirm the outputs"
            )
        return Opened(
            model, f"{_title(attempt.library)} {keras.__version__}", tuple(notes), repair.stored_batch(stored.config)
        )
    name, error = errors[0]
    if isinstance(error, MissingDependencyError):
        others = "; ".join(f"{n}: {reason(e)}" for n, e in errors[1:2])
        raise ModelError(
            f"{stored.path} was written by Keras {stored.keras_version or '1'}, which needs tf-keras: "
            f"{INSTALL_LEGACY} ({others})"
        ) from error
    unknown = _UNKNOWN.search(str(error))
    if unknown:
        raise ModelError(
            f"{stored.path} needs the {unknown[1]} {unknown[2]}, whose code is not in the file; pass --custom FILE.py "
            "that defines it"
        ) from error
    raise ModelError(f"{name} can't open {stored.path}: {reason(error)}{_hint(error)}") from error


def _attempts(stored: Stored) -> Iterator[_Attempt]:
    if stored.generation < 3:
        first: tuple[Callable[[Any], Any], ...] = (repair.for_tf_keras,)
        if stored.generation == 1:
            of_weights = keras1_weights.shapes(stored.path)
            first = (lambda config: keras1.translate(config, of_weights), repair.for_tf_keras)
            other = (lambda config: keras1.translate(config, of_weights, "th"), repair.for_tf_keras)
        elif stored.before_tensorflow_2:
            first = (keras1.with_merges, repair.for_tf_keras, repair.with_corners)
        yield _Attempt("tf_keras", first)
        if stored.generation == 1:
            yield _Attempt("tf_keras", other)
        yield _Attempt("tf_keras", (*first, repair.without_training))
        yield _Attempt("keras", (*first, repair.for_keras_3))
        yield _Attempt("keras", (*first, repair.for_keras_3, repair.without_training))
    else:
        first = (
            repair.with_single_outputs,
            functools.partial(repair.with_early_meaning, keras_version=stored.keras_version),
        )
        if stored.kind == "hdf5" and repair.has_several_axes(stored.config):
            yield _Attempt("keras", (*first, repair.with_modules))
        yield _Attempt("keras", first)
        yield _Attempt("keras", (*first, repair.without_training))
        yield _Attempt("keras", (*first, repair.with_modules))
        yield _Attempt("tf_keras", (repair.for_keras_2,))
        yield _Attempt("tf_keras", (repair.for_keras_2, repair.without_training))


def _open(
    keras: Any,
    stored: Stored,
    config: Any,
    attempt: _Attempt,
    expressions: Mapping[str, Expression],
    given: Mapping[str, Any],
    allow_lambda: bool,
    free_batch: bool,
) -> tuple[Any, list[str]]:
    """The model as inference wants it, with a free batch where that is asked for and works."""
    for change in attempt.changes:
        config = change(config)
    as_then = masks.layers(keras, stored)
    config = masks.named(standins.replace(config, expressions), as_then)
    objects = {**standins.layers(keras), **as_then, **repair.functions(keras, attempt.library), **given}
    if stored.generation < 3 and attempt.library == "tf_keras":
        objects = {**retired.layers(keras), **objects}
    for free in (True, False) if free_batch else (False,):
        mended, notes = repair.for_inference(config, free_batch=free)
        if mended != config:
            with contextlib.suppress(Exception):
                return _load(keras, stored, mended, objects, allow_lambda), notes
    return _load(keras, stored, config, objects, allow_lambda), []


@on_cpu()
def _load(keras: Any, stored: Stored, config: Any, objects: Mapping[str, Any], allow_lambda: bool) -> Any:
    if stored.generation == 1 and keras.__name__ == "tf_keras":
        with quiet_logs("absl", "tensorflow"), keras.saving.custom_object_scope(dict(objects)):
            model = keras.layers.deserialize(config)
            keras1_weights.assign(model, stored.path, backend=stored.backend)
        return model
    options = {"custom_objects": dict(objects), "safe_mode": not allow_lambda}
    with quiet_logs("absl", "tensorflow"), repair.with_config(stored, config) as path:
        if stored.kind == "keras" and keras.__name__ == "tf_keras":
            return archive.load(keras, path, config, objects, safe_mode=not allow_lambda)
        if stored.kind == "hdf5" and isinstance(config, Mapping) and "module" in config:
            model = keras.saving.deserialize_keras_object(config, **options)
            model.load_weights(path)
            return model
        if stored.kind == "hdf5" and merged.begins_with_merge(stored.config):
            model = keras.layers.deserialize(config, custom_objects=dict(objects))
            merged.load_weights(model, path)
        else:
            model = keras.models.load_model(path, compile=False, **options)
    if stored.backend == "theano":
        _flip_kernels(model)
    return model


def _flip_kernels(model: Any) -> None:
    """Turn Theano's convolution kernels, which it applies mirrored, into correlation kernels.

    Keras up to 2.3 did so on loading (keras.utils.conv_utils.convert_kernel); its successors forgot it.
    """
    kinds = {"Conv1D": 1, "Conv2D": 1, "Conv3D": 1, "Conv2DTranspose": 1, "ConvLSTM2D": 2}
    for layer in {id(part): part for part in parts(model)}.values():
        for weight in layer.weights[: kinds.get(type(layer).__name__, 0)]:
            kernel = weight.numpy()
            weight.assign(kernel[tuple(slice(None, None, -1) for _ in kernel.shape[:-2])])


def parts(layer: Any) -> Iterator[Any]:
    """The layer or model and all inside it, however deep."""
    yield layer
    for name in ("layers", "layer", "forward_layer", "backward_layer"):
        inner = getattr(layer, name, None)
        for child in inner if isinstance(inner, (list, tuple)) else [inner]:
            if child is not None and child is not layer and hasattr(child, "weights"):
                yield from parts(child)


def _definitions(path: Path, library: str) -> dict[str, Any]:
    """Classes and functions of the user's Python file, by name; what it calls keras is the library."""
    if not path.is_file():
        raise InputError(f"--custom {path} does not exist")
    spec = importlib.util.spec_from_file_location("edgecnn_custom", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--custom {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        with _called_keras(library):
            spec.loader.exec_module(module)
    except Exception as e:
        raise InputError(f"--custom {path} can't be run: {type(e).__name__}: {e}") from e
    return {k: v for k, v in vars(module).items() if callable(v) and not k.startswith("_")}


@contextlib.contextmanager
def _called_keras(library: str) -> Iterator[None]:
    """Let `import keras` and `tensorflow.keras` be tf-keras, for code from the time of Keras 2.

    tf.keras stays what it was given here until the next call, since that code may use it when it runs.
    """
    tf = tensorflow()
    if library == "keras":
        tf.keras = require("keras._tf_keras.keras")
        yield
        return
    keras = tf.keras = require(library)

    def names() -> list[str]:
        return [n for n in sys.modules if re.match(r"(tensorflow\.)?keras(\.|$)", n)]

    aside = {name: sys.modules.pop(name) for name in names()}
    sys.modules["keras"] = sys.modules["tensorflow.keras"] = keras
    try:
        yield
    finally:
        for name in names():
            del sys.modules[name]
        sys.modules.update(aside)


def _under_stored_names(stored: Stored, found: Mapping[str, Any]) -> dict[str, Any]:
    """The definitions, also under 'package>Name' where the file calls them so."""
    named = dict(found)
    for config in stored.layers():
        function = config.get("config") if config["class_name"] == "function" else None
        for name in (config["class_name"], config.get("registered_name"), function):
            plain = str(name).split(">")[-1]
            if plain in found:
                named[str(name)] = found[plain]
    return named


def _known_layers(*libraries: str) -> set[str]:
    """Classes that these libraries have, or had under other names."""
    known = {*screen.MODELS, *keras1.CLASSES, *retired.NAMES, *screen.BUILT_IN, *standins.NAMES, *standins.APART}
    for name in libraries:
        try:
            keras = require(name)
        except MissingDependencyError:
            continue
        # What the calling program registered itself is code that it trusts.
        known |= {*dir(keras.layers), *keras.saving.get_custom_objects()}
        known |= {v.__name__ for v in vars(keras.layers).values() if isinstance(v, type)}
        known |= _operations(keras)
    return known


def _operations(keras: Any) -> set[str]:
    """Classes that Keras 3 gives to functions of keras.ops in a functional model."""
    if not hasattr(keras, "ops"):
        return set()
    modules = [require(f"keras.src.ops.{part}") for part in repair.OPERATIONS]
    return {name for module in modules for name, value in vars(module).items() if isinstance(value, type)}


def _title(library: str) -> str:
    return {"keras": "Keras", "tf_keras": "tf-keras"}[library]


def _hint(error: Exception) -> str:
    if isinstance(error, (EOFError, SystemError)) or "bad marshal" in str(error):
        return "; a Lambda's bytecode from another Python can't run here: say what it computes with --lambda NAME=EXPR"
    return ""
