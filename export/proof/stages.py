"""Walks from Keras's side to ours one stage at a time, so that a difference is blamed on the stage that brings it.

decode, resize and normalise are swapped from the training library's to ours, then Keras for the float32 graph, then
that for the quantised one. Each step changes one stage, so what the outputs move by at a step is that stage's part.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.decode import decode_for
from edgecnn.errors import EdgeCNNError, VerificationError
from edgecnn.preprocess import preprocess
from edgecnn.selftest import synthetic_image
from edgecnn.spec import PixelSpec

from ..batches import Arrays
from ..source import Source
from . import reference
from .samples import Samples, list_images, spread, within_memory

IMAGES = 16
"""Images that take the walk at most: each is decoded and resized twice."""

_ORIENTATION = 0x0112
"""EXIF's tag of how a picture is turned."""

Run = Callable[[Arrays], Arrays]
"""Inputs -> outputs of one model."""

_PIXEL_STAGES = ("decode", "resize", "normalise")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of the walk."""

    name: str
    """decode, resize, normalise, graph or quantisation."""
    beside: str
    """What ours was held against."""
    own_diff: float | None
    """Largest difference of the stage's own result: of uint8 pixels, of resized values, of the input tensor; infinite
    where even the shapes differ. None for graphs, whose result is the output, and where it wasn't compared."""
    output_diff: float | None
    """How far the model's outputs move when this stage becomes ours; None where it wasn't compared."""
    tolerance: float | None = None
    """What own_diff may be; None for anything."""
    share: float = 0.0
    """Its part of what all stages bring, 0 to 1."""
    reason: str | None = None
    """Why it wasn't compared."""


@dataclasses.dataclass(frozen=True)
class Walk:
    """The stages in their order, and what walked."""

    stages: tuple[Stage, ...]
    samples: int
    source: str
    """A folder, 'synthetic images' or what else the inputs are."""
    layer: str | None = None
    """The first layer whose output differs, where the graph does."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types; what is infinite or NaN is null, since JSON has no such numbers."""
        found = dataclasses.asdict(self)
        found["stages"] = [{k: _json_number(v) for k, v in s.items()} for s in found["stages"]]
        return found

    def describe(self) -> str:
        """The stages in a line."""
        said = []
        for s in self.stages:
            if s.reason is not None:
                said.append(f"{s.name} not compared: {s.reason}")
            elif s.own_diff is not None and s.tolerance is None:
                said.append(f"{s.name} not exact, as asked for, moves outputs by {s.output_diff:.1g}")
            elif s.own_diff is not None:
                said.append(f"{s.name} {'exact' if s.own_diff == 0 else f'within {s.own_diff:.1g}'}")
            else:
                said.append(f"{s.name} {s.output_diff:.1g}")
        return f"{', '.join(dict.fromkeys(said))} ({self.samples} of {self.source})"

    def table(self) -> str:
        """The stages as lines for people."""
        lines = [f"{'stage':<13}{'held against':<38}{'its own':>10}{'outputs':>10}{'part':>7}"]
        for s in self.stages:
            own = "" if s.own_diff is None else "shapes" if np.isinf(s.own_diff) else f"{s.own_diff:.2g}"
            moved = f"  {s.reason}" if s.reason else f"{s.output_diff:10.2g}{s.share:7.0%}"
            lines.append(f"{s.name:<13}{s.beside:<38}{own:>10}{moved}")
        lines.append(f"largest differences, on {self.samples} of {self.source}")
        return "\n".join(lines)

    def check_pixels(self) -> None:
        """Raise VerificationError where our input tensor is not the training library's."""
        wrong = [s for s in self.stages if None not in (s.own_diff, s.tolerance) and s.own_diff > s.tolerance]
        if not wrong:
            return
        # Of several the one to look at first.
        worst = max(wrong, key=lambda s: s.output_diff or 0.0)
        size = "another shape" if worst.own_diff == math.inf else f"differences of up to {worst.own_diff:.3g}"
        moved = "" if worst.output_diff is None else f", which moves the outputs by up to {worst.output_diff:.3g}"
        others = " and ".join(s.name for s in wrong if s is not worst)
        raise VerificationError(
            f"the stage {worst.name} differs: {size} from {worst.beside} on {self.samples} of {self.source}{moved}"
            + (f"; {others} {'differ' if len(wrong) > 2 else 'differs'} too" if others else "")
        )


def walk(
    source: Source,
    ours: PixelSpec | None,
    theirs: PixelSpec | None,
    samples: Samples,
    *,
    graph: Run,
    quantised: Run | None = None,
    atol: float,
) -> Walk:
    """Swap one stage after the other.

    Args:
        source: the Keras model.
        ours: the recipe that the device will follow; None where the model has none.
        theirs: the recipe of the training, carried out by its own library.
        samples: real or made-up inputs; where they come from a folder of images, its images take the walk.
        graph: the float32 ONNX model.
        quantised: the quantised one, where there is one.
        atol: what a stage's own result may differ by, for values above 1 in proportion; graphs have tests of their own.
    """
    stages: list[Stage] = []
    if ours is not None and theirs is not None:
        # Each image is held as four tensors.
        encoded, title = _images(samples, max(1, within_memory(4 * IMAGES, ours) // 4))
        stages, inputs = _pixels(source, ours, theirs, encoded, atol)
    else:
        inputs, title = samples[:IMAGES], samples.source
    before = source(inputs)
    for name, beside, run in (("graph", source.loaded_by, graph), ("quantisation", "the float32 graph", quantised)):
        if run is not None:
            after = run(inputs)
            stages.append(Stage(name, beside, None, _difference(before, after)))
            before = after
    return Walk(tuple(_shared(stages)), len(inputs[0]), title)


def _shared(stages: Sequence[Stage]) -> Iterator[Stage]:
    """With the part of each in what all bring; where some bring infinity, those bring all of it."""
    moved = [s.output_diff or 0.0 for s in stages]
    if math.inf in moved:
        moved = [float(m == math.inf) for m in moved]
    total = sum(moved)
    for stage, part in zip(stages, moved, strict=True):
        yield dataclasses.replace(stage, share=part / total if total else 0.0)


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _images(samples: Samples, count: int) -> tuple[list[bytes], str]:
    """Encoded images: of the folder that the samples come from, else synthetic ones."""
    if samples.folder is not None:
        return [f.read_bytes() for f in spread(list_images(samples.folder), count)], f"the images in {samples.folder}"
    from PIL import Image

    turned = Image.Exif()
    turned[_ORIENTATION] = 6  # by a quarter, as a phone held upright writes it
    encoded = []
    for height, width, form, options in (
        (150, 200, "JPEG", {}),
        (61, 97, "PNG", {}),
        (400, 301, "JPEG", {}),
        (120, 90, "JPEG", {"exif": turned}),
    ):
        file = io.BytesIO()
        Image.fromarray(synthetic_image(height, width)).save(file, form, **options)
        encoded.append(file.getvalue())
    return encoded[:count], "synthetic images"


def _pixels(
    source: Source, ours: PixelSpec, theirs: PixelSpec, encoded: Sequence[bytes], atol: float
) -> tuple[list[Stage], Arrays]:
    """The three stages before the graph, and the input tensors that ours end with."""
    beside = reference.describe(theirs)
    own, scales, tensors, reason = [0.0] * 3, [1.0] * 3, [], None
    finished: list[npt.NDArray[Any]] = []
    for data in encoded:
        try:
            image, color = decode_for(ours, data)
            finished.append(preprocess(image, ours, color=color))
        except EdgeCNNError:
            # What we refuse, the runtime refuses as well.
            continue
        try:
            steps, pairs = _swap(data, image, color, ours, theirs)
        except EdgeCNNError as e:
            reason = str(e)
            continue
        own = [max(o, _largest(*pair)) for o, pair in zip(own, pairs, strict=True)]
        scales = [max(s, float(np.abs(pair[0]).max())) for s, pair in zip(scales, pairs, strict=True)]
        tensors.append([*steps, finished[-1]])
    if not finished:
        raise VerificationError(f"none of the {len(encoded)} images can be decoded, so the recipe can't be compared")
    if not tensors:
        skipped = [Stage(n, b, None, None, reason=reason) for n, b in zip(_PIXEL_STAGES, beside, strict=True)]
        return skipped, [np.stack(finished)]
    outputs = [source([np.stack(column)]) for column in zip(*tensors, strict=True)]
    moved = [_difference(a, b) for a, b in itertools.pairwise(outputs)]
    allowed: list[float | None] = [atol * s for s in scales]
    if ours.decode == "fast":
        # What that costs was stated when it was asked for; it is no mistake.
        allowed[0] = None
    stages = [Stage(*s) for s in zip(_PIXEL_STAGES, beside, own, moved, allowed, strict=True)]
    return stages, [np.stack(finished)]


def _swap(
    data: bytes, image: npt.NDArray[np.uint8], color: str, ours: PixelSpec, theirs: PixelSpec
) -> tuple[list[npt.NDArray[Any]], list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]:
    """Input tensors with none, one and two of our stages, and what each stage makes of the same, there and here."""
    their_image = reference.decode(data, theirs)
    our_image = _in_order(image, color, ours)
    plain = dataclasses.replace(ours, scale=1.0, divisor=None, offset=0.0, mean=None, std=None, layout="nhwc")
    resized = preprocess(image, plain, color=color)
    theirs_on_ours = reference.resize(our_image, theirs)
    none = reference.normalise(reference.resize(their_image, theirs), theirs)
    one = reference.normalise(theirs_on_ours, theirs)
    two = reference.normalise(resized, theirs)
    ours_whole = preprocess(image, ours, color=color)
    return [none, one, two], [(their_image, our_image), (theirs_on_ours, resized), (two, ours_whole)]


def _in_order(image: npt.NDArray[np.uint8], color: str, ours: PixelSpec) -> npt.NDArray[np.uint8]:
    """Our decoded image in the recipe's channel order, in its own size."""
    if ours.color == "bgr":
        return np.ascontiguousarray(image[..., ::-1])
    if ours.color == color:
        return image
    # Gray that is left to the kernel, by the rule of the library that the method is named after.
    height, width = image.shape[:2]
    method = f"{ours.resize.split('_')[0]}_nearest"
    same = PixelSpec(height=height, width=width, resize=method, color=ours.color, dtype="uint8")
    return preprocess(image, same, color=color)


def _largest(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0))


def _difference(a: Arrays, b: Arrays) -> float:
    """Largest difference of any output value; places where both are the same infinity or NaN differ by nothing.

    Infinite where an output has another shape.
    """
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x.shape != y.shape:
            return float("inf")
        with np.errstate(invalid="ignore"):  # infinity less infinity
            moved = np.abs(x.astype(np.float64) - y.astype(np.float64))
        moved[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
        worst = max(worst, float(np.nan_to_num(moved, nan=np.inf).max(initial=0.0)))
    return worst
