"""TensorFlow's lookup tables as ONNX's LabelEncoder: those of lookup layers, of feature columns and of SavedModels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import tensorflow
from .tracing import frozen, nodes_of

_DOMAIN = "ai.onnx.ml"

_FIND, _SIZE = "LookupTableFindV2", "LookupTableSizeV2"
"""TensorFlow's operators."""

_KINDS = {np.dtype(np.int64): "int64", np.dtype(np.float32): "float", np.dtype(object): "string"}
"""What LabelEncoder takes and gives, and what its attributes call it."""

Tables = dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
"""Name of a table in the graph -> its keys and values, whole numbers or bytes in UTF-8."""


def take_out(concrete: Any, constant: Any, graph: Any) -> Tables:
    """Read the tables that a traced function looks values up in, and put a node of its name in the place of each.

    Text that is compared becomes a table of one word, since ONNX's Equal knows no text before operator set 19.

    Args:
        concrete: the traced function.
        constant: the same with constants for its variables.
        graph: the GraphDef of constant, which is changed.
    """
    tf = tensorflow()
    tables: Tables = {}
    nodes = {node.name: node for node in graph.node}
    handles = _handles(concrete)

    def shape(node: Any, position: int) -> Any:
        return constant.graph.get_operation_by_name(node.name).inputs[position].shape

    for node in list(graph.node):
        name = _origin(nodes, node.input[0]).name if node.op == _FIND else ""
        if name in handles:
            node.input[0] = name
            if name not in tables:
                tables[name] = _export(handles[name], node.attr["Tin"].type, node.attr["Tout"].type)
                _become_table(nodes[name], node)
            _ensure_shape(graph, node, shape(node, 1))
        elif node.op == _SIZE and (handle := handles.get(_origin(nodes, node.input[0]).name)) is not None:
            _become_constant(node, _size(handle))
        elif node.op in ("Equal", "NotEqual") and node.attr["T"].type == tf.string.as_datatype_enum:
            words = [_word(nodes, name) for name in node.input]
            if words.count(None) == 1:
                position = words.index(None)
                word = next(w for w in words if w is not None)
                tables[node.name + "/table"] = (np.array([word], object), np.array([1]))
                _compare_codes(graph, node, position, shape(node, position))
    return tables


def _handles(concrete: Any) -> dict[str, Any]:
    """Placeholder -> the table, or variable, that a traced function captures there."""
    return {placeholder.name.split(":")[0]: handle for handle, placeholder in concrete.graph.captures}


def _origin(nodes: dict[str, Any], name: str, passing: Collection[str] = ("Identity",)) -> Any:
    """The node that an input comes from, through those that pass it on."""
    node = nodes[name.split(":")[0]]
    while node.op in passing:
        node = nodes[node.input[0].split(":")[0]]
    return node


def _word(nodes: dict[str, Any], name: str) -> bytes | None:
    """The one word that a node holds; None where it is no such constant."""
    node = _origin(nodes, name)
    if node.op != "Const":
        return None
    words = tensorflow().make_ndarray(node.attr["value"].tensor).ravel()
    return bytes(words[0]) if len(words) == 1 else None


def _add(graph: Any, op: str, name: str, inputs: Sequence[str], **attributes: Any) -> Any:
    """A new node; its attributes are types, tensors and shapes."""
    tf, node = tensorflow(), graph.node.add()
    node.op, node.name = op, name
    node.input.extend(inputs)
    for key, value in attributes.items():
        if isinstance(value, tf.TensorShape):
            node.attr[key].shape.CopyFrom(value.as_proto())
        elif isinstance(value, tf.DType):
            node.attr[key].type = value.as_datatype_enum
        else:
            node.attr[key].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def _become_table(node: Any, find: Any) -> None:
    """Turn a node into a table of the types that find looks up, known by its name."""
    node.op = "HashTableV2"
    del node.input[:]
    node.attr.clear()
    node.attr["shared_name"].s = node.name.encode()
    node.attr["key_dtype"].type, node.attr["value_dtype"].type = find.attr["Tin"].type, find.attr["Tout"].type


def _become_constant(node: Any, value: npt.NDArray[Any]) -> None:
    tf = tensorflow()
    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def _ensure_shape(graph: Any, find: Any, shape: Any) -> None:
    """Say what shape is found; TensorFlow would ask the table, which is gone."""
    tf, name = tensorflow(), find.name
    find.name = name + "/find"
    _add(graph, "EnsureShape", name, [find.name], T=tf.dtypes.as_dtype(find.attr["Tout"].type), shape=shape)


def _compare_codes(graph: Any, node: Any, position: int, shape: Any) -> None:
    """Let a comparison of text compare what its table gives, 1 for the word and 0 for any other."""
    tf, name = tensorflow(), node.name
    zero, one = (
        _add(graph, "Const", f"{name}/{n}", [], dtype=tf.int64, value=np.array(n, np.int64)).name for n in (0, 1)
    )
    inputs = [name + "/table", node.input[position], zero]
    find = _add(graph, _FIND, name + "/code", inputs, Tin=tf.string, Tout=tf.int64)
    _become_table(_add(graph, "", name + "/table", []), find)
    _ensure_shape(graph, find, shape)
    del node.input[:]
    node.input.extend([name + "/code", one])
    node.attr["T"].type = tf.int64.as_datatype_enum


def keys_of_inputs(concrete: Any) -> dict[str, npt.NDArray[Any]]:
    """Placeholder of an input of a traced function -> the keys of the tables in which it is looked up as it is."""
    if not any(node.op == _FIND for node in nodes_of(concrete.graph.as_graph_def())):
        return {}  # what is frozen below takes a while
    nodes = {node.name: node for node in frozen(concrete).function.graph.as_graph_def().node}
    handles = _handles(concrete)
    found: dict[str, npt.NDArray[Any]] = {}
    for node in nodes.values():
        if node.op == _FIND and (table := _origin(nodes, node.input[0]).name) in handles:
            source = _origin(nodes, node.input[1], ("Cast", "ExpandDims", "Identity", "Reshape", "Squeeze"))
            keys, _ = _export(handles[table], node.attr["Tin"].type, node.attr["Tout"].type)
            if source.op == "Placeholder" and len(keys):
                found[source.name] = np.union1d(found.get(source.name, keys), keys)
    return found


def text_keys(concrete: Any) -> list[str]:
    """The words that a traced function looks up."""
    tf, found = tensorflow(), []
    for handle, _ in concrete.graph.captures:
        if handle.dtype == tf.resource:
            try:
                keys, _ = _export(handle, tf.string, tf.int64)
            except tf.errors.OpError:  # another table, or a variable
                continue
            found += [key.decode("utf-8", "replace") for key in keys]
    return found


def _size(handle: Any) -> npt.NDArray[Any]:
    with tensorflow().init_scope():
        return np.asarray(tensorflow().raw_ops.LookupTableSizeV2(table_handle=handle).numpy())


def _export(handle: Any, keys: Any, values: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """All that a table holds; OpError where its types are others."""
    tf = tensorflow()
    with tf.init_scope():
        # Of other types TensorFlow (2.21) ends the process where it exports, but not where it looks up.
        tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=tf.zeros([0], keys), default_value=tf.zeros([], values))
        found = tensorflow().raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=keys, Tvalues=values)
        return found[0].numpy(), found[1].numpy()


def handlers(tables: Tables) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """TensorFlow operator -> (handler, extra arguments), as tf2onnx wants them."""

    def find(ctx: Any, node: Any, name: str, args: Any) -> None:
        table, _, default = node.inputs
        if table.type == "HashTableV2" and default.is_const():
            keys, values = tables[table.get_attr_value("shared_name").decode()]
            if {keys.dtype, values.dtype} <= _KINDS.keys():
                _insert(ctx, node, keys, values, default.get_tensor_value())

    return {_FIND: (find, [])}


def _insert(ctx: Any, node: Any, keys: Any, values: Any, default: Any) -> None:
    (output,), source, name = node.output, node.input[1], node.name
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    kind = _KINDS[values.dtype]
    attributes = {
        f"keys_{_KINDS[keys.dtype]}s": keys.tolist(),
        f"values_{kind}s": values.tolist(),
        f"default_{kind}": default,
    }
    ctx.remove_node(name)
    ctx.make_node(
        "LabelEncoder", [source], name=name, outputs=[output], attr=attributes, domain=_DOMAIN,
        shapes=[shape], dtypes=[dtype],
    )  # fmt: skip
