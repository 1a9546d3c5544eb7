"""Losses, class weights and schedules mean what Keras and scikit-learn mean."""

import numpy as np
import pytest

from edgecnn.errors import InputError
from edgecnn.train.losses import build_loss, class_weights
from edgecnn.train.optimizers import OptimizerOptions, build_optimizer

keras = pytest.importorskip("keras")

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], np.float32)
ONE_HOT = np.array([[1, 0, 0], [0, 0, 1]], np.float32)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("auto", "softmax", keras.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        ("auto", "sigmoid", keras.losses.BinaryCrossentropy(label_smoothing=0.1)),
        ("auto", "regression", keras.losses.MeanSquaredError()),
        ("focal", "softmax", keras.losses.CategoricalFocalCrossentropy(gamma=3.0, label_smoothing=0.1)),
        ("focal", "sigmoid", keras.losses.BinaryFocalCrossentropy(gamma=3.0, label_smoothing=0.1)),
        ("mse", "softmax", keras.losses.MeanSquaredError()),
        ("huber", "regression", keras.losses.Huber()),
    ],
)
def test_losses_are_keras_losses(name, head, expected):
    loss = build_loss(name, head, label_smoothing=0.1, gamma=3.0)
    assert float(loss(ONE_HOT, PROBABILITIES)) == float(expected(ONE_HOT, PROBABILITIES))


@pytest.mark.parametrize(("name", "head"), [("focal", "regression"), ("categorical_crossentropy", "sigmoid")])
def test_a_loss_that_does_not_fit_the_target_is_refused(name, head):
    with pytest.raises(InputError, match="use"):
        build_loss(name, head)


def test_class_weights():
    indices = np.array([0, 0, 0, 1])
    assert class_weights("none", indices, ("a", "b")) is None
    assert class_weights("balanced", indices, ("a", "b")) == {0: pytest.approx(4 / 6), 1: pytest.approx(2)}
    assert class_weights("b=2.5", indices, ("a", "b")) == {0: 1.0, 1: 2.5}
    for wrong in ("c=1", "b=-1", "b", "b=x"):
        with pytest.raises(InputError, match="class-weight"):
            class_weights(wrong, indices, ("a", "b"))


def rate(steps, **options):
    optimizer = build_optimizer(OptimizerOptions(**options), epochs=10, steps_per_epoch=10)
    return [float(optimizer._learning_rate(step)) for step in steps]


def test_cosine_rises_then_falls_to_zero():
    got = rate([0, 10, 20, 60, 100], learning_rate=1.0, warmup=0.2)
    assert got == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)


def test_exponential_falls_once_an_epoch():
    got = rate([0, 9, 10, 25], schedule="exponential", learning_rate=1.0, decay_rate=0.5)
    assert got == pytest.approx([1, 1, 0.5, 0.25])


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_the_unit_of_a_regression_is_what_errors_are_measured_in(name):
    truth, predicted = np.float32([[100], [300]]), np.float32([[150], [600]])
    expected = build_loss(name, "regression")(truth / 200, predicted / 200)
    assert float(build_loss(name, "regression", unit=200.0)(truth, predicted)) == pytest.approx(float(expected))
