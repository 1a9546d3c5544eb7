"""Model files as strangers saved them: each exports with proof, or ends in one sentence that says what it is."""

from __future__ import annotations

import json
import pathlib

import pytest

from edgecnn.cli import guard
from edgecnn.export.stamp import read_stamp
from edgecnn.export.to_onnx import main

WILD = pathlib.Path(__file__).parents[2] / "shared/data/keras-wild"

pytestmark = pytest.mark.skipif(not WILD.is_dir(), reason="the sample of strangers' files is not here")

EXPORTED = {
    "dense-no-inputlayer-keras2.1.h5": "tf-keras",
    "gender-mini-xception-keras2.0.hdf5": "tf-keras",
    "lstm-keras2.2.h5": "tf-keras",
    "nested-autoencoder-keras2.2.h5": "tf-keras",
    "seq2seq-two-inputs-keras2.2.h5": "tf-keras",
    "hdf5-inside-dot-keras-2.2.keras": "tf-keras",
    "flatten-mlp-tfkeras2.2.hdf5": "tf-keras",
    "dense-keras2.5.hdf5": "tf-keras",
    "normalization-keras2.12.keras": "tf-keras",
    "chat-embedding-lstm-keras2.12.h5": "tf-keras",
    "conv1d-keras2.15.keras": "tf-keras",
    "simple-rnn-keras3.0.h5": "Keras",
    "autoencoder-conv-transpose-keras3.1.h5": "Keras",
    "damage-cnn-64x64-keras3.7.h5": "Keras",
    "churn-ann-keras3.8.h5": "Keras",
}

REFUSED = {
    "weights-only-keras2.0.h5": "holds weights without their architecture",
    "lambda-cnn-keras2.0.h5": "holds Python code in the Lambda layer 'lambda_1'",
    "custom-layer-keras3.5.h5": "needs the class Custom>BackgroundSubtractionLayer",
    "not-hdf5-pickle.h5": "is a Python pickle",
    "git-lfs-pointer.h5": "is a Git LFS pointer",
}


def export(name, tmp_path, *options):
    arguments = [WILD / name, "-o", tmp_path / "m.onnx", "--report", tmp_path / "r.json", *options]
    status = guard(main, [str(a) for a in arguments])
    return status, json.loads((tmp_path / "r.json").read_text())


@pytest.mark.parametrize(("name", "library"), EXPORTED.items())
def test_exported(tmp_path, name, library):
    status, report = export(name, tmp_path)
    assert status == 0, report["reason"]
    assert report["loaded_by"].split()[0] == library
    assert (tmp_path / "m.onnx").is_file()


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_refused_in_one_sentence(tmp_path, capsys, name, reason):
    status, report = export(name, tmp_path)
    assert status == 2
    assert reason in report["reason"]
    assert report["reason"] in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_a_lambda_given_as_an_expression(tmp_path):
    status, report = export("lambda-cnn-keras2.0.h5", tmp_path, "--lambda", "lambda_1=x / 255 - 0.5")
    assert status == 0, report["reason"]


def test_teachable_machine_needs_no_flag(tmp_path):
    status, report = export("teachable-machine.h5", tmp_path)
    assert status == 0, report["reason"]
    spec = read_stamp(tmp_path / "m.onnx")
    assert spec.labels == ("가위", "바위", "보")
    assert (spec.pixels.fit, spec.pixels.resize, spec.pixels.divisor) == ("crop", "pil_lanczos", 127.5)
