"""Makes the golden samples that let a device prove itself: small inputs with what Keras's side made of them.

A real image is shrunk to a JPEG of a few kB first, so that it fits into the model file; from there on decoder,
kernel and Keras see exactly what the device will see.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence

from edgecnn.decode import decode, decode_for
from edgecnn.errors import EdgeCNNError, ModelError
from edgecnn.golden import (
    DTYPES,
    MAX_NUMBERS,
    MAX_SAMPLES,
    Golden,
    Sample,
    Values,
    digest,
    flat,
    largest_difference,
    shortest,
    to_tensors,
)
from edgecnn.selftest import synthetic_image
from edgecnn.spec import ColumnSpec, ModelSpec, PixelSpec, TableSpec

from .proof.inference import open_session, run
from .proof.samples import Samples, list_images, spread
from .proof.synthetic import random_samples
from .source import Source

DEFAULT_COUNT = 3

_SIDE = 96
"""Longest side of a stored image, pixels."""

_QUALITY = 85

_VALUES = 251
"""Most numbers of the inputs that are stored: 3 kB as text. A prime, so that rows which repeat them differ."""

_OUTPUTS = 256
"""Most numbers of the outputs: of larger ones, as a picture is, some in equal distances."""

_MARGIN = 4.0
"""The tolerance is this many times the difference on the exporting machine: another processor rounds otherwise."""


def make_golden(
    source: Source, spec: ModelSpec, model: bytes, samples: Samples | None, *, count: int, atol: float
) -> Golden | None:
    """Up to count samples for a model, or None where its inputs can't travel.

    Args:
        source: the Keras model.
        spec: its recipe.
        model: the ONNX model as it will be written, quantised or not.
        samples: real inputs; without them synthetic ones are used.
        count: how many, at most MAX_SAMPLES.
        atol: least tolerance of an output.
    """
    if count < 1:
        return None
    if spec.pixels is not None:
        inputs = [_image_sample(image, spec.pixels) for image in _images(samples, min(count, MAX_SAMPLES))]
    elif spec.table is not None:
        inputs = [_row_sample(row) for row in _rows(spec.table, samples, min(count, MAX_SAMPLES))]
    else:
        inputs = _tensor_samples(source, spec, samples, min(count, MAX_SAMPLES))
    session = open_session(model)
    finished, worst = [], 0.0
    for sample in inputs:
        tensors = to_tensors(sample, spec)
        try:
            expected = flat(source(tensors))
        except ModelError:
            if not sample.values:
                raise
            continue  # values that are repeated may be codes that the model has no row for
        worst = max(worst, largest_difference(flat(run(session, source, tensors)), expected))
        step = max(1, -(-len(expected) // _OUTPUTS))
        kept = {"tensor": digest(tensors), "outputs": shortest(expected[::step]), "step": step}
        finished.append(dataclasses.replace(sample, **kept))
    return Golden(tuple(finished), max(atol, _MARGIN * worst)) if finished else None


def _tensor_samples(source: Source, spec: ModelSpec, samples: Samples | None, count: int) -> list[Sample]:
    """Input tensors for a model whose recipe nobody knows: the first values of each, repeated where it holds more."""
    given = (samples or random_samples(source, spec)).thin(count)
    most = max(1, _VALUES // len(given))
    found = [tuple(Values.of(a[i, ...], most) for a in given) for i in range(len(given[0]))]
    if any(v.dtype not in DTYPES or math.prod(v.shape) > MAX_NUMBERS for values in found for v in values):
        return []
    return [Sample(None, None, None, "", (), values) for values in found]


def _image_sample(image: bytes, pixels: PixelSpec) -> Sample:
    return Sample(image=image, row=None, pixels=digest([decode_for(pixels, image)[0]]), tensor="", outputs=())


def _row_sample(row: Sequence[float | str | None]) -> Sample:
    return Sample(image=None, row=tuple(row), pixels=None, tensor="", outputs=())


def _images(samples: Samples | None, count: int) -> list[bytes]:
    """Encoded JPEGs, real where a folder was given."""
    from PIL import Image

    found = []
    if samples is not None and samples.folder is not None:
        for file in spread(list_images(samples.folder), 2 * count):
            try:
                found.append(decode(file, "pil"))
            except EdgeCNNError:
                continue
    arrays = found[:count] or [synthetic_image(48 + 8 * i, 64 + 5 * i) for i in range(count)]
    encoded = []
    for array in arrays:
        image = Image.fromarray(array)
        image.thumbnail((_SIDE, _SIDE))
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=_QUALITY)
        encoded.append(jpeg.getvalue())
    return encoded


def _rows(table: TableSpec, samples: Samples | None, count: int) -> list[tuple[float | str | None, ...]]:
    """Cells of rows: real ones, or made-up ones whose last has gaps and categories that training never saw."""
    if samples is not None and samples.cells:
        return spread(samples.cells, count)
    last = count - 1 if table.missing else None
    return [
        tuple(_cell(column, i, position, gap=i == last) for position, column in enumerate(table.recipes))
        for i in range(count)
    ]


def _cell(column: ColumnSpec, row: int, position: int, *, gap: bool) -> float | str | None:
    if column.kind == "number":
        return None if gap and column.fill is not None else float((column.fill or 0) + row + position)
    if gap and column.unseen != "error":
        return "?"
    return column.categories[row % len(column.categories)] if column.categories else "?"
