import numpy as np
import pytest

from edgecnn import ColumnSpec, SourceError, TableError, TableSpec
from edgecnn.blocks import read_blocks
from edgecnn.table import encode_rows, to_rows

NAMED = TableSpec(fields=("a", "b", "y"), target="y", header=True)
BARE = TableSpec(fields=("column 1", "column 2", "column 3"), target="column 3")


def read(tmp_path, text, spec=BARE):
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [
        block.failures.get(i) or block.values[i].tolist()
        for block in read_blocks(path, spec)
        for i in range(len(block.lines))
    ]


@pytest.mark.parametrize("spec", [NAMED, BARE])
@pytest.mark.parametrize("text", ["1,2,0\n3,4,1\n", "1,2\n3,4", "1,2,0\r\n\r\n3,4,1\r\n", "\ufeff 1, 2\n3 ,4\n"])
def test_takes_rows_with_and_without_the_target(tmp_path, spec, text):
    assert read(tmp_path, text, spec) == [[1, 2], [3, 4]]


def test_takes_columns_by_name_in_any_order(tmp_path):
    assert read(tmp_path, "id,b,a\nx,2,1\n", NAMED) == [[1, 2]]


def test_gives_the_target_where_the_file_has_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("y,b,a\n yes ,2,1\n")
    (block,) = read_blocks(path, NAMED)
    assert (block.target(0), block.cells(0)) == ("yes", ("1", "2"))
    path.write_text("1,2\n3,4,no\n")
    (block,) = read_blocks(path, BARE)
    assert [block.target(i) for i in (0, 1)] == [None, "no"]


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
        ("'column 2' is 'red', not a number", "'column 2' is empty", "4 cells, but the model takes 2 (or 3",
         "nan, not a finite", "not a finite float32"), strict=True
    ):  # fmt: skip
        assert f"line {line}: " in messages[line - 2]
        assert message in messages[line - 2]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", SourceError, "no rows of data"),
        ("a,b\n", SourceError, "no rows of data"),
        (b"\xff\xfe1,2\n", TableError, "can't be read as CSV: byte 0xff at its start is not UTF-8"),
        (b"1,2\n\x00\x01", TableError, "line 2 holds a zero byte"),
        ("1," + "9" * 200_000 + "\n", TableError, "a cell at its start has more than 131072 characters"),
        ('1,2\n1,"2\n' + "3,4\n" * 50_000, TableError, "a cell after line 1 .* is a quote left open"),
        ("1," * 3_000_000, TableError, "line 1: has more than 4194304 characters"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read(tmp_path, text)


def test_a_header_without_the_columns_names_the_missing_one(tmp_path):
    with pytest.raises(TableError, match="no column 'b'; the model needs a, b, the header has a, c"):
        read(tmp_path, "a,c\n1,2\n", NAMED)
    with pytest.raises(TableError, match="has the name 'a' twice"):
        read(tmp_path, "a,b,a\n1,2,3\n", NAMED)


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match="no such file") as caught:
        list(read_blocks(tmp_path / "none.csv", BARE))
    assert caught.value.code == "missing_file"


def test_rows_of_the_caller():
    expected = np.array([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(to_rows([[1, 2], [3, 4]], NAMED), expected)
    np.testing.assert_array_equal(to_rows([{"b": 2, "a": "1", "y": 0}, {"a": 3, "b": 4}], NAMED), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([1, 2], "row 0 is 1, expected 2: a, b"),
        (np.array([1, 2]), r"shape \(2,\), expected \(n, 2\): a, b"),
        ([[1, 2, 3]], "row 0 has 3 cells, expected 2: a, b"),
        ([["x", 2]], "row 0: column 'a' is 'x', not a number"),
        ([[1, np.nan]], "row 0: column 'b' is nan"),
        ([{"a": 1}], "row 0 lacks the column 'b'"),
        ([{"a": 1, "b": None}], "row 0: column 'b' is empty"),
        ([{"a": 1, "b": 2}, [1, 2]], "row 1 is a list"),
        ({"a": 1, "b": 2}, r"column 'a' must be a list of cells, got 1; of a single row pass \[row\]"),
        ({"a": "red", "b": "big"}, "column 'a' must be a list of cells, got 'red'"),
        ({"a": [1], "b": [[2]]}, r"column 'b' must be a list of cells, got \[\[2\]\]"),
    ],
)
def test_bad_rows_of_the_caller(rows, message):
    with pytest.raises(TableError, match=message):
        to_rows(rows, NAMED)


MIXED = TableSpec(
    fields=("age", "id", "city", "color", "y"),
    target="y",
    header=True,
    inputs=(
        ColumnSpec(name="age", fill=40, indicator=True, missing=("0",)),
        ColumnSpec(name="city", kind="category", categories=("", "Oslo", "1"), unseen="other"),
        ColumnSpec(name="color", kind="category", categories=("red", "blue")),
    ),
    missing=("", "na", "?", "nan", "none"),
)


def test_names_and_width_of_the_inputs():
    assert [name for c in MIXED.recipes for name in c.inputs] == [
        "age", "age is missing", "city = (missing)", "city = Oslo", "city = 1", "city = (other)", "color = red",
        "color = blue",
    ]  # fmt: skip
    assert (MIXED.width, MIXED.columns) == (8, ("age", "city", "color"))


ENCODED = [
    (("30", "Oslo", "red"), [30, 0, 0, 1, 0, 0, 1, 0]),
    (("", " NA ", "blue"), [40, 1, 1, 0, 0, 0, 0, 1]),
    (("0.0", "Rome", "?"), [40, 1, 0, 0, 0, 1, 0, 0]),
    (("nan", "1.0", "green"), [40, 1, 0, 0, 1, 0, 0, 0]),
]
"""Cells of age, city and color, and what MIXED makes of them."""


def test_categories_and_gaps_by_the_recipe_from_every_kind_of_rows(tmp_path):
    expected = np.array([values for _, values in ENCODED], np.float32)
    rows = [cells for cells, _ in ENCODED]
    np.testing.assert_array_equal(to_rows(rows, MIXED), expected)
    np.testing.assert_array_equal(to_rows(np.array(rows, object), MIXED), expected)
    dicts = [dict(zip(MIXED.columns, cells, strict=True)) for cells in rows]
    np.testing.assert_array_equal(to_rows(dicts, MIXED), expected)
    np.testing.assert_array_equal(to_rows({c: [d[c] for d in dicts] for c in MIXED.columns}, MIXED), expected)
    values = [
        {"age": 30, "city": "Oslo", "color": "red"},
        {"age": None, "city": None, "color": "blue"},
        {"age": np.float64(0), "city": "Rome", "color": float("nan")},
        {"age": np.nan, "city": 1, "color": "green"},
    ]
    np.testing.assert_array_equal(to_rows(values, MIXED), expected)
    lines = "\n".join(f"{age},7,{city},{color},yes" for age, city, color in rows)
    for header in ("age,id,city,color,y\n", ""):
        assert read(tmp_path, header + lines, MIXED) == expected.tolist()
    swapped = "\n".join(f"{color};{city};{age}" for age, city, color in rows)
    assert read(tmp_path, "color;city;age\n" + swapped, MIXED) == expected.tolist()


def test_missing_cells_and_unknown_categories_are_told(tmp_path):
    rows = [cells for cells, _ in ENCODED]
    encoded = encode_rows(rows, MIXED)
    assert encoded.missing == {1: ("age", "city"), 2: ("age", "color"), 3: ("age",)}
    assert encoded.unseen == {2: ("city",), 3: ("color",)}
    (tmp_path / "t.csv").write_text("age,city,color\n" + "\n".join(map(",".join, rows)) + "\n30,Oslo\n")
    (block,) = read_blocks(tmp_path / "t.csv", MIXED)
    assert (block.missing, block.unseen, list(block.failures)) == (encoded.missing, encoded.unseen, [4])


def test_one_hot_and_median_are_those_of_scikit_learn():
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    numbers = np.where(rng.random((50, 1)) < 0.3, np.nan, rng.normal(size=(50, 1)))
    cities = rng.choice(["Oslo", "Rome", "Bern"], (50, 1))
    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(numbers)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(cities)
    spec = TableSpec(
        fields=("x", "city"),
        inputs=(
            ColumnSpec(name="x", fill=imputer.statistics_[0], indicator=True),
            ColumnSpec(name="city", kind="category", categories=tuple(encoder.categories_[0])),
        ),
        missing=("nan",),
    )
    cities[0] = "Paris"
    expected = np.hstack([imputer.transform(numbers), encoder.transform(cities)])
    rows = [[x, city] for (x,), (city,) in zip(numbers, cities, strict=True)]
    np.testing.assert_array_equal(to_rows(rows, spec), expected.astype(np.float32))


def test_what_a_recipe_refuses_is_named():
    strict = TableSpec(
        fields=("x", "c"),
        inputs=(ColumnSpec(name="x"), ColumnSpec(name="c", kind="category", categories=("a", "b"), unseen="error")),
    )
    for row, message in (
        ([None, "a"], "column 'x' is empty"),
        (["3,5", "a"], "column 'x' is '3,5', not a number; write the decimal comma as a point: 3.5"),
        ([1, "d"], "column 'c' is 'd', but the model knows 'a', 'b'"),
        ([1, None], "column 'c' is empty"),
    ):
        with pytest.raises(TableError, match=message):
            to_rows([row], strict)


def test_a_header_is_told_from_rows_of_categories(tmp_path):
    spec = TableSpec(
        fields=("c", "d"),
        header=True,
        inputs=tuple(ColumnSpec(name=n, kind="category", categories=("red", "blue")) for n in "cd"),
    )
    assert read(tmp_path, "red,green\nblue,blue\n", spec) == [[1, 0, 0, 0], [0, 1, 0, 1]]
    named = TableSpec(
        fields=("x", "red"), inputs=(ColumnSpec(name="x"), ColumnSpec(name="red", kind="category", categories=("red",)))
    )
    assert read(tmp_path, "1,red\n2,blue\n", named) == [[1, 1], [2, 0]]
    with pytest.raises(TableError, match="the header has no column 'c'; the model needs c, d, the header has e, f"):
        read(tmp_path, "e,f\nblue,blue\n", spec)


def test_a_large_file_takes_little_memory_and_keeps_its_order(tmp_path):
    import tracemalloc

    path = tmp_path / "large.csv"
    with open(path, "w") as file:
        file.writelines(f"{i},{i % 7},0\n" for i in range(50_000))
    tracemalloc.start()
    seen = 0
    for block in read_blocks(path, BARE):
        assert block.first == seen
        np.testing.assert_array_equal(block.values[:, 0], np.arange(seen, seen + len(block.lines)))
        seen += len(block.lines)
    assert seen == 50_000
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


def test_mutated_files_give_rows_or_one_error(tmp_path):
    """Bytes changed, cut, doubled and inserted: each row is used, or an error, and nothing else comes out."""
    rng = np.random.default_rng(4)
    good = b'age,id,city,color,y\n30,7,Oslo,red,0\n?,8,"Ro,me",blue,1\n1e3,9,,green,0\n' * 3
    alphabet = b",;\t\"'\n\r\0 .-+eE0\xff\xc3\xef\xbb\xbf"
    path = tmp_path / "f.csv"
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(0, len(data) + 1))
            what = bytes(rng.choice(list(alphabet), rng.integers(1, 4)).tolist())
            data[at : at + int(rng.integers(0, 4))] = what
        path.write_bytes(bytes(data[: rng.integers(0, len(data) + 1)] if rng.random() < 0.2 else data))
        try:
            for block in read_blocks(path, MIXED):
                assert np.isfinite(block.values).all()
                assert all(isinstance(e, TableError) for e in block.failures.values())
                for i in range(len(block.lines)):
                    assert i in block.failures or len(block.cells(i)) == 3
        except (TableError, SourceError):
            continue
