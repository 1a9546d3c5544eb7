"""The command, end to end: `edgecnn predict` as a process, and its options in this process."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from edgecnn import ColumnSpec, ModelSpec, PixelSpec, Predictor, TableSpec
from edgecnn.cli import main


def predict(*argv):
    return main(["predict", *map(str, argv)])


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_as_text_as_a_user_runs_it(image_model, photos):
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "predict", str(photos), "--model", str(image_model)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[1].split()[0] for line in done.stdout.splitlines()] == ["blue", "green", "red"]
    assert "running on CPUExecutionProvider" in done.stderr
    assert "3 predicted, 0 failed" in done.stderr


BAD_IMAGES = {
    "empty.jpg": b"",
    "text.png": b"hello",
    "truncated.jpg": None,
    "header.png": b"\x89PNG\r\n\x1a\n",
    "directory.jpg": "folder",
}


def test_every_bad_image_is_one_line_and_the_others_go_on(image_model, photos, capfd):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    paths = []
    for name, content in BAD_IMAGES.items():
        path = photos / name
        if content == "folder":
            path.mkdir()
        else:
            path.write_bytes(whole.getvalue()[:-400] if content is None else content)
        paths.append(path)
    paths.append(photos / "missing.jpg")
    good = photos / "red" / "one.png"
    assert predict(good, *paths, good, "--model", image_model, "--format", "jsonl") == 1
    out, err = capfd.readouterr()
    results = records(out)
    assert [r["source"] for r in results] == [str(good), *map(str, paths), str(good)]
    assert results[0]["label"] == results[-1]["label"] == "red"
    for result in results[1:-1]:
        assert set(result) == {"source", "error"}
        assert set(result["error"]) == {"code", "message"}
    errors = [line for line in err.splitlines() if line.startswith("edgecnn: ") and "running on" not in line]
    assert len(errors) == len(paths), err
    assert "Traceback" not in err


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "animated"])
def test_unusual_images_are_predicted_or_refused_in_one_line(image_model, tmp_path, mode, capfd):
    path = tmp_path / ("odd.jpg" if mode == "CMYK" else "odd.gif" if mode == "animated" else "odd.png")
    red = Image.new("RGB", (16, 16), (250, 5, 5))
    if mode == "I;16":
        Image.fromarray(np.full((16, 16), 40_000, np.uint16)).save(path)
    elif mode == "animated":
        red.save(path, save_all=True, append_images=[Image.new("RGB", (16, 16), (5, 5, 250))])
    else:
        red.convert(mode).save(path)
    status = predict(path, "--model", image_model, "--format", "jsonl")
    (result,) = records(capfd.readouterr().out)
    if mode == "I;16":
        assert (status, result["error"]["code"]) == (1, "unsupported_image")
    else:
        assert status == 0, result
        if mode not in ("L", "LA", "1"):
            assert result["label"] == "red"


def test_formats_and_output(image_model, photos, tmp_path, capfd):
    out = tmp_path / "out.csv"
    assert predict(photos, "--model", image_model, "--format", "csv", "--output", out, "--batch-size", "2") == 0
    assert capfd.readouterr().out == ""
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [r["label"] for r in rows] == ["blue", "green", "red"]


def test_stdin(image_model, photos):
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "predict", "-", "--model", str(image_model), "--format", "jsonl"],
        input=f"{photos}/red/one.png\n{photos}/none.png\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert [r.get("label") or r["error"]["code"] for r in records(done.stdout)] == ["red", "missing_file"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are Unicode")
@pytest.mark.parametrize("suffix", [".png", ".avi"])
@pytest.mark.parametrize("output", [(), ("--output", "out")])
def test_names_that_are_no_utf_8(image_model, photos, video, tmp_path, suffix, output):
    name = f"na\udcffme{suffix}"
    shutil.copy(video if suffix == ".avi" else photos / "red" / "one.png", tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "predict", name, "-", "--max-frames", "1", "--model", str(image_model),
         "--format", "jsonl", "--save-video", "copy\udcff.avi", *output],
        cwd=tmp_path, input=os.fsencode(f"{name}\n"), capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out").read_bytes() if output else done.stdout
    assert [(r["source"], r["label"]) for r in records(written.decode("utf-8"))] == [(name, "red")] * 2
    assert (tmp_path / "copy\udcff.avi").exists() == (suffix == ".avi")


def test_a_csv_with_bad_rows(rows_model, tmp_path, capfd):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n3,1,0\n1,red,2\n1,,2\n1,2\n0,0,9\n")
    assert predict(path, "--model", rows_model, "--format", "jsonl") == 1
    out, err = capfd.readouterr()
    results = records(out)
    assert [r["row"] for r in results] == [0, 1, 2, 3, 4]
    assert [results[0]["label"], results[4]["label"]] == ["yes", "no"]
    assert [r["error"]["code"] for r in results[1:4]] == ["bad_row"] * 3
    assert "line 3: column 'b' is 'red', not a number" in err


def test_a_regression(regression_model, tmp_path, capfd):
    path = tmp_path / "rows.csv"
    path.write_text("1,2,3\n")
    assert predict(path, "--model", regression_model, "--format", "jsonl") == 0
    (result,) = records(capfd.readouterr().out)
    assert (result["row"], result["value"]) == (0, 2.0)
    assert "label" not in result


def test_a_video_and_its_copy_with_results(image_model, video, tmp_path, capfd):
    copy = tmp_path / "copy.avi"
    assert predict(video, "--model", image_model, "--format", "jsonl", "--save-video", copy) == 0
    results = records(capfd.readouterr().out)
    assert [r["frame"] for r in results] == list(range(12))
    assert [r["label"] for r in results[::4]] == ["red", "green", "blue"]
    assert copy.stat().st_size > 0
    assert predict(video, "--model", image_model, "--format", "jsonl", "--max-frames", "2") == 0
    assert len(records(capfd.readouterr().out)) == 2


def test_a_camera_by_its_url(image_model, video, capfd):
    assert predict("--camera", f"file://{video}", "--model", image_model, "--format", "jsonl", "--frames", "all",
                   "--max-frames", "3") == 0  # fmt: skip
    results = records(capfd.readouterr().out)
    assert [r["frame"] for r in results] == [0, 1, 2]
    assert {"captured_at", "age_ms", "dropped"} <= set(results[0])


def test_a_camera_that_can_not_be_opened(image_model, capfd):
    assert predict("--camera", "97", "--model", image_model, "--format", "jsonl") == 1
    out, err = capfd.readouterr()
    (result,) = records(out)
    assert result["error"]["code"] == "camera_unavailable"
    assert sum("camera 97 can't be opened" in line for line in err.splitlines()) == 1


def test_a_model_of_sequences_takes_no_file(tmp_path, capfd):
    graph = '<ir_version: 9, opset_import: ["" : 18]> m (float[batch, 7] x) => (float[batch, 7] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "m.onnx")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert predict(tmp_path / "rows.csv", "--model", tmp_path / "m.onnx") == 2
    assert "takes a tensor(float) (batch, 7), which is neither an image" in capfd.readouterr().err


def test_a_model_without_a_recipe_takes_it_from_the_options(tmp_path, make_color_model, photos, capfd):
    model = make_color_model(tmp_path / "m.onnx", spec=None)
    assert predict(photos, "--model", model) == 2
    assert "carries no recipe" in capfd.readouterr().err
    assert predict(photos / "green", "--model", model, "--preset", "keras-flow", "--format", "jsonl") == 0
    assert records(capfd.readouterr().out)[0]["index"] == 1


def test_an_overridden_recipe_is_said(image_model, photos, capfd):
    assert predict(photos / "green", "--model", image_model, "--resize", "pil_nearest") == 0
    assert "recipe overridden: pil decode, rgb, stretch, pil_nearest to 8x8" in capfd.readouterr().err


def test_fast_decoding_is_said(image_model, tmp_path, make_color_model, photos, capfd):
    assert predict(photos / "green", "--model", image_model, "--decode", "fast") == 0
    assert "recipe overridden: fast decode (not exact" in capfd.readouterr().err
    spec = ModelSpec(pixels=PixelSpec(height=8, width=8, decode="fast", scale=1 / 255))
    model = make_color_model(tmp_path / "m.onnx", spec=spec)
    assert predict(photos / "green", "--model", model, "--format", "jsonl") == 0
    out, err = capfd.readouterr()
    assert "the model's recipe decodes JPEGs fast, not exactly" in err
    assert records(out)[0]["index"] == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to predict"),
        (["x.png", "--model", "none.onnx"], "no such model file"),
        (["x.png", "--model", __file__], "not a usable ONNX model"),
        (["x.png", "--device", "cuda"], "device cuda was asked for"),
        (["x.png", "--batch-size", "0"], "batch size and workers must be at least 1"),
        (["x.png", "--max-frames", "0"], "max_frames must be at least 1, got 0"),
        (["--camera", "99999999999"], "a camera's index is 0 to 2147483647, got 99999999999"),
        (["x.png", "--top-k", "0"], "top-k must be at least 1"),
        (["x.png", "--output", "/nonexistent/out.txt"], "can't be written"),
        (["x.png", "--scale", "2", "--divisor", "3"], "give scale or divisor, not both"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(image_model, argv, message, capfd, monkeypatch):
    monkeypatch.setenv("EDGECNN_MODEL", str(image_model))
    assert predict(*argv) == 2
    err = capfd.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if message in line]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a display without a variable")
def test_without_a_display_show_is_refused(image_model, video):
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "predict", str(video), "--model", str(image_model), "--show"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--show needs a display" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--output", "--save-video"])
def test_a_source_is_not_written_over(image_model, video, option, capfd):
    content = video.read_bytes()
    assert predict(video, "--model", image_model, option, video.parent / "." / video.name) == 2
    assert f"{option} {video}: would be written over the source" in capfd.readouterr().err
    assert video.read_bytes() == content


def test_a_closed_pipe_is_no_error(image_model, photos):
    command = f"{sys.executable} -m edgecnn predict {photos} {photos} --model {image_model} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "BrokenPipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_model_the_built_in_one_is_used_and_said(photos, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("EDGECNN_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert predict(photos / "red" / "one.png") == 0
    assert "no --model given, using the built-in digits classifier" in capfd.readouterr().err


def test_a_table_with_categories_and_gaps_from_csv_to_records(make_model, tmp_path, capfd):
    """y = 2 * age (40 where missing) + 100 * (city is Oslo)."""
    spec = ModelSpec(
        table=TableSpec(
            fields=("age", "city", "y"), target="y", header=True, missing=("", "?"),
            inputs=(
                ColumnSpec(name="age", fill=40),
                ColumnSpec(name="city", kind="category", categories=("Oslo", "Rome")),
            ),
        ),
        head="regression",
    )  # fmt: skip
    weights = np.array([[2], [100], [0]], np.float32)
    path = make_model(
        tmp_path / "m.onnx", [("MatMul", ["row", "w"], ["out"], {})], [("row", "float32", ["batch", 3])],
        [("out", ["batch", 1])], [("w", weights)], spec,
    )  # fmt: skip
    rows = tmp_path / "rows.csv"
    rows.write_text("city;age\nOslo;30\nRome;?\nOslo;ten\nParis;1\nOslo\n")
    assert predict(rows, "--model", path, "--format", "jsonl") == 1
    results = records(capfd.readouterr().out)
    assert [r["row"] for r in results] == [0, 1, 2, 3, 4]
    assert [r.get("value") for r in results] == [160, 80, None, 2, None]
    assert "line 4: column 'age' is 'ten', not a number" in results[2]["error"]["message"]
    assert "line 6: 1 cell, but the header has 2" in results[4]["error"]["message"]
    assert predict(rows, "--model", path, "--batch-size", "1") == 1
    assert capfd.readouterr().out.splitlines()[0] == f"{rows} row 0: 160"
    assert [r.value for r in Predictor(path).predict_table([{"age": None, "city": "Oslo"}])] == [180]
    assert main(["info", str(path)]) == 0
    out = capfd.readouterr().out
    assert "table of 2 columns -> 3 inputs; missing: empty, ?" in out
    assert "age: number; missing -> 40" in out
    assert "city: category: Oslo, Rome; any other value is none of them" in out
