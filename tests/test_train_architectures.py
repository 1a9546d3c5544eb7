"""The networks: what they are made of, and that a size, a colour and a seed decide them."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from edgecnn.train import architectures  # noqa: E402

FOLDS_AND_QUANTIZES = {
    "InputLayer", "Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D", "Add", "GlobalAveragePooling2D", "Dropout",
    "Dense",
}  # fmt: skip


def layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("channels", [1, 3])
def test_notebook_is_the_tutorials_network(channels):
    model = architectures.notebook_cnn((64, 64, channels), 5)
    convolutions, dense = layers(model, keras.layers.Conv2D), layers(model, keras.layers.Dense)
    assert [(c.filters, c.kernel_size, c.activation.__name__) for c in convolutions] == [
        (32, (5, 5), "relu"), (12, (5, 5), "relu"), (12, (5, 5), "relu"),
    ]  # fmt: skip
    assert [(d.units, d.activation.__name__) for d in dense] == [
        (64, "relu"), (256, "softmax"), (128, "elu"), (64, "sigmoid"), (32, "tanh"), (5, "softmax"),
    ]  # fmt: skip
    penalties = [(type(d.kernel_regularizer).__name__, d.kernel_regularizer.get_config()) for d in dense]
    assert [name for name, _ in penalties] == ["L2", "L2", "L2", "L1", "L1", "L2"]
    assert all(value == pytest.approx(0.01) for _, config in penalties for value in config.values())
    assert all(d.kernel_initializer.stddev == 1 and not d.bias.numpy().any() for d in dense)
    assert dense[1].kernel.numpy().std() == pytest.approx(1, abs=0.05)
    assert [layer.rate for layer in layers(model, keras.layers.Dropout)] == [0.2]


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (48, 80, 3), (128, 128, 3), (224, 224, 3)]
)
def test_edge_fits_every_size_and_holds_only_what_quantizes(shape):
    model = architectures.edge_cnn(shape, 4)
    assert {type(layer).__name__ for layer in model.layers} <= FOLDS_AND_QUANTIZES
    assert model.output_shape == (None, 4)
    last_map = layers(model, keras.layers.GlobalAveragePooling2D)[0].input.shape[1:3]
    assert all(side <= 10 for side in last_map)
    x = np.random.default_rng(0).random((2, *shape), np.float32)
    np.testing.assert_allclose(model(x).numpy().sum(axis=1), 1, atol=1e-5)


def test_width_scales_the_cost():
    small, large = (architectures.edge_cnn((64, 64, 3), 2, width=w).count_params() for w in (0.5, 1.0))
    assert large == pytest.approx(4 * small, rel=0.1)


def test_the_seed_decides_the_weights():
    def weights(seed):
        return np.concatenate([w.ravel() for w in architectures.edge_cnn((16, 16, 1), 2, seed=seed).get_weights()])

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_kernels_are_keras_own():
    kernels = architectures.Kernels(kernel_initializer="glorot_normal", l1=0.1, l2=0.2)
    model = architectures.edge_cnn((16, 16, 3), 2, kernels=kernels)
    for layer in layers(model, keras.layers.Conv2D):
        assert isinstance(layer.kernel_initializer, keras.initializers.GlorotNormal)
        assert (float(layer.kernel_regularizer.l1), float(layer.kernel_regularizer.l2)) == pytest.approx((0.1, 0.2))


@pytest.mark.parametrize("name", architectures.INITIALIZERS)
def test_every_initializer_is_found(name):
    assert architectures.Kernels(kernel_initializer=name).options(1)["kernel_initializer"].seed == 1
