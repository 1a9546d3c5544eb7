import hashlib

import numpy as np
import onnx
import pytest

from edgecnn import ModelError
from edgecnn.seal import KEY, check_seal, seal
from edgecnn.session import Session


@pytest.fixture
def sealed(image_model):
    image_model.write_bytes(seal(image_model.read_bytes()))
    return image_model


def test_a_sealed_model_is_a_valid_model_with_its_digest(sealed):
    model = onnx.load(sealed)
    onnx.checker.check_model(model)
    digest = next(p.value for p in model.metadata_props if p.key == KEY)
    body = sealed.read_bytes()[: -len(seal(b""))]
    assert digest == hashlib.sha256(body).hexdigest()
    session = Session(sealed)
    assert session.sealed
    assert session.read_spec().labels == ("red", "green", "blue")


def test_a_model_of_another_exporter_has_no_seal(image_model):
    assert not Session(image_model).sealed


@pytest.mark.parametrize("position", [10, 100, 300, -1])
def test_one_changed_byte_is_refused(sealed, position):
    content = bytearray(sealed.read_bytes())
    content[position] ^= 1
    sealed.write_bytes(content)
    with pytest.raises(ModelError, match=r"changed after its export|not a usable ONNX model"):
        Session(sealed)


def test_a_model_that_another_tool_saved_again_is_refused(sealed):
    model = onnx.load(sealed)
    model.producer_name = "another tool"
    onnx.save(model, sealed)
    with pytest.raises(ModelError, match="changed after its export"):
        Session(sealed)


@pytest.mark.parametrize("missing", [1, 30, 64])
def test_a_file_that_was_cut_off_is_refused(sealed, missing):
    with pytest.raises(ModelError, match="changed after its export"):
        check_seal(sealed.read_bytes()[:-missing], sealed)


def external_model(folder, location):
    """x @ w with w in another file."""
    w = onnx.TensorProto(name="w", dims=[3, 4], data_type=1, data_location=onnx.TensorProto.EXTERNAL)
    entry = w.external_data.add()
    entry.key, entry.value = "location", location
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [tensor("x", 1, ["batch", 3])],
        [tensor("y", 1, ["batch", 4])],
        [w],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_weights_beside_the_model_are_fine(tmp_path, monkeypatch):
    (tmp_path / "w.bin").write_bytes(np.ones(12, np.float32).tobytes())
    monkeypatch.chdir("/")
    session = Session(external_model(tmp_path, "w.bin"))
    np.testing.assert_array_equal(session.run(np.ones((2, 3), np.float32)), np.full((2, 4), 3))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "a/../../w.bin", "..\\w.bin", "C:w.bin", "a\0b"])
def test_weights_elsewhere_are_refused(tmp_path, location):
    (tmp_path / "w.bin").write_bytes(np.ones(12, np.float32).tobytes())
    (tmp_path / "models").mkdir()
    with pytest.raises(ModelError, match="names weights outside its own folder"):
        Session(external_model(tmp_path / "models", location))


def test_custom_operators_are_refused(tmp_path):
    path = external_model(tmp_path, "w.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Boom", "evil.ops"
    model.opset_import.append(onnx.helper.make_opsetid("evil.ops", 1))
    path.write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").write_bytes(np.ones(12, np.float32).tobytes())
    with pytest.raises(ModelError, match=r"not a usable ONNX model.*Boom"):
        Session(path)
