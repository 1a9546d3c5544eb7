"""An ONNX file as the side that another model is held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ModelError, VerificationError
from edgecnn.session import Session
from edgecnn.spec import ModelSpec

from ..backend import require
from ..batches import Arrays
from ..reading.stored import digest
from ..source import Source, Tensor
from .inference import open_session, run

_FOLLOWED = frozenset(
    {"Add", "Cast", "Clip", "Flatten", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
)
"""Operators behind which there still are the row numbers that an input was given; Keras 3 counts negative ones from
the end of an Embedding by some arithmetic."""

_NUMPY = {"float": "float32", "double": "float64"}
"""onnxruntime's names of types that NumPy calls otherwise."""


@dataclasses.dataclass(frozen=True)
class OnnxSource(Source):
    """A Source whose model is a Graph, run by onnxruntime."""

    @property
    def maker(self) -> str:
        """The file, for messages."""
        return str(self.path)

    @property
    def computes_in_half(self) -> bool:
        """Whether it has float16 weights."""
        return any(weight.dtype == "float16" for weight in self.model.weights)

    def __call__(self, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
        """The model's outputs, one array an output, for one array an input; text as_numbers."""
        try:
            return run(self.model.session, self, arrays)
        except VerificationError as e:
            raise ModelError(f"{self.path}: {e}") from e

    def eager(self, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
        """As __call__: there is no other way to run it."""
        return self(arrays)

    def trace(self) -> Any:
        """Raises ModelError."""
        raise ModelError(f"{self.path} is ONNX, of which TensorFlow has no function")

    def codes(self, tensor: Tensor) -> npt.NDArray[Any] | None:
        """The rows of the table that an input picks from, or the words that the graph knows; None for any value."""
        if tensor.dtype == "string":
            words = self.model.words()
            return np.array([*words, " ".join(words)], object) if words else None
        rows = self.model.rows(tensor.name)
        return None if rows is None else np.arange(rows)


class Graph:
    """An onnx.ModelProto that runs, and whose weights are read and set as those of a Keras model."""

    def __init__(self, proto: Any) -> None:
        """Raises VerificationError where onnxruntime refuses the model."""
        self.proto = proto
        self.weights = [_Weight(self, tensor) for tensor in proto.graph.initializer]
        self._session: Any = open_session(proto.SerializeToString())

    @property
    def session(self) -> Any:
        """Of the weights as they are."""
        self._session = self._session or open_session(self.proto.SerializeToString())
        return self._session

    def renew(self) -> None:
        """Have the session made anew, since a weight has changed."""
        self._session = None

    def rows(self, name: str) -> int | None:
        """How many rows there are of the smallest table that an input picks rows from."""
        sizes = {t.name: t.dims for t in self.proto.graph.initializer}
        same, found = {name}, []
        for node in self.proto.graph.node:
            if node.op_type in _FOLLOWED and not same.isdisjoint(node.input):
                same.add(node.output[0])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            if node.op_type == "Gather" and node.input[1] in same and node.input[0] in sizes:
                found.append(int(sizes[node.input[0]][axis]))
        return min(found, default=None)

    def words(self) -> list[str]:
        """The text that its tables know."""
        known = {
            word.decode("utf-8", "replace")
            for node in self.proto.graph.node
            for attribute in node.attribute
            if attribute.name == "keys_strings"
            for word in attribute.strings
        }
        return sorted(known)


class _Weight:
    """An initializer, as a Keras variable."""

    def __init__(self, graph: Graph, tensor: Any) -> None:
        self.name = tensor.name
        self._graph, self._tensor = graph, tensor

    @property
    def dtype(self) -> str:
        return str(require("onnx").helper.tensor_dtype_to_np_dtype(self._tensor.data_type))

    def numpy(self) -> npt.NDArray[Any]:
        return np.array(require("onnx").numpy_helper.to_array(self._tensor))

    def assign(self, value: npt.NDArray[Any]) -> None:
        self._tensor.CopyFrom(require("onnx").numpy_helper.from_array(value, self.name))
        self._graph.renew()


def read_onnx(path: Path) -> OnnxSource:
    """An ONNX file for verification, refused where a device would refuse it.

    Raises:
        ModelError: it is none, was changed since its export, or needs what lies outside of it.
        VerificationError: onnxruntime can't run it.
    """
    session = Session(path, device="cpu", several=True)
    proto = require("onnx").load(str(path))  # with the weights that lie beside it
    inputs, outputs = (tuple(_tensor(port) for port in ports) for ports in (session.inputs, session.outputs))
    return OnnxSource(
        path=path,
        model=Graph(proto),
        inputs=inputs,
        outputs=outputs,
        keras_version=None,
        loaded_by=f"onnxruntime {require('onnxruntime').__version__}",
        sha256=digest(path),
        stamp=session.read_spec() or ModelSpec(),
        stored_batch=inputs[0].shape[0] if inputs and inputs[0].shape else None,
    )


def _tensor(port: Any) -> Tensor:
    dtype = port.dtype.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in port.shape)
    return Tensor(port.name, shape, _NUMPY.get(dtype, dtype))
