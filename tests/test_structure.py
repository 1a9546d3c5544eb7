"""edgecnn.export.structure: what layers tell about the recipe is a hint, never a decision."""

from __future__ import annotations

import keras
import pytest

from edgecnn import PixelSpec
from edgecnn.export.load import load
from edgecnn.export.structure import hints, is_teachable_machine, scaled_twice

# Keras itself calls numpy in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")

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


def test_a_backbone_suggests_its_preset(tmp_path):
    backbone = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    source = source_of(keras.Sequential([L.Input((32, 32, 3)), backbone, L.Flatten(), L.Dense(2)]), tmp_path)
    assert any("--preset imagenet-tf" in hint for hint in hints(source))
    assert not is_teachable_machine(source)


def test_a_plain_model_suggests_nothing(tmp_path):
    source = source_of(keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(2, 3)]), tmp_path)
    assert hints(source) == []
    assert not scaled_twice(source, PixelSpec(height=8, width=8, scale=1 / 255))
