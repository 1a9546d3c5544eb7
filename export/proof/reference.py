"""The input tensor as the training libraries themselves make it: the side that our pixels are held against.

Which library a recipe means follows from its decoder and its resize: Keras's load_img and Pillow, tf.io and
tf.image, or cv2. Nothing here is ours but the plain arithmetic that people write around them.
"""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EdgeCNNError
from edgecnn.presets import PRESETS
from edgecnn.spec import PixelSpec

from ..backend import require, tensorflow

Array = npt.NDArray[Any]

_TF = {"tf_nearest": "nearest", "tf_bilinear": "bilinear", "tf_bilinear_antialias": "bilinear", "tf_area": "area",
       "tf_bicubic": "bicubic"}  # fmt: skip
_CV2 = {"cv2_nearest": "INTER_NEAREST", "cv2_linear": "INTER_LINEAR", "cv2_area": "INTER_AREA",
        "cv2_cubic": "INTER_CUBIC"}  # fmt: skip

_MODES = {"imagenet-caffe": "caffe", "imagenet-tf": "tf", "imagenet-torch": "torch"}
"""Preset -> mode of keras.applications.imagenet_utils.preprocess_input."""

_NORMALISATION = ("scale", "divisor", "offset", "mean", "std", "color")


class NoReferenceError(EdgeCNNError):
    """No library on this machine does what the recipe says, so there is nothing to compare with."""


def describe(pixels: PixelSpec) -> tuple[str, str, str]:
    """The functions that decode, resize and normalise; of arithmetic, how people write it."""
    name, mode = pixels.resize.split("_", 1)[1], _mode(pixels)
    if pixels.resize.startswith("tf_"):
        resizes = f"tf.image.resize {name}" if pixels.fit == "stretch" else f"keras.ops.image.resize {name}"
    elif pixels.resize.startswith("cv2_"):
        resizes = f"cv2.resize {_CV2[pixels.resize]}"
    else:
        how = {"stretch": "Image.resize", "crop": "ImageOps.fit", "pad": "ImageOps.pad"}[pixels.fit]
        resizes = f"PIL {how} {name}"
    return _decoder(pixels), resizes, f"keras preprocess_input {mode}" if mode else "numpy float32"


def _decoder(pixels: PixelSpec) -> str:
    if pixels.decode == "tf":
        return "tf.io.decode_image"
    return "cv2.imread" if pixels.resize.startswith("cv2_") else "keras load_img"


def decode(data: bytes, pixels: PixelSpec) -> Array:
    """Encoded bytes -> (H, W, C) uint8, in the recipe's channel order.

    Raises:
        NoReferenceError: the library isn't installed, or can't open the image.
    """
    try:
        if pixels.resize.startswith("cv2_") and pixels.decode == "pil":
            return _decode_cv2(data, pixels)
        image = _decode_tf(data, pixels) if pixels.decode == "tf" else _decode_keras(data, pixels)
    except NoReferenceError:
        raise
    except Exception as e:
        raise NoReferenceError(f"{_decoder(pixels)} can't open the image: {e}") from e
    return np.ascontiguousarray(image[..., ::-1]) if pixels.color == "bgr" else image


def _decode_cv2(data: bytes, pixels: PixelSpec) -> Array:
    cv2 = _require("cv2")
    flags = cv2.IMREAD_COLOR | (0 if pixels.exif else cv2.IMREAD_IGNORE_ORIENTATION)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise NoReferenceError("cv2.imread can't open the image")
    if pixels.color == "gray":
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., np.newaxis]
    return image if pixels.color == "bgr" else np.ascontiguousarray(image[..., ::-1])


def _decode_tf(data: bytes, pixels: PixelSpec) -> Array:
    channels = 1 if pixels.color == "gray" else 3
    image = tensorflow().io.decode_image(data, channels=channels, expand_animations=False).numpy()
    if not pixels.exif:
        return image
    pil = _require("PIL.Image")
    picture = pil.fromarray(image[..., 0] if channels == 1 else image)
    with pil.open(io.BytesIO(data)) as original:
        picture.getexif()[_ORIENTATION] = original.getexif().get(_ORIENTATION, 1)
    turned = _require("PIL.ImageOps").exif_transpose(picture)
    return np.asarray(turned).reshape(turned.height, turned.width, channels)


def _decode_keras(data: bytes, pixels: PixelSpec) -> Array:
    mode = "grayscale" if pixels.color == "gray" else "rgb"
    if pixels.exif:
        with _require("PIL.Image").open(io.BytesIO(data)) as image:
            turned = _require("PIL.ImageOps").exif_transpose(image).convert("L" if mode == "grayscale" else "RGB")
    else:
        turned = _keras("keras").utils.load_img(io.BytesIO(data), color_mode=mode)
    return np.asarray(turned).reshape(turned.height, turned.width, -1)


_ORIENTATION = 0x0112
"""The EXIF tag."""


def resize(image: Array, pixels: PixelSpec) -> Array:
    """(H, W, C) uint8 -> (height, width, C), float32 where the library computes in float, else uint8.

    Raises:
        NoReferenceError: the library isn't installed, or has no such resize.
    """
    if pixels.resize.startswith("tf_"):
        return _resize_tf(image, pixels)
    if pixels.resize.startswith("cv2_"):
        return _resize_cv2(image, pixels)
    return _resize_pil(image, pixels)


def _resize_tf(image: Array, pixels: PixelSpec) -> Array:
    size, antialias = (pixels.height, pixels.width), pixels.resize.endswith("antialias")
    if pixels.fit == "stretch" and pixels.dtype == "float32":
        return tensorflow().image.resize(image, size, _TF[pixels.resize], antialias=antialias).numpy()
    if pixels.resize == "tf_area":
        raise NoReferenceError(f"Keras has no area resize with fit {pixels.fit!r} and {pixels.dtype}")
    resized = _keras("keras").ops.image.resize(
        image if pixels.dtype == "uint8" else image.astype(np.float32), size,
        interpolation=_TF[pixels.resize], antialias=antialias, fill_value=pixels.pad_value,
        crop_to_aspect_ratio=pixels.fit == "crop", pad_to_aspect_ratio=pixels.fit == "pad",
    )  # fmt: skip
    return np.asarray(resized)


def _resize_cv2(image: Array, pixels: PixelSpec) -> Array:
    cv2 = _require("cv2")
    if pixels.fit != "stretch":
        raise NoReferenceError(f"OpenCV has no resize with fit {pixels.fit!r}")
    # Intel's IPP, which OpenCV on x86 uses for cubic, is closed, and its last bits depend on the CPU.
    cv2.ipp.setUseIPP(pixels.resize != "cv2_cubic")
    try:
        resized = cv2.resize(image, (pixels.width, pixels.height), interpolation=getattr(cv2, _CV2[pixels.resize]))
    finally:
        cv2.ipp.setUseIPP(True)
    return resized.reshape(pixels.height, pixels.width, -1)


def _resize_pil(image: Array, pixels: PixelSpec) -> Array:
    pil, ops = _require("PIL.Image"), _require("PIL.ImageOps")
    installed = 13 if int(pil.__version__.split(".")[0]) >= 13 else 12
    if installed != pixels.pillow and pixels.resize != "pil_nearest":
        raise NoReferenceError(f"the recipe is Pillow {pixels.pillow}'s, installed here is Pillow {pil.__version__}")
    picture = pil.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    method = getattr(pil.Resampling, pixels.resize.removeprefix("pil_").upper())
    size = (pixels.width, pixels.height)
    if pixels.fit == "crop":
        resized = ops.fit(picture, size, method)
    elif pixels.fit == "pad":
        fill = pixels.pad_value
        resized = ops.pad(picture, size, method, color=fill if image.shape[2] == 1 else (fill,) * 3)
    else:
        resized = picture.resize(size, method)
    return np.asarray(resized).reshape(pixels.height, pixels.width, -1)


def normalise(image: Array, pixels: PixelSpec) -> Array:
    """(height, width, C) -> the input tensor, in the recipe's layout and dtype."""
    if pixels.dtype == "uint8":
        x = image
    elif mode := _mode(pixels):
        x = image.astype(np.float32)
        # preprocess_input takes RGB and turns it to BGR itself where its mode wants that.
        x = x[..., ::-1] if pixels.color == "bgr" else x
        x = _keras("keras.applications.imagenet_utils").preprocess_input(np.array(x), mode=mode)
    else:
        x = _arithmetic(image.astype(np.float32), pixels)
    return np.ascontiguousarray(np.moveaxis(x, -1, 0) if pixels.layout == "nchw" else x)


def _arithmetic(x: Array, pixels: PixelSpec) -> Array:
    if pixels.divisor is not None:
        x = x / np.float32(pixels.divisor)
    elif pixels.scale != 1:
        x = x * np.float32(pixels.scale)
    if pixels.offset:
        x = x + np.float32(pixels.offset)
    if pixels.mean is not None:
        x = (x - np.array(pixels.mean, np.float32)) / np.array(pixels.std, np.float32)
    return x


def _mode(pixels: PixelSpec) -> str | None:
    """The mode of preprocess_input that a recipe's normalisation is; None where it is another."""
    plain = {f.name: f.default for f in dataclasses.fields(PixelSpec)}
    for preset, mode in _MODES.items():
        wanted = {**plain, **PRESETS[preset]}
        if all(getattr(pixels, name) == wanted[name] for name in _NORMALISATION):
            return mode
    return None


def _keras(name: str) -> Any:
    """A module of Keras; it brings TensorFlow along, which starts quietly only here."""
    tensorflow()
    return require(name)


def _require(name: str) -> Any:
    try:
        return require(name)
    except EdgeCNNError as e:
        raise NoReferenceError(f"{name} isn't installed here, so the recipe can't be compared with it") from e
