"""Opens a stored model with the Keras whose meaning it has: 1 and 2 with tf-keras, 3 with Keras 3.

Keras 3 can open an old file and silently compute something else (hard_sigmoid is another function there,
an input may get a dimension more), so the other library is only the fallback, and the result says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError, ModelError

from ..backend import cause, quiet_logs, reason, require, tensorflow
from ..graph.tracing import on_cpu
from ..layers import parts
from . import (
    archive,
    author,
    calls,
    cuts,
    keras1,
    keras1_weights,
    limits,
    meanings,
    merged,
    names,
    once,
    padding,
    repair,
    retired,
    screen,
    shapes,
    standins,
)
from .expression import Expression
from .refusals import needs, refusal, title
from .stored import Stored, architecture_of


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model and how it came to be."""

    model: Any
    """A keras.Model or tf_keras.Model."""
    loaded_by: str
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One way to open a file."""

    library: str
    """Module to import: tf_keras or keras."""
    changes: tuple[Callable[[Any], Any], ...]
    """Applied to the stored architecture in this order."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """How the user wants a file to be read."""

    expressions: Mapping[str, Expression]
    """By the name of the Lambda layer that each stands for."""
    allow_lambda: bool = False
    """Run the Python code of the others."""
    custom: str | os.PathLike[str] | None = None
    """A Python file that defines what the file only names."""
    free_batch: bool = True
    """Make a fixed batch free where that can be done."""
    single: bool = False
    """Compute in float32 what the file computes in float64."""


def open_model(stored: Stored, wishes: Wishes) -> Opened:
    """Open the file, with its own generation of Keras first.

    Raises:
        ModelError: it needs code that isn't there, or neither library can open it; the message is then what
            the file's own generation said.
    """
    tensorflow()
    own = "tf_keras" if stored.generation < 3 else "keras"
    with author.registrations_kept(own) if wishes.custom is not None else contextlib.nullcontext():
        return _open_model(stored, own, wishes)


def _open_model(stored: Stored, own: str, wishes: Wishes) -> Opened:
    custom = wishes.custom
    given: dict[str, Any] = {}
    told: list[str] = []
    script = None
    if custom is not None:
        script = author.Script("--custom", Path(custom), own, stored)
        given, told = names.given(stored, script.definitions(), require(own), os.fspath(custom))
    # The other library is imported only where its own one doesn't know a class.
    missing = screen.custom_classes(stored, names.known_layers(own), given)
    if missing and screen.custom_classes(stored, names.known_layers("keras", "tf_keras"), given):
        classes = f"class{'es' * (len(missing) > 1)} {', '.join(missing)}"
        raise ModelError(needs(stored, custom, classes, len(missing)))
    config, begins, lost = _architecture(stored)
    told += lost
    errors: list[tuple[str, Exception]] = []
    for attempt in _attempts(stored):
        try:
            keras = require(attempt.library)
            with limits.bounded_weights(keras, stored.path), limits.bounded_rounds(keras), once.at_work(keras, stored):
                model, notes = _open(keras, stored, config, attempt, given, wishes)
                once.renew(model)
            model = with_inputs(keras, model, config.get("build_config"))
            shapes.check_inputs(model, config)
            if begins:
                model = cuts.cut(keras, model, begins)
            limits.check_tensors(parts(model))
        except Exception as e:
            if (of_user := cause(e, InputError)) is not None:
                raise of_user from e
            errors.append((title(attempt.library), e))
            continue
        if attempt.library != own:
            why = next(reason(e) for library, e in errors if library == title(own))
            notes.append(
                f"written by Keras {stored.keras_version or '1'} but opened by {title(attempt.library)}, since "
                f"{title(own)} said: {why}; its inputs have the shapes that the file stores, and what the two "
                "compute differently was mapped, but its own Keras could not confirm the outputs"
            )
        version = f"{title(attempt.library)} {keras.__version__}"
        return Opened(model, version, (*told, *notes))
    raise refusal(stored, errors, own, given, custom, script) from errors[0][1]


def _architecture(stored: Stored) -> tuple[Any, Any, list[str]]:
    """(the architecture with what its writer left out, where a part of it begins, notes on what was left out)."""
    notes: list[str] = []
    with architecture_of(stored.path):
        config, lost = shapes.complete(stored)
        notes += lost
        for restore in (calls.restore, padding.restore):
            config, lost = restore(stored, config)
            notes += lost
        config, begins = cuts.whole(stored, config)
    return config, begins, notes


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
            repair.with_current_arguments,
        )
        if stored.kind == "hdf5" and repair.has_several_axes(stored.config):
            yield _Attempt("keras", (*first, repair.with_modules))
        yield _Attempt("keras", first)
        if any(layer["class_name"] == "LayerNormalization" for layer in stored.layers()):
            yield _Attempt("keras", (*first, repair.with_rms_scaling))
        yield _Attempt("keras", (*first, repair.without_training))
        yield _Attempt("keras", (*first, repair.with_modules))
        yield _Attempt("tf_keras", (repair.for_keras_2,))
        yield _Attempt("tf_keras", (repair.for_keras_2, repair.without_training))


def _open(
    keras: Any, stored: Stored, config: Any, attempt: _Attempt, given: Mapping[str, Any], wishes: Wishes
) -> tuple[Any, list[str]]:
    """The model as inference wants it, with a free batch where that is asked for and works."""
    for change in attempt.changes:
        config = change(config)
    if attempt.library == "tf_keras":
        config = repair.with_named_functions(config)
    config = repair.with_tensorflow_functions(config, given)
    as_then = {name: layer for name, layer in meanings.layers(keras, stored).items() if layer.__name__ not in given}
    config = meanings.named(standins.replace(keras, config, wishes.expressions), as_then)
    objects = {
        **standins.layers(keras),
        **standins.activations(wishes.expressions),
        **as_then,
        **repair.functions(keras, attempt.library),
        **given,
    }
    if stored.generation < 3 and attempt.library == "tf_keras":
        objects = {**retired.layers(keras), **objects}
    for free in (True, False) if wishes.free_batch else (False,):
        mended, notes = repair.for_inference(config, free_batch=free, single=wishes.single)
        if mended != config:
            with contextlib.suppress(Exception):
                return _load(keras, stored, mended, objects, wishes.allow_lambda), notes
    return _load(keras, stored, config, objects, wishes.allow_lambda), []


@on_cpu()
def with_inputs(keras: Any, model: Any, built: Any) -> Any:
    """The model, or one around it where it is of a class of its author's: that has no inputs before it is called.

    Args:
        keras: the Keras of the model.
        model: the model.
        built: what it was built with by the first data that it was called on; an archive stores that.
    """
    shape = built.get("input_shape") if isinstance(built, Mapping) else None
    if getattr(model, "inputs", None) is not None or not isinstance(shape, (list, tuple)):
        return model
    if not shape or not all(n is None or isinstance(n, int) for n in shape):
        return model
    given = keras.Input(shape[1:])
    return keras.Model(given, model(given))


@on_cpu()
def _load(keras: Any, stored: Stored, config: Any, objects: Mapping[str, Any], allow_lambda: bool) -> Any:
    if stored.generation == 1 and keras.__name__ == "tf_keras":
        with quiet_logs("absl", "tensorflow"), keras.saving.custom_object_scope(dict(objects)):
            model = keras.layers.deserialize(config)
            keras1_weights.assign(model, stored.path, backend=stored.backend)
        return model
    options = {"custom_objects": dict(objects), "safe_mode": not allow_lambda}
    if stored.kind == "hdf5" and ("module" in config or archive.is_tree(stored.path)):
        with quiet_logs("absl", "tensorflow"), keras.saving.custom_object_scope(dict(objects)):
            if "module" in config:
                model = keras.saving.deserialize_keras_object(config, **options)
            else:
                model = keras.layers.deserialize(config)
            archive.load_weights(model, stored.path)
        return model
    with quiet_logs("absl", "tensorflow"), repair.with_config(stored, config) as path:
        if stored.kind == "keras" and keras.__name__ == "tf_keras":
            return archive.load(keras, path, config, objects, safe_mode=not allow_lambda)
        if stored.kind == "hdf5" and merged.begins_with_merge(stored.config):
            model = keras.layers.deserialize(config, custom_objects=dict(objects))
            merged.load_weights(model, path)
        else:
            model = keras.models.load_model(path, compile=False, **options)
    if stored.backend == "theano":
        flip_kernels(model)
    return model


def flip_kernels(model: Any) -> None:
    """Turn Theano's convolution kernels, which it applies mirrored, into correlation kernels.

    Keras up to 2.3 did so on loading (keras.utils.conv_utils.convert_kernel); its successors forgot it.
    """
    kinds = {"Conv1D": 1, "Conv2D": 1, "Conv3D": 1, "Conv2DTranspose": 1, "ConvLSTM2D": 2}
    for layer in {id(part): part for part in parts(model)}.values():
        for weight in layer.weights[: kinds.get(type(layer).__name__, 0)]:
            kernel = weight.numpy()
            weight.assign(kernel[tuple(slice(None, None, -1) for _ in kernel.shape[:-2])])
