"""Builds the ModelSpec of an export: the training's stamp, then the command line, then the model's structure.

What nobody stated stays unknown: a guessed recipe would give other pixels without a word.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import __version__
from edgecnn.errors import SourceError, SpecError
from edgecnn.presets import (
    add_recipe_options,
    assumed,
    recipe_from_options,
    states_recipe,
    whole_recipe_from_options,
)
from edgecnn.spec import SCALED_INSIDE, ModelSpec, PixelSpec

from . import structure
from .backend import versions
from .proof.synthetic import random_inputs
from .source import Source

TRAINING_DECODE = "decode_in_training"
"""Key of the provenance: the decoder that the training used, where the model is exported with decode="fast"."""


def add_arguments(
    parser: argparse.ArgumentParser, title: str = "how the training turned image files into numbers"
) -> None:
    """Add the options of the recipe and the labels."""
    add_recipe_options(parser, title)
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line ('0 name' lines too)")


def build_spec(source: Source, options: argparse.Namespace) -> tuple[ModelSpec, list[str]]:
    """The ModelSpec of source, and notes for the user.

    Raises:
        SpecError: options contradict each other or the model.
        SourceError: the labels file can't be read.
    """
    stamp = source.stamp
    options, notes = _recognised(source, options)
    pixels, stated = _pixels(source, options)
    table = stamp.table if stamp is not None and pixels is None else None
    labels = _labels(options, stamp)
    head = stamp.head if stamp is not None else derive_head(source, labels)
    check_labels(source, labels, head)
    if not stated and _takes_images(source):
        notes.append(
            "nobody stated how this model's training made pixels into numbers, so the file will not say it; "
            "`edgecnn predict` will ask. State it with --preset or --resize, --color, --scale ..."
        )
        notes += structure.hints(source)
    if pixels is not None:
        taken = [] if stamp is not None and stamp.pixels is not None else assumed(options, pixels)
        notes += [f"not stated, so taken for granted: {' '.join(taken)}"] if taken else []
        notes += structure.scaled_twice(source, pixels)
    if labels is None and head in ("softmax", "logits"):
        notes.append("no class names: results will show indices; give them with --labels FILE")
    found = provenance(source, stamp)
    if pixels is not None and pixels.decode == "fast" and (exact := _decoder_before(source, options)) != "fast":
        found[TRAINING_DECODE] = exact
    inside = structure.scaling(source) if _takes_images(source) else None
    if inside is not None:
        found[SCALED_INSIDE] = inside
    if not stated and _takes_images(source):
        found["recipe"] = "unknown"
    else:
        found.pop("recipe", None)
    spec = ModelSpec(pixels=pixels, table=table, labels=labels, head=head, provenance=found)
    return spec, notes


def _recognised(source: Source, options: argparse.Namespace) -> tuple[argparse.Namespace, list[str]]:
    """The options, with those that a model's structure gives away, and notes for the user that say so."""
    notes = []
    if source.stamp is not None:
        return options, notes
    if options.preset in (None, "teachable-machine") and structure.is_teachable_machine(source):
        options = argparse.Namespace(**{**vars(options), "preset": "teachable-machine"})
        found_labels = "no labels.txt beside it"
        if options.labels is None and (beside := structure.teachable_labels(source)) is not None:
            try:
                read_labels(beside)
                options.labels = beside
            except SourceError as e:
                found_labels = f"none, for the {e}"
        notes.append(f"recognised as a Teachable Machine model; labels: {options.labels or found_labels}")
    imagenet = structure.imagenet_recipe(source)
    if imagenet is not None and not states_recipe(options):
        options = argparse.Namespace(**{**vars(options), **imagenet[1]})
        stated = " ".join(f"--{name} {value}" for name, value in imagenet[1].items())
        notes.append(f"recognised as keras.applications' {imagenet[0]} with its ImageNet classes: {stated}")
    return options, notes


def _labels(options: argparse.Namespace, stamp: ModelSpec | None) -> tuple[str, ...] | None:
    return read_labels(options.labels) if options.labels else (stamp.labels if stamp else None)


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
    if source.batch is not None:
        found["batch"] = f"fixed at {source.batch}: fewer samples are padded"
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
        content = Path(path).read_bytes()
        text = content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except OSError as e:
        raise SourceError(f"labels file {path} can't be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise SourceError(f"labels file {path} is not UTF-8; save it as UTF-8 in a text editor") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise SourceError(f"labels file {path} is empty")
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(.+)", line) for line in lines]
    if all(m and int(m[1]) == i for i, m in enumerate(numbered)):
        lines = [m[2] for m in numbered if m]
    return tuple(lines)


def derive_head(source: Source, labels: tuple[str, ...] | None) -> str:
    """What the first output means, by the last layer's activation and the training loss."""
    shape = source.outputs[0].shape
    if len(shape) != 2 or source.outputs[0].dtype == "string":
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
    stamped = source.stamp.pixels if source.stamp is not None else None
    if stamped is None and not states_recipe(options):
        return None, False
    if not _takes_images(source):
        raise SpecError(
            f"a pixel recipe needs a model with one input (batch, height, width, 1 or 3), this one takes "
            f"{', '.join(t.describe() for t in source.inputs)}"
        )
    _, height, width, channels = source.inputs[0].shape
    if height is None or width is None:
        raise SpecError(f"the input {source.inputs[0].describe()} has no fixed size, which a pixel recipe needs")
    graph: dict[str, Any] = {"height": height, "width": width}
    if stamped is None:
        color = "gray" if channels == 1 else "rgb"
        dtype = "uint8" if source.inputs[0].dtype == "uint8" else "float32"
        pixels = whole_recipe_from_options(options, PixelSpec(**graph, color=color, dtype=dtype))
    else:
        pixels = dataclasses.replace(recipe_from_options(options, stamped), **graph)
    if pixels.channels != channels:
        raise SpecError(f"color={pixels.color!r} has {pixels.channels} channels, the model takes {channels}")
    return pixels, True


def _decoder_before(source: Source, options: argparse.Namespace) -> str:
    """The decoder of the recipe without --decode: what the training used."""
    pixels, _ = _pixels(source, argparse.Namespace(**{**vars(options), "decode": None}))
    return pixels.decode if pixels is not None else PixelSpec.decode


def training_pixels(spec: ModelSpec) -> PixelSpec | None:
    """The recipe as the training had it: with its decoder, where the device is to decode fast."""
    if spec.pixels is None or spec.pixels.decode != "fast":
        return spec.pixels
    return dataclasses.replace(spec.pixels, decode=spec.provenance.get(TRAINING_DECODE, PixelSpec.decode))


def told_by(source: Source, options: argparse.Namespace, other: ModelSpec) -> tuple[ModelSpec, list[str]]:
    """What the command line, else the Keras file, else its structure says of the training, and notes for the user.

    Of what none of them tells, it has what other has.
    """
    options, notes = _recognised(source, options)
    stamp = source.stamp if source.stamp != ModelSpec() else None
    head = other.head if stamp is None else stamp.head
    if stamp is None and hasattr(source.model, "layers"):
        derived = derive_head(source, other.labels)
        # Logits and the values of a regression only look alike where the loss isn't known.
        head = derived if {derived, head} != {"logits", "regression"} else head
    found = ModelSpec(
        pixels=_pixels(source, options)[0] or training_pixels(other),
        labels=_labels(options, stamp) or other.labels,
        head=head,
    )
    table = stamp.table if stamp is not None and found.pixels is None else None
    return dataclasses.replace(found, table=table or (other.table if found.pixels is None else None)), notes


def check_labels(source: Source, labels: tuple[str, ...] | None, head: str) -> None:
    """Raise SpecError where there are more or fewer labels than classes."""
    shape = source.outputs[0].shape
    if labels is None or head == "regression" or len(shape) != 2 or shape[1] is None:
        return
    expected = 2 if head == "sigmoid" and shape[1] == 1 else shape[1]
    if len(labels) != expected:
        raise SpecError(f"{len(labels)} labels for a model with {expected} classes: {', '.join(labels[:5])} ...")
