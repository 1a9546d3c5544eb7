"""Reading a CSV for training: what is told from it, and one clear line for what can't be used."""

import numpy as np
import pytest

from edgecnn.errors import InputError, SourceError, TableError
from edgecnn.train.tables import Reading, find_columns, read_table


def write(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def read(tmp_path, text, **how):
    return read_table(write(tmp_path, text), Reading(**how))


def numbers(table):
    return np.stack([c.cells for c in table.columns], axis=1).tolist()


def test_without_a_header_columns_are_numbered_and_the_last_is_the_target(tmp_path):
    table = read(tmp_path, "1,2.5,0\n3,4,1\n\n5,6,1\n")
    assert table.fields == ("column 1", "column 2", "column 3")
    assert (table.target, table.header, table.delimiter) == ("column 3", False, ",")
    assert numbers(table) == [[1, 2.5], [3, 4], [5, 6]]
    assert table.lines.tolist() == [1, 2, 4]
    assert (table.task, table.head, table.labels) == ("binary", "sigmoid", ("0", "1"))
    assert table.targets.tolist() == [0, 1, 1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("given", [True, False])
def test_the_delimiter_is_sniffed_or_given(tmp_path, delimiter, given):
    text = "a,b,c\n1,2,x\n3,4,y\n5,6,y\n".replace(",", delimiter)
    table = read(tmp_path, text, delimiter=delimiter if given else None)
    assert table.delimiter == delimiter
    assert table.fields == ("a", "b", "c")
    assert table.labels == ("x", "y")


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quoted_cells_byte_order_mark_and_line_ends(tmp_path, start, end):
    table = read(tmp_path, start + end.join(['"a, b",c,y', '1,"x ""1""",0', '2,"z, y",1', '3,"z, y",1', ""]))
    assert table.fields == ("a, b", "c", "y")
    assert table.columns[1].cells == ['x "1"', "z, y", "z, y"]


def test_numbers_are_told_from_categories_or_named(tmp_path):
    text = "n,c,z,y\n1,red,0150,0\n2,blue,0151,1\n?,red,0150,0\n"
    kinds = {c.name: c.kind for c in read(tmp_path, text).columns}
    assert kinds == {"n": "number", "c": "category", "z": "number"}
    table = read(tmp_path, text, categorical=("3",), ignore=("c",))
    assert {c.name: c.kind for c in table.columns} == {"n": "number", "z": "category"}
    assert table.columns[1].cells == ["0150", "0151", "0150"]
    with pytest.raises(TableError, match="line 2: column 'c' is 'red', not a number"):
        read(tmp_path, text, numeric=("c",))


def test_columns_go_by_name_position_and_range():
    names = ["a", "b", "2-3", "d"]
    assert find_columns(["d", "1-2", "-1", "2-3"], names, "--x") == [3, 0, 1, 2]
    for wrong in ("e", "5", "0", "2-9", "-5", ""):
        with pytest.raises(InputError, match="--x: no column"):
            find_columns([wrong], names, "--x")


def test_missing_values_are_all_that_mean_missing(tmp_path):
    words = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", " ", "-999", "0", "5"]
    text = "x,c,y\n" + "".join(f"{w},{w},{i % 2}\n" for i, w in enumerate(words))
    table = read(tmp_path, text, missing_values=("-999",), missing_zeros=("x",), categorical=("c",))
    x, c = table.columns
    assert np.isnan(x.cells).tolist() == [True] * 10 + [False] * 3
    assert x.missing(table.missing).tolist() == [True] * 10 + [False, True, False]
    assert c.missing(table.missing).tolist() == [True] * 11 + [False] * 2
    with pytest.raises(TableError, match="line 2: column 'x' is empty; fill it in"):
        read(tmp_path, text, missing="refuse", ignore=("c",))


@pytest.mark.parametrize(("target", "name"), [("a", "a"), ("1", "a"), ("-2", "b"), ("3", "c"), (None, "c")])
def test_the_target_goes_by_name_or_position(tmp_path, target, name):
    table = read(tmp_path, "a,b,c\n1,2,3\n4,5,6\n4,5,6\n1,2,3\n", target=target)
    assert table.target == name
    assert name not in [c.name for c in table.columns]
    assert table.labels == {"a": ("1", "4"), "b": ("2", "5"), "c": ("3", "6")}[name]


@pytest.mark.parametrize(
    ("targets", "task", "labels"),
    [
        (["10", "9", "2"] * 2, "multiclass", ("2", "9", "10")),
        (["b", "None", "c"] * 2, "multiclass", ("None", "b", "c")),
        (["1.0", "1", "0"], "binary", ("0", "1.0")),
        (["0.5", "1.5", "2"], "regression", None),
        ([str(i) for i in range(30)], "regression", None),
    ],
)
def test_the_task_is_told_from_the_targets(tmp_path, targets, task, labels):
    table = read(tmp_path, "".join(f"{i},{t}\n" for i, t in enumerate(targets)))
    assert (table.task, table.labels) == (task, labels)


def test_the_task_can_be_stated(tmp_path):
    text = "1,10\n2,20\n3,30\n"
    table = read(tmp_path, text, task="regression")
    assert table.targets.tolist() == [10, 20, 30]
    assert table.head == "regression"
    with pytest.raises(TableError, match="3 different values, but --task binary needs 2"):
        read(tmp_path, text, task="binary")
    with pytest.raises(TableError, match="3 classes in 3 rows can't be learned; perhaps --task regression"):
        read(tmp_path, text)
    with pytest.raises(TableError, match="line 2, target 'column 2': is 'x', not a number; a regression needs numbers"):
        read(tmp_path, "1,10\n2,x\n3,30\n", task="regression")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0\n" * 9 + "3,many,1\n", r"t\.csv, line 10: column 'column 2' is 'many', not a number, but 9 others are"),
        ("x;y\n1,5;0\n2,5;1\n", r"line 2: column 'x' is '1,5', not a number; write the decimal comma as a point: 1.5"),
        ("1,2,0\n3,4\n5,6,1\n", r"line 2: 2 cells, but the first line has 3"),
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
    with pytest.raises(InputError, match="--target: no column 'd'; give a position from 1 to 3 or one of a, b, c"):
        read(tmp_path, "a,b,c\n1,2,0\n3,4,1\n", target="d")


def test_missing_empty_and_binary_files(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="no rows of data"):
        read_table(write(tmp_path, "\n\n"))
    (tmp_path / "b.csv").write_bytes(b"\xff\xd8\xff\xe0\x00\x01,2\n")
    with pytest.raises(TableError, match="can't be read as CSV"):
        read_table(tmp_path / "b.csv")
