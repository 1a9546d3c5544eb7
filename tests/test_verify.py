"""edgecnn.export.verify: fails closed, and says what differs and by how much."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgecnn import ModelSpec, PixelSpec, TableSpec, VerificationError
from edgecnn.cli import guard
from edgecnn.export import to_onnx
from edgecnn.export import verify as module
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.proof import rounding
from edgecnn.export.proof.in_double import graph_in_double, keras_in_double
from edgecnn.export.proof.inference import open_session, run
from edgecnn.export.proof.onnx_source import read_onnx
from edgecnn.export.proof.parity import Comparison
from edgecnn.export.proof.rounding import noise
from edgecnn.export.proof.samples import Samples
from edgecnn.export.proof.synthetic import random_inputs, value_range
from edgecnn.export.stamp import stamp_onnx
from edgecnn.export.verify import verify
from edgecnn.seal import seal

L = keras.layers
SPEC = ModelSpec(table=TableSpec(fields=("a", "b", "c", "d")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(Source, onnx.ModelProto) of a small classifier."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            L.Input((4,), name="row"),
            L.Rescaling(0.001),
            L.Dense(8, activation="relu"),
            L.Dense(3, activation="softmax", name="p"),
        ]
    )
    path = tmp_path_factory.mktemp("pair") / "m.keras"
    model.save(path)
    source = load(path)
    return source, convert(source)


def changed(model, change):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    change(copy)
    return copy.SerializeToString()


def add_to_weights(amount):
    def change(model):
        tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(amount), tensor.name))

    return change


def test_the_same_model_passes(pair):
    source, model = pair
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    parity = verify(model.SerializeToString(), source, spec=SPEC, samples=Samples([x], None, "a test"))
    assert parity.samples == 50 + sum(len(b[0]) for b in random_inputs(source, SPEC))
    assert parity.max_abs_diff <= 1e-6
    assert parity.top1_agreement == 1


def test_other_weights_fail_with_tensor_difference_and_tolerance(pair):
    source, model = pair
    with pytest.raises(
        VerificationError, match=r"output p .* differs from Keras by up to 0\.\d+, .*tolerance of 1(\.0\d)?e-05"
    ):
        verify(changed(model, add_to_weights(0.1)), source, spec=SPEC)


def test_a_tolerance_is_a_tolerance(pair):
    source, model = pair
    verify(changed(model, add_to_weights(1e-4)), source, spec=SPEC, atol=0.1)


def test_only_real_samples_show_some_differences(pair):
    """A graph that clips at 1000 equals Keras on random inputs and not on these."""
    source, model = pair

    def clip(copy):
        name = copy.graph.input[0].name
        for node in copy.graph.node:
            for i, n in enumerate(node.input):
                if n == name:
                    node.input[i] = "clipped"
        bounds = [numpy_helper.from_array(np.float32(v), k) for k, v in (("low", -1000), ("high", 1000))]
        copy.graph.initializer.extend(bounds)
        copy.graph.node.insert(0, onnx.helper.make_node("Clip", [name, "low", "high"], ["clipped"]))

    small = changed(model, clip)
    verify(small, source, spec=SPEC)
    x = np.array([[1, 2, 3, 4], [5e3, -1e3, 2e3, 9e3]], np.float32)
    with pytest.raises(VerificationError, match="real inputs"):
        verify(small, source, spec=SPEC, samples=Samples([x], None, "a test"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1), "shape"),
        (lambda m: m.graph.node.pop(), "onnxruntime refuses"),
        (add_to_weights(np.nan), "NaN or infinity"),
    ],
)
def test_structure_and_nan_fail(pair, change, message):
    source, model = pair
    with pytest.raises(VerificationError, match=message):
        verify(changed(model, change), source, spec=SPEC)


def test_names_fail(pair):
    source, model = pair
    other = dataclasses.replace(source, inputs=(dataclasses.replace(source.inputs[0], name="image"),))
    with pytest.raises(VerificationError, match=r"inputs are named \['row'\], expected \['image'\]"):
        verify(model.SerializeToString(), other, spec=SPEC)


def test_large_outputs_are_compared_in_proportion(tmp_path):
    keras.utils.set_random_seed(4)
    model = keras.Sequential([L.Input((4,)), L.Dense(64), L.Rescaling(1e6), L.Dense(1)])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    spec = ModelSpec(head="regression")
    parity = verify(convert(source).SerializeToString(), source, spec=spec)
    assert parity.max_abs_diff > 1e-5, "the model is there to need more than the absolute tolerance"
    assert parity.tolerance > 1
    assert parity.top1_agreement is None


def test_both_nan_agree(tmp_path):
    model = keras.Sequential([L.Input((4,)), L.Dense(2), L.UnitNormalization(), L.Rescaling(float("nan"))])
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    verify(convert(source).SerializeToString(), source, spec=SPEC)


def test_random_inputs_fill_the_recipes_range():
    pixels = PixelSpec(height=2, width=2, divisor=127.5, offset=-1.0)
    assert value_range(ModelSpec(pixels=pixels)) == (-1, 1)
    mean = PixelSpec(height=2, width=2, mean=(100.0, 0.0, 5.0), std=(1.0, 2.0, 1.0))
    assert value_range(ModelSpec(pixels=mean)) == (-100, 250)


@pytest.fixture
def files(pair, tmp_path):
    """(ONNX path, Keras path)."""
    source, model = pair
    path = tmp_path / "m.onnx"
    stamp_onnx(model, SPEC)
    path.write_bytes(model.SerializeToString())
    return path, source.path


def test_command(files, tmp_path, capsys):
    path, against = files
    report = tmp_path / "r.json"
    rows = tmp_path / "rows.csv"
    rows.write_text("1,2,3,4\n5,6,7,8\n")
    arguments = [str(path), "--against", str(against), "--data", str(rows), "--report", str(report)]
    assert guard(module.main, arguments) == 0
    assert capsys.readouterr().out.strip() == f"{path} computes what {against} computes"
    data = json.loads(report.read_text())
    assert data["status"] == "passed"
    assert data["parity"]["samples"] > 10


def test_command_fails_with_status_1_and_a_report(files, tmp_path, capsys):
    path, against = files
    path.write_bytes(changed(onnx.load(path), add_to_weights(0.1)))
    report = tmp_path / "r.json"
    assert guard(module.main, [str(path), "--against", str(against), "--report", str(report)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "differs from Keras" in err
    data = json.loads(report.read_text())
    assert data["status"] == "failed"
    assert "differs from Keras" in data["reason"]


def test_command_in_either_order(files, capsys):
    onnx_file, source = files
    assert guard(module.main, [str(source), "--against", str(onnx_file)]) == 0
    assert capsys.readouterr().out.strip() == f"{onnx_file} computes what {source} computes"
    assert guard(module.main, [str(onnx_file), "--against", str(source), "--report", str(onnx_file)]) == 2


def test_command_on_two_keras_files(files, tmp_path, capsys):
    """The names of layers, and so of tensors, say nothing about what a model computes."""
    _, source = files
    model = keras.models.load_model(source)
    renamed = keras.Sequential([L.Input((4,), name="other"), *model.layers])
    renamed.save(tmp_path / "renamed.h5")
    assert guard(module.main, [str(tmp_path / "renamed.h5"), "--against", str(source)]) == 0
    assert "compared in their order" in capsys.readouterr().err
    renamed.set_weights([w + i for i, w in enumerate(model.get_weights())])
    renamed.save(tmp_path / "renamed.h5")
    assert guard(module.main, [str(tmp_path / "renamed.h5"), "--against", str(source)]) == 1
    assert "the first layer whose output differs is" in capsys.readouterr().err


def test_command_on_two_onnx_files(files, tmp_path, capsys):
    path, _ = files
    other = tmp_path / "other.onnx"
    other.write_bytes(changed(onnx.load(path), add_to_weights(1e-9)))
    assert guard(module.main, [str(other), "--against", str(path)]) == 0
    other.write_bytes(changed(onnx.load(path), add_to_weights(0.1)))
    assert guard(module.main, [str(other), "--against", str(path)]) == 1
    assert f"differs from {path} by up to" in capsys.readouterr().err


def test_command_on_a_quantised_file_and_its_float32_model(tmp_path, capsys):
    """The quantised one is judged, whichever comes first, and on images both by their recipes."""
    names = [tmp_path / name for name in ("float.onnx", "half.onnx", "other.onnx")]
    keras.Sequential([L.Input((8, 8, 3)), L.Flatten(), L.Dense(3, activation="softmax")]).save(tmp_path / "m.keras")
    source = [str(tmp_path / "m.keras"), "--golden", "0"]
    for path, options in zip(
        names, (["keras-flow"], ["keras-flow", "--quantize", "fp16"], ["keras-dataset"]), strict=True
    ):
        assert guard(to_onnx.main, [*source, "-o", str(path), "--preset", *options]) == 0
    exact, half, other = map(str, names)
    for pair in ([exact, "--against", half], [half, "--against", exact]):
        capsys.readouterr()
        assert guard(module.main, pair) == 0
        assert "fp16, " in capsys.readouterr().err
    assert guard(module.main, [exact, "--against", other]) == 1
    assert "the stage normalise differs" in capsys.readouterr().err


def test_onnx_files_get_inputs_that_they_have_rows_and_words_for(tmp_path):
    code, text = L.Input((3,), dtype="int32", name="code"), L.Input((1,), dtype="string", name="text")
    rows = L.Flatten()(L.Embedding(7, 2)(code))
    words = L.StringLookup(vocabulary=["red", "green"], output_mode="one_hot")(text)
    keras.Model([code, text], L.Dense(2)(L.Concatenate()([rows, words]))).save(tmp_path / "m.keras")
    path = tmp_path / "m.onnx"
    path.write_bytes(convert(load(tmp_path / "m.keras")).SerializeToString())
    source = read_onnx(path)
    drawn = [np.concatenate(a) for a in zip(*random_inputs(source, ModelSpec()), strict=True)]
    by_name = {t.name: a for t, a in zip(source.inputs, drawn, strict=True)}
    assert set(np.unique(by_name["code"])) == set(range(7))
    assert {"red", "green"} < set(by_name["text"].ravel())


def test_rounding_of_an_onnx_file_is_measured_and_undone(tmp_path):
    keras.Sequential([L.Input((4,)), L.Dense(2)]).save(tmp_path / "m.keras")
    path = tmp_path / "m.onnx"
    path.write_bytes(convert(load(tmp_path / "m.keras")).SerializeToString())
    source = read_onnx(path)
    x = [np.full((1, 4), 1000, np.float32)]
    before = source(x)
    (moved,) = noise(source, x, before)
    assert 0 < moved < 1e-2
    np.testing.assert_array_equal(source(x), before)


def test_command_refuses_what_a_device_refuses(files, tmp_path, capsys):
    onnx_file, source = files
    content = bytearray(seal(onnx_file.read_bytes()))
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    assert guard(module.main, [str(tmp_path / "changed.onnx"), "--against", str(source)]) == 2
    assert "was changed after its export" in capsys.readouterr().err


def test_command_on_other_files(files, tmp_path, capsys):
    path, against = files
    assert guard(module.main, [str(tmp_path / "none.onnx"), "--against", str(against)]) == 2
    assert guard(module.main, [str(path), "--against", str(tmp_path / "none.h5")]) == 2
    (tmp_path / "text.onnx").write_text("hello")
    assert guard(module.main, [str(tmp_path / "text.onnx"), "--against", str(against)]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_long_mean_may_differ_as_much_as_its_own_rounding(tmp_path, activation):
    """Keras's mean of 49,284 values is off by more than 1e-5 of a small output, as float64 shows; ours is closer."""
    keras.utils.set_random_seed(0)
    layers = [L.Input((224, 224, 3)), L.Conv2D(8, 3, activation=activation), L.GlobalAveragePooling2D(), L.Dense(1)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    model = convert(source)
    verify(model.SerializeToString(), source, spec=ModelSpec())
    with pytest.raises(VerificationError, match="differs from Keras"):
        verify(changed(model, add_to_weights(1e-4)), source, spec=ModelSpec())
    ones = [np.ones((1, 224, 224, 3), np.float32)]
    (keras_gives,), (exact,) = source(ones), keras_in_double(source, ones)
    (got,) = run(open_session(model.SerializeToString()), source, ones)
    assert np.abs(got - exact).max() <= np.abs(keras_gives - exact).max()


def test_a_model_that_amplifies_rounding_is_proved_in_float64(tmp_path, capsys):
    """Its states are chaotic: in float32 no two programs agree for 60 steps, in float64 they do."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential([L.Input((60, 3)), L.SimpleRNN(32), L.Dense(2)])
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.normal(size=w.shape) * (3 / len(w) ** 0.5 if w.ndim == 2 else 0.1) for w in model.get_weights()]
    )
    model.save(tmp_path / "m.keras")
    assert guard(to_onnx.main, [str(tmp_path / "m.keras"), "--report", str(tmp_path / "r.json")]) == 0
    assert "note: float32 is coarse for this model: the two differ by up to 0." in capsys.readouterr().err
    parity = json.loads((tmp_path / "r.json").read_text())["parity"]
    assert parity["max_abs_diff"] > 0.01
    assert parity["double_difference"] < 1e-6
    source = load(tmp_path / "m.keras")
    with pytest.raises(VerificationError, match=r"differs from Keras .*; Keras differs from itself by .* last bit"):
        verify(changed(convert(source), add_to_weights(1e-4)), source, spec=SPEC)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "outputs", "more"),
    [
        ("LSTM", "y, h, c", {}),
        (
            "LSTM",
            "y, h, c",
            {"activations": ["HardSigmoid", "Relu", "Affine"], "alpha": [0.25, 0.5], "beta": [0.4, 0.1]},
        ),
        ("GRU", "y, h", {"activations": ["Sigmoid", "Softsign"]}),
        ("GRU", "y, h", {"activations": ["Sigmoid", "Relu"], "linear_before_reset": 1}),
        ("RNN", "y, h", {}),
        ("RNN", "y, h", {"activations": ["Relu"]}),
    ],
)
def test_recurrent_operators_in_float64_with_functions_of_all_kinds(direction, kind, outputs, more):
    """Against onnxruntime, with sequences of their own lengths and states given."""
    helper, both = onnx.helper, 2 if direction == "bidirectional" else 1
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    rng = np.random.default_rng(0)
    shapes = {"x": (6, 3, 2), "w": (both, gates * 5, 2), "r": (both, gates * 5, 5), "b": (both, gates * 10)}
    shapes |= {"n": (3,)} | {f"s{i}": (both, 3, 5) for i in range(outputs.count(","))}
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()} | {"n": np.int32([6, 2, 4])}
    lists = {"activations": "activations", "alpha": "activation_alpha", "beta": "activation_beta"}
    given = {lists.get(k, k): v * both if k in lists else v for k, v in more.items()}
    node = helper.make_node(kind, list(arrays), outputs.split(", "), hidden_size=5, direction=direction, **given)
    values = [helper.make_tensor_value_info(n, 6 if n == "n" else 1, a.shape) for n, a in arrays.items()]
    results = [helper.make_tensor_value_info(n, 1, None) for n in node.output]
    graph = helper.make_graph([node], "g", values, results)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    in_double = graph_in_double(model, list(arrays.values()))
    for got, expected in zip(in_double, open_session(model).run(None, arrays), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_recurrent_operator_that_no_layer_is_is_not_computed_in_float64():
    text = (
        '<ir_version: 8, opset_import: ["": 17]> m (float[2,3,2] x, float[1,5,2] w, float[1,5,5] r) => (float[] y)'
        " { y = RNN <hidden_size = 5, clip = 0.5> (x, w, r) }"
    )
    arrays = [np.zeros(s, np.float32) for s in ((2, 3, 2), (1, 5, 2), (1, 5, 5))]
    assert graph_in_double(onnx.parser.parse_model(text).SerializeToString(), arrays) is None


def test_more_patterns_of_rounding_are_tried_where_few_do_not_tell(pair, monkeypatch):
    """What is equal in float64 may go as wide as the widest of them; what isn't may not."""
    source, model = pair
    monkeypatch.setattr(rounding, "noise", lambda _source, _arrays, _expected, draws: [0.001 if draws < 10 else 1.0])
    x = [np.random.default_rng(0).uniform(-900, 900, (3, 4)).astype(np.float32)]
    expected = source(x)
    got = [expected[0] + np.float32(0.5)]
    comparison = Comparison(model.SerializeToString(), source, 1e-5, regression=False)
    comparison.compare(expected, got, x, "random")
    assert comparison.parity(classifies=True).rounding_noise == 1
    another = Comparison(changed(model, add_to_weights(1e-2)), source, 1e-5, regression=False)
    with pytest.raises(VerificationError, match=r"differs from Keras by up to 0\.5"):
        another.compare(expected, got, x, "random")


def test_a_graph_in_float64_has_no_float32_left(tmp_path):
    model = keras.Sequential(
        [
            L.Input((8, 8, 3)),
            L.Conv2D(4, 3, activation="gelu"),
            L.GroupNormalization(2),
            L.Reshape((36, 4)),
            L.Bidirectional(L.LSTM(3)),
            L.Dense(2),
        ]
    )
    model.save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    x = [np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)]
    (got,) = graph_in_double(convert(source).SerializeToString(), x)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, keras_in_double(source, x)[0], atol=1e-7)


def test_float64_also_inside_of_operators():
    text = (
        '<ir_version: 8, opset_import: ["": 17]> m (float[N] x, bool b) => (float[N] y) {'
        " y = If (b) <then_branch = yes () => (float[N] a) { third = Constant <value = float {0.1}> ()"
        " a = Div (x, third) }, else_branch = no () => (float[N] c) { c = Identity (x) }> }"
    )
    x = np.float32([1, 2])
    (got,) = graph_in_double(onnx.parser.parse_model(text).SerializeToString(), [x, np.array(True)])
    np.testing.assert_array_equal(got, x.astype(np.float64) / np.float64(np.float32(0.1)))
