"""Rows of a CSV or of the caller -> float32 rows in the model's column order.

A row may come as in the training file, target included, or with the input columns alone. Nothing is
guessed: a text cell or a missing one is an error of that row, named by line and column.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SourceError, TableError
from .spec import TableSpec

Row = npt.NDArray[np.float32]

_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One line of a CSV file."""

    values: Row
    """(columns,) float32, in the order of TableSpec.columns."""
    target: str | None
    """The cell of the target, where the file has it."""


def read_records(path: str | Path, spec: TableSpec) -> Iterator[Record | TableError]:
    """Read a CSV file row by row.

    Yields:
        A Record, or the TableError of a row that can't be used; reading goes on after it.

    Raises:
        SourceError: the file is missing or unreadable, or has no rows.
        TableError: the header lacks a column of the model.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            yield from _parse(csv.reader(f, delimiter=spec.delimiter), str(path), spec)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file", code="missing_file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise TableError(f"{path}: can't be read as CSV: {e}") from None


def _parse(lines: Any, path: str, spec: TableSpec) -> Iterator[Record | TableError]:
    header: Mapping[str, int] | None = None
    first = True
    rows = 0
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if first and _is_header(cells, spec):
            header = _read_header(cells, path, spec)
            first = False
            continue
        first = False
        rows += 1
        try:
            yield _to_record(cells, spec, header)
        except TableError as e:
            yield TableError(f"{path}, line {lines.line_num}: {e}")
    if rows == 0:
        raise SourceError(f"{path}: no rows of data", code="empty_table")


def _is_header(cells: Sequence[str], spec: TableSpec) -> bool:
    names = {c.strip() for c in cells}
    return bool(names & set(spec.columns)) or not any(is_number(c) or not c.strip() for c in cells)


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number; an empty one does not."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_header(cells: Sequence[str], path: str, spec: TableSpec) -> Mapping[str, int] | None:
    """Position of each name; None where the training file had no names to compare with."""
    positions = {name.strip(): i for i, name in enumerate(cells)}
    missing = [c for c in spec.columns if c not in positions]
    if missing and spec.header:
        raise TableError(f"{path}: the header has no column {missing[0]!r}; the model needs {', '.join(spec.columns)}")
    return None if missing else positions


def _to_record(cells: Sequence[str], spec: TableSpec, header: Mapping[str, int] | None) -> Record:
    if header is not None:
        if len(cells) != len(header):
            raise TableError(f"{len(cells)} cells, but the header has {len(header)}")
        named = {name: cells[i] for name, i in header.items()}
    elif len(cells) == len(spec.columns):
        named = dict(zip(spec.columns, cells, strict=True))
    elif len(cells) == len(spec.fields):
        named = dict(zip(spec.fields, cells, strict=True))
    else:
        raise TableError(_width_message(len(cells), spec))
    values = np.array([_number(named[c], c) for c in spec.columns], np.float32)
    target = named.get(spec.target) if spec.target is not None else None
    return Record(values, None if target is None else target.strip())


def _width_message(got: int, spec: TableSpec) -> str:
    expected = str(len(spec.columns))
    if spec.target is not None:
        expected += f" (or {len(spec.fields)} with the target {spec.target!r})"
    return f"{got} columns, but the model takes {expected}: {', '.join(spec.columns)}"


def _number(cell: object, name: str) -> float:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise TableError(f"column {name!r} is empty; fill it in or leave the row out")
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TableError(f"column {name!r} is {cell!r:.40}, not a number") from None
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise TableError(f"column {name!r} is {value}, not a finite float32 number")
    return value


def to_rows(rows: npt.ArrayLike | Sequence[Mapping[str, Any]], spec: TableSpec) -> npt.NDArray[np.float32]:
    """Rows of the caller as the model's input.

    Args:
        rows: (n, columns) numbers in the order of spec.columns, or a sequence of mappings by column name
            (other keys, such as the target, are ignored).
        spec: the model's table recipe.

    Returns:
        (n, columns) float32.

    Raises:
        TableError: a column is missing, the width is wrong, or a value is no finite number.
    """
    if isinstance(rows, Sequence) and any(isinstance(r, Mapping) for r in rows):
        return np.array([_from_mapping(i, r, spec) for i, r in enumerate(rows)], np.float32)
    try:
        array = np.asarray(rows, np.float64)
    except (TypeError, ValueError) as e:
        raise TableError(f"rows can't be read as numbers: {e}") from None
    if array.ndim != 2 or array.shape[1] != len(spec.columns):
        raise TableError(f"rows have shape {array.shape}, expected (n, {len(spec.columns)}): {', '.join(spec.columns)}")
    usable = np.abs(array) <= _LARGEST
    if not usable.all():
        row, column = np.argwhere(~usable)[0]
        raise TableError(f"row {row}: column {spec.columns[column]!r} is {array[row, column]}, not a finite number")
    return array.astype(np.float32)


def _from_mapping(index: int, row: object, spec: TableSpec) -> list[float]:
    if not isinstance(row, Mapping):
        raise TableError(f"row {index} is a {type(row).__name__}, expected a mapping like the others")
    missing = [c for c in spec.columns if c not in row]
    if missing:
        raise TableError(f"row {index} lacks the column {missing[0]!r}; the model needs {', '.join(spec.columns)}")
    try:
        return [_number(row[c], c) for c in spec.columns]
    except TableError as e:
        raise TableError(f"row {index}: {e}") from None
