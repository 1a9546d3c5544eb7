"""Reads a SavedModel folder through its serving signature: the traced graph, without any Python code.

A SavedModel is a program for TensorFlow's runtime, so its operators are looked through before it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecnn.errors import ModelError

from ..backend import quiet_logs, reason, require, tensorflow
from .generations import Opened
from .strangers import shown

_REFUSED = frozenset(
    {
        "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless", "SaveV2Slices",
        "LoadDataset", "SaveDataset", "SaveDatasetV2", "DeleteFile", "RemoteCall", "TFRecordReaderV2",
        "PrintV2File", "InitializeTableFromTextFile", "InitializeTableFromTextFileV2",
    }
)  # fmt: skip
"""Operators that touch other files or run Python."""

_VARIABLES = ("variables.index", "variables.data-*")
"""What lies in the folder variables/."""

_SIGNATURES = ("serving_default", "serve")
"""Names under which Keras 2 and Keras 3 store the inference signature."""


class Graph:
    """A loaded signature that can be called as a Keras model is."""

    def __init__(self, loaded: Any, signature: Any, names: list[str], outputs: list[str]) -> None:
        self._loaded, self._signature, self._names, self._outputs = loaded, signature, names, outputs
        self.weights = list(getattr(loaded, "variables", None) or signature.variables)

    def __call__(self, tensors: Any, training: bool = False) -> list[Any]:
        """The outputs, in order, for one tensor or a list of them."""
        given = tensors if isinstance(tensors, list) else [tensors]
        result = self._signature(**dict(zip(self._names, given, strict=True)))
        return [result[name] for name in self._outputs]


def open_savedmodel(path: Path) -> tuple[Opened, list[tuple[str, Any]], list[tuple[str, Any]]]:
    """(the callable, its inputs, its outputs), each a name with a tf.TensorSpec.

    Raises:
        ModelError: the folder has no signature, holds refused operators or can't be loaded.
    """
    tf = tensorflow()
    _refuse(path)
    try:
        with quiet_logs("absl", "tensorflow"):
            loaded = tf.saved_model.load(str(path))
    except Exception as e:
        if "variables/variables" in str(e) and not all(any(path.glob(f"variables/{n}")) for n in _VARIABLES):
            raise ModelError(f"{shown(path)} is a SavedModel whose variables are missing; fetch that folder too") from e
        raise ModelError(f"TensorFlow can't load {shown(path)}: {reason(e)}") from e
    signature = next((loaded.signatures[n] for n in _SIGNATURES if n in loaded.signatures), None)
    if signature is None:
        others = f", only {sorted(loaded.signatures)}" if loaded.signatures else ""
        traceless = (path / "keras_metadata.pb").exists() and not loaded.signatures
        why = ", as save_traces=False leaves it" if traceless else ""
        raise ModelError(
            f"{shown(path)} has no serving signature{others}{why}; load it in the code that made it and save it as "
            ".keras or .h5, or by model.export()"
        )
    inputs = sorted(signature.structured_input_signature[1].items(), key=lambda i: _order(signature, i[1].name))
    outputs = sorted(signature.structured_outputs.items())
    graph = Graph(loaded, signature, [n for n, _ in inputs], [n for n, _ in outputs])
    return Opened(graph, f"TensorFlow {tf.__version__} (SavedModel)", ()), inputs, outputs


def _order(signature: Any, name: str) -> int:
    """Position of an input among the signature's tensors."""
    names = [t.name.split(":")[0] for t in signature.inputs]
    return names.index(name) if name in names else len(names)


def _refuse(path: Path) -> None:
    protos = require("tensorflow.core.protobuf.saved_model_pb2")
    try:
        model = protos.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except Exception as e:
        raise ModelError(
            f"{shown(path)}/saved_model.pb is damaged or cut off ({type(e).__name__}); fetch or save it again"
        ) from None
    for operator in _operators(model):
        if operator in _REFUSED:
            raise ModelError(f"{path} uses the operator {operator}, which touches other files or runs code; refused")


def _operators(model: Any) -> Iterator[str]:
    for meta in model.meta_graphs:
        yield from (node.op for node in meta.graph_def.node)
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)
