"""edgecnn.export.optimize: what does nothing goes, and every output bit stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgecnn.export.optimize import count_nodes, optimize


def build(nodes, initializers, *, rank=2):
    graph = helper.make_graph(
        nodes,
        "from a test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{i}" for i in range(rank)])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()],
        doc_string="training notes",
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 2)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def run(model, x):
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


X = np.array([[1.5, -2], [3, 1e-40]], np.float32)


def test_idle_nodes_and_leftovers_go():
    one, zero = np.float32(1), np.float32(0)
    model = build(
        [
            helper.make_node("Identity", ["x"], ["a"]),
            helper.make_node("Add", ["zero", "a"], ["b"]),
            helper.make_node("Dropout", ["b"], ["c"]),
            helper.make_node("Div", ["c", "one"], ["d"]),
            helper.make_node("Mul", ["d", "two"], ["e"]),
            helper.make_node("Mul", ["e", "deux"], ["y"]),
        ],
        {"one": one, "zero": zero, "two": np.float32(2), "deux": np.float32(2), "unused": np.ones(1000)},
    )
    small = optimize(model)
    assert count_nodes(small) == {"Mul": 2}
    assert len(small.graph.initializer) == 1
    assert [o.domain for o in small.opset_import] == [""]
    assert not small.graph.doc_string
    np.testing.assert_array_equal(run(small, X), run(model, X))
    assert len(model.graph.node) == 6, "the argument must stay as it was"


def test_what_changes_values_or_shapes_stays():
    model = build(
        [
            helper.make_node("Sub", ["zero", "x"], ["a"]),
            helper.make_node("Div", ["one", "a"], ["b"]),
            helper.make_node("Add", ["b", "zeros"], ["c"]),
            helper.make_node("Identity", ["c"], ["y"]),
        ],
        {"zero": np.float32(0), "one": np.float32(1), "zeros": np.zeros((3, 1, 1), np.float32)},
        rank=3,
    )
    small = optimize(model)
    assert len(small.graph.node) == 4
    np.testing.assert_array_equal(run(small, X), run(model, X))


def test_graphs_with_bodies_stay_whole():
    branch = helper.make_graph(
        [helper.make_node("Add", ["kept", "two"], ["r"])],
        "then",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, ["b", 2])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["kept"], ["s"])],
        "else",
        [],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["b", 2])],
    )
    model = build(
        [
            helper.make_node("Identity", ["x"], ["kept"]),
            helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=other),
        ],
        {"two": np.float32(2), "yes": np.array(True), "unused": np.ones(1000)},
    )
    cleaned = optimize(model)
    np.testing.assert_array_equal(run(cleaned, X), run(model, X))
    assert [t.name for t in cleaned.graph.initializer] == ["two", "yes"]


def test_names_lose_the_models_name_and_keep_the_layers():
    model = build(
        [
            helper.make_node("Relu", ["x"], ["model/first/Relu:0"], name="model/first/Relu"),
            helper.make_node("Abs", ["model/first/Relu:0"], ["first/Relu"], name="model/second/Abs"),
            helper.make_node("Add", ["first/Relu", "model/first/Relu:0"], ["y"], name="model/third/Add"),
        ],
        {},
    )
    small = optimize(model)
    assert [n.name for n in small.graph.node] == ["first/Relu", "second/Abs", "third/Add"]
    assert list(small.graph.node[2].output) == ["y"]
    np.testing.assert_array_equal(run(small, X), run(model, X))
