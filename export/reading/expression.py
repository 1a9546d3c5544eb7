"""Expressions such as 'x / 127.5 - 1' that stand in for a Lambda layer: parsed, walked, never evaluated as code.

Python's own grammar is used for reading; of its nodes only arithmetic, indexing and the functions in
FUNCTIONS are carried out, everything else is refused while parsing.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from edgecnn.errors import InputError


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
    ast.Pow: _power, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip

_TF_NAMES = {
    "abs": "math.abs", "sqrt": "math.sqrt", "square": "math.square", "exp": "math.exp", "log": "math.log",
    "sin": "math.sin", "cos": "math.cos", "tanh": "math.tanh", "sigmoid": "math.sigmoid", "relu": "nn.relu",
    "softmax": "nn.softmax", "sign": "math.sign", "round": "math.round", "floor": "math.floor",
    "maximum": "math.maximum", "minimum": "math.minimum", "pow": "math.pow", "clip": "clip_by_value",
    "clip_by_value": "clip_by_value", "max": "math.reduce_max", "min": "math.reduce_min",
    "mean": "math.reduce_mean", "sum": "math.reduce_sum", "prod": "math.reduce_prod",
    "std": "math.reduce_std", "var": "math.reduce_variance", "reduce_mean": "math.reduce_mean",
    "reduce_sum": "math.reduce_sum", "reduce_max": "math.reduce_max", "reduce_min": "math.reduce_min",
    "l2_normalize": "math.l2_normalize", "argmax": "math.argmax", "concatenate": "concat", "concat": "concat",
    "stack": "stack", "expand_dims": "expand_dims", "squeeze": "squeeze", "reshape": "reshape",
    "transpose": "transpose", "reverse": "reverse", "tile": "tile", "pad": "pad", "cast": "cast",
    "matmul": "linalg.matmul", "dot": "linalg.matmul", "one_hot": "one_hot", "resize": "image.resize",
    "rgb_to_grayscale": "image.rgb_to_grayscale", "identity": "identity", "stop_gradient": "identity",
    "ones_like": "ones_like", "zeros_like": "zeros_like", "where": "where",
    "log_softmax": "nn.log_softmax", "elu": "nn.elu", "softplus": "math.softplus", "erf": "math.erf",
    "permute_dimensions": "transpose", "space_to_depth": "nn.space_to_depth",
    "depth_to_space": "nn.depth_to_space", "norm": "norm",
}  # fmt: skip

FUNCTIONS = frozenset(_TF_NAMES)
"""What may be called; a prefix such as K., tf., tf.math. or np. is read over."""

_PREFIXES = frozenset({"K", "tf", "math", "nn", "np", "image", "keras", "backend", "ops", "linalg"})
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
            InputError: it isn't an expression, or uses something outside arithmetic, indexing and FUNCTIONS.
        """
        self.text = text
        self.arguments = dict(arguments or {})
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise InputError(f"{text!r} is no expression such as 'x / 127.5 - 1': {e}") from None
        self._input = "x"
        if isinstance(self._root, ast.Lambda) and self._root.args.args:
            self._input, self._root = self._root.args.args[0].arg, self._root.body
        self._check(self._root)

    def __call__(self, x: Any) -> Any:
        """The value for x, a TensorFlow tensor or a list of them."""
        return self._value(self._root, x)

    def _check(self, node: ast.AST) -> None:
        allowed = (
            ast.BinOp, ast.UnaryOp, ast.USub, ast.UAdd, ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword,
            ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Attribute, *_BINARY,
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
            elif isinstance(part, ast.Constant) and not isinstance(
                part.value, (int, float, str, type(None), type(...))
            ):
                raise InputError(f"{self.text!r}: {part.value!r} is not allowed in an expression")

    def _knows(self, name: str) -> bool:
        fixed = name == self._input or name in _PREFIXES | FUNCTIONS | _TYPES or name in self.arguments
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
            if node.id == self._input:
                return x
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
        from ..backend import tensorflow

        function: Any = tensorflow()
        for part in _TF_NAMES[self._function(node.func)].split("."):
            function = getattr(function, part)
        arguments = [self._value(a, x) for a in node.args]
        return function(*arguments, **{k.arg: self._value(k.value, x) for k in node.keywords if k.arg})
