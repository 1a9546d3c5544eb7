"""edgecnn.export.stamp: a recipe goes into model files and comes out the same."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest

from edgecnn import ModelError, ModelSpec, PixelSpec, SpecError
from edgecnn.export.stamp import read_stamp, stamp_onnx, write_atomically, write_stamp

SPEC = ModelSpec(pixels=PixelSpec(height=4, width=6, scale=1 / 255), labels=("개", "cat"), provenance={"by": "a test"})


def save_keras(path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    keras.config.disable_interactive_logging()
    model.save(path)
    return model


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_round_trip_leaves_the_model_as_it_was(tmp_path, name):
    path = tmp_path / name
    model = save_keras(path)
    assert read_stamp(path) is None
    write_stamp(path, SPEC)
    assert read_stamp(path) == SPEC
    again = keras.models.load_model(path, compile=False)
    x = np.ones((1, 4, 6, 3), np.float32)
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_second_stamp_replaces_the_first(tmp_path, name):
    path = tmp_path / name
    save_keras(path)
    write_stamp(path, SPEC)
    write_stamp(path, ModelSpec(head="regression"))
    assert read_stamp(path) == ModelSpec(head="regression")


def test_long_stamps_fit_into_hdf5(tmp_path):
    path = tmp_path / "model.h5"
    save_keras(path)
    spec = ModelSpec(labels=tuple(f"a rather long class name, number {i}" for i in range(21_000)))
    write_stamp(path, spec)
    assert read_stamp(path) == spec
    write_stamp(path, SPEC)
    assert read_stamp(path) == SPEC


def test_content_decides_not_the_name(tmp_path):
    save_keras(tmp_path / "model.h5")
    path = (tmp_path / "model.h5").rename(tmp_path / "model.keras")
    write_stamp(path, SPEC)
    assert read_stamp(path) == SPEC
    with h5py.File(path) as f:
        assert json.loads(f.attrs["edgecnn"])["schema"] == 1


def test_onnx_metadata(make_color_model, tmp_path):
    path = make_color_model(tmp_path / "m.onnx")
    write_stamp(path, SPEC)
    assert read_stamp(path) == SPEC
    model = onnx.load(path)
    stamp_onnx(model, ModelSpec())
    assert [p.key for p in model.metadata_props] == ["edgecnn"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no .keras archive"), (b"PK\x03\x04 cut", "damaged"), (b"\x89HDF\r\n\x1a\n cut", "damaged")],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_stamp(path)


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        read_stamp(tmp_path / "none.h5")


def test_stamp_of_a_later_schema_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    save_keras(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("edgecnn.json", json.dumps({"schema": 99}))
    with pytest.raises(SpecError, match="schema 99"):
        read_stamp(path)


def test_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    save_keras(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ModelError, match=r"can't write .*model.keras: No space left on device"):
        write_stamp(path, SPEC)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]


@pytest.mark.parametrize(
    ("before", "said", "status"),
    [
        # The disk is full in the middle of the file: a limit on its size does the same, to the kernel and to us.
        ("resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))", "File too large", 1),
        # The process is killed when everything is written but not yet in its place.
        ("os.fsync = lambda _: os.kill(os.getpid(), 9)", "", -9),
    ],
)
def test_a_file_that_is_there_survives_whatever_happens(tmp_path, before, said, status):
    (tmp_path / "m.onnx").write_bytes(b"precious")
    code = (
        "import os, resource, pathlib\n"
        "from edgecnn.export.stamp import write_atomically\n"
        f"{before}\n"
        f"write_atomically(pathlib.Path({str(tmp_path / 'm.onnx')!r}), bytes(10_000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stderr
    assert (tmp_path / "m.onnx").read_bytes() == b"precious"


def test_a_folder_that_takes_no_files_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"can't write /proc/m\.onnx: .*; nothing was changed there"):
        write_atomically(Path("/proc/m.onnx"), b"x")


def test_written_files_keep_their_mode(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    write_atomically(tmp_path / "fresh.bin", b"new")
    (tmp_path / "plain.bin").write_bytes(b"")
    assert (tmp_path / "fresh.bin").stat().st_mode == (tmp_path / "plain.bin").stat().st_mode
