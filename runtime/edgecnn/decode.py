"""decode: a file or encoded bytes -> uint8 pixels, by the decoder that the recipe names.

Two decoders are exact, since two are in use for training: `pil` is Pillow (Keras's load_img, and OpenCV's JPEG),
`tf` is tf.io.decode_image (Keras's image_dataset_from_directory), whose JPEG uses the fast DCT and so differs from
Pillow in nearly every photograph. What they can't give exactly as that library does, they refuse. `fast` shrinks
large JPEGs while it decodes them: no training library's pixels, unless edgecnn trained with it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import numpy as np

from .bmp import bmp_pixels
from .errors import ImageError, SourceError
from .jpeg import decode_jpeg, is_color_jpeg
from .pillow import MAX_PIXELS, WIDE_MODES, by_rows, convert, decode_as_pil, opened, unsupported
from .png import decode_png, is_color_png
from .spec import DECODES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from .spec import PixelSpec

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
    (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"RIFF", "WEBP"),
)  # fmt: skip


MAX_BYTES = 3 * MAX_PIXELS
"""Largest file read: the largest image, uncompressed."""


def decode(
    source: str | os.PathLike[str] | bytes,
    decoder: str = "pil",
    *,
    color: str = "rgb",
    exif: bool = False,
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Decode an image exactly as the training library does, or fast.

    Args:
        source: A path, or the encoded bytes.
        decoder: pil (Pillow's convert("RGB") or convert("L")), tf (tf.io.decode_image, channels=3 or 1), or fast:
            a JPEG at 1/2, 1/4 or 1/8 of its size, by libjpeg-turbo's scaled DCT, where that is not below `size`
            in either direction; anything else as pil.
        color: rgb, or gray by the decoder's own rule: Pillow's L of the colour pixels; TensorFlow's gray, which
            is the Y that a JPEG holds.
        exif: Turn the image as its EXIF orientation says.
        size: fast only, and there needed: (height, width) of the tensor that the pixels are for.

    Returns:
        (H, W, 3) uint8 RGB, 0 to 255; (H, W, 1) for gray. Of an animation the first frame.

    Raises:
        SourceError: the file is missing (code missing_file) or can't be opened.
        ImageError: the content is no image, is damaged or too large, or (code unsupported_image) is of a kind
            that this decoder can't give exactly. 16-bit gray is among them for pil: Pillow turns every
            value above 255 to white, which no one trains on by intent.
    """
    if decoder not in DECODES:
        raise ImageError(f"decoder must be one of {', '.join(DECODES)}; got {decoder!r}")
    if (size is not None) != (decoder == "fast"):
        raise ImageError(
            "decoder 'fast' needs size=(height, width) of the tensor, to know how far it may shrink; the others are "
            f"exact and take none; got decoder {decoder!r} and size {size!r}"
        )
    if size is not None and not (len(size) == 2 and min(size) >= 1):
        raise ImageError(f"size must be (height, width) of 1 or more pixels, got {size!r}")
    if color not in ("rgb", "gray"):
        raise ImageError(f"color must be rgb or gray, got {color!r}")
    return _decode(_read(source), decoder, color, exif, size)


def decode_for(
    spec: PixelSpec, source: str | os.PathLike[str] | bytes, *, lent: bool = False
) -> tuple[NDArray[np.uint8], str]:
    """Decode an image as a recipe wants it: `image, color = decode_for(spec, path)`, then preprocess(color=color).

    A gray recipe decodes to gray by the decoder's own rule. It decodes to RGB, and leaves the gray to preprocess,
    with a cv2_* method, since no decoder has OpenCV's rule, and for Pillow's own of a colour JPEG or PNG, since the
    kernel has that rule too and applies it only where the resize looks.

    Args:
        spec: The recipe.
        source: A path, or the encoded bytes.
        lent: The pixels are needed no longer than until this thread's next call, and not changed: they may lie in
            memory of its own that the next image is decoded into, or in a BMP as they are.

    Returns:
        (H, W, 3) uint8 RGB and "rgb", or (H, W, 1) uint8 and "gray"; lent also (H, W, 3) BGR and "bgr".

    Raises:
        SourceError, ImageError: as decode.
    """
    color = "gray" if spec.color == "gray" and not spec.resize.startswith("cv2_") else "rgb"
    data = _read(source)
    if color == "gray" and spec.decode != "tf" and (is_color_jpeg(data) or is_color_png(data)):
        color = "rgb"
    if lent and color == "rgb" and (raw := bmp_pixels(data)) is not None:
        return raw, "bgr"
    size = (spec.height, spec.width) if spec.decode == "fast" else None
    return _decode(data, spec.decode, color, spec.exif, size, lent), color


def _decode(
    data: bytes, decoder: str, color: str, exif: bool, size: tuple[int, int] | None, lent: bool = False
) -> NDArray[np.uint8]:
    """decode and decode_for, once the arguments are known to be right."""
    if not data:
        raise ImageError("the image is empty (0 bytes)")
    kind = next((name for signature, name in _SIGNATURES if data.startswith(signature)), None)
    orientation = _orientation(data, kind) if exif else 1
    if kind == "JPEG":
        pixels = decode_jpeg(data, decoder, color, size[::-1] if size and orientation >= 5 else size, lent=lent)
    elif kind == "PNG" and (plain := decode_png(data, color)) is not None:
        pixels = plain
    elif decoder == "tf":
        pixels = _decode_as_tf(data, kind, color)
    else:
        pixels = decode_as_pil(data, kind, color)
    return pixels if orientation == 1 else _turn(pixels, orientation)


def _read(source: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(f"source must be a path or encoded bytes, got {type(source).__name__}")
    try:
        with open(source, "rb") as file:
            status = os.fstat(file.fileno())
            # What isn't a file, a pipe or a device, has no size and need not end.
            data = (
                file.read()
                if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES
                else file.read(MAX_BYTES + 1)
            )
    except FileNotFoundError:
        raise SourceError(f"{os.fspath(source)}: no such file", code="missing_file") from None
    except IsADirectoryError:
        raise SourceError(f"{os.fspath(source)}: a folder, not an image", code="not_a_file") from None
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise SourceError(f"{os.fspath(source)}: can't be read: {reason}", code="unreadable_file") from None
    if len(data) > MAX_BYTES:
        raise ImageError(f"{os.fspath(source)}: larger than {MAX_BYTES / 1e6:.0f} MB, more than any image decoded here")
    return data


def _decode_as_tf(data: bytes, kind: str | None, color: str) -> NDArray[np.uint8]:
    """PNG, GIF, BMP and WebP; checked against tf.io.decode_image 2.21."""
    if kind not in ("PNG", "GIF", "BMP", "WEBP"):
        raise unsupported(
            f"TensorFlow can't read this image ({kind or 'unknown format'}); it reads JPEG, PNG, GIF, BMP and WebP"
        )
    if color == "gray" and kind != "PNG":
        raise unsupported(f"TensorFlow decodes no {kind} to gray; use color='rgb' or decoder 'pil'")
    with opened(data, kind) as image:
        if kind == "GIF":
            return _gif_as_tf(image)
        if kind == "BMP" and image.mode not in ("RGB", "RGBA", "L"):
            raise unsupported(f"TensorFlow can't read the colours of this BMP (mode {image.mode})")
        if image.mode[0] in WIDE_MODES:
            # libpng's strip_16 keeps the high byte.
            wide = np.asarray(image)[..., np.newaxis]
            return by_rows(wide, lambda rows: rows.astype(np.uint32) >> 8 & 255, 3 if color == "rgb" else 1)
        if color == "rgb" or image.mode in ("1", "L", "LA"):
            return convert(image, "RGB" if color == "rgb" else "L")
        header = data[: data.find(b"IDAT")]
        if any(chunk in header for chunk in (b"gAMA", b"sRGB", b"cHRM", b"iCCP")):
            raise unsupported(
                "TensorFlow turns a PNG with a colour profile to gray through its gamma; use color='rgb' or "
                "decoder 'pil'"
            )
        # png_io.cc calls png_set_rgb_to_gray with 0.299 and 0.114 (sic); libpng's 15-bit sums, truncated.
        weights = np.array([[9797], [19234], [3737]], np.int32)
        return by_rows(convert(image, "RGB"), lambda rows: rows.astype(np.int32) @ weights >> 15, 1)


def _gif_as_tf(image: Image.Image) -> NDArray[np.uint8]:
    """tensorflow/core/lib/gif/gif_io.cc: the first frame, its transparent pixels black."""
    tiles = getattr(image, "tile", None)
    if tiles and tuple(tiles[0][1]) != (0, 0, *image.size):
        raise unsupported(
            "the first frame of this GIF covers only a part of it, which TensorFlow crops; use decoder 'pil' or "
            "convert it to PNG"
        )
    transparent = image.info.get("transparency")
    index = np.asarray(image)
    pixels = convert(image, "RGB").copy()
    if isinstance(transparent, int) and index.ndim == 2:
        pixels[index == transparent] = 0
    return pixels


def _orientation(data: bytes, kind: str | None) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it can't be read."""
    if kind == "JPEG" and b"Exif\0\0" not in data[: data.find(b"\xff\xda")]:
        return 1
    with opened(data, kind) as image:
        try:
            value = image.getexif().get(0x0112, 1)
        except Exception:  # a broken EXIF block is no reason to refuse the pixels
            return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    channels = pixels.shape[2]
    pixels = pixels.view(f"V{channels}")[..., 0]  # whole pixels: NumPy moves them twice as fast as bytes
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)[..., np.newaxis].view(np.uint8)
