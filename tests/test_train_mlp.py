"""`edgecnn train mlp` from a CSV to a stamped file."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgecnn.cli import guard
from edgecnn.export.stamp import read_stamp
from edgecnn.train import mlp

keras = pytest.importorskip("keras")

PIMA = Path(__file__).parents[2] / "shared/data/pima-indians-diabetes.csv"


def table(tmp_path, rows=240, kind="binary"):
    """Three columns of very different scale; the target follows the first two."""
    rng = np.random.default_rng(5)
    x = rng.normal((0, 1000, 0.5), (1, 300, 0.1), (rows, 3))
    score = x[:, 0] + (x[:, 1] - 1000) / 300
    y = {
        "binary": (score > 0).astype(int),
        "multiclass": np.array(["low", "mid", "top"])[np.digitize(score, (-0.7, 0.7))],
        "regression": np.round(3 * score + 1, 3),
    }[kind]
    lines = [",".join(map(str, (*np.round(row, 4), target))) for row, target in zip(x, y, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b,c,y", *lines]) + "\n")
    return path


def train(tmp_path, *args):
    return guard(mlp.main, [*map(str, args), "-o", str(tmp_path / "m.keras")])


@pytest.mark.parametrize(("kind", "head", "labels"), [
    ("binary", "sigmoid", ("0", "1")), ("multiclass", "softmax", ("low", "mid", "top")),
    ("regression", "regression", None),
])  # fmt: skip
def test_a_csv_becomes_a_stamped_model_that_learned(tmp_path, capsys, kind, head, labels):
    path = table(tmp_path, kind=kind)
    assert train(tmp_path, path, "--epochs", 25, "--learning-rate", 0.01) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'm.keras'}\n"
    assert "epoch 25/25" in err
    spec = read_stamp(tmp_path / "m.keras")
    assert (spec.head, spec.labels) == (head, labels)
    assert (spec.table.fields, spec.table.target, spec.table.header) == (("a", "b", "c", "y"), "y", True)
    model = keras.models.load_model(tmp_path / "m.keras")
    report = json.loads((tmp_path / "m.report.json").read_text())
    assert report["validation"]["samples"] == 80
    assert "<img" in (tmp_path / "m.report.html").read_text()
    got = model.predict(np.array([[-2, 500, 0.5], [2, 1500, 0.5]], np.float32), verbose=0)
    if kind == "regression":
        assert got[0, 0] < -3 < 5 < got[1, 0]
    else:
        assert got[0, -1] < 0.3 < 0.7 < got[1, -1]


def test_the_same_seed_gives_the_same_weights(tmp_path):
    path = table(tmp_path, rows=60)
    weights = []
    for seed in (3, 3, 4):
        assert train(tmp_path, path, "--epochs", 2, "--seed", seed, "--quiet") == 0
        weights.append(np.concatenate([w.ravel() for w in keras.models.load_model(tmp_path / "m.keras").get_weights()]))
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_columns_are_standardised_by_the_training_rows_alone(tmp_path):
    from edgecnn.train.split import split
    from edgecnn.train.tables import read_table

    path = table(tmp_path, rows=60)
    assert train(tmp_path, path, "--epochs", 1, "--quiet", "--seed", 2) == 0
    model = keras.models.load_model(tmp_path / "m.keras")
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    rows = read_table(path)
    chosen, _ = split(rows.targets, rows.labels, 0.33, 2)
    np.testing.assert_allclose(np.ravel(first.mean), rows.rows[chosen].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0\n1,x,1\n", "line 2, column 'column 2': 'x' is no number"),
        ("1,2,0\n1,,1\n", "line 2, column 'column 2': the cell is empty"),
        ("1,2,0\n1,2,1\n1,2,0\n1,2,1\n", "every column holds one value only"),
        ("1,2,0\n1,2,1\n1,2,0\n", "class '1' has 1 usable sample"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert train(tmp_path, path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_wrong_usage_is_status_2(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        mlp.main([str(table(tmp_path)), "--epochs", "none"])


@pytest.mark.skipif(not PIMA.exists(), reason="the diabetes CSV is not there")
def test_the_diabetes_csv_trains_well(tmp_path, capsys):
    assert train(tmp_path, PIMA, "--seed", 7, "--quiet", "--epochs", 60) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert float(line.split("val accuracy ")[1].split(",")[0]) >= 0.74
