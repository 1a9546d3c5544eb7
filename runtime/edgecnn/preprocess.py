"""preprocess: pixels of any size -> the model's input tensor, bit for bit as the training library made it.

The work is done by a plan of taps and weights that depends on nothing but the recipe and the source's shape;
plans are kept and shared between threads, so a stream of equal frames pays for its plan once.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from ._core import Plan
from .errors import ImageError
from .spec import PixelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PLANS = 128
"""Plans kept: some kilobytes each; folders of photographs have a few dozen shapes."""

SOURCE_COLORS = ("rgb", "bgr", "rgba", "bgra", "gray")
"""Channel orders that a source array may have; alpha is ignored."""


def preprocess(
    image: NDArray[np.uint8],
    spec: PixelSpec,
    out: NDArray[np.float32] | NDArray[np.uint8] | None = None,
    *,
    color: str = "rgb",
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turn decoded pixels into one input tensor: colour, fit, resize, normalise, layout.

    A colour source becomes gray before the resize, by OpenCV's BGR2GRAY rule for the cv2_* methods and by
    Pillow's convert("L") for all others (`decode(color="gray")` applies the decoder's own rule instead).
    fit crop and pad follow the library of the method: keras.ops.image.resize(crop_to_aspect_ratio or
    pad_to_aspect_ratio) for tf_*, PIL.ImageOps.fit and .pad for pil_*, and Keras's whole-pixel crop and
    border around cv2.resize for cv2_*, since OpenCV has neither.
    With dtype uint8 the methods that compute in float (tf_bilinear, tf_bilinear_antialias, tf_area,
    tf_bicubic) round half to even and saturate, as keras.ops.image.resize does for integer images.

    Args:
        image: (H, W, C) uint8, 0 to 255, C and channel order as in `color`; (H, W) too for gray. The rows
            may be apart (a crop of a larger frame), the pixels of a row may not.
        spec: The recipe; `decode` and `exif` play no part here.
        out: Where to write: spec.shape, spec.dtype, C-contiguous; `batch[i]` of a larger tensor is fine.
        color: Channel order of image, one of SOURCE_COLORS.

    Returns:
        out, or a new array of spec.shape and spec.dtype.

    Raises:
        ImageError: image or out has the wrong type, shape or layout, or they overlap; out is untouched.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"image must be a (H, W, C) uint8 numpy array, got {type(image).__name__}; "
            "edgecnn.decode reads files and encoded bytes"
        )
    if image.ndim not in (2, 3):
        raise ImageError(f"image must be (H, W, C), or (H, W) with color='gray'; got {image.ndim}-D {image.shape}")
    global _latest
    key, plan = _latest
    if key[0] is not spec or key[1] != image.shape or key[2] != color:
        plan = _plan(spec, image.shape[0], image.shape[1], color)
        _latest = ((spec, image.shape, color), plan)
    assert plan is not None
    if out is None:
        out = plan.empty()
    elif not isinstance(out, np.ndarray):
        raise ImageError(f"out must be a numpy array of {spec.shape}, got {type(out).__name__}")
    plan.run(image, out)
    return out


_latest: tuple[tuple[object, object, object], Plan | None] = ((None, None, None), None)
"""The last call's key and plan: a stream of equal frames needs neither hash nor lookup. Replaced as a whole, so
threads see one pair or the other."""


@functools.lru_cache(maxsize=MAX_PLANS)
def _plan(spec: PixelSpec, height: int, width: int, color: str) -> Plan:
    if not isinstance(spec, PixelSpec):
        raise TypeError(f"spec must be a PixelSpec, got {type(spec).__name__}")
    return Plan(spec, height, width, color)
