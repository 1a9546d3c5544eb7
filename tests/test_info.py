import json

import onnx

from edgecnn import ModelSpec
from edgecnn.cli import main


def test_says_what_a_model_takes_and_gives(image_model, rows_model, capsys):
    assert main(["info", str(image_model)]) == 0
    out = capsys.readouterr().out
    assert "pil decode, rgb, stretch, pil_bilinear to 8x8" in out
    assert "3: red, green, blue" in out
    assert "(batch, 8, 8, 3)" in out
    assert main(["info", str(rows_model)]) == 0
    out = capsys.readouterr().out
    assert "table of 3 columns" in out
    assert [line.split()[0] for line in out.splitlines() if "number; must not be missing" in line] == ["a:", "b:", "c:"]


def test_what_a_terminal_would_obey_is_written_out(tmp_path, make_color_model, capsys):
    spec = ModelSpec(labels=("\x1b[2Jcat", "a\nb", "c"), provenance={"by": "x\r\x07"})
    path = make_color_model(tmp_path / "m.onnx", spec=spec)
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "\\x1b[2Jcat" in out


def test_as_json(image_model, capsys):
    assert main(["info", str(image_model), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["spec"]["schema"] == 1
    assert info["spec"]["pixels"]["resize"] == "pil_bilinear"
    assert info["input"]["shape"] == ["batch", 8, 8, 3]
    assert info["bytes"] == image_model.stat().st_size


def test_a_model_without_a_recipe(tmp_path, make_color_model, capsys):
    assert main(["info", str(make_color_model(tmp_path / "m.onnx", spec=None))]) == 0
    assert "predict needs --preset" in capsys.readouterr().out


def test_a_model_of_sequences(tmp_path, capsys):
    graph = '<ir_version: 9, opset_import: ["" : 18]> m (float[batch, 7] x) => (float[batch, 7] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "m.onnx")
    assert main(["info", str(tmp_path / "m.onnx")]) == 0
    assert "recipe  none: no input is an image; run it through onnxruntime" in capsys.readouterr().out
