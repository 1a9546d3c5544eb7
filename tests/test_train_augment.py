"""Augmentation: off is exactly off, on keeps shape and range, and the same draw comes again."""

import numpy as np
import pytest

from edgecnn.train.augment import Augmentation, augment

tf = pytest.importorskip("tensorflow")

LOW, HIGH = np.array([0, 0, 0], np.float32), np.array([1, 1, 1], np.float32)


def change(images, options, *, step=0, seed=0, low=LOW, high=HIGH):
    labels = np.eye(2, dtype=np.float32)[np.arange(len(images)) % 2]
    x, y = augment(
        tf.constant(images), tf.constant(labels), tf.constant(step, tf.int64), options, seed=seed, low=low, high=high
    )
    return x.numpy(), y.numpy()


@pytest.fixture
def images():
    return np.random.default_rng(0).random((16, 12, 10, 3), np.float32)


def test_nothing_asked_for_changes_nothing(images):
    x, y = change(images, Augmentation())
    np.testing.assert_allclose(x, images, atol=1e-6)
    assert y.tolist() == np.eye(2)[np.arange(16) % 2].tolist()


@pytest.mark.parametrize(
    ("option", "flip"), [("horizontal_flip", tf.image.flip_left_right), ("vertical_flip", tf.image.flip_up_down)]
)
def test_flips_are_tensorflows_flips_of_about_half(images, option, flip):
    x, _ = change(images, Augmentation(**{option: True}))
    flipped = flip(images).numpy()
    is_flipped = [np.allclose(a, b, atol=1e-5) for a, b in zip(x, flipped, strict=True)]
    is_same = [np.allclose(a, b, atol=1e-5) for a, b in zip(x, images, strict=True)]
    assert all(a != b for a, b in zip(is_flipped, is_same, strict=True))
    assert 3 <= sum(is_flipped) <= 13


@pytest.mark.parametrize(
    "options",
    [
        {"rotation_range": 90.0}, {"width_shift_range": 0.5}, {"height_shift_range": 0.5}, {"shear_range": 30.0},
        {"zoom_range": (0.5, 1.5)}, {"stretch_range": 0.5}, {"brightness_range": 0.5}, {"contrast_range": 0.9},
        {"saturation_range": 0.9}, {"invert": 0.5}, {"noise": 0.5}, {"cutout": 0.8}, {"mixup": 1.0}, {"cutmix": 1.0},
    ],
)  # fmt: skip
def test_each_change_changes_within_the_range_of_the_recipe(images, options):
    low, high = np.array([-1, -2, 0], np.float32), np.array([1, 3, 255], np.float32)
    x, y = change(images * (high - low) + low, Augmentation(**options), low=low, high=high)
    assert x.shape == images.shape
    assert not np.allclose(x, images * (high - low) + low, atol=1e-3)
    tolerance = 1e-5 * (high - low)
    assert (x >= low - tolerance).all()
    assert (x <= high + tolerance).all()
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-6)


def test_the_same_step_draws_the_same_and_another_does_not(images):
    options = Augmentation(rotation_range=20.0, mixup=0.2, noise=0.1, cutout=0.5)
    assert np.array_equal(change(images, options, step=4)[0], change(images, options, step=4)[0])
    assert not np.array_equal(change(images, options, step=4)[0], change(images, options, step=5)[0])
    assert not np.array_equal(change(images, options, seed=1)[0], change(images, options, seed=2)[0])


def test_a_negative_is_one_minus_the_image(images):
    x, _ = change(images, Augmentation(invert=1.0))
    np.testing.assert_allclose(x, 1 - images, atol=1e-5)


def test_zoom_means_what_keras_means(images):
    import keras

    x, _ = change(images, Augmentation(zoom_range=(2.0, 2.0), fill_mode="nearest"))
    layer = keras.layers.RandomZoom((1.0, 1.0), fill_mode="nearest", interpolation="bilinear")
    expected = layer(images, training=True).numpy()
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_cutmix_gives_each_image_the_share_of_the_label_that_its_pixels_have():
    images = np.repeat(np.array([0, 1], np.float32), 8)[:, None, None, None] * np.ones((16, 20, 12, 3), np.float32)
    labels = np.repeat(np.eye(2, dtype=np.float32), 8, axis=0)
    step = tf.constant(0, tf.int64)
    x, y = augment(images, labels, step, Augmentation(cutmix=1.0), seed=0, low=LOW, high=HIGH)
    # White is class 1: the mean of an image is the share of that class in its label.
    np.testing.assert_allclose(x.numpy().mean(axis=(1, 2, 3)), y.numpy()[:, 1], atol=1e-6)
    assert 0.1 < np.abs(y.numpy() - labels)[:, 0].mean() < 0.5
    _, half = augment(images, labels, step, Augmentation(cutmix=0.5), seed=0, low=LOW, high=HIGH)
    assert 3 <= np.all(half.numpy() == labels, axis=1).sum() <= 13
