"""The pixels of a BMP as they lie in the file: Pillow's and TensorFlow's, or left to them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from edgecnn.bmp import bmp_pixels
from edgecnn.errors import ImageError

from .test_decode import encode, photo


def bmp(height: int, width: int, *, size: int = 40, bits: int = 24, compression: int = 0, gap: int = 0) -> bytes:
    """A file with pixels for a height, from the top where that is negative."""
    stride = (3 * width + 3) // 4 * 4
    pixels = np.random.default_rng(1).integers(0, 256, abs(height) * stride, np.uint8).tobytes()
    offset = 14 + size + gap
    head = struct.pack(
        "<2sIIIIiiHHI", b"BM", offset + len(pixels), 0, offset, size, width, height, 1, bits, compression
    )
    return head.ljust(offset, b"\0") + pixels


@pytest.mark.parametrize("size", [40, 52, 56, 108, 124])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 4), (6, 5), (7, 6), (60, 83), (-7, 3)])
def test_they_are_pillows_and_tensorflows(size, height, width):
    import tensorflow as tf

    data = bmp(height, width, size=size, gap=size % 3)
    pixels = bmp_pixels(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(pixels[..., ::-1], np.asarray(image.convert("RGB")))
    assert np.array_equal(pixels[..., ::-1], tf.io.decode_bmp(data, channels=3).numpy())
    assert not pixels.flags.writeable


def test_other_files_are_left_to_pillow():
    plain = bmp(5, 4)
    files = {
        "gray": encode(photo().convert("L"), "BMP"),
        "with alpha": encode(photo().convert("RGBA"), "BMP"),
        "16 bits": bmp(5, 4, bits=16),
        "compressed": bmp(5, 4, compression=1),
        "an old header": bmp(5, 4, size=12),
        "truncated": plain[:-1],
        "pixels within the header": plain[:10] + struct.pack("<I", 20) + plain[14:],
        "no rows": bmp(0, 4),
        "no columns": bmp(5, 0),
        "another format": encode(photo(), "PNG"),
        "nothing": b"",
        "a signature": b"BM",
    }
    assert {name: bmp_pixels(data) for name, data in files.items()} == dict.fromkeys(files)


def test_a_large_image_is_refused():
    data = bmp(5, 4)
    with pytest.raises(ImageError, match="million pixels"):
        bmp_pixels(data[:18] + struct.pack("<ii", 2**30, -(2**31)) + data[26:])
