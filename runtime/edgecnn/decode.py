"""decode: a file or encoded bytes -> uint8 pixels, by the decoder that the recipe names.

Two decoders, since two are in use for training: `pil` is Pillow (Keras's load_img, and OpenCV's JPEG), `tf`
is tf.io.decode_image (Keras's image_dataset_from_directory), whose JPEG uses the fast DCT and so differs from
Pillow in nearly every photograph. What this module can't give exactly as that library does, it refuses.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ImageError, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from .spec import PixelSpec

# Pillow logs what it then raises. Without any handler Python would print that on stderr beside our one error;
# handlers that an application configured see it as before.
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 178_956_970
"""Most pixels in an image (536 MB as RGB): Pillow's own error limit, twice its MAX_IMAGE_PIXELS."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
    (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"RIFF", "WEBP"),
)  # fmt: skip

_PIL_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""What Pillow may open: raster images only, since its EPS reader would start Ghostscript."""

_WIDE_MODES = ("I", "F")
"""First letters of Pillow's modes of more than 8 bits a channel: I, I;16, I;16B, F."""


def decode(
    source: str | os.PathLike[str] | bytes,
    decoder: str = "pil",
    *,
    color: str = "rgb",
    exif: bool = False,
) -> NDArray[np.uint8]:
    """Decode an image exactly as the training library does.

    Args:
        source: A path, or the encoded bytes.
        decoder: pil (Pillow's convert("RGB") or convert("L")) or tf (tf.io.decode_image, channels=3 or 1).
        color: rgb, or gray by the decoder's own rule: Pillow's L of the colour pixels; TensorFlow's gray, which
            is the Y that a JPEG holds.
        exif: Turn the image as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8 RGB, 0 to 255; (H, W, 1) for gray. Of an animation the first frame.

    Raises:
        SourceError: the file is missing (code missing_file) or can't be opened.
        ImageError: the content is no image, is damaged or too large, or (code unsupported_image) is of a kind
            that this decoder can't give exactly. 16-bit gray is among them for pil: Pillow turns every
            value above 255 to white, which no one trains on by intent.
    """
    if decoder not in ("pil", "tf"):
        raise ImageError(f"decoder must be pil or tf, got {decoder!r}")
    if color not in ("rgb", "gray"):
        raise ImageError(f"color must be rgb or gray, got {color!r}")
    data = _read(source)
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    kind = next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)
    if kind == "JPEG":
        pixels = _decode_jpeg(data, decoder, color)
    elif decoder == "tf":
        pixels = _decode_as_tf(data, kind, color)
    else:
        pixels = _decode_as_pil(data, kind, color)
    return _turn(pixels, _orientation(data, kind)) if exif else pixels


def decode_for(spec: PixelSpec, source: str | os.PathLike[str] | bytes) -> tuple[NDArray[np.uint8], str]:
    """Decode an image as a recipe wants it: `image, color = decode_for(spec, path)`, then preprocess(color=color).

    A gray recipe decodes to gray by the decoder's own rule. It decodes to RGB, and leaves the gray to preprocess,
    with a cv2_* method, since no decoder has OpenCV's rule, and for Pillow's own of a colour JPEG, since the kernel
    has that rule too and applies it only where the resize looks.

    Returns:
        (H, W, 3) uint8 RGB and "rgb", or (H, W, 1) uint8 and "gray".

    Raises:
        SourceError, ImageError: as decode.
    """
    color = "gray" if spec.color == "gray" and not spec.resize.startswith("cv2_") else "rgb"
    if color == "gray" and spec.decode == "pil":
        source = _read(source)
        color = "rgb" if _is_color_jpeg(source) else "gray"
    return decode(source, spec.decode, color=color, exif=spec.exif), color


def _is_color_jpeg(data: bytes) -> bool:
    import simplejpeg

    try:
        return data.startswith(b"\xff\xd8\xff") and simplejpeg.decode_jpeg_header(data)[2] == "YCbCr"
    except ValueError:
        return False


def _read(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(f"source must be a path or encoded bytes, got {type(source).__name__}")
    try:
        with open(source, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise SourceError(f"no such file: {os.fspath(source)}", code="missing_file") from None
    except IsADirectoryError:
        raise SourceError(f"{os.fspath(source)} is a folder, not an image", code="not_a_file") from None
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise SourceError(f"can't read {os.fspath(source)!r}: {reason}", code="unreadable_file") from None


def _unsupported(message: str) -> ImageError:
    error = ImageError(message)
    error.code = "unsupported_image"
    return error


def _check_size(width: int, height: int) -> None:
    """Refuse before any pixel is decoded."""
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the image is {width}x{height}, {width * height / 1e6:.0f} million pixels; the limit is "
            f"{MAX_PIXELS / 1e6:.0f} million: shrink it first"
        )


def _decode_jpeg(data: bytes, decoder: str, color: str) -> NDArray[np.uint8]:
    import simplejpeg

    try:
        height, width, space, subsampling = simplejpeg.decode_jpeg_header(data)
    except ValueError as e:
        # Pillow may still read what libjpeg-turbo's strict header reader refuses.
        if decoder == "pil":
            return _decode_as_pil(data, "JPEG", color)
        raise ImageError(f"the JPEG is damaged: {e}") from None
    _check_size(width, height)
    if decoder == "pil":
        # Equal to Pillow on every photograph tried; anything but a plain colour JPEG is left to Pillow itself.
        if color == "rgb" and space == "YCbCr" and subsampling in ("444", "422", "420"):
            try:
                return _pixels(simplejpeg.decode_jpeg(data, "RGB"))
            except ValueError:
                pass  # damaged: whether it still counts as an image is for Pillow to say
        return _decode_as_pil(data, "JPEG", color)
    try:
        if space in ("CMYK", "YCCK"):
            return _cmyk_as_tf(data, color)
        return _pixels(simplejpeg.decode_jpeg(data, "RGB" if color == "rgb" else "GRAY", fastdct=True))
    except ImageError:
        raise
    except ValueError as e:
        raise ImageError(f"the JPEG is damaged or truncated: {e}") from None


def _cmyk_as_tf(data: bytes, color: str) -> NDArray[np.uint8]:
    """tensorflow/core/lib/jpeg/jpeg_mem.cc: Adobe's inverted CMYK times its own inverted black, over 255."""
    import simplejpeg

    if color == "gray":
        raise _unsupported("TensorFlow decodes no CMYK JPEG to gray; use color='rgb' or decoder 'pil'")
    if b"Adobe\0" not in data[: data.find(b"\xff\xda")]:
        raise _unsupported("a CMYK JPEG without Adobe's marker has no certain colours; convert it to RGB")
    cmyk = simplejpeg.decode_jpeg(data, "CMYK", fastdct=True).astype(np.uint16)
    rgb: NDArray[np.uint8] = (cmyk[..., 3:] * cmyk[..., :3] // 255).astype(np.uint8)
    return rgb


def _decode_as_pil(data: bytes, kind: str | None, color: str) -> NDArray[np.uint8]:
    with _opened(data, kind) as image:
        if image.mode[0] in _WIDE_MODES:
            raise _unsupported(
                f"the image has {'32' if image.mode in ('I', 'F') else '16'}-bit gray pixels (mode {image.mode}), "
                "which Pillow clips at 255 to white; convert it to 8 bits first"
            )
        return _convert(image, "RGB" if color == "rgb" else "L")


def _decode_as_tf(data: bytes, kind: str | None, color: str) -> NDArray[np.uint8]:
    """PNG, GIF, BMP and WebP; checked against tf.io.decode_image 2.21."""
    if kind not in ("PNG", "GIF", "BMP", "WEBP"):
        raise _unsupported(
            f"TensorFlow can't read this image ({kind or 'unknown format'}); it reads JPEG, PNG, GIF, BMP and WebP"
        )
    if color == "gray" and kind != "PNG":
        raise _unsupported(f"TensorFlow decodes no {kind} to gray; use color='rgb' or decoder 'pil'")
    with _opened(data, kind) as image:
        if kind == "GIF":
            return _gif_as_tf(image)
        if kind == "BMP" and image.mode not in ("RGB", "RGBA", "L"):
            raise _unsupported(f"TensorFlow can't read the colours of this BMP (mode {image.mode})")
        if image.mode[0] in _WIDE_MODES:
            # libpng's strip_16 keeps the high byte.
            high = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)[..., np.newaxis]
            return np.ascontiguousarray(np.repeat(high, 3 if color == "rgb" else 1, axis=2))
        if color == "rgb" or image.mode in ("1", "L", "LA"):
            return _convert(image, "RGB" if color == "rgb" else "L")
        header = data[: data.find(b"IDAT")]
        if any(chunk in header for chunk in (b"gAMA", b"sRGB", b"cHRM", b"iCCP")):
            raise _unsupported(
                "TensorFlow turns a PNG with a colour profile to gray through its gamma; use color='rgb' or "
                "decoder 'pil'"
            )
        # png_io.cc calls png_set_rgb_to_gray with 0.299 and 0.114 (sic); libpng's 15-bit sums, truncated.
        rgb = _convert(image, "RGB").astype(np.int32)
        gray = (rgb @ np.array([9797, 19234, 3737], np.int32)) >> 15
        return gray.astype(np.uint8)[..., np.newaxis]


def _gif_as_tf(image: Image.Image) -> NDArray[np.uint8]:
    """tensorflow/core/lib/gif/gif_io.cc: the first frame, its transparent pixels black."""
    tiles = getattr(image, "tile", None)
    if tiles and tuple(tiles[0][1]) != (0, 0, *image.size):
        raise _unsupported(
            "the first frame of this GIF covers only a part of it, which TensorFlow crops; use decoder 'pil' or "
            "convert it to PNG"
        )
    transparent = image.info.get("transparency")
    index = np.asarray(image)
    pixels = _convert(image, "RGB").copy()
    if isinstance(transparent, int) and index.ndim == 2:
        pixels[index == transparent] = 0
    return pixels


@contextmanager
def _opened(data: bytes, kind: str | None) -> Iterator[Image.Image]:
    """The image as Pillow opens it, size checked, nothing decoded; whatever Pillow raises becomes an ImageError."""
    from PIL import Image, UnidentifiedImageError

    what = f"the {kind} image" if kind else "the image"
    with _quiet():
        try:
            with Image.open(io.BytesIO(data), formats=_formats(kind)) as image:
                _check_size(*image.size)
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


def _formats(kind: str | None) -> tuple[str, ...]:
    from PIL import Image

    if kind == "JPEG":
        return ("JPEG", "MPO")
    if kind is not None:
        return (kind,)
    Image.init()
    return tuple(f for f in _PIL_FORMATS if f in Image.OPEN)


def _convert(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    image.load()
    # Conversions to RGB and L ignore it, but warn about it and compute a new one.
    image.info.pop("transparency", None)
    return _pixels(np.asarray(image if image.mode == mode else image.convert(mode)))


def _pixels(array: Any) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) -> contiguous (H, W, C)."""
    pixels: NDArray[np.uint8] = np.ascontiguousarray(array)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _orientation(data: bytes, kind: str | None) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it can't be read."""
    if kind == "JPEG" and b"Exif\0\0" not in data[: data.find(b"\xff\xda")]:
        return 1
    with _opened(data, kind) as image:
        try:
            value = image.getexif().get(0x0112, 1)
        except Exception:  # a broken EXIF block is no reason to refuse the pixels
            return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters: warnings.catch_warnings[None] | None = None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from Pillow meanwhile, in any thread.

    warnings.catch_warnings swaps process-wide state, so two threads that overlap could leave it swapped;
    here the first to come sets the filter and the last to go takes it away.
    """
    global _quiet_users, _quiet_filters
    with _quiet_lock:
        if _quiet_users == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
