"""Layer calls of Keras in a form that traces into a small, right graph, put in place while tracing only.

Keras's own eager call stays the reference: verification compares the traced function with it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from .backend import require, tensorflow


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


def frozen(concrete: Any) -> Any:
    """A traced function with constants for its variables and without calls of others.

    What it does to its variables is left out: an exported LSTM with dropout counts random numbers, even where it
    draws none.
    """
    module = require("tensorflow.python.framework.convert_to_constants")
    options = {"lower_control_flow": False, "aggressive_inlining": True}
    if not any(node.op.startswith("Assign") for node in nodes_of(concrete.graph.as_graph_def())):
        return module.convert_variables_to_constants_v2(concrete, **options)
    data = module._FunctionConverterDataInEager(func=concrete, **options)
    graph, places = module._replace_variables_by_constants(converter_data=data)
    kept = [node for node in graph.node if not node.op.startswith("Assign")]
    gone = {f"^{node.name}" for node in graph.node} - {f"^{node.name}" for node in kept}
    for node in kept:
        node.input[:] = [given for given in node.input if given not in gone]
    del graph.node[:]
    graph.node.extend(kept)
    return module._construct_concrete_function(concrete, graph, places)


def nodes_of(graph: Any) -> list[Any]:
    """All nodes of a TensorFlow GraphDef, those of its functions among them."""
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
