"""Layer calls of Keras in a form that traces into a small, right graph, put in place while tracing only.

Keras's own eager call stays the reference: verification compares the traced function with it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

from ..backend import numbers, require, tensorflow

LARGE = 1 << 16
"""Bytes from which a constant is set aside, see Frozen."""


@contextlib.contextmanager
def traceable() -> Iterator[None]:
    """Replace the calls below inside the block."""
    keras = require("keras")
    better = [
        (keras.layers.TimeDistributed, "call", _time_distributed),
        (keras.layers.UpSampling2D, "call", _up_sampling),
    ]
    with contextlib.ExitStack() as replaced, on_cpu():
        for cls, method, of in better:
            original = getattr(cls, method)
            replaced.callback(setattr, cls, method, original)
            setattr(cls, method, of(original))
        yield


@contextlib.contextmanager
def as_predicted(keras_version: str | None) -> Iterator[None]:
    """Let Keras 3 compute inside the block what the predict() of the Keras that wrote a file does.

    Called eagerly, the layers that prepare data keep whole numbers whole. And since 3.10 a sum takes for the bias of
    channels last whatever is as long as the last axis, even where its own shape is (1, channels, 1, 1); in predict()
    that spares the convolutions of one and two dimensions, whose shape is unknown there.
    """
    if "keras" not in sys.modules:
        yield
        return
    utils = require("keras.src.utils.backend_utils")
    arrays = require("keras.src.backend.tensorflow.numpy")
    bases = ("base_conv", "base_depthwise_conv", "base_separable_conv")
    found = [getattr(require(f"keras.src.layers.convolutional.{b}"), b.title().replace("_", "")) for b in bases]
    sums = _Sums(arrays.add, plain=numbers(keras_version) < (3, 10))
    changed = [(utils, "in_tf_graph", lambda: True), (arrays, "add", sums.add)]
    changed += [(cls, "call", sums.within(cls.call)) for cls in (*found, require("keras").layers.Conv1D)]
    with contextlib.ExitStack() as replaced:
        for owner, name, value in changed:
            replaced.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


class _Sums:
    """Keras 3's sum of two tensors, which broadcasts plainly where it is told to."""

    def __init__(self, original: Any, *, plain: bool) -> None:
        self._original, self._plain = original, plain

    def add(self, x1: Any, x2: Any) -> Any:
        shape = getattr(x2, "shape", ())
        if not self._plain or len(shape) < 2 or shape[-1] != 1:
            return self._original(x1, x2)
        keras = require("keras")
        dtype = keras.backend.result_type(getattr(x1, "dtype", type(x1)), x2.dtype)
        return tensorflow().add(*(keras.ops.convert_to_tensor(x, dtype) for x in (x1, x2)))

    def within(self, call: Any) -> Any:
        """The call of a convolution, which sums plainly save in three dimensions."""

        def calling(layer: Any, inputs: Any) -> Any:
            before, self._plain = self._plain, self._plain or layer.rank < 3
            try:
                return call(layer, inputs)
            finally:
                self._plain = before

        return calling


@contextlib.contextmanager
def on_cpu() -> Iterator[None]:
    """Let the LSTM and GRU of tf-keras trace only what a CPU runs.

    Beside it they trace a twin for cuDNN, and the gradients of both: 0.4 s a layer, each time.
    """
    with contextlib.ExitStack() as replaced:
        for kind in ("lstm", "gru") if sys.modules.get("tf_keras") else ():
            module, name = require(f"tf_keras.src.layers.rnn.{kind}"), f"{kind}_with_backend_selection"
            replaced.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, getattr(module, f"standard_{kind}"))
        yield


def _time_distributed(original: Any) -> Any:
    """TimeDistributed by folding time into the batch.

    With a free time dimension Keras 3 (3.15) traces a map over the batch instead, and the output has as
    many steps as the batch has samples.
    """
    tf = tensorflow()

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None and self.layer._call_has_mask_arg:
            return original(self, inputs, training=training, mask=mask)
        options = {"training": training} if self.layer._call_has_training_arg else {}
        rest = list(inputs.shape[2:])
        if None in rest:
            return original(self, inputs, training=training, mask=mask)
        folded = self.layer.call(tf.reshape(inputs, [-1, *rest]), **options)
        steps = inputs.shape[1] if inputs.shape[1] is not None else tf.shape(inputs)[1]
        return tf.reshape(
            folded,
            [-1, steps, *tf.unstack(tf.shape(folded))[1:]]
            if None in folded.shape[1:]
            else [-1, steps, *folded.shape[1:]],
        )

    return call


def _up_sampling(original: Any) -> Any:
    """UpSampling2D that interpolates, at a free height or width, which Keras 3 (3.15) multiplies as a Python number."""
    tf = tensorflow()

    def call(self: Any, inputs: Any) -> Any:
        if self.interpolation == "nearest" or self.data_format != "channels_last" or None not in inputs.shape[1:3]:
            return original(self, inputs)
        return tf.image.resize(inputs, tf.shape(inputs)[1:3] * self.size, method=self.interpolation)

    return call


class Frozen(NamedTuple):
    """A traced function without variables and without calls of others."""

    function: Any
    """With constants for its variables; the large ones are stand-ins, since TensorFlow would copy their content a
    dozen times from here on."""
    large: dict[str, bytes]
    """Name of a stand-in -> the content of its constant."""


def frozen(concrete: Any) -> Frozen:
    """Make constants of a traced function's variables.

    What it does to its variables is left out: an exported LSTM with dropout counts random numbers, even where it
    draws none.
    """
    module = require("tensorflow.python.framework.convert_to_constants")
    data = module._FunctionConverterDataInEager(func=concrete, lower_control_flow=False, aggressive_inlining=True)
    graph, places = module._replace_variables_by_constants(converter_data=data)
    gone = {f"^{node.name}" for node in graph.node if node.op.startswith("Assign")}
    for node in graph.node if gone else ():
        node.input[:] = [given for given in node.input if given not in gone]
    _keep(graph, lambda node: f"^{node.name}" not in gone)
    large = _set_aside(graph, {t.op.name for t in concrete.outputs})
    return Frozen(module._construct_concrete_function(concrete, graph, places), large)


def _set_aside(graph: Any, outputs: Container[str]) -> dict[str, bytes]:
    """Put a stand-in in the place of each large constant of a GraphDef, and of what reads it; name -> content."""
    inside = {node.name for function in graph.library.function for node in function.node_def}
    tensors = {n.name: n.attr["value"].tensor for n in graph.node if n.op == "Const" and n.name not in inside}
    contents = {name: t.tensor_content for name, t in tensors.items() if len(t.tensor_content) >= LARGE}
    large, standins = {}, []
    for node in graph.node:
        origin, control = (node.input[0], node.input[1:]) if node.op == "Identity" else (node.name, node.input)
        if origin in contents and node.name not in inside:
            large[node.name] = contents[origin]
            standins.append((node, _standin(node.name, tensors[origin], control)))
    for node, standin in standins:
        node.CopyFrom(standin)
    used = {name.strip("^").split(":")[0] for node in graph.node for name in node.input}
    _keep(graph, lambda node: node.name not in contents or node.name in used or node.name in outputs)
    return large


def _standin(name: str, tensor: Any, control: Sequence[str]) -> Any:
    """A node of a constant's shape and type that is none, so that nobody evaluates it."""
    node = tensorflow().compat.v1.NodeDef(name=name, op="ImmutableConst", input=control)
    node.attr["dtype"].type = tensor.dtype
    node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
    node.attr["memory_region_name"].s = b""
    return node


def put_back(graph: Any, large: Container[str]) -> None:
    """Make constants of the stand-ins, still without their content, which tf2onnx takes from elsewhere."""
    for node in graph.node:
        if node.name in large:
            tensor = node.attr["value"].tensor
            tensor.dtype = node.attr["dtype"].type
            tensor.tensor_shape.CopyFrom(node.attr["shape"].shape)
            node.op = "Const"
            for name in ("shape", "memory_region_name"):
                del node.attr[name]


def _keep(graph: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [node for node in graph.node if wanted(node)]
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)


def nodes_of(graph: Any) -> list[Any]:
    """All nodes of a TensorFlow GraphDef, those of its functions among them."""
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
