"""StringLookup and IntegerLookup layers as ONNX's LabelEncoder, in place of TensorFlow's hash tables.

While the model is traced for the conversion, such a layer calls a marked TensorFlow function instead of its table;
tf2onnx hands the mark to `insert`, which puts the operator there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .backend import require, tensorflow

MARK = "edgecnn_lookup_"
"""Beginning of a marked function's name."""

_DOMAIN = "ai.onnx.ml"


@dataclasses.dataclass(frozen=True)
class _Table:
    keys: npt.NDArray[Any]
    """(n,) int64, or bytes in UTF-8."""
    codes: npt.NDArray[np.int64]
    """(n,)."""
    default: int
    """What any other key becomes."""


Registry = dict[str, _Table]
"""Mark -> table."""


@contextlib.contextmanager
def marked() -> Iterator[Registry]:
    """Let lookup layers trace as marks inside the block.

    Yields:
        What the marks stand for.
    """
    registry: Registry = {}
    libraries = [library for library in (require("keras"), sys.modules.get("tf_keras")) if library is not None]
    with contextlib.ExitStack() as replaced:
        for cls in (c for library in libraries for c in (library.layers.StringLookup, library.layers.IntegerLookup)):
            original = cls._lookup_dense
            replaced.callback(setattr, cls, "_lookup_dense", original)
            cls._lookup_dense = _wrap(original, registry)
        yield registry


def insert(ctx: Any, node: Any, name: str, registry: Registry) -> None:
    """For tf2onnx's PartitionedCall: put the operator in place of a mark, leave other calls alone."""
    match = re.search(MARK + r"\d+", str(node.get_attr_value("f")))
    if match is None or match[0] not in registry:
        return
    table, inputs, outputs = registry[match[0]], node.input, node.output
    shape, dtype = ctx.get_shape(outputs[0]), ctx.get_dtype(outputs[0])
    attributes = {
        "keys_int64s" if table.keys.dtype.kind in "iu" else "keys_strings": table.keys.tolist(),
        "values_int64s": table.codes.tolist(),
        "default_int64": table.default,
    }
    ctx.remove_node(name)
    ctx.make_node(
        "LabelEncoder", inputs, name=name, outputs=outputs, attr=attributes, domain=_DOMAIN,
        shapes=[shape], dtypes=[dtype],
    )  # fmt: skip


def _wrap(original: Any, registry: Registry) -> Any:
    def call(self: Any, inputs: Any) -> Any:
        table = _read(self)
        if table is None:
            return original(self, inputs)
        kept = {name: getattr(self, name) for name in ("lookup_table", "mask_token")}
        # Past the tracking of attributes: the layer stays as it was loaded.
        for name, value in {"lookup_table": _Mark(table, registry), "mask_token": None}.items():
            object.__setattr__(self, name, value)
        try:
            return original(self, inputs)
        finally:
            for name, value in kept.items():
                object.__setattr__(self, name, value)

    return call


def _read(layer: Any) -> _Table | None:
    """A layer's table; None where it is empty or gives text."""
    with tensorflow().init_scope():
        keys, codes = (t.numpy() for t in layer.lookup_table.export())
        if not len(keys) or codes.dtype.kind not in "iu":
            return None
        if layer.mask_token is not None:
            # As an entry like any other: ONNX compares no text before operator set 19.
            others = keys != layer._mask_key.numpy()
            keys = np.append(keys[others], layer._mask_key.numpy())
            codes = np.append(codes[others], layer._mask_value.numpy())
        return _Table(keys, codes.astype(np.int64), int(layer._default_value))


class _Mark:
    """In place of a layer's table, while it is traced."""

    def __init__(self, table: _Table, registry: Registry) -> None:
        self._table, self._registry = table, registry

    def lookup(self, inputs: Any) -> Any:
        """The mark; what the function computes is never used."""
        tf = tensorflow()
        mark = f"{MARK}{len(self._registry)}"
        self._registry[mark] = self._table

        def body(values: Any) -> Any:
            return tf.cast(tf.equal(values, self._table.keys[0]), tf.int64)

        body.__name__ = mark
        # The mark of XLA keeps the freezing from dissolving the function; convert removes it afterwards.
        return tf.function(body, autograph=False, jit_compile=True)(inputs)
