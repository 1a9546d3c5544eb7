"""edgecnn.export.to_onnx: one command from a Keras file to a verified ONNX file."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from PIL import Image

from edgecnn import PRESETS, ModelSpec, PixelSpec, TableSpec
from edgecnn.cli import guard
from edgecnn.export import to_onnx
from edgecnn.export.stamp import read_stamp, write_stamp
from edgecnn.export.to_onnx import main

L = keras.layers
ROOT = pathlib.Path(__file__).parents[1]
PIXELS = PixelSpec(height=16, width=16, resize="pil_bilinear", scale=1 / 255)


@pytest.fixture
def folder(tmp_path):
    """Photographs: noise in two brightnesses, in class folders that sort against their brightness."""
    rng = np.random.default_rng(6)
    for name, level in (("a-light", 255), ("b-dark", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, level, (20 + i, 30, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def image_model(path, *, stamp=True, channels=3):
    keras.utils.set_random_seed(6)
    model = keras.Sequential(
        [
            L.Input((16, 16, channels), name="image"),
            L.Conv2D(8, 3, activation="relu"),
            L.GlobalAveragePooling2D(),
            L.Dense(2, activation="softmax", name="scores"),
        ]
    )
    model.save(path)
    if stamp:
        write_stamp(path, ModelSpec(pixels=PIXELS, labels=("a-light", "b-dark")))
    return path


def export(*arguments):
    return guard(main, [str(a) for a in arguments])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_stamped_model_needs_no_flags(tmp_path, capsys, suffix):
    path = image_model(tmp_path / f"m{suffix}")
    assert export(path) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "m.onnx")
    assert [line.split()[0] for line in err.splitlines()][:4] == ["start", "load", "samples", "convert"]
    spec = read_stamp(tmp_path / "m.onnx")
    assert spec.pixels == PIXELS
    assert spec.labels == ("a-light", "b-dark")
    assert spec.head == "softmax"
    assert spec.provenance["source"] == path.name
    assert len(spec.provenance["sha256"]) == 64
    assert {"keras_version", "loaded_by", "date", "edgecnn", "tensorflow", "tf2onnx", "onnx"} <= set(spec.provenance)
    x = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    (scores,) = ort.InferenceSession(tmp_path / "m.onnx").run(["scores"], {"image": x})
    np.testing.assert_allclose(scores, keras.models.load_model(path)(x), atol=1e-6)


def test_int8_from_the_command_line(tmp_path, folder, capsys):
    path = image_model(tmp_path / "m.keras")
    report = tmp_path / "r.json"
    assert export(path, "--quantize", "int8", "--calibration", folder, "--report", report, "--max-drop", "0.1") == 0
    data = json.loads(report.read_text())
    assert data["status"] == "passed"
    assert data["parity"]["samples"] > 24
    q = data["quantization"]
    assert (q["kind"], q["samples"], q["calibration_samples"]) == ("int8", 24, 24)
    assert q["accuracy_before"] is not None
    assert data["nodes"]["DequantizeLinear"] > 3
    assert read_stamp(tmp_path / "m.onnx").pixels == PIXELS
    assert "int8:" in capsys.readouterr().err


def test_what_a_quantised_regression_loses_is_told(tmp_path, capsys):
    keras.Sequential([keras.Input((6,), name="x"), keras.layers.Dense(64), keras.layers.Dense(1)]).save(
        tmp_path / "m.keras"
    )
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
    assert export(tmp_path / "m.keras", "--quantize", "int8", "--calibration", tmp_path / "x.npz") == 0
    assert re.search(r"quantize .* int8, drop 0\.\d{4} on 40", capsys.readouterr().err)


def test_fast_decoding_is_told_measured_and_recorded(tmp_path, capsys):
    path, report = image_model(tmp_path / "m.keras"), tmp_path / "r.json"
    rng = np.random.default_rng(7)
    (tmp_path / "data").mkdir()
    for i in range(5):
        noise = Image.fromarray(rng.integers(0, 256, (9, 11, 3)).astype(np.uint8))
        noise.resize((120 + i, 90)).save(tmp_path / "data" / f"{i}.jpg")
    assert export(path, "--decode", "fast") == 0
    assert "not the pixels that pil gave the training; --data with images measures" in capsys.readouterr().err
    np.savez(tmp_path / "a.npz", image=rng.random((5, 16, 16, 3), np.float32))
    assert export(path, "--decode", "fast", "--data", tmp_path / "a.npz") == 0
    assert "--data with images measures" in capsys.readouterr().err
    assert export(path, "--decode", "fast", "--data", tmp_path / "data", "--report", report) == 0
    data, err = json.loads(report.read_text()), capsys.readouterr().err
    found = data["decode"]
    assert (found["decoder"], found["training"], found["samples"]) == ("fast", "pil", 5)
    largest, total = 0.0, 0.0
    for file in (tmp_path / "data").iterdir():
        with Image.open(file) as exact, Image.open(file) as fast:
            fast.draft("RGB", (16, 16))
            a, b = (np.asarray(i.resize((16, 16), Image.Resampling.BILINEAR)).astype(int) for i in (exact, fast))
        largest, total = max(largest, np.abs(a - b).max()), total + np.abs(a - b).mean()
    assert found["max_levels"] == largest > 0
    assert found["mean_levels"] == pytest.approx(total / 5)
    assert 0 <= found["top1_agreement"] <= 1
    assert "on 5 images the pixels differ from pil's by up to" in err
    assert data["parity"]["max_abs_diff"] < 1e-5
    spec = read_stamp(tmp_path / "m.onnx")
    assert spec.pixels.decode == "fast"
    assert spec.provenance["decode_in_training"] == "pil"


def test_a_model_trained_on_fast_pixels_needs_no_word(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras", stamp=False)
    write_stamp(path, ModelSpec(pixels=PixelSpec(height=16, width=16, decode="fast"), labels=("a", "b")))
    assert export(path) == 0
    assert "decode fast" not in capsys.readouterr().err
    assert "decode_in_training" not in read_stamp(tmp_path / "m.onnx").provenance


def test_auto_stays_with_float32_where_int8_is_larger(tmp_path, folder, capsys):
    path = image_model(tmp_path / "m.keras")
    report = tmp_path / "r.json"
    assert export(path, "--quantize", "auto", "--calibration", folder, "--report", report) == 0
    q = json.loads(report.read_text())["quantization"]
    assert q["kind"] == "none"
    assert "staying with float32" in capsys.readouterr().err


def test_int8_without_samples_is_refused_in_one_line(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras")
    assert export(path, "--quantize", "int8") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "m.onnx").exists()


def test_table_from_a_csv(tmp_path):
    keras.utils.set_random_seed(0)
    keras.Sequential([L.Input((2,)), L.Dense(1, activation="sigmoid")]).save(tmp_path / "m.keras")
    (tmp_path / "rows.csv").write_text("a,b,sick\n1,2,0\n3,4,1\n5,x,1\n")
    assert export(tmp_path / "m.keras", "--data", tmp_path / "rows.csv") == 0
    spec = read_stamp(tmp_path / "m.onnx")
    assert spec.table == TableSpec(fields=("a", "b", "sick"), target="sick", header=True)
    assert (spec.head, spec.labels) == ("sigmoid", None)


def test_what_is_read_is_not_written_over(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras")
    before = path.read_bytes()
    (tmp_path / "labels.txt").write_text("a\nb\n")
    for arguments in (
        ["--report", path],
        ["-o", tmp_path / "labels.txt", "--labels", tmp_path / "labels.txt"],
        ["--report", tmp_path / "m.onnx"],
        ["--report", tmp_path / "none" / "r.json"],
    ):
        assert export(path, *arguments) == 2, arguments
        assert capsys.readouterr().err.count("\n") == 1, arguments
    assert path.read_bytes() == before
    assert (tmp_path / "labels.txt").read_text() == "a\nb\n"
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "x"])
@pytest.mark.parametrize("option", ["--atol", "--max-drop"])
def test_a_tolerance_that_lets_anything_pass_is_refused(tmp_path, option, value):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "m.keras"), option, value])


def test_an_export_outlives_who_reads_its_progress(tmp_path):
    """And its exit status tells whether it was all told."""
    paths = [image_model(tmp_path / f"{name}.keras") for name in "ab"]
    command = f"{sys.executable} -m edgecnn export {' '.join(map(str, paths))} -o {tmp_path / 'out'}"
    for stream, status in (("2>&1 >/dev/null", "0"), ("2>/dev/null", "141")):
        script = f"{command} {stream} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == status, stream
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.onnx", "b.onnx"]


def test_float64_stays_where_onnxruntime_has_it_and_is_float32_elsewhere(tmp_path, capsys):
    for name, layers, kind in (
        ("dense", [L.Input((4,), dtype="float64"), L.Dense(3, dtype="float64")], np.float64),
        ("conv", [L.Input((8, 8, 1), dtype="float64"), L.Conv2D(2, 3, dtype="float64")], np.float32),
    ):
        model = keras.Sequential(layers)
        model.save(tmp_path / f"{name}.keras")
        assert export(tmp_path / f"{name}.keras") == 0
        said = "trained in float64, for which onnxruntime has not every operator" in capsys.readouterr().err
        assert said == (kind is np.float32)
        session = ort.InferenceSession(tmp_path / f"{name}.onnx")
        x = np.random.default_rng(8).random((2, *model.input_shape[1:]))
        (y,) = session.run(None, {session.get_inputs()[0].name: x.astype(kind)})
        assert y.dtype == kind
        np.testing.assert_allclose(y, model(x), atol=1e-6)


def test_labels_of_windows_and_of_nobody(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras", stamp=False)
    (tmp_path / "labels.txt").write_bytes("0 개\r\n1 고양이\r\n".encode("utf-16"))
    assert export(path, "--labels", tmp_path / "labels.txt") == 0
    assert read_stamp(tmp_path / "m.onnx").labels == ("개", "고양이")
    (tmp_path / "labels.txt").write_bytes("개\n고양이\n".encode("cp949"))
    capsys.readouterr()
    assert export(path, "--labels", tmp_path / "labels.txt") == 2
    assert "is not UTF-8; save it as UTF-8" in capsys.readouterr().err


def test_unstated_recipe_is_said_and_left_out(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras", stamp=False)
    assert export(path) == 0
    assert "nobody stated" in capsys.readouterr().err
    assert read_stamp(tmp_path / "m.onnx").pixels is None


def test_half_a_recipe_says_what_it_took_for_granted(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras", stamp=False)
    assert export(path, "--scale", "1/255") == 0
    assert "note: not stated, so taken for granted: --resize tf_bilinear" in capsys.readouterr().err
    assert export(path, "--fit", "crop") == 2
    assert "--fit changes a part of a recipe, but the model carries none" in capsys.readouterr().err


def test_recipe_and_labels_from_options(tmp_path):
    path = image_model(tmp_path / "m.keras", stamp=False)
    (tmp_path / "labels.txt").write_text("0 벌\n1 ant\n", encoding="utf-8")
    options = [
        "--preset",
        "keras-flow",
        "--divisor",
        "255",
        "--resize",
        "cv2_area",
        "--labels",
        tmp_path / "labels.txt",
    ]
    assert export(path, *options) == 0
    spec = read_stamp(tmp_path / "m.onnx")
    assert spec.labels == ("벌", "ant")
    assert spec.pixels == PixelSpec(height=16, width=16, decode="pil", resize="cv2_area", divisor=255.0)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"imagenet-caffe", "imagenet-torch"}))
def test_a_preset_on_a_gray_model_is_gray(tmp_path, preset):
    path = image_model(tmp_path / "m.keras", stamp=False, channels=1)
    assert export(path, "--preset", preset) == 0
    assert read_stamp(tmp_path / "m.onnx").pixels.color == "gray"


@pytest.mark.parametrize(
    ("activation", "units", "loss", "head"),
    [
        ("softmax", 3, None, "softmax"),
        ("sigmoid", 1, None, "sigmoid"),
        (None, 3, "sparse_categorical_crossentropy", "logits"),
        (None, 3, "mse", "regression"),
        (None, 1, None, "regression"),
    ],
)
def test_head_comes_from_the_last_layer(tmp_path, activation, units, loss, head):
    model = keras.Sequential([L.Input((4,)), L.Dense(units, activation=activation)])
    if loss:
        model.compile("sgd", loss)
    model.save(tmp_path / "m.keras")
    assert export(tmp_path / "m.keras") == 0
    assert read_stamp(tmp_path / "m.onnx").head == head


def test_a_failed_verification_writes_nothing_and_keeps_what_is_there(tmp_path, monkeypatch, capsys):
    path = image_model(tmp_path / "m.keras")
    (tmp_path / "m.onnx").write_bytes(b"precious")
    report = tmp_path / "r.json"
    right = to_onnx.convert

    def wrong(source, **options):
        model = right(source, **options)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(tensor), tensor.name))
        return model

    monkeypatch.setattr(to_onnx, "convert", wrong)
    assert export(path, "--report", report) == 1
    assert (tmp_path / "m.onnx").read_bytes() == b"precious"
    data = json.loads(report.read_text())
    assert (data["status"], data["source"]) == ("failed", str(path))
    assert "output scores" in data["reason"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.keras", "m.onnx", "r.json"]
    assert capsys.readouterr().out == ""


def test_full_disk_is_one_line_and_harmless(tmp_path, monkeypatch, capsys):
    path = image_model(tmp_path / "m.keras")
    (tmp_path / "m.onnx").write_bytes(b"precious")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert export(path) == 2
    assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "m.onnx").read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.keras", "m.onnx"]


def test_many_models_into_a_new_folder_with_a_table_at_the_end(tmp_path, capsys):
    paths = [image_model(tmp_path / f"{name}.keras") for name in ("a", "b")]
    (tmp_path / "page.h5").write_text("<html>")
    out = tmp_path / "out"
    assert export(*paths, tmp_path / "page.h5", "-o", out, "--report", tmp_path / "r.json") == 2
    said, err = capsys.readouterr()
    assert said.splitlines() == [str(out / "a.onnx"), str(out / "b.onnx")]
    assert [r["status"] for r in json.loads((tmp_path / "r.json").read_text())] == ["passed", "passed", "failed"]
    assert [line for line in err.splitlines() if line.startswith("[")] == [
        f"[{i}/3] {p}" for i, p in enumerate((*paths, tmp_path / "page.h5"), 1)
    ]
    table = err.splitlines()[-3:]
    assert all(str(p) in line for p, line in zip((*paths, "page.h5"), table, strict=True))
    assert "bytes  difference" in table[0]
    assert "failed" in table[2]
    assert export(*paths, "-o", paths[0]) == 2
    assert "must be a folder, since there are 2 models" in capsys.readouterr().err


def test_misuse_is_refused_before_tensorflow_is_needed(tmp_path, capsys):
    path = image_model(tmp_path / "m.keras")
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n")
    for arguments in (
        [tmp_path / "none.keras"],
        [path, "-o", tmp_path],
        [path, "-o", tmp_path / "none" / "m.onnx"],
        [path, "-o", path],
        [path, "--data", tmp_path / "none"],
        [path, "--labels", tmp_path / "labels.txt"],
        [path, "--labels", tmp_path / "none.txt"],
        [path, "--color", "gray"],
    ):
        assert export(*arguments) == 2, arguments
        assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_as_a_script_from_a_checkout(tmp_path):
    path = image_model(tmp_path / "m.keras")
    command = [sys.executable, ROOT / "export" / "to_onnx.py", path, "-o", tmp_path / "out.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out.onnx")
    first_words = {line.split()[0] for line in done.stderr.splitlines()}
    stages = {"start", "load", "samples", "convert", "optimize", "verify", "stages", "write", "exported"}
    assert first_words == stages, "nothing of TensorFlow's own chatter"


def test_as_a_script_without_edgecnn_it_says_how_to_install():
    command = [sys.executable, "-S", ROOT / "export" / "to_onnx.py", "m.h5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "-m pip install" in done.stderr
    assert "Traceback" not in done.stderr
