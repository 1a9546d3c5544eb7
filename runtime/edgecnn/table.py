"""Cells of rows -> float32 rows as the model takes them, by its TableSpec.

Training, calibration, verification and prediction all encode rows here, a column at a time.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .cells import not_a_number
from .errors import TableError
from .spec import LARGEST, ColumnSpec, TableSpec

Cells = Sequence[Any] | npt.NDArray[Any]
"""The cells of one column: text, numbers or None."""

_WHOLE = re.compile(r"(-?\d+)\.0+")
"""A whole number with a point: programs write a column of 1, 2 and a gap as 1.0, 2.0 and a gap."""

_MEMO = 2**16
"""Different texts of a category column that are remembered."""

Columns = Mapping[int, tuple[str, ...]]
"""Names of columns by the number of a row; only rows that have any."""

_NONE, _ERROR = -1, -2
"""Codes of a category cell that gives zeros in all inputs, and of one that can't be used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as the model takes them, and what it does not see in them."""

    values: npt.NDArray[np.float32]
    """(rows, TableSpec.width); zeros in the rows that failed."""
    failures: Mapping[int, str]
    """What is wrong with a row, by its number."""
    missing: Columns
    """Columns whose cell is missing: the recipe's median, or what it has for a missing category, stands there."""
    unseen: Columns
    """Columns whose category is none of the recipe's: rare in training, or not there at all."""


def encode(columns: Sequence[Cells], rows: int, spec: TableSpec) -> Encoded:
    """Cells, column by column, as the model's input.

    Args:
        columns: the cells of each of spec.columns.
        rows: how many each has.
        spec: the model's table recipe.
    """
    values = np.zeros((rows, spec.width), np.float32)
    failures: dict[int, str] = {}
    missing: dict[int, tuple[str, ...]] = {}
    unseen: dict[int, tuple[str, ...]] = {}
    start = 0
    for cells, column in zip(columns, spec.recipes, strict=True):
        out = values[:, start : start + column.width]
        fill = _encode_numbers if column.kind == "number" else _encode_categories
        bad, absent, strange = fill(cells, column, spec.missing, out)
        for i, message in bad.items():
            failures.setdefault(i, f"column {column.name!r} {message}")
        for where, found in ((missing, absent), (unseen, strange)):
            for i in found:
                where[i] = (*where.get(i, ()), column.name)
        start += column.width
    values[list(failures)] = 0
    return Encoded(values, failures, missing, unseen)


_Found = tuple[dict[int, str], list[int], list[int]]
"""Of one column: what is wrong with a row, the rows that miss the cell, and those with an unknown category."""


def _encode_numbers(cells: Cells, column: ColumnSpec, words: tuple[str, ...], out: npt.NDArray[np.float32]) -> _Found:
    values, failures = to_numbers(cells, words)
    for cell in column.missing:
        values[values == float(cell)] = np.nan
    missing = np.isnan(values)
    if column.fill is not None and words:
        values[missing] = column.fill
        missing[list(failures)] = False
    usable = np.abs(values) <= LARGEST
    for i in np.flatnonzero(~usable).tolist():
        if missing[i] and words:
            failures.setdefault(i, "is missing; fill it in or leave the row out")
        failures.setdefault(i, f"is {values[i]}, not a finite float32 number")
    out[usable, 0] = values[usable]
    if column.indicator:
        out[:, 1] = missing
    return failures, np.flatnonzero(missing & usable).tolist(), []


def to_numbers(cells: Cells, words: tuple[str, ...]) -> tuple[npt.NDArray[np.float64], dict[int, str]]:
    """Cells as numbers.

    Args:
        cells: text, numbers or None.
        words: cells that mean a missing value, as in TableSpec.missing.

    Returns:
        (n,) float64, NaN where a value is missing or unusable; and why it is unusable, by position.
    """
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "biuf":
        return cells.astype(np.float64), {}
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells)), {}
    except (TypeError, ValueError, OverflowError):
        pass
    values, failures = np.full(len(cells), np.nan), {}
    for i, cell in enumerate(cells):
        try:
            values[i] = float(cell)
        except (TypeError, ValueError, OverflowError):
            text = "" if cell is None else str(cell).strip()
            if not words and not text:
                failures[i] = "is empty; fill it in or leave the row out"
            elif cell is not None and text.lower() not in words:
                failures[i] = f"is {not_a_number(cell)}"
    return values, failures


def _encode_categories(
    cells: Cells, column: ColumnSpec, words: tuple[str, ...], out: npt.NDArray[np.float32]
) -> _Found:
    codes = _codes(cells, column, words)
    failures = {}
    for i in np.flatnonzero(codes == _ERROR).tolist():
        text = category(cells[i])
        known = ", ".join(repr(c) for c in column.categories[:5]) + (" ..." if len(column.categories) > 5 else "")
        failures[i] = f"is {text!r:.40}, but the model knows {known}" if text else "is empty; fill it in"
    chosen = np.flatnonzero(codes >= 0)
    out[chosen, codes[chosen]] = 1
    # Those of a known category, most of them, need no second look.
    blank = column.categories.index("") if "" in column.categories else _ERROR
    odd = np.flatnonzero((codes == _NONE) | (codes == len(column.categories)) | (codes == blank) & (codes != _ERROR))
    absent = [i for i in odd.tolist() if is_missing(category(cells[i]), words, column.missing)]
    return failures, absent, sorted(set(odd.tolist()) - set(absent))


def _codes(cells: Cells, column: ColumnSpec, words: tuple[str, ...]) -> npt.NDArray[np.int64]:
    known = _known(column, words)
    codes = [known.get(cell) if type(cell) is str else None for cell in cells]
    for i, code in enumerate(codes):
        if code is None:
            codes[i] = _code(cells[i], column, words)
            if type(cells[i]) is str and len(known) < _MEMO:
                known[cells[i]] = codes[i]
    return np.array(codes, np.int64)


@functools.lru_cache(maxsize=1024)
def _known(column: ColumnSpec, words: tuple[str, ...]) -> dict[str, int | None]:
    """Code by the text of a cell; starts with the categories and takes in what is looked up."""
    return {c: i for i, c in enumerate(column.categories) if c and not is_missing(c, words, column.missing)}


def _code(cell: object, column: ColumnSpec, words: tuple[str, ...]) -> int:
    text = category(cell)
    if is_missing(text, words, column.missing):
        text = ""
    elif not text:
        return _ERROR
    if text in column.categories:
        return column.categories.index(text)
    return {"zeros": _NONE, "other": len(column.categories), "error": _ERROR}[column.unseen]


def category(cell: object) -> str:
    """The category that a cell of a row names: text without blanks around it, whole numbers without a point.

    None and NaN give the empty text.
    """
    if isinstance(cell, np.generic):
        cell = cell.item()
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    text = str(cell).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def is_missing(text: str, words: tuple[str, ...], others: tuple[str, ...] = ()) -> bool:
    """Whether the text of a category cell means a missing value."""
    return text.lower() in words or text in others


def to_rows(rows: Any, spec: TableSpec) -> npt.NDArray[np.float32]:
    """Rows of the caller, as encode_rows takes them, as the model's input: (n, spec.width) float32."""
    return encode_rows(rows, spec).values


def encode_rows(rows: Any, spec: TableSpec) -> Encoded:
    """Rows of the caller as the model's input, none of them failed.

    Args:
        rows: an (n, columns) array or a list of rows, cells in the order of spec.columns; or a list of mappings by
            column name, or one mapping of name -> n cells, such as a DataFrame (other names are ignored). Cells are
            numbers, text, or None and NaN where missing.
        spec: the model's table recipe.

    Raises:
        TableError: a column is missing, the width is wrong, or a cell can't be used.
    """
    columns = _columns(rows, spec)
    count = len(columns[0])
    encoded = encode(columns, count, spec)
    if encoded.failures:
        first = min(encoded.failures)
        raise TableError(f"row {first}: {encoded.failures[first]}")
    return encoded


def _columns(rows: Any, spec: TableSpec) -> list[Cells]:
    names = spec.columns
    if hasattr(rows, "keys"):
        absent = next((c for c in names if c not in rows), None)
        if absent is not None:
            raise TableError(f"the rows lack the column {absent!r}; the model needs {listed(names)}")
        for c in names:
            if np.ndim(rows[c]) != 1:
                got = f"{rows[c]!r:.40}"
                raise TableError(f"column {c!r} must be a list of cells, got {got}; of a single row pass [row]")
        columns: list[Cells] = [_plain(rows[c]) for c in names]
        if len({len(c) for c in columns}) > 1:
            raise TableError(f"the columns have different lengths: {[len(c) for c in columns]}")
        return columns
    if isinstance(rows, np.ndarray):
        if rows.ndim != 2 or rows.shape[1] != len(names):
            raise TableError(f"rows have shape {rows.shape}, expected (n, {len(names)}): {listed(names)}")
        return [_plain(rows[:, i]) for i in range(len(names))]
    rows = list(rows)
    if any(isinstance(r, Mapping) for r in rows):
        _check_mappings(rows, names)
        return [[row[c] for row in rows] for c in names]
    for i, row in enumerate(rows):
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__") or len(row) != len(names):
            got = f"has {len(row)} cells" if isinstance(row, (list, tuple, np.ndarray)) else f"is {row!r:.40}"
            raise TableError(f"row {i} {got}, expected {len(names)}: {listed(names)}")
    return list(zip(*rows, strict=True)) if rows else [()] * len(names)


def _plain(cells: Any) -> Cells:
    """An array of numbers as it is, anything else as a list."""
    array = np.asarray(cells)
    return array if array.dtype.kind in "biuf" else list(array.tolist())


def _check_mappings(rows: Sequence[object], names: Sequence[str]) -> None:
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TableError(f"row {i} is a {type(row).__name__}, expected a mapping like the others")
        absent = next((c for c in names if c not in row), None)
        if absent is not None:
            raise TableError(f"row {i} lacks the column {absent!r}; the model needs {listed(names)}")


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
