"""Reads a Keras model file into a Source: the model, its inputs and outputs, what wrote and what loaded it.

No code from the file runs: pickles are never opened and Lambda layers are refused.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import InputError, ModelError
from edgecnn.spec import ModelSpec

from .reading import bytecode, calls, repair, replicas, screen, shapes, weights
from .reading.architecture import is_code
from .reading.expression import Expression
from .reading.generations import Opened, Wishes, open_model
from .reading.savedmodel import open_savedmodel
from .reading.stored import Stored, architecture_of, digest, read_stored
from .reading.strangers import shown
from .source import Source, Tensor, as_built, float_weights
from .stamp import read_stamp

_Signature = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""(inputs, outputs)."""


def look(path: str | os.PathLike[str], architecture: str | None) -> Stored:
    """What load() reads of a file first, without TensorFlow, refused where that already shows that it can't be loaded.

    Raises:
        ModelError: the file is missing, is no Keras model, or holds weights alone and no architecture is given.
    """
    stored = read_stored(path)
    if stored.config is None and stored.kind != "savedmodel" and architecture is None:
        raise ModelError(
            f"{shown(path)} holds weights without their architecture (saved by save_weights); give that with "
            "--architecture model.json or --architecture file.py:function, or save the whole model"
        )
    return stored


def load(
    path: str | os.PathLike[str] | Stored,
    *,
    allow_lambda: bool = False,
    lambdas: Mapping[str, str] | None = None,
    custom: str | os.PathLike[str] | None = None,
    architecture: str | None = None,
    free_batch: bool = True,
    single: bool = False,
) -> Source:
    """Read a .keras, .h5 or .hdf5 model or a SavedModel folder for inference.

    Args:
        path: the file; its first bytes decide what it is, not its name. Or what look() has read of it.
        allow_lambda: run the Python code that a Lambda layer holds. Only for files that you trust.
        lambdas: name of a Lambda layer -> expression in x that replaces it.
        custom: a Python file that defines the classes and functions which the file only names. It is run.
        architecture: for weights alone, the model.json or model.yaml saved beside them, or "file.py:function" that
            returns the model; the Python file is run.
        free_batch: make a batch that the file fixes free, where the layers allow it.
        single: compute in float32 what the file computes in float64.

    Raises:
        ModelError: the file is missing, is no Keras model, holds code, or can't be read.
        InputError: an expression can't be used.
    """
    stored = path if isinstance(path, Stored) else look(path, architecture)
    if stored.kind == "savedmodel":
        opened, inputs, outputs = open_savedmodel(stored.path)
        return _source(stored, opened, None, _of_specs(inputs, outputs, stored.path))
    stamp = read_stamp(stored.path)
    if architecture is not None and is_code(architecture):
        return _source(stored, weights.build(stored, architecture), stamp)
    told: list[str] = []
    if stored.config is None and architecture is not None:
        stored, told = weights.with_architecture(stored, Path(architecture))
    elif architecture is not None:
        told.append("the file holds its own architecture, so --architecture was not needed")
    with architecture_of(stored.path):
        stored, joined = replicas.joined(shapes.without_specs(stored))
        stored = dataclasses.replace(stored, config=repair.without_training(stored.config, code_only=True))
    expressions = _expressions(stored, lambdas or {})
    if lambdas and not screen.lambda_arguments(stored):
        told.append(f"no Lambda layer is in the file, so --lambda {', '.join(lambdas)} was not needed")
    screen.refuse_code(stored, replaced=expressions, allow_lambda=allow_lambda)
    if allow_lambda:
        bytecode.check(stored, replaced=expressions)
    with architecture_of(stored.path):
        calls.refuse_lost(stored)
    opened = open_model(stored, Wishes(expressions, allow_lambda, custom, free_batch, single))
    return _source(stored, dataclasses.replace(opened, notes=(*told, *joined, *opened.notes)), stamp)


def _expressions(stored: Stored, lambdas: Mapping[str, str]) -> dict[str, Expression]:
    """Name of a Lambda layer -> its expression; a name may be a pattern, as in block_*."""
    found: dict[str, Expression] = {}
    arguments = screen.lambda_arguments(stored)
    if not arguments:
        return {}  # of several files, one may have no Lambda
    for pattern, text in lambdas.items():
        names = [pattern] if pattern in arguments else [n for n in arguments if fnmatch.fnmatchcase(n, pattern)]
        if not names:
            raise InputError(
                f"{stored.path} has no Lambda layer {pattern!r}; its Lambda layers: {', '.join(arguments)}"
            )
        early = stored.before_tensorflow_2
        found |= {name: Expression(text, arguments[name], early=early) for name in names}
    twice = [name for name in found if name in screen.ambiguous_lambdas(stored)]
    if twice:
        raise InputError(screen.told_apart_by_none(stored, twice[0]))
    return found


def _source(stored: Stored, opened: Opened, stamp: ModelSpec | None, signature: _Signature | None = None) -> Source:
    inputs, outputs = signature or _signature(opened.model, stored.path)
    source = Source(
        path=stored.path,
        model=opened.model,
        inputs=inputs,
        outputs=outputs,
        keras_version=stored.keras_version,
        loaded_by=opened.loaded_by,
        sha256=digest(stored.path),
        stamp=stamp,
        loss=stored.loss,
        notes=(*opened.notes, *_lost(opened.model)),
        stored_batch=stored.batch,
    )
    source = _as_traced(source) if signature is None else source
    for output in source.outputs:
        if not output.shape:
            raise ModelError(
                f"{source.path} gives one number for all samples together ({output.name}), as a loss is; export the "
                "part of the model that gives something for each sample"
            )
    return source


def _lost(model: Any) -> list[str]:
    """A note where weights are no numbers, as after a training that diverged."""
    weights = float_weights(model)
    lost = [w.name for w in weights if not np.isfinite(np.asarray(w.numpy(), np.float32)).all()]
    return [f"{len(lost)} of {len(weights)} weights hold NaN or infinity, {lost[0]} first"] if lost else []


def _as_traced(source: Source) -> Source:
    """With the outputs that there are: Keras 3 (3.15) tells other shapes and types behind some of its layers.

    Among them are those with a vocabulary, attention's scores, and Bidirectional of two different layers.
    """
    try:
        traced = source.function.get_concrete_function().structured_outputs
    except Exception:  # for the conversion to tell
        return source
    if any(hasattr(spec, "ragged_rank") for spec in traced.values()):
        raise ModelError(
            f"{source.path} gives rows of different lengths (a ragged tensor), for which ONNX has no tensor; build the "
            "layer with ragged=False, or export the model that reads them"
        )
    outputs = tuple(_as_found(tensor, traced[tensor.name]) for tensor in source.outputs)
    return source if outputs == source.outputs else dataclasses.replace(source, outputs=outputs)


def _as_found(told: Tensor, found: Any) -> Tensor:
    """An output with the sizes that are known for certain, and those that were told where there are none."""
    if found.shape.rank is None:
        return told
    if found.shape.rank == 0:
        return Tensor(told.name, (), found.dtype.name)
    sizes = tuple(found.shape)[1:]
    if len(sizes) == len(told.shape) - 1:
        sizes = tuple(t if f is None else f for t, f in zip(told.shape[1:], sizes, strict=True))
    return Tensor(told.name, (told.shape[0], *sizes), found.dtype.name)


def _of_specs(inputs: list[tuple[str, Any]], outputs: list[tuple[str, Any]], path: Path) -> _Signature:
    """The tensors of a SavedModel's signature."""
    for name, spec in (*inputs, *outputs):
        if spec.shape.rank is None:
            raise ModelError(f"{path}: the shape of {name!r} is unknown")
    used: set[str] = set()
    batch = _batch([spec for _, spec in inputs], path)
    return (
        tuple(tensor_of(spec, name, used, batch) for name, spec in inputs),
        tuple(tensor_of(spec, name, used, batch) for name, spec in outputs),
    )


def _batch(inputs: Sequence[Any], path: Path) -> int | None:
    """The fixed first dimension of the inputs; None where it is free."""
    sizes = {t.shape[0] for t in inputs if len(t.shape)} - {None}
    if len(sizes) > 1:
        raise ModelError(f"{path} takes inputs of several batch sizes, {sorted(sizes)}: export parts of it")
    return int(sizes.pop()) if sizes else None


def _signature(model: Any, path: Path) -> _Signature:
    """The model's inputs and outputs under the names that the ONNX file will use."""
    if not getattr(model, "built", True) or getattr(model, "inputs", None) is None:
        raise ModelError(
            f"{path} holds a model without known inputs (never built or called); call it once on data, or give "
            "it an Input, and save it again"
        )
    used: set[str] = set()
    batch = _batch(model.inputs, path)
    names = _keys(model, "inputs") or [t.name for t in model.inputs]
    inputs = [tensor_of(t, n, used, batch) for t, n in zip(model.inputs, names, strict=True)]
    names = _keys(model, "outputs") or _output_names(model)
    outputs = [tensor_of(t, n, used, batch) for t, n in zip(model.outputs, names, strict=True)]
    return tuple(inputs), tuple(outputs)


def _keys(model: Any, what: str) -> list[str] | None:
    """The names that the author gave the inputs or outputs in a dict, by which predict() takes and gives them."""
    built, tensors = as_built(model, what), getattr(model, what)
    if not isinstance(built, Mapping):
        return None
    keys = {id(tensor): str(key) for key, tensor in built.items()}
    return [keys[id(t)] for t in tensors] if sorted(keys) == sorted(map(id, tensors)) else None


def _output_names(model: Any) -> list[str]:
    functional = getattr(model, "_functional", None) or model
    names = list(getattr(functional, "output_names", None) or [])
    if len(names) == len(model.outputs):
        return names
    return [f"output_{i}" if i else "output" for i in range(len(model.outputs))]


def tensor_of(tensor: Any, name: str, used: set[str], batch: int | None) -> Tensor:
    """A Keras tensor as a Tensor with a name that is plain ('Identity:0' becomes 'Identity') and unused."""
    name = name.split(":")[0].split("/")[-1] or "tensor"
    unique, n = name, 1
    while unique in used:
        n += 1
        unique = f"{name}_{n}"
    used.add(unique)
    sizes = tuple(tensor.shape)
    shape = (batch, *(None if d is None else int(d) for d in sizes[1:])) if sizes else ()
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return Tensor(unique, shape, dtype)
