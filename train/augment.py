"""Random changes of training images, as tensors, in tf.data: they never become part of the model.

Every draw is stateless, from the seed and the number of the batch, so a run repeats itself whatever the
threads do. All geometry of one image is composed into one projective transform: one resampling, one loss
of sharpness.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


FILL_MODES = ("nearest", "reflect", "wrap", "constant")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly training images are changed; names as in Keras's ImageDataGenerator. 0 or False is off."""

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_range: float = 0.0
    """Degrees to either side."""
    width_shift_range: float = 0.0
    """Share of the width to either side."""
    height_shift_range: float = 0.0
    """Share of the height to either side."""
    shear_range: float = 0.0
    """Degrees to either side."""
    zoom_range: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest zoom; as in Keras, below 1 enlarges and above 1 shrinks."""
    stretch_range: float = 0.0
    """The aspect ratio changes by up to this share."""
    brightness_range: float = 0.0
    """Share of the full range, added."""
    contrast_range: float = 0.0
    """The contrast is multiplied by 1 - contrast_range to 1 + contrast_range."""
    saturation_range: float = 0.0
    """The distance from gray is multiplied by 1 - saturation_range to 1 + saturation_range."""
    invert: float = 0.0
    """Probability of a negative."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise, share of the full range."""
    cutout: float = 0.0
    """Side of a gray square at a random place, share of the image's side."""
    fill_mode: str = "reflect"
    """One of FILL_MODES: what is seen beyond the border; constant is black."""
    mixup: float = 0.0
    """Alpha of the Beta distribution of mixup: pairs of images and of their labels are blended."""
    cutmix: float = 0.0
    """Probability that a rectangle of an image comes from another one, and its share of the label too."""


def augment(
    images: tf.Tensor,
    labels: tf.Tensor,
    step: tf.Tensor,
    options: Augmentation,
    *,
    seed: int,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Change one batch.

    Args:
        images: (n, h, w, c) float32.
        labels: (n, classes) float32, one-hot.
        step: () int64, the number of the batch.
        options: how strongly.
        seed: of every draw, with the step.
        low: (c,) float32, what black became in the pixel recipe.
        high: (c,) float32, what white became.

    Returns:
        The images, same shape and range, and the labels (blended by mixup and cutmix).
    """
    import tensorflow as tf

    draw = _Draws(seed, step)
    unit = (images - low) / (high - low)
    unit = _move(unit, options, draw)
    unit = tf.clip_by_value(_recolor(unit, options, draw), 0.0, 1.0)
    if options.cutout:
        unit = _cut(unit, options.cutout, draw)
    images = unit * (high - low) + low
    if options.mixup:
        images, labels = _mix(images, labels, options.mixup, draw)
    if options.cutmix:
        images, labels = _paste(images, labels, options.cutmix, draw)
    return images, labels


class _Draws:
    """Stateless random numbers: the n-th call in a batch always gives the same numbers."""

    def __init__(self, seed: int, step: tf.Tensor) -> None:
        import tensorflow as tf

        self._seed = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
        self._calls = 0

    def next(self) -> tf.Tensor:
        import tensorflow as tf

        self._calls += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._calls)

    def uniform(self, shape, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self.next(), low, high)

    def around(self, n, spread: float) -> tf.Tensor:
        """(n,) numbers from -spread to spread."""
        return self.uniform((n,), -spread, spread)

    def below(self, n, probability: float) -> tf.Tensor:
        """(n,) bool, true with the probability."""
        return self.uniform((n,)) < probability


def _move(unit: tf.Tensor, o: Augmentation, draw: _Draws) -> tf.Tensor:
    """Flip, rotate, shear, zoom, stretch and shift, in one bilinear resampling."""
    import math

    import tensorflow as tf

    shape = tf.shape(unit)
    n, h, w = shape[0], tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
    angle = draw.around(n, math.radians(o.rotation_range))
    shear = draw.around(n, math.radians(o.shear_range))
    zoom = draw.uniform((n,), *o.zoom_range)
    stretch = tf.exp(draw.around(n, math.log1p(o.stretch_range) / 2))
    flip_x = tf.where(draw.below(n, 0.5 * o.horizontal_flip), -1.0, 1.0)
    flip_y = tf.where(draw.below(n, 0.5 * o.vertical_flip), -1.0, 1.0)
    sx, sy = flip_x * zoom * stretch, flip_y * zoom / stretch
    # Output to input, about the centre: scale after rotation and shear.
    a, b = sx * tf.cos(angle), -sx * tf.sin(angle + shear)
    c, d = sy * tf.sin(angle), sy * tf.cos(angle + shear)
    cx, cy = (w - 1) / 2, (h - 1) / 2
    tx = cx - a * cx - b * cy + draw.around(n, o.width_shift_range) * w
    ty = cy - c * cx - d * cy + draw.around(n, o.height_shift_range) * h
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=unit,
        transforms=tf.stack([a, b, tx, c, d, ty, zero, zero], axis=1),
        output_shape=shape[1:3],
        interpolation="BILINEAR",
        fill_mode=o.fill_mode.upper(),
        fill_value=0.0,
    )


def _recolor(unit: tf.Tensor, o: Augmentation, draw: _Draws) -> tf.Tensor:
    """Brightness, contrast, saturation, negative and noise, on 0..1."""
    import tensorflow as tf

    n = tf.shape(unit)[0]

    def each(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, (-1, 1, 1, 1))

    if o.saturation_range and unit.shape[-1] == 3:
        gray = tf.reduce_mean(unit, axis=-1, keepdims=True)
        unit = gray + (unit - gray) * each(1 + draw.around(n, o.saturation_range))
    if o.contrast_range:
        mean = tf.reduce_mean(unit, axis=(1, 2, 3), keepdims=True)
        unit = mean + (unit - mean) * each(1 + draw.around(n, o.contrast_range))
    if o.brightness_range:
        unit = unit + each(draw.around(n, o.brightness_range))
    if o.invert:
        unit = tf.where(each(draw.below(n, o.invert)), 1 - unit, unit)
    if o.noise:
        level = each(draw.uniform((n,), 0.0, o.noise))
        unit = unit + level * tf.random.stateless_normal(tf.shape(unit), draw.next())
    return unit


def _cut(unit: tf.Tensor, side: float, draw: _Draws) -> tf.Tensor:
    """Put a gray square of up to `side` somewhere, centre anywhere in the image."""
    import tensorflow as tf

    shape = tf.shape(unit)
    n, h, w = shape[0], shape[1], shape[2]
    half = draw.uniform((n, 1, 1), 0.0, side) / 2
    y = tf.reshape(tf.linspace(0.0, 1.0, h), (1, -1, 1)) - draw.uniform((n, 1, 1))
    x = tf.reshape(tf.linspace(0.0, 1.0, w), (1, 1, -1)) - draw.uniform((n, 1, 1))
    inside = (tf.abs(y) < half) & (tf.abs(x) < half)
    return tf.where(inside[..., tf.newaxis], 0.5, unit)


def _mix(images: tf.Tensor, labels: tf.Tensor, alpha: float, draw: _Draws) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each image with its mirror in the batch (Zhang et al. 2017), labels alike."""
    import tensorflow as tf

    n = tf.shape(images)[0]
    first = tf.random.stateless_gamma((n,), draw.next(), alpha)
    second = tf.random.stateless_gamma((n,), draw.next(), alpha)
    share = first / (first + second + 1e-12)
    share = tf.maximum(share, 1 - share)
    by_image = tf.reshape(share, (-1, 1, 1, 1))
    by_label = tf.reshape(share, (-1, 1))
    return (
        images * by_image + tf.reverse(images, [0]) * (1 - by_image),
        labels * by_label + tf.reverse(labels, [0]) * (1 - by_label),
    )


def _paste(images: tf.Tensor, labels: tf.Tensor, probability: float, draw: _Draws) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of each image's mirror in the batch over it (CutMix, Yun et al. 2019), labels by area.

    Its area before it is cut off at the border is uniform, as with the Beta(1, 1) of the paper.
    """
    import tensorflow as tf

    shape = tf.shape(images)
    n, h, w = shape[0], shape[1], shape[2]
    side = tf.where(draw.below(n, probability), tf.sqrt(draw.uniform((n,))), 0.0)

    def span(pixels: tf.Tensor) -> tf.Tensor:
        """(n, pixels) bool: a part of the axis, centred anywhere."""
        centre = draw.uniform((n, 1)) * tf.cast(pixels, tf.float32)
        half = side[:, tf.newaxis] * tf.cast(pixels, tf.float32) / 2
        return tf.abs(tf.range(pixels, dtype=tf.float32) + 0.5 - centre) < half

    inside = span(h)[:, :, tf.newaxis] & span(w)[:, tf.newaxis, :]
    share = tf.reduce_mean(tf.cast(inside, tf.float32), axis=(1, 2))[:, tf.newaxis]
    images = tf.where(inside[..., tf.newaxis], tf.reverse(images, [0]), images)
    return images, labels * (1 - share) + tf.reverse(labels, [0]) * share
