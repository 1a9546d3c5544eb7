"""Delimiter and header of a CSV are told from the file as the csv module's own Sniffer tells them, and better."""

import csv

import pytest

from edgecnn import TableError
from edgecnn.cells import is_header, read_cells, sniff


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def cells(path, delimiter=","):
    return [row for lines in read_cells(path, delimiter) for _, row in lines]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " ", ":"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_is_sniffed(tmp_path, delimiter, end):
    path = write(tmp_path, end.join(delimiter.join(row) for row in ("abc", "123", "456")) + end, "utf-8-sig")
    found, rows = sniff(path)
    assert found == delimiter == csv.Sniffer().sniff(path.read_text("utf-8-sig"), ",;\t| :").delimiter
    assert rows == cells(path, found) == [list("abc"), list("123"), list("456")]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("3,14;2,5;1\n0,5;1,5;0\n", ";"),
        ("3,14;2,5;1,0\n0,5;1,5;0,1\n", ";"),
        ('"a;b",1,2\n"c;d",3,4\n', ","),
        ('"a,b"|1\n"c,d"|2\n', "|"),
        ("12:30,5\n12:40,6\n", ","),
        ("New York,5\nOslo,6\n", ","),
        ("1\n2\n", ","),
        ("a,b\n1,2,3\n4,5\n", ","),
    ],
)
def test_the_delimiter_is_what_leaves_the_cells_whole(tmp_path, text, delimiter):
    assert sniff(write(tmp_path, text))[0] == delimiter


def test_quoted_cells_hold_delimiters_quotes_and_line_ends(tmp_path):
    path = write(tmp_path, 'name,x\n"a, ""b""\r\nc", 1\n\n , \n"", "2"\n')
    assert cells(path) == [["name", "x"], ['a, "b"\r\nc', "1"], ["", "2"]]
    assert [number for lines in read_cells(path, ",") for number, _ in lines] == [1, 3, 6]


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ([["a", "b"], ["1", "2"]], True),
        ([["", "b"], ["1", "2"]], True),
        ([["1", "2"], ["3", "4"]], False),
        ([["a", "2"], ["b", "4"]], False),
        ([["color", "size"], ["red", "big"], ["red", "small"]], True),
        ([["red", "big"], ["blue", "small"], ["red", "small"]], False),
        ([["", ""], ["1", "2"]], False),
        ([["c", "x"], ["c", "1"], ["d", "2"]], True),
        ([["c", "?"], ["c", "1"], ["d", "2"]], False),
    ],
)
def test_the_header_is_told_from_what_stands_below(rows, header):
    assert is_header(rows[0], rows[1:]) is header


@pytest.mark.parametrize("damage", ["3,\0\n", "3," + "4" * 5_000_000, '3,"' + "4" * 200_000])
def test_the_lines_before_a_damaged_one_come_first(tmp_path, damage):
    path = tmp_path / "table.csv"
    path.write_text("1,2\n2,3\n" + damage)
    blocks = read_cells(path, ",")
    assert next(blocks) == [(1, ["1", "2"]), (2, ["2", "3"])]
    with pytest.raises(TableError, match="can't be read as CSV"):
        next(blocks)
