"""Golden samples: a few inputs inside the model file, with what the training side made of them.

They let a device prove itself stage by stage (decoder, kernel, graph) with neither Keras nor TensorFlow: the
pixels and the tensor must have the same digest, the outputs must be Keras's within the tolerance of the export.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .decode import decode_for
from .errors import ModelError, VerificationError
from .preprocess import preprocess
from .session import Session
from .spec import ModelSpec, PixelSpec
from .table import to_rows

KEY = "edgecnn_golden"
"""Key in metadata_props."""

MAX_SAMPLES = 64
MAX_JSON_BYTES = 4 * 2**20
MAX_NUMBERS = 2**24
"""Limits on what is read from a model file; the last of a sample's tensor."""

DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool", "string")
"""Types that the tensor of a sample may have."""


@dataclasses.dataclass(frozen=True)
class Values:
    """An input tensor."""

    values: tuple[float | str, ...]
    """Flat, and again from the first where the shape holds more."""
    shape: tuple[int, ...]
    """Without the batch."""
    dtype: str = "float32"
    """One of DTYPES."""

    @classmethod
    def of(cls, array: npt.NDArray[Any], most: int) -> Values:
        """An input of one sample, by at most so many of its first values; text is an array of objects."""
        some = array.ravel()[:most]
        if array.dtype == object:
            return cls(tuple(str(v) for v in some), array.shape, "string")
        return cls(shortest(some), array.shape, str(array.dtype))


@dataclasses.dataclass(frozen=True)
class Sample:
    """One input and what became of it on the training side."""

    image: bytes | None
    """An encoded image, for a model with a pixel recipe."""
    row: tuple[float | str | None, ...] | None
    """Or the cells of a table row, as they stand in a file, in the model's column order."""
    pixels: str | None
    """digest() of the decoded image."""
    tensor: str
    """digest() of the input tensor."""
    outputs: tuple[float, ...]
    """Keras's outputs, one after the other, as they are, before any softmax of the runtime."""
    values: tuple[Values, ...] = ()
    """Or the input tensors themselves, for a model without a recipe."""
    step: int = 1
    """Of how many outputs one is kept."""


@dataclasses.dataclass(frozen=True)
class Golden:
    """The samples of one model."""

    samples: tuple[Sample, ...]
    tolerance: float
    """Largest difference of an output that still counts as the same, above 1 in proportion to the output."""

    def to_json(self) -> str:
        """The JSON stored under KEY."""
        return json.dumps(
            {
                "tolerance": self.tolerance,
                "samples": [
                    {
                        "image": None if s.image is None else base64.b64encode(s.image).decode(),
                        "row": s.row,
                        "pixels": s.pixels,
                        "tensor": s.tensor,
                        "outputs": s.outputs,
                        "step": s.step,
                        "inputs": [dataclasses.asdict(v) for v in s.values],
                    }
                    for s in self.samples
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Golden:
        """Read what to_json wrote.

        Raises:
            ModelError: the text is no such JSON, or beyond the limits.
        """
        try:
            if len(text) > MAX_JSON_BYTES:
                raise ValueError(f"{len(text)} characters, more than {MAX_JSON_BYTES}")
            data = json.loads(text)
            samples = tuple(_to_sample(s) for s in data["samples"])
            if len(samples) > MAX_SAMPLES:
                raise ValueError(f"{len(samples)} samples, more than {MAX_SAMPLES}")
            return cls(samples, float(data["tolerance"]))
        except (ValueError, TypeError, KeyError, RecursionError) as e:
            raise ModelError(f"the model's golden samples can't be read: {e}; export it again") from None


def shortest(numbers: npt.NDArray[Any]) -> tuple[float, ...]:
    """The numbers with no more digits than tell them apart in their own type."""
    return tuple(float(str(n)) if numbers.dtype.kind == "f" else float(n) for n in numbers)


def _to_sample(data: Any) -> Sample:
    image, row = data["image"], data["row"]
    return Sample(
        image=None if image is None else base64.b64decode(image, validate=True),
        row=None if row is None else tuple(v if v is None or isinstance(v, str) else float(v) for v in row),
        pixels=None if data["pixels"] is None else str(data["pixels"]),
        tensor=str(data["tensor"]),
        outputs=tuple(float(v) for v in data["outputs"]),
        step=max(1, int(data.get("step", 1))),
        values=tuple(_to_values(v) for v in data.get("inputs", ())),
    )


def _to_values(data: Any) -> Values:
    shape, dtype = tuple(int(n) for n in data["shape"]), data["dtype"]
    values = tuple((str if dtype == "string" else float)(v) for v in data["values"])
    if dtype not in DTYPES or min(shape, default=1) < 1 or not 1 <= len(values) <= math.prod(shape) <= MAX_NUMBERS:
        raise ValueError(f"{dtype!r} values of shape {shape}")
    return Values(values, shape, dtype)


def digest(arrays: Sequence[npt.NDArray[np.generic]]) -> str:
    """The first 16 hex digits of the SHA-256 over arrays, little-endian; of text over its UTF-8 and a 0 behind each."""
    h = hashlib.sha256()
    for a in arrays:
        if a.dtype == object:
            h.update("".join(f"{text}\0" for text in a.ravel()).encode("utf-8", "surrogatepass"))
        else:
            h.update(np.ascontiguousarray(a.astype(a.dtype.newbyteorder("<"), copy=False)).tobytes())
    return h.hexdigest()[:16]


def to_tensors(sample: Sample, spec: ModelSpec) -> list[npt.NDArray[Any]]:
    """A sample as the model's inputs, with the batch axis.

    Raises:
        VerificationError: the sample is none for this recipe.
    """
    if sample.values:
        dtypes = [object if v.dtype == "string" else v.dtype for v in sample.values]
        pairs = zip(sample.values, dtypes, strict=True)
        return [np.resize(np.array(v.values).astype(dtype), (1, *v.shape)) for v, dtype in pairs]
    if sample.row is not None and spec.table is not None:
        return [to_rows([sample.row], spec.table)]
    if sample.image is None or spec.pixels is None:
        raise VerificationError("the golden sample is none for the model's recipe; export the model again")
    image, color = decode_for(spec.pixels, sample.image)
    return [preprocess(image, spec.pixels, color=color)[np.newaxis]]


def as_numbers(output: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An output of a model; of text a number for each, the last 24 bits of its CRC-32, which float32 holds exactly."""
    if output.dtype != object:
        return output
    texts = [text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass") for text in output.flat]
    return np.array([zlib.crc32(text) & 0xFFFFFF for text in texts], np.float32).reshape(output.shape)


def flat(outputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    """The outputs of one sample, one after the other."""
    return np.concatenate([as_numbers(o[0, ...]).ravel() for o in outputs]).astype(np.float32)


def largest_difference(outputs: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Largest absolute difference, for expected values above 1 in proportion to them.

    NaN where only one of two is finite; the same infinity, or NaN on both sides, is no difference.
    """
    a, b = np.asarray(outputs, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    finite = np.isfinite(b)
    if a.shape != b.shape or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("nan")
    a, b = a[finite], b[finite]
    if not np.isfinite(a).all():
        return float("nan")
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0.0))


def travels(session: Session) -> bool:
    """Whether a model file holds golden samples."""
    text = session.metadata.get(KEY)
    return text is not None and bool(Golden.from_json(text).samples)


def checks(session: Session, spec: ModelSpec) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and function of the check of every stage of every golden sample in a model file.

    The functions return a word for the report, or raise VerificationError.
    """
    text = session.metadata.get(KEY)
    if text is None:
        return
    golden = Golden.from_json(text)
    for i, sample in enumerate(golden.samples):
        if sample.image is not None and sample.pixels is not None and spec.pixels is not None:
            yield f"golden {i} decode", lambda s=sample, p=spec.pixels: _check_pixels(s, p)  # type: ignore[misc]
        yield f"golden {i} tensor", lambda s=sample: _check_tensor(s, spec)  # type: ignore[misc]
        yield f"golden {i} output", lambda s=sample: _check_outputs(s, spec, session, golden.tolerance)  # type: ignore[misc]


def _check_pixels(sample: Sample, pixels: PixelSpec) -> str:
    assert sample.image is not None
    return _same(digest([decode_for(pixels, sample.image)[0]]), sample.pixels, "decoded pixels")


def _check_tensor(sample: Sample, spec: ModelSpec) -> str:
    return _same(digest(to_tensors(sample, spec)), sample.tensor, "input tensor")


def _same(found: str, expected: str | None, what: str) -> str:
    if found != expected:
        raise VerificationError(f"digest of the {what} is {found} here, {expected} where the model was exported")
    return "exact"


def _check_outputs(sample: Sample, spec: ModelSpec, session: Session, tolerance: float) -> str:
    found = flat(session.run_all(to_tensors(sample, spec)))[:: sample.step]
    difference = largest_difference(found, sample.outputs)
    if not difference <= tolerance:
        raise VerificationError(f"the outputs differ from Keras's by {difference:.2g}, more than {tolerance:.2g}")
    return f"within {difference:.1g} of Keras"
