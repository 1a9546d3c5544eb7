"""Images -> batches in tf.data, through the same decoder and kernel that the runtime uses.

Small sets are decoded once, by threads, and kept in memory; larger ones are decoded again each epoch.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.decode import decode_for
from edgecnn.errors import ImageError, InputError
from edgecnn.preprocess import preprocess
from edgecnn.spec import PixelSpec

from .augment import Augmentation, augment
from .images import ImageSet

if TYPE_CHECKING:
    import tensorflow as tf

MEMORY_LIMITS = {"auto": 2**30, "memory": 2**62, "none": 0}
"""Largest set of tensors kept in memory by --cache, bytes; auto holds 21,000 RGB images of 64x64."""


def load(source: Path | bytes, spec: PixelSpec) -> np.ndarray:
    """One image as the model gets it: (height, width, channels) float32.

    Raises:
        InputError: it can't be read.
    """
    image, color = decode_for(spec, source)
    return preprocess(image, spec, color=color)


@dataclasses.dataclass(frozen=True)
class Failed:
    """An image that can't be read."""

    position: int
    """In the set."""
    error: InputError


class Feed:
    """Tensors of an ImageSet by position.

    Raises:
        InputError: with strict, at the first image that can't be read.
    """

    def __init__(
        self,
        sources: Sequence[Path | bytes],
        spec: PixelSpec,
        *,
        memory_limit: int = MEMORY_LIMITS["auto"],
        strict: bool = False,
    ) -> None:
        self._sources, self._spec, self._strict = sources, spec, strict
        self.shape = spec.shape
        self.failed: dict[int, Failed] = {}
        """What could not be read so far, by position."""
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._kept: np.ndarray | None = None
        if len(sources) * int(np.prod(spec.shape)) * 4 <= memory_limit:
            self._kept = self._load(range(len(sources)))[0]

    @property
    def in_memory(self) -> bool:
        """Whether every image was decoded already."""
        return self._kept is not None

    def batch(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images at these positions.

        Returns:
            (n, height, width, channels) float32, and the (n,) positions that they really come from: a neighbour
            takes the place of an image that can't be read, and brings its own label.
        """
        if self._kept is not None:
            return self._kept[positions], positions
        out, good = self._load(positions)
        if good.all() or not good.any():
            return out, positions
        slots = np.flatnonzero(good)
        source = np.arange(len(out))
        source[~good] = slots[np.minimum(np.searchsorted(slots, np.flatnonzero(~good)), len(slots) - 1)]
        return out[source], positions[source]

    def _load(self, positions: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images, black where one can't be read, and (n,) bool, which could."""
        out = np.zeros((len(positions), *self.shape), np.float32)

        def one(slot: int) -> bool:
            position = int(positions[slot])
            try:
                out[slot] = load(self._sources[position], self._spec)
            except InputError as e:
                self.failed[position] = Failed(position, e)
                return False
            return True

        good = np.array(list(self._pool.map(one, range(len(out)))), bool)
        if self.failed and self._strict:
            first = self.failed[min(self.failed)]
            raise ImageError(f"{_name(self._sources[first.position])}: {first.error}")
        return out, good


@dataclasses.dataclass(frozen=True)
class ImageData:
    """What is trained on and what is held out; one set where it was split."""

    images: ImageSet
    feed: Feed
    chosen: np.ndarray
    """(n,) positions in images that are trained on."""
    held_images: ImageSet
    held_feed: Feed
    held: np.ndarray
    """(m,) positions in held_images that are validated on."""

    def describe(self) -> str:
        """One line: how many, of which classes."""
        counts = ", ".join(f"{name} {count}" for name, count in self.images.counts.items())
        return f"{len(self.chosen)} images for training, {len(self.held)} for validation; {counts}"


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
        .map(_reader(feed, one_hot))
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
        .map(_reader(feed, one_hot))
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
