"""edgecnn.export.proof: what differs is blamed on the stage that brings it (stages, reference), and on the layer."""

from __future__ import annotations

import dataclasses
import io
import json

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from edgecnn import PRESETS, ModelSpec, PixelSpec
from edgecnn.cli import guard
from edgecnn.export import verify
from edgecnn.export.proof import reference, stages
from edgecnn.export.stamp import read_stamp, stamp_onnx, write_stamp
from edgecnn.export.to_onnx import main
from edgecnn.selftest import synthetic_image
from edgecnn.spec import RESIZES

L = keras.layers
RECIPE = PixelSpec(height=24, width=20, resize="pil_bilinear", scale=1 / 255)
STAGES = ["decode", "resize", "normalise", "graph"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A stamped Keras model, its verified export (float32 and int8), and a folder of JPEG photographs."""
    where = tmp_path_factory.mktemp("stages")
    keras.utils.set_random_seed(41)
    image = L.Input((24, 20, 3))
    x = L.Conv2D(6, 3, use_bias=False, name="conv_a")(image)
    x = L.BatchNormalization(name="bn_a")(x)
    x = L.ReLU(name="relu_a")(x)
    left = L.Conv2D(6, 3, activation="relu", name="conv_left")(x)
    right = L.Conv2D(6, 3, activation="relu", name="conv_right")(x)
    x = L.Flatten(name="flat")(L.Add(name="sum")([left, right]))
    model = keras.Model(image, L.Dense(4, activation="softmax", name="scores")(x))
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(-0.02, 0.05, w.shape).astype(np.float32) for w in model.get_weights()])
    model.save(where / "m.keras")
    write_stamp(where / "m.keras", ModelSpec(pixels=RECIPE))
    (where / "photos").mkdir()
    for i in range(8):
        picture = Image.fromarray(synthetic_image(60 + 9 * i, 100 - 7 * i))
        exif = picture.getexif()
        exif[0x0112] = 6 if i == 7 else 1  # a phone held upright
        picture.save(where / "photos" / f"{i}.jpg", quality=90, exif=exif)
    quantised = ["--quantize", "int8", "--calibration", where / "photos", "--max-drop", "1", "-o", where / "int8.onnx"]
    for options in ([], quantised):
        arguments = [where / "m.keras", "--data", where / "photos", "--report", where / "r.json", *options]
        assert guard(main, [str(a) for a in arguments]) == 0
    return where


def verified(folder, tmp_path, change, *, model="m.onnx", options=("--data",)):
    """(exit status, the report's stages by name, the report) of `edgecnn verify` on a changed export."""
    spec, graph = read_stamp(folder / model), onnx.load(folder / model)
    changed = change(graph, spec)
    stamp_onnx(graph, changed or spec)
    onnx.save(graph, tmp_path / "changed.onnx")
    arguments = [tmp_path / "changed.onnx", "--against", folder / "m.keras", "--report", tmp_path / "r.json"]
    arguments += [*options, *([folder / "photos"] if "--data" in options else [])]
    status = guard(verify.main, [str(a) for a in arguments])
    report = json.loads((tmp_path / "r.json").read_text())
    return status, {s["name"]: s for s in report["stages"]["stages"]}, report


def recipe(**changes):
    return lambda graph, spec: dataclasses.replace(spec, pixels=dataclasses.replace(spec.pixels, **changes))


def weight(layer, amount=0.05):
    """Change one value among the weights of a layer."""

    def change(graph, spec):
        # A convolution fused with its normalisation keeps the name of one of them.
        named = [t for t in graph.graph.initializer if t.name.startswith((layer, layer.replace("conv_a", "bn_a")))]
        tensor = max(named, key=lambda t: len(t.raw_data))
        values = numpy_helper.to_array(tensor).copy()
        values.flat[values.size // 2] += amount
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change


def test_what_was_exported_is_exact_and_reported(folder, tmp_path):
    report = json.loads((folder / "r.json").read_text())
    assert report["stages"]["source"].endswith("photos")
    assert [s["name"] for s in report["stages"]["stages"]] == [*STAGES, "quantisation"]
    status, found, report = verified(folder, tmp_path, lambda graph, spec: None)
    assert status == 0
    assert report["stages"]["samples"] == 8
    assert [s["own_diff"] for s in found.values()] == [0, 0, 0, None]
    assert found["graph"]["output_diff"] < 1e-6


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("decode", recipe(decode="tf")),
        ("decode", recipe(color="bgr")),
        ("decode", recipe(exif=True)),
        ("resize", recipe(resize="tf_bilinear")),
        ("resize", recipe(fit="crop")),
        ("normalise", recipe(scale=1.0, divisor=255.0, offset=0.01)),
        ("normalise", recipe(scale=1 / 256)),
    ],
)
@pytest.mark.parametrize("options", [("--data",), ()], ids=["photographs", "synthetic"])
def test_another_recipe_is_blamed_on_its_stage(folder, tmp_path, capsys, stage, change, options):
    status, found, report = verified(folder, tmp_path, change, options=options)
    assert status == 1
    assert f"the stage {stage} differs" in report["reason"]
    others = [s for s in STAGES if s != stage]
    assert found[stage]["share"] > 0.99
    assert found[stage]["output_diff"] > 1e-5
    assert all(found[s]["output_diff"] < 1e-6 for s in others), found
    table = capsys.readouterr().err
    assert max((line for line in table.splitlines() if line.endswith("%")), key=share_of).startswith(stage)


def test_of_several_stages_the_one_that_brings_most_is_blamed(folder, tmp_path, capsys):
    status, _, report = verified(folder, tmp_path, recipe(decode="tf", scale=1.0), options=("--data",))
    assert status == 1
    assert "the stage normalise differs" in report["reason"]
    assert report["reason"].endswith("; decode differs too")


def share_of(line):
    return int(line.split()[-1].rstrip("%"))


@pytest.mark.parametrize("layer", ["conv_a", "conv_left", "conv_right", "scores"])
def test_a_changed_weight_is_blamed_on_the_graph_and_its_layer(folder, tmp_path, capsys, layer):
    status, found, report = verified(folder, tmp_path, weight(layer))
    assert status == 1
    assert found["graph"]["share"] > 0.99
    assert [found[s]["output_diff"] for s in STAGES[:3]] == [0, 0, 0]
    assert report["stages"]["layer"].startswith(f"{layer} (")
    err = capsys.readouterr().err
    assert f"the first layer whose output differs is {layer}" in err
    assert max((line for line in err.splitlines() if line.endswith("%")), key=share_of).startswith("graph")


def test_a_bad_quantisation_is_blamed_on_the_quantisation(folder, tmp_path, capsys):
    def spoil(graph, spec):
        (weights,) = [t for t in graph.graph.initializer if t.name.endswith("Cast/ReadVariableOp_quantized")]
        rolled = np.roll(numpy_helper.to_array(weights), 1, axis=1)
        weights.CopyFrom(numpy_helper.from_array(rolled, weights.name))

    status, found, report = verified(folder, tmp_path, spoil, model="int8.onnx")
    assert status == 1
    assert "the quantised model loses" in report["reason"]
    assert found["quantisation"]["share"] > 0.99
    assert found["graph"]["output_diff"] < 1e-6


def test_several_stages_share_the_blame(folder, tmp_path):
    def both(graph, spec):
        weight("scores", 0.3)(graph, spec)
        return recipe(scale=1 / 200)(graph, spec)

    status, found, _ = verified(folder, tmp_path, both)
    assert status == 1
    assert found["normalise"]["share"] > 0.01
    assert found["graph"]["share"] > 0.01
    assert found["resize"]["share"] == 0


def test_a_kernel_that_is_off_stops_the_export(folder, tmp_path, monkeypatch, capsys):
    def off(image, spec, *rest, **options):
        x = original(image, spec, *rest, **options)
        return x + np.float32(0.01) if spec.scale == 1 else x + np.float32(0.01 * spec.scale)

    original = stages.preprocess
    monkeypatch.setattr(stages, "preprocess", off)
    (tmp_path / "m.onnx").write_bytes(b"as before")
    assert guard(main, [str(folder / "m.keras"), "-o", str(tmp_path / "m.onnx")]) == 1
    assert "the stage resize differs: differences of up to 0.01" in capsys.readouterr().err
    assert (tmp_path / "m.onnx").read_bytes() == b"as before"


def test_the_training_may_be_stated_where_the_keras_file_has_no_stamp(folder, tmp_path):
    keras.models.load_model(folder / "m.keras").save(tmp_path / "plain.keras")
    arguments = [folder / "m.onnx", "--against", tmp_path / "plain.keras", "--data", folder / "photos"]
    assert guard(verify.main, [str(a) for a in arguments]) == 0
    assert guard(verify.main, [str(a) for a in (*arguments, "--preset", "edgecnn")]) == 0
    assert guard(verify.main, [str(a) for a in (*arguments, "--preset", "keras-flow")]) == 1


ALL = [*[dict(p) for p in PRESETS.values()], *({"resize": r, "decode": "pil"} for r in RESIZES)]
MORE = [
    {"resize": "tf_bilinear", "decode": "tf", "color": "gray"}, {"resize": "pil_bicubic", "color": "gray"},
    {"resize": "cv2_area", "color": "gray"}, {"resize": "tf_area", "decode": "tf", "exif": True},
    {"resize": "pil_box", "exif": True}, {"resize": "pil_lanczos", "fit": "pad", "pad_value": 7},
    {"resize": "tf_bicubic", "fit": "crop"}, {"resize": "tf_bilinear", "dtype": "uint8"},
    {"resize": "pil_box", "layout": "nchw", "color": "bgr", "mean": (1.0, 2.0, 3.0), "std": (2.0, 3.0, 4.0)},
]  # fmt: skip


@pytest.mark.parametrize("fields", [*ALL, *MORE], ids=str)
def test_every_recipe_is_exact_beside_its_library(fields):
    """The walk's own view of one turned photograph: three stages, none of which brings anything."""
    spec = PixelSpec(height=24, width=20, **fields)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(synthetic_image(61, 90)).save(file, "JPEG", exif=exif)
    data = file.getvalue()
    image, color = stages.decode_for(spec, data)
    _, pairs = stages._swap(data, image, color, spec, spec)
    for (theirs, ours), stage in zip(pairs, STAGES, strict=False):
        np.testing.assert_array_equal(ours, theirs, err_msg=stage)
    assert all(reference.describe(spec))


def test_without_the_library_it_says_what_was_not_compared(folder, tmp_path, monkeypatch, capsys):
    def missing(name):
        if name == "cv2":
            raise reference.EdgeCNNError("no cv2")
        return original(name)

    original = reference.require
    monkeypatch.setattr(reference, "require", missing)
    arguments = [folder / "m.keras", "-o", tmp_path / "m.onnx", "--preset", "opencv", "--report", tmp_path / "r.json"]
    assert guard(main, [str(a) for a in arguments]) == 0
    assert "resize not compared: cv2 isn't installed here" in capsys.readouterr().err
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["stages"]["stages"][1]["output_diff"] is None


def test_fast_decoding_is_told_and_no_failure(folder, tmp_path, capsys):
    big = tmp_path / "big"
    big.mkdir()
    Image.fromarray(synthetic_image(480, 640)).save(big / "a.jpg")
    arguments = [folder / "m.keras", "-o", tmp_path / "m.onnx", "--decode", "fast", "--data", big]
    assert guard(main, [str(a) for a in (*arguments, "--report", tmp_path / "r.json")]) == 0
    assert "decode not exact, as asked for" in capsys.readouterr().err
    found = json.loads((tmp_path / "r.json").read_text())["stages"]["stages"]
    assert [s["own_diff"] for s in found[:3]] == [None, 0, 0]
    assert found[0]["beside"] == "keras load_img"
    assert found[0]["output_diff"] > 0
