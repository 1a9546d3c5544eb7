"""decode: equal to Pillow and to tf.io.decode_image, or refused."""

import io
import logging
import os
import pathlib
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from edgecnn import decode as decode_module_function
from edgecnn.decode import decode, decode_for
from edgecnn.errors import ImageError, SourceError
from edgecnn.pillow import MAX_PIXELS
from edgecnn.preprocess import preprocess
from edgecnn.spec import PixelSpec

PHOTOS = sorted((pathlib.Path(__file__).parents[2] / "shared/data").glob("**/*.jpg"))


def photo(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, so that JPEG has something to lose."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 3 % 256, y * 4 % 256, (x + y) * 2 % 256], axis=-1)
    return Image.fromarray(np.clip(base + rng.integers(-20, 20, base.shape), 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def wide(mode: str = "I;16") -> Image.Image:
    values = np.random.default_rng(1).integers(0, 65536, (9, 7)).astype(np.uint16)
    return Image.fromarray(values) if mode == "I;16" else Image.fromarray(values.astype(np.float32))


def jpegs() -> dict[str, bytes]:
    found = {}
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            name = f"{subsampling}{' progressive' if progressive else ''}"
            found[name] = encode(photo(), "JPEG", subsampling=subsampling, progressive=progressive, quality=80)
    for subsampling in ("440", "411"):  # which Pillow reads, but doesn't write
        found[subsampling] = simplejpeg.encode_jpeg(np.asarray(photo()), quality=80, colorsubsampling=subsampling)
    found["restart markers"] = encode(photo(), "JPEG", restart_marker_blocks=3)
    found["gray"] = encode(photo().convert("L"), "JPEG")
    found["cmyk"] = encode(photo().convert("CMYK"), "JPEG")
    found["rgb inside"] = encode(photo(), "JPEG", keep_rgb=True)
    found["one pixel"] = encode(photo(1, 1), "JPEG")
    return found


def others() -> dict[str, bytes]:
    image = photo()
    return {
        "png rgb": encode(image, "PNG"),
        "png rgba": encode(image.convert("RGBA"), "PNG"),
        "png gray": encode(image.convert("L"), "PNG"),
        "png gray alpha": encode(image.convert("LA"), "PNG"),
        "png palette": encode(image.quantize(40), "PNG"),
        "png palette transparent": encode(image.quantize(40), "PNG", transparency=bytes(range(40))),
        "png 1 bit": encode(image.convert("1"), "PNG"),
        "png 4 bit palette": encode(image.quantize(16), "PNG", bits=4),
        "gif": encode(image.quantize(60), "GIF"),
        "gif animated": encode(image.quantize(60), "GIF", save_all=True, append_images=[photo(seed=5).quantize(60)]),
        "bmp": encode(image, "BMP"),
        "bmp gray": encode(image.convert("L"), "BMP"),
        "webp": encode(image, "WEBP"),
        "webp lossless": encode(image, "WEBP", lossless=True),
    }


ENCODED = {**jpegs(), **others()}


@pytest.mark.parametrize("name", ENCODED)
def test_pil_is_pillow(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(ENCODED[name]))
        rgb, gray = np.asarray(image.convert("RGB")), np.asarray(image.convert("L"))
    assert np.array_equal(decode(ENCODED[name], "pil"), rgb)
    assert np.array_equal(decode(ENCODED[name], "pil", color="gray"), gray[..., None])


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411", "Gray"])
def test_pil_is_pillow_in_every_subsampling_and_size(subsampling):
    space = "GRAY" if subsampling == "Gray" else "RGB"
    for height, width in ((1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (9, 17), (16, 33), (33, 16), (50, 7), (7, 50)):
        pixels = np.atleast_3d(np.asarray(photo(height, width).convert("L" if space == "GRAY" else "RGB")))
        data = simplejpeg.encode_jpeg(pixels, colorspace=space, colorsubsampling=subsampling, quality=60)
        for color, mode in (("rgb", "RGB"), ("gray", "L")):
            expected = np.atleast_3d(np.asarray(Image.open(io.BytesIO(data)).convert(mode)))
            assert np.array_equal(decode(data, color=color), expected), (height, width, color)


@pytest.mark.parametrize("name", [*ENCODED, "png 16 bit", "gif transparent"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_tf_is_tensorflow_or_refused(name, color):
    import tensorflow as tf

    transparent = encode(photo().quantize(60), "GIF", transparency=3)
    data = {
        **ENCODED,
        "png 16 bit": encode(wide(), "PNG"),
        "gif transparent": transparent,
    }[name]
    try:
        channels = 3 if color == "rgb" else 1
        expected = tf.io.decode_image(data, channels=channels, expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError:
        with pytest.raises(ImageError) as error:
            decode(data, "tf", color=color)
        assert error.value.code == "unsupported_image"
    else:
        assert np.array_equal(decode(data, "tf", color=color), expected)


def drafted(data: bytes, size: tuple[int, int], mode: str) -> np.ndarray:
    """What Pillow makes of a JPEG that it may shrink in the DCT, but not below (height, width)."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft(image.mode, size[::-1])
        return np.atleast_3d(np.asarray(image.convert(mode)))


@pytest.mark.parametrize("name", jpegs())
def test_fast_is_pillows_draft(name):
    for size in ((8, 8), (7, 20), (30, 41), (31, 41), (61, 83), (500, 1)):
        for color, mode in (("rgb", "RGB"), ("gray", "L")):
            found = decode(ENCODED[name], "fast", size=size, color=color)
            assert np.array_equal(found, drafted(ENCODED[name], size, mode)), (size, color)


@pytest.mark.skipif(not PHOTOS, reason="no folder of photographs beside the checkout")
def test_fast_is_pillows_draft_of_photographs():
    shrunk = 0
    for path in PHOTOS[::8]:
        found = decode(path, "fast", size=(64, 64))
        assert np.array_equal(found, drafted(path.read_bytes(), (64, 64), "RGB")), path
        with Image.open(path) as image:
            shrunk += found.shape[:2] != image.size[::-1]
    assert shrunk > 10


def test_fast_stays_above_the_tensors_size():
    rng = np.random.default_rng(8)
    divisors = set()
    for _ in range(150):
        height, width, *size = (int(v) for v in rng.integers(1, [300, 300, 60, 60]))
        found = decode(encode(photo(height, width), "JPEG"), "fast", size=tuple(size))
        assert found.shape[0] >= min(size[0], height), (height, width, size)
        assert found.shape[1] >= min(size[1], width), (height, width, size)
        divisors.add(round(width / found.shape[1]))
    assert {1, 2, 4, 8} <= divisors


def test_fast_turns_the_size_with_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(40, 160), "JPEG", exif=exif)
    assert decode(data, "fast", size=(40, 10), exif=True).shape == (40, 10, 3)
    assert decode(data, "fast", size=(10, 40), exif=True).shape == (160, 40, 3)
    assert decode(data, "fast", size=(10, 40)).shape == (10, 40, 3)


@pytest.mark.parametrize("name", others())
def test_fast_is_pil_for_other_files(name):
    assert np.array_equal(decode(ENCODED[name], "fast", size=(4, 4)), decode(ENCODED[name], "pil"))


def test_fast_is_asked_for_by_name_and_size():
    data = ENCODED["4:2:0"]
    for decoder, size in (("fast", None), ("pil", (8, 8)), ("tf", (8, 8))):
        with pytest.raises(ImageError, match="needs size"):
            decode(data, decoder, size=size)
    for size in ((0, 8), (8,), (8, -1)):
        with pytest.raises(ImageError, match="1 or more pixels"):
            decode(data, "fast", size=size)
    assert PixelSpec(height=8, width=8).decode == "pil"


def test_decode_for_fast():
    data = encode(photo(300, 200), "JPEG")
    for color in ("rgb", "gray"):
        spec = PixelSpec(height=70, width=40, decode="fast", resize="pil_bilinear", color=color, dtype="uint8")
        image, of = decode_for(spec, data)
        assert (image.shape, of) == ((75, 50, 3), "rgb")
        small = Image.fromarray(drafted(data, (70, 40), "RGB")).convert("L" if color == "gray" else "RGB")
        expected = np.asarray(small.resize((40, 70), Image.Resampling.BILINEAR)).reshape(spec.shape)
        assert np.array_equal(preprocess(image, spec, color=of), expected)


def small_frame_gif() -> bytes:
    """A GIF whose only frame covers a part of its screen of 40x30."""
    data = bytearray(encode(photo(10, 12).quantize(16), "GIF"))
    data[6:10] = struct.pack("<HH", 40, 30)
    at = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    data[at + 1 : at + 5] = struct.pack("<HH", 5, 7)
    return bytes(data)


@pytest.mark.skipif(not PHOTOS, reason="no folder of photographs beside the checkout")
def test_real_photographs():
    import tensorflow as tf

    for path in PHOTOS[::4]:
        data = path.read_bytes()
        assert np.array_equal(decode(path, "pil"), np.asarray(Image.open(path).convert("RGB"))), path
        assert np.array_equal(decode(data, "tf"), tf.io.decode_image(data, channels=3).numpy()), path
        assert np.array_equal(decode(data, "tf", color="gray"), tf.io.decode_image(data, channels=1).numpy())


def test_result_is_ours_to_write():
    for name, data in ENCODED.items():
        pixels = decode(data)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous, name
        assert pixels.shape[2] == 3, name


def test_path_like_and_exported(tmp_path):
    path = tmp_path / "a.png"
    photo().save(path)
    assert np.array_equal(decode(path), np.asarray(photo()))
    assert np.array_equal(decode(str(path)), np.asarray(photo()))
    assert decode_module_function is decode


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif(kind, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(), kind, exif=exif)
    plain = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.array_equal(decode(data), plain)
    assert np.array_equal(decode(data, exif=True), turned)


def test_exif_is_what_cv2_does(tmp_path):
    import cv2

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.jpg"
        photo().save(path, exif=exif)
        assert np.array_equal(decode(path, exif=True)[..., ::-1], cv2.imread(str(path)))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def hollow_png(width: int, height: int) -> bytes:
    """A PNG of the given size with pixels for hardly any of it."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(bytes(9)))


def huge_jpeg() -> bytes:
    data = bytearray(encode(photo(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


BAD = {
    "empty": (b"", "empty"),
    "text": (b"hello, world\n" * 9, "no known image format"),
    "only a signature": (b"\xff\xd8\xff", "damaged"),
    "png bomb": (hollow_png(100000, 100000), "million pixels"),
    "jpeg bomb": (huge_jpeg(), "million pixels"),
    "png without pixels": (hollow_png(0, 5), "PNG"),
    "png almost without pixels": (hollow_png(5, 5), "PNG"),
    "script": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known image format"),
}


@pytest.mark.parametrize("decoder", ["pil", "tf"])
@pytest.mark.parametrize("name", BAD)
def test_bad_content(name, decoder):
    data, message = BAD[name]
    with pytest.raises(ImageError) as error:
        decode(data, decoder)
    text = str(error.value)
    assert "\n" not in text
    if decoder == "pil" or error.value.code != "unsupported_image":
        assert message in text


@pytest.mark.parametrize("decoder", ["pil", "tf"])
@pytest.mark.parametrize("name", ["4:2:0", "4:4:4 progressive", "gray", "png rgb", "gif", "bmp", "webp"])
@pytest.mark.parametrize("keep", [0.15, 0.5, 0.9])
def test_truncated(name, decoder, keep):
    data = ENCODED[name]
    with pytest.raises(ImageError) as error:
        decode(data[: int(len(data) * keep)], decoder)
    assert "\n" not in str(error.value)


def many_scans(side: int, count: int) -> bytes:
    """A progressive JPEG that repeats its last scan, of a few bytes."""
    data = encode(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def test_a_jpeg_of_thousands_of_scans_is_refused():
    data = many_scans(2000, 2000)
    assert len(data) < 200_000
    for decoder, size in (("pil", None), ("tf", None), ("fast", (8, 8))):
        with pytest.raises(ImageError, match=r"2000x2000 in 20.. scans, which would take minutes"):
            decode(data, decoder, size=size)
    for progressive in (False, True):
        data = encode(photo(900, 1200), "JPEG", progressive=progressive)
        assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def awkward() -> dict[str, bytes]:
    """Files whose headers promise far more than they hold, hold far more than an image needs, or never end."""
    image = photo()
    big = 6000  # squared, a fifth of the limit
    exif = Image.Exif()
    exif[0x010E] = "x" * 60000
    frames = [photo(9, 9, seed=i).quantize(8) for i in range(300)]
    jpeg = bytearray(encode(image, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", big, big)
    tiff = bytearray(encode(image, "TIFF"))
    for tag in (256, 257):  # width and length
        place = tiff.index(struct.pack("<HHI", tag, 4 if struct.pack("<HHI", tag, 4, 1) in tiff else 3, 1))
        tiff[place : place + 12] = struct.pack("<HHII", tag, 4, 1, big)
    gif = bytearray(encode(image.quantize(16), "GIF"))
    gif[6:10] = struct.pack("<HH", big, big)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000)))
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(30_000_000)))
    png = encode(image, "PNG")
    canvas = struct.pack("<I", 0x02)[:4] + struct.pack("<I", 16382)[:3] + struct.pack("<I", 10000)[:3]
    return {
        "png hollow": hollow_png(big, big),
        "png of one colour": encode(Image.new("1", (big, big)), "PNG"),
        "png huge text": png[:33] + text + png[33:],
        "png huge profile": png[:33] + profile + png[33:],
        "jpeg hollow": bytes(jpeg),
        "jpeg huge exif and profile": encode(image, "JPEG", exif=exif, icc_profile=bytes(900_000)),
        "jpeg of many comments": b"\xff\xd8" + b"\xff\xfe\xff\xff".ljust(65537, b"c") * 20 + encode(image, "JPEG")[2:],
        "jpeg many scans": many_scans(600, 900),
        "gif hollow": bytes(gif),
        "gif of many frames": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "webp of many frames": encode(frames[0].convert("RGB"), "WEBP", save_all=True, append_images=frames[1:]),
        "webp hollow": b"RIFF" + struct.pack("<I", 30) + b"WEBP" + riff(b"VP8X", canvas),
        "webp huge exif": encode(image, "WEBP", exif=exif),
        "tiff hollow": bytes(tiff),
        "tiff of many frames": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "ppm hollow": b"P6 6000 6000 255\n",
        "qoi hollow": b"qoif" + struct.pack(">IIBB", big, big, 3, 0) + b"\xfd" * 900,
        "ppm as text": b"P3 6000 6000 255\n" + b"7 " * 5000,
        "bmp hollow": encode(image, "BMP")[:18] + struct.pack("<ii", big, big) + encode(image, "BMP")[26:],
    }


AWKWARD = awkward()


def test_large_images_in_slow_forms_are_refused():
    for name in ("qoi hollow", "ppm as text"):
        with pytest.raises(ImageError, match="takes minutes to decode at more than 17 million"):
            decode(AWKWARD[name])
    small = b"P3 2 1 255\n1 2 3 4 5 6\n"
    assert decode(small).tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_files_take_bounded_memory_and_time(name):
    work = """
import pathlib, sys, time
import numpy, simplejpeg, PIL.Image
from edgecnn import ImageError, decode
data = sys.stdin.buffer.read()
for decoder, size in (("pil", None), ("tf", None), ("fast", (8, 8))):
    start = time.process_time()
    try:
        decode(data, decoder, size=size, exif=True)
    except ImageError as e:
        assert "\\n" not in str(e)
    took = time.process_time() - start
    assert took < 20, took
print(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", work], input=AWKWARD[name], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    # Pillow takes up to 4 bytes a pixel, and a conversion as much again; interpreter and libraries some 100 MB.
    assert int(done.stdout) * 1024 < 200e6 + 3 * 4 * 6000**2, name


def test_16_bit_gray_is_refused_by_pil():
    for data in (encode(wide(), "PNG"), encode(wide(), "TIFF"), encode(wide("F"), "TIFF")):
        with pytest.raises(ImageError, match="bit gray") as error:
            decode(data)
        assert error.value.code == "unsupported_image"


def test_tf_reads_no_tiff():
    with pytest.raises(ImageError, match="TensorFlow can't read") as error:
        decode(encode(photo(), "TIFF"), "tf")
    assert error.value.code == "unsupported_image"
    assert np.array_equal(decode(encode(photo(), "TIFF")), np.asarray(photo()))


def test_tf_crops_a_gif_to_its_frame_so_it_is_refused():
    data = small_frame_gif()
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    with pytest.raises(ImageError, match="covers only a part") as error:
        decode(data, "tf")
    assert error.value.code == "unsupported_image"


def test_png_with_gamma_is_refused_by_tf_gray():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 45455))
    data = encode(photo(), "PNG", pnginfo=info)
    with pytest.raises(ImageError, match="profile"):
        decode(data, "tf", color="gray")
    assert np.array_equal(decode(data, "tf"), np.asarray(photo()))


def test_missing_and_folder(tmp_path):
    with pytest.raises(SourceError, match="no such file") as error:
        decode(tmp_path / "none.jpg")
    assert error.value.code == "missing_file"
    with pytest.raises(SourceError, match="folder"):
        decode(tmp_path)
    with pytest.raises(SourceError):
        decode("a\0b.jpg")


@pytest.mark.skipif(not pathlib.Path("/dev/zero").exists(), reason="no such device")
def test_a_file_without_end(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules["edgecnn.decode"], "MAX_BYTES", 10**6)
    with pytest.raises(ImageError, match="larger than 1 MB"):
        decode("/dev/zero")
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(10**6 + 1))
    with pytest.raises(ImageError, match="larger than 1 MB"):
        decode(path)
    photo().save(tmp_path / "b.jpg")
    assert np.array_equal(decode(tmp_path / "b.jpg"), np.asarray(Image.open(tmp_path / "b.jpg")))


def test_bad_arguments():
    with pytest.raises(ImageError, match="decoder must be one of pil, tf, fast; got 'cv2'"):
        decode(b"x", "cv2")
    with pytest.raises(ImageError, match="color must be rgb or gray"):
        decode(b"x", color="bgr")
    with pytest.raises(ImageError, match="path or encoded bytes, got int"):
        decode(7)


def many_samples_tiff() -> bytes:
    """A TIFF that claims 2048 samples a pixel (tag 277), which Pillow logs before it raises."""
    data = bytearray(encode(photo(), "TIFF"))
    at = data.index(struct.pack("<HHI", 277, 3, 1))
    data[at + 8 : at + 10] = struct.pack("<H", 2048)
    return bytes(data)


def test_pillows_log_stays_off_stderr():
    work = """
import sys
from edgecnn import ImageError, decode
try:
    decode(sys.stdin.buffer.read())
except ImageError as e:
    print(e)
"""
    command = [sys.executable, "-c", work]
    done = subprocess.run(command, input=many_samples_tiff(), capture_output=True, check=True)
    assert b"TIFF" in done.stdout
    assert done.stderr == b""


def test_an_application_still_sees_pillows_log(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(ImageError):
        decode(many_samples_tiff())
    assert "samples per pixel" in caplog.text


@pytest.mark.parametrize("method", ["cv2_nearest", "cv2_linear", "cv2_area", "cv2_cubic"])
def test_decode_for_gray_is_opencvs_gray(method, tmp_path):
    import cv2

    filters = {
        "nearest": cv2.INTER_NEAREST,
        "linear": cv2.INTER_LINEAR,
        "area": cv2.INTER_AREA,
        "cubic": cv2.INTER_CUBIC,
    }
    cv2.ipp.setUseIPP(False)  # the reference, see test_parity_pixels
    for kind in ("JPEG", "PNG", "BMP"):
        path = tmp_path / f"a.{kind.lower()}"
        photo(300, 200).save(path, kind)
        spec = PixelSpec(height=40, width=50, color="gray", resize=method, dtype="uint8")
        image, color = decode_for(spec, path)
        gray = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2GRAY)
        expected = cv2.resize(gray, (50, 40), interpolation=filters[method.removeprefix("cv2_")])
        assert color == "rgb"
        assert np.array_equal(preprocess(image, spec, color=color)[..., 0], expected), kind
    cv2.ipp.setUseIPP(True)


def test_decode_for_gray_is_pillows_or_tensorflows_gray(tmp_path):
    import tensorflow as tf

    path = tmp_path / "a.jpg"
    photo(300, 200).save(path)
    with Image.open(path) as image:
        pillows = np.asarray(image.convert("L").resize((50, 40), Image.Resampling.BILINEAR))
    tensorflows = tf.image.resize(tf.io.decode_image(path.read_bytes(), channels=1), (40, 50)).numpy()
    for decoder, method, expected in (
        ("pil", "pil_bilinear", pillows[..., None]),
        ("tf", "tf_bilinear", tensorflows),
    ):
        spec = PixelSpec(height=40, width=50, color="gray", resize=method, decode=decoder)
        image, color = decode_for(spec, path)
        assert color == ("rgb" if decoder == "pil" else "gray")
        assert np.array_equal(preprocess(image, spec, color=color), expected), decoder


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA")]
)
def test_decode_for_gray_is_pillows_gray_for_every_kind_of_file(kind, mode):
    data = encode(photo(300, 200).convert(mode), kind)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("L").resize((50, 40), Image.Resampling.BILINEAR))
    spec = PixelSpec(height=40, width=50, color="gray", resize="pil_bilinear", dtype="uint8")
    pixels, color = decode_for(spec, data)
    assert np.array_equal(preprocess(pixels, spec, color=color)[..., 0], expected)


def test_decode_for_colour_and_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(), "JPEG", exif=exif)
    for options in ({"exif": True}, {"decode": "tf"}, {"color": "bgr"}):
        image, color = decode_for(PixelSpec(height=8, width=8, **options), data)
        assert color == "rgb"
        expected = decode(data, options.get("decode", "pil"), exif=options.get("exif", False))
        assert np.array_equal(image, expected), options


def lendable() -> list[bytes]:
    """JPEGs that become larger and smaller, of every way through the decoder, a PNG and a BMP."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = [encode(photo(h, w, seed=h), "JPEG") for h, w in ((40, 30), (200, 300), (61, 83), (299, 201))]
    data += [encode(photo(50, 40).convert(mode), "JPEG") for mode in ("L", "CMYK")]
    return [*data, encode(photo(), "PNG"), encode(photo(90, 70), "JPEG", exif=exif), encode(photo(), "BMP")]


@pytest.mark.parametrize("options", [{}, {"decode": "tf"}, {"decode": "fast"}, {"color": "gray"}, {"exif": True}])
def test_lent_pixels_are_the_same_in_memory_used_again(options):
    spec = PixelSpec(height=16, width=16, **options)
    for data in lendable():
        kept, color = decode_for(spec, data)
        before = kept.copy()
        lent, of = decode_for(spec, data, lent=True)
        assert (of, len(lent)) in ((color, len(kept)), ("bgr", len(kept)))
        assert np.array_equal(lent[..., ::-1] if of == "bgr" else lent, before)
        assert np.array_equal(preprocess(lent, spec, color=of), preprocess(kept, spec, color=color))
        decode_for(spec, encode(photo(300, 300, seed=9), "JPEG"), lent=True)
        assert np.array_equal(kept, before)


def test_memory_to_lend_is_a_threads_own_and_bounded(monkeypatch):
    spec = PixelSpec(height=8, width=8)
    small, large = encode(photo(40, 30), "JPEG"), encode(photo(200, 300), "JPEG")
    decode_for(spec, large, lent=True)
    one, other = (decode_for(spec, small, lent=True)[0] for _ in range(2))
    assert np.shares_memory(one, other)
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(lambda: decode_for(spec, small, lent=True)[0]).result()
    assert not np.shares_memory(one, elsewhere)
    monkeypatch.setattr("edgecnn.jpeg.MAX_LENT", 200 * 300 * 3 - 1)
    assert not np.shares_memory(decode_for(spec, large, lent=True)[0], one)


def test_a_damaged_jpeg_does_not_show_the_pixels_lent_before():
    decode_for(PixelSpec(height=8, width=8), encode(photo(200, 300), "JPEG"), lent=True)
    damaged = encode(photo(), "JPEG")[:-300]
    for decoder in ("pil", "tf"):
        spec = PixelSpec(height=8, width=8, decode=decoder)
        with pytest.raises(ImageError, match="damaged"):
            decode_for(spec, damaged, lent=True)


def test_large_image_gives_no_warning():
    side = 9600  # 92 million pixels: over Pillow's warning, under its limit and ours
    assert side * side < MAX_PIXELS
    data = encode(Image.new("1", (side, side)), "PNG")
    assert decode(data, color="gray").shape == (side, side, 1)


def test_threads_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    data = [ENCODED["png palette transparent"], ENCODED["gif"], ENCODED["webp"]]

    def work() -> None:
        for _ in range(30):
            for d in data:
                decode(d)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """The file with some bytes changed, a part lost, doubled or taken from elsewhere."""
    found = bytearray(data)
    kind = rng.integers(0, 4)
    at, length = int(rng.integers(0, len(found))), int(rng.integers(1, 40))
    if kind == 0:
        del found[at : at + (len(found) if rng.random() < 0.3 else length)]
    elif kind == 1:
        found[at:at] = found[at : at + length]
    else:
        # Headers hold more that can go wrong than pixels do.
        reach = len(found) if kind == 2 else min(len(found), 120)
        for position in rng.integers(0, reach, int(rng.integers(1, 9))):
            found[position] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(0, 256)]))
    return bytes(found)


def test_mutated_files_give_pixels_or_one_error(monkeypatch):
    """EDGECNN_FUZZ_SECONDS=600 looks longer."""
    seconds = float(os.environ.get("EDGECNN_FUZZ_SECONDS", "3"))
    seed = int(os.environ.get("EDGECNN_FUZZ_SEED", "0"))
    tiffs = [encode(photo(), "TIFF", compression=c) for c in ("raw", "tiff_lzw", "jpeg")]
    files = [*ENCODED.values(), *tiffs, small_frame_gif()]
    monkeypatch.setattr("edgecnn.pillow.MAX_PIXELS", 2**22)  # a mutated size may be gigabytes
    rng = np.random.default_rng(seed)
    end = time.monotonic() + seconds
    messages, decoded = [], 0
    while time.monotonic() < end:
        data = mutated(rng, files[rng.integers(0, len(files))])
        decoder, color = ("pil", "tf", "fast")[rng.integers(0, 3)], ("rgb", "gray")[rng.integers(0, 2)]
        size = (8, 8) if decoder == "fast" else None
        try:
            pixels = decode(data, decoder, color=color, exif=bool(rng.integers(0, 2)), size=size)
        except ImageError as error:
            messages.append(str(error))
        except BaseException:
            print(f"decoder {decoder}, color {color}, data {data.hex()}", file=sys.stderr)
            raise
        else:
            assert pixels.dtype == np.uint8
            assert pixels.flags.c_contiguous
            assert pixels.shape[2] == (3 if color == "rgb" else 1)
            decoded += 1
    assert [message for message in messages if "\n" in message] == []
    assert decoded > 10
    assert len(messages) > 10
