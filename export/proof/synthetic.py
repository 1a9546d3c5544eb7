"""Made-up inputs in the range that the recipe can produce, the same in every run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgeCNNError, ModelError
from edgecnn.spec import ModelSpec

from ..batches import Arrays
from ..layers import fed, parts
from ..source import Source, Tensor
from . import vocabulary
from .onnx_source import OnnxSource
from .samples import Samples

BATCHES = (1, 3)
"""Batch sizes that are compared: one, and one that no fixed dimension can hide behind."""

LARGE_BATCH = 33
"""A batch that no power of two hides."""

_LARGE_BATCH_ELEMENTS = 50_000
"""Largest sample for which the large batch is run, elements; a 128x128 photograph has 49,152."""

_MOST_ROWS = 256
"""Samples in which the rest of a vocabulary is looked up: as many words as 256 sentences have."""

_WORDS = np.array(["", "a", "Text", "\u00e4"], object)
"""Text for inputs of which no layer says what they hold."""

_NORMALISING = ("Normalization", "BatchNormalization")
"""Layers that hold the mean and the variance of what they were trained on."""

_FEWEST = np.arange(2)
"""Whole numbers that every layer takes which takes any."""

_Choice = tuple[list[npt.NDArray[Any] | None], int]
"""(what each input may hold, length of free dimensions)."""

_LENGTHS = (7, 8, 16, 32, 64, 128, 224)
"""Lengths tried for free dimensions: odd first, then what networks that halve their input need."""

_SIDES = (33, 32, 64, 128, 224, *_LENGTHS)
"""Those of pictures, of which the strides of a network leave nothing where they are small."""


def random_inputs(source: Source, spec: ModelSpec) -> list[Arrays]:
    """Synthetic inputs, one list of arrays a batch: random in the recipe's range, and its two ends.

    The batches have 1, 3 and, where that isn't slow, 33 samples. Inputs that feed an Embedding get whole
    numbers that it has rows for, each of them somewhere unless there are very many; sequences get one-hot steps too,
    and free lengths one that the model accepts.

    Raises:
        ModelError: the model accepts none of the lengths that were tried.
    """
    low, high = value_range(spec)
    known = {} if isinstance(source, OnnxSource) or hasattr(source.model, "layers") else vocabulary.looked_up(source)
    codes = [vocabulary.codes(source, i, known) for i in range(len(source.inputs))]
    lengths = _SIDES if any(len(t.shape) == 4 for t in source.inputs) else _LENGTHS
    choices = [(codes, length) for length in (lengths if _is_free(source) else lengths[:1])]
    if known:
        # A table may refuse what it doesn't hold.
        choices.append(([known.get(t.name, c) for t, c in zip(source.inputs, codes, strict=True)], _LENGTHS[0]))
    fewest = [_FEWEST if c is None and "int" in t.dtype else c for t, c in zip(source.inputs, codes, strict=True)]
    choices.append((fewest, _LENGTHS[0]))  # for a layer of an author's that takes them as positions in another input
    codes, length = _first_of_use(source, choices, low, high)
    rng = np.random.default_rng(vocabulary.SEED)

    def draw(size: int, low: float, high: float) -> Arrays:
        pairs = zip(source.inputs, codes, strict=True)
        return [_draw(t, size, rng, low, high, length, allowed) for t, allowed in pairs]

    first = draw(1, low, high)
    batches = [first, draw(1, -1.0, 1.0), draw(3, low, high), draw(3, -1.0, 1.0)]
    if sum(a[:1].size for a in first) <= _LARGE_BATCH_ELEMENTS:
        batches.append(draw(LARGE_BATCH, low, high))
    batches += [draw(1, low, low), draw(1, high, high)]
    rest = [None if c is None else _not_drawn(c, [b[i] for b in batches]) for i, c in enumerate(codes)]
    if any(r is not None for r in rest):
        size = max(-(-len(r) // max(a[:1].size, 1)) for r, a in zip(rest, first, strict=True) if r is not None)
        like = draw(min(size, _MOST_ROWS), low, high)
        batches.append([a if r is None else np.resize(r, a.shape) for a, r in zip(like, rest, strict=True)])
    if any(_is_sequence(t) for t in source.inputs):
        pairs = zip(source.inputs, batches[2], strict=True)
        batches.append([_one_hot(a, rng) if _is_sequence(t) else a for t, a in pairs])
    told = _as_trained(source, batches[2], codes, rng)
    return batches if told is None else [*batches, told]


def _not_drawn(codes: npt.NDArray[Any], drawn: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    """Those of the codes that no batch has yet, in their type; None where there are none."""
    met = set(np.concatenate([a.ravel() for a in drawn]).tolist())
    rest = [code for code in codes.tolist() if code not in met]
    return np.array(rest, drawn[0].dtype) if rest else None


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


def of_other_lengths(source: Source, like: Arrays) -> Arrays | None:
    """One sample like the first of the given ones, where each free dimension has another length than it has there.

    A graph may hold the length that it was traced or proved with, or take one input's for another's. The lengths are
    multiples, since networks that halve their input need some; different ones, else the same, where Keras takes them.
    None where no dimension is free or the model accepts no other length.
    """
    free = [(i, axis) for i, t in enumerate(source.inputs) for axis, d in enumerate(t.shape) if axis and d is None]
    for times in (range(2, 2 + len(free)), [2] * len(free)) if free else ():
        longer = [a[:1] for a in like]
        for (i, axis), n in zip(free, times, strict=True):
            longer[i] = np.concatenate([longer[i]] * n, axis)
        with contextlib.suppress(ModelError):
            if all(np.isfinite(y).all() for y in source(longer) if y.dtype.kind == "f"):
                return longer
    return None


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
    rng = np.random.default_rng(vocabulary.SEED)
    return [rng.uniform(0, 255, a.shape).astype(a.dtype) if p else a for a, p in zip(like, pictures, strict=True)]


def _statistics(source: Source, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """(mean, standard deviation) of what input number index was in training, by the layer that normalises it first."""
    inputs = getattr(source.model, "inputs", None)
    for layer in parts(source.model) if inputs else ():
        kind = type(layer).__name__
        if kind not in _NORMALISING or not any(f is inputs[index] for f in fed(layer) or ()):
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
        rng = np.random.default_rng(vocabulary.SEED)
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


def random_samples(source: Source, spec: ModelSpec) -> Samples:
    """random_inputs as Samples."""
    return Samples([np.concatenate(a) for a in zip(*random_inputs(source, spec), strict=True)], None, "random inputs")
