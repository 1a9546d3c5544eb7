"""ModelSpec, PixelSpec, TableSpec and ColumnSpec: what a model was trained on, as it travels inside the ONNX file.

This is the only contract between training, export and runtime. Reading is strict: an unknown field or
schema is an error, since a recipe that is only half understood gives other pixels without a word.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from .errors import SpecError

SCHEMA = 1
"""Version of the JSON; raised only when an older runtime would misread it."""

METADATA_KEY = "edgecnn"
"""Key in the ONNX file's metadata_props (and the name of the stamp in Keras files)."""

MAX_SIDE = 16384
"""Largest height or width of a model input, pixels: far above any classifier, far below exhausting memory."""

MAX_PIXELS = 2**24
"""Most pixels of a model input: 4096 x 4096, 201 MB as float32."""

MAX_JSON_BYTES = 16 * 2**20
"""Largest ModelSpec accepted, bytes: ImageNet-21k with long labels needs 2 MB."""

LARGEST, SMALLEST = (2 - 2**-23) * 2.0**127, 2.0**-149
"""Of the numbers above 0 that float32 holds, in which recipes are computed."""

SCALED_INSIDE = "scaled_inside"
"""Key of a ModelSpec's provenance: what the model itself does to its input, as 'Rescaling(0.00392157, 0)'."""

RESIZES = (
    "tf_nearest", "tf_bilinear", "tf_bilinear_antialias", "tf_area", "tf_bicubic",
    "pil_nearest", "pil_box", "pil_bilinear", "pil_hamming", "pil_bicubic", "pil_lanczos",
    "cv2_nearest", "cv2_linear", "cv2_area", "cv2_cubic",
)  # fmt: skip
"""Resize methods, named library_filter."""

FITS = ("stretch", "crop", "pad")
COLORS = ("rgb", "bgr", "gray")
DECODES = ("pil", "tf", "fast")
PILLOWS = (12, 13)
"""Versions of Pillow whose pil_* methods differ; 12 stands for 12 and older."""
LAYOUTS = ("nhwc", "nchw")
DTYPES = ("float32", "uint8")
HEADS = ("softmax", "sigmoid", "logits", "regression")
KINDS = ("number", "category")
UNSEEN = ("zeros", "other", "error")

MAX_INPUTS = 2**20
"""Most numbers that one table row may become: 4 MB as float32."""

_S = TypeVar("_S", bound="_Spec")


class _Spec:
    """Dataclass <-> JSON object, refusing what it doesn't know."""

    _what: ClassVar[str] = "recipe"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types (tuples become lists)."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {f.name: _jsonable(getattr(self, f.name)) for f in fields}

    @classmethod
    def from_dict(cls: type[_S], data: object) -> _S:
        """The inverse of to_dict.

        Raises:
            SpecError: data is no object, has a field this version doesn't know, or lacks a needed one.
        """
        if not isinstance(data, Mapping):
            raise SpecError(f"{cls._what} must be a JSON object, got {type(data).__name__}")
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(str(k) for k in set(data) - known)
        if unknown:
            raise SpecError(
                f"{cls._what} has the unknown field {unknown[0]!r}; it was written by another version of "
                "edgecnn: upgrade edgecnn, or export the model again"
            )
        try:
            return cls(**data)
        except TypeError as e:
            raise SpecError(f"{cls._what} is incomplete: {e}") from None


def _jsonable(value: Any) -> Any:
    if isinstance(value, _Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelSpec(_Spec):
    """The recipe from encoded bytes to input tensor, in the order in which it is applied.

    Decode, convert the colour, fit, resize, then normalise in float32:
    `x * scale` (or `x / divisor`), then `+ offset`, then `(x - mean) / std` a channel. Each operation is
    done as written and rounded by itself, so x / 255 and x * (1 / 255) stay the different things they are.
    """

    _what: ClassVar[str] = "pixel recipe"

    height: int
    """Rows of the model input, pixels, 1 to MAX_SIDE."""
    width: int
    """Columns of the model input, pixels, 1 to MAX_SIDE."""
    resize: str = "tf_bilinear"
    """One of RESIZES: the library and the filter whose arithmetic is reproduced."""
    pillow: int = 13
    """Whose order of the two passes the pil_* methods keep. 12 stands for 12 and older: horizontal pass first
    (Pillow 12.2 and 12.3 alone make an exception for images more than 100 times as tall as wide). 13 starts
    with the vertical one where the height shrinks by more than twice as many pixels as the width; values
    then differ by 1, and with bicubic and lanczos, whose overshoot is clipped between the passes, by more (up to 42
    on noise). Other methods don't look at it."""
    fit: str = "stretch"
    """What happens to another aspect ratio: stretch, crop (centre crop first) or pad (letterbox)."""
    color: str = "rgb"
    """Channel order of the tensor; gray is one channel, converted before the resize."""
    decode: str = "pil"
    """Decoder of encoded images: pil (accurate DCT, Pillow and OpenCV), tf (fast DCT, tf.io), or fast, which shrinks
    large JPEGs in the DCT, never below the tensor's size: for who asks for it, and not exact."""
    exif: bool = False
    """Apply the EXIF rotation after decoding; Keras's loaders ignore it."""
    scale: float = 1.0
    """Multiplied with the 0..255 values, as float32."""
    divisor: float | None = None
    """Instead of scale: the values are divided by it, as float32."""
    offset: float = 0.0
    """Added after scale or divisor, as float32."""
    mean: tuple[float, ...] | None = None
    """Subtracted last, a value a channel in the order of `color`; with std."""
    std: tuple[float, ...] | None = None
    """Divided by after mean, a value a channel; with mean."""
    pad_value: int = 0
    """Colour of the border that fit='pad' adds, 0 to 255, before normalisation."""
    layout: str = "nhwc"
    """Order of the tensor's axes: nhwc (Keras) or nchw."""
    dtype: str = "float32"
    """Type of the tensor. uint8 takes no normalisation; a method that computes in float rounds half to even
    and saturates, as keras.ops.image.resize does since Keras 3.15."""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            _check_int(self, name, 1, MAX_SIDE)
        if self.height * self.width > MAX_PIXELS:
            raise SpecError(f"an input of {self.height}x{self.width} has more than {MAX_PIXELS} pixels")
        _check_int(self, "pad_value", 0, 255)
        for name, allowed in (
            ("resize", RESIZES), ("fit", FITS), ("color", COLORS), ("decode", DECODES),
            ("layout", LAYOUTS), ("dtype", DTYPES),
        ):  # fmt: skip
            _check_choice(self, name, allowed)
        _check_int(self, "pillow", PILLOWS[0], PILLOWS[-1])
        if not isinstance(self.exif, bool):
            raise SpecError(f"exif must be true or false, got {self.exif!r}")
        for name in ("scale", "offset"):
            _check_float(name, getattr(self, name))
        if self.divisor is not None:
            _check_float("divisor", self.divisor)
            _check_divisor("divisor", self.divisor)
            if self.scale != 1.0:
                raise SpecError(f"give scale or divisor, not both: got {self.scale!r} and {self.divisor!r}")
        if (self.mean is None) != (self.std is None):
            raise SpecError("mean and std belong together: give both (std 1 to subtract only) or neither")
        for name in ("mean", "std"):
            self._check_channels(name)
        for value in self.std or ():
            _check_divisor("std", value)
        if self.dtype == "uint8" and not self._is_identity:
            raise SpecError(
                "dtype uint8 takes the pixels as they are; drop scale, divisor, offset, mean and std, or "
                "use dtype float32"
            )

    def _check_channels(self, name: str) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if not isinstance(values, (list, tuple)) or len(values) != self.channels:
            raise SpecError(f"{name} needs {self.channels} numbers for color={self.color!r}, got {values!r}")
        for v in values:
            _check_float(name, v)
        object.__setattr__(self, name, tuple(float(v) for v in values))

    @property
    def _is_identity(self) -> bool:
        return self.scale == 1.0 and self.divisor is None and self.offset == 0.0 and self.mean is None

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input tensor without the batch axis, in this recipe's layout."""
        if self.layout == "nchw":
            return (self.channels, self.height, self.width)
        return (self.height, self.width, self.channels)

    @property
    def scales(self) -> bool:
        """Whether it brings the pixels to another range than 0..255."""
        return self.scale != 1 or self.divisor is not None or self.std is not None

    def describe(self) -> str:
        """One line for people: 'pil decode, rgb, stretch, tf_bilinear to 64x64, x * 0.00392157, float32 nhwc'."""
        step = f"x / {self.divisor:.6g}" if self.divisor is not None else ""
        if self.scale != 1.0:
            step = f"x * {self.scale:.6g}"
        if self.offset:
            step = f"{step or 'x'} {'+' if self.offset > 0 else '-'} {abs(self.offset):.6g}"
        if self.mean is not None:
            step = f"({step or 'x'} - mean) / std"
        decode = f"{self.decode} decode" + (" (not exact: JPEGs shrunk in the DCT)" if self.decode == "fast" else "")
        decode += " with EXIF rotation" if self.exif else ""
        older = " of Pillow 12 and older" if self.resize.startswith("pil_") and self.pillow == 12 else ""
        return (
            f"{decode}, {self.color}, {self.fit}, {self.resize}{older} to {self.width}x{self.height}, "
            f"{step or 'values 0..255'}, {self.dtype} {self.layout}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnSpec(_Spec):
    """How the cells of one input column become numbers.

    A number column gives one input (and one more with `indicator`), a category column one for each of its
    categories (and one more where `unseen` is other): 1 for the cell's own, 0 for the others.
    """

    _what: ClassVar[str] = "column recipe"

    name: str
    """One of TableSpec.fields."""
    kind: str = "number"
    """One of KINDS."""
    missing: tuple[str, ...] = ()
    """Cells that mean a missing value in this column, besides TableSpec.missing; in a number column compared as
    numbers, so that 0 also stands for 0.0."""
    fill: float | None = None
    """Number columns: stands in for a missing value; None where a missing value is an error."""
    indicator: bool = False
    """Number columns: a second input that is 1 where the value is missing, else 0."""
    categories: tuple[str, ...] = ()
    """Category columns: the values with an input of their own; '' is the missing value."""
    unseen: str = "zeros"
    """Category columns: what any other value gives. One of UNSEEN: zeros in all inputs, the input other, which
    training used for rare values, or an error."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise SpecError(f"name of a column must be a string, got {self.name!r:.80}")
        _check_choice(self, "kind", KINDS)
        _check_choice(self, "unseen", UNSEEN)
        for name in ("missing", "categories"):
            object.__setattr__(self, name, _check_names(name, getattr(self, name)))
        if len(set(self.categories)) != len(self.categories):
            raise SpecError(f"column {self.name!r} has the same category twice")
        if self.fill is not None:
            _check_float("fill", self.fill)
            object.__setattr__(self, "fill", float(self.fill))
        if not isinstance(self.indicator, bool):
            raise SpecError(f"indicator must be true or false, got {self.indicator!r}")
        if self.kind == "number" and (self.categories or self.unseen != "zeros"):
            raise SpecError(f"column {self.name!r} holds numbers, so it can't have categories")
        if self.kind == "category" and (self.fill is not None or self.indicator):
            raise SpecError(f"column {self.name!r} holds categories, so it can't have fill or indicator")
        if self.kind == "category" and not self.width:
            raise SpecError(f"column {self.name!r} has no categories")
        if self.indicator and self.fill is None:
            raise SpecError(f"column {self.name!r} has an indicator, so it needs a fill too")
        if self.kind == "number":
            for cell in self.missing:
                _check_float("missing", _to_float(cell), sys.float_info.max)

    @property
    def width(self) -> int:
        """How many inputs of the model this column gives."""
        return 1 + self.indicator if self.kind == "number" else len(self.categories) + (self.unseen == "other")

    @property
    def inputs(self) -> tuple[str, ...]:
        """A name for each input of the model that this column gives, in their order."""
        if self.kind == "number":
            return (self.name, f"{self.name} is missing")[: self.width]
        values = (*(value or "(missing)" for value in self.categories), "(other)")
        return tuple(f"{self.name} = {value}" for value in values[: self.width])

    def describe(self, limit: int = 12) -> str:
        """The rule in words: 'number; missing or 0 -> 117' or 'category: a, b; any other value is an error'."""
        also = "".join(f" or {cell}" for cell in self.missing)
        if self.kind == "number":
            rule = "must not be missing" if self.fill is None else f"missing{also} -> {self.fill:.6g}"
            return f"number; {rule}{', and 1 in an input of its own' if self.indicator else ''}"
        named = [value or f"(missing{also})" for value in self.categories]
        shown = ", ".join(named[:limit]) + (f" and {len(named) - limit} more" if len(named) > limit else "")
        unseen = {"zeros": "is none of them", "other": "is (other), as rare ones were", "error": "is an error"}
        return f"category: {shown or '(other)'}; any other value {unseen[self.unseen]}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSpec(_Spec):
    """Which cells of a row the model takes, in which order, and how they become numbers."""

    _what: ClassVar[str] = "table recipe"

    fields: tuple[str, ...]
    """Every column of the training file in its order, target included; 'column 1' ... without a header."""
    target: str | None = None
    """The field that the model predicts, absent from its input; None when the file held no target."""
    header: bool = False
    """Whether the training file had a header line."""
    delimiter: str = ","
    """One character between the cells."""
    inputs: tuple[ColumnSpec, ...] | None = None
    """The columns that the model takes, in the order of the fields; None where every field but the target is a
    number that must not be missing."""
    missing: tuple[str, ...] = ()
    """Cells that mean a missing value, in lower case without blanks around them ('' is the empty cell); compared
    likewise. Where there are some, None and NaN count too; without any, a missing value is an error."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", _check_names("fields", self.fields))
        object.__setattr__(self, "missing", _check_names("missing", self.missing))
        if self.inputs is not None:
            if not isinstance(self.inputs, (list, tuple)):
                raise SpecError(f"inputs must be a list of columns, got {type(self.inputs).__name__}")
            columns = tuple(c if isinstance(c, ColumnSpec) else ColumnSpec.from_dict(c) for c in self.inputs)
            object.__setattr__(self, "inputs", columns)
            place = {name: i for i, name in enumerate(self.fields) if name != self.target}
            places = [place.get(c.name, -1) for c in columns]
            if -1 in places or places != sorted(set(places)):
                raise SpecError(f"inputs must be fields in their order, without the target; got {self.columns!r:.200}")
        if not self.columns:
            raise SpecError("a table recipe needs at least one input column")
        if self.target is not None and self.target not in self.fields:
            raise SpecError(f"target {self.target!r} is not one of the fields {', '.join(self.fields)}")
        if not isinstance(self.header, bool):
            raise SpecError(f"header must be true or false, got {self.header!r}")
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1:
            raise SpecError(f"delimiter must be one character, got {self.delimiter!r}")
        if self.width > MAX_INPUTS:
            raise SpecError(f"the table recipe gives {self.width} inputs, more than the limit of {MAX_INPUTS}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the model takes, in their order."""
        if self.inputs is not None:
            return tuple(c.name for c in self.inputs)
        return tuple(f for f in self.fields if f != self.target)

    @property
    def recipes(self) -> tuple[ColumnSpec, ...]:
        """The rule of each of the columns."""
        return self.inputs if self.inputs is not None else tuple(ColumnSpec(name=c) for c in self.columns)

    @property
    def width(self) -> int:
        """Number of the model's inputs."""
        return sum(c.width for c in self.recipes)

    def describe(self) -> str:
        """One line for people: '3 columns -> 5 inputs; missing: empty, na, ?'."""
        words = ", ".join(word or "empty" for word in self.missing)
        missing = f"; missing: {words}" if words else "; nothing may be missing"
        return f"{len(self.columns)} columns -> {self.width} inputs{missing}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec(_Spec):
    """Everything about a model that its graph does not say."""

    _what: ClassVar[str] = "model recipe"

    pixels: PixelSpec | None = None
    """The recipe of an image model; None for tables and where nobody stated it."""
    table: TableSpec | None = None
    """The recipe of a table model."""
    labels: tuple[str, ...] | None = None
    """Class names by index; two for a single sigmoid output; None where unknown or for a regression."""
    head: str = "softmax"
    """What the output means: softmax (probabilities), sigmoid (one probability of class 1, or one a
    label), logits (the runtime applies softmax), regression (a value)."""
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Where the model came from: source digest, versions, date. For people, never acted on."""

    def __post_init__(self) -> None:
        for name, kind in (("pixels", PixelSpec), ("table", TableSpec)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                object.__setattr__(self, name, kind.from_dict(value))
        if self.pixels is not None and self.table is not None:
            raise SpecError("a model recipe is for pixels or for a table, not for both")
        if self.labels is not None:
            object.__setattr__(self, "labels", _check_names("labels", self.labels))
        _check_choice(self, "head", HEADS)
        if not isinstance(self.provenance, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in self.provenance.items()
        ):
            raise SpecError("provenance must map strings to strings")

    def to_json(self) -> str:
        """The JSON stored under METADATA_KEY: the fields and "schema"."""
        return json.dumps({"schema": SCHEMA, **self.to_dict()}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what to_json wrote.

        Raises:
            SpecError: the text is no such JSON, or its schema is newer than this version.
        """
        if len(text) > MAX_JSON_BYTES:
            raise SpecError(f"model recipe has {len(text)} characters, more than the limit of {MAX_JSON_BYTES}")
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise SpecError(f"model recipe is not valid JSON: {e}") from None
        if not isinstance(data, dict):
            raise SpecError(f"model recipe must be a JSON object, got {type(data).__name__}")
        schema = data.pop("schema", None)
        if schema != SCHEMA or isinstance(schema, bool):
            raise SpecError(
                f"model recipe has schema {schema!r}, this edgecnn reads {SCHEMA}; upgrade edgecnn, or "
                "export the model again"
            )
        return cls.from_dict(data)


def _check_int(spec: object, name: str, low: int, high: int) -> None:
    value = getattr(spec, name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _check_float(name: str, value: object, largest: float = LARGEST) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= largest:
        raise SpecError(f"{name} must be a finite number, at most {largest:.3g}, got {value!r:.80}")


def _check_divisor(name: str, value: float) -> None:
    if abs(value) < SMALLEST:
        raise SpecError(f"{name} must not be 0, nor below {SMALLEST:.3g}, which float32 rounds to 0; got {value!r}")


def _to_float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _check_choice(spec: object, name: str, allowed: tuple[str, ...]) -> None:
    value = getattr(spec, name)
    if value not in allowed:
        raise SpecError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _check_names(name: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
        raise SpecError(f"{name} must be a list of strings, got {values!r:.80}")
    if name == "fields" and len(set(values)) != len(values):
        raise SpecError(f"{name} must be different from each other, got {', '.join(values)}")
    return tuple(values)
