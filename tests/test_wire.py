"""edgecnn.wire: what an ONNX file refers to is seen wherever it hides; each hostile file is refused in one line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.cli import main
from edgecnn.session import Session
from edgecnn.spec import MAX_JSON_BYTES
from edgecnn.wire import MAX_DEPTH, references

SHAPE = ["batch", 3]


def external(location, name="w", dims=(3, 3)):
    tensor = TensorProto(name=name, dims=dims, data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(nodes, initializers=(), functions=(), domains=(), props=None):
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **a) for op, i, o, a in nodes],
        "g",
        [helper.make_tensor_value_info("x", 1, SHAPE)],
        [helper.make_tensor_value_info("y", 1, None)],
        list(initializers),
    )
    opsets = [helper.make_opsetid(d, 18 if not d else 1) for d in ("", *domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    helper.set_model_props(made, props or {})
    return made


IDENTITY = [("Identity", ["x"], ["y"], {})]
MATMUL = [("MatMul", ["x", "w"], ["y"], {})]
OUT = "../w.bin"


def branch(nodes, initializers=()):
    return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("z", 1, None)], list(initializers))


def with_if(then):
    condition = numpy_helper.from_array(np.array(True), "c")
    return model([("If", ["c"], ["y"], {"then_branch": then, "else_branch": then})], [condition])


def in_a_sparse_initializer():
    made = model(IDENTITY)
    made.graph.sparse_initializer.add(dims=[3, 3]).values.CopyFrom(external(OUT, dims=[1]))
    return made


def in_a_function(node):
    function = helper.make_function("local", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 18)])
    return model([("F", ["x"], ["y"], {"domain": "local"})], functions=[function], domains=["local"])


def value_before_key():
    """Protobuf lets fields come in any order."""
    made = model(MATMUL, [external(OUT)])
    entry = made.graph.initializer[0].external_data[0].SerializeToString()
    key, value = entry[:10], entry[10:]
    assert key == b"\n\x08location"
    return made.SerializeToString().replace(entry, value + key)


def overlong_key():
    """And numbers be longer than need be: 8 as 0x88 0x00."""
    made = model(MATMUL, [external(OUT)])
    tensor = made.graph.initializer[0]
    entry = tensor.external_data[0].SerializeToString()
    longer = b"\n\x88\x00" + entry[2:]
    rest = TensorProto()
    rest.CopyFrom(tensor)
    del rest.external_data[:]
    body = rest.SerializeToString() + b"\x6a" + bytes([len(longer)]) + longer
    graph = onnx.GraphProto()
    graph.CopyFrom(made.graph)
    del graph.initializer[:]
    content = graph.SerializeToString() + b"\x2a" + bytes([len(body)]) + body
    made.ClearField("graph")
    return made.SerializeToString() + b"\x3a" + len(content).to_bytes(1, "big") + content


def bomb(*nodes):
    """A table model whose graph, once it runs, makes 10 ** 12 numbers of three."""
    props = {"edgecnn": json.dumps({"schema": 1, "table": {"fields": ["a", "b", "c"]}, "head": "regression"})}
    return model(nodes, [numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "s")], props=props)


def recipe(**changes):
    pixels = {"height": 8, "width": 8, **changes}
    return {"edgecnn": json.dumps({"schema": 1, "pixels": pixels})}


ELSEWHERE = "names weights outside its own folder"
CUSTOM = "needs the custom operator"
AT_RUN = "onnxruntime can't run"
HOSTILE = {
    "weights in a parent folder": (lambda: model(MATMUL, [external(OUT)]), ELSEWHERE),
    "weights at an absolute path": (lambda: model(MATMUL, [external("/etc/hostname")]), ELSEWHERE),
    "weights behind a link": (lambda: model(MATMUL, [external("link.bin")]), ELSEWHERE),
    "weights behind a linked folder": (lambda: model(MATMUL, [external("link/w.bin")]), ELSEWHERE),
    "value before key": (value_before_key, ELSEWHERE),
    "overlong numbers": (overlong_key, ELSEWHERE),
    "in a constant": (lambda: model([("Constant", [], ["y"], {"value": external(OUT)})]), ELSEWHERE),
    "in a subgraph": (
        lambda: with_if(branch([helper.make_node("Identity", ["w"], ["z"])], [external(OUT)])), ELSEWHERE,
    ),
    "in a function": (lambda: in_a_function(helper.make_node("Constant", [], ["b"], value=external(OUT))), ELSEWHERE),
    "in a sparse initializer": (in_a_sparse_initializer, ELSEWHERE),
    "custom operator": (lambda: model([("Boom", ["x"], ["y"], {"domain": "evil.ops"})], domains=["evil.ops"]), CUSTOM),
    "custom operator in a subgraph": (
        lambda: with_if(branch([helper.make_node("Boom", [], ["z"], domain="evil.ops")])), CUSTOM,
    ),
    "custom operator in a function": (
        lambda: in_a_function(helper.make_node("Boom", ["a"], ["b"], domain="evil.ops")), CUSTOM,
    ),
    "absurd height": (lambda: model(IDENTITY, props=recipe(height=10**9)), "height must be"),
    "absurd area": (lambda: model(IDENTITY, props=recipe(height=16384, width=16384)), "pixels"),
    "absurd recipe": (lambda: model(IDENTITY, props={"edgecnn": "[" * (MAX_JSON_BYTES + 1)}), "more than the limit"),
    "deep recipe": (lambda: model(IDENTITY, props={"edgecnn": "[" * 100_000}), "not valid JSON"),
    "initializer without its data": (
        lambda: model(MATMUL, [TensorProto(name="w", dims=[3, 10**12], data_type=1)]), "not a usable ONNX model",
    ),
    "initializer of negative size": (
        lambda: model(MATMUL, [TensorProto(name="w", dims=[-3, 3], data_type=1)]), "not a usable ONNX model",
    ),
    "terabytes of a constant": (
        lambda: bomb(("ConstantOfShape", ["s"], ["big"], {}), ("ReduceSum", ["big"], ["y"], {})), AT_RUN,
    ),
    "terabytes of copies": (
        lambda: bomb(("ReduceSum", ["x"], ["q"], {}), ("Expand", ["q", "s"], ["y"], {})), AT_RUN,
    ),
    "reshape to terabytes": (lambda: bomb(("Reshape", ["x", "s"], ["y"], {})), AT_RUN),
    "no protobuf": (lambda: b"\x3a\xff\xff\xff\xff\x0f" + b"x" * 50, "not a usable ONNX model"),
    "nested without end": (lambda: nested(4 * MAX_DEPTH), "not a usable ONNX model"),
}  # fmt: skip


def nested(depth):
    """A graph in an attribute of a node of a graph, and so on."""
    graph = b""
    for _ in range(depth):
        for tag in (0x32, 0x2A, 0x0A):  # graph in attribute, attribute in node, node in graph
            size = len(graph)
            graph = bytes([tag]) + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + graph
    size = len(graph)
    return b"\x3a" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + graph


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path, capsys, name):
    make, message = HOSTILE[name]
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(np.ones(9, np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "link").symlink_to(tmp_path)
    made = make()
    (folder / "m.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    (tmp_path / "rows.csv").write_text("1,2,3\n")
    status = main(["predict", str(tmp_path / "rows.csv"), "--model", str(folder / "m.onnx"), "--device", "cpu"])
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if not line.startswith("edgecnn: running on")]
    assert message in line
    assert len(line) < 600


def test_nothing_harmless_is_refused(tmp_path):
    """Weights beside the model, a cache of linked downloads, functions of the file itself, any text anywhere."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(model(MATMUL, [external("w.bin")]).SerializeToString())
    (tmp_path / "blobs" / "2").write_bytes(np.ones(9, np.float32).tobytes())
    (tmp_path / "snapshot" / "m.onnx").symlink_to(tmp_path / "blobs" / "1")
    (tmp_path / "snapshot" / "w.bin").symlink_to(tmp_path / "blobs" / "2")
    found = list(references((tmp_path / "blobs" / "1").read_bytes()))
    assert ("external", {"key": "location", "value": "w.bin"}) in found
    local = in_a_function(helper.make_node("Neg", ["a"], ["b"]))
    named = model([("Identity", ["x"], ["location"], {}), ("Neg", ["location"], ["y"], {"name": "../location"})])
    for content in (local, named):
        (tmp_path / "m.onnx").write_bytes(content.SerializeToString())
        np.testing.assert_array_equal(Session(tmp_path / "m.onnx").run(np.ones((2, 3), np.float32)), -np.ones((2, 3)))


def test_any_bytes_are_read_or_refused():
    whole = bytearray(in_a_function(helper.make_node("Constant", [], ["b"], value=external(OUT))).SerializeToString())
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(3000):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            content[at] = rng.integers(0, 256)
        try:
            read += len(list(references(bytes(content[: rng.integers(1, len(content) + 1)])))) > 0
        except ValueError:
            continue
    assert read > 10
