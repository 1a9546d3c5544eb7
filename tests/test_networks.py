"""edgecnn.export.reading.networks: a Lambda's preprocess_input is known by its code, or by the network in the file."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tf_keras

from edgecnn import ModelError
from edgecnn.export.load import load
from edgecnn.export.reading.networks import by_name

# tf-keras finds its own HDF5 old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")


@pytest.mark.parametrize(
    ("library", "module", "network", "hint"),
    [
        (tf_keras, "resnet50", None, "resnet"),
        (tf_keras, "densenet", None, "densenet"),
        (keras, "resnet_v2", "ResNet50V2", "resnet_v2"),
        (keras, "mobilenet_v2", "MobileNetV2", "mobilenet_v2"),
    ],
)
def test_the_hint_computes_what_the_layer_did(library, module, network, hint, tmp_path):
    layers, path = library.layers, tmp_path / "m.h5"
    prepare = layers.Lambda(getattr(library.applications, module).preprocess_input, output_shape=(32, 32, 3), name="p")
    options = {"weights": None, "input_shape": (32, 32, 3), "include_top": False}
    body = getattr(library.applications, network)(**options) if network else layers.Conv2D(2, 3)
    model = library.Sequential([layers.Input((32, 32, 3)), prepare, body])
    model.save(path)
    text = f"{hint}.preprocess_input(x)"
    with pytest.raises(ModelError, match=rf"--lambda p='{hint}\.preprocess_input\(x\)'"):
        load(path)
    x = np.random.default_rng(3).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    (y,) = load(path, lambdas={"p": text})([x])
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lambda", "functional_1", "inception_resnet_v2"], "inception_resnet_v2.preprocess_input(x)"),
        (["vgg19_input", "resnet101"], "vgg19.preprocess_input(x)"),
        (["lambda", "resnet152"], "resnet.preprocess_input(x)"),
        (["lambda", "efficientnetv2-b0"], "efficientnet_v2.preprocess_input(x)"),
        (["lambda", "MobileNetV3Large"], "mobilenet_v3.preprocess_input(x)"),
        (["lambda", "sequential"], "vgg16.preprocess_input(x)"),
    ],
)
def test_networks_are_known_by_their_names(names, expected):
    assert by_name([b"preprocess_input"], names) == expected
    assert by_name([b"expand_dims"], names) is None
