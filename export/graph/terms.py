"""Whole numbers of 64 bits in ONNX's operators, written with Python's own.

onnxruntime has them since 1.22.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..backend import require
from .steps import UINT64


class Graph:
    """The nodes of a function, or of a loop in one, as they are written down."""

    def __init__(self, around: Graph | None = None) -> None:
        """around: what a loop's body stands in, where its names are known as well."""
        self.nodes: list[Any] = []
        self._numbers: Iterator[int] = itertools.count() if around is None else around._numbers

    def name(self, kind: str = "n") -> str:
        """A new name, the same in every export."""
        return f"{kind}{next(self._numbers)}"

    def constant(self, value: int | Sequence[int], dtype: Any = np.uint64) -> Term:
        """What is the same in every run."""
        tensor = require("onnx").numpy_helper.from_array(np.array(value, dtype))
        return self.op("Constant", value=tensor)

    def op(self, kind: str, *inputs: Term, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """A node; its output, or all where there are several."""
        names = [self.name() for _ in range(outputs)]
        node = require("onnx").helper.make_node(kind, [i.name for i in inputs], names, domain=domain, **attributes)
        self.nodes.append(node)
        made = [Term(self, name) for name in names]
        return made if outputs > 1 else made[0]


class Term:
    """A tensor of uint64 in a graph, with Python's operators as in C."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def _with(self, kind: str, other: Term | int, **attributes: Any) -> Term:
        term = self.graph.constant(other) if isinstance(other, int) else other
        made: Term = self.graph.op(kind, self, term, **attributes)
        return made

    def __add__(self, other: Term | int) -> Term:
        return self._with("Add", other)

    def __sub__(self, other: Term | int) -> Term:
        return self._with("Sub", other)

    def __mul__(self, other: Term | int) -> Term:
        return self._with("Mul", other)

    def __floordiv__(self, other: Term | int) -> Term:
        return self._with("Div", other)

    def __xor__(self, other: Term | int) -> Term:
        return self._with("BitwiseXor", other)

    def __and__(self, other: Term | int) -> Term:
        return self._with("BitwiseAnd", other)

    def __lshift__(self, bits: int) -> Term:
        return self._with("BitShift", bits, direction="LEFT")

    def __rshift__(self, bits: int) -> Term:
        return self._with("BitShift", bits, direction="RIGHT")

    def __lt__(self, other: Term | int) -> Term:
        return self._with("Less", other)

    def rotated(self, bits: int) -> Term:
        """To the right."""
        return (self >> bits) ^ (self << (64 - bits))

    def shift_mixed(self) -> Term:
        """FarmHash's ShiftMix."""
        return self ^ (self >> 47)

    def cast(self, to: int) -> Term:
        """As another of ONNX's types."""
        made: Term = self.graph.op("Cast", self, to=to)
        return made

    def or_if(self, condition: Term, other: Term) -> Term:
        """This, or the other where the condition holds; onnxruntime's Where does not take uint64."""
        return self ^ (self ^ other) * condition.cast(UINT64)
