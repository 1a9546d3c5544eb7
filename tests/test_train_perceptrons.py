"""The networks for tables: the tutorial's, and columns standardised as scikit-learn does it."""

import numpy as np
import pytest

from edgecnn import ColumnSpec, TableSpec
from edgecnn.train.architectures import Kernels
from edgecnn.train.perceptrons import NOTEBOOK, Network, Scale, perceptron

keras = pytest.importorskip("keras")


def layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def numbers(count):
    return TableSpec(fields=tuple(map(str, range(count))))


def test_notebook_is_the_tutorials_network():
    model = perceptron(1, "sigmoid", NOTEBOOK, Scale.of_inputs(np.eye(8, dtype=np.float32), numbers(8)))
    assert [d.units for d in layers(model, keras.layers.Dense)] == [12, 6, 1]
    assert [a.activation.__name__ for a in layers(model, keras.layers.Activation)] == ["relu", "relu"]
    assert layers(model, keras.layers.Dense)[-1].activation.__name__ == "sigmoid"
    assert [layer.rate for layer in layers(model, keras.layers.Dropout)] == [0.2, 0.2]


def test_columns_are_standardised_as_scikit_learn_does():
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).normal((5, -300), (2, 40), (100, 2)).astype(np.float32)
    model = perceptron(3, "softmax", Network(hidden=(7,)), Scale.of_inputs(rows, numbers(2)))
    (first,) = layers(model, keras.layers.Normalization)
    np.testing.assert_allclose(first(rows).numpy(), StandardScaler().fit_transform(rows), atol=1e-4)
    bare = perceptron(3, "softmax", Network(standardize=False), Scale.of_inputs(rows, numbers(2)))
    assert not layers(bare, keras.layers.Normalization)


def test_categories_and_indicators_stay_0_and_1_and_a_constant_column_stays_silent():
    spec = TableSpec(
        fields=("x", "c", "k"),
        missing=("",),
        inputs=(
            ColumnSpec(name="x", fill=3, indicator=True),
            ColumnSpec(name="c", kind="category", categories=("a", "b")),
            ColumnSpec(name="k"),
        ),
    )
    rows = np.float32([[1, 0, 1, 0, 7], [3, 1, 0, 1, 7], [5, 0, 0, 1, 7]])
    model = perceptron(1, "sigmoid", Network(), Scale.of_inputs(rows, spec))
    (first,) = layers(model, keras.layers.Normalization)
    np.testing.assert_array_equal(first(rows).numpy()[:, 1:4], rows[:, 1:4])
    np.testing.assert_allclose(first(np.float32([[3, 0, 0, 0, 1e6]])).numpy(), np.zeros((1, 5)), atol=1e-6)


def test_a_regression_answers_in_the_unit_of_its_target():
    targets = Scale.of_targets(np.float32([100, 200, 300]))
    model = perceptron(1, "linear", Network(), Scale.of_inputs(np.eye(3, dtype=np.float32), numbers(3)), targets)
    last = layers(model, keras.layers.Dense)[-1]
    last.set_weights([np.zeros((32, 1)), np.ones(1)])
    np.testing.assert_allclose(model(np.eye(3)).numpy(), 200 + np.sqrt(20_000 / 3), rtol=1e-6)


def test_kernels_and_hidden_layers_are_keras_own():
    kernels = Kernels(kernel_initializer="glorot_normal", l1=0.1, l2=0.2)
    network = Network(hidden=(4, 5), activation="tanh", dropout=0.5, batch_norm=True)
    model = perceptron(1, "sigmoid", network, Scale.of_inputs(np.eye(3, dtype=np.float32), numbers(3)), kernels=kernels)
    first, second, _ = layers(model, keras.layers.Dense)
    assert (first.units, second.units, first.use_bias) == (4, 5, False)
    assert isinstance(first.kernel_initializer, keras.initializers.GlorotNormal)
    assert (float(first.kernel_regularizer.l1), float(first.kernel_regularizer.l2)) == pytest.approx((0.1, 0.2))
    assert len(layers(model, keras.layers.BatchNormalization)) == 2
    assert all(a.activation is keras.activations.tanh for a in layers(model, keras.layers.Activation))


def test_the_seed_decides_the_weights():
    def weights(seed):
        scale = Scale.of_inputs(np.eye(3, dtype=np.float32), numbers(3))
        return np.concatenate([w.ravel() for w in perceptron(1, "sigmoid", Network(), scale, seed=seed).get_weights()])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
