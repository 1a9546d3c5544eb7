"""What the code of a Lambda layer computes, as an expression, where its bytecode tells; it is read and never run.

Bytecode of Python 2.7 and 3.4 to 3.12 is known, as far as people's lambdas need it; whatever else stands in one, or
leads out of an expression, makes it untold.
"""

from __future__ import annotations

import ast
import base64
import re
import struct
from collections.abc import Sequence
from typing import Any

from edgecnn.errors import InputError

from . import functions
from .expression import Expression

_LONGEST = 2000
"""Characters of an expression, and bytes of code, that are read: people's lambdas have less."""

BASE64 = re.compile(r"(?:[A-Za-z0-9+/=]{4}|\n)+")
"""How Keras stores bytecode; early ones stored it as text."""

_LAYOUTS = ((4, 8, 1), (5, 8, 1), (6, 8, 1), (5, 8, 2))
"""How code is stored by Python 2, 3.0 to 3.7, to 3.10, and since: whole numbers, objects, objects after the line."""

_BINARY = {19: "**", 20: "*", 21: "/", 22: "%", 23: "+", 24: "-", 26: "//", 27: "/", 16: "@", 64: "&", 66: "|"}
_BINARY_OP = {0: "+", 1: "&", 2: "//", 4: "@", 5: "*", 6: "%", 7: "|", 8: "**", 10: "-", 11: "/"}
"""Operations up to Python 3.10, and what BINARY_OP computes since."""

_COMPARED = ("<", "<=", "==", "!=", ">", ">=")
_RANK = {"|": 1, "&": 2, "+": 3, "-": 3, "*": 4, "/": 4, "//": 4, "%": 4, "@": 4, "**": 6}
_COMPARISON, _UNARY, _ATOM = 0, 5, 9
"""How tightly an operator holds."""


class _Untold(Exception):  # noqa: N818
    """The code does something that no expression is known for."""


class _Code:
    """A code object, as far as it is needed."""

    def __init__(self, layout: int, numbers: list[int], objects: list[Any]) -> None:
        self.layout, self.arguments = layout, numbers[0]
        self.code, self.consts, self.names, self.locals = objects[:4]
        self.free = objects[4] if layout < 3 else ()
        if layout == 3:  # names of locals and of what surrounds the function, in one row
            self.free = tuple(n for n, kind in zip(self.locals, objects[4], strict=True) if kind & 0x80)
        parts = isinstance(self.consts, tuple), isinstance(self.names, tuple), isinstance(self.locals, tuple)
        if not isinstance(self.code, bytes) or not 0 < len(self.code) < _LONGEST or not all(parts):
            raise _Untold


class _Reader:
    """Reads what marshal wrote, of any Python."""

    def __init__(self, data: bytes, layout: int) -> None:
        self._data, self._at, self._layout = data, 0, layout
        self._refs: list[Any] = []
        self._interned: list[Any] = []

    def whole(self) -> _Code:
        """The code object that the data is.

        Raises:
            _Untold: it isn't one of this layout.
        """
        try:
            found = self.read()
        except (struct.error, IndexError, ValueError, TypeError, RecursionError, MemoryError) as e:
            raise _Untold from e
        if self._at != len(self._data) or not isinstance(found, _Code):
            raise _Untold
        return found

    def read(self) -> Any:
        (kind,) = self._take("<B")
        place = len(self._refs)
        if kind & 0x80:
            self._refs.append(None)
        value = self._value(chr(kind & 0x7F))
        if kind & 0x80:
            self._refs[place] = value
        return value

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def _bytes(self, form: str) -> bytes:
        (size,) = self._take(form)
        value = self._data[self._at : self._at + size]
        if len(value) != size:
            raise _Untold
        self._at += size
        return value

    def _value(self, kind: str) -> Any:
        if kind in "NTF.":
            return {"N": None, "T": True, "F": False, ".": ...}[kind]
        if kind in "iIg":
            return self._take({"i": "<i", "I": "<q", "g": "<d"}[kind])[0]
        if kind in "zZ":
            return self._bytes("<B").decode()
        if kind in "aAu":
            return self._bytes("<I").decode()
        if kind == "s":
            return self._bytes("<I")
        if kind == "t":
            self._interned.append(self._bytes("<I"))
            return self._interned[-1]
        if kind in "rR":
            return (self._refs if kind == "r" else self._interned)[self._take("<I")[0]]
        if kind in "()[<>":
            (size,) = self._take("<B" if kind == ")" else "<I")
            return tuple(self.read() for _ in range(min(size, len(self._data))))
        if kind == "c":
            first, objects, after = _LAYOUTS[self._layout]
            numbers = [self._take("<i")[0] for _ in range(first)]
            read = [self.read() for _ in range(objects)]
            self._take("<i")
            for _ in range(after):
                self.read()
            return _Code(self._layout, numbers, read)
        raise _Untold


def expression(function: Any) -> str | None:
    """The expression of a function as Keras 1 and 2 store it, [code, defaults, closure], or Keras 3; None if untold."""
    if isinstance(function, dict) and function.get("class_name") == "__lambda__":
        inner = function.get("config") or {}
        function = [inner.get("code"), inner.get("defaults"), inner.get("closure")]
    if not isinstance(function, list) or len(function) != 3 or not isinstance(function[0], str):
        return None
    text, defaults, closure = function
    try:
        data = base64.b64decode(text) if BASE64.fullmatch(text) else text.encode("raw_unicode_escape")
    except ValueError:
        return None
    for layout in range(len(_LAYOUTS)):
        try:
            code = _Reader(data, layout).whole()
            said = _Machine(code, defaults or (), closure or ()).said()
            Expression(said)
        except (_Untold, InputError, RecursionError):
            continue
        return said if _is_of_libraries(said) else None
    return None


def _is_of_libraries(said: str) -> bool:
    """Whether every name is a parameter, Python's own, or in a module: others may be functions of the author's."""
    whole = ast.parse(said, mode="eval")
    own = {n.arg for n in ast.walk(whole) if isinstance(n, ast.arg)} | {"x"} | functions.PYTHON.keys()
    modules = {id(n.value) for n in ast.walk(whole) if isinstance(n, ast.Attribute)}
    return all(n.id in own or id(n) in modules for n in ast.walk(whole) if isinstance(n, ast.Name))


class _Machine:
    """Python's stack, with texts on it."""

    def __init__(self, code: _Code, defaults: Sequence[Any], closure: Sequence[Any]) -> None:
        self._code, self._closure, self._stack, self._keywords = code, closure, list[Any](), ()
        names = [_name(n) for n in code.locals[: code.arguments]]
        if not names or len(defaults) > len(names):
            raise _Untold
        given = dict(zip(reversed(names), (_constant(d)[0] for d in reversed(defaults)), strict=False))
        self._head = ", ".join(f"{n}={given[n]}" if n in given else n for n in names)
        self._values: dict[str, Any] = {n: (n, _ATOM) for n in names}
        self._by_bytes = code.code[-1] == 83
        self._steps = self._split()
        done = {operation for operation, _ in self._steps}
        self._new = code.layout == 3
        self._is_311 = self._new and (166 in done or 171 not in done)
        if self._new and 151 not in done:
            raise _Untold  # 3.13 has other numbers

    def said(self) -> str:
        """The whole, an expression in x or a lambda."""
        try:
            for operation, argument in self._steps:
                if operation == 83 or (operation == 121 and self._new):
                    last = self._stack.pop() if operation == 83 else _constant(self._code.consts[argument])
                    return str(last[0]) if self._head == "x" else f"lambda {self._head}: {last[0]}"
                self._step(operation, argument)
                if self._stack and self._stack[-1] is not None and len(self._stack[-1][0]) > _LONGEST:
                    raise _Untold
        except (IndexError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise _Untold from e
        raise _Untold

    def _split(self) -> list[tuple[int, int]]:
        """(operation, argument) of each step; up to Python 3.5 those without an argument are one byte long."""
        code = self._code.code
        if not self._by_bytes:
            return list(zip(code[::2], code[1::2], strict=False))
        found, at = [], 0
        while at < len(code):
            size = 3 if code[at] >= 90 else 1
            found.append((code[at], int.from_bytes(code[at + 1 : at + size], "little")))
            at += size
        return found

    def _step(self, operation: int, argument: int) -> None:
        stack, code, new = self._stack, self._code, self._new
        if operation in (0, 149, 151, 166) and new:
            return  # CACHE, COPY_FREE_VARS, RESUME, PRECALL
        if operation == 2 and new:
            stack.append(None)
        elif operation == 100:
            stack.append(_constant(code.consts[argument]))
        elif operation == 124:
            stack.append(self._values[_name(code.locals[argument])])
        elif operation == 125:
            self._values[_name(code.locals[argument])] = stack.pop()
        elif operation == 108:  # IMPORT_NAME
            stack[-2:] = [_module(code.names[argument])]
        elif operation == 109:  # IMPORT_FROM
            stack.append(_module(f"{stack[-1][3]}.{_name(code.names[argument])}"))
        elif operation == 1 and stack[-1][2:3] == ("module",):
            stack.pop()
        elif operation == 92:
            whole = _held(stack.pop(), _ATOM)
            stack += [(f"{whole}[{i}]", _ATOM) for i in reversed(range(argument))]
        elif operation == (137 if new else 136):
            # Locals and cells come before what is free, but in the row of all since 3.11.
            at = code.free.index(code.locals[argument]) if new else argument
            stack.append(_constant(self._closure[at]))
        elif operation == 116:
            if new and argument & 1:
                stack.append(None)
            stack.append((_name(code.names[argument >> 1 if new else argument]), _ATOM))
        elif operation in (106, 160):
            halved = new and not self._is_311
            if new and (operation == 160 or (halved and argument & 1)):
                stack.insert(len(stack) - 1, None)
            attribute = _name(code.names[argument >> 1 if halved else argument])
            stack[-1] = f"{_held(stack[-1], _ATOM)}.{attribute}", _ATOM
        elif operation == 172 and new:
            self._keywords = code.consts[argument]
        elif operation == 141 and code.layout and not self._by_bytes:
            self._keywords = stack.pop()[2]
            self._call(131, argument)
        elif operation == (171 if new else 131) or (operation == 161 and not new):
            self._call(operation, argument)
        else:
            self._compute(operation, argument)

    def _call(self, operation: int, argument: int) -> None:
        stack, keywords = self._stack, [_name(k) for k in self._keywords]
        pairs = argument >> 8 if self._by_bytes else 0  # up to 3.5: names and values, after the others
        pushed = [stack.pop() for _ in range(2 * pairs)][::-1]
        named = [f"{_name(k[2])}={v[0]}" for k, v in zip(pushed[::2], pushed[1::2], strict=True)]
        values = [stack.pop()[0] for _ in range(argument & 0xFF)][::-1]
        plain = len(values) - len(keywords)
        named += [f"{k}={v}" for k, v in zip(keywords, values[plain:], strict=True)]
        function = _held(stack.pop(), _ATOM)
        if operation == 171 and stack and stack[-1] is None:
            stack.pop()
        self._keywords = ()
        stack.append((f"{function}({', '.join([*values[:plain], *named])})", _ATOM))

    def _compute(self, operation: int, argument: int) -> None:
        stack, new = self._stack, self._new
        if operation in (11, 15):
            stack.append((f"{'-' if operation == 11 else '~'}{_held(stack.pop(), _UNARY)}", _UNARY))
        elif (operation == 122) if new else operation in _BINARY:
            sign = _BINARY_OP[argument] if new else _BINARY[operation]
            b, a, rank, power = stack.pop(), stack.pop(), _RANK[sign], sign == "**"
            stack.append((f"{_held(a, rank + power)} {sign} {_held(b, rank + (not power))}", rank))
        elif operation == 107:
            b, a = stack.pop(), stack.pop()
            sign = _COMPARED[argument >> 4 if new and not self._is_311 else argument]
            stack.append((f"{_held(a, 1)} {sign} {_held(b, 1)}", _COMPARISON))
        elif operation in (102, 103):
            parts = [stack.pop() for _ in range(argument)][::-1]
            stack.append(_row([p[0] for p in parts], operation == 103))
        elif operation == 162 and argument == 1 and stack[-2][0] == "[]":
            stack[-2:] = [_row([_constant(v)[0] for v in stack[-1][2]], True)]
        elif operation == 133 or (operation == 26 and new):
            parts = [stack.pop() for _ in range(argument if operation == 133 else 2)][::-1]
            stack.append((":".join("" if p[0] == "None" else p[0] for p in parts), _ATOM))
            if operation == 26:
                self._compute(25, 0)
        elif operation == 25:
            index, whole = stack.pop(), stack.pop()
            text = index[0][1:-1] if len(index) == 3 and index[2] == "row" else index[0]
            stack.append((f"{_held(whole, _ATOM)}[{text}]", _ATOM))
        elif 30 <= operation <= 33 and not self._code.layout:  # Python 2: x[:], x[a:], x[:b], x[a:b]
            end = stack.pop()[0] if operation in (32, 33) else ""
            start = stack.pop()[0] if operation in (31, 33) else ""
            stack.append((f"{_held(stack.pop(), _ATOM)}[{start}:{end}]", _ATOM))
        else:
            raise _Untold


def _held(term: Any, rank: int) -> str:
    return str(term[0] if term[1] >= rank else f"({term[0]})")


def _row(parts: list[str], is_list: bool) -> Any:
    inner = ", ".join(parts)
    if len(inner) > _LONGEST:
        raise _Untold
    return (f"[{inner}]", _ATOM) if is_list else (f"({inner}{',' * (len(parts) == 1)})", _ATOM, "row")


_MODULES = {"tensorflow": "tf", "keras": "keras", "numpy": "np"}
_OF_KERAS = re.compile(r"(tensorflow\.(python\.)?)?keras\.backend(\.tensorflow_backend)?\b")


def _module(name: Any) -> Any:
    """What a function that imports a module itself calls it here; Keras's backend holds TensorFlow as tf."""
    dotted = name.decode() if isinstance(name, bytes) else name
    short = _OF_KERAS.sub("K", dotted, count=1)
    root, *rest = short.removeprefix("K.").split(".") if short.startswith("K.tf") else short.split(".")
    if root not in ("K", "tf") and root not in _MODULES:
        raise _Untold
    return ".".join([_MODULES.get(root, root), *rest]), _ATOM, "module", dotted


def _name(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    if not isinstance(text, str) or not text.isidentifier():
        raise _Untold
    return text


def _constant(value: Any) -> Any:
    """(text, rank, the value); texts in double quotes, since a shell has the single ones."""
    if isinstance(value, (tuple, list)):
        return (*_row([_constant(v)[0] for v in value], False)[:2], value)
    if isinstance(value, (str, bytes)):
        text = value.decode() if isinstance(value, bytes) else value
        if not re.fullmatch(r"[\w .,/:+-]*", text):
            raise _Untold
        return f'"{text}"', _ATOM, value
    if value is ...:
        return "...", _ATOM, value
    if value is None or isinstance(value, (bool, int, float)):
        negative = isinstance(value, (int, float)) and value < 0
        return repr(value), _UNARY if negative else _ATOM, value
    raise _Untold
