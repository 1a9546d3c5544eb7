"""Expressions such as 'x / 127.5 - 1' that stand in for a Lambda layer: parsed, walked, never evaluated as code.

Python's own grammar is used for reading; of its nodes only arithmetic, comparisons, indexing, lists and
the functions that functions.find knows are carried out, everything else is refused while parsing.
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from edgecnn.errors import InputError

from ..backend import reason, require, tensorflow
from . import functions


def _power(base: Any, exponent: Any) -> Any:
    """base ** exponent; large powers of plain numbers in float, so that 9**9**9 can't fill the memory."""
    if isinstance(base, (int, float)) and isinstance(exponent, (int, float)):
        try:
            small = isinstance(base, int) and isinstance(exponent, int) and abs(base) < 1 << 16 and 0 <= exponent <= 32
            return base**exponent if small else float(base) ** float(exponent)
        except (OverflowError, ZeroDivisionError) as e:
            raise InputError(f"{base} ** {exponent} can't be computed: {e}") from None
    return base**exponent


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: _power, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip

_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: lambda value: value, ast.Invert: operator.invert,
}  # fmt: skip

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip

_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword,
    ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Attribute, ast.IfExp, ast.ListComp, ast.comprehension,
    *_BINARY, *_UNARY, *_COMPARISONS,
)  # fmt: skip
_NAMED = {
    "BitXor": "^ (powers are written **)",
    "BoolOp": "and, or (of tensors: & and |)",
    "Not": "not (of a tensor: ~)",
}

_CONSTANTS = (int, float, str, type(None), type(...))

_ATTRIBUTES = frozenset({"shape", "dtype", "ndim", "values", "indices"})
"""What may be asked of a tensor, or of what a function gives."""

_NUMBERED = re.compile(r"x\d")
"""x0 is the first of several tensors."""

_MOST_ROUNDS = 1 << 12
"""How far a list in an expression counts."""

_NAMES = "; the input is called x (or x0, x1 ...), and what the code around the Lambda gives it is written as a number"


class Expression:
    """A parsed expression in x (and x[0], x[1] ... where the layer takes several tensors)."""

    def __init__(
        self, text: str, arguments: Mapping[str, Any] | None = None, keras: Any = None, *, early: bool = False
    ) -> None:
        """Parse.

        Args:
            text: an expression in x, a whole 'lambda x: ...', or a function's name.
            arguments: further names and their values, as a Lambda layer stores them.
            keras: the Keras that reads the model; tf-keras where it isn't given.
            early: the model is of a Keras before TensorFlow 2.

        Raises:
            InputError: it isn't an expression, or uses something outside arithmetic, comparisons,
                indexing and known functions.
        """
        self.text = text
        self.arguments = dict(arguments or {})
        self.early = early
        self._keras = keras
        self._names: dict[str, int | None] = {"x": None}
        self._local: set[str] = set()
        self._root = self._parse(text)
        if isinstance(self._root, ast.Lambda) and self._root.args.args:
            self._names, self._root = self._parameters(self._root.args), self._root.body
        self._check(self._root)

    def __call__(self, x: Any) -> Any:
        """The value for x, a TensorFlow tensor or a list of them.

        Raises:
            InputError: a step can't be computed, or gives no tensor with the batch of x.
        """
        try:
            value = self._value(self._root, x)
            if callable(value):
                value = value(x, **self.arguments)
        except InputError:
            raise
        except Exception as e:
            raise InputError(f"{self.text!r} can't be computed for {_described(x)}: {reason(e)}") from e
        self._judge(value, x)
        return value

    def _parse(self, text: str) -> ast.expr:
        try:
            if not text.strip():
                raise ValueError("there is nothing in it")
            # The parentheses let an expression go over several lines.
            root = ast.parse(f"({text.strip()}\n)", mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            why = e.msg if isinstance(e, SyntaxError) else e
            raise InputError(f"{text!r} is no expression such as 'x / 127.5 - 1': {why}") from None
        if isinstance(root, ast.Constant) and isinstance(root.value, str) and root.value.strip() != text.strip():
            return self._parse(root.value)  # quoted twice
        if isinstance(root, ast.Call) and _path(root.func)[-1:] == ["Lambda"] and root.args:
            return root.args[0]
        return root

    def _parameters(self, given: ast.arguments) -> dict[str, int | None]:
        """What the parameters of a lambda stand for: the input, or which of several; defaults become arguments."""
        names = [a.arg for a in given.args]
        defaults = [*zip(reversed(names), reversed(given.defaults), strict=False)]
        defaults += [(a.arg, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None]
        for name, default in defaults:
            if not all(
                isinstance(n, (ast.Constant, ast.UnaryOp, ast.USub, ast.Tuple, ast.List, ast.Load))
                for n in ast.walk(default)
            ):
                raise InputError(f"{self.text!r}: the default of {name} must be a number, a text or a row of them")
            self._check(default)
            self.arguments.setdefault(name, self._value(default, None))
        tensors = [n for n in names if n not in self.arguments]
        return {n: i if len(tensors) > 1 else None for i, n in enumerate(tensors)}

    def _check(self, node: ast.AST) -> None:
        self._local |= {
            n.target.id for n in ast.walk(node) if isinstance(n, ast.comprehension) and isinstance(n.target, ast.Name)
        }
        inside: set[int] = set()
        for part in ast.walk(node):
            if not isinstance(part, _ALLOWED):
                what = _NAMED.get(type(part).__name__, type(part).__name__)
                raise InputError(f"{self.text!r}: {what} is not allowed in an expression")
            if isinstance(part, ast.Call) and _asks_sizes(part):
                inside.add(id(part.func))
            elif isinstance(part, ast.Call) and not self._is_found(_path(part.func)):
                raise InputError(f"{self.text!r}: only functions are called, as in tf.abs(x)")
            if isinstance(part, ast.Constant) and not isinstance(part.value, _CONSTANTS):
                raise InputError(f"{self.text!r}: {part.value!r} is not allowed in an expression")
            if isinstance(part, ast.ListComp) and (
                len(part.generators) > 1
                or part.generators[0].ifs
                or not isinstance(part.generators[0].target, ast.Name)
            ):
                raise InputError(f"{self.text!r}: a list counts with one name, as in [x[:, i] for i in range(3)]")
            if isinstance(part, (ast.Attribute, ast.Name)) and id(part) not in inside:
                inside |= {id(n) for n in ast.walk(part)} if self._is_found(_path(part)) else set()
                self._check_name(part)

    def _check_name(self, node: ast.Attribute | ast.Name) -> None:
        path = _path(node)
        if self._is_found(path):
            self._found(path)
        elif isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
            raise InputError(f"{self.text!r}: .{node.attr} is unknown")

    def _is_found(self, path: list[str]) -> bool:
        """Whether a dotted name is a library's, rather than a value's here."""
        return bool(path) and not (
            path[0] in self._names
            or path[0] in self.arguments
            or path[0] in self._local
            or _NUMBERED.fullmatch(path[0])
        )

    def _found(self, path: list[str]) -> Any:
        known = functions.PREFIXES
        if len(path) > 1 and path[0] not in known and not functions.is_application(path[0]):
            raise InputError(f"{self.text!r}: {path[0]!r} is unknown; names may begin with K., tf., ops. or np.")
        if self.early and path[-1] == "resize_images" and "tf" not in path[:-1]:
            return functions.resize_images_once
        try:
            return functions.find(path, self._keras or require("tf_keras"))
        except InputError as e:
            raise InputError(f"{self.text!r}: {e}{_NAMES * (len(path) == 1)}") from None

    def _value(self, node: ast.AST, x: Any, local: Mapping[str, Any] | None = None) -> Any:
        local = local or {}

        def value(inner: ast.AST) -> Any:
            return self._value(inner, x, local)

        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node, x, local)
        if isinstance(node, (ast.Tuple, ast.List)):
            return (tuple if isinstance(node, ast.Tuple) else list)(value(e) for e in node.elts)
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](value(node.operand))
        if isinstance(node, ast.BinOp):
            return _BINARY[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Compare):
            return self._compared([value(n) for n in (node.left, *node.comparators)], node.ops)
        if isinstance(node, ast.IfExp):
            return value(node.body if self._plain(value(node.test)) else node.orelse)
        if isinstance(node, ast.ListComp):
            rounds = itertools.islice(value(node.generators[0].iter), _MOST_ROUNDS)
            name = getattr(node.generators[0].target, "id", "")
            return [self._value(node.elt, x, {**local, name: item}) for item in rounds]
        if isinstance(node, ast.Subscript):
            return value(node.value)[self._index(node.slice, value)]
        if isinstance(node, ast.Call) and _asks_sizes(node):
            inner = value(node.func.value)  # type: ignore[attr-defined]
            return _attribute(inner, "shape") if tensorflow().is_tensor(inner) else inner
        if isinstance(node, ast.Call):
            options = {k.arg: value(k.value) for k in node.keywords if k.arg}
            return self._found(_path(node.func))(*(value(a) for a in node.args), **options)
        raise InputError(f"{self.text!r}: {type(node).__name__} is not allowed in an expression")

    def _named(self, node: ast.Name | ast.Attribute, x: Any, local: Mapping[str, Any]) -> Any:
        path = _path(node)
        if self._is_found(path):
            return self._found(path)
        if isinstance(node, ast.Attribute):
            return _attribute(self._value(node.value, x, local), node.attr)
        if node.id in local:
            return local[node.id]
        if node.id in self._names:
            position = self._names[node.id]
            return x if position is None else x[position]
        if node.id in self.arguments:
            return self.arguments[node.id]
        return x[int(node.id[1:])] if isinstance(x, (list, tuple)) else x

    def _compared(self, values: list[Any], operators: list[ast.cmpop]) -> Any:
        results = [_COMPARISONS[type(o)](a, b) for o, a, b in zip(operators, values, values[1:], strict=False)]
        for more in results[1:]:
            results[0] = results[0] & more
        return results[0]

    def _plain(self, value: Any) -> bool:
        if tensorflow().is_tensor(value):
            raise InputError(f"{self.text!r}: 'if' can't ask a tensor; write tf.where(condition, a, b)")
        return bool(value)

    def _index(self, node: ast.AST, value: Callable[[ast.AST], Any]) -> Any:
        if isinstance(node, ast.Slice):
            return slice(*(None if p is None else value(p) for p in (node.lower, node.upper, node.step)))
        if isinstance(node, ast.Tuple):
            return tuple(self._index(e, value) for e in node.elts)
        return value(node)

    def _judge(self, value: Any, x: Any) -> None:
        """Raise where the result is no tensor, or has lost the samples."""
        tf = tensorflow()
        results = tf.nest.flatten(value)
        if not results or not all(tf.is_tensor(r) for r in results):
            raise InputError(f"{self.text!r} gives {value!r}, which is no tensor")
        if not tf.is_tensor(x) or x.shape.rank is None or x.shape[0] is not None:
            return
        picks = any(
            isinstance(n, ast.Subscript)
            and isinstance(n.value, ast.Name)
            and isinstance(n.slice, ast.Constant)
            and n.slice.value is not ...
            for n in ast.walk(self._root)
        )
        for result in results:
            if result.shape.rank == 0 or (picks and result.shape.rank and result.shape[0] is not None):
                raise InputError(
                    f"{self.text!r} gives the shape {_sizes(result)} for {_described(x)}, without the samples as the "
                    f"first dimension{'; the layer takes one tensor: write x for it' if picks else ''}"
                )


def _path(node: ast.AST) -> list[str]:
    """The parts of a dotted name; none where it is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


def _asks_sizes(node: ast.Call) -> bool:
    """x.get_shape(), x.get_shape().as_list() and x.shape.as_list()."""
    return isinstance(node.func, ast.Attribute) and node.func.attr in ("get_shape", "as_list") and not node.args


def _attribute(value: Any, name: str) -> Any:
    if name == "ndim":
        return len(value.shape)
    if name == "shape" and tensorflow().is_tensor(value):
        known = tuple(value.shape)
        return [tensorflow().shape(value)[i] if n is None else n for i, n in enumerate(known)]
    return getattr(value, name)


def _sizes(tensor: Any) -> str:
    return (
        f"[{', '.join('?' if n is None else str(n) for n in tensor.shape)}]" if tensor.shape.rank is not None else "?"
    )


def _described(x: Any) -> str:
    return "x of shape " + ", ".join(_sizes(t) for t in tensorflow().nest.flatten(x))
