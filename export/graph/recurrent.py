"""LSTM, GRU and SimpleRNN layers as the ONNX operators of the same names, where these compute the same.

While the model is traced, each such layer calls a marked TensorFlow function instead of its loop; tf2onnx
hands the mark to `insert`, which puts the operator there. Masked steps are moved behind the others and cut off
by ONNX's sequence_lens. Other activations and cells of one's own keep their loop. Gate orders: Keras i f c o
and z r h; ONNX i o f c and z r h (onnx/docs/Operators.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..backend import require, tensorflow
from ..layers import library_of, parts
from .steps import INT32

MARK = "edgecnn_recurrent_"
"""Beginning of a marked function's name."""

OPERATORS = ("LSTM", "GRU", "RNN")
"""What may stand for a layer."""

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A layer in ONNX's terms."""

    operator: str
    """LSTM, GRU or RNN."""
    units: int
    weights: tuple[Array, Array, Array]
    """W (1, gates * units, inputs), R (1, gates * units, units), B (1, 2 * gates * units)."""
    attributes: dict[str, Any]
    sequences: bool
    """Whether all steps are wanted, rather than the last."""
    packs: bool
    """Whether the mark's one output is [all steps, if wanted; hidden state; cell state] along the time axis.

    One output, since TensorFlow drops those of a function that nothing uses, and with them their order.
    """
    masked: bool = False
    """Whether the mark's last input is the number of steps of each sample."""

    @property
    def states(self) -> int:
        """1, or 2 for an LSTM: hidden and cell state."""
        return 2 if self.operator == "LSTM" else 1


Registry = dict[str, _Cell]
"""Mark -> cell."""


@contextlib.contextmanager
def marked(model: Any) -> Iterator[Registry]:
    """Let the recurrent layers of model trace as marks inside the block.

    Yields:
        What the marks stand for.
    """
    cells = {id(p): cell for p in parts(model) if (cell := _describe(p)) is not None}
    registry: Registry = {}
    patched: list[tuple[type, str, Any]] = []
    try:
        if cells:
            for cls, name, wrap in _targets(model):
                patched.append((cls, name, cls.__dict__.get(name)))
                setattr(cls, name, wrap(getattr(cls, name), cells, registry))
        yield registry
    finally:
        for cls, name, original in reversed(patched):
            if original is None:
                delattr(cls, name)
            else:
                setattr(cls, name, original)


def insert(ctx: Any, node: Any, name: str, registry: Registry) -> None:
    """For tf2onnx's PartitionedCall: put the operator in place of a mark, leave other calls alone."""
    match = re.search(MARK + r"\d+", str(node.get_attr_value("f")))
    if match is None or match[0] not in registry:
        return
    cell = registry[match[0]]
    (output,), inputs = node.output, list(node.input)
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(name)

    def make(operator: str, inputs: list[str], suffix: str, **options: Any) -> Any:
        return ctx.make_node(operator, inputs, name=f"{name}_{suffix}", **options)

    def constant(suffix: str, value: Any) -> str:
        return str(ctx.make_const(f"{name}_{suffix}", value).output[0])

    axis0, axis1 = constant("axis0", np.array([0], np.int64)), constant("axis1", np.array([1], np.int64))
    steps = make("Transpose", [inputs[0]], "steps", attr={"perm": [1, 0, 2]}).output[0]
    lengths = make("Cast", [inputs.pop()], "lengths", attr={"to": INT32}).output[0] if cell.masked else ""
    states = [make("Unsqueeze", [s, axis0], f"state{i}").output[0] for i, s in enumerate(inputs[1:])]
    weights = [constant(w, a) for w, a in zip("WRB", cell.weights, strict=True)]
    run = make(
        cell.operator, [steps, *weights, lengths, *states], cell.operator, output_count=1 + cell.states,
        attr={**cell.attributes, "hidden_size": cell.units},
    )  # fmt: skip
    options = {"name": name, "outputs": [output], "shapes": [shape], "dtypes": [dtype]}
    if not cell.packs and not cell.sequences:
        ctx.make_node("Squeeze", [run.output[1], axis0], **options)
        return
    one_direction = make("Squeeze", [run.output[0], axis1], "all").output[0]
    if not cell.packs:
        ctx.make_node("Transpose", [one_direction], attr={"perm": [1, 0, 2]}, **options)
        return
    pieces = [
        make("Transpose", [s], f"last{i}", attr={"perm": [1, 0, 2]}).output[0] for i, s in enumerate(run.output[1:])
    ]
    if cell.sequences:
        pieces.insert(0, make("Transpose", [one_direction], "batch", attr={"perm": [1, 0, 2]}).output[0])
    ctx.make_node("Concat", pieces, attr={"axis": 1}, **options)


def _describe(layer: Any) -> _Cell | None:
    """The layer in ONNX's terms; None where it is no plain LSTM, GRU or SimpleRNN."""
    kind = type(layer).__name__
    if (
        kind not in ("LSTM", "GRU", "SimpleRNN")
        or not hasattr(getattr(layer, "cell", None), "kernel")
        or layer.stateful
        or getattr(layer, "time_major", False)
    ):
        return None
    cell = layer.cell
    functions = [_activation(cell.activation, layer)]
    if kind != "SimpleRNN":
        functions.insert(0, _activation(cell.recurrent_activation, layer))
    if any(f is None for f in functions):
        return None
    if kind == "LSTM":
        functions.append(functions[-1])
    gates = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "SimpleRNN": (0,)}[kind]
    units = int(cell.units)
    kernel, recurrent = (np.asarray(w.numpy(), np.float32) for w in (cell.kernel, cell.recurrent_kernel))
    bias = np.zeros((2, len(gates) * units), np.float32)
    if cell.use_bias:
        stored = np.asarray(cell.bias.numpy(), np.float32)
        bias[: len(stored) if stored.ndim == 2 else 1] = stored

    def gate_order(array: Array) -> Array:
        return np.concatenate([np.split(array, len(gates), -1)[g] for g in gates], -1)

    weights = (gate_order(kernel).T[None], gate_order(recurrent).T[None], gate_order(bias).reshape(1, -1))
    given = [f for f in functions if f is not None]
    attributes: dict[str, Any] = {"activations": [f[0] for f in given]}
    # onnxruntime hands out the values in order to those functions that take them.
    for position, key in ((1, "activation_alpha"), (2, "activation_beta")):
        values = [f[position] for f in given if f[position] is not None]
        if values:
            attributes[key] = values
    if kind == "GRU":
        attributes["linear_before_reset"] = int(bool(cell.reset_after))
    operator = {"SimpleRNN": "RNN"}.get(kind, kind)
    return _Cell(operator, units, weights, attributes, bool(layer.return_sequences), bool(layer.return_state))


def _activation(function: Any, layer: Any) -> tuple[str, float | None, float | None] | None:
    """(ONNX's name, alpha, beta) of a Keras activation; None where ONNX's operators don't know it."""
    name = getattr(function, "__name__", "")
    slope = 0.2 if library_of(layer) == "tf_keras" else 1 / 6
    known: dict[str, tuple[str, float | None, float | None]] = {
        "tanh": ("Tanh", None, None),
        "sigmoid": ("Sigmoid", None, None),
        "relu": ("Relu", None, None),
        "softsign": ("Softsign", None, None),
        "hard_sigmoid": ("HardSigmoid", slope, 0.5),
        "of_keras_2": ("HardSigmoid", 0.2, 0.5),
        "of_keras_3": ("HardSigmoid", 1 / 6, 0.5),
        "linear": ("Affine", 1.0, 0.0),
    }
    return known.get(name)


def _targets(model: Any) -> list[tuple[type, str, Callable[..., Any]]]:
    """(class, method, wrapper) to replace for this model's library."""
    if library_of(model) == "tf_keras":
        layers = require("tf_keras").layers
        return [(c, "call", _wrap_call) for c in (layers.LSTM, layers.GRU, layers.SimpleRNN)]
    layers = require("keras").layers
    return [(c, "inner_loop", _wrap_inner_loop) for c in (layers.LSTM, layers.GRU, layers.SimpleRNN)]


def _wrap_inner_loop(original: Any, cells: dict[int, _Cell], registry: Registry) -> Any:
    """Keras 3: RNN.inner_loop -> (last output, all outputs, states)."""

    def inner_loop(self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        cell = cells.get(id(self))
        if cell is None:
            return original(self, sequences, initial_state, mask, training)
        states = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
        output, states = _call_mark(self, cell, registry, sequences, states, mask)
        return output, output, states

    return inner_loop


def _wrap_call(original: Any, cells: dict[int, _Cell], registry: Registry) -> Any:
    """tf-keras: call(inputs) -> the output, and the states where return_state says so."""
    tf = tensorflow()

    def call(self: Any, inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None) -> Any:
        cell = cells.get(id(self))
        if cell is None or isinstance(inputs, tf.RaggedTensor):
            return original(self, inputs, mask=mask, training=training, initial_state=initial_state)
        states = list(tf.nest.flatten(initial_state)) if initial_state is not None else []
        if isinstance(inputs, (list, tuple)):
            inputs, *more = inputs
            states = states or more
        if not states:
            states = [tf.zeros([tf.shape(inputs)[0], cell.units])] * cell.states
        if len(states) != cell.states:
            rest = [inputs, *states]
            return original(self, rest, mask=mask, training=training)
        mask = mask[0] if isinstance(mask, (list, tuple)) and mask else mask
        output, states = _call_mark(self, cell, registry, inputs, states, mask)
        return [output, *states] if self.return_state else output

    return call


def _call_mark(
    layer: Any, cell: _Cell, registry: Registry, x: Any, states: list[Any], mask: Any
) -> tuple[Any, list[Any]]:
    """(output of the layer, its states) from a TensorFlow function that stands for the operator.

    Args:
        layer: the layer.
        cell: what it is in ONNX's terms.
        registry: gets the mark.
        x: (batch, steps, inputs).
        states: (batch, units) each, before the first step.
        mask: (batch, steps), true where a step counts; None where all do.
    """
    tf = tensorflow()
    x, states = tf.cast(x, tf.float32), [tf.cast(s, tf.float32) for s in states]
    if layer.go_backwards:
        x = tf.reverse(x, [1])
    if mask is None:
        return _operate(cell, registry, x, states)
    mask = tf.reshape(tf.cast(mask, tf.bool), tf.shape(x)[:2])
    if layer.go_backwards:
        mask = tf.reverse(mask, [1])
    return _operate_masked(layer, cell, registry, x, states, mask)


def _operate_masked(
    layer: Any, cell: _Cell, registry: Registry, x: Any, states: list[Any], mask: Any
) -> tuple[Any, list[Any]]:
    """As Keras's loop does it: a masked step repeats the last output, at first zeros, and keeps the states.

    Since such a step changes nothing, the others may run without it, one behind the other.
    """
    tf = tensorflow()
    steps = tf.shape(x)[1]
    places = tf.cast(tf.range(steps), tf.float32)
    # The steps that count in their order, then the others.
    order = tf.math.top_k(tf.where(mask, tf.cast(steps, tf.float32) - places, -places), steps).indices
    done = tf.cumsum(tf.cast(mask, tf.int32), 1)
    count = done[:, -1:]
    packed = tf.gather(x, order, batch_dims=1)
    packed.set_shape(x.shape)
    run = dataclasses.replace(cell, masked=True)
    # At least one step, since nobody says what the operator gives for none.
    output, after = _operate(run, registry, packed, states, tf.maximum(count[:, 0], 1))
    after = [tf.where(count > 0, a, s) for a, s in zip(after, states, strict=True)] if cell.packs else states
    shows = mask if layer.zero_output_for_mask else done > 0
    if not cell.sequences:
        return tf.where(shows[:, -1:], output, tf.zeros_like(output)), after
    spread = tf.gather(output, tf.maximum(done - 1, 0), batch_dims=1)
    output = tf.where(shows[:, :, tf.newaxis], spread, tf.zeros_like(spread))
    output.set_shape([x.shape[0], x.shape[1], cell.units])
    return output, after


def _operate(cell: _Cell, registry: Registry, x: Any, states: list[Any], lengths: Any = None) -> tuple[Any, list[Any]]:
    """The mark, over the first steps of each sample where lengths (batch,) says how many.

    What the function computes is never used: it only has the right shapes.
    """
    tf = tensorflow()
    mark = f"{MARK}{len(registry)}"
    registry[mark] = cell

    def body(x: Any, *states: Any) -> Any:
        if cell.masked:
            *states, lengths = states  # type: ignore[assignment]
            x = x + tf.cast(lengths, tf.float32)[:, None, None]
        wide = tf.concat([s[:, None, :] for s in states], 1) + tf.reduce_sum(x)
        if not cell.packs and not cell.sequences:
            return wide[:, 0, :]
        steps = tf.zeros([tf.shape(x)[0], tf.shape(x)[1], cell.units])
        pieces = [steps] * cell.sequences + [wide] * cell.packs
        return tf.concat(pieces, 1) + wide[:, :1, :]

    body.__name__ = mark
    # The mark of XLA keeps the freezing from dissolving the function; convert removes it afterwards.
    function = tf.function(body, autograph=False, jit_compile=True)
    result = function(x, *states, *([lengths] if cell.masked else []))
    if not cell.packs:
        result.set_shape([x.shape[0], x.shape[1], cell.units] if cell.sequences else [x.shape[0], cell.units])
        return result, states
    last = [result[:, i - cell.states, :] for i in range(cell.states)]
    output = result[:, : -cell.states, :] if cell.sequences else last[0]
    for tensor in last:
        tensor.set_shape([x.shape[0], cell.units])
    if cell.sequences:
        output.set_shape([x.shape[0], x.shape[1], cell.units])
    return output, last
