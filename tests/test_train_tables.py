"""Reading a CSV for training: what is told from it, and one clear line for what can't be used."""

import numpy as np
import pytest

from edgecnn.errors import SourceError, TableError
from edgecnn.train.tables import read_table


def write(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def test_without_a_header_columns_are_numbered_and_the_last_is_the_target(tmp_path):
    table = read_table(write(tmp_path, "1,2.5,0\n3,4,1\n\n5,6,1\n"))
    assert table.spec.fields == ("column 1", "column 2", "column 3")
    assert (table.spec.target, table.spec.header, table.spec.delimiter) == ("column 3", False, ",")
    assert table.rows.dtype == np.float32
    assert table.rows.tolist() == [[1, 2.5], [3, 4], [5, 6]]
    assert (table.task, table.head, table.labels) == ("binary", "sigmoid", ("0", "1"))
    assert table.targets.tolist() == [0, 1, 1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed(tmp_path, delimiter):
    table = read_table(write(tmp_path, "a,b,c\n1,2,x\n3,4,y\n".replace(",", delimiter)))
    assert table.spec.delimiter == delimiter
    assert table.spec.fields == ("a", "b", "c")
    assert table.labels == ("x", "y")


@pytest.mark.parametrize(("target", "name"), [("a", "a"), ("1", "a"), ("-2", "b"), ("3", "c"), (None, "c")])
def test_the_target_goes_by_name_or_position(tmp_path, target, name):
    table = read_table(write(tmp_path, "a,b,c\n1,2,3\n4,5,6\n"), target=target)
    assert table.spec.target == name
    assert name not in table.spec.columns
    assert table.labels == {"a": ("1", "4"), "b": ("2", "5"), "c": ("3", "6")}[name]


@pytest.mark.parametrize(
    ("targets", "task", "labels"),
    [
        (["10", "9", "2"], "multiclass", ("2", "9", "10")),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        (["1.0", "1", "0"], "binary", ("0", "1.0")),
        (["0.5", "1.5", "2"], "regression", None),
        ([str(i) for i in range(30)], "regression", None),
    ],
)
def test_the_task_is_told_from_the_targets(tmp_path, targets, task, labels):
    table = read_table(write(tmp_path, "".join(f"{i},{t}\n" for i, t in enumerate(targets))))
    assert (table.task, table.labels) == (task, labels)


def test_the_task_can_be_stated(tmp_path):
    path = write(tmp_path, "1,10\n2,20\n3,30\n")
    table = read_table(path, task="regression")
    assert table.targets.tolist() == [10, 20, 30]
    assert table.head == "regression"
    with pytest.raises(TableError, match="3 different values, but --task binary needs 2"):
        read_table(path, task="binary")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0\n3,many,1\n", r"t\.csv, line 2, column 'column 2': 'many' is no number"),
        ("a,b,c\n1,2,0\n\n3,,1\n", r"line 4, column 'b': the cell is empty"),
        ("1,2,0\n3,nan,1\n", r"line 2, column 'column 2': 'nan' is no finite"),
        ("1,2,0\n3,1e39,1\n", r"line 2, .*: '1e39' is no finite float32 number"),
        ("1,2,0\n3,4\n5,6,1\n", r"line 2: 2 cells, but line 1 has 3"),
        ("1,2,0\n3,4,\n", r"line 2, target 'column 3': '' is no target"),
        ("1,2,nan\n3,4,1\n", r"line 1, target 'column 3': 'nan' is no target"),
        ("1,2,1\n3,4,1\n", r"every row has the value '1'"),
        ("1,2,1\n", r"1 row of data"),
        ("a,a,b\n1,2,0\n1,2,1\n", r"the name 'a' twice"),
        ("1\n2\n", r"one column only"),
    ],
)
def test_a_bad_table_is_one_line_with_its_place(tmp_path, text, message):
    with pytest.raises(TableError, match=message) as caught:
        read_table(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_an_unknown_target_names_the_columns(tmp_path):
    with pytest.raises(TableError, match="no column 'd'; give a position from 1 to 3 or one of a, b, c"):
        read_table(write(tmp_path, "a,b,c\n1,2,0\n3,4,1\n"), target="d")


def test_missing_empty_and_binary_files(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="no rows of data"):
        read_table(write(tmp_path, "\n\n"))
    (tmp_path / "b.csv").write_bytes(b"\xff\xd8\xff\xe0\x00\x01,2\n")
    with pytest.raises(TableError, match="can't be read as CSV"):
        read_table(tmp_path / "b.csv")
