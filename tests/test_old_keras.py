"""Files that Keras 1.0 to 3.11 themselves wrote give the outputs that those versions computed.

old_keras.zip holds small models of random weights, each with inputs and the outputs of the Keras that saved it
(each with the TensorFlow of today, up to 2.3 in its graph mode).
"""

from __future__ import annotations

import io
import pathlib
import zipfile

import h5py
import numpy as np
import pytest

from edgecnn import ModelSpec
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.optimize import optimize
from edgecnn.export.verify import verify

# onnxruntime's, of an attribute that tf2onnx writes.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FILES = pathlib.Path(__file__).with_name("old_keras.zip")

CONVERTED = (
    "k1.2.2-merge_nested.h5", "k1.2.2-highway.h5", "k1.2.2-srelu_shared.h5", "k1.2.2-bn_mode2.h5",
    "k1.2.2-merge_fn_cos.h5", "k2.3.1-up_bilinear_cf.h5", "k3.0.5-seq_of_fn.keras",
    "k2.2.4-bi_masked.h5", "k2.2.4-cells_masked.h5", "k2.1.6-td_embedding_masked.h5",
    "k2.4.0-peephole.h5", "k2.9.0-mha_masked.h5", "k3.3.3-multiply_masked.keras",
    "k2.3.0-tf-bi_masked.h5", "k3.8.0-given_mask.keras", "k3.8.0-mha_dropout_masked.keras",
)  # fmt: skip
"""One of each operation that no later Keras has, a model within a Sequential one as Keras 3.0 stored it, and masks."""


def names():
    with zipfile.ZipFile(FILES) as archive:
        return [n for n in archive.namelist() if n.endswith((".h5", ".keras"))]


def unpack(name, folder):
    """(path of the model, its inputs, its writer's outputs); where it is weights alone, the YAML lies beside it."""
    with zipfile.ZipFile(FILES) as archive:
        for member in {name, f"{name}.yaml"}.intersection(archive.namelist()):
            (folder / member).write_bytes(archive.read(member))
        arrays = np.load(io.BytesIO(archive.read(name + ".npz")))
        inputs = [arrays[f"x{i}"] for i in range(len(arrays.files)) if f"x{i}" in arrays.files]
        return folder / name, inputs, [arrays[f"y{i}"] for i in range(len(arrays.files)) if f"y{i}" in arrays.files]


@pytest.mark.parametrize("name", names())
def test_outputs_are_those_of_the_writer(tmp_path, name):
    path, inputs, expected = unpack(name, tmp_path)
    beside = path.with_name(f"{name}.yaml")
    source = load(path, architecture=str(beside) if beside.exists() else None)
    assert source.loaded_by.startswith("Keras" if name.startswith("k3") else "tf-keras")
    got = source.eager([x.astype(t.dtype) for x, t in zip(inputs, source.inputs, strict=True)])
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, atol=1e-5 * max(1.0, float(np.abs(e).max())))


@pytest.mark.parametrize("name", CONVERTED)
def test_retired_layers_convert(tmp_path, name):
    source = load(unpack(name, tmp_path)[0])
    verify(optimize(convert(source)).SerializeToString(), source, spec=ModelSpec(head="regression"))


@pytest.mark.parametrize("name", ["k1.2.2-merge_emb.h5", "k2.0.5-merge_first.h5"])
def test_branches_find_weights_saved_apart_from_the_architecture(tmp_path, name):
    path, inputs, expected = unpack(name, tmp_path)
    with h5py.File(path) as whole, h5py.File(tmp_path / "w.h5", "w") as weights:
        (tmp_path / "model.json").write_text(whole.attrs["model_config"])
        group = whole["model_weights"]
        weights.attrs.update(group.attrs)
        for layer in group:
            group.copy(layer, weights)
    source = load(tmp_path / "w.h5", architecture=str(tmp_path / "model.json"))
    got = source.eager([x.astype(t.dtype) for x, t in zip(inputs, source.inputs, strict=True)])
    np.testing.assert_allclose(got[0], expected[0], atol=1e-5)
