"""TensorFlow's frozen graph -> ONNX's, by the steps of tf2onnx, with every weight in memory once.

tf2onnx's own way copies the whole graph for each of its optimizers and again inside TensorFlow: some 60 times the
size of the weights, and seconds for each 10 MB. Here its steps are taken one by one, and the weights stay in place.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from ..backend import require, tensorflow
from .tracing import put_back


def translate(
    graph: Any,
    large: dict[str, bytes],
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    *,
    handlers: Mapping[str, Any],
    opset: int,
) -> Any:
    """An onnx.ModelProto that computes what a graph of TensorFlow does.

    Args:
        graph: the GraphDef of a function that tracing.frozen froze.
        large: name of a stand-in in it -> the content of its constant.
        inputs: tensor of the graph -> its name in the model.
        outputs: the same for the outputs.
        handlers: operator -> what translates it, beside tf2onnx's own.
        opset: the ONNX operator set to write.
    """
    tf = tensorflow()
    loader, steps = require("tf2onnx.tf_loader"), require("tf2onnx.tfonnx")
    with _mended(), tf.device("/cpu:0"):
        with tf.Graph().as_default():
            graph = loader.tf_optimize(list(inputs), list(outputs), graph)
        put_back(graph, large)
        with tf.Graph().as_default() as imported:
            tf.import_graph_def(graph, name="")
            translated = steps.process_tf_graph(
                imported,
                continue_on_error=True,
                opset=opset,
                custom_op_handlers=dict(handlers),
                input_names=list(inputs),
                output_names=list(outputs),
                tensors_to_rename={**inputs, **outputs},
                const_node_values=large,
            )
        return _optimized(translated).make_model("edgecnn")


def _optimized(graph: Any) -> Any:
    """tf2onnx's optimizers over its graph, each on a copy, so that one that fails leaves none of its work."""
    optimizer = require("tf2onnx.optimizer")
    changed = True
    iteration = 0
    while changed:
        changed = False
        for make in optimizer._get_optimizers().values():
            step = make()
            # What fails is left out, as tf2onnx itself does: verification tells whether the graph is right.
            with contextlib.suppress(Exception):
                graph = step.optimize(_copied(graph), iteration)
                changed = changed or step.graph_been_opt
        iteration += 1
    return graph


def _copied(graph: Any) -> Any:
    """A copy of tf2onnx's graph that shares the attributes, weights among them: steps replace, never change them."""
    shared: dict[int, Any] = {}
    graphs = [graph]
    while graphs:
        for node in graphs.pop().get_nodes():
            shared |= {id(attribute): attribute for attribute in node.attr.values()}
            graphs += (node.get_body_graphs() or {}).values()
    return copy.deepcopy(graph, shared)


@contextlib.contextmanager
def _mended() -> Iterator[None]:
    """Take other steps than tf2onnx 1.17 where its own are wrong or slow."""
    node, steps = require("tf2onnx.graph").Node, require("tf2onnx.tfonnx")
    einsum = require("tf2onnx.optimizer.einsum_optimizer")
    update_proto = node.update_proto

    def without_constants(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.is_const():
            del self.op.attribute[:]
        else:
            update_proto(self, *args, **kwargs)

    transposes = require("tf2onnx.optimizer.transpose_optimizer").TransposeOptimizer
    mul_handler = transposes._mul_handler

    def shaped(self: Any, transpose: Any, node: Any) -> bool:
        moved = mul_handler(self, transpose, node)
        if moved and node.input[0] == node.input[1]:
            self._g.copy_shape(node.input[0], node.output[0])
        return bool(moved)

    better = [
        # A constant's value is copied into a node that nobody reads; it becomes an initializer.
        (node, "update_proto", without_constants),
        # Every order of an einsum's letters is tried: 17 s for seven of them, and the graph is no faster for it.
        (einsum, "optimize_einsum", functools.partial(einsum.optimize_einsum, optimize=False)),
        # A square that a transpose is moved behind keeps the shape from before.
        (transposes, "_mul_handler", shaped),
        # tf.eye loses its batch.
        (steps, "rewrite_eye", lambda graph, nodes: nodes),
    ]
    with contextlib.ExitStack() as replaced:
        for place, name, step in better:
            replaced.callback(setattr, place, name, getattr(place, name))
            setattr(place, name, step)
        yield
