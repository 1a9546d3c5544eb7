"""Finds the first layer whose output a graph doesn't reproduce, on the very inputs that showed a difference.

Keras runs layer by layer and every output is kept; the graph hands out all its tensors. A layer is reproduced when one
of these holds its values, in whatever order of axes. One that is not may still have been fused with the next (a
convolution with its BatchNormalization), so it counts only where nothing that follows from it is reproduced either.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import VerificationError

from ..backend import reason, require, tensorflow
from ..batches import Arrays
from ..layers import library_of
from ..source import Source
from .inference import open_session

Array = npt.NDArray[Any]

_NUMBERS = "fiu"
"""Kinds of dtypes that can be sorted and compared."""


@dataclasses.dataclass
class _Call:
    """One layer at work."""

    name: str
    takes: tuple[int, ...]
    """Identities of the tensors it was given."""
    gives: tuple[Any, ...]
    """The tensors it returned."""

    @property
    def ids(self) -> set[int]:
        return {id(t) for t in self.gives}


def first_difference(source: Source, model: Any, inputs: Sequence[Array], atol: float) -> str | None:
    """'conv2d_3 (Conv2D)', the first layer whose output model has nowhere; None where no layer shows it.

    Args:
        source: the Keras model.
        model: the onnx.ModelProto.
        inputs: one array an input; a batch that the model takes.
        atol: the tolerance, for values above 1 in proportion.
    """
    if not hasattr(source.model, "layers"):
        return None
    calls = _record(source, inputs)
    tensors = _tensors(source, model, inputs)
    if not calls or not tensors:
        return None
    found = {i: _reproduced(call, tensors, atol) for i, call in enumerate(calls)}
    for i, call in enumerate(calls):
        if found[i] is False and not any(found[j] for j in _following(calls, i)):
            return call.name
    return None


def _record(source: Source, inputs: Sequence[Array]) -> list[_Call]:
    """Every layer of the model in the order in which Keras runs them; the insides of wrappers and cells don't count."""
    tf = tensorflow()
    calls: list[_Call] = []
    inside = 0

    def wrap(original: Any) -> Any:
        def call(self: Any, *args: Any, **options: Any) -> Any:
            nonlocal inside
            holds_layers = isinstance(getattr(self, "layers", None), list)
            inside += not holds_layers
            try:
                result = original(self, *args, **options)
            finally:
                inside -= not holds_layers
            if not inside and not holds_layers:
                given = tuple(id(t) for t in tf.nest.flatten((args, options)) if tf.is_tensor(t))
                calls.append(_Call(f"{self.name} ({type(self).__name__})", given, tuple(tf.nest.flatten(result))))
            return result

        return call

    with _patched(source.model, wrap):
        source.eager(inputs)
    return calls


@contextlib.contextmanager
def _patched(model: Any, wrap: Any) -> Iterator[None]:
    """Wrap the __call__ of every layer of model's library inside the block."""
    # Layers of Keras 3 are operations as well, and keras.ops in a functional model are nothing more.
    cls = require("tf_keras").layers.Layer if library_of(model) == "tf_keras" else require("keras").Operation
    original = cls.__call__
    cls.__call__ = wrap(original)
    try:
        yield
    finally:
        cls.__call__ = original


def _tensors(source: Source, model: Any, inputs: Sequence[Array]) -> Arrays:
    """Every tensor of the graph outside its loops, in one dimension and sorted."""
    whole = type(model)()
    whole.CopyFrom(model)
    names = [name for node in whole.graph.node for name in node.output if name]
    known = {v.name for v in whole.graph.output}
    for name in names:
        if name not in known:
            whole.graph.output.add().name = name
    session = open_session(whole.SerializeToString(), optimized=False)
    try:
        found = session.run(names, {t.name: a for t, a in zip(source.inputs, inputs, strict=True)})
    except Exception as e:
        raise VerificationError(f"the graph can't be run layer by layer: {reason(e)}") from e
    numbers = [a for a in (*found, *inputs) if isinstance(a, np.ndarray) and a.dtype.kind in _NUMBERS]
    return [np.sort(a.astype(np.float64), axis=None) for a in numbers]


def _reproduced(call: _Call, tensors: Arrays, atol: float) -> bool | None:
    """Whether the graph has all outputs of a layer; None where they say nothing, being constant."""
    told = False
    for tensor in call.gives:
        value = np.asarray(tensor)
        if value.dtype.kind not in _NUMBERS or value.size == 0 or value.min() == value.max():
            continue
        told = True
        flat = np.sort(value.astype(np.float64), axis=None)
        tolerance = atol * max(1.0, float(np.abs(flat[np.isfinite(flat)]).max(initial=0.0)))
        same_size = (t for t in tensors if t.size == flat.size)
        if not any(np.allclose(t, flat, rtol=0, atol=tolerance, equal_nan=True) for t in same_size):
            return False
    return True if told else None


def _following(calls: list[_Call], start: int) -> Iterator[int]:
    """The calls that use what calls[start] gave, directly or not."""
    known = set(calls[start].ids)
    for i in range(start + 1, len(calls)):
        if known & set(calls[i].takes):
            known |= calls[i].ids
            yield i
