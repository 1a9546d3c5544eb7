import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from PIL import Image

import edgecnn
from edgecnn import ImageError, ModelError, ModelSpec, PixelSpec, Predictor, SourceError

RED = np.full((20, 30, 3), (250, 5, 5), np.uint8)


def test_a_path_bytes_and_an_array_give_the_same(image_model, photos):
    path = photos / "red" / "one.png"
    p = Predictor(image_model)
    from_path = p.predict(path)
    assert (from_path.label, from_path.index, from_path.source) == ("red", 0, str(path))
    assert from_path.score == pytest.approx(1, abs=1e-3)
    assert from_path.scores.shape == (3,)
    assert from_path.scores.dtype == np.float32
    assert set(from_path.ms) == {"decode", "preprocess", "inference"}
    for other in (path.read_bytes(), edgecnn.decode(path)):
        np.testing.assert_array_equal(p.predict(other).scores, from_path.scores)


def test_bgr_frames(image_model):
    p = Predictor(image_model)
    assert p.predict(RED[..., ::-1].copy(), color="bgr").label == "red"
    assert p.predict(RED[..., ::-1].copy()).label == "blue"


def test_a_batch_keeps_its_order(image_model, photos):
    paths = [photos / "blue" / "one.bmp", photos / "red" / "one.png", photos / "green" / "one.jpg"]
    p = Predictor(image_model)
    results = p.predict_batch(paths)
    assert [r.label for r in results] == ["blue", "red", "green"]
    for path, result in zip(paths, results, strict=True):
        np.testing.assert_allclose(p.predict(path).scores, result.scores, atol=1e-6)
    assert p.predict_batch([]) == []


def test_top(image_model):
    result = Predictor(image_model).predict(RED)
    assert [t[0] for t in result.top(2)] == ["red", "green"]
    assert len(result.top(99)) == 3
    assert result.top(1) == [(result.label, result.index, result.score)]


def test_without_labels_the_index_is_the_label(tmp_path, make_color_model):
    spec = ModelSpec(pixels=PixelSpec(height=8, width=8))
    p = Predictor(make_color_model(tmp_path / "m.onnx", spec=spec))
    assert p.predict(RED).label == "0"


def test_nchw_and_a_fixed_batch_of_one(tmp_path, make_color_model):
    nchw = Predictor(make_color_model(tmp_path / "nchw.onnx", layout="nchw"))
    assert nchw.predict(RED).label == "red"
    fixed = Predictor(make_color_model(tmp_path / "fixed.onnx", batch=1))
    assert [r.label for r in fixed.predict_batch([RED, RED[..., ::-1].copy()])] == ["red", "blue"]


def test_a_table(rows_model):
    p = Predictor(rows_model)
    yes, no = p.predict_table([{"a": 3, "b": 1, "c": 0}, {"c": 9, "a": 0, "b": 0}])
    assert (yes.label, yes.row, no.label, no.row) == ("yes", 0, "no", 1)
    assert yes.scores.sum() == pytest.approx(1)
    assert yes.score == pytest.approx(1 / (1 + np.exp(-5)), rel=1e-5)


def test_a_regression(regression_model):
    (result,) = Predictor(regression_model).predict_table(np.array([[1, 2, 3]]))
    assert result.value == 2.0


def test_logits_become_probabilities(tmp_path, make_model):
    path = make_model(
        tmp_path / "logits.onnx",
        [("ReduceMean", ["image", "axes"], ["logits"], {"keepdims": 0})],
        [("image", "float32", ["batch", 4, 4, 3])],
        [("logits", ["batch", 3])],
        [("axes", np.array([1, 2], np.int64))],
        ModelSpec(pixels=PixelSpec(height=4, width=4, scale=1 / 25), head="logits"),
    )
    scores = Predictor(path).predict(RED).scores
    expected = np.exp([10, 0.2, 0.2]) / np.exp([10, 0.2, 0.2]).sum()
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_a_model_without_a_recipe_asks_for_it(tmp_path, make_color_model):
    path = make_color_model(tmp_path / "m.onnx", spec=None)
    p = Predictor(path)
    with pytest.raises(ModelError, match=r"carries no recipe.*--preset"):
        p.predict(RED)
    assert Predictor(path, pixels=PixelSpec(height=8, width=8, scale=1 / 255)).predict(RED).index == 0


def test_a_model_of_sequences_is_no_classifier_of_images(tmp_path):
    path = tmp_path / "m.onnx"
    graph = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> m (float[batch, 7, 2] x) => (float[batch, 7, 2] y) { y = Relu (x) }'
    )
    onnx.save(graph, path)
    with pytest.raises(ModelError, match=r"takes a tensor\(float\) \(batch, 7, 2\), which is neither an image nor"):
        Predictor(path).predict(RED)


def test_the_kinds_of_input_are_not_mixed_up(image_model, rows_model):
    with pytest.raises(ModelError, match="takes images, not table rows"):
        Predictor(image_model).predict_table([[1, 2, 3]])
    with pytest.raises(ModelError, match="takes table rows, not images"):
        Predictor(rows_model).predict(RED)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec(pixels=PixelSpec(height=9, width=8)), r"gives inputs of \(9, 8, 3\), the graph takes \(8, 8, 3\)"),
        (ModelSpec(pixels=PixelSpec(height=8, width=8, dtype="uint8")), "gives uint8, the graph takes tensor"),
        (ModelSpec(pixels=PixelSpec(height=8, width=8), labels=("a", "b")), "2 labels, the graph gives 3 scores"),
        ("nonsense", "not valid JSON"),
    ],
)
def test_a_recipe_that_contradicts_the_graph_is_refused_at_load(tmp_path, make_color_model, spec, message):
    with pytest.raises(ModelError, match=message):
        Predictor(make_color_model(tmp_path / "m.onnx", spec=spec))


def test_bad_images_are_value_errors(image_model, tmp_path):
    p = Predictor(image_model)
    (tmp_path / "text.jpg").write_text("no image")
    for bad in (tmp_path / "text.jpg", b"", np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(ImageError) as caught:
            p.predict(bad)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(SourceError, match="no such file"):
        p.predict(tmp_path / "none.png")


def test_pickles_by_path(image_model, monkeypatch, tmp_path):
    monkeypatch.chdir(image_model.parent)
    p = Predictor(image_model.name, device="cpu", threads=1)
    data = pickle.dumps(p)
    assert len(data) < 2000
    monkeypatch.chdir(tmp_path.parent)
    assert pickle.loads(data).predict(RED).label == "red"


def test_threads_share_a_predictor(image_model, photos):
    p = Predictor(image_model, threads=1)
    paths = sorted(photos.rglob("*.*")) * 20
    expected = [r.scores for r in map(p.predict, paths)]
    with ThreadPoolExecutor(8) as pool:
        for result, scores in zip(pool.map(p.predict, paths), expected, strict=True):
            np.testing.assert_array_equal(result.scores, scores)


def test_threads_predict_the_same_of_jpegs_of_all_sizes(image_model, tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.jpg" for i in range(24)]
    for path in paths:
        height, width = rng.integers(20, 400, 2)
        Image.fromarray(np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)).save(path)
    p = Predictor(image_model)
    images = [edgecnn.decode(path) for path in paths]
    for got, expected in zip(p.predict_batch(paths), p.predict_batch(images), strict=True):
        np.testing.assert_array_equal(got.scores, expected.scores)
    with ThreadPoolExecutor(4) as pool:
        for got, expected in zip(pool.map(p.predict, paths), map(p.predict, images), strict=True):
            np.testing.assert_array_equal(got.scores, expected.scores)


def test_streams_a_video(image_model, video):
    results = list(Predictor(image_model).stream(video))
    assert [r.label for r in results] == ["red"] * 4 + ["green"] * 4 + ["blue"] * 4
    assert [r.frame for r in results] == list(range(12))
    assert results[0].image.shape == (24, 32, 3)
    assert len(list(Predictor(image_model).stream(video, max_frames=5))) == 5


def test_streams_what_is_not_there(image_model):
    with pytest.raises(SourceError, match="can't be opened"):
        next(Predictor(image_model).stream(97))
    with pytest.raises(SourceError, match="no such file"):
        next(Predictor(image_model).stream("none.mp4"))


def test_the_default_model(image_model, monkeypatch, tmp_path):
    monkeypatch.delenv("EDGECNN_MODEL", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert Predictor().path.name == "digits.onnx"
    image_model.rename(tmp_path / "empty" / "model.onnx")
    assert Predictor().spec.labels == ("red", "green", "blue")
    monkeypatch.setenv("EDGECNN_MODEL", "named.onnx")
    with pytest.raises(ModelError, match=r"named\.onnx: no such model file"):
        Predictor()
