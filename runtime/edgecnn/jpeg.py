"""JPEG through libjpeg-turbo: as Pillow decodes it, as TensorFlow does, or shrunk while it is decoded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ImageError
from .pillow import as_pixels, by_rows, check_scans, check_size, decode_as_pil, unsupported

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLAIN = ("444", "422", "420", "440", "411")
"""Chroma subsamplings of colour JPEGs that libjpeg-turbo decodes as Pillow does, on every photograph tried."""

_SPACES = {"rgb": "RGB", "gray": "GRAY"}

_DIVISORS = (8, 4, 2)
"""By how much the DCT can shrink an image in less time than decoding it; libjpeg-turbo's other factors take longer."""

MAX_LENT = 48 * 2**20
"""Most bytes that a thread keeps to decode into: the pixels of a photograph of 16 million."""


class _Scratch(threading.local):
    """Memory that a thread decodes one image after the other into, instead of mapping it anew for each.

    That takes 6 % of the time of 12 million pixels, and 0 to 1 % of two million, which malloc keeps by itself.
    """

    pixels: NDArray[np.uint8] | None = None

    def take(self, size: int) -> dict[str, Any]:
        """simplejpeg's argument for an image of so many bytes; none for one that is too large to keep."""
        if size > MAX_LENT:
            return {}
        if self.pixels is None or len(self.pixels) < size:
            self.pixels = None  # before there are two
            self.pixels = np.empty(size, np.uint8)
        return {"buffer": self.pixels}


_scratch = _Scratch()


def decode_jpeg(
    data: bytes, decoder: str, color: str, size: tuple[int, int] | None = None, *, lent: bool = False
) -> NDArray[np.uint8]:
    """Decode a JPEG as decode does; size is (height, width) of the tensor, for the decoder fast, lent as in decode_for.

    Raises:
        ImageError: damaged, too large, or of a kind that the decoder can't give exactly.
    """
    import simplejpeg

    try:
        height, width, space, subsampling = simplejpeg.decode_jpeg_header(data)
    except ValueError as e:
        # Pillow may still read what libjpeg-turbo's strict header reader refuses.
        if decoder != "tf":
            return decode_as_pil(data, "JPEG", color, size)
        raise ImageError(f"the JPEG is damaged: {e}") from None
    check_size(width, height)
    buffer = _scratch.take(height * width * (3 if color == "rgb" else 1)) if lent else {}
    if _is_progressive(data):
        check_scans(data, width, height)
    if decoder != "tf":
        if space == "Gray" or (color == "rgb" and space == "YCbCr" and subsampling in _PLAIN):
            least = {} if size is None else _shrunk(height, width, size)
            try:
                return as_pixels(simplejpeg.decode_jpeg(data, _SPACES[color], **least, **buffer))
            except ValueError:
                pass  # damaged: whether it still counts as an image is for Pillow to say
        return decode_as_pil(data, "JPEG", color, size)
    try:
        if space in ("CMYK", "YCCK"):
            return _cmyk_as_tf(data, color)
        return as_pixels(simplejpeg.decode_jpeg(data, _SPACES[color], fastdct=True, **buffer))
    except ImageError:
        raise
    except ValueError as e:
        raise ImageError(f"the JPEG is damaged or truncated: {e}") from None


def is_color_jpeg(data: bytes) -> bool:
    """Whether these are the bytes of a JPEG that holds colour as most do, as YCbCr."""
    import simplejpeg

    try:
        return data.startswith(b"\xff\xd8\xff") and simplejpeg.decode_jpeg_header(data)[2] == "YCbCr"
    except ValueError:
        return False


def _is_progressive(data: bytes) -> bool:
    """By the start of the frame (ITU-T T.81, table B.1); True too where the way there isn't understood."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 3 < len(data):
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker & 3 == 2
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True


def _shrunk(height: int, width: int, size: tuple[int, int]) -> dict[str, int]:
    """simplejpeg's bounds for the smallest image that is not below size; the rule of Pillow's draft."""
    for divisor in _DIVISORS:
        if height // divisor >= size[0] and width // divisor >= size[1]:
            return {"min_height": -(-height // divisor), "min_width": -(-width // divisor)}
    return {}


def _cmyk_as_tf(data: bytes, color: str) -> NDArray[np.uint8]:
    """tensorflow/core/lib/jpeg/jpeg_mem.cc: Adobe's inverted CMYK times its own inverted black, over 255."""
    import simplejpeg

    if color == "gray":
        raise unsupported("TensorFlow decodes no CMYK JPEG to gray; use color='rgb' or decoder 'pil'")
    if b"Adobe\0" not in data[: data.find(b"\xff\xda")]:
        raise unsupported("a CMYK JPEG without Adobe's marker has no certain colours; convert it to RGB")

    def times_black(cmyk: NDArray[np.uint8]) -> NDArray[np.uint16]:
        wide = cmyk.astype(np.uint16)
        return wide[..., 3:] * wide[..., :3] // 255

    return by_rows(simplejpeg.decode_jpeg(data, "CMYK", fastdct=True), times_black, 3)
