"""PNG by kornia-rs: Pillow's and TensorFlow's pixels, or left to Pillow."""

import io
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from edgecnn import png
from edgecnn.decode import decode
from edgecnn.errors import ImageError

from .test_decode import chunk, encode, mutated, photo

pytest.importorskip("kornia_rs.io", reason="kornia-rs comes with the extra train")


@pytest.fixture(autouse=True)
def _nobodys_turn(monkeypatch):
    monkeypatch.setattr(png, "_last", (0, 0.0))


COLOURS = {"L": ("rgb", "gray"), "RGB": ("rgb",), "RGBA": ("rgb",)}
"""Pillow's mode -> what is read without Pillow."""


def told() -> dict[str, object]:
    """Chunks that photographs come with."""
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("Software", "edgecnn")
    text.add(b"gAMA", (45455).to_bytes(4, "big"))
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"pnginfo": text, "exif": exif, "icc_profile": profile, "dpi": (72, 72)}


def with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """The file with a chunk more before its pixels."""
    return data[:33] + chunk(kind, content) + data[33:]


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (61, 83), (640, 480)])
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, told()])
def test_plain_files_have_pillows_and_tensorflows_pixels(mode, size, options):
    import tensorflow as tf

    image = photo(*size)
    if mode == "RGBA":
        image.putalpha(photo(*size, seed=3).convert("L"))
    data = encode(image.convert(mode), "PNG", **options)
    for color in COLOURS[mode]:
        pixels = png.decode_png(data, color)
        assert pixels is not None
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.atleast_3d(np.asarray(opened.convert("RGB" if color == "rgb" else "L")))
        assert np.array_equal(pixels, expected)
        assert np.array_equal(pixels, tf.io.decode_png(data, channels=expected.shape[2]).numpy())
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable


def test_other_files_are_left_to_pillow():
    plain = encode(photo(), "PNG")
    files = {
        "palette": encode(photo().quantize(40), "PNG"),
        "gray with alpha": encode(photo().convert("LA"), "PNG"),
        "16 bits": encode(Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30)), "PNG"),
        "animated": encode(photo(), "PNG", save_all=True, append_images=[photo(seed=2)]),
        "a transparent colour": with_chunk(plain, b"tRNS", bytes(6)),
        "a chunk of a wrong length": with_chunk(plain, b"gAMA", bytes(3)),
        "no end": plain[:-12],
        "another format": encode(photo(), "BMP"),
        "nothing": b"",
    }
    assert {name: png.decode_png(data, "rgb") for name, data in files.items()} == dict.fromkeys(files)
    assert png.decode_png(plain, "gray") is None


def test_a_large_image_is_refused_before_it_is_decoded():
    header = (100_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="million pixels"):
        png.decode_png(data, "rgb")


def test_without_it_pillow_decodes(monkeypatch):
    data = encode(photo(), "PNG")
    expected = decode(data)
    monkeypatch.setattr(png, "_decoder", lambda: None)
    assert png.decode_png(data, "rgb") is None
    assert np.array_equal(decode(data), expected)


def test_threads_take_turns_at_large_files(monkeypatch):
    """The one that decodes has Python's lock, so the others are better off with Pillow, which needs it less."""
    large, small = encode(photo(200, 200), "PNG"), encode(photo(20, 20), "PNG")
    assert png.decode_png(large, "rgb") is not None
    with ThreadPoolExecutor(1) as other:
        assert other.submit(png.decode_png, large, "rgb").result() is None
        assert other.submit(png.decode_png, small, "rgb").result() is not None
        np.testing.assert_array_equal(other.submit(decode, large).result(), np.asarray(photo(200, 200)))
        monkeypatch.setattr(png, "_last", (png._last[0], png._last[1] - 1))
        assert other.submit(png.decode_png, large, "rgb").result() is not None
    assert png.decode_png(large, "rgb") is None


def test_a_panic_of_rust_leaves_the_file_to_pillow(monkeypatch):
    class PanicException(BaseException):
        """As PyO3's."""

    def panic(*_):
        raise PanicException

    monkeypatch.setattr(png, "_decoder", lambda: panic)
    data = encode(photo(), "PNG")
    assert np.array_equal(decode(data), np.asarray(photo()))


def test_damaged_files_that_both_read_are_the_same(monkeypatch):
    monkeypatch.setattr("edgecnn.pillow.MAX_PIXELS", 2**22)
    files = [encode(photo(9, 14).convert(mode), "PNG", **told()) for mode in COLOURS]
    rng, both = np.random.default_rng(0), 0
    for _ in range(3000):
        data = mutated(rng, files[rng.integers(0, len(files))])
        try:
            pixels = png.decode_png(data, "rgb")
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                expected = np.asarray(image.convert("RGB"))
        except Exception:
            continue
        if pixels is not None:
            assert np.array_equal(pixels, expected), data.hex()
            both += 1
    assert both > 10
