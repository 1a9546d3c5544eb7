"""What Keras's layers and a converted graph give in float64: it tells what is rounding from what is another model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import quiet_logs, require
from ..batches import Arrays
from ..layers import library_of, parts
from ..reading.repair import in_type
from ..source import Source
from .recurrences import operators

_TYPES = {"float32": "float64", "DT_FLOAT": "DT_DOUBLE"}


def keras_in_double(source: Source, arrays: Sequence[npt.NDArray[Any]]) -> Arrays | None:
    """What the model's layers give in float64; None where they can't be built so."""
    keras = require(library_of(source.model))
    try:
        known = {type(part).__name__: type(part) for part in parts(source.model)}
        with keras.saving.custom_object_scope(known), quiet_logs("absl", "tensorflow"):
            twin = type(source.model).from_config(in_type(source.model.get_config(), _TYPES, _wide))
        twin.set_weights(source.model.get_weights())
        return dataclasses.replace(source, model=twin).eager([_wide(a) for a in arrays])
    except Exception:  # a SavedModel, a layer of the author's, one that knows float32 only
        return None


def graph_in_double(model: bytes, arrays: Sequence[npt.NDArray[Any]]) -> Arrays | None:
    """The outputs of a serialized float32 model, all of it computed in float64; None where that can't be done.

    By ONNX's own reference implementation, since onnxruntime has neither Conv nor LSTM in float64. It's slow.
    """
    onnx, reference = require("onnx"), require("onnx.reference")
    try:
        wide = onnx.load_from_string(model)
        _widen(onnx, wide.graph)
        feeds = {i.name: _wide(a) for i, a in zip(wide.graph.input, arrays, strict=True)}
        with np.errstate(all="ignore"):
            evaluator = reference.ReferenceEvaluator(wide, new_ops=operators(reference.op_run.OpRun))
            return [np.asarray(y) for y in evaluator.run(None, feeds)]
    except Exception:  # an operator that the reference doesn't have, or not in float64
        return None


def _widen(onnx: Any, graph: Any) -> None:
    """Make every float32 of a graph, and of those inside its operators, a float64."""
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t] if attribute.type == onnx.AttributeProto.TENSOR else []
            if attribute.type == onnx.AttributeProto.GRAPH:
                _widen(onnx, attribute.g)
            if (node.op_type, attribute.name, attribute.i) == ("Cast", "to", single):
                attribute.i = double
    for tensor in tensors:
        if tensor.data_type == single:
            tensor.CopyFrom(onnx.numpy_helper.from_array(_wide(onnx.numpy_helper.to_array(tensor)), tensor.name))


def _wide(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind == "f" else value
