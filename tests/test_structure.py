"""edgecnn.export.structure: what layers tell about the recipe is a hint, save for models that have one recipe."""

from __future__ import annotations

import types

import keras
import pytest

from edgecnn import PRESETS, ModelError, PixelSpec, Predictor
from edgecnn.cli import guard
from edgecnn.export.load import load
from edgecnn.export.stamp import read_stamp
from edgecnn.export.structure import hints, imagenet_recipe, is_teachable_machine, scaled_twice
from edgecnn.export.to_onnx import main

L = keras.layers


def source_of(model, tmp_path):
    model.save(tmp_path / "m.keras")
    return load(tmp_path / "m.keras")


def test_scaling_inside_is_seen(tmp_path):
    inner = keras.Sequential([L.Rescaling(1 / 127.5, offset=-1), L.Conv2D(2, 3)])
    source = source_of(keras.Sequential([L.Input((8, 8, 3)), inner, L.GlobalAveragePooling2D()]), tmp_path)
    assert any("Rescaling(0.00784314, -1)" in hint for hint in hints(source))
    assert scaled_twice(source, PixelSpec(height=8, width=8, scale=1 / 255))
    assert not scaled_twice(source, PixelSpec(height=8, width=8))


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_arithmetic_before_the_first_weights_is_scaling(tmp_path, library):
    """As TensorFlow's tutorial on transfer learning has it: preprocess_input is called on the model's input."""
    k = pytest.importorskip(library)
    x = k.Input((32, 32, 3))
    backbone = k.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    scaled = k.applications.mobilenet_v2.preprocess_input(k.layers.RandomFlip()(x))
    source = source_of(k.Model(x, k.layers.Dense(2)(k.layers.Flatten()(backbone(scaled)))), tmp_path)
    assert hints(source) == ["the model scales its input itself (x / 127.5 - 1), so it wants 0..255"]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_operators_of_early_graphs_are_arithmetic_too(tmp_path):
    """Where TensorFlow 2.3 and older call preprocess_input on the model's input."""
    k = pytest.importorskip("tf_keras")
    operator = k.src.engine.base_layer.TensorFlowOpLayer
    x = scaled = k.Input((8, 8, 3))
    for op, value in (("RealDiv", 127.5), ("Sub", 1.0)):
        scaled = operator({"name": op, "op": op, "input": ["x", "y"], "attr": {"T": {"type": 1}}}, op, {1: value})(
            scaled
        )
    k.Model(x, k.layers.Conv2D(2, 3)(scaled)).save(tmp_path / "m.h5")
    assert hints(load(tmp_path / "m.h5")) == ["the model scales its input itself (x / 127.5 - 1), so it wants 0..255"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x / 255.0 - 0.5", "(x / 255.0 - 0.5), so it wants 0..255"),
        ("x - [103.9, 116.8, 123.7]", "(x - [103.9, 116.8, 123.7]), so its recipe must not"),
        ("x[..., ::-1]", None),
        ("tf.image.resize(x, (32, 32))", None),
    ],
)
def test_an_expression_that_scales_tells_the_range(text, hint, tmp_path):
    layers = [L.Input((32, 32, 3)), L.Lambda(lambda x: x, output_shape=(32, 32, 3), name="first"), L.Conv2D(2, 3)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras", lambdas={"first": text})
    assert hints(source) == ([] if hint is None else [f"the model scales its input itself {hint}"])


def test_a_mean_as_an_array_and_two_tensors(tmp_path):
    k = pytest.importorskip("tf_keras")
    x = k.Input((8, 8, 3))
    source = source_of(k.Model(x, k.layers.Conv2D(2, 3)((x - [1.0, 2.0, 3.0]) / 4.0)), tmp_path)
    assert hints(source) == ["the model scales its input itself (x - a mean / 4), so its recipe must not"]
    source = source_of(k.Model(x, k.layers.Conv2D(2, 3)(k.layers.Add()([x, x]))), tmp_path)
    assert hints(source) == []


@pytest.mark.parametrize(
    ("layers", "hint"),
    [
        ([L.Rescaling(1 / 255)], "(Rescaling(0.00392157, 0)), so it wants 0..255"),
        ([L.Rescaling(2.0, -1)], "(Rescaling(2, -1)), so it wants 0..1"),
        ([L.Normalization(mean=[110.0, 100, 90], variance=[3600.0] * 3)], "(Normalization), so it wants 0..255"),
        ([L.Normalization(mean=0.5, variance=0.25)], "(Normalization), so it wants 0..1"),
        ([L.Conv2D(2, 3), L.Rescaling(1 / 255)], None),
    ],
    ids=["bytes", "units", "bytes by statistics", "units by statistics", "behind weights"],
)
def test_what_is_scaled_inside_tells_the_range(layers, hint, tmp_path):
    source = source_of(keras.Sequential([L.Input((8, 8, 3)), *layers, L.Flatten(), L.Dense(2)]), tmp_path)
    assert hints(source) == ([] if hint is None else [f"the model scales its input itself {hint}"])


def test_a_backbone_that_may_scale_inside_but_does_not_suggests_nothing(tmp_path):
    options = {"weights": None, "input_shape": (32, 32, 3), "include_top": False, "include_preprocessing": False}
    backbone = keras.applications.EfficientNetV2B0(**options)
    source = source_of(keras.Sequential([L.Input((32, 32, 3)), backbone, L.Flatten(), L.Dense(2)]), tmp_path)
    assert hints(source) == []


def test_a_backbone_suggests_its_preset(tmp_path):
    backbone = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    source = source_of(keras.Sequential([L.Input((32, 32, 3)), backbone, L.Flatten(), L.Dense(2)]), tmp_path)
    assert any("--preset imagenet-tf" in hint for hint in hints(source))
    assert not is_teachable_machine(source)
    layers = [L.Input((32, 32, 3)), L.Rescaling(1 / 127.5, -1), backbone, L.Flatten(), L.Dense(2)]
    hint = "the model scales its input itself (Rescaling(0.00784314, -1)), so it wants 0..255"
    assert hints(source_of(keras.Sequential(layers), tmp_path)) == [hint]


def test_a_backbone_behind_a_layer_that_scales_suggests_no_preset(tmp_path):
    backbone = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    scaled = [L.Input((32, 32, 3)), L.Rescaling(1 / 127.5, offset=-1), backbone, L.Flatten(), L.Dense(2)]
    (hint,) = hints(source_of(keras.Sequential(scaled), tmp_path))
    assert hint.endswith("(Rescaling(0.00784314, -1)), so it wants 0..255")


WITHOUT_CONFIG = """
import numpy as np
from {library} import Model, Sequential, layers
class Coder(Model):
    def __init__(self, encoder, decoder, **more):
        super().__init__(**more)
        self.encoder, self.decoder = encoder, decoder
    def call(self, x):
        return self.decoder(self.encoder(x))
def build():
    model = Coder(Sequential([layers.Conv2D(2, 3, strides=2)]), Sequential([layers.Conv2DTranspose(1, 3, strides=2)]))
    model(np.zeros((1, 9, 9, 1), np.float32))
    return model
"""


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_class_of_model_that_cannot_tell_its_config_suggests_nothing(tmp_path, library, capsys):
    """It is given layers and has no get_config: Keras 3 can store its weights only, as inside another model."""
    k = pytest.importorskip(library)
    net = tmp_path / "net.py"
    net.write_text(WITHOUT_CONFIG.format(library=library))
    scope = {}
    exec(net.read_text(), scope)
    scope["build"]().save_weights(tmp_path / "m.weights.h5")
    k.backend.clear_session()
    assert main([str(tmp_path / "m.weights.h5"), "-o", str(tmp_path / "m.onnx"), "--architecture", f"{net}:build"]) == 0
    assert "nobody stated" in capsys.readouterr().err


def test_a_plain_model_suggests_nothing(tmp_path):
    source = source_of(keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(2, 3)]), tmp_path)
    assert hints(source) == []
    assert not scaled_twice(source, PixelSpec(height=8, width=8, scale=1 / 255))


PLAIN = {"decode": "pil", "resize": "pil_nearest", "scale": 1}


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize(
    ("library", "suffix", "name", "recipe"),
    [("keras", ".keras", "MobileNetV3Small", PLAIN), ("tf_keras", ".h5", "MobileNetV2", PRESETS["imagenet-tf"])],
)
def test_a_whole_application_is_exported_with_its_recipe(tmp_path, library, suffix, name, recipe, capsys):
    """Preprocess_input outside, or scaling inside, which is not done twice."""
    alpha = {"MobileNetV3Small": 0.75, "MobileNetV2": 0.35}[name]
    make = getattr(pytest.importorskip(library).applications, name)
    path = tmp_path / f"m{suffix}"
    make(weights=None, input_shape=(32, 32, 3), alpha=alpha).save(path)
    assert guard(main, [str(path)]) == 0
    told = capsys.readouterr().err
    assert "recognised as keras.applications' " in told
    assert "taken for granted" not in told
    assert read_stamp(tmp_path / "m.onnx").pixels == PixelSpec(height=32, width=32, **recipe)
    assert bool(scaled_twice(load(path), PixelSpec(height=32, width=32, scale=1 / 255))) == (recipe is PLAIN)


@pytest.mark.parametrize(
    ("name", "preset"),
    [("VGG16", "imagenet-caffe"), ("ResNet50", "imagenet-caffe"), ("InceptionV3", "imagenet-tf"),
     ("EfficientNetB0", None)],
)  # fmt: skip
def test_applications_are_known_by_name_and_top(name, preset):
    source = types.SimpleNamespace(inputs=[types.SimpleNamespace(shape=(None, 75, 75, 3))])
    source.model = getattr(keras.applications, name)(weights=None, input_shape=(75, 75, 3), classes=7)
    source.outputs = [types.SimpleNamespace(shape=(None, 7))]
    assert imagenet_recipe(source) is None
    wanted = f"the model {source.model.name} wants {f'--preset {preset}' if preset else '0..255'}"
    assert any(wanted in hint for hint in hints(source))
    source.outputs = [types.SimpleNamespace(shape=(None, 1000))]
    assert imagenet_recipe(source) == (source.model.name, {"preset": preset} if preset else PLAIN)
    for shape in ((None, None, None, 3), (None, 75, 75, 1), (None, 3, 75, 75)):
        source.inputs = [types.SimpleNamespace(shape=shape)]
        assert imagenet_recipe(source) is None


@pytest.mark.parametrize(
    ("name", "top", "preset"),
    [("mobilenet_1.00_224", "reshape_2", "imagenet-tf"), ("resnet50", "fc1000", "imagenet-caffe"),
     ("resnet101v2", "probs", "imagenet-tf"), ("mobilenetv2_1.00_224", "Logits", "imagenet-tf"),
     ("densenet121", "fc1000", "imagenet-torch"), ("resnext50", "probs", "imagenet-torch"),
     ("convnext_tiny", "convnext_tiny_head_dense", None), ("regnetx002", "regnetx002head_dense", None),
     ("resnet-rs-50", "predictions", None)],
)  # fmt: skip
def test_applications_of_every_version_are_known(name, top, preset):
    image = keras.Input((8, 8, 3))
    x = L.GlobalAveragePooling2D()(image if preset else L.Rescaling(1 / 255)(image))
    source = types.SimpleNamespace(model=keras.Model(image, L.Dense(1000, name=top)(x), name=name))
    source.inputs = [types.SimpleNamespace(shape=(None, 8, 8, 3))]
    source.outputs = [types.SimpleNamespace(shape=(None, 1000))]
    assert imagenet_recipe(source) == (name, {"preset": preset} if preset else PLAIN)


def test_an_application_of_any_size_is_exported_without_a_recipe(tmp_path, capsys):
    keras.applications.MobileNetV3Small(weights=None, alpha=0.75).save(tmp_path / "m.keras")
    assert guard(main, [str(tmp_path / "m.keras")]) == 0
    assert "the model MobileNetV3Small wants 0..255" in capsys.readouterr().err


def test_predict_asks_where_the_recipe_is_unknown(tmp_path, photos):
    source_of(keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(2, 3), L.GlobalAveragePooling2D()]), tmp_path)
    assert guard(main, [str(tmp_path / "m.keras")]) == 0
    with pytest.raises(ModelError, match=r"carries no recipe.*--preset"):
        Predictor(tmp_path / "m.onnx", device="cpu").predict(photos / "red" / "one.png")
