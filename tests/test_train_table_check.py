"""The check of a table finds columns that tell nothing, everything or the row, gaps, copies, and rare classes."""

import numpy as np
import pytest

from edgecnn.cli import guard
from edgecnn.train import mlp
from edgecnn.train.columns import Rules, encode_table, make_spec
from edgecnn.train.table_check import check_table
from edgecnn.train.tables import Reading, read_table

ROWS = 60


def check(tmp_path, names, columns, training=None, weighted=False, **how):
    """The TableCheck of columns of cells; the last 20 rows are held out."""
    path = tmp_path / "t.csv"
    path.write_text("\n".join([names, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n")
    table = read_table(path, Reading(header=True, **how))
    training = np.arange(40) if training is None else training
    held = np.setdiff1d(np.arange(len(table)), training)
    recipe = make_spec(table, training, Rules())
    return check_table(table, recipe, encode_table(table, recipe), training, held, weighted=weighted)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def clean(rng):
    return rng.normal(size=ROWS).round(4)


def target():
    return np.arange(ROWS) % 2


def test_clean_data_has_no_findings(tmp_path, clean):
    found = check(tmp_path, "x,y", [clean, target()])
    assert found.findings == []
    assert (found.rows, found.target) == (ROWS, {"name": "y", "task": "binary", "0": 30, "1": 30})
    assert found.columns[0] == pytest.approx(
        {"name": "x", "kind": "number", "missing": 0, "different": len(set(clean)), "min": clean.min(),
         "median": np.median(clean), "max": clean.max()}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (lambda r: [7] * ROWS, "column 'c' has the one value 7: it tells nothing"),
        (lambda r: ["red"] * ROWS, "column 'c' has the one value 'red': it tells nothing"),
        (lambda r: [""] * ROWS, "column 'c' has no values at all"),
        (lambda r: ["5.5", *["?"] * 49, *r.normal(size=10)], "column 'c': 49 of 60 values are missing"),
        (lambda r: np.arange(100, 100 + ROWS), "column 'c' has another value in every row, like an id"),
        (lambda r: [f"u{i}" for i in range(ROWS)], "column 'c' has another value in every row, like an id"),
        (lambda r: [f"u{i % 35}" for i in range(ROWS)], "column 'c' has 35 categories in 60 rows, like an id"),
        (lambda r: 10 * target() + r.random(ROWS), "column 'c' alone decides the target"),
        (lambda r: np.where(target(), "t", "f"), "column 'c' alone decides the target"),
        (lambda r: np.where(r.random(ROWS) < 0.2, 0, r.integers(60, 100, ROWS)), "column 'c' is 0 in 1"),
    ],
)
def test_a_column_that_would_spoil_the_result_is_named(tmp_path, rng, clean, column, message):
    found = check(tmp_path, "x,c,y", [clean, column(rng), target()]).findings
    assert len(found) == 1
    assert message in found[0]


def test_zeros_that_are_said_to_be_missing_or_belong_there_are_no_finding(tmp_path, rng, clean):
    apart = np.where(rng.random(ROWS) < 0.2, 0, rng.integers(60, 100, ROWS))
    near = rng.integers(0, 30, ROWS)
    assert check(tmp_path, "x,c,d,y", [clean, apart, near, target()], missing_zeros=("c",)).findings == []


def test_a_column_that_is_the_target_of_a_regression(tmp_path, clean):
    (line,) = check(tmp_path, "x,c,y", [clean[::-1], 2 * clean + 1, clean]).findings
    assert "'c' alone decides the target" in line


def test_copies_across_the_split_and_rows_that_contradict_each_other(tmp_path, clean):
    x = clean.copy()
    x[50], x[51] = x[0], x[2]
    y = target()
    y[50], y[51] = 1 - y[0], y[2]
    found = check(tmp_path, "x,y", [x, y]).findings
    assert "the same row in training and held-out rows, 2 times" in found
    assert "rows that are equal but for the target, 1 time: no model can tell them apart" in found


def test_rare_and_unequal_classes_are_named(tmp_path, clean):
    y = np.where(np.arange(ROWS) % 30 == 0, "a", "b")
    lines = check(tmp_path, "x,y", [clean, y]).findings
    assert any("class 'a' has only 2 samples" in line for line in lines)
    assert any("consider --class-weight balanced" in line for line in lines)
    assert not any("consider" in line for line in check(tmp_path, "x,y", [clean, y], weighted=True).findings)


def test_check_only_shows_the_columns_and_trains_nothing(tmp_path, clean, capsys):
    check(tmp_path, "x,c,y", [clean, [7] * ROWS, target()])
    path = tmp_path / "t.csv"
    assert guard(mlp.main, [str(path), "-o", str(tmp_path / "m.keras"), "--check-only"]) == 1
    out, err = capsys.readouterr()
    assert "60 rows, 2 columns; 1 finding\n" in out
    assert "target: name y, task binary, 0 30, 1 30" in out
    assert "check: column 'c' has the one value 7" in err
    assert guard(mlp.main, [str(path), "-o", str(tmp_path / "m.keras"), "--check-only", "--ignore", "c"]) == 0
    assert not (tmp_path / "m.keras").exists()
