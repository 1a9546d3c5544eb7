"""Transfer learning: where weights come from, what is frozen when, and the range that a backbone expects."""

import itertools

import numpy as np
import pytest

from edgecnn.errors import InputError, SourceError
from edgecnn.spec import ModelSpec, PixelSpec
from edgecnn.train import backend, pretrained

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def mobilenet():
    backend.start(0)
    return pretrained.build_backbone("mobilenetv2", "none", SHAPE, 3, seed=1)


def test_the_recipe_gives_the_range_of_keras_preprocess_input():
    import edgecnn

    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name, module in (("mobilenetv2", "mobilenet_v2"), ("efficientnetb0", "efficientnet")):
        pixels = pretrained.backbone_recipe(name, PixelSpec(height=32, width=32, scale=1 / 255))
        expected = getattr(keras.applications, module).preprocess_input(image.astype(np.float32))
        np.testing.assert_allclose(edgecnn.preprocess(image, pixels), expected, atol=1e-6)


@pytest.mark.parametrize(("fields", "message"), [({"color": "gray"}, "takes rgb"), ({"height": 16}, "at least 32")])
def test_a_recipe_that_does_not_suit_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        pretrained.backbone_recipe("mobilenetv2", PixelSpec(**{"height": 32, "width": 32} | fields))


def test_a_backbones_weights_are_read_from_a_file_of_them_or_of_a_whole_model(mobilenet, tmp_path):
    model, layers = mobilenet
    keras.utils.set_random_seed(3)
    backbone = keras.Model(model.inputs, layers[-1].output)
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    model.save(tmp_path / "whole.keras")
    model.save(tmp_path / "whole.h5")
    for name in ("backbone.weights.h5", "whole.keras", "whole.h5"):
        _, found = pretrained.build_backbone("mobilenetv2", str(tmp_path / name), SHAPE, 3, seed=2)
        assert [layer.name for layer in found[1:]] == [layer.name for layer in layers[1:]]
        for a, b in zip(found, layers, strict=True):
            assert all(np.array_equal(v, w) for v, w in zip(a.get_weights(), b.get_weights(), strict=True))


def test_other_weights_and_no_network_are_one_line(mobilenet, tmp_path, monkeypatch):
    (tmp_path / "bytes.h5").write_bytes(b"no weights")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.h5")
    for name, message in (
        ("bytes.h5", "is a text and neither HDF5"),
        ("other.h5", "holds no weights of this backbone"),
    ):
        with pytest.raises(InputError, match=rf"--weights .*{name}:? {message}") as caught:
            pretrained.build_backbone("mobilenetv2", str(tmp_path / name), SHAPE, 3)
        assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"none\.h5: no such file"):
        pretrained.build_backbone("mobilenetv2", str(tmp_path / "none.h5"), SHAPE, 3)

    def offline(*args, **kwargs):
        raise Exception("URL fetch failure on somewhere: None -- no route")

    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", offline)
    with pytest.raises(SourceError, match=r"--weights imagenet: .* can't be downloaded here; give a file"):
        pretrained.build_backbone("mobilenetv2", "imagenet", SHAPE, 3)


def test_the_backbone_is_trained_from_its_end_in_stages(tmp_path):
    from edgecnn.train.fit import FitOptions, fit

    backend.start(0)
    inputs = keras.Input((4,))
    x = inputs
    backbone = []
    for _ in range(4):
        backbone.append(keras.layers.Dense(4, activation="relu"))
        x = backbone[-1](x)
    backbone.append(keras.layers.BatchNormalization())
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(backbone[-1](x)))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(64, 4)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[(rows[:, 0] > 0).astype(int)]
    batches = tf.data.Dataset.from_tensor_slices((rows, targets)).repeat().batch(8)
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([np.array(layer.get_weights()[0]) for layer in [*backbone, model.layers[-1]]])

    stages = pretrained.unfreezing(backbone, (0.0, 0.6, 1.0), 6)
    options = FitOptions(epochs=6, batch_size=8, steps_per_epoch=4, output=tmp_path / "m.keras", quiet=True)
    fit(model, batches.skip, None, ModelSpec(head="softmax", labels=("a", "b")), options, [stages, Watch()])
    pairs = itertools.pairwise(seen)
    changed = [[not np.array_equal(a, b) for a, b in zip(p, q, strict=True)] for p, q in pairs]
    # Layers 0 to 3, the batch normalisation, which stays as it came, and the new last layer.
    assert changed == [
        [False, False, False, False, False, True],
        [False, False, True, True, False, True],
        [False, False, True, True, False, True],
        [True, True, True, True, False, True],
        [True, True, True, True, False, True],
    ]
