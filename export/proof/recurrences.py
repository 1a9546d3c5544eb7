"""ONNX's LSTM, GRU and RNN in float64, for its reference implementation.

That of ONNX itself knows only their usual functions, and drops others and the lengths of sequences without a word.
What this one doesn't know either is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]
_States = tuple[_Array, ...]
_Step = Callable[[_Array, _States], _States]

_FUNCTIONS: dict[str, Callable[..., _Array]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "Affine": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
}
"""ONNX's name -> the function, of alpha and beta too where it takes them: those that an export writes."""

_TAKE_TWO = ("HardSigmoid", "Affine")

_USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""Operator -> functions of one direction where a node names none."""

_KNOWN = {"activations", "activation_alpha", "activation_beta", "direction", "hidden_size", "linear_before_reset"}
"""Attributes that are followed."""


def operators(base: Any) -> list[Any]:
    """A class for each of the three.

    Args:
        base: onnx.reference.op_run.OpRun.
    """
    return [type(kind, (base,), {"op_domain": "", "_run": _run_as(kind)}) for kind in _USUAL]


def _run_as(kind: str) -> Callable[..., _States]:
    def run(self: Any, *inputs: _Array | None, **attributes: Any) -> _States:
        return _recurrence(kind, inputs, attributes)[: len(self.onnx_node.output)]

    return run


def _recurrence(kind: str, inputs: Sequence[_Array | None], attributes: Mapping[str, Any]) -> _States:
    """The outputs of one of the operators.

    Raises:
        NotImplementedError: it has what no layer of Keras has: peepholes, a clip, batches before steps.
    """
    x, weights, recurrent, bias, lengths, *starts = (*inputs, *[None] * (8 - len(inputs)))
    others = {name for name, value in attributes.items() if value} - _KNOWN
    if others or starts.pop() is not None or x is None or weights is None or recurrent is None:
        raise NotImplementedError(f"{kind} with {others or 'peepholes'}")
    directions, _, size = recurrent.shape
    states = starts[: 2 if kind == "LSTM" else 1]
    functions = _functions(kind, attributes, directions)
    outputs, ends = [], []
    for d in range(directions):
        pair = np.zeros((2, weights.shape[1])) if bias is None else np.split(bias[d], 2)
        step = _STEPS[kind](weights[d], recurrent[d], pair, functions[d], bool(attributes.get("linear_before_reset")))
        start = tuple(np.zeros((x.shape[1], size)) if s is None else s[d] for s in states)
        backward = d == 1 or attributes.get("direction") == "reverse"
        every, end = _all_steps(step, x, start, lengths, backward=backward)
        outputs.append(every)
        ends.append(end)
    return np.stack(outputs, 1), *(np.stack(s) for s in zip(*ends, strict=True))


def _all_steps(
    step: _Step, x: _Array, states: _States, lengths: _Array | None, *, backward: bool
) -> tuple[_Array, _States]:
    """(output of every step, zeros behind the end of a sequence; the states after the last one)."""
    outputs = np.zeros((*x.shape[:2], states[0].shape[1]))
    for t in reversed(range(len(x))) if backward else range(len(x)):
        runs = np.full((x.shape[1], 1), True) if lengths is None else t < lengths[:, None]
        states = tuple(np.where(runs, new, old) for new, old in zip(step(x[t], states), states, strict=True))
        outputs[t] = np.where(runs, states[0], 0)
    return outputs, states


def _functions(kind: str, attributes: Mapping[str, Any], directions: int) -> list[list[Callable[[_Array], _Array]]]:
    """Those of each direction; the values in order belong to those that take them."""
    names = attributes.get("activations") or _USUAL[kind] * directions
    alphas, betas = (list(attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    found: list[Callable[[_Array], _Array]] = []
    for name in names:
        values = {"alpha": alphas, "beta": betas} if name in _TAKE_TWO else {}
        found.append(functools.partial(_FUNCTIONS[name], **{key: v.pop(0) for key, v in values.items() if v}))
    each = len(_USUAL[kind])  # an RNN's default has two, for both directions
    return [found[d * each : (d + 1) * each] for d in range(directions)]


def _lstm(w: _Array, r: _Array, bias: Any, functions: Any, _: bool) -> _Step:
    f, g, h = functions

    def step(x: _Array, states: _States) -> _States:
        hidden, cell = states
        i, o, forget, c = np.split(x @ w.T + hidden @ r.T + bias[0] + bias[1], 4, -1)
        cell = f(forget) * cell + f(i) * g(c)
        return f(o) * h(cell), cell

    return step


def _gru(w: _Array, r: _Array, bias: Any, functions: Any, linear_before_reset: bool) -> _Step:
    f, g = functions
    r_hidden = np.split(r, 3)[2]

    def step(x: _Array, states: _States) -> _States:
        (hidden,) = states
        z, reset, own = np.split(x @ w.T + bias[0], 3, -1)
        also_z, also_reset, late = np.split(hidden @ r.T + bias[1], 3, -1)
        z, reset = f(z + also_z), f(reset + also_reset)
        late = reset * late if linear_before_reset else (reset * hidden) @ r_hidden.T + np.split(bias[1], 3)[2]
        return ((1 - z) * g(own + late) + z * hidden,)

    return step


def _rnn(w: _Array, r: _Array, bias: Any, functions: Any, _: bool) -> _Step:
    (f,) = functions
    return lambda x, states: (f(x @ w.T + states[0] @ r.T + bias[0] + bias[1]),)


_STEPS: dict[str, Callable[..., _Step]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
"""Operator -> what makes its step of the weights of one direction."""
