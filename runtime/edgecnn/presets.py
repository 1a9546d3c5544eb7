"""PRESETS: the pixel recipes of the loaders that people train with, by name.

A preset fixes everything but height and width; single options override its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .errors import SpecError
from .spec import PixelSpec

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
