"""Builds the ModelSpec of an export: the training's stamp, then the command line, then the model's structure.

What nobody stated stays unknown: a guessed recipe would give other pixels without a word.
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import __version__
from edgecnn.errors import SourceError, SpecError
from edgecnn.presets import PRESETS
from edgecnn.spec import COLORS, DECODES, FITS, RESIZES, ModelSpec, PixelSpec

from . import structure
from .backend import versions
from .load import Source
from .synthetic import random_inputs

_OPTIONS = ("resize", "fit", "color", "decode", "exif", "scale", "divisor", "offset", "mean", "std")
"""Single options that override fields of the pixel recipe, by their names in PixelSpec."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the recipe's options, the same for every command that takes them."""
    group = parser.add_argument_group("recipe", "how the training turned image files into numbers")
    group.add_argument("--preset", choices=sorted(PRESETS), help="a loader that people train with")
    group.add_argument("--resize", choices=RESIZES, metavar="METHOD", help=f"one of {', '.join(RESIZES)}")
    group.add_argument("--fit", choices=FITS, help="another aspect ratio: stretch, centre crop, letterbox")
    group.add_argument("--color", choices=COLORS, help="channel order of the model's input")
    group.add_argument("--decode", choices=DECODES, help="JPEG decoder: Pillow/OpenCV, or tf.io")
    group.add_argument("--exif", action="store_true", default=None, help="apply the EXIF rotation")
    group.add_argument("--scale", type=_number, metavar="S", help="multiply by S; 1/255 may be written so")
    group.add_argument("--divisor", type=_number, metavar="D", help="divide by D instead of multiplying")
    group.add_argument("--offset", type=_number, metavar="O", help="then add O")
    group.add_argument("--mean", type=_numbers, metavar="R,G,B", help="then subtract, a value a channel")
    group.add_argument("--std", type=_numbers, metavar="R,G,B", help="and divide, a value a channel")
    group.add_argument("--labels", metavar="FILE", help="class names, one a line ('0 name' lines too)")


def build_spec(source: Source, options: argparse.Namespace) -> tuple[ModelSpec, list[str]]:
    """The ModelSpec of source, and notes for the user.

    Raises:
        SpecError: options contradict each other or the model.
        SourceError: the labels file can't be read.
    """
    stamp, notes = source.stamp, []
    if stamp is None and options.preset is None and structure.is_teachable_machine(source):
        options = argparse.Namespace(**{**vars(options), "preset": "teachable-machine"})
        options.labels = options.labels or structure.teachable_labels(source)
        notes.append(f"recognised as a Teachable Machine model; labels: {options.labels or 'no labels.txt beside it'}")
    pixels, stated = _pixels(source, options)
    table = stamp.table if stamp is not None and pixels is None else None
    labels = read_labels(options.labels) if options.labels else (stamp.labels if stamp else None)
    head = stamp.head if stamp is not None else derive_head(source, labels)
    _check_labels(source, labels, head)
    if not stated and _takes_images(source):
        notes.append(
            "nobody stated how this model's training made pixels into numbers, so the file will not say it; "
            "`edgecnn predict` will ask. State it with --preset or --resize, --color, --scale ..."
        )
        notes += structure.hints(source)
    if pixels is not None:
        notes += structure.scaled_twice(source, pixels)
    if labels is None and head in ("softmax", "logits"):
        notes.append("no class names: results will show indices; give them with --labels FILE")
    spec = ModelSpec(pixels=pixels, table=table, labels=labels, head=head, provenance=provenance(source, stamp))
    return spec, notes


def provenance(source: Source, stamp: ModelSpec | None) -> dict[str, str]:
    """Where the model came from, as strings."""
    found: dict[str, str] = dict(stamp.provenance) if stamp is not None else {}
    found |= {
        "source": source.path.name,
        "sha256": source.sha256,
        "keras_version": source.keras_version or "unknown",
        "loaded_by": source.loaded_by,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "edgecnn": __version__,
    }
    tensorflow = versions("tensorflow", "tensorflow-cpu", "tensorflow_cpu")
    if tensorflow:
        found["tensorflow"] = next(iter(tensorflow.values()))
    return found | versions("tf2onnx", "onnx")


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Class names, one a line; Teachable Machine's numbers in front of them are dropped.

    Raises:
        SourceError: the file is missing, empty or no UTF-8 text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise SourceError(f"labels file {path} can't be read: {e}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise SourceError(f"labels file {path} is empty")
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    if all(m and int(m[1]) == i for i, m in enumerate(numbered)):
        lines = [m[2] for m in numbered if m]
    return tuple(lines)


def derive_head(source: Source, labels: tuple[str, ...] | None = None) -> str:
    """What the first output means, by the last layer's activation and the training loss."""
    shape = source.outputs[0].shape
    if len(shape) != 2:
        return "regression"
    activation = _last_activation(source.model) if hasattr(source.model, "layers") else _probe(source)
    if activation in ("softmax", "sigmoid"):
        return activation
    if activation != "linear":
        return "regression"
    if source.loss is not None:
        return "logits" if "crossentropy" in source.loss.lower() else "regression"
    return "logits" if labels is not None or (shape[1] or 0) > 1 else "regression"


def _last_activation(model: Any) -> str:
    """Name of the function that makes the model's first output: 'softmax', 'linear' ..."""
    layer = model
    while getattr(layer, "layers", None):
        layer = layer.layers[-1]
    function = getattr(layer, "activation", None)
    if function is None:
        return "softmax" if type(layer).__name__ == "Softmax" else "linear"
    return str(getattr(function, "__name__", type(function).__name__)).lower()


def _probe(source: Source) -> str:
    """'softmax', 'sigmoid' or 'linear', by what the outputs look like; for graphs without layers."""
    scores = np.concatenate([source(batch)[0] for batch in random_inputs(source, ModelSpec())])
    if not np.issubdtype(scores.dtype, np.floating) or scores.min(initial=0) < 0 or scores.max(initial=0) > 1:
        return "linear"
    return "softmax" if scores.shape[1] > 1 and np.allclose(scores.sum(1), 1, atol=1e-4) else "sigmoid"


def _takes_images(source: Source) -> bool:
    """One input (batch, height, width, 1 or 3)."""
    return len(source.inputs) == 1 and len(source.inputs[0].shape) == 4 and source.inputs[0].shape[3] in (1, 3)


def _pixels(source: Source, options: argparse.Namespace) -> tuple[PixelSpec | None, bool]:
    """(recipe, whether somebody stated one)."""
    given = {name: getattr(options, name, None) for name in _OPTIONS}
    given = {name: value for name, value in given.items() if value is not None}
    stamped = source.stamp.pixels if source.stamp is not None else None
    if stamped is None and options.preset is None and not given:
        return None, False
    if not _takes_images(source):
        raise SpecError(
            f"a pixel recipe needs a model with one input (batch, height, width, 1 or 3), this one takes "
            f"{', '.join(t.describe() for t in source.inputs)}"
        )
    _, height, width, channels = source.inputs[0].shape
    if height is None or width is None:
        raise SpecError(f"the input {source.inputs[0].describe()} has no fixed size, which a pixel recipe needs")
    base: dict[str, Any] = {"dtype": "uint8"} if source.inputs[0].dtype == "uint8" else {}
    if options.preset is not None:
        base |= PRESETS[options.preset]
    elif stamped is not None:
        base |= stamped.to_dict()
    if "divisor" in given:
        base.pop("scale", None)
    if "scale" in given:
        base.pop("divisor", None)
    if channels == 1 and base.get("color") != "gray":
        base |= {"color": "gray"}
    base |= given
    base |= {"height": height, "width": width}
    pixels = PixelSpec.from_dict(base)
    if pixels.channels != channels:
        raise SpecError(f"color={pixels.color!r} has {pixels.channels} channels, the model takes {channels}")
    return pixels, True


def _check_labels(source: Source, labels: tuple[str, ...] | None, head: str) -> None:
    shape = source.outputs[0].shape
    if labels is None or head == "regression" or len(shape) != 2 or shape[1] is None:
        return
    expected = 2 if head == "sigmoid" and shape[1] == 1 else shape[1]
    if len(labels) != expected:
        raise SpecError(f"{len(labels)} labels for a model with {expected} classes: {', '.join(labels[:5])} ...")


def _number(text: str) -> float:
    """A number, or a fraction such as 1/255."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a fraction such as 1/255") from None


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.split(","))
