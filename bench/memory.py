"""`make memory`: the memory of a training stays flat over its epochs, however many images there are.

    python bench/memory.py [--images 5000] [--epochs 24] [--cache none|disk|memory]

Trains on generated images and reads the resident memory of the process after each epoch. Ends with status 1 where the
second half of the epochs needs more than GROWTH above the first half's most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

GROWTH = 32 * 2**20
"""Bytes; a batch of 32 images of 64x64 is 1.6 MB, and the garbage collector comes when it wants to."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--cache", default="none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = generate(Path(temporary) / "photos", options.images)
        sizes = list(train(folder, epochs=options.epochs, cache=options.cache))
    megabytes = [round(size / 2**20) for size in sizes]
    print(f"{options.images} images, cache {options.cache}: MB after each epoch: {' '.join(map(str, megabytes))}")
    return int(growth(sizes) > GROWTH)


def growth(sizes: list[int]) -> int:
    """Bytes that the second half needs above the most of the first."""
    half = len(sizes) // 2
    return max(sizes[half:]) - max(sizes[:half])


def generate(folder: Path, count: int) -> Path:
    """Noise of 40x30 pixels as JPEG, in two classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"{i:06}.jpg")
    return folder


def train(folder: Path, *, epochs: int, cache: str, steps: int | None = None) -> Iterator[int]:
    """Resident bytes of the training process after each epoch."""
    args = ["-o", folder.parent / "m.keras", "--epochs", epochs, "--cache", cache, "--no-report", "--width", 0.5]
    args += ["--steps-per-epoch", steps] if steps else []
    command = [sys.executable, "-m", "edgecnn", "train", "cnn", folder, *args]
    with subprocess.Popen([str(a) for a in command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for line in process.stderr:
            if line.startswith(b"epoch "):
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                yield pages * os.sysconf("SC_PAGE_SIZE")
    if process.returncode:
        raise SystemExit(f"the training ended with status {process.returncode}")


if __name__ == "__main__":
    sys.exit(main())
