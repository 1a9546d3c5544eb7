"""edgecnn.export.report: the JSON that outside checks read, and the lines on stderr."""

from __future__ import annotations

import json

import pytest

from edgecnn import ModelError
from edgecnn.export.report import Report, describe_tensors, write_reports
from edgecnn.export.source import Tensor

KEYS = {"status", "source", "output", "keras_version", "opset", "inputs", "outputs", "parity", "quantization"}
KEYS |= {"nodes", "reason"}


def test_a_report_has_failed_until_it_is_told_otherwise(tmp_path):
    write_reports(tmp_path / "r.json", [Report("m.h5", "m.onnx")])
    data = json.loads((tmp_path / "r.json").read_text())
    assert set(data) >= KEYS
    assert data["status"] == "failed"


def test_tensors():
    assert describe_tensors((Tensor("x", (None, None, 3), "float32"),)) == [
        {"name": "x", "dtype": "float32", "shape": ["batch", None, 3]}
    ]


def test_stages_are_timed_and_printed_on_stderr(capsys):
    report = Report("m.h5", "m.onnx")
    with report.stage("load") as line:
        line.append("by Keras")
    with pytest.raises(ZeroDivisionError), report.stage("verify"):
        _ = 1 / 0
    report.note("mind this")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == ["load", "verify", "note:"]
    assert "by Keras" in err
    assert set(report.seconds) == {"load", "verify"}
    assert report.notes == ["mind this"]


def test_unwritable(tmp_path):
    with pytest.raises(ModelError, match="can't write"):
        write_reports(tmp_path / "none" / "r.json", [Report("m.h5", "m.onnx")])
