"""What an input of text or of whole numbers may hold, as the layers and tables that it feeds say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph.hashing import HASHES
from ..graph.lookup import keys_of_inputs, text_keys
from ..graph.text import SPLITTING
from ..graph.tracing import nodes_of
from ..layers import fed, parts
from ..source import Source, Tensor
from .onnx_source import OnnxSource

SEED = 20240229
"""Fixes what is made up, so that a failure can be repeated."""

_TEXTS = np.array([("Text \u00e4\u20ac " * 20)[:n] for n in (*range(9), 12, 15, 20, 28, 40, 55, 60, 80, 120)], object)
"""Text of all lengths, for hashes."""

_HASHING = ("Hashing", "HashedCrossing")
"""Layers that hash what they are given."""

_NUMBERS = np.array([0, *(sign * 10**n for n in range(0, 19, 3) for sign in (1, -1))])
"""Whole numbers of as many digits as there are."""

_BETWEEN = (" ", " ", " ", "  ", ", ", ". ", "! (", "-", "'s ", "\n", "\t", "\u00a0", "<br />")
"""What may stand between words."""


def looked_up(source: Source) -> dict[str, npt.NDArray[Any]]:
    """Name of an input -> text or whole numbers that tables of a SavedModel hold for it."""
    keys = keys_of_inputs(source.function.get_concrete_function())
    found = {}
    for tensor in source.inputs:
        known = keys.get(tensor.name, np.array([]))
        if len(known) and (known.dtype == object) == (tensor.dtype == "string"):
            texts = [k.decode("utf-8", "replace") if isinstance(k, bytes) else k for k in known]
            found[tensor.name] = np.array(texts, known.dtype)
    return found


def codes(source: Source, index: int, known: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """What input number index may hold: whole numbers, ascending, or text; None where nothing limits it.

    An Embedding, a CategoryEncoding, a DenseFeatures or a layer with a vocabulary that it feeds says so; for a
    SavedModel what is known of its tables.
    """
    tensor = source.inputs[index]
    if isinstance(source, OnnxSource):
        return source.codes(tensor)
    if tensor.name in known:
        keys = known[tensor.name]
        return _words(list(keys)) if tensor.dtype == "string" else np.append(keys, keys[-1] + np.arange(1, 4))
    found, direct = [], []
    # Layers that hash take anything; others may refuse what they don't know.
    for layer in sorted(parts(source.model), key=lambda layer: type(layer).__name__ in _HASHING):
        allowed = _codes_of(layer, tensor)
        if allowed is None or (allowed.dtype == object) != (tensor.dtype == "string"):
            continue
        if type(layer).__name__ in _HASHING and found:
            break
        found.append(allowed)
        given = fed(layer)
        if given is None:
            continue
        if any(g is source.model.inputs[index] or isinstance(g, Mapping) for g in given):
            return allowed
        direct.append(any(g is i for i in source.model.inputs for g in given))
    if tensor.dtype == "string" and not found:
        return _texts_of(source.function.get_concrete_function())
    if (found and not all(direct[: len(found)]) and len(tensor.shape) <= 2) or len(source.inputs) == 1:
        return min(found, key=len, default=None)
    return None


def _texts_of(concrete: Any) -> npt.NDArray[Any] | None:
    """What a traced function may do something with; None where nothing tells."""
    used = {node.op for node in nodes_of(concrete.graph.as_graph_def())}
    words = text_keys(concrete)
    known = (_words(words) if used.isdisjoint(SPLITTING) else _sentences(words)) if words else ()
    found = [*known, *(() if used.isdisjoint(HASHES) else _TEXTS)]
    return np.array(found, object) if found else None


def _words(known: list[str]) -> npt.NDArray[Any]:
    """Text for a table: its words, none, and one that is not among them."""
    return np.array([*known, "", f"{known[0]}?"], object)


def _sentences(known: Sequence[str]) -> npt.NDArray[Any]:
    """Text of several words, known and not, between which stands what may."""
    rng = np.random.default_rng(SEED)
    found = []
    for length in (1, 2, 3, 5, 8, 13, 40) * 4:
        words = rng.choice(np.array([*known, "\u00c4rger"], object), length)
        turned = [w.capitalize() if rng.random() < 0.3 else w for w in words]
        found.append("".join(word + rng.choice(_BETWEEN) for word in turned))
    return np.array(found, object)


def _codes_of(layer: Any, tensor: Tensor) -> npt.NDArray[Any] | None:
    """What a layer takes, or its column of that input's name."""
    kind = type(layer).__name__
    if kind in _HASHING:
        return _TEXTS if tensor.dtype == "string" else _NUMBERS if tensor.dtype.startswith("int") else None
    if kind in ("Embedding", "CategoryEncoding"):
        return np.arange(int(layer.input_dim if kind == "Embedding" else layer.num_tokens))
    if kind == "StringLookup" and not layer.invert:
        words = list(layer.get_vocabulary(include_special_tokens=False))
        if layer.mask_token is not None:
            words.append(layer.mask_token)
        unknown = [f"{words[0]}?"] * bool(layer.num_oov_indices)
        return np.array([*words, *unknown, *(_TEXTS if layer.num_oov_indices > 1 else ())], object)
    if kind == "TextVectorization":
        sentences = _sentences(layer.get_vocabulary(include_special_tokens=False))
        # A text without words has steps only where their number is fixed; a mean of none is no number.
        return np.append(sentences, ["", " ?! "]) if layer.compute_output_shape((None, 1))[-1] else sentences
    if kind == "IntegerLookup" and not layer.invert:
        keys = np.unique(layer.get_vocabulary(include_special_tokens=False)).astype(np.int64)
        return np.append(keys, keys[-1] + np.arange(1, 4)) if layer.num_oov_indices else keys
    if kind == "IntegerLookup":
        return np.arange(layer.vocabulary_size())
    if kind == "DenseFeatures":
        for column in layer._feature_columns:
            column = getattr(column, "categorical_column", column)
            if getattr(column, "key", None) != tensor.name:
                continue
            if hasattr(column, "vocabulary_list"):
                words = list(column.vocabulary_list)
                if isinstance(words[0], str):
                    return _words(words)
                return np.unique([*words, max(words) + 1])
            if getattr(column, "number_buckets", None):
                return np.arange(int(column.number_buckets))
    return None
