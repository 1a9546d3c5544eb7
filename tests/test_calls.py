"""edgecnn.export.reading.calls: which calls of a layer others take in files of Keras 3.0 to 3.2."""

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

L = keras.layers
RNG = np.random.default_rng(32)


def write(model, path, version, number):
    """Write a model with number(layer, call) for the calls that layers take."""
    written = io.BytesIO()
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as f:
            f.attrs["model_config"] = json.dumps(renumbered(json.loads(f.attrs["model_config"]), number))
            f.attrs["keras_version"] = version
        return
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps(renumbered(json.loads(content), number)).encode()
            new.writestr(name, json.dumps({"keras_version": version}) if name == "metadata.json" else content)
    path.write_bytes(written.getvalue())


def renumbered(config, number):
    if isinstance(config, list):
        return [renumbered(value, number) for value in config]
    if not isinstance(config, dict):
        return config
    config = {key: renumbered(value, number) for key, value in config.items()}
    if "keras_history" in config:
        name, call, output = config["keras_history"]
        config["keras_history"] = [name, number(name, call), output]
    return config


def as_keras_3_2_stores_it(model, path):
    write(model, path, "3.2.1", lambda name, call: 0)


def functional():
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(3)(x), name="tower")


def sequential():
    return keras.Sequential([L.Input((4,)), L.Dense(3)], name="tower")


def compared(a, b):
    return L.Dense(2)(L.Subtract()([a, b]))


def apart(a, b):
    return L.Concatenate()([L.Dense(2)(a), L.Dense(2)(b)])


def with_itself(a, b):
    return [L.Dense(2)(a), b]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("head", [compared, apart, with_itself])
@pytest.mark.parametrize("tower", [functional, sequential])
def test_shared_layers_are_called_on_every_input(tower, head, suffix, tmp_path):
    shared, inputs = tower(), [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    model = keras.Model(inputs, head(*(shared(x) for x in inputs)))
    as_keras_3_2_stores_it(model, tmp_path / f"m{suffix}")
    source = load(tmp_path / f"m{suffix}")
    x = [RNG.normal(size=(3, 4)).astype(np.float32) for _ in inputs]
    for got, expected in zip(source(x), keras.tree.flatten(model.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert any("call of 'tower'" in note for note in source.notes)


def test_what_can_be_taken_in_several_ways_is_refused(tmp_path):
    shared, inputs = sequential(), [keras.Input((4,)) for _ in range(3)]
    anchor, positive, negative = (shared(x) for x in inputs)
    model = keras.Model(inputs, [compared(anchor, positive), compared(anchor, negative)])
    as_keras_3_2_stores_it(model, tmp_path / "m.keras")
    with pytest.raises(ModelError, match="which of the 3 calls of 'tower' each layer takes"):
        load(tmp_path / "m.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("head", [compared, apart, with_itself])
@pytest.mark.parametrize("tower", [functional, sequential])
def test_calls_have_the_numbers_of_a_session_that_made_others_before(tower, head, suffix, tmp_path):
    shared, inputs = tower(), [keras.Input((4,), name="a"), keras.Input((4,), name="b")]
    model = keras.Model(inputs, head(*(shared(x) for x in inputs)))
    write(model, tmp_path / f"m{suffix}", "3.1.1", lambda name, call: 2 * call + 1 if name == "tower" else call)
    source = load(tmp_path / f"m{suffix}")
    x = [RNG.normal(size=(3, 4)).astype(np.float32) for _ in inputs]
    for got, expected in zip(source(x), keras.tree.flatten(model.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert not source.notes


@pytest.mark.parametrize(("taken", "outputs"), [(["tower"], [["end", 0, 0]]), ("x", [["end", 0, 0]]), (["d", 0, 0], 5)])
@pytest.mark.parametrize("version", ["3.0.5", "3.2.1"])
def test_an_architecture_that_is_none(tmp_path, taken, outputs, version):
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "keras_history": taken}}
    calls = [{"args": [tensor], "kwargs": {}}] * 2
    layers = [
        {"class_name": "Dense", "config": {"name": name, "units": 2}, "name": name, "inbound_nodes": calls}
        for name in ("tower", "x", "d")
    ]
    config = {"class_name": "Functional", "config": {"layers": layers, "input_layers": [], "output_layers": outputs}}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", weights.getvalue())
    with pytest.raises(ModelError):
        load(tmp_path / "m.keras")
