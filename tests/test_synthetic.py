"""edgecnn.export.proof.synthetic: made-up inputs reach what the model was trained on."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
import tf_keras
from onnx import numpy_helper

from edgecnn import ModelSpec, PixelSpec, VerificationError
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.proof.synthetic import byte_pictures, of_other_lengths, random_inputs
from edgecnn.export.verify import verify

L = keras.layers


def saved(tmp_path, *layers):
    keras.Sequential(layers).save(tmp_path / "m.keras")
    return load(tmp_path / "m.keras")


@pytest.mark.parametrize("kind", ["Normalization", "BatchNormalization"])
def test_a_layer_that_normalises_tells_what_its_input_was(kind, tmp_path):
    normalization = kind == "Normalization"
    layer = L.Normalization(mean=[1e4, -50.0], variance=[100.0, 4.0]) if normalization else L.BatchNormalization()
    model = keras.Sequential([L.Input((2,)), layer, L.Dense(2)])
    if not normalization:
        layer.set_weights([*layer.get_weights()[:2], np.array([1e4, -50]), np.array([100, 4])])
    source = saved(tmp_path, L.Input((2,)), *model.layers)
    *_, (drawn,) = random_inputs(source, ModelSpec())
    assert np.abs((drawn - [1e4, -50]) / [10, 2]).max() < 5
    assert drawn.shape == (3, 2)


def test_statistics_of_virtual_batches_have_a_dimension_more_than_the_input(tmp_path):
    layer = tf_keras.layers.BatchNormalization(virtual_batch_size=2, input_shape=(2,))
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(2)])
    mean, variance = np.full((1, 1, 2), 1e4), np.full((1, 1, 2), 100)
    layer.set_weights([*layer.get_weights()[:2], mean, variance])
    model.save(tmp_path / "m.keras")
    *_, (drawn,) = random_inputs(load(tmp_path / "m.keras"), ModelSpec())
    assert np.abs((drawn - 1e4) / 10).max() < 5
    assert drawn.shape == (3, 2)


def test_a_size_of_which_nothing_is_left_is_none(tmp_path):
    """Keras makes no error of it, but an empty tensor, of which the mean is no number."""
    strides = [L.Conv2D(2, 5, strides=2) if i else L.ZeroPadding2D(2) for i in range(2)]
    source = saved(tmp_path, L.Input((None, None, 3)), L.AveragePooling2D(6), *strides, L.GlobalAveragePooling2D())
    for batch in random_inputs(source, ModelSpec()):
        assert np.isfinite(source(batch)[0]).all()


def test_pictures_of_no_known_recipe_are_bytes_too(tmp_path):
    """What scales inside, as trained on bytes, shows nothing of its weights on 0..1."""
    quiet = L.Dense(4, activation="relu", bias_initializer=keras.initializers.Constant(-20), name="quiet")
    source = saved(tmp_path, L.Input((4, 4, 3)), L.Flatten(), quiet, L.Dense(2))
    model = convert(source)
    like = random_inputs(source, ModelSpec())[2]
    known = ModelSpec(pixels=PixelSpec(height=4, width=4, scale=1 / 255))
    assert byte_pictures(source, known, like) is None
    assert byte_pictures(source, ModelSpec(), like)[0].max() > 200
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    (weight,) = [t for t in changed.graph.initializer if list(t.dims) == [48, 4]]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.1), weight.name))
    verify(changed.SerializeToString(), source, spec=known)
    with pytest.raises(VerificationError, match="differs from Keras"):
        verify(changed.SerializeToString(), source, spec=ModelSpec())


def parsed(text):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}').SerializeToString()


@pytest.mark.parametrize(("divisor", "right"), [("length", True), ("seven", False)])
def test_a_graph_that_holds_the_length_it_was_proved_with_is_refused(divisor, right, tmp_path):
    source = saved(tmp_path, L.Input((None, 3), name="x"), L.GlobalAveragePooling1D(name="output"))
    graph = parsed(f"""g (float[N,T,3] x) => (float[N,3] output)
        <int64[1] axis = {{1}}, float seven = {{7.0}}> {{
        sum = ReduceSum<keepdims=0>(x, axis)
        count = Shape<start=1, end=2>(x)
        length = Cast<to=1>(count)
        output = Div(sum, {divisor})
    }}""")
    if right:
        verify(graph, source, spec=ModelSpec())
    else:
        with pytest.raises(VerificationError, match="on longer inputs"):
            verify(graph, source, spec=ModelSpec())


def test_a_graph_that_takes_the_length_of_another_input_is_refused(tmp_path):
    a, b = L.Input((None, 3), name="a"), L.Input((None, 3), name="b")
    both = L.Concatenate(name="output")([L.GlobalAveragePooling1D()(a), L.GlobalAveragePooling1D()(b)])
    keras.Model([a, b], both).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    verify(convert(source).SerializeToString(), source, spec=ModelSpec())
    graph = parsed("""g (float[N,T,3] a, float[N,U,3] b) => (float[N,6] output) <int64[1] axis = {1}> {
        sum_a = ReduceSum<keepdims=0>(a, axis)
        sum_b = ReduceSum<keepdims=0>(b, axis)
        count = Shape<start=1, end=2>(a)
        length = Cast<to=1>(count)
        mean_a = Div(sum_a, length)
        mean_b = Div(sum_b, length)
        output = Concat<axis=1>(mean_a, mean_b)
    }""")
    with pytest.raises(VerificationError, match="on longer inputs"):
        verify(graph, source, spec=ModelSpec())


def test_lengths_that_keras_refuses_are_left_out(tmp_path):
    """Of two inputs that must be as long as each other; and of one that can only be as it is."""
    a, b = L.Input((None, 3), name="a"), L.Input((None, 3), name="b")
    keras.Model([a, b], L.Add(name="output")([a, b])).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    like = random_inputs(source, ModelSpec())[2]
    assert [x.shape for x in of_other_lengths(source, like)] == [(1, 14, 3)] * 2
    source = saved(tmp_path, L.Input((None, 3)), L.Reshape((21,)), L.Dense(2))
    assert of_other_lengths(source, random_inputs(source, ModelSpec())[2]) is None
    source = saved(tmp_path, L.Input((7, 3)), L.Flatten())
    assert of_other_lengths(source, random_inputs(source, ModelSpec())[2]) is None


def test_every_row_of_an_embedding_is_looked_up(tmp_path):
    source = saved(tmp_path, L.Input((9,)), L.Embedding(1500, 4), L.GlobalAveragePooling1D(), L.Dense(2))
    met = np.concatenate([batch[0].ravel() for batch in random_inputs(source, ModelSpec())])
    assert set(met.tolist()) == set(range(1500))
    changed = convert(source)
    (table,) = [t for t in changed.graph.initializer if list(t.dims) == [1500, 4]]
    rows = numpy_helper.to_array(table).copy()
    rows[1234] += 1
    table.CopyFrom(numpy_helper.from_array(rows, table.name))
    with pytest.raises(VerificationError, match="differs from Keras"):
        verify(changed.SerializeToString(), source, spec=ModelSpec())


def test_of_very_many_rows_some_are_looked_up(tmp_path):
    source = saved(tmp_path, L.Input((2,)), L.Embedding(100_000, 2), L.Flatten())
    assert max(len(batch[0]) for batch in random_inputs(source, ModelSpec())) == 256
