"""Cleans a converted graph: nothing of the training, nothing that does nothing.

Only steps that leave every output bit as it was are taken; everything that reorders arithmetic is
left to onnxruntime, which does it for the machine that it runs on.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from edgecnn import __version__

from .backend import require


def optimize(model: Any) -> Any:
    """A cleaned copy of an onnx.ModelProto: same inputs, outputs and values.

    Identity, inference-mode Dropout, + 0 and * 1 are dropped, then initializers and operator sets that
    nothing uses; equal initializers are stored once.
    """
    onnx = require("onnx")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if not _has_subgraphs(graph):
        _drop_idle_nodes(onnx, graph)
        _share_initializers(graph)
        _shorten_names(graph)
    _drop_unused(graph)
    del graph.value_info[:]
    graph.name = "edgecnn"
    graph.doc_string = ""
    result.doc_string = ""
    result.producer_name, result.producer_version = "edgecnn", __version__
    domains = {node.domain or "" for node in graph.node} | {""}
    kept = [o for o in result.opset_import if (o.domain or "") in domains]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    for node in graph.node:
        node.doc_string = ""
    return result


def count_nodes(model: Any) -> dict[str, int]:
    """Operator -> number of nodes, most frequent first."""
    return dict(collections.Counter(n.op_type for n in model.graph.node).most_common())


def _drop_idle_nodes(onnx: Any, graph: Any) -> None:
    constants = {t.name: t for t in graph.initializer}
    outputs = {v.name for v in graph.output}
    replaced: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in replaced:
                node.input[i] = replaced[name]
        through = _passes_through(onnx, node, constants)
        # A node that makes a graph output carries its name, so it stays.
        if through is not None and node.output[0] not in outputs:
            replaced[node.output[0]] = through
        else:
            kept.append(node)
    copies = [type(n).FromString(n.SerializeToString()) for n in kept]
    del graph.node[:]
    graph.node.extend(copies)


def _has_subgraphs(graph: Any) -> bool:
    """Loop, If and Scan bodies may read any outer tensor, so their graphs keep every node and its name."""
    return any(True for node in graph.node for _ in _bodies(node))


def _bodies(node: Any) -> Iterator[Any]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        yield from [attribute.g] if attribute.HasField("g") else []
        yield from attribute.graphs


def _passes_through(onnx: Any, node: Any, constants: dict[str, Any]) -> str | None:
    """The input that the node hands on unchanged, or None."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Identity":
        return str(node.input[0])
    if node.op_type == "Dropout" and len(node.input) < 3 and len(node.output) == 1:
        return str(node.input[0])
    neutral = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}.get(node.op_type)
    if neutral is None:
        return None
    for position in (1, 0) if node.op_type in ("Add", "Mul") else (1,):
        constant = constants.get(node.input[position])
        # A scalar of rank 0 can't broadcast the other operand to another shape.
        if constant is not None and len(constant.dims) == 0:
            value = onnx.numpy_helper.to_array(constant)
            if value == neutral:
                return str(node.input[1 - position])
    return None


def _share_initializers(graph: Any) -> None:
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.data_location or not tensor.raw_data:
            continue
        key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        same[tensor.name] = first.setdefault(key, tensor.name)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)


def _read(graph: Any) -> Iterator[str]:
    """Names of the tensors that a graph, or one inside its nodes, takes or gives out."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in _bodies(node):
            yield from _read(inner)


def _drop_unused(graph: Any) -> None:
    used = set(_read(graph))
    kept = [type(t).FromString(t.SerializeToString()) for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _shorten_names(graph: Any) -> None:
    """Drop what all nodes' names begin with (the model's own name) and TensorFlow's ':0'; layers stay named."""
    fixed = {v.name for v in (*graph.input, *graph.output)}
    first = {n.name.split("/")[0] for n in graph.node if "/" in n.name}
    prefix = first.pop() + "/" if len(first) == 1 else ""
    tensors = {t.name for t in graph.initializer} | {name for n in graph.node for name in n.output if name}
    short: dict[str, str] = {}
    taken = set(fixed)
    for name in sorted(tensors - fixed):
        wanted = name.removeprefix(prefix).removesuffix(":0")
        short[name] = wanted if wanted and wanted not in taken and wanted not in tensors else name
        taken.add(short[name])
    for tensor in graph.initializer:
        tensor.name = short.get(tensor.name, tensor.name)
    for node in graph.node:
        node.name = node.name.removeprefix(prefix)
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = short.get(name, name)
