"""Images a second that reach training: edgecnn's feed beside keras.utils.image_dataset_from_directory.

    python bench/feed.py [DIR] [--image-size 64] [--rounds 5]

Both read the same files in the same process, in turns. Images a second are those of the best round, since whatever else
the machine does only slows one down; "against Keras" is the median over the rounds of the ratio of each to Keras's own
pass before it. The files were read once before, so the disk takes no part. With the recipe keras-dataset the two must
give the same pixels, and the script fails where they don't. Without DIR: 400 generated photographs of 500x375.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

BATCH = 32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options.folder or generate(Path(temporary)), options.image_size, options.rounds)
    return 0


def measure(folder: Path, size: int, rounds: int) -> dict[str, float]:
    """Print a table; images a second by name."""
    from edgecnn.presets import from_preset
    from edgecnn.train import backend
    from edgecnn.train.feed import Feed, ordered_batches
    from edgecnn.train.images import find_images

    backend.start(0)
    import keras
    import tensorflow as tf

    images = find_images(folder)
    count = len(images)
    for path in images.sources:
        path.read_bytes()
    peer = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=BATCH, shuffle=False, label_mode="categorical", verbose=False
    )
    names = {"edgecnn": "keras.utils.load_img's pixels, the default", "keras-dataset": "TensorFlow's pixels"}

    def ours(preset: str, cache: str) -> tf.data.Dataset:
        feed = Feed(images.sources, from_preset(preset, height=size, width=size), cache=cache)
        return ordered_batches(feed, np.arange(count), images.one_hot, batch_size=BATCH)

    # Keras sorts by class and name as find_images does, so the order is the same.
    same = [np.array_equal(a, b) for (a, _), (b, _) in zip(peer, ours("keras-dataset", "none"), strict=True)]
    if not all(same):
        raise SystemExit(f"{len(same) - sum(same)} of {len(same)} batches differ from image_dataset_from_directory")
    first = {"image_dataset_from_directory": each(peer)} | {
        f"edgecnn, {text}": each(ours(preset, "none")) for preset, text in names.items()
    }
    # As training does it, unless the set is too large: all is decoded first, then served from memory.
    default = from_preset("edgecnn", height=size, width=size)
    first["edgecnn, the default, into its cache"] = lambda: Feed(images.sources, default, cache="memory")
    later = {
        "image_dataset_from_directory().cache()": each(peer.cache()),
        "edgecnn, cache in memory": each(ours("edgecnn", "memory")),
        "edgecnn, cache on disk": each(ours("edgecnn", "disk")),
    }
    print(f"{count} files of {folder.name}, to {size}x{size}, batches of {BATCH}, every batch equal to Keras's own")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, TensorFlow {tf.__version__}")
    rates: dict[str, float] = {}
    for title, passes in (("every image decoded", first), ("epochs after the first", later)):
        print(f"\n| {title} | images/s | against Keras |\n|---|---|---|")
        for name, (seconds, ratio) in race(passes, rounds).items():
            rates[name] = count / seconds
            print(f"| {name} | {rates[name]:.0f} | {ratio:.2f} |")
    return rates


def each(dataset: Iterable[object]) -> Callable[[], None]:
    """A pass over it."""

    def run() -> None:
        for _ in dataset:
            pass

    return run


def race(passes: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Least seconds of a pass, after one that fills caches, and the first one's seconds over its own, median."""
    taken: dict[str, list[float]] = {name: [] for name in passes}
    for one in passes.values():
        one()
    for _ in range(rounds):
        for name, one in passes.items():
            start = time.perf_counter()
            one()
            taken[name].append(time.perf_counter() - start)
    base = next(iter(taken.values()))
    return {
        name: (min(seconds), statistics.median(b / s for b, s in zip(base, seconds, strict=True)))
        for name, seconds in taken.items()
    }


def generate(root: Path) -> Path:
    """Smooth colours with noise, as JPEG of 500x375: 400 in two classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = root / "generated"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(200):
            small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
            pixels = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
            noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{i:03}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    sys.exit(main())
