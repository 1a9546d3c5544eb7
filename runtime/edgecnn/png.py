"""PNG three times as fast as by Pillow, where kornia-rs is installed: the same pixels with it and without.

kornia-rs keeps Python's lock while it decodes, and Pillow does not. So of several threads that decode one uses the
former and the others the latter: together they are faster than all with either.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .pillow import check_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"

_MODES = {b"\x08\x00\0\0\0": "mono", b"\x08\x02\0\0\0": "rgb", b"\x08\x06\0\0\0": "rgba"}
"""End of the IHDR chunk (8 bits a sample, colour type, not interlaced) -> what kornia-rs calls it."""

_CHUNKS = {
    b"IDAT": None, b"IEND": 0, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"pHYs": 9, b"tIME": 7, b"tEXt": None,
    b"eXIf": None, b"iCCP": None,
}  # fmt: skip
"""Chunks that change no pixel, and their length where it is fixed, without which Pillow refuses the file."""

_SMALL = 2**14
"""Up to so many pixels the lock is kept no longer than by what Python itself does for an image."""

_IDLE = 0.05
"""After so many seconds without a PNG a thread's turn is over."""

_last: tuple[int, float] = (0, 0.0)
"""The thread whose turn it is, and when it last decoded."""


def decode_png(data: bytes, color: str) -> NDArray[np.uint8] | None:
    """Decode a plain PNG of 8 bits a sample; None where it is for Pillow to do.

    Args:
        data: the file.
        color: rgb; or gray, which is left to the decoders' own rules where the file holds colours.

    Returns:
        (H, W, 3) or (H, W, 1) uint8, without the file's alpha.

    Raises:
        ImageError: too large.
    """
    decode, mode = _decoder(), _MODES.get(data[24:29])
    if decode is None or mode is None or (color == "gray" and mode != "mono") or not _is_plain(data):
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    check_size(width, height)
    if width * height > _SMALL and not _take_turn():
        return None
    try:
        pixels: NDArray[np.uint8] = np.asarray(decode(data, (height, width), mode))
    except KeyboardInterrupt:
        raise
    except BaseException:  # a panic of Rust is no Exception; whether the file still counts is for Pillow to say
        return None
    finally:
        if width * height > _SMALL:
            _take_turn()  # counted from here
    if mode == "mono" and color == "rgb":
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def is_color_png(data: bytes) -> bool:
    """Whether these are the bytes of a PNG that holds colours and no alpha, of 8 bits a sample."""
    return data.startswith(_START) and _MODES.get(data[24:29]) == "rgb"


def _is_plain(data: bytes) -> bool:
    """Whether the file has no other chunks than such as change no pixel, and its end."""
    at = len(_START) + 17
    while kind := data[at + 4 : at + 8]:
        length = int.from_bytes(data[at : at + 4], "big")
        if _CHUNKS.get(kind, -1) not in (None, length):
            return False
        if kind == b"IEND":
            return data.startswith(_START)
        at += length + 12
    return False


def _take_turn() -> bool:
    """Whether it is this thread's turn; if so, it stays so for a while. Two threads that hit upon it do no harm."""
    global _last
    thread, now = threading.get_ident(), time.monotonic()
    if _last[0] != thread and now - _last[1] < _IDLE:
        return False
    _last = (thread, now)
    return True


@functools.cache
def _decoder() -> Callable[..., Any] | None:
    try:
        from kornia_rs.io import decode_image_png_u8
    except ImportError:  # not installed, or of another version
        return None
    found: Callable[..., Any] = decode_image_png_u8
    return found
