"""Writes the nodes that stand for one of TensorFlow's, a line each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import require

FLOAT, INT32, INT64, STRING, BOOL, DOUBLE, UINT64 = 1, 6, 7, 8, 9, 11, 13
"""onnx.TensorProto's numbers of the types of elements."""


class Steps:
    """Takes a node out of tf2onnx's graph and adds others under its name, of which the last gives what it gave."""

    def __init__(self, ctx: Any, node: Any, dtype: int | None = None) -> None:
        """dtype: of what the added nodes give where nothing else is said; that of the node's output if None."""
        self._ctx, self._name, self._outputs, self._count = ctx, node.name, node.output, 0
        self._shape, self._given = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
        self.dtype = self._given if dtype is None else dtype
        ctx.remove_node(node.name)

    def __call__(self, operator: str, *inputs: str, dtype: int | None = None, **attributes: Any) -> str:
        """A node's only output; dtype where its type is another."""
        dtypes, name = [self.dtype if dtype is None else dtype], self._next()
        made = self._ctx.make_node(operator, list(inputs), name=name, attr=attributes, dtypes=dtypes)
        return str(made.output[0])

    def constant(self, value: Any, kind: Any = None) -> str:
        """A constant; kind where NumPy's type is another."""
        kind = require("onnx").helper.tensor_dtype_to_np_dtype(self.dtype) if kind is None else kind
        return str(self._ctx.make_const(self._next(), np.array(value, kind)).output[0])

    def last(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """The node that gives what the one that was taken out gave."""
        put = {"outputs": self._outputs, "shapes": [self._shape], "dtypes": [self._given]}
        self._ctx.make_node(operator, list(inputs), name=self._name, attr=attributes, **put)

    def _next(self) -> str:
        self._count += 1
        return f"{self._name}/{self._count}"
