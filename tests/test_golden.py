import dataclasses
import io
import json

import numpy as np
import onnx
import pytest
from PIL import Image

from edgecnn import ColumnSpec, ModelError, ModelSpec, Predictor, TableSpec
from edgecnn.cli import main
from edgecnn.golden import KEY, Golden, Sample, Values, digest, largest_difference
from edgecnn.selftest import synthetic_image
from edgecnn.session import Session


@pytest.fixture
def sample(image_model):
    """A JPEG with what Pillow makes of it, and the model's outputs by NumPy."""
    file = io.BytesIO()
    Image.fromarray(synthetic_image(20, 30)).save(file, "JPEG")
    image = Image.open(io.BytesIO(file.getvalue())).convert("RGB")
    small = image.resize((8, 8), Image.Resampling.BILINEAR)
    tensor = np.asarray(small, np.float32)[np.newaxis] * np.float32(1 / 255)
    e = np.exp(10 * tensor.mean(axis=(0, 1, 2)))
    return Sample(
        image=file.getvalue(),
        row=None,
        pixels=digest([np.asarray(image)]),
        tensor=digest([tensor]),
        outputs=tuple((e / e.sum()).tolist()),
    )


def put(path, text):
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, text
    onnx.save(model, path)


def lines(path, capsys):
    status = main(["selftest", str(path)])
    return status, [line for line in capsys.readouterr().out.splitlines() if "golden" in line]


def test_a_device_proves_every_stage(image_model, sample, capsys):
    put(image_model, Golden((sample, sample), 1e-5).to_json())
    assert Golden.from_json(Golden((sample,), 1e-5).to_json()) == Golden((sample,), 1e-5)
    _, found = lines(image_model, capsys)
    assert [line.split(":")[0] for line in found] == [
        f"ok      golden {i} {stage}" for i in (0, 1) for stage in ("decode", "tensor", "output")
    ]


@pytest.mark.parametrize(
    ("change", "stage", "message"),
    [
        ({"pixels": "0" * 16}, "decode", "digest of the decoded pixels is"),
        ({"tensor": "0" * 16}, "tensor", "digest of the input tensor is"),
        ({"outputs": (0.5, 0.25, 0.25)}, "output", "differ from Keras's by"),
        ({"outputs": (1.0, 0.0)}, "output", "differ from Keras's by nan"),
    ],
)
def test_the_stage_that_differs_is_named(image_model, sample, change, stage, message, capsys):
    put(image_model, Golden((dataclasses.replace(sample, **change),), 1e-5).to_json())
    status, found = lines(image_model, capsys)
    assert status == 1
    (failed,) = [line for line in found if line.startswith("FAILED")]
    assert failed.startswith(f"FAILED  golden 0 {stage}: ")
    assert message in failed


def test_rows(rows_model, capsys):
    row = (3.0, 1.0, 0.0)
    golden = Golden((Sample(None, row, None, digest([np.float32([row])]), (1 / (1 + np.exp(-5)),)),), 1e-5)
    put(rows_model, golden.to_json())
    _, found = lines(rows_model, capsys)
    assert [line.split(":")[0] for line in found] == ["ok      golden 0 tensor", "ok      golden 0 output"]


def test_rows_prove_the_recipe_of_their_columns_too(make_model, tmp_path, capsys):
    columns = (
        ColumnSpec(name="x", fill=2, indicator=True),
        ColumnSpec(name="c", kind="category", categories=("a", "b")),
    )
    table = TableSpec(fields=("x", "c"), inputs=columns, missing=("",))
    weights = np.array([[1], [10], [100], [1000]], np.float32)
    path = make_model(
        tmp_path / "m.onnx", [("MatMul", ["row", "w"], ["out"], {})], [("row", "float32", ["batch", 4])],
        [("out", ["batch", 1])], [("w", weights)], ModelSpec(table=table, head="regression"),
    )  # fmt: skip
    good = Sample(None, (None, "b"), None, digest([np.float32([[2, 1, 0, 1]])]), (1012,))
    bad = Sample(None, ("3", "a"), None, digest([np.float32([[2, 0, 1, 0]])]), (102,))
    put(path, Golden((good, bad, dataclasses.replace(bad, row=("x", "a"))), 1e-5).to_json())
    status, found = lines(path, capsys)
    assert status == 1
    assert [line.split()[0] for line in found] == ["ok", "ok", *["FAILED"] * 4]


@pytest.mark.parametrize("data", [True, False])
def test_export_puts_cells_of_rows_into_the_model(tmp_path, data, capsys):
    import keras

    from edgecnn.export.stamp import write_stamp

    columns = (ColumnSpec(name="x", fill=2), ColumnSpec(name="c", kind="category", categories=("a", "b")))
    table = TableSpec(fields=("x", "c", "y"), target="y", header=True, inputs=columns, missing=("", "?"))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.save(tmp_path / "m.keras")
    write_stamp(tmp_path / "m.keras", ModelSpec(table=table, head="regression"))
    (tmp_path / "t.csv").write_text("x,c,y\n?,a,1\n2,b,1\n5,?,3\n")
    more = ["--data", str(tmp_path / "t.csv")] if data else []
    assert main(["export", str(tmp_path / "m.keras"), *more]) == 0, capsys.readouterr().err
    text = next(p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props if p.key == KEY)
    rows = [list(s.row) for s in Golden.from_json(text).samples]
    assert rows == ([["?", "a"], ["2", "b"], ["5", "?"]] if data else [[2, "a"], [3, "b"], [None, "?"]])
    status, found = lines(tmp_path / "m.onnx", capsys)
    assert (status, len(found)) == (0, 6)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "[" * 100_000, '{"tolerance": 1, "samples": [{}]}', '{"tolerance": "x", "samples": []}',
        '{"tolerance": 1, "samples": [{"image": "?", "row": null, "pixels": null, "tensor": "", "outputs": []}]}',
        json.dumps({"tolerance": 1, "samples": [0] * 65}),
    ],
)  # fmt: skip
def test_golden_samples_that_can_not_be_read(image_model, text):
    with pytest.raises(ModelError, match="golden samples can't be read"):
        Golden.from_json(text)


def test_a_model_with_broken_golden_samples_still_predicts_but_fails_its_selftest(image_model, capsys):
    put(image_model, "{}")
    assert Predictor(image_model).predict(synthetic_image(9, 9)).label in ("red", "green", "blue")
    assert main(["selftest", str(image_model)]) == 2
    assert "golden samples can't be read" in capsys.readouterr().err


def test_differences_are_relative_above_one_and_never_forgive_nan():
    assert largest_difference([1e6 + 1], [1e6]) == pytest.approx(1e-6)
    assert largest_difference([0.1], [0.2]) == pytest.approx(0.1)
    assert largest_difference([np.nan, 1, np.inf], [np.nan, 1, np.inf]) == 0
    for one in (np.nan, np.inf, -np.inf):
        assert np.isnan(largest_difference([one], [1]))
        assert np.isnan(largest_difference([1], [one]))
    assert np.isnan(largest_difference([np.inf], [-np.inf]))
    assert np.isnan(largest_difference([1, 2], [1]))


@pytest.mark.parametrize("data", [True, False])
def test_export_puts_real_or_synthetic_samples_into_the_model(tmp_path, photos, data, capsys):
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    )
    model.save(tmp_path / "m.keras")
    argv = ["export", str(tmp_path / "m.keras"), "--preset", "keras-dataset", "--golden", "2"]
    assert main([*argv, *(["--data", str(photos)] if data else [])]) == 0, capsys.readouterr().err
    status, found = lines(tmp_path / "m.onnx", capsys)
    assert status == 0
    assert len(found) == 6
    assert all(line.startswith("ok      golden ") for line in found)

    # The outputs inside are Keras's own for the pixels of Keras's own loader (here: of TensorFlow).
    import tensorflow as tf

    text = next(p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props if p.key == KEY)
    assert len(text) < 40_000
    for sample in Golden.from_json(text).samples:
        image = tf.io.decode_image(sample.image, channels=3, expand_animations=False)
        tensor = tf.image.resize(image, (16, 16))
        assert digest([tensor.numpy()[np.newaxis]]) == sample.tensor
        np.testing.assert_allclose(model(tensor[tf.newaxis]).numpy()[0], sample.outputs, rtol=1e-5, atol=1e-3)


def test_outputs_that_are_no_numbers_are_proved_as_well(tmp_path, capsys):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Rescaling(1.0, [np.inf, 0.0])])
    model.layers[0].set_weights([np.array([[1, np.nan], [2, 0], [3, 0]]), np.zeros(2)])
    model.save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras")]) == 0
    assert "Warning" not in capsys.readouterr().err
    assert main(["selftest", str(tmp_path / "m.onnx")]) == 0
    assert main(["verify", str(tmp_path / "m.onnx"), "--against", str(tmp_path / "m.keras")]) == 0
    capsys.readouterr()


def test_a_model_without_a_recipe_proves_its_graph_too(tmp_path, capsys):
    """A sequence model: nobody can make its inputs from a file, so they travel as they are."""
    import keras

    keras.utils.set_random_seed(8)
    layers = [keras.Input((None,)), keras.layers.Embedding(20, 4), keras.layers.LSTM(5), keras.layers.Dense(2)]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras"), "--golden", "2"]) == 0
    capsys.readouterr()
    assert main(["selftest", str(tmp_path / "m.onnx")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "golden" in line]
    stages = [" ".join(line.split()[1:4]) for line in said]
    assert stages == ["golden 0 tensor:", "golden 0 output:", "golden 1 tensor:", "golden 1 output:"]
    model = onnx.load(tmp_path / "m.onnx")
    entry = next(p for p in model.metadata_props if p.key == "edgecnn_golden")
    assert len(entry.value) < 4000
    for name, change in (("output", {"outputs": [9.0, 9.0]}), ("tensor", {"tensor": "0" * 16})):
        data = json.loads(entry.value)
        data["samples"][1] |= change
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        kept = {p.key: p.value for p in changed.metadata_props if p.key != "edgecnn_digest"}
        onnx.helper.set_model_props(changed, {**kept, "edgecnn_golden": json.dumps(data)})
        onnx.save(changed, tmp_path / "changed.onnx")
        assert main(["selftest", str(tmp_path / "changed.onnx")]) == 1
        assert f"FAILED  golden 1 {name}" in capsys.readouterr().out


def test_pictures_in_and_out_are_proved_in_a_few_kilobytes(tmp_path, capsys):
    """Of a picture of unknown recipe some values travel, and of the picture that comes out."""
    import keras

    layers = [keras.Input((96, 80, 3)), keras.layers.Conv2D(8, 3, padding="same"), keras.layers.Conv2D(4, 1)]
    model = keras.Sequential(layers)
    model.save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras"), "--golden", "2"]) == 0
    text = next(p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props if p.key == KEY)
    assert len(text) < 15_000
    status, found = lines(tmp_path / "m.onnx", capsys)
    assert (status, len(found)) == (0, 4)
    sample = Golden.from_json(text).samples[1]
    picture = np.resize(np.array(sample.values[0].values, np.float32), (1, 96, 80, 3))
    expected = np.asarray(model(picture)).ravel()[:: sample.step]
    np.testing.assert_allclose(sample.outputs, expected, atol=1e-5 * np.abs(expected).max())
    assert len(sample.outputs) > 200


def test_codes_that_can_not_be_repeated_do_not_travel(tmp_path):
    """The first columns have codes that the last ones, which would repeat them, have no rows for."""
    import keras

    codes = keras.Input((300,), dtype="int32", name="codes")
    many = keras.layers.Embedding(500, 2)(codes[:, :200])
    few = keras.layers.Embedding(3, 2)(codes[:, 200:])
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Concatenate(axis=1)([many, few])))
    keras.Model(codes, outputs).save(tmp_path / "m.keras")
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.integers(400, 500, (4, 200)), rng.integers(0, 3, (4, 100))], 1).astype(np.int32)
    np.savez(tmp_path / "rows.npz", codes=rows)
    assert main(["export", str(tmp_path / "m.keras"), "--data", str(tmp_path / "rows.npz")]) == 0
    assert KEY not in Session(tmp_path / "m.onnx").metadata


def test_several_inputs_and_outputs_are_proved_as_well(tmp_path, capsys):
    import keras

    a, b = keras.Input((3,), name="a"), keras.Input((None,), name="b", dtype="int32")
    words = keras.layers.GRU(4)(keras.layers.Embedding(9, 2)(b))
    joined = keras.layers.Concatenate()([a, words])
    outputs = [keras.layers.Dense(2, name="first")(joined), keras.layers.Dense(1, name="second")(words)]
    model = keras.Model([a, b], outputs)
    model.save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras"), "--golden", "2"]) == 0
    status, found = lines(tmp_path / "m.onnx", capsys)
    assert status == 0
    stages = [f"ok      golden {i} {stage}" for i in (0, 1) for stage in ("tensor", "output")]
    assert [line.split(":")[0] for line in found] == stages
    text = next(p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props if p.key == KEY)
    for sample in Golden.from_json(text).samples:
        given = [np.array(v.values, v.dtype).reshape(1, *v.shape) for v in sample.values]
        expected = np.concatenate([np.asarray(y)[0] for y in model(given)])
        np.testing.assert_allclose(sample.outputs, expected, atol=1e-5)

    assert main(["info", str(tmp_path / "m.onnx"), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in info["inputs"]] == ["a", "b"]
    assert [p["name"] for p in info["outputs"]] == ["first", "second"]
    assert main(["predict", "--model", str(tmp_path / "m.onnx"), "x.png"]) == 2
    assert "the model has 2 inputs and 2 outputs" in capsys.readouterr().err


def test_text_is_proved_as_well(tmp_path, capsys):
    """As in a table of animals: a kind in words beside an age."""
    import keras

    kind, age = keras.Input((1,), name="kind", dtype="string"), keras.Input((1,), name="age")
    kinds = keras.layers.StringLookup(vocabulary=["cat", "Großmaul"], output_mode="one_hot")(kind)
    joined = keras.layers.Concatenate()([kinds, keras.layers.Normalization(mean=3.0, variance=4.0)(age)])
    model = keras.Model({"kind": kind, "age": age}, keras.layers.Dense(2)(joined))
    model.save(tmp_path / "m.keras")
    rows = {"kind": np.array([["Großmaul"], ["fish"]]), "age": np.array([[2.0], [7.5]], np.float32)}
    np.savez(tmp_path / "rows.npz", **rows)
    command = ["export", str(tmp_path / "m.keras"), "--data", str(tmp_path / "rows.npz"), "--golden", "2"]
    assert main(command) == 0
    status, found = lines(tmp_path / "m.onnx", capsys)
    assert status == 0
    assert [line.split(":")[0] for line in found] == [
        f"ok      golden {i} {stage}" for i in (0, 1) for stage in ("tensor", "output")
    ]
    session = Session(tmp_path / "m.onnx", several=True)
    samples = Golden.from_json(session.metadata[KEY]).samples
    assert [v.values for v in samples[0].values] == [(2.0,), ("Großmaul",)]
    given = {name: keras.ops.convert_to_tensor(a) for name, a in rows.items()}
    expected = np.asarray(model(given))
    np.testing.assert_allclose(np.stack([s.outputs for s in samples]), expected, atol=1e-5)
    got = session.run_all([rows[p.name].astype(object if p.name == "kind" else "f4") for p in session.inputs])
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def test_tensors_of_other_types_are_not_stored(tmp_path, capsys):
    import keras

    inputs = keras.Input((3,), dtype="uint16")
    keras.Model(inputs, keras.layers.Dense(2)(keras.ops.cast(inputs, "float32"))).save(tmp_path / "m.keras")
    assert main(["export", str(tmp_path / "m.keras")]) == 0
    assert KEY not in Session(tmp_path / "m.onnx").metadata
    assert lines(tmp_path / "m.onnx", capsys) == (0, [])


@pytest.mark.parametrize(
    "change",
    [{"dtype": "O"}, {"shape": [1]}, {"shape": [-1, -2]}, {"values": ["a", "b"]}, {"values": []}, {"shape": [2**25]}],
)
def test_tensors_that_can_not_be_are_refused(change):
    sample = Sample(None, None, None, "", (1.0,), (Values((1.0, 2.0), (2,)),))
    data = json.loads(Golden((sample,), 1e-5).to_json())
    assert Golden.from_json(json.dumps(data)).samples == (sample,)
    data["samples"][0]["inputs"][0] |= change
    with pytest.raises(ModelError, match="golden samples can't be read"):
        Golden.from_json(json.dumps(data))
