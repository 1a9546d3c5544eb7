"""The rules of the columns are learned from the training rows: what is rare, what is missing, what comes later."""

import numpy as np
import pytest

from edgecnn.errors import TableError
from edgecnn.train.columns import MOST_CATEGORIES, Rules, encode_table, make_spec
from edgecnn.train.tables import Reading, read_table


def read(tmp_path, rows, **how):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,c,y", *(f"{x},{c},{i % 2}" for i, (x, c) in enumerate(rows))]) + "\n")
    return read_table(path, Reading(**how))


def test_rare_categories_share_the_input_of_those_that_come_later(tmp_path):
    table = read(tmp_path, [(1, c) for c in "aaabbbccd"] + [(1, "e")])
    spec = make_spec(table, np.arange(9), Rules())
    assert (spec.inputs[1].categories, spec.inputs[1].unseen) == (("a", "b"), "other")
    np.testing.assert_array_equal(encode_table(table, spec)[6:, 1:], [[0, 0, 1]] * 4)
    spec = make_spec(table, np.arange(9), Rules(rare=1))
    assert (spec.inputs[1].categories, spec.inputs[1].unseen) == (("a", "b", "c", "d"), "zeros")
    np.testing.assert_array_equal(encode_table(table, spec)[9, 1:], np.zeros(4))


def test_refused_are_only_categories_that_the_file_lacks(tmp_path):
    table = read(tmp_path, [(1, c) for c in "aaab"])
    spec = make_spec(table, np.arange(3), Rules(unseen="refuse"))
    assert (spec.inputs[1].categories, spec.inputs[1].unseen) == (("a", "b"), "error")
    assert encode_table(table, spec).shape == (4, 3)


def test_a_column_of_ids_takes_no_more_than_a_bounded_number_of_inputs(tmp_path):
    table = read(tmp_path, [(1, f"u{i // 3}") for i in range(3000)])
    assert make_spec(table, np.arange(3000), Rules()).width == 1 + MOST_CATEGORIES + 1
    assert make_spec(table, np.arange(0, 3000, 3), Rules()).width == 2


def test_median_and_indicator_are_those_of_the_training_rows(tmp_path):
    table = read(tmp_path, [(1, "a"), (3, "a"), ("", "a"), (5, "a"), (1e6, ""), ("", "a")])
    (x, c) = make_spec(table, np.array([0, 1, 2, 3]), Rules()).inputs
    assert (x.fill, x.indicator, c.categories) == (3, True, ("a",))
    (x, _) = make_spec(table, np.array([0, 1, 3, 4]), Rules()).inputs
    assert (x.fill, x.indicator) == (4, False)
    assert not make_spec(table, np.arange(6), Rules(missing_indicator=False)).inputs[0].indicator


def test_a_missing_category_where_that_is_refused_is_named_with_its_line(tmp_path):
    table = read(tmp_path, [(1, "a"), (2, ""), (3, "b"), (4, "a")], missing="refuse")
    with pytest.raises(TableError, match=r"t\.csv, line 3: column 'c' is empty"):
        encode_table(table, make_spec(table, np.arange(4), Rules()))
