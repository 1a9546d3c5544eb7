"""Keras -> ONNX through TensorFlow's graph and tf2onnx, with an explicit signature, in inference mode."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import Any

from edgecnn.errors import ModelError

from .backend import quiet_logs, reason, require
from .graph import lookup, text
from .graph.mend import mend
from .graph.operators import handlers
from .graph.recurrent import MARK, Registry, marked
from .graph.tracing import frozen, nodes_of
from .graph.translate import translate
from .layers import parts
from .source import Source, Tensor

DEFAULT_OPSET = 18
"""ONNX operator set that is written; onnxruntime reads it since 1.14."""

OPSETS = range(13, 19)
"""What can be written: int8 weights per channel need 13, tf2onnx 1.17 ends at 18."""

BATCH = "batch"
"""Name of dimension 0 of every input and output, save where the model's layers fix it."""


def convert(source: Source, *, opset: int = DEFAULT_OPSET, recurrent: bool = True) -> Any:
    """Translate a loaded Keras model.

    Args:
        source: the model.
        opset: the ONNX operator set to write; with operators on text it is at least text.OPSET.
        recurrent: write LSTM, GRU and SimpleRNN layers as ONNX operators rather than as loops, where they fit.

    Returns:
        An onnx.ModelProto whose inputs and outputs have the names, types and shapes of source.inputs and
        source.outputs; dimension 0 is called "batch" where it is free.

    Raises:
        ModelError: TensorFlow can't trace the model or tf2onnx can't translate it; the message names the
            operators concerned.
    """
    layers: Registry = {}
    try:
        # What tf2onnx tells of as an error is told again below, in a sentence.
        quiet = quiet_logs("tf2onnx", below=logging.CRITICAL)
        with quiet, quiet_logs("absl", "tensorflow", "root"):
            recurrent_layers = marked(source.model) if recurrent else contextlib.nullcontext({})
            with recurrent_layers as layers:
                graph, large, inputs, outputs, tables = _freeze(source, source.trace())
            model = translate(
                graph, large, inputs, outputs, handlers=handlers(layers) | lookup.handlers(tables), opset=opset
            )
    except ModelError:
        raise
    except Exception as e:
        if recurrent and layers:
            return convert(source, opset=opset, recurrent=False)
        raise ModelError(f"{source.path} can't be converted: {reason(e)}") from e
    text.write_out(model)
    _check(model, source)
    mend(model)
    _restore_names(model, source)
    _name_dimensions(model, source)
    return model


def opset_of(model: Any) -> int:
    """The ONNX operator set that a model is written in."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=DEFAULT_OPSET)


def _freeze(
    source: Source, function: Any
) -> tuple[Any, dict[str, bytes], dict[str, str], dict[str, str], lookup.Tables]:
    """(GraphDef without variables, its large constants, inputs -> their final names, outputs likewise, its tables).

    tf2onnx's own freezing takes captured tensors for inputs: a Normalization layer's mean and variance are
    such. Here they become constants, as variables do.
    """
    concrete = function.get_concrete_function()
    constant, large = frozen(concrete)
    graph = constant.graph.as_graph_def(add_shapes=True)
    # Keras compiles grouped convolutions with XLA; without the mark they are inlined like any function.
    for node in nodes_of(graph):
        node.attr.pop("_XlaMustCompile", None)
    for function in graph.library.function:
        if function.attr.pop("_XlaMustCompile", None) is not None:
            function.attr.pop("_noinline", None)
            if MARK in function.signature.name:
                function.attr["_noinline"].b = True
    tables = lookup.take_out(concrete, constant, graph)
    tensors = [t for t in constant.inputs if t.name.split(":")[0] not in tables]
    if any(t.dtype.name == "resource" for t in tensors):
        holders = [p for p in parts(source.model) if hasattr(p, "lookup_table") or type(p).__name__ == "DenseFeatures"]
        names = ", ".join(f"{p.name} ({type(p).__name__})" for p in holders)
        where = f" (in the layer {names})" if names else ""
        raise ModelError(
            f"{source.path} looks values up in a table{where} in a way for which ONNX has no operator; export the part "
            "of the model behind it, and look up before"
        )
    inputs = {t.name: s.name for t, s in zip(tensors, source.inputs, strict=True)}
    # A flat dict of outputs comes back in the order of its sorted keys.
    names = sorted(t.name for t in source.outputs)
    outputs = {t.name: n for t, n in zip(constant.outputs, names, strict=True)}
    return graph, large, inputs, outputs, tables


def _check(model: Any, source: Source) -> None:
    """Refuse operators that tf2onnx can't translate and leaves under TensorFlow's name."""
    onnx = require("onnx")
    version = opset_of(model)
    unknown = []
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, version):
            unknown.append(f"{node.op_type} ({_layer_of(node.name, source) or node.name})")
    if unknown:
        raise ModelError(
            f"{source.path} uses operators that ONNX opset {version} doesn't have: {', '.join(unknown[:5])}"
            + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
            + "; it draws random numbers, as Keras's export() of a model does with the augmentation inside: save it as "
            ".keras, where that is off" * any("StatelessRandom" in name for name in unknown)
        )


def _layer_of(node: str, source: Source) -> str | None:
    """'in the layer odd (Odd)', by the scopes in a node's name, which TensorFlow may have numbered; or None."""
    layers = {str(part.name): part for part in parts(source.model) if hasattr(part, "name")}
    for scope in reversed(node.split("/")[:-1]):
        for name in (scope, re.sub(r"_\d+$", "", scope)):
            if name in layers and layers[name] is not source.model:
                return f"in the layer {name} ({type(layers[name]).__name__})"
    return None


def _restore_names(model: Any, source: Source) -> None:
    """Give inputs and outputs the promised names, in the promised order, whatever tf2onnx called them."""
    graph = model.graph
    for values, wanted, what in (
        (graph.input, source.inputs, "inputs"),
        (graph.output, source.outputs, "outputs"),
    ):
        if len(values) != len(wanted):
            names = [v.name for v in values]
            raise ModelError(
                f"{source.path} has {len(wanted)} {what}, the converted graph {len(values)} ({', '.join(names)})"
            )
        by_name = {v.name.split(":")[0]: v for v in values}
        if set(by_name) != {t.name for t in wanted}:
            got, expected = sorted(by_name), sorted(t.name for t in wanted)
            raise ModelError(f"{source.path}: the converted graph's {what} are {got}, expected {expected}")
        ordered = [type(v).FromString(v.SerializeToString()) for v in (by_name[t.name] for t in wanted)]
        renamed = {v.name: t.name for v, t in zip(ordered, wanted, strict=True) if v.name != t.name}
        del values[:]
        values.extend(ordered)
        for value in values:
            value.name = renamed.get(value.name, value.name)
        for node in graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name in renamed:
                        names[i] = renamed[name]


def _name_dimensions(model: Any, source: Source) -> None:
    """Write source's shapes into the graph's inputs and outputs."""
    for values, tensors in ((model.graph.input, source.inputs), (model.graph.output, source.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            _set_shape(value, tensor)


def _set_shape(value: Any, tensor: Tensor) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for axis, size in enumerate(tensor.shape):
        dim = shape.dim.add()
        if size is not None:
            dim.dim_value = size
        else:
            dim.dim_param = f"{tensor.name}_{axis}" if axis else BATCH
