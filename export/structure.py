"""What a model's layers tell about its recipe: Teachable Machine, scaling inside, a known backbone.

Teachable Machine's structure decides, since its tool has one recipe, and so does a whole model of keras.applications
with its thousand classes of ImageNet; the rest are hints.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.spec import PixelSpec

from .layers import config_of, parts
from .source import Source

_TEACHABLE = (re.compile(r"global_average_pooling2d_GlobalAveragePooling2D\d+"), re.compile(r"dense_Dense\d+"))
"""Names that TensorFlow.js gave the layers and Teachable Machine's converter kept."""

_BACKBONES = (
    (re.compile(r"mobilenet_?v3|efficientnet|convnext|regnet|resnet-rs", re.I), None),
    (re.compile(r"resnet\d+v2|mobilenet|xception|inception|nasnet", re.I), "imagenet-tf"),
    (re.compile(r"vgg\d+|resnet\d+", re.I), "imagenet-caffe"),
    (re.compile(r"densenet|resnext\d+", re.I), "imagenet-torch"),
)
"""Name of a model of keras.applications -> the preset of its preprocess_input; None where it's inside."""

_TOP = re.compile(r"predictions|fc1000|probs|logits|reshape_2|.*head_dense", re.I)
"""What the versions of keras.applications call the last layer of a whole model."""


def is_teachable_machine(source: Source) -> bool:
    """Whether Teachable Machine's image project exported the model."""
    if len(source.inputs) != 1 or source.inputs[0].shape != (None, 224, 224, 3):
        return False
    names = [str(getattr(part, "name", "")) for part in parts(source.model)]
    return all(any(pattern.fullmatch(name) for name in names) for pattern in _TEACHABLE)


def teachable_labels(source: Source) -> str | None:
    """The labels file that Teachable Machine puts beside its model, or one named after the model."""
    for name in (f"{source.path.stem}.labels.txt", f"{source.path.stem}_labels.txt", "labels.txt"):
        beside = Path(source.path).parent / name
        if beside.is_file():
            return str(beside)
    return None


IMAGENET_CLASSES = 1000
"""Scores of a keras.applications model with its own top."""


def imagenet_recipe(source: Source) -> tuple[str, dict[str, str | int]] | None:
    """(name, recipe options) of a model of keras.applications that still has its ImageNet classes, else None.

    Its images come from load_img(target_size=...), as Keras's documentation has it, then preprocess_input; a model that
    scales inside takes them as they are.
    """
    found = _application(source)
    if found is None or source.outputs[0].shape != (None, IMAGENET_CLASSES):
        return None
    *size, channels = source.inputs[0].shape[1:]
    if None in size or channels != 3:  # a recipe needs a size, and ImageNet has colours
        return None
    preset = found[1]
    if preset is None:
        return found[0], {"resize": "pil_nearest", "decode": "pil", "scale": 1}
    return found[0], {"preset": preset}


def _application(source: Source) -> tuple[str, str | None] | None:
    """(name, preset) of a whole model of keras.applications, by its name and its last layer's."""
    layers = getattr(source.model, "layers", None)
    if not layers or not _TOP.fullmatch(str(layers[-1].name)) or len(source.inputs) != 1:
        return None
    for pattern, preset in _BACKBONES:
        if pattern.match(str(source.model.name)):
            # Those that may scale inside can also be built without.
            known = preset is not None or scaling(source) is not None
            return (str(source.model.name), preset) if known else None
    return None


def hints(source: Source) -> list[str]:
    """What the structure suggests about an unstated recipe."""
    by_hand = _arithmetic(source.model)
    inside = next(_scalings(source.model), None)
    found = []
    if inside is not None:
        found.append(f"the model scales its input itself ({inside[0]}), so {_range(inside[1])}")
    whole = _application(source)
    if whole is not None:
        return [*found, _wants("the model", *whole)]
    for part in () if by_hand else parts(source.model):
        for pattern, preset in _BACKBONES:
            if part is not source.model and hasattr(part, "layers") and pattern.match(str(part.name)):
                # Those that may scale inside can also be built without; what stands before the others scales for them.
                known = inside is None if preset else next(_scaling_layers(part), None) is not None
                return [*found, _wants("its backbone", str(part.name), preset)] if known else found
    return found


def _range(factor: float | None) -> str:
    """What a model wants that multiplies its input by factor: nobody makes numbers of 0..255 larger still."""
    size = abs(factor or 0)
    if 0 < size <= _FROM_BYTES:
        return "it wants 0..255"
    return "it wants 0..1" if size > 1 else "its recipe must not"


def _wants(what: str, name: str, preset: str | None) -> str:
    wants = f"--preset {preset}, if its training called preprocess_input" if preset else "0..255"
    return f"{what} {name} wants {wants}"


def scaled_twice(source: Source, pixels: PixelSpec) -> list[str]:
    """A warning where the recipe scales and the model does too."""
    inside = scaling(source)
    if not pixels.scales or inside is None:
        return []
    return [f"the recipe scales the pixels ({pixels.describe()}) and so does the model ({inside}): is that meant?"]


def scaling(source: Source) -> str | None:
    """What the model itself does to its input, as 'Rescaling(0.00392157, 0)' or 'x / 127.5 - 1'; None for nothing."""
    return next((what for what, _ in _scalings(source.model)), None)


Scaling = tuple[str, float | None]
"""(what is done to the input, the factor in it; None where it is no number)."""

_FROM_BYTES = 1 / 16
"""Largest factor that brings pixels of 0..255, rather than those of 0..1, to what a network takes."""


def _scalings(model: Any) -> Iterator[Scaling]:
    yield from _scaling_layers(model)
    yield from _arithmetic(model)


def _scaling_layers(model: Any) -> Iterator[Scaling]:
    """The layers that scale before any other has weights."""
    for part in parts(model):
        kind = type(part).__name__
        if kind == "Rescaling":
            factor = float(part.scale) if isinstance(part.scale, (int, float)) else None
            yield f"Rescaling({_number(part.scale)}, {_number(part.offset)})", factor
        elif kind == "Normalization":
            spread = np.asarray(part.variance, np.float64)
            yield "Normalization", float(1 / np.sqrt(spread.mean())) if spread.size and (spread > 0).all() else None
        elif getattr(part, "weights", ()) and not hasattr(part, "layers"):
            return


_STEPS = {
    "math.truediv": "/", "math.divide": "/", "math.multiply": "*", "math.subtract": "-", "math.add": "+",
    "__operators__.add": "+", "nn.bias_add": "+", "TrueDivide": "/", "Divide": "/", "Multiply": "*", "Subtract": "-",
    "Add": "+", "RealDiv": "/", "Mul": "*", "Sub": "-", "AddV2": "+", "BiasAdd": "+",
}  # fmt: skip
"""Operations of a functional model, as TensorFlow, Keras 3 and the graphs of TensorFlow 1.15 to 2.3 call them."""


def _arithmetic(model: Any) -> list[Scaling]:
    """[('x / 127.5 - 1', 1 / 127.5)], what a model does to its one input before any weights, or []."""
    if not hasattr(model, "layers") or len(getattr(model, "inputs", None) or ()) != 1:
        return []
    weighted = {layer.name for layer in model.layers if layer.weights}
    found: list[str] = []
    factor: float | None = 1.0
    for layer in (config_of(model) or {}).get("layers", ()):
        inner = layer.get("config") or {}
        if layer.get("name", inner.get("name")) in weighted:
            break
        kind = layer["class_name"]
        if kind in ("EdgeExpression", "Lambda") and not found:
            slope = _slope(model.get_layer(inner["name"]))
            if slope is not None:
                return [(str(inner.get("expression", kind)), slope)]
        if kind == "TensorFlowOpLayer":
            step, operand = _STEPS.get(inner["node_def"]["op"]), (inner.get("constants") or {}).get(1)
        else:
            step = _STEPS.get(inner["function"] if kind == "TFOpLambda" else kind)
            operand = _operand(layer.get("inbound_nodes"))
        if step is not None and operand is not None:
            if step in "*/":
                number = isinstance(operand, (int, float)) and operand != 0 and factor is not None
                factor = (factor * operand if step == "*" else factor / operand) if number else None
            found.append(f"{step} {_number(operand) if isinstance(operand, (int, float)) else 'a mean'}")
    return [(f"x {' '.join(found)}", factor)] if found else []


def _slope(layer: Any) -> float | None:
    """How much more a function gives for ones than for zeros; None where it does not scale every value alike."""
    with contextlib.suppress(Exception):  # it may be any function, also one of several tensors
        shape = [n or 1 for n in layer.input.shape]
        zeros, ones = (np.asarray(layer(np.full(shape, value, np.float32))) for value in (0, 1))
        rise = ones - zeros
        even = rise.shape == tuple(shape) and np.ptp(rise) <= 1e-6 * max(1, np.abs(zeros).max())
        if even and (zeros.any() or rise.flat[0] != 1):
            return float(rise.flat[0])
    return None


def _operand(nodes: Any) -> Any:
    """What an operation on one tensor is given beside it; None where that is another tensor."""
    with contextlib.suppress(IndexError, KeyError, TypeError):
        if isinstance(nodes[0], dict):
            found = nodes[0]["args"][1]
        else:
            found = next((v for k, v in nodes[0][3].items() if k in ("y", "bias")), None)
        kind = found.get("class_name") if isinstance(found, dict) else None
        return None if kind == "__keras_tensor__" or (isinstance(found, list) and isinstance(found[0], str)) else found
    return None


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)
