import numpy as np
import pytest

from edgecnn import SourceError, TableError, TableSpec
from edgecnn.table import read_records, to_rows

NAMED = TableSpec(fields=("a", "b", "y"), target="y", header=True)
BARE = TableSpec(fields=("column 1", "column 2", "column 3"), target="column 3")


def read(tmp_path, text, spec=BARE):
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [r if isinstance(r, TableError) else r.values.tolist() for r in read_records(path, spec)]


@pytest.mark.parametrize("spec", [NAMED, BARE])
@pytest.mark.parametrize("text", ["1,2,0\n3,4,1\n", "1,2\n3,4", "1,2,0\r\n\r\n3,4,1\r\n", "\ufeff 1, 2\n3 ,4\n"])
def test_takes_rows_with_and_without_the_target(tmp_path, spec, text):
    assert read(tmp_path, text, spec) == [[1, 2], [3, 4]]


def test_takes_columns_by_name_in_any_order(tmp_path):
    assert read(tmp_path, "id,b,a\nx,2,1\n", NAMED) == [[1, 2]]


def test_gives_the_target_where_the_file_has_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("y,b,a\n yes ,2,1\n")
    assert [r.target for r in read_records(path, NAMED)] == ["yes"]
    path.write_text("1,2\n3,4,no\n")
    assert [r.target for r in read_records(path, BARE)] == [None, "no"]


def test_skips_a_header_where_training_had_none(tmp_path):
    assert read(tmp_path, "first,second\n1,2\n") == [[1, 2]]


def test_bad_rows_are_errors_in_their_place(tmp_path):
    text = "1,2\n1,red\n1,\n1,2,3,4\n1,nan\n1e39,2\n5,6\n"
    rows = read(tmp_path, text)
    assert rows[0] == [1, 2]
    assert rows[-1] == [5, 6]
    messages = [str(r) for r in rows[1:-1]]
    for line, message in zip(
        range(2, 7),
        ("'column 2' is 'red', not a number", "'column 2' is empty", "4 columns, but the model takes 2 (or 3",
         "nan, not a finite", "not a finite float32"), strict=True
    ):  # fmt: skip
        assert f"line {line}: " in messages[line - 2]
        assert message in messages[line - 2]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", SourceError, "no rows of data"),
        ("a,b\n", SourceError, "no rows of data"),
        (b"\xff\xfe1,2\n", TableError, "can't be read as CSV"),
        ("1," + "9" * 200_000 + "\n", TableError, "can't be read as CSV"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read(tmp_path, text)


def test_a_header_without_the_columns_names_the_missing_one(tmp_path):
    with pytest.raises(TableError, match="no column 'b'; the model needs a, b"):
        read(tmp_path, "a,c\n1,2\n", NAMED)


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match="no such file") as caught:
        list(read_records(tmp_path / "none.csv", BARE))
    assert caught.value.code == "missing_file"


def test_rows_of_the_caller():
    expected = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(to_rows([[1, 2], [3, 4]], NAMED), expected)
    np.testing.assert_array_equal(to_rows([{"b": 2, "a": "1", "y": 0}, {"a": 3, "b": 4}], NAMED), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1, 2], r"shape \(2,\), expected \(n, 2\): a, b"),
        ([[1, 2, 3]], r"shape \(1, 3\)"),
        ([["x", 2]], "can't be read as numbers"),
        ([[1, np.nan]], "row 0: column 'b' is nan"),
        ([{"a": 1}], "row 0 lacks the column 'b'"),
        ([{"a": 1, "b": None}], "row 0: column 'b' is empty"),
        ([{"a": 1, "b": 2}, [1, 2]], "row 1 is a list"),
    ],
)
def test_bad_rows_of_the_caller(rows, message):
    with pytest.raises(TableError, match=message):
        to_rows(rows, NAMED)
