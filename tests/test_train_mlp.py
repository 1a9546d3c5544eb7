"""`edgecnn train mlp` from a CSV to a stamped file."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgecnn import Predictor
from edgecnn.cli import guard, main
from edgecnn.export.stamp import read_stamp
from edgecnn.table import to_rows
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
    assert train(tmp_path, path, "--epochs", 25, "--learning-rate", 0.02) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'm.keras'}\n"
    assert "epoch 25/25" in err
    spec = read_stamp(tmp_path / "m.keras")
    assert (spec.head, spec.labels) == (head, labels)
    assert (spec.table.fields, spec.table.target, spec.table.header) == (("a", "b", "c", "y"), "y", True)
    assert [c.kind for c in spec.table.inputs] == ["number"] * 3
    model = keras.models.load_model(tmp_path / "m.keras")
    report = json.loads((tmp_path / "m.report.json").read_text())
    assert report["validation"]["samples"] == 80
    assert ("Predicted and true values" if kind == "regression" else "Confusion") in (
        tmp_path / "m.report.html"
    ).read_text()
    lost = report["importance"]["columns"]
    assert lost["a"] > 0.05 > abs(lost["c"])
    got = model.predict(np.array([[-2, 500, 0.5], [2, 1500, 0.5]], np.float32), verbose=0)
    if kind == "regression":
        assert got[0, 0] < -3 < 5 < got[1, 0]
    else:
        assert got[0, -1] < 0.3 < 0.7 < got[1, -1]


def test_the_same_seed_gives_the_same_weights(tmp_path):
    path = table(tmp_path, rows=60)
    weights = []
    for seed in (3, 3, 4):
        assert train(tmp_path, path, "--epochs", 2, "--seed", seed, "--quiet", "--no-report") == 0
        weights.append(np.concatenate([w.ravel() for w in keras.models.load_model(tmp_path / "m.keras").get_weights()]))
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_split_and_scale_are_scikit_learns_and_held_out_rows_take_no_part(tmp_path):
    """The same rows for the same seed; mean, median and categories by the training rows alone."""
    from sklearn.model_selection import train_test_split

    path = tmp_path / "t.csv"
    rng = np.random.default_rng(1)
    x, city, y = rng.normal(size=60), rng.choice(list("abc"), 60), np.arange(60) % 2
    x[::7] = np.nan
    path.write_text("x,city,y\n" + "".join(f"{a},{c},{t}\n" for a, c, t in zip(x, city, y, strict=True)))
    training, held = train_test_split(np.arange(60), test_size=0.33, random_state=2, stratify=y)
    lines = path.read_text().splitlines()
    for i in held:
        lines[1 + i] = f"1e6,unknown,{y[i]}"
    path.write_text("\n".join(lines))
    assert train(tmp_path, path, "--epochs", 1, "--quiet", "--seed", 2, "--rare", 1, "--no-report") == 0
    table = read_stamp(tmp_path / "m.keras").table
    fill = np.nanmedian(x[training])
    assert table.inputs[0].fill == pytest.approx(fill)
    assert table.inputs[0].indicator
    assert (table.inputs[1].categories, table.inputs[1].unseen) == (("a", "b", "c"), "zeros")
    model = keras.models.load_model(tmp_path / "m.keras")
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    expected = np.where(np.isnan(x[training]), fill, x[training]).astype(np.float32).mean()
    assert float(np.ravel(first.mean)[0]) == pytest.approx(expected, rel=1e-5)


def mixed(tmp_path, rows=200):
    """Numbers with gaps and zeros that are gaps, categories with rare ones; y follows city and x."""
    rng = np.random.default_rng(3)
    x = rng.normal(50, 10, rows).round(2)
    city = rng.choice(["Oslo", "Rome", "Bern"], rows)
    y = np.where((x > 50) ^ (city == "Oslo"), "yes", "no")
    cells = [str(v) if i % 9 else "?" for i, v in enumerate(x)]
    cells = [c if i % 11 else "0" for i, c in enumerate(cells)]
    city[:2] = ["Lima", "Kiev"]
    path = tmp_path / "mixed.csv"
    path.write_text("\n".join(["city;x;y", *map(";".join, zip(city, cells, y, strict=True))]) + "\n")
    return path


def test_categories_and_gaps_go_from_csv_to_a_device_through_one_recipe(tmp_path, capsys):
    """train -> export (calibrated on the CSV) -> predict, info, selftest, predict_table: nothing else is needed."""
    path = mixed(tmp_path)
    assert train(tmp_path, path, "--epochs", 40, "--learning-rate", 0.02, "--missing-zeros", "x", "--no-report") == 0
    onnx = tmp_path / "m.onnx"
    argv = ["export", tmp_path / "m.keras", "--quantize", "int8", "--calibration", path, "--max-drop", "0.05"]
    assert main([*map(str, argv)]) == 0, capsys.readouterr().err
    table = read_stamp(onnx).table
    assert table == read_stamp(tmp_path / "m.keras").table
    assert table.inputs[0].unseen == "other"
    assert (table.inputs[1].missing, table.inputs[1].indicator) == (("0",), True)
    rows = tmp_path / "rows.csv"
    rows.write_text("x,city\n70,Oslo\n70,Rome\n,Rome\nmany,Rome\n0,Quito\n30,Oslo\n")
    capsys.readouterr()
    assert main(["predict", str(rows), "--model", str(onnx), "--format", "jsonl"]) == 1
    out = capsys.readouterr().out
    results = [json.loads(line) for line in out.splitlines()]
    assert [r["row"] for r in results] == list(range(6))
    assert [r.get("label") for r in results[:2]] + [results[5].get("label")] == ["no", "yes", "yes"]
    assert "line 5: column 'x' is 'many', not a number" in results[3]["error"]["message"]
    assert [r.get("missing") for r in results] == [None, None, ["x"], None, ["x"], None]
    assert [r.get("unseen") for r in results] == [None, None, None, None, ["city"], None]
    dicts = [{"x": 70, "city": "Oslo"}, {"x": None, "city": "Rome"}, {"x": float("nan"), "city": "Quito"}]
    scores = [r.score for r in Predictor(onnx).predict_table(dicts)]
    np.testing.assert_allclose(scores, [results[i]["score"] for i in (0, 2, 4)], rtol=1e-6)
    assert main(["info", str(onnx)]) == 0
    assert "x: number; missing or 0 -> " in capsys.readouterr().out
    assert main(["selftest", str(onnx)]) == 0
    assert "golden 2 tensor: exact" in capsys.readouterr().out
    # What Keras says of the rows as encoded is what the device says.
    keras_scores = keras.models.load_model(tmp_path / "m.keras").predict(to_rows(dicts, table), verbose=0)[:, 0]
    assert [r.label for r in Predictor(onnx).predict_table(dicts)] == [
        ("no", "yes")[int(p > 0.5)] for p in keras_scores
    ]


def test_the_notebook_preset_is_the_tutorials_training(tmp_path):
    from edgecnn.train.mlp_options import parse

    _, options = parse(["t.csv", "--preset", "notebook"])
    assert (options.optimizer, options.learning_rate, options.momentum, options.nesterov) == ("sgd", 0.01, 0.9, True)
    assert (options.epochs, options.batch_size, options.validation_split, options.seed) == (150, 10, 0.33, 7)
    assert (options.schedule, options.monitor) == ("constant", "val_loss")
    _, options = parse(["t.csv", "--preset", "notebook", "--optimizer", "adam", "--epochs", "3"])
    assert (options.optimizer, options.learning_rate, options.epochs) == ("adam", 0.001, 3)
    assert train(tmp_path, table(tmp_path, rows=60), "--preset", "notebook", "--epochs", 2, "--no-report") == 0
    model = keras.models.load_model(tmp_path / "m.keras")
    assert [d.units for d in model.layers if isinstance(d, keras.layers.Dense)] == [12, 6, 1]


def test_the_stopping_split_chooses_the_epoch_and_the_held_out_rows_do_not(tmp_path, capsys):
    argv = [table(tmp_path, rows=120), "--epochs", 30, "--learning-rate", 0.3, "--patience", 3]
    assert train(tmp_path, *argv, "--stopping-split", 0.25) == 0
    err = capsys.readouterr().err
    assert "60 rows for training, 40 held out" in err
    report = json.loads((tmp_path / "m.report.json").read_text())
    losses = report["history"]["val_loss"]
    assert report["best_epoch"] == int(np.argmin(losses)) + 1
    assert report["epochs"] < 30
    assert train(tmp_path, *argv) == 0
    report = json.loads((tmp_path / "m.report.json").read_text())
    assert (report["best_epoch"], report["epochs"]) == (30, 30)
    assert train(tmp_path, *argv, "--monitor", "val_loss", "--epochs", 1, "--no-report") == 0
    assert "the held-out rows choose the epoch they measure" in capsys.readouterr().err


def test_a_regression_in_large_units_is_learned(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = 250_000 + 50_000 * (x[:, 0] - x[:, 1])
    path = tmp_path / "t.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in np.column_stack([x, y]).tolist()))
    assert train(tmp_path, path, "--epochs", 30, "--quiet") == 0
    assert json.loads((tmp_path / "m.report.json").read_text())["validation"]["r2"] > 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0\n1,,1\n1,3,\n", "line 3, target 'column 3': '' is no target"),
        ("1,2,0\n1,2,1\n1,2,0\n1,2,1\n", "every column holds one value only"),
        ("1,2,0\n1,2,1\n1,2,0\n", "class '1' has 1 usable sample"),
        ("1,inf,0\n1,2,1\n1,2,0\n1,3,1\n", "line 1: column 'column 2' is inf, not a finite float32 number"),
        ("1,a\n2,b\n3,c\n", "3 classes in 3 rows can't be learned"),
        ("1,a\n2,a\n", "every row has the value 'a'"),
        ("1,2,0\n", "1 row of data"),
        ("", "no rows of data"),
        ("a,a,b\n1,2,0\n1,2,1\n", "the name 'a' twice"),
        ("\x00\x01,2\n", "zero byte"),
        ("1,2\n" + "x" * 5_000_000, "line 2: has more than 4194304 characters; is it a CSV?"),
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


def test_ctrl_c_and_a_full_disk_lose_nothing_and_resume_comes_to_the_same_model(tmp_path, monkeypatch, capsys):
    path = table(tmp_path, rows=120)
    argv = [path, "--epochs", 6, "--seed", 5, "--stopping-split", 0.2, "--no-report"]
    assert train(tmp_path, *argv) == 0
    whole = keras.models.load_model(tmp_path / "m.keras").get_weights()
    before = (tmp_path / "m.keras").read_bytes()

    class CtrlC(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("keras.Model.save", full)
        patch.setattr("edgecnn.train.fit.display", lambda *a, **k: contextlib.nullcontext((0, [CtrlC()])))
        assert train(tmp_path, *argv) == 130
        err = capsys.readouterr().err
        assert (
            "m.keras can't be written: No space left on device; what was saved before is kept; training goes on" in err
        )
        assert "interrupted; nothing was saved yet, --resume goes on" in err
    with monkeypatch.context() as patch:
        patch.setattr("keras.Model.save", full)
        assert train(tmp_path, *argv, "--resume") == 2
        err = capsys.readouterr().err
        assert "going on after epoch 3" in err
        assert err.splitlines()[-1].endswith("No space left on device; what was saved before is kept")
    assert (tmp_path / "m.keras").read_bytes() == before
    assert train(tmp_path, *argv, "--resume") == 0
    again = keras.models.load_model(tmp_path / "m.keras").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
    assert not (tmp_path / "m.resume.npz").exists()


def test_the_report_tells_what_the_answer_depends_on(tmp_path):
    assert train(tmp_path, mixed(tmp_path), "--epochs", 40, "--learning-rate", 0.02, "--quiet") == 0
    report = json.loads((tmp_path / "m.report.json").read_text())
    page = (tmp_path / "m.report.html").read_text()
    assert [c["name"] for c in report["data"]["columns"]] == ["city", "x"]
    assert report["data"]["columns"][1]["missing"] > 10
    assert report["importance"]["metric"] == "ROC AUC"
    assert all(lost > 0.1 for lost in report["importance"]["columns"].values())
    assert 0 <= report["validation"]["ece"] < 0.5
    for title in ("Learning curves", "Confusion matrix", "ROC and precision-recall", "Calibration", "To look at"):
        assert f"<h2>{title}" in page
    assert "category: Bern, Oslo, Rome; any other value is (other)" in page
    assert "src=http" not in page
    assert 'src="http' not in page


@pytest.mark.skipif(not PIMA.exists(), reason="the diabetes CSV is not there")
def test_the_diabetes_csv_trains_well(tmp_path):
    assert train(tmp_path, PIMA, "--quiet") == 0
    numbers = json.loads((tmp_path / "m.report.json").read_text())["validation"]
    assert numbers["samples"] == 254
    assert numbers["accuracy"] >= 0.755
    assert numbers["roc_auc"] >= 0.82
