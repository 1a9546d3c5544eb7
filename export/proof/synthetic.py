"""Made-up inputs in the range that the recipe can produce, the same in every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgeCNNError, ModelError
from edgecnn.spec import ModelSpec

from ..batches import Arrays
from ..graph.hashing import HASHES
from ..graph.lookup import keys_of_inputs, text_keys
from ..graph.text import SPLITTING
from ..graph.tracing import nodes_of
from ..layers import parts
from ..load import Source, Tensor
from .onnx_source import OnnxSource
from .samples import Samples

BATCHES = (1, 3)
"""Batch sizes that are compared: one, and one that no fixed dimension can hide behind."""

_SEED = 20240229
"""Fixes the random inputs, so that a failure can be repeated."""

LARGE_BATCH = 33
"""A batch that no power of two hides."""

_LARGE_BATCH_ELEMENTS = 50_000
"""Largest sample for which the large batch is run, elements; a 128x128 photograph has 49,152."""

_WORDS = np.array(["", "a", "Text", "\u00e4"], object)
"""Text for inputs of which no layer says what they hold."""

_TEXTS = np.array([("Text \u00e4\u20ac " * 20)[:n] for n in (*range(9), 12, 15, 20, 28, 40, 55, 60, 80, 120)], object)
"""Text of all lengths, for hashes."""

_NORMALISING = ("Normalization", "BatchNormalization")
"""Layers that hold the mean and the variance of what they were trained on."""

_HASHING = ("Hashing", "HashedCrossing")
"""Layers that hash what they are given."""

_NUMBERS = np.array([0, *(sign * 10**n for n in range(0, 19, 3) for sign in (1, -1))])
"""Whole numbers of as many digits as there are."""

_FEWEST = np.arange(2)
"""Whole numbers that every layer takes which takes any."""

_BETWEEN = (" ", " ", " ", "  ", ", ", ". ", "! (", "-", "'s ", "\n", "\t", "\u00a0", "<br />")
"""What may stand between words."""

_Choice = tuple[list[npt.NDArray[Any] | None], int]
"""(what each input may hold, length of free dimensions)."""

_LENGTHS = (7, 8, 16, 32, 64, 128, 224)
"""Lengths tried for free dimensions: odd first, then what networks that halve their input need."""

_SIDES = (33, 32, 64, 128, 224, *_LENGTHS)
"""Those of pictures, of which the strides of a network leave nothing where they are small."""


def random_inputs(source: Source, spec: ModelSpec) -> list[Arrays]:
    """Synthetic inputs, one list of arrays a batch: random in the recipe's range, and its two ends.

    The batches have 1, 3 and, where that isn't slow, 33 samples. Inputs that feed an Embedding get whole
    numbers that it has rows for, sequences one-hot steps too; free lengths get one that the model accepts.

    Raises:
        ModelError: the model accepts none of the lengths that were tried.
    """
    low, high = value_range(spec)
    known = {} if isinstance(source, OnnxSource) or hasattr(source.model, "layers") else _looked_up(source)
    codes = [_codes(source, i, known) for i in range(len(source.inputs))]
    lengths = _SIDES if any(len(t.shape) == 4 for t in source.inputs) else _LENGTHS
    choices = [(codes, length) for length in (lengths if _is_free(source) else lengths[:1])]
    if known:
        # A table may refuse what it doesn't hold.
        choices.append(([known.get(t.name, c) for t, c in zip(source.inputs, codes, strict=True)], _LENGTHS[0]))
    fewest = [_FEWEST if c is None and "int" in t.dtype else c for t, c in zip(source.inputs, codes, strict=True)]
    choices.append((fewest, _LENGTHS[0]))  # for a layer of an author's that takes them as positions in another input
    codes, length = _first_of_use(source, choices, low, high)
    rng = np.random.default_rng(_SEED)

    def draw(size: int, low: float, high: float) -> Arrays:
        pairs = zip(source.inputs, codes, strict=True)
        return [_draw(t, size, rng, low, high, length, allowed) for t, allowed in pairs]

    first = draw(1, low, high)
    batches = [first, draw(1, -1.0, 1.0), draw(3, low, high), draw(3, -1.0, 1.0)]
    if sum(a[:1].size for a in first) <= _LARGE_BATCH_ELEMENTS:
        batches.append(draw(LARGE_BATCH, low, high))
    batches += [draw(1, low, low), draw(1, high, high)]
    if any(_is_sequence(t) for t in source.inputs):
        pairs = zip(source.inputs, batches[2], strict=True)
        batches.append([_one_hot(a, rng) if _is_sequence(t) else a for t, a in pairs])
    told = _as_trained(source, batches[2], codes, rng)
    return batches if told is None else [*batches, told]


def _as_trained(
    source: Source, like: Arrays, codes: Sequence[npt.NDArray[Any] | None], rng: np.random.Generator
) -> Arrays | None:
    """A batch like the given one, with the values of the training where a layer tells them; None where none does.

    Of values far from there, all that a layer which normalises gives is one number.
    """
    found = list(like)
    for i, (array, allowed) in enumerate(zip(like, codes, strict=True)):
        told = _statistics(source, i) if allowed is None and array.dtype.kind == "f" else None
        if told is not None:
            found[i] = (told[0] + told[1] * rng.standard_normal(array.shape)).astype(array.dtype)
    return found if any(a is not b for a, b in zip(found, like, strict=True)) else None


def byte_pictures(source: Source, spec: ModelSpec, like: Arrays) -> Arrays | None:
    """A batch like the given one, with pictures of 0..255; None where there is none, or the recipe is known.

    What scales them itself sees next to nothing of 0..1.
    """
    pictures = [
        len(t.shape) == 4 and t.shape[3] in (1, 3) and a.dtype.kind == "f"
        for t, a in zip(source.inputs, like, strict=True)
    ]
    if spec.pixels is not None or not any(pictures):
        return None
    rng = np.random.default_rng(_SEED)
    return [rng.uniform(0, 255, a.shape).astype(a.dtype) if p else a for a, p in zip(like, pictures, strict=True)]


def _statistics(source: Source, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """(mean, standard deviation) of what input number index was in training, by the layer that normalises it first."""
    inputs = getattr(source.model, "inputs", None)
    for layer in parts(source.model) if inputs else ():
        kind = type(layer).__name__
        if kind not in _NORMALISING or not any(f is inputs[index] for f in _fed(layer) or ()):
            continue
        names = ("moving_mean", "moving_variance") if kind == "BatchNormalization" else ("mean", "variance")
        mean, variance = (np.asarray(getattr(layer, name), np.float64) for name in names)
        if mean.ndim > len(source.inputs[index].shape):  # by the dimension of a virtual batch
            mean, variance = mean[0], variance[0]
        told = np.isfinite(mean).all() and np.isfinite(variance).all() and (variance >= 0).all()
        if told and mean.shape[-1:] in ((), (1,), source.inputs[index].shape[-1:]):
            return mean, np.sqrt(variance)
    return None


def _first_of_use(source: Source, choices: Sequence[_Choice], low: float, high: float) -> _Choice:
    """The first of choices that the model accepts and gives numbers for.

    Of a picture too small for a network's strides nothing is left, whose mean is no number. Where all give some that
    are none, the first that is accepted.

    Raises:
        ModelError: the model accepts none.
    """
    accepted: _Choice | None = None
    error: ModelError | None = None
    for codes, length in choices:
        rng = np.random.default_rng(_SEED)
        pairs = zip(source.inputs, codes, strict=True)
        try:
            outputs = source([_draw(t, 1, rng, low, high, length, allowed) for t, allowed in pairs])
        except ModelError as e:
            error = error or e
            continue
        if all(y.size and np.isfinite(y).all() for y in outputs):
            return codes, length
        accepted = accepted or (codes, length)
    if accepted is None:
        raise ModelError(f"{source.path} can't be run on made-up inputs, so nothing can be proved: {error}")
    return accepted


def takes_any_batch(source: Source) -> bool:
    """Whether the model computes for each sample alone what it computes for it among two others."""
    try:
        _, _, three, *_ = random_inputs(source, ModelSpec())
        together = source(three)
        alone = [source([a[i : i + 1] for a in three]) for i in range(len(three[0]))]
    except (EdgeCNNError, IndexError):
        return False
    for i, whole in enumerate(together):
        one_by_one = np.concatenate([outputs[i] for outputs in alone])
        if whole.shape != one_by_one.shape or not np.allclose(whole, one_by_one, rtol=1e-3, atol=1e-4, equal_nan=True):
            return False
    return True


def value_range(spec: ModelSpec) -> tuple[float, float]:
    """(smallest, largest) value that the recipe can put into the input tensor; a table's are unknown."""
    pixels = spec.pixels
    if spec.table is not None:
        return 0.0, 100.0
    if pixels is None:
        return 0.0, 1.0
    ends = []
    for value in (0.0, 255.0):
        x = value / pixels.divisor if pixels.divisor is not None else value * pixels.scale
        x += pixels.offset
        for mean, std in zip(pixels.mean or (0.0,), pixels.std or (1.0,), strict=True):
            ends.append((x - mean) / std)
    return min(ends), max(ends)


def _draw(
    tensor: Tensor,
    size: int,
    rng: np.random.Generator,
    low: float,
    high: float,
    length: int,
    codes: npt.NDArray[Any] | None,
) -> npt.NDArray[Any]:
    """(size, ...) values in [low, high] for one input; of the codes where it takes only some whole numbers."""
    shape = (size, *(length if d is None else d for d in tensor.shape[1:]))
    if tensor.dtype == "bool":
        return rng.random(shape) < 0.5
    if tensor.dtype == "string":
        return rng.choice(_WORDS if codes is None else codes, shape)
    kind = np.dtype(tensor.dtype)
    if codes is not None:
        if low == high:
            return np.full(shape, codes[-1] if high > 0 else codes[0]).astype(kind)
        return rng.choice(codes, shape).astype(kind)
    if kind.kind in "iu":
        return rng.integers(0, 256 if kind.itemsize == 1 else 10, shape).astype(kind)
    return rng.uniform(low, high, shape).astype(kind)


def _is_sequence(tensor: Tensor) -> bool:
    """Steps of several numbers each, which may well be one-hot."""
    return len(tensor.shape) == 3 and (tensor.shape[2] or 0) > 2 and tensor.dtype == "float32"


def _one_hot(array: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
    """An array of the same shape with a single 1 on its last axis."""
    return np.eye(array.shape[-1], dtype=array.dtype)[rng.integers(0, array.shape[-1], array.shape[:-1])]


def _is_free(source: Source) -> bool:
    return any(d is None for t in source.inputs for d in t.shape[1:])


def _looked_up(source: Source) -> dict[str, npt.NDArray[Any]]:
    """Name of an input -> text or whole numbers that tables of a SavedModel hold for it."""
    keys = keys_of_inputs(source.function.get_concrete_function())
    found = {}
    for tensor in source.inputs:
        known = keys.get(tensor.name, np.array([]))
        if len(known) and (known.dtype == object) == (tensor.dtype == "string"):
            texts = [k.decode("utf-8", "replace") if isinstance(k, bytes) else k for k in known]
            found[tensor.name] = np.array(texts, known.dtype)
    return found


def _codes(source: Source, index: int, known: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
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
        codes = _codes_of(layer, tensor)
        if codes is None or (codes.dtype == object) != (tensor.dtype == "string"):
            continue
        if type(layer).__name__ in _HASHING and found:
            break
        found.append(codes)
        fed = _fed(layer)
        if fed is None:
            continue
        if any(f is source.model.inputs[index] or isinstance(f, Mapping) for f in fed):
            return codes
        direct.append(any(f is i for i in source.model.inputs for f in fed))
    if tensor.dtype == "string" and not found:
        return _texts_of(source.function.get_concrete_function())
    if (found and not all(direct[: len(found)]) and len(tensor.shape) <= 2) or len(source.inputs) == 1:
        return min(found, key=len, default=None)
    return None


def _fed(layer: Any) -> list[Any] | None:
    """The tensors that a layer is called on, in all its calls; None where they are unknown."""
    calls = getattr(layer, "_inbound_nodes", None)
    if not calls:
        return None
    given = [getattr(call, "input_tensors", None) for call in calls]
    return [t for tensors in given for t in (tensors if isinstance(tensors, (list, tuple)) else [tensors])]


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
    rng = np.random.default_rng(_SEED)
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


def random_samples(source: Source, spec: ModelSpec) -> Samples:
    """random_inputs as Samples."""
    return Samples([np.concatenate(a) for a in zip(*random_inputs(source, spec), strict=True)], None, "random inputs")
