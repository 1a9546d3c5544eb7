"""edgecnn.export.reading.limits: a file opens no other file and allocates no more than its size explains."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from edgecnn import ModelError
from edgecnn.export.load import load
from edgecnn.export.reading import limits

CONFIG = json.dumps({"class_name": "Sequential", "config": []})


def hostile(path):
    file = h5py.File(path, "w")
    file.attrs["model_config"] = CONFIG
    return file


def test_links_to_other_files(tmp_path):
    with hostile(tmp_path / "m.h5") as f:
        f["model_weights"] = h5py.ExternalLink("/etc/secret.h5", "/data")
    with pytest.raises(ModelError, match=r"links to another file at 'model_weights'"):
        load(tmp_path / "m.h5")


def test_arrays_in_other_files(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(64))
    with hostile(tmp_path / "m.h5") as f:
        f.create_dataset("w", (16,), np.float32, external=[(str(tmp_path / "raw"), 0, 64)])
    with pytest.raises(ModelError, match=r"keeps 'w' in another file"):
        load(tmp_path / "m.h5")


def test_arrays_that_are_only_claimed(tmp_path):
    with hostile(tmp_path / "m.h5") as f:
        f.create_dataset("w", (1 << 20, 1 << 20), np.float32, chunks=(1, 1024))
    with pytest.raises(ModelError, match="claims more than"):
        load(tmp_path / "m.h5")


def test_numbers_of_a_form_that_h5py_cannot_read(tmp_path):
    """h5py refuses them with a ValueError, as the limits do."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(70_000)
    with hostile(tmp_path / "m.h5") as f:
        h5py.h5d.create(f.id, b"w", kind, h5py.h5s.create_simple((2,)))
    with pytest.raises(ModelError, match=r"m.h5 is damaged or cut off \(Insufficient precision.*\); fetch or save it"):
        load(tmp_path / "m.h5")


def test_a_group_within_itself(tmp_path):
    with hostile(tmp_path / "m.h5") as f:
        group = f.create_group("model_weights")
        group["again"] = group
    with pytest.raises(ModelError):
        load(tmp_path / "m.h5")


def test_archives_that_unpack_to_far_more(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", CONFIG)
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(400):
                member.write(bytes(1 << 20))
    with pytest.raises(ModelError, match="unpacks to"):
        load(tmp_path / "m.keras")


def test_a_heap_without_an_end(tmp_path, monkeypatch):
    path = tmp_path / "m.h5"
    with hostile(path) as f:
        f["w"] = np.array(["text"], dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    # The first object becomes free room of 0 bytes, where libhdf5 1.14 stays for ever.
    content[first : first + 16] = bytes(16)
    path.write_bytes(content)
    monkeypatch.setattr(limits, "_PATIENCE", 2.0)
    with pytest.raises(ModelError, match=r"m\.h5 is damaged"):
        load(path)


def test_a_file_that_crashes_its_reader(tmp_path, monkeypatch):
    with hostile(tmp_path / "m.h5") as f:
        f["w"] = np.zeros(3)
    (tmp_path / "probe.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(limits, "_PROBE", tmp_path / "probe.py")
    with pytest.raises(ModelError, match=r"m\.h5 is damaged: the HDF5 library crashes on it"):
        load(tmp_path / "m.h5")


def in_archive(path, edit):
    """A model of Keras whose weights were edited."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="d")])
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(content["model.weights.h5"])
    with h5py.File(weights, "r+") as f:
        group = f["layers/dense/vars"]
        del group["0"]
        edit(group)
    content["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_weights_in_an_archive_that_lie_elsewhere(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(64))
    raw = [(str(tmp_path / "raw"), 0, 64)]
    in_archive(tmp_path / "m.keras", lambda g: g.create_dataset("0", (4, 4), np.float32, external=raw))
    with pytest.raises(ModelError, match="keeps '0' in another file"):
        load(tmp_path / "m.keras")


def test_weights_in_an_archive_that_are_only_claimed(tmp_path):
    claim = {"shape": (1 << 20, 1 << 20), "dtype": np.float32, "chunks": (1, 1024)}
    in_archive(tmp_path / "m.keras", lambda g: g.create_dataset("0", **claim))
    with pytest.raises(ModelError, match="claims more than"):
        load(tmp_path / "m.keras")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_weights_that_the_file_does_not_hold(tmp_path, library):
    keras = pytest.importorskip(library)
    path = tmp_path / "m.h5"
    keras.Sequential([keras.layers.InputLayer((100_000,)), keras.layers.Dense(2)]).save(path)
    with h5py.File(path, "r+") as f:
        config = json.loads(f.attrs["model_config"])
        config["config"]["layers"][-1]["config"]["units"] = 20_000
        f.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match="its weights need 8,000,000,000 bytes, more than a file"):
        load(path)


def test_a_tensor_that_no_memory_holds(tmp_path):
    layers = [keras.Input((4,)), keras.layers.RepeatVector(10**9), keras.layers.GlobalAveragePooling1D()]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"'repeat_vector\w*' has 4,000,000,000 values a sample"):
        load(tmp_path / "m.keras")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_a_call_that_the_file_does_not_hold(tmp_path):
    """tf-keras would look for it for ever."""
    k = pytest.importorskip("tf_keras")
    x = k.Input((3,))
    k.Model(x, k.layers.Dense(2, name="b")(k.layers.Dense(2, name="a")(x))).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][2]["inbound_nodes"][0][0][1] = 1
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ModelError, match="the output of a call that the file does not hold"):
        load(tmp_path / "m.h5")


def test_models_within_models_without_end(tmp_path):
    deep = '{"class_name": "Sequential", "config": ' * 900 + "1" + "}" * 900
    h5py.File(tmp_path / "empty.h5", "w").close()
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", deep)
        archive.write(tmp_path / "empty.h5", "model.weights.h5")
    with pytest.raises(ModelError, match="models within models deeper than can be read"):
        load(tmp_path / "m.keras")
