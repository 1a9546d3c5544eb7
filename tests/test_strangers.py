"""edgecnn.export.reading.strangers: what is no Keras model is named for what it is, at once and in one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from edgecnn import ModelError
from edgecnn.cli import guard
from edgecnn.export.reading.stored import read_stored
from edgecnn.export.reading.strangers import shown
from edgecnn.export.to_onnx import main

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n"
HDF5 = b"\x89HDF\r\n\x1a\n"
CONFIG = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": []}})


def said_of(path, named=None):
    with pytest.raises(ModelError) as caught:
        read_stored(path)
    text = str(caught.value)
    assert text.startswith(f"{shown(named or path)} ")
    assert len(text.splitlines()) == 1
    return text


def of_tar():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.h5"))
    return made.getvalue()


FILES = {
    "git lfs": (LFS, "is a Git LFS pointer, not the model itself: run `git lfs pull`"),
    "hawser": (b"version https://hawser.github.com/spec/v1\noid sha256:4d\n", "is a Git LFS pointer"),
    "lfs in conflict": (b"<<<<<<< HEAD\n" + LFS + b"=======\n", "with a merge conflict in it"),
    "git annex": (b"/annex/objects/SHA256E-s9--4d.h5\n", "is a git-annex pointer.*git annex get"),
    "git annex, locked": (b"../.git/annex/objects/xk/9M/SHA256E-s9--4d.h5/SHA256E-s9--4d.h5", "git-annex pointer"),
    "dvc": (b"outs:\n- md5: a304\n  size: 9\n  path: model.h5\n", "is a DVC file.*dvc pull"),
    "dvc 0": (b"md5: 8cb4\nouts:\n- cache: true\n  md5: a304\n  path: model.h5\n", "is a DVC file"),
    "html": (b"<!DOCTYPE html><html><head><title>Virus scan</title>", r"is an HTML page \('Virus scan'\), probably"),
    "html after lines": (b"\n\n\n<HTML lang=en>", "is an HTML page, probably the download page"),
    "html with a mark": ("\ufeff<!doctype html>".encode(), "is an HTML page"),
    "html with a comment": (b"<!-- saved from url -->\n<html>", "is an HTML page"),
    "html without a frame": (b"<head><title>404 Not Found</title></head>", r"an HTML page \('404 Not Found'\)"),
    "html in utf-16": ("<!DOCTYPE html>".encode("utf-16"), "is an HTML page"),
    "html in latin-1": ("<html><title>ä".encode("latin-1"), "is an HTML page"),
    "xml": (b'<?xml version="1.0"?>\n<Error><Message>Access Denied</Message>', r"an XML text \('Access Denied'\)"),
    "json error": (b'{"error":"Repository not found"}', r"web server \('Repository not found'\)"),
    "json error, nested": (b'{"error": {"code": 404, "message": "No such object"}}', r"server \('No such object'\)"),
    "json": (b'{"a": 1}', "is a JSON text"),
    "rtf": (rb"{\rtf1\ansi keras}", "is an RTF document"),
    "404": (b"404: Not Found", r"the answer of a web server \('404: Not Found'\)"),
    "entry not found": (b"Entry not found", r"the answer of a web server \('Entry not found'\)"),
    "http": (b"HTTP/1.1 200 OK\r\n\r\n" + HDF5, "web server's answer with its header"),
    "architecture": (b'{"class_name": "Sequential"', "architecture in JSON.*--architecture"),
    "architecture, Keras 3": (b'{"module": "keras", "class_name": "Sequential"', "an architecture in JSON"),
    "architecture, twice": (json.dumps(CONFIG).encode(), "an architecture in JSON"),
    "architecture in yaml": (b"backend: tensorflow\nclass_name: Sequential\n", "an architecture in YAML"),
    "tokenizer": (b'"{\\"class_name\\": \\"Tokenizer\\", \\"config\\"', "the tokenizer of a text model"),
    "names of classes": (b'{"0": {"class_name": "cat"}}', "is a JSON text"),
    "tfjs": (b'{"format": "layers-model", "modelTopology": {"class_name"', "is a TensorFlow.js model"),
    "notebook": (b'{\n "cells": [', "is a Jupyter notebook"),
    "python": (b"import keras\n", "is a program in text"),
    "text": (b"Please download it\x1b from " + b"x" * 99, r"is a text and neither HDF5.*'Please download it from x+…'"),
    "a formula": (b"x^2 + y\n", "is a text and neither HDF5"),
    "prose": (b"Import the weights from here\n", "is a text and neither HDF5"),
    "a list in prose": (b"(i) the weights\n(ii) the labels\n", "is a text and neither HDF5"),
    "words": (b"cat\ndog\nbird\n", "is a text and neither HDF5"),
    "csv": (b"a,b,species\n5.1,3.5,setosa\n", "is a table.*first line is 'a,b,species'"),
    "empty": (b"", "is empty; fetch or save it again"),
    "an image": (b"\x89PNG\r\n\x1a\n", "is a PNG image, not a model; give a .keras or .h5 file or a SavedModel folder"),
    "ONNX of no producer": (b"\x08\x0e:3\n\x0c\n\x01x\x12\x01y\"\x04Relu", "is an ONNX file"),
    "blank": (b"  \n", "is empty"),
    "zeros": (bytes(4096), "begins with zeros"),
    "one byte": (b"\x89", "is cut off after a few bytes"),
    "anything": (b"\xff\xfe\xfd\xfc\x00\x01", "neither HDF5.*first bytes are"),
    "hdf5 after autocrlf": (b"\x89HDF\n\x1a\n\x00", "changed as a text.*fetch it again as binary"),
    "hdf5 after unix2dos": (b"\x89HDF\r\r\n\x1a\r\n\x00", "changed as a text"),
    "hdf5 as utf-8": (b"\xef\xbf\xbdHDF\r\n\x1a\n\x00", "changed as a text"),
    "hdf5 in base64": (b"iUhERg0KGgoAAAAA", "is a model in base64"),
    "hdf5 behind bytes": (bytes(512) + HDF5, "an HDF5 file behind other bytes"),
    "hdf5, only its magic": (HDF5, "is damaged or cut off"),
    "zip, only its magic": (b"PK\x03\x04 cut", "is a damaged or cut-off archive"),
    "pickle": (pickle.dumps([1, 2]), "is a Python pickle"),
    "pickle 0": (pickle.dumps({"a": 1}, protocol=0), "is a Python pickle"),
    "pickle 0 of an array": (pickle.dumps(np.ones(2), protocol=0), "is a Python pickle"),
    "pickle 0 of text": (pickle.dumps("weights", protocol=0), "is a Python pickle"),
    "pickle 1": (pickle.dumps({"a": 1}, protocol=1), "is a Python pickle"),
    "pickle 1 of a list": (pickle.dumps([1], protocol=1), "is a Python pickle"),
    "joblib, zlib": (zlib.compress(pickle.dumps([1]), 3), "compressed with zlib.*pickle"),
    "joblib, lzma": (lzma.compress(pickle.dumps([1]), lzma.FORMAT_ALONE), "compressed with LZMA.*pickle"),
    "gzip": (gzip.compress(HDF5), "is a gzip archive; unpack it first"),
    "bzip2": (bz2.compress(HDF5), "is a bzip2 archive"),
    "xz": (lzma.compress(HDF5), "is an xz archive"),
    "tar": (of_tar(), "is a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
    "pytorch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "is a PyTorch file"),
    "tflite": (b"\x1c\x00\x00\x00TFL3", "is a TensorFlow Lite model"),
    "safetensors": (b"\x48" + bytes(7) + b'{"dense": {}}', "is a safetensors file: weights without architecture"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
    "darknet": (np.array([0, 2, 5, 9], np.int32).tobytes(), "is Darknet's weights"),
    "onnx": (b"\x08\x08\x12\x07tf2onnx\x1a\x06", "is an ONNX file or a TensorFlow graph already"),
    "graph": (b"\nW\n\x01x\x12\x0bPlaceholder", "is an ONNX file or a TensorFlow graph already"),
    "saved_model.pb": (b"\x08\x01\x12\xef\xb0\x06\n\x96\x15\x12\xe6\x14\n^\n\x10Assign", "is the saved_model.pb of"),
    "checkpoint": (b'model_checkpoint_path: "m"\n', "is a TensorFlow checkpoint: weights without architecture"),
    "index": (b"\x00\x00\x06\x08\x01\x1a\x02\x08\x01", "is a TensorFlow checkpoint"),
    "array": (b"\x93NUMPY\x01", "is a NumPy array"),
    "png": (b"\x89PNG\r\n\x1a\n", "is a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "is a JPEG image"),
    "pdf": (b"%PDF-1.4\n", "is a PDF document"),
    "matlab": (b"MATLAB 5.0 MAT-file", "is a MATLAB file"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "phrase"), FILES.values(), ids=FILES)
def test_files(tmp_path, content, phrase):
    path = tmp_path / "m.h5"
    path.write_bytes(content)
    assert re.search(phrase, said_of(path)), said_of(path)


NAMES = {
    "h5": (["m.h5", "labels.txt"], "is {a} around m.h5; {give} that file"),
    "savedmodel": (["1/saved_model.pb", "1/variables"], "is {a} around 1/saved_model.pb; {give} the folder of that"),
    "savedmodel in text": (["saved_model.pbtxt"], "is a SavedModel in text"),
    "archive in a folder": (["m/config.json", "m/model.weights.h5"], "holds a model in the folder m/; zip what is in"),
    "transformers": (["config.json", "tf_model.h5"], "is a model of Hugging Face's Transformers"),
    "tfjs": (["model.json", "group1-shard1of1.bin"], "is a TensorFlow.js model"),
    "tfjs below": (["js/model.json", "js/weights.bin"], "is a TensorFlow.js model"),
    "tflite": (["model_unquant.tflite", "labels.txt"], "holds a TensorFlow Lite model, model_unquant.tflite"),
    "checkpoint": (["checkpoint", "m.index", "m.data-00000-of-00001"], "holds a TensorFlow checkpoint"),
    "onnx": (["m.onnx"], "holds m.onnx; edgecnn exports Keras models"),
    "zip": (["m.zip"], "is {a} around the archive m.zip"),
    "arrays": (["arr_0.npy"], r"holds NumPy arrays \(arr_0.npy\)"),
    "torchscript": (["m/constants.pkl", "m/code/x.py"], "is a PyTorch file"),
    "architecture": (["config.json", "metadata.json"], "holds an architecture without weights"),
}


@pytest.mark.parametrize(("names", "phrase"), NAMES.values(), ids=NAMES)
def test_archives_and_folders(tmp_path, names, phrase):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name in names:
            archive.writestr(name, "x")
            (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folder" / name).write_text("x")
    for path, words in (
        (tmp_path / "m.keras", {"a": "a zip archive", "give": "unpack it and give"}),
        (tmp_path / "folder", {"a": "a folder", "give": "give"}),
    ):
        assert re.search(phrase.format(**words), said_of(path)), said_of(path)


def test_other_archives(tmp_path):
    path = tmp_path / "m.keras"
    for names, phrase in (([], "is an empty zip archive"), (list("abcde"), "no config.json, only a, b, c and 2 more;")):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        assert phrase in said_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", CONFIG)
        archive.writestr("model.weights.h5", HDF5)
    content = path.read_bytes()
    path.write_bytes(content.replace(HDF5, HDF5[:4] + b"wxyz"))
    assert "is damaged or cut off (Bad CRC-32 for file 'model.weights.h5'); fetch or save it again" in said_of(path)
    # Bit 0 of the flags, at 6 of a member's header and at 8 of its entry in the directory.
    encrypted = bytearray(content)
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(sign) + at] |= 1
    path.write_bytes(encrypted)
    assert "is an encrypted zip archive; unpack it with its password" in said_of(path)


def test_an_unpacked_archive(tmp_path):
    for name in ("config.json", "model.weights.h5", "metadata.json"):
        (tmp_path / name).write_text("x")
    assert "is a .keras archive that was unpacked; zip the files in it" in said_of(tmp_path)


def test_other_folders(tmp_path):
    assert "is an empty folder; give a .keras or .h5 file" in said_of(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert "is a folder without saved_model.pb; give a .keras" in said_of(tmp_path)


def test_parts_of_a_savedmodel(tmp_path):
    (tmp_path / "variables").mkdir()
    for name, content in (
        ("saved_model.pb", b"\x08\x01\x12\x00"),
        ("keras_metadata.pb", b"\n\x01x"),
        ("variables/variables.index", b"\x00\x00"),
    ):
        (tmp_path / name).write_bytes(content)
    for name in ("saved_model.pb", "keras_metadata.pb", "variables", "variables/variables.index"):
        assert f"is a part of a SavedModel; give the folder of it, {tmp_path}" in said_of(tmp_path / name)


def test_savedmodels_that_are_not_whole(tmp_path):
    graph, values = tmp_path / "saved_model.pb", tmp_path / "variables" / "variables.data-00000-of-00001"
    values.parent.mkdir()
    for content, phrase in (
        (b"", "is empty"),
        (LFS, "is a Git LFS pointer"),
        (b"\x08\x01\x12\xff\xff\x01cut", "is damaged or cut off"),
    ):
        graph.write_bytes(content)
        assert phrase in said_of(tmp_path, graph)
    graph.write_bytes(b"\x08\x01\x12\x00")
    values.write_bytes(LFS)
    assert "is a Git LFS pointer" in said_of(tmp_path, values)
    graph.unlink()
    graph.symlink_to(".git/annex/objects/x.pb")
    assert "is a link to .git" in said_of(tmp_path, graph)


def test_what_is_no_regular_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket may have 107 bytes
    os.mkfifo(tmp_path / "pipe.h5")
    assert "is a pipe, not a file" in said_of(tmp_path / "pipe.h5")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("s")
        assert "is a socket, not a file" in said_of(tmp_path / "s")
    assert "is a device, not a file" in said_of(os.devnull)


def test_links(tmp_path):
    link = tmp_path / "m.h5"
    link.symlink_to("none.h5")
    assert said_of(link).endswith("is a link to none.h5, which does not exist")
    link.unlink()
    link.symlink_to("../.git/annex/objects/x/y.h5")
    assert "is a link to ../.git/annex/objects/x/y.h5, which does not exist; run `git annex get`" in said_of(link)
    link.unlink()
    link.symlink_to("m.h5")
    assert "can't be read" in said_of(link)


def test_hdf5_files(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as f:
        f["train_x"] = np.zeros(3)
    assert "is an HDF5 file, but Keras didn't write it: it holds ['train_x']" in said_of(path)
    with h5py.File(path, "w") as f:
        f.attrs["model_config"] = CONFIG
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk((4,))
        # Optional, so that it is written where the filter, Blosc's, isn't there.
        made.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(f.create_group("model_weights").id, b"w", h5py.h5t.NATIVE_FLOAT, space, made)
    assert "is compressed by the filter 32001" in said_of(path)


def test_hdf5_of_which_the_end_is_zeros(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as f:
        f.attrs["model_config"] = CONFIG
        for i in range(40):
            f[f"model_weights/layer_{i}/w"] = np.ones(200)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    assert "is damaged or cut off" in said_of(path)


def test_a_name_with_a_line_end_stays_on_one_line(tmp_path):
    path = tmp_path / "na\nme.h5"
    path.write_bytes(LFS)
    assert "na\\nme.h5' is a Git LFS pointer" in said_of(path)


def test_it_is_told_before_tensorflow_starts(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as f:
        f.create_group("layers")
    with h5py.File(tmp_path / "data.h5", "w") as f:
        f["x"] = np.zeros(3)
    code = (
        "import sys\nfrom edgecnn.cli import guard\nfrom edgecnn.export.to_onnx import main\n"
        "status = guard(main, sys.argv[1:])\nsys.exit(9 if 'tensorflow' in sys.modules else status)"
    )
    for name, phrase in (("weights.h5", "holds weights without their architecture"), ("data.h5", "Keras didn't write")):
        done = subprocess.run([sys.executable, "-c", code, tmp_path / name], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert phrase in done.stderr


def test_the_folder_one_stands_in_may_be_given(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert guard(main, ["."]) == 2
    assert f"{tmp_path} is an empty folder" in capsys.readouterr().err


def test_exit_status(tmp_path, capsys):
    (tmp_path / "m.h5").write_bytes(LFS)
    assert guard(main, [str(tmp_path / "m.h5")]) == 2
    assert capsys.readouterr().err.startswith(f"edgecnn: {tmp_path / 'm.h5'} is a Git LFS pointer")
