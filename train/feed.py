"""Images -> batches in tf.data, through the same decoder and kernel that the runtime uses.

Images are decoded by threads; once where the tensors can be kept in memory or on the disk, else each epoch.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.decode import decode_for
from edgecnn.errors import ImageError, InputError
from edgecnn.pipeline import processors
from edgecnn.preprocess import preprocess
from edgecnn.spec import PixelSpec
from edgecnn.terminal import say

from .augment import Augmentation, augment
from .cache import DiskCache, MemoryCache, choose_cache
from .images import ImageSet

if TYPE_CHECKING:
    import tensorflow as tf

_CHUNK = 256
"""Images decoded between two writes to the cache."""


def load(source: Path | bytes, spec: PixelSpec, out: np.ndarray | None = None) -> np.ndarray:
    """One image as the model gets it: (height, width, channels) float32, written to out where that is given.

    Raises:
        InputError: it can't be read.
    """
    image, color = decode_for(spec, source, lent=True)
    return preprocess(image, spec, out, color=color)


@dataclasses.dataclass(frozen=True)
class Failed:
    """An image that can't be read."""

    position: int
    """In the set."""
    error: InputError


class Feed:
    """Tensors of images by position.

    Raises:
        InputError: with strict, at the first image that can't be read.
    """

    def __init__(
        self,
        sources: Sequence[Path | bytes],
        spec: PixelSpec,
        *,
        cache: str = "auto",
        folder: Path | None = None,
        strict: bool = False,
    ) -> None:
        """Decode everything now, unless nothing is kept.

        Args:
            sources: files, or encoded images.
            spec: the pixel recipe.
            cache: one of CACHES.
            folder: for a cache on the disk; None is the system's for temporary files.
            strict: an image that can't be read is an error.
        """
        self._sources, self._spec, self._strict = sources, spec, strict
        self.shape = spec.shape
        self.failed: dict[int, Failed] = {}
        """What could not be read so far, by position."""
        self._threads = processors()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        self._kept = choose_cache(cache, (len(sources), *spec.shape), folder)
        if self._kept is not None and not self._fill(self._kept):
            self._kept = None

    @property
    def is_cached(self) -> bool:
        """Whether every image was decoded already."""
        return self._kept is not None

    def batch(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images at these positions.

        Returns:
            (n, height, width, channels) float32, and the (n,) positions that they really come from: a neighbour
            takes the place of an image that can't be read, and brings its own label.
        """
        if self._kept is not None:
            return self._kept.read(positions), positions
        out, good = self._load(positions)
        if good.all() or not good.any():
            return out, positions
        slots = np.flatnonzero(good)
        source = np.arange(len(out))
        source[~good] = slots[np.minimum(np.searchsorted(slots, np.flatnonzero(~good)), len(slots) - 1)]
        return out[source], positions[source]

    def _fill(self, kept: MemoryCache | DiskCache) -> bool:
        """Decode every image into the cache; False where the disk is full."""
        for first in range(0, len(self._sources), _CHUNK):
            images, _ = self._load(range(first, min(first + _CHUNK, len(self._sources))))
            try:
                kept.write(first, images)
            except OSError as e:
                reason = e.strerror or e
                say(f"edgecnn: decoded images can't be kept on the disk ({reason}); they are decoded each epoch")
                self.failed.clear()
                return False
        return True

    def _load(self, positions: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images, black where one can't be read, and (n,) bool, which could."""
        out = np.empty((len(positions), *self.shape), np.float32)
        good = np.ones(len(out), bool)
        slots = deque(range(len(out)))

        def work() -> None:
            while slots:
                try:
                    slot = slots.popleft()
                except IndexError:  # another thread was faster
                    return
                position = int(positions[slot])
                try:
                    load(self._sources[position], self._spec, out[slot])
                except InputError as e:
                    self.failed[position] = Failed(position, e)
                    out[slot], good[slot] = 0, False

        # A task a thread, not one an image: each image then costs one thread switch less.
        for task in [self._pool.submit(work) for _ in range(min(self._threads, len(out)))]:
            task.result()
        if self.failed and self._strict:
            first = self.failed[min(self.failed)]
            raise ImageError(f"{_name(self._sources[first.position])}: {first.error}")
        return out, good


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some images of a set, in an order."""

    images: ImageSet
    feed: Feed
    positions: np.ndarray
    """(n,) in images."""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def readable(self) -> np.ndarray:
        """(n,) bool: not known to be unreadable."""
        return np.array([position not in self.feed.failed for position in self.positions.tolist()], bool)

    @property
    def truth(self) -> np.ndarray:
        """(n,) int64, the class of each."""
        return self.images.indices[self.positions]

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Once, in order, unchanged."""
        return ordered_batches(self.feed, self.positions, self.images.one_hot, batch_size=batch_size)


@dataclasses.dataclass(frozen=True)
class ImageData:
    """What is trained on, what decides which epoch is the best, and what is only measured at the end."""

    training: Subset
    validation: Subset
    test: Subset | None = None

    @property
    def is_split(self) -> bool:
        """Whether training and validation come from one set."""
        return self.training.images is self.validation.images

    def count(self) -> int:
        """Images of all parts."""
        return len(self.training) + len(self.validation) + (len(self.test) if self.test else 0)

    def describe(self) -> str:
        """One line: how many, of which classes."""
        counts = ", ".join(f"{name} {count}" for name, count in self.training.images.counts.items())
        test = f", {len(self.test)} for the test" if self.test else ""
        return f"{len(self.training)} images for training, {len(self.validation)} for validation{test}; {counts}"


def _name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else "an encoded image"


def describe_failures(feed: Feed, images: ImageSet) -> list[str]:
    """One line an unreadable image, in order."""
    return [f"{_name(images.sources[i])}: {feed.failed[i].error}" for i in sorted(feed.failed)]


def value_range(spec: PixelSpec) -> tuple[np.ndarray, np.ndarray]:
    """What black and white become in the recipe: two (channels,) float32."""
    black, white = (
        preprocess(np.full((spec.height, spec.width, 3), value, np.uint8), spec)[0, 0] for value in (0, 255)
    )
    return np.minimum(black, white), np.maximum(black, white)


def training_batches(
    feed: Feed,
    positions: np.ndarray,
    one_hot: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    spec: PixelSpec,
    start: int = 0,
) -> tf.data.Dataset:
    """Endless batches: every pass over the data in a new order, every image changed anew.

    Order and changes depend on the seed and on the number of the batch alone.

    Args:
        feed: where the images come from.
        positions: (n,) those that are trained on.
        one_hot: (len(feed), classes) float32.
        batch_size: images a batch; a batch may span two passes.
        seed: of order and changes.
        augmentation: how strongly images are changed.
        spec: the recipe, for the range of the values.
        start: batches that are left out at the beginning.

    Returns:
        A dataset of ((b, h, w, c) float32, (b, classes) float32).
    """
    import tensorflow as tf

    low, high = value_range(spec)

    def order(number: tf.Tensor) -> tf.data.Dataset:
        mixed = tf.random.experimental.stateless_shuffle(
            tf.constant(positions, tf.int64), seed=tf.stack([tf.constant(seed, tf.int64), number])
        )
        return tf.data.Dataset.from_tensor_slices(mixed)

    def change(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        return augment(images, labels, step, augmentation, seed=seed, low=low, high=high)

    return (
        tf.data.Dataset.counter()
        .flat_map(order)
        .batch(batch_size, drop_remainder=True)
        .skip(start)
        .map(_reader(feed, one_hot), num_parallel_calls=2)
        .enumerate(start)
        .map(change, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(4)
    )


def ordered_batches(feed: Feed, positions: np.ndarray, one_hot: np.ndarray, *, batch_size: int) -> tf.data.Dataset:
    """The images at these positions once, in this order, unchanged."""
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices(np.asarray(positions, np.int64))
        .batch(batch_size)
        .map(_reader(feed, one_hot), num_parallel_calls=2)
        .prefetch(2)
    )


def _reader(feed: Feed, one_hot: np.ndarray):
    import tensorflow as tf

    def read(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, used = feed.batch(positions)
        return images, one_hot[used]

    def op(positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(read, [positions], (tf.float32, tf.float32))
        images.set_shape((positions.shape[0], *feed.shape))
        labels.set_shape((positions.shape[0], one_hot.shape[1]))
        return images, labels

    return op
