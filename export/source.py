"""A loaded Keras model as the export sees it: its tensors, and what it gives for arrays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ModelError
from edgecnn.golden import as_numbers
from edgecnn.spec import ModelSpec

from .backend import quiet_logs, reason, tensorflow
from .batches import Arrays, run_in_batches
from .graph.tracing import as_predicted, nodes_of, traceable


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One input or output of a model."""

    name: str
    """As the ONNX file calls it."""
    shape: tuple[int | None, ...]
    """With the batch as dimension 0; None where any length goes."""
    dtype: str
    """NumPy's name of the element type."""

    def describe(self) -> str:
        """'image float32 [batch, 64, 64, 3]'."""
        sizes = [str(n) if n is not None else "?" if i else "batch" for i, n in enumerate(self.shape)]
        return f"{self.name} {self.dtype} [{', '.join(sizes)}]"


@dataclasses.dataclass(frozen=True)
class Source:
    """A loaded Keras model and what is known about its file."""

    path: Path
    model: Any
    """The keras.Model."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    keras_version: str | None
    """The Keras that wrote the file, as the file says."""
    loaded_by: str
    """The library that read it, with its version."""
    sha256: str
    stamp: ModelSpec | None
    """The recipe that the training left in the file."""
    loss: str | None = None
    """Name of the training loss, where the file tells."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the file was read."""
    stored_batch: int | None = None
    """The batch that the file fixes, whether the model still has it or not; None where it leaves it free."""

    @property
    def batch(self) -> int | None:
        """How many samples the model takes at a time; None for any number."""
        return self.inputs[0].shape[0]

    def __call__(self, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
        """The model's outputs in inference mode, one array an output, for one array an input; text as_numbers."""

        def run(arrays: Arrays) -> Arrays:
            result = self.function(*(tensorflow().convert_to_tensor(a) for a in arrays))
            return [as_numbers(result[t.name].numpy()) for t in self.outputs]

        return self._run(run, arrays)

    def eager(self, arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
        """As __call__, but operation by operation as Keras does it, without a traced graph; slow for sequences."""
        tf = tensorflow()

        def run(arrays: Arrays) -> Arrays:
            result = self._call([tf.convert_to_tensor(a) for a in arrays])
            return [as_numbers(np.asarray(y.numpy())) for y in tf.nest.flatten(result)]

        return self._run(run, arrays)

    @property
    def maker(self) -> str:
        """What made the outputs, for messages."""
        return "Keras"

    @property
    def is_double(self) -> bool:
        """Whether it computes in float64."""
        return any(t.dtype == "float64" for t in (*self.inputs, *self.outputs))

    @property
    def computes_in_half(self) -> bool:
        """Whether the graph has float16 in it, as that of an exported model of mixed precision."""
        half = tensorflow().float16.as_datatype_enum
        nodes = nodes_of(self.function.get_concrete_function().graph.as_graph_def())
        return any(node.op == "Cast" and node.attr["DstT"].type == half for node in nodes)

    def _call(self, tensors: Sequence[Any]) -> Any:
        """The model on one tensor an input, handed over as it was built to take them: one, a list or a dict."""
        taken = as_built(self.model, "inputs")
        given: Any = tensors[0] if len(tensors) == 1 else list(tensors)
        if isinstance(taken, Mapping):
            order = {id(t): x for t, x in zip(self.model.inputs, tensors, strict=True)}
            given = {name: order[id(t)] for name, t in taken.items()}
        with as_predicted(self.keras_version), quiet_logs():
            return self.model(given, training=False)

    def _run(self, run: Callable[[Arrays], Arrays], arrays: Sequence[npt.NDArray[Any]]) -> Arrays:
        try:
            return run_in_batches(run, arrays, self.batch)
        except Exception as e:
            raise ModelError(f"{self.path} can't be run in {self.maker} on {_sizes(arrays)}: {reason(e)}") from e

    @functools.cached_property
    def function(self) -> Any:
        """The model as a tf.function that was traced once."""
        return self.trace()

    def trace(self) -> Any:
        """The model as a new tf.function with an explicit signature: tensors -> {output name: tensor}."""
        tf = tensorflow()

        def infer(*tensors: Any) -> dict[str, Any]:
            with traceable():
                result = self._call(tensors)
            return {t.name: y for t, y in zip(self.outputs, tf.nest.flatten(result), strict=True)}

        signature = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in self.inputs]
        return tf.function(infer, input_signature=signature)


def _sizes(arrays: Sequence[npt.NDArray[Any]]) -> str:
    return ", ".join(f"{a.dtype} {list(a.shape)}" for a in arrays)


def as_built(model: Any, what: str) -> Any:
    """A functional model's inputs or outputs as its author gave them: one tensor, a list or a dict; else None."""
    return getattr(model, f"_{what}_struct", getattr(model, f"_nested_{what}", None))


def float_weights(model: Any) -> list[Any]:
    """The model's weights but whole numbers; tf-keras also lists vocabularies, which have no type."""
    return [w for w in getattr(model, "weights", ()) if "float" in str(getattr(w, "dtype", ""))]
