"""Expressions such as 'x / 127.5 - 1' that stand in for a Lambda layer: parsed, walked, never evaluated as code.

Python's own grammar is used for reading; of its nodes only arithmetic, comparisons, indexing and
the functions in FUNCTIONS are carried out, everything else is refused while parsing.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from edgecnn.errors import InputError

from ..backend import require, tensorflow


def _power(base: Any, exponent: Any) -> Any:
    """base ** exponent; in float where both are plain numbers, so that 9**9**9 can't fill the memory."""
    if isinstance(base, (int, float)) and isinstance(exponent, (int, float)):
        try:
            return float(base) ** float(exponent)
        except (OverflowError, ZeroDivisionError) as e:
            raise InputError(f"{base} ** {exponent} can't be computed: {e}") from None
    return base**exponent


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: _power, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.MatMult: operator.matmul,
}  # fmt: skip

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip

_MODULES: dict[str, str] = {
    "": "clip_by_value concat stack unstack expand_dims squeeze reshape transpose tile pad cast one_hot "
    "identity ones_like zeros_like where norm shape split gather repeat roll einsum",
    "math": "abs sqrt rsqrt square exp log log1p expm1 sin cos tan asin acos atan atan2 sinh cosh tanh sigmoid sign "
    "round floor ceil maximum minimum pow add subtract multiply divide negative reciprocal squared_difference "
    "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not l2_normalize argmax "
    "argmin cumsum cumprod softplus erf reduce_max reduce_min reduce_mean reduce_sum reduce_prod reduce_std "
    "reduce_variance reduce_any reduce_all reduce_logsumexp floormod top_k",
    "nn": "softmax log_softmax elu selu relu6 leaky_relu gelu silu softsign space_to_depth depth_to_space "
    "local_response_normalization max_pool avg_pool moments",
    "image": "resize rgb_to_grayscale grayscale_to_rgb rgb_to_hsv hsv_to_rgb flip_left_right flip_up_down "
    "crop_to_bounding_box central_crop",
    "linalg": "matmul",
    "compat.v1.image": "resize_images resize_bilinear resize_nearest_neighbor resize_bicubic",
}
"""Module of TensorFlow -> functions that keep their names."""

_ALIASES = {
    "clip": "clip_by_value", "max": "math.reduce_max", "min": "math.reduce_min", "mean": "math.reduce_mean",
    "sum": "math.reduce_sum", "prod": "math.reduce_prod", "std": "math.reduce_std", "var": "math.reduce_variance",
    "any": "math.reduce_any", "all": "math.reduce_all", "logsumexp": "math.reduce_logsumexp", "dot": "linalg.matmul",
    "permute_dimensions": "transpose", "stop_gradient": "identity", "swish": "nn.silu", "lrn":
    "nn.local_response_normalization", "truediv": "math.divide", "mod": "math.floormod", "repeat_elements": "repeat",
}  # fmt: skip


def _concatenate(values: Any, axis: int = -1) -> Any:
    return tensorflow().concat(values, axis)


def _relu(x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    return require("tf_keras").backend.relu(x, alpha=alpha, max_value=max_value, threshold=threshold)


def _reverse(x: Any, axes: Any) -> Any:
    return tensorflow().reverse(x, [axes] if isinstance(axes, int) else axes)


def _batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    return require("tf_keras").backend.batch_dot(x, y, tuple(axes) if isinstance(axes, list) else axes)


def _batch_flatten(x: Any) -> Any:
    return require("tf_keras").backend.batch_flatten(x)


_OF_KERAS: dict[str, Callable[..., Any]] = {
    "concatenate": _concatenate, "relu": _relu, "batch_dot": _batch_dot, "batch_flatten": _batch_flatten,
    "epsilon": lambda: 1e-7, "reverse": _reverse, "flip": _reverse,
}  # fmt: skip
"""Functions of keras.backend that TensorFlow has not, or with other arguments."""

_OF_TENSORFLOW = {n: f"{m}.{n}".lstrip(".") for m, names in _MODULES.items() for n in names.split()} | _ALIASES

FUNCTIONS = frozenset({*_OF_TENSORFLOW, *_OF_KERAS})
"""What may be called; a prefix such as K., tf., tf.math. or np. is read over."""

_PREFIXES = frozenset({"K", "tf", "math", "nn", "np", "image", "keras", "backend", "ops", "linalg", "compat", "v1"})
_NUMBERED = re.compile(r"x\d")
"""x0 is x[0]: the first of several tensors."""

_CONSTANTS = (int, float, str, type(None), type(...))
_TYPES = frozenset({"float32", "float16", "float64", "int32", "int64", "uint8", "bool"})


class Expression:
    """A parsed expression in x (and x[0], x[1] ... where the layer takes several tensors)."""

    def __init__(self, text: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Parse.

        Args:
            text: an expression in x, or a whole 'lambda x: ...'.
            arguments: further names and their values, as a Lambda layer stores them.

        Raises:
            InputError: it isn't an expression, or uses something outside arithmetic, comparisons,
                indexing and FUNCTIONS.
        """
        self.text = text
        self.arguments = dict(arguments or {})
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise InputError(f"{text!r} is no expression such as 'x / 127.5 - 1': {e}") from None
        self._names: dict[str, int | None] = {"x": None}
        if isinstance(self._root, ast.Lambda) and self._root.args.args:
            self._names, self._root = self._parameters(self._root.args), self._root.body
        self._check(self._root)

    def __call__(self, x: Any) -> Any:
        """The value for x, a TensorFlow tensor or a list of them."""
        return self._value(self._root, x)

    def _parameters(self, given: ast.arguments) -> dict[str, int | None]:
        """What the parameters of a lambda stand for: the input, or which of several; defaults become arguments."""
        names = [a.arg for a in given.args]
        for name, default in zip(reversed(names), reversed(given.defaults), strict=False):
            if not isinstance(default, ast.Constant) or not isinstance(default.value, _CONSTANTS):
                raise InputError(f"{self.text!r}: the default of {name} must be a number or a string")
            self.arguments.setdefault(name, default.value)
        tensors = [n for n in names if n not in self.arguments]
        return {n: i if len(tensors) > 1 else None for i, n in enumerate(tensors)}

    def _check(self, node: ast.AST) -> None:
        allowed = (
            ast.BinOp, ast.UnaryOp, ast.USub, ast.UAdd, ast.Compare, ast.Constant, ast.Name, ast.Load, ast.Call,
            ast.keyword, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Attribute, *_BINARY, *_COMPARISONS,
        )  # fmt: skip
        for part in ast.walk(node):
            if not isinstance(part, allowed):
                raise InputError(f"{self.text!r}: {type(part).__name__} is not allowed in an expression")
            if isinstance(part, ast.Call):
                self._function(part.func)
            elif isinstance(part, ast.Attribute):
                self._attribute(part)
            elif isinstance(part, ast.Name) and not self._knows(part.id):
                raise InputError(f"{self.text!r}: {part.id!r} is unknown; the input is called x (or x0, x1 ...)")
            elif isinstance(part, ast.Compare) and len(part.ops) > 1:
                raise InputError(f"{self.text!r}: compare two values at a time")
            elif isinstance(part, ast.Constant) and not isinstance(part.value, _CONSTANTS):
                raise InputError(f"{self.text!r}: {part.value!r} is not allowed in an expression")

    def _knows(self, name: str) -> bool:
        fixed = name in self._names or name in _PREFIXES | FUNCTIONS | _TYPES or name in self.arguments
        return fixed or bool(_NUMBERED.fullmatch(name))

    def _function(self, node: ast.AST) -> str:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "?")
        if name not in FUNCTIONS:
            raise InputError(
                f"{self.text!r}: the function {name!r} is unknown; there are {', '.join(sorted(FUNCTIONS))}"
            )
        return name

    def _attribute(self, node: ast.Attribute) -> None:
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            if inner.attr not in _PREFIXES | FUNCTIONS | _TYPES:
                raise InputError(f"{self.text!r}: .{inner.attr} is unknown")
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id not in _PREFIXES:
            raise InputError(f"{self.text!r}: only names such as tf.abs may have a dot")

    def _value(self, node: ast.AST, x: Any) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            if node.id in self._names:
                position = self._names[node.id]
                return x if position is None else x[position]
            if _NUMBERED.fullmatch(node.id):
                return x[int(node.id[1:])]
            return self.arguments.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return node.attr
        if isinstance(node, (ast.Tuple, ast.List)):
            return [self._value(e, x) for e in node.elts]
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, x)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](self._value(node.left, x), self._value(node.right, x))
        if isinstance(node, ast.Compare):
            return _COMPARISONS[type(node.ops[0])](self._value(node.left, x), self._value(node.comparators[0], x))
        if isinstance(node, ast.Subscript):
            return self._value(node.value, x)[self._index(node.slice, x)]
        if isinstance(node, ast.Call):
            return self._call(node, x)
        raise InputError(f"{self.text!r}: {type(node).__name__} is not allowed in an expression")

    def _index(self, node: ast.AST, x: Any) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(None if p is None else self._value(p, x) for p in (node.lower, node.upper, node.step)))
        if isinstance(node, ast.Tuple):
            return tuple(self._index(e, x) for e in node.elts)
        return self._value(node, x)

    def _call(self, node: ast.Call, x: Any) -> Any:
        name = self._function(node.func)
        function: Any = _OF_KERAS.get(name) or tensorflow()
        for part in () if name in _OF_KERAS else _OF_TENSORFLOW[name].split("."):
            function = getattr(function, part)
        arguments = [self._value(a, x) for a in node.args]
        return function(*arguments, **{k.arg: self._value(k.value, x) for k in node.keywords if k.arg})
