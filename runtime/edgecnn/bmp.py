"""BMP of 24 bits a pixel without compression: the file's bytes are the pixels, so that nothing is decoded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from .pillow import check_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = struct.Struct("<2s8xIIiiHHI")
"""Signature, offset of the pixels, size of the rest of the header, width, height, planes, bits a pixel, compression."""

_SIZES = (40, 52, 56, 108, 124)
"""Of that rest; the older one of 12 has other fields."""


def bmp_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a file as they lie in it; None where it is another kind of BMP, or damaged.

    Returns:
        (H, W, 3) uint8 BGR that can't be written, as a rule with its last row first in memory.

    Raises:
        ImageError: too large.
    """
    if len(data) < _HEADER.size:
        return None
    signature, offset, size, width, height, _, bits, compression = _HEADER.unpack_from(data)
    if (signature, bits, compression) != (b"BM", 24, 0) or size not in _SIZES or width < 1 or height == 0:
        return None
    rows, stride = abs(height), (3 * width + 3) // 4 * 4
    check_size(width, rows)
    if not 14 + size <= offset <= len(data) - rows * stride:
        return None
    pixels = np.ndarray((rows, width, 3), np.uint8, data, offset, (stride, 3, 1))
    return pixels[::-1] if height > 0 else pixels
