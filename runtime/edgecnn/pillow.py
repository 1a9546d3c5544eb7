"""Images opened by Pillow, within limits and quietly: an image, or one ImageError with its reason.

Also where the limits on an image are that hold for every decoder.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ImageError
from .quiet import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

# Pillow logs what it then raises. Without any handler Python would print that on stderr beside our one error;
# handlers that an application configured see it as before.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 178_956_970
"""Most pixels in an image (536 MB as RGB): Pillow's own error limit, twice its MAX_IMAGE_PIXELS."""

MAX_SLOW_PIXELS = 2**24
"""Most pixels for Pillow's decoders that are written in Python (run-length BMP, QOI, PPM as text): up to 1 us each."""

MAX_SCANNED = 2**32
"""Most pixels times scans of a JPEG, a few seconds: progressive ones have 10 scans, a hostile one as many as fit."""

_PIL_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""What Pillow may open: raster images only, since its EPS reader would start Ghostscript."""

_ROWS = 64

WIDE_MODES = ("I", "F")
"""First letters of Pillow's modes of more than 8 bits a channel: I, I;16, I;16B, F."""


def unsupported(message: str) -> ImageError:
    """The error for an image that is sound, but of a kind that the decoder can't give exactly."""
    error = ImageError(message)
    error.code = "unsupported_image"
    return error


def check_size(width: int, height: int) -> None:
    """Refuse before any pixel is decoded.

    Raises:
        ImageError: no pixels, or more than MAX_PIXELS.
    """
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the image is {width}x{height}, {width * height / 1e6:.0f} million pixels; the limit is "
            f"{MAX_PIXELS / 1e6:.0f} million: shrink it first"
        )


def check_scans(data: bytes, width: int, height: int) -> None:
    """Refuse a JPEG that goes over its pixels thousands of times, a scan of a few bytes each.

    Raises:
        ImageError: more than MAX_SCANNED pixels in all its scans together.
    """
    found = np.frombuffer(data, np.uint8)
    # Inside a scan 0xFF is followed by 0, so that a marker is found nowhere else.
    scans = int(np.count_nonzero((found[:-1] == 0xFF) & (found[1:] == 0xDA)))
    if scans * width * height > MAX_SCANNED:
        raise ImageError(f"the JPEG is {width}x{height} in {scans} scans, which would take minutes; save it again")


def decode_as_pil(data: bytes, kind: str | None, color: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Pillow's convert("RGB") or convert("L"), (H, W, C); size: of a JPEG, (height, width) that it is not shrunk below.

    Raises:
        ImageError: no image, damaged, too large or of more than 8 bits a channel.
    """
    with opened(data, kind) as image:
        if kind == "JPEG":
            check_scans(data, *image.size)
        if size is not None:
            image.draft(image.mode, size[::-1])
        if image.mode[0] in WIDE_MODES:
            raise unsupported(
                f"the image has {'32' if image.mode in ('I', 'F') else '16'}-bit gray pixels (mode {image.mode}), "
                "which Pillow clips at 255 to white; convert it to 8 bits first"
            )
        return convert(image, "RGB" if color == "rgb" else "L")


@contextmanager
def opened(data: bytes, kind: str | None) -> Iterator[Image.Image]:
    """The image as Pillow opens it, size checked, nothing decoded; whatever Pillow raises becomes an ImageError."""
    from PIL import Image, UnidentifiedImageError

    what = f"the {kind} image" if kind else "the image"
    with quiet():
        try:
            with Image.open(io.BytesIO(data), formats=_formats(kind)) as image:
                check_size(*image.size)
                _check_speed(image)
                yield image
        except ImageError:
            raise
        except Image.DecompressionBombError:
            raise ImageError(f"{what} has more than {MAX_PIXELS / 1e6:.0f} million pixels: shrink it first") from None
        except UnidentifiedImageError:
            problem = "is damaged: its header can't be read" if kind else "is in no known image format"
            raise ImageError(f"{what} {problem}") from None
        except MemoryError:
            raise ImageError(f"{what} does not fit into memory") from None
        except Exception as e:  # Pillow's readers raise whatever their parsing stumbles on
            raise ImageError(f"{what} is damaged or truncated: {e}") from None


def _check_speed(image: Image.Image) -> None:
    from PIL.Image import DECODERS  # those written in Python

    codecs = [tile[0] for tile in getattr(image, "tile", ())]
    if image.width * image.height > MAX_SLOW_PIXELS and any(codec in DECODERS for codec in codecs):
        raise ImageError(
            f"the image is {image.width}x{image.height} in a form ({codecs[0]}) that takes minutes to decode at more "
            f"than {MAX_SLOW_PIXELS / 1e6:.0f} million pixels; convert it to PNG"
        )


def _formats(kind: str | None) -> tuple[str, ...]:
    from PIL import Image

    if kind == "JPEG":
        return ("JPEG", "MPO")
    if kind is not None:
        return (kind,)
    Image.init()
    return tuple(f for f in _PIL_FORMATS if f in Image.OPEN)


def convert(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    """The image decoded and turned to a mode, (H, W, C)."""
    image.load()
    # Conversions to RGB and L ignore it, but warn about it and compute a new one.
    image.info.pop("transparency", None)
    return as_pixels(np.asarray(image if image.mode == mode else image.convert(mode)))


def as_pixels(array: Any) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) -> contiguous (H, W, C)."""
    pixels: NDArray[np.uint8] = np.ascontiguousarray(array)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def by_rows(pixels: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]], channels: int) -> NDArray[np.uint8]:
    """(H, W, channels): function of a few rows at a time, so that its wider numbers never hold a whole image."""
    out = np.empty((*pixels.shape[:2], channels), np.uint8)
    for y in range(0, len(pixels), _ROWS):
        out[y : y + _ROWS] = function(pixels[y : y + _ROWS])
    return out
