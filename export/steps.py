"""Writes the nodes that stand for one of TensorFlow's, a line each."""

from __future__ import annotations

from typing import Any

import numpy as np


class Steps:
    """Adds nodes of one type of number to tf2onnx's graph, under the name of the node that they replace."""

    def __init__(self, ctx: Any, name: str, dtype: int, kind: Any = np.int64) -> None:
        """dtype: ONNX's number of the type; kind: what NumPy calls that of constants."""
        self._ctx, self._name, self._dtype, self._kind, self._count = ctx, name, dtype, kind, 0

    def __call__(self, operator: str, *inputs: str, dtype: int | None = None, **attributes: Any) -> str:
        """A node's only output; dtype where its type is another."""
        self._count += 1
        name = f"{self._name}_{self._count}"
        made = self._ctx.make_node(operator, list(inputs), name=name, attr=attributes, dtypes=[dtype or self._dtype])
        return str(made.output[0])

    def constant(self, value: Any, kind: Any = None) -> str:
        """A constant; kind where NumPy's type is another."""
        self._count += 1
        array = np.array(value, kind or self._kind)
        return str(self._ctx.make_const(f"{self._name}_{self._count}", array).output[0])
