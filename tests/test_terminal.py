"""edgecnn.terminal: what a terminal is told can't be an order to it."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import pytest

from edgecnn.cli import main
from edgecnn.terminal import say


def test_lines_stay_lines_and_orders_are_written_out(capsys):
    say("one\n\x1b]0;two\x07")
    assert capsys.readouterr().err == "one\n\\x1b]0;two\\x07\n"


@pytest.mark.parametrize("argv", [["info"], ["selftest"], ["bench"], ["doctor"]])
def test_the_name_of_a_model_file_gives_no_orders(tmp_path, image_model, capsys, monkeypatch, argv):
    path = str(image_model.rename(tmp_path / "\x1b[2Jm.onnx"))
    monkeypatch.setenv("EDGECNN_MODEL", path)
    assert main(argv if argv == ["doctor"] else [*argv, path]) == 0
    told = "".join(capsys.readouterr())
    assert "\\x1b[2Jm.onnx" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("command", ["export", "verify"])
def test_names_in_a_model_file_give_no_orders(tmp_path, capsys, monkeypatch, command):
    layer = {"class_name": "Lambda", "config": {"name": "\x1b[2Jred", "function": {}}, "module": "keras.layers"}
    config = {"class_name": "Sequential", "config": {"layers": [layer]}, "module": "keras"}
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("model.weights.h5", weights.getvalue())
    path = str(tmp_path / "m.keras")
    monkeypatch.setattr("sys.argv", ["edgecnn", command, path, *(["--against", path] if command == "verify" else [])])
    assert main() == 2
    told = capsys.readouterr().err
    assert "\\x1b[2Jred" in told
    assert "\x1b" not in told
