"""edgecnn.export.quantize: smaller models that still answer the same, or none."""

from __future__ import annotations

import collections

import keras
import numpy as np
import onnx
import pytest
import tf_keras
from onnx import numpy_helper

from edgecnn import ModelSpec, PixelSpec, VerificationError
from edgecnn.export.convert import convert
from edgecnn.export.load import load
from edgecnn.export.optimize import optimize
from edgecnn.export.proof.quality import measure
from edgecnn.export.proof.samples import Samples
from edgecnn.export.quantize import quantize
from edgecnn.export.verify import open_session, run_samples

L = keras.layers
SPEC = ModelSpec(pixels=PixelSpec(height=16, width=16, scale=1 / 255), labels=("dark", "light"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(Source, optimised model, Samples): a CNN that tells dark from light images."""
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(5)
    classes = np.arange(200) % 2
    images = rng.uniform(0, 0.5, (200, 16, 16, 3)).astype(np.float32) + 0.25 * classes[:, None, None, None]
    images = images.astype(np.float32)
    model = keras.Sequential(
        [
            L.Input((16, 16, 3), name="image"),
            L.Conv2D(16, 3, padding="same", use_bias=False),
            L.BatchNormalization(momentum=0.8),
            L.ReLU(),
            L.MaxPooling2D(),
            L.Conv2D(32, 3, activation="relu"),
            L.GlobalAveragePooling2D(),
            L.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, classes, epochs=15, verbose=0)
    path = tmp_path_factory.mktemp("quantize") / "m.keras"
    model.save(path)
    source = load(path)
    return source, optimize(convert(source)), Samples([images], classes, "a test")


def small(trained, kind, max_drop=0.01):
    source, model, samples = trained
    return quantize(model, kind, source=source, spec=SPEC, calibration=samples, judge=samples, max_drop=max_drop)


def test_the_test_model_has_learnt(trained):
    source, model, samples = trained
    (scores,) = run_samples(open_session(model.SerializeToString()), source, samples)
    assert (scores.argmax(-1) == samples.classes).mean() > 0.95


def test_int8(trained):
    source, model, samples = trained
    result = small(trained, "int8")
    assert len(result.model) < 0.65 * len(model.SerializeToString())
    assert result.quality.drop <= 0.01
    assert result.quality.accuracy_after > 0.94
    (after,) = run_samples(open_session(result.model), source, samples)
    (before,) = run_samples(open_session(model.SerializeToString()), source, samples)
    assert 0 < np.abs(after - before).max() < 0.2, "int8 must change the scores, and not by much"
    assert result.quality.max_abs_diff == pytest.approx(np.abs(after - before).max(), rel=1e-5)


def test_int8_weights_are_symmetric_per_channel_and_seven_bits(trained):
    graph = onnx.ModelProto.FromString(small(trained, "int8").model).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    weights = [n for n in graph.node if n.op_type == "DequantizeLinear" and constants.get(n.input[0]) is not None]
    weights = [n for n in weights if constants[n.input[0]].dtype == np.int8]
    assert len(weights) == 3
    for node in weights:
        values, scales, zeros = (constants[name] for name in node.input)
        assert len(np.atleast_1d(scales)) in values.shape, "one scale a channel"
        assert not zeros.any()
        assert np.abs(values.astype(int)).max() <= 64
    operators = collections.Counter(n.op_type for n in graph.node)
    assert operators["Softmax"] == 1


def test_int8_keeps_names_and_the_free_batch(trained):
    _, model, _ = trained
    graph = onnx.ModelProto.FromString(small(trained, "int8").model).graph
    assert [v.name for v in graph.input] == [v.name for v in model.graph.input]
    assert [v.name for v in graph.output] == [v.name for v in model.graph.output]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_fp16(trained):
    _, model, _ = trained
    result = small(trained, "fp16")
    assert len(result.model) < 0.75 * len(model.SerializeToString())
    assert result.quality.top1_agreement > 0.99
    graph = onnx.ModelProto.FromString(result.model).graph
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


def test_what_loses_too_much_is_refused_with_the_figures(trained):
    with pytest.raises(VerificationError, match=r"int8 loses more than --max-drop -1 on 200 samples: \S+ with"):
        small(trained, "int8", max_drop=-1)


def test_measure_counts_right_answers_where_the_classes_are_known():
    before = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]], np.float32)
    after = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.6, 0.4]], np.float32)
    inputs = np.zeros((4, 1), np.float32)
    known = measure([before], [after], SPEC, Samples([inputs], np.array([0, 1, 1, 1]), ""))
    assert (known.accuracy_before, known.accuracy_after, known.drop) == (0.5, 0.5, 0)
    assert known.top1_agreement == 0.5
    assert measure([before], [after], SPEC, Samples([inputs], None, "")).drop == 0.5


def test_measure_of_a_regression_is_the_variance_lost():
    before = np.array([[0.0], [2.0], [4.0]], np.float32)
    quality = measure([before], [before + 1], ModelSpec(head="regression"), Samples([before], None, ""))
    assert quality.drop == pytest.approx(1 / np.var(before))
    assert quality.top1_agreement is None


def test_measure_refuses_new_nans():
    before = np.ones((2, 2), np.float32)
    with pytest.raises(VerificationError, match="NaN"):
        measure([before], [before * np.nan], SPEC, Samples([before], None, ""))


def test_the_output_that_loses_most_counts():
    scores = np.eye(4, dtype=np.float32)
    worse = scores[[1, 0, 2, 3]]
    values = np.arange(4, dtype=np.float32)[:, None]
    samples = Samples([scores], np.arange(4), "")
    assert measure([scores, values], [scores, values], SPEC, samples).drop == 0
    assert measure([scores, scores], [scores, worse], SPEC, samples).drop == 0.5
    assert measure([scores, values], [scores, values + 1], SPEC, samples).drop == pytest.approx(0.8)
    with pytest.raises(VerificationError, match="NaN"):
        measure([scores, values], [scores, values * np.nan], SPEC, samples)


def test_sizes_may_be_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = keras.Input((None,), dtype="int32")
    x = L.Embedding(50, 16)(codes)
    x = L.LayerNormalization()(x + L.MultiHeadAttention(2, 8)(x, x))
    keras.Model(codes, L.Dense(3)(L.GlobalAveragePooling1D()(x))).save("m.keras")
    source = load("m.keras")
    samples = Samples([np.random.default_rng(6).integers(0, 50, (40, 12)).astype(np.int32)], None, "a test")
    quantize(
        optimize(convert(source)), "int8", source=source, spec=ModelSpec(head="logits"), calibration=samples,
        judge=samples, max_drop=0.3,
    )  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]


def test_half_precision_inside_loops_and_behind_free_sizes(tmp_path):
    image = tf_keras.layers.Input((None, None, 3))
    x = tf_keras.layers.Resizing(6, 6)(tf_keras.layers.Conv2D(4, 3)(image))
    sequence = tf_keras.layers.Input((4, 6, 6, 2))
    y = tf_keras.layers.ConvLSTM2D(4, 3, padding="same")(sequence)  # with a hard_sigmoid of Min and Max
    tf_keras.Model([image, sequence], tf_keras.layers.Add()([x, y])).save(tmp_path / "m.keras")
    source = load(tmp_path / "m.keras")
    rng = np.random.default_rng(7)
    samples = Samples([rng.random((5, 9, 8, 3), np.float32), rng.random((5, 4, 6, 6, 2), np.float32)], None, "a test")
    quantize(
        optimize(convert(source)), "fp16", source=source, spec=ModelSpec(head="regression"), calibration=samples,
        judge=samples, max_drop=0.001,
    )  # fmt: skip
