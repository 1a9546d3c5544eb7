"""`make fuzz`: mutated image files of every kind, guided by the coverage of our readers and Pillow's.

decode must give pixels or one ImageError of one line, within the memory and seconds that libFuzzer is told, and
leave stderr alone. The last two bytes of an input choose the decoder, the colour and what else there is to choose.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["edgecnn", "PIL"]):
    from PIL import Image

    Image.init()  # imports every reader
    from edgecnn import pillow
    from edgecnn.decode import decode
    from edgecnn.errors import ImageError

import numpy as np
from test_decode import AWKWARD, ENCODED

pillow.MAX_PIXELS, pillow.MAX_SLOW_PIXELS = 2**22, 2**17
"""A mutated size may be gigabytes, and most of the time would go into zeroing them; test_decode looks at those."""

SIZES = ((1, 1), (8, 8), (224, 17), (3, 90))

quiet = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
stderr = os.dup(2)


def choose(data: bytes) -> tuple[bytes, dict[str, object]]:
    """The file, and decode's options."""
    head, tail = data[:-2], data[-2:].rjust(2, b"\0")
    decoder = ("pil", "tf", "fast")[tail[0] % 3]
    size = SIZES[tail[1] % 4] if decoder == "fast" else None
    color = ("rgb", "gray")[tail[0] // 3 % 2]
    return head, {"decoder": decoder, "color": color, "exif": bool(tail[0] & 64), "size": size}


def check(data: bytes) -> None:
    """Decode one input; raises what must not happen."""
    file, options = choose(data)
    os.dup2(quiet.fileno(), 2)
    try:
        pixels = decode(file, **options)
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.flags.c_contiguous
        assert pixels.ndim == 3, pixels.shape
        assert pixels.shape[2] == (3 if options["color"] == "rgb" else 1), pixels.shape
    except ImageError as error:
        if "\n" in str(error):
            raise RuntimeError(f"more than one line: {error}") from error
    finally:
        os.dup2(stderr, 2)
    said = os.pread(quiet.fileno(), 1000, 0)
    quiet.truncate(0)
    os.lseek(quiet.fileno(), 0, os.SEEK_SET)
    # libtiff prints by itself, and Pillow gives no way to stop it.
    assert not said or file[:2] in (b"II", b"MM"), said


def main() -> None:
    """Write the seeds beside what earlier runs found, and start."""
    corpus = pathlib.Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for i, (name, data) in enumerate({**ENCODED, **AWKWARD}.items()):
        for turn in range(3):
            (corpus / f"seed {name.replace('/', ' ')} {turn}").write_bytes(data + bytes([i * 7 + turn & 255, turn]))
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
