"""PRESETS: the pixel recipes of the loaders that people train with, by name.

A preset fixes everything but height and width; single options override its fields.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .errors import SpecError
from .spec import COLORS, DECODES, FITS, RESIZES, PixelSpec

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
"""RGB statistics of ImageNet on the 0..1 scale: keras.applications.imagenet_utils, torchvision."""

_CAFFE_MEAN = (103.939, 116.779, 123.68)
"""BGR means of ImageNet on the 0..255 scale: keras.applications.imagenet_utils, mode 'caffe'."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # What train/cnn.py uses; keras.utils.load_img(interpolation="bilinear") gives the same pixels.
        "edgecnn": {"decode": "pil", "resize": "pil_bilinear", "scale": 1 / 255},
        # ImageDataGenerator(rescale=1/255).flow_from_directory: load_img's default is PIL's nearest.
        "keras-flow": {"decode": "pil", "resize": "pil_nearest", "scale": 1 / 255},
        # keras.utils.image_dataset_from_directory: values stay 0..255, the model rescales them itself.
        "keras-dataset": {"decode": "tf", "resize": "tf_bilinear"},
        # Teachable Machine's snippet: ImageOps.fit(image, size, LANCZOS), then x / 127.5 - 1.
        "teachable-machine": {
            "decode": "pil", "fit": "crop", "resize": "pil_lanczos", "divisor": 127.5, "offset": -1.0,
        },
        # cv2.imread (which applies the EXIF rotation), cv2.resize, / 255.
        "opencv": {"decode": "pil", "exif": True, "color": "bgr", "resize": "cv2_linear", "divisor": 255.0},
        # keras.applications preprocess_input after load_img(target_size=...), by its three modes.
        "imagenet-caffe": {
            "decode": "pil", "color": "bgr", "resize": "pil_nearest",
            "mean": _CAFFE_MEAN, "std": (1.0, 1.0, 1.0),
        },
        "imagenet-tf": {"decode": "pil", "resize": "pil_nearest", "divisor": 127.5, "offset": -1.0},
        "imagenet-torch": {
            "decode": "pil", "resize": "pil_nearest", "divisor": 255.0,
            "mean": _IMAGENET_MEAN, "std": _IMAGENET_STD,
        },
    }
)  # fmt: skip
"""Name -> PixelSpec fields (all but height and width)."""


def from_preset(name: str, *, height: int, width: int, **overrides: Any) -> PixelSpec:
    """The PixelSpec of a named preset, with single fields replaced.

    Raises:
        SpecError: the name is unknown, or an override contradicts the recipe.
    """
    if name not in PRESETS:
        raise SpecError(f"unknown preset {name!r}; there are {', '.join(sorted(PRESETS))}")
    return PixelSpec(height=height, width=width, **{**PRESETS[name], **overrides})


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add --preset and one option a recipe field, shared by predict, export and train."""
    group = parser.add_argument_group("recipe", "what a model was trained on; overrides what its file says")
    group.add_argument("--preset", choices=sorted(PRESETS), help="the recipe of a training loader")
    group.add_argument("--resize", choices=RESIZES, metavar="METHOD", help=f"one of {', '.join(RESIZES)}")
    group.add_argument("--fit", choices=FITS, help="another aspect ratio: stretch, centre crop first, or letterbox")
    group.add_argument("--color", choices=COLORS, help="channel order of the input tensor")
    group.add_argument("--decode", choices=DECODES, help="JPEG decoder: pil (Pillow, OpenCV) or tf (tf.io, fast DCT)")
    group.add_argument("--scale", type=float, metavar="S", help="multiply the 0..255 values by S, such as 0.00392157")
    group.add_argument("--divisor", type=float, metavar="D", help="divide the 0..255 values by D instead, such as 255")
    group.add_argument("--offset", type=float, metavar="O", help="add O after scale or divisor")
    group.add_argument("--mean", type=_numbers, metavar="M,M,M", help="subtract last, a value a channel")
    group.add_argument("--std", type=_numbers, metavar="S,S,S", help="divide by after --mean, a value a channel")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def recipe_from_options(
    args: argparse.Namespace, *, height: int, width: int, base: PixelSpec | None = None
) -> PixelSpec | None:
    """The recipe that the options of add_recipe_options ask for.

    Args:
        args: the parsed options.
        height: rows of the model input, pixels.
        width: columns of the model input, pixels.
        base: the recipe that single options change; --preset replaces it.

    Returns:
        The recipe; base itself, or None, where no option was given.

    Raises:
        SpecError: the options contradict each other.
    """
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    if args.preset is None and not options:
        return base
    fields: dict[str, Any] = {} if base is None else base.to_dict()
    if args.preset is not None:
        kept = {name: fields[name] for name in ("layout", "dtype") if name in fields}
        if fields.get("color") == "gray":
            kept["color"] = "gray"
        fields = {**PRESETS[args.preset], **kept}
    # A stated way to normalise replaces the one underneath, whichever form that has.
    if "scale" in options:
        fields.pop("divisor", None)
    if "divisor" in options:
        fields.pop("scale", None)
    return PixelSpec(**{**fields, **options, "height": height, "width": width})


_OPTIONS = ("resize", "fit", "color", "decode", "scale", "divisor", "offset", "mean", "std")
