"""preprocess: pixels of any size -> the model's input tensor, bit for bit as the training library made it.

The work is done by a plan of taps and weights that depends on nothing but the recipe and the source's shape;
plans are kept and shared between threads, so a stream of equal frames pays for its plan once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ._core import Plan
from .errors import ImageError
from .spec import PixelSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_THREADS = 1024

MAX_PLANS = 128
"""Plans kept: some kilobytes each; folders of photographs have a few dozen shapes."""

PACKED_YUV = ("yuyv", "uyvy")
PLANAR_YUV = ("nv12", "nv21", "i420")
SOURCE_COLORS = ("rgb", "bgr", "rgba", "bgra", "gray", *PACKED_YUV, *PLANAR_YUV)
"""Channel orders that a source array may have; alpha is ignored. The YUV ones are cameras' frames, shaped as in
OpenCV: (H, W, 2) packed, (H * 3 / 2, W) planar, H and W even."""


def preprocess(
    image: NDArray[np.uint8] | tuple[NDArray[np.uint8], ...],
    spec: PixelSpec,
    out: NDArray[np.float32] | NDArray[np.uint8] | None = None,
    *,
    color: str = "rgb",
    roi: tuple[int, int, int, int] | None = None,
    threads: int = 1,
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turn decoded pixels into one input tensor: colour, fit, resize, normalise, layout.

    A colour source becomes gray before the resize, by OpenCV's BGR2GRAY rule for the cv2_* methods and by
    Pillow's convert("L") for all others (`decode(color="gray")` applies the decoder's own rule instead).
    fit crop and pad follow the library of the method: keras.ops.image.resize(crop_to_aspect_ratio or
    pad_to_aspect_ratio) for tf_*, PIL.ImageOps.fit and .pad for pil_*, and Keras's whole-pixel crop and
    border around cv2.resize for cv2_*, since OpenCV has neither.
    A YUV frame becomes RGB as by cv2.cvtColor (BT.601, limited range), and only where the resize touches it.
    With dtype uint8 the methods that compute in float (tf_bilinear, tf_bilinear_antialias, tf_area,
    tf_bicubic) round half to even and saturate, as keras.ops.image.resize does for integer images.

    Args:
        image: (H, W, C) uint8, 0 to 255, C and channel order as in `color`; (H, W) too for gray. The rows
            may be apart (image[y:y+h, x:x+w] of a larger frame), the pixels of a row may not. Of a planar YUV frame
            also a tuple of its planes, each with its own row stride, as GStreamer, libcamera and V4L2 hand them out:
            (y, uv) for nv12 and nv21, uv (H / 2, W) or (H / 2, W / 2, 2); (y, u, v) for i420, u and v (H / 2, W / 2).
        spec: The recipe; `decode` and `exif` play no part here.
        out: Where to write: spec.shape, spec.dtype, C-contiguous; `batch[i]` of a larger tensor is fine.
        color: Channel order of image, one of SOURCE_COLORS.
        roi: Region of interest (x, y, width, height), pixels: the same as cutting it out of the image, or of a YUV
            frame's RGB, first.
        threads: How many may share the work; the bits are the same. More than one is used only by the methods that
            read every pixel, and only where they take longer than about 100 us.

    Returns:
        out, or a new array of spec.shape and spec.dtype.

    Raises:
        ImageError: image or out has the wrong type, shape or layout, or they overlap; out is untouched.
    """
    if isinstance(image, np.ndarray):
        shape = image.shape
    elif isinstance(image, tuple):
        shape = _stacked_shape(image, color)
    else:
        raise ImageError(
            f"image must be a (H, W, C) uint8 numpy array, got {type(image).__name__}; "
            "edgecnn.decode reads files and encoded bytes"
        )
    if roi is not None and not isinstance(roi, tuple):
        raise ImageError(f"roi must be a tuple (x, y, width, height), got {type(roi).__name__}")
    if len(shape) not in (2, 3):
        raise ImageError(f"image must be (H, W, C), or (H, W) with color='gray'; got {len(shape)}-D {shape}")
    global _latest
    key, plan = _latest
    if key[0] is not spec or key[1] != shape or key[2] != color or key[3] != roi:
        _check_key(spec, color)
        plan = _plan(spec, shape[0], shape[1], color, roi)
        _latest = ((spec, shape, color, roi), plan)
    assert plan is not None
    if out is None:
        out = plan.empty()
    elif not isinstance(out, np.ndarray):
        raise ImageError(f"out must be a numpy array of {spec.shape}, got {type(out).__name__}")
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ImageError(f"threads must be a whole number from 1 to {MAX_THREADS}, got {threads!r}")
    if isinstance(image, tuple):
        plan.run_planes(image, out, threads)
    else:
        plan.run(image, out, threads)
    return out


def preprocess_batch(
    images: Sequence[NDArray[np.uint8] | tuple[NDArray[np.uint8], ...]],
    spec: PixelSpec,
    out: NDArray[np.float32] | NDArray[np.uint8] | None = None,
    *,
    color: str = "rgb",
    threads: int = 1,
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Turn images of any sizes into one input batch, each as preprocess does.

    Args:
        images: Arrays as preprocess takes them, all of the same channel order.
        spec: The recipe.
        out: Where to write: (len(images), *spec.shape), spec.dtype, C-contiguous.
        color: Channel order of the images, one of SOURCE_COLORS.
        threads: Images worked on at the same time; the result is the same.

    Returns:
        out, or a new array of that shape.

    Raises:
        ImageError: out doesn't fit, or an image can't be used; the message names its index. Rows of out that
            belong to other images may have been written.
    """
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ImageError(f"threads must be a whole number from 1 to {MAX_THREADS}, got {threads!r}")
    if not isinstance(images, (Sequence, np.ndarray)):
        raise ImageError(f"images must be a list of arrays, got {type(images).__name__}")
    _check_key(spec, color)
    shape = (len(images), *spec.shape)
    if out is None:
        out = np.empty(shape, spec.dtype)
    elif not isinstance(out, np.ndarray) or out.shape != shape:
        raise ImageError(f"out must be a numpy array of {shape}, got {getattr(out, 'shape', type(out).__name__)}")
    batch = out
    for i, image in enumerate(images):
        planes = image if isinstance(image, tuple) else (image,)
        if any(isinstance(plane, np.ndarray) and np.may_share_memory(batch, plane) for plane in planes):
            raise ImageError(f"image {i}: out must not overlap image")

    def one(i: int) -> None:
        try:
            preprocess(images[i], spec, batch[i], color=color)
        except ImageError as e:
            raise ImageError(f"image {i}: {e}") from None

    if threads == 1 or len(images) < 2:
        for i in range(len(images)):
            one(i)
    else:
        with ThreadPoolExecutor(min(threads, len(images))) as pool:
            list(pool.map(one, range(len(images))))
    return out


_latest: tuple[tuple[object, object, object, object], Plan | None] = ((None, None, None, None), None)
"""The last call's key and plan: a stream of equal frames needs neither hash nor lookup. Replaced as a whole, so
threads see one pair or the other."""


def _check_key(spec: PixelSpec, color: str) -> None:
    if not isinstance(spec, PixelSpec):
        raise TypeError(f"spec must be a PixelSpec, got {type(spec).__name__}")
    if not isinstance(color, str):
        raise ImageError(f"color must be one of {', '.join(SOURCE_COLORS)}; got {color!r}")


def _stacked_shape(planes: tuple[NDArray[np.uint8], ...], color: str) -> tuple[int, int]:
    """The shape that the planes have in one array; the plan is the same, and looks at each of them itself."""
    luma = planes[0] if planes else None
    if color not in PLANAR_YUV or not isinstance(luma, np.ndarray) or luma.ndim != 2:
        raise ImageError(
            "image as a tuple must be the planes of a frame, (y, uv) or (y, u, v), y a (H, W) uint8 numpy array, with "
            f"color {', '.join(PLANAR_YUV)}; got {len(planes)} with color={color!r}"
        )
    height, width = luma.shape
    if height % 2:
        raise ImageError(f"a YUV frame has even sides, got {width}x{height}")
    return height // 2 * 3, width


@functools.lru_cache(maxsize=MAX_PLANS)
def _plan(spec: PixelSpec, rows: int, width: int, color: str, roi: tuple[int, int, int, int] | None) -> Plan:
    height = rows
    if color in PLANAR_YUV:
        height = rows // 3 * 2
        if rows % 3 != 0:
            raise ImageError(f"image must be (height * 3 / 2, width) for color={color!r}, got {rows} rows")
    return Plan(spec, height, width, color, roi)
