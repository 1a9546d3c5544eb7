"""PRESETS: the pixel recipes of the loaders that people train with, by name.

A preset fixes everything but height and width; single options override its fields.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .errors import SpecError
from .spec import COLORS, DECODES, FITS, PILLOWS, RESIZES, PixelSpec

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


_OPTIONS = ("resize", "pillow", "fit", "color", "decode", "exif", "scale", "divisor", "offset", "mean", "std")
"""The single options, by their names in PixelSpec."""

_SCALING = ("scale", "divisor", "offset", "mean", "std")


def add_recipe_options(
    parser: argparse.ArgumentParser, title: str = "how the training turned image files into numbers"
) -> None:
    """Add --preset and one option a recipe field, the same for every command that takes them."""
    group = parser.add_argument_group("recipe", title)
    group.add_argument(
        "--preset", "--loader", choices=sorted(PRESETS), metavar="NAME",
        help=f"a loader that people train with: {', '.join(sorted(PRESETS))}",
    )  # fmt: skip
    group.add_argument("--resize", choices=RESIZES, metavar="METHOD", help=f"one of {', '.join(RESIZES)}")
    group.add_argument(
        "--pillow", type=int, choices=PILLOWS, help="version that resized, for pil_*: 13, or 12 for that and older"
    )
    group.add_argument("--fit", choices=FITS, help="another aspect ratio: stretch, centre crop first, or letterbox")
    group.add_argument("--color", choices=COLORS, help="channel order of the model's input")
    group.add_argument(
        "--decode", choices=DECODES, help="JPEG decoder: pil (Pillow, OpenCV), tf (tf.io), or fast, not exact"
    )
    group.add_argument("--exif", action="store_true", default=None, help="apply the EXIF rotation")
    group.add_argument("--scale", type=_number, metavar="S", help="multiply 0..255 by S; 1/255 may be written so")
    group.add_argument("--divisor", type=_number, metavar="D", help="divide 0..255 by D instead of multiplying")
    group.add_argument("--offset", type=_number, metavar="O", help="then add O")
    group.add_argument("--mean", type=_numbers, metavar="M,M,M", help="then subtract, a value a channel")
    group.add_argument("--std", type=_numbers, metavar="S,S,S", help="and divide, a value a channel")


def _number(text: str) -> float:
    """A number, or a fraction such as 1/255."""
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a fraction such as 1/255") from None


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(part) for part in text.split(","))


def states_recipe(args: argparse.Namespace) -> bool:
    """Whether any option of add_recipe_options was given."""
    return args.preset is not None or any(getattr(args, name) is not None for name in _OPTIONS)


def whole_recipe_from_options(args: argparse.Namespace, graph: PixelSpec) -> PixelSpec:
    """recipe_from_options for a model that has no recipe: of graph only what the graph dictates is known.

    Raises:
        SpecError: the options say neither how to resize nor how to scale, or contradict each other.
    """
    if args.preset is None and all(getattr(args, name) is None for name in ("resize", *_SCALING)):
        given = next(name for name in _OPTIONS if getattr(args, name) is not None)
        raise SpecError(
            f"--{given} changes a part of a recipe, but the model carries none; state the whole of it with --preset, "
            "or with --resize and --scale"
        )
    return recipe_from_options(args, graph)


def assumed(args: argparse.Namespace, pixels: PixelSpec) -> list[str]:
    """What whole_recipe_from_options took for granted, as the options that would say so."""
    if args.preset is not None:
        return []
    found = [] if args.resize is not None else [f"--resize {pixels.resize}"]
    return found + ([] if any(getattr(args, name) is not None for name in _SCALING) else ["--scale 1"])


def recipe_from_options(args: argparse.Namespace, base: PixelSpec) -> PixelSpec:
    """The recipe that the options of add_recipe_options ask for.

    Args:
        args: the parsed options.
        base: what single options change. --preset replaces it, except for what the graph dictates: size,
            layout, dtype, and gray for a model with one channel.

    Raises:
        SpecError: the options contradict each other.
    """
    options = {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    fields: dict[str, Any] = base.to_dict()
    if args.preset is not None:
        kept = {name: fields[name] for name in ("height", "width", "layout", "dtype")}
        gray = {"color": "gray"} if base.color == "gray" else {}
        fields = {**PRESETS[args.preset], **kept, **gray}
    # A stated way to normalise replaces the one underneath, whichever form that has.
    if "scale" in options and "divisor" not in options:
        fields.pop("divisor", None)
    if "divisor" in options and "scale" not in options:
        fields.pop("scale", None)
    return PixelSpec.from_dict({**fields, **options})
