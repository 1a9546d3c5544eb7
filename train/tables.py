"""A CSV file -> float32 columns, a target and what kind of target it is.

Nothing is guessed from cells that can't be read: a text or missing cell is an error with its line and column.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecnn.errors import SourceError, TableError
from edgecnn.spec import TableSpec
from edgecnn.table import is_number

TASKS = ("binary", "multiclass", "regression")

_LARGEST = float(np.finfo(np.float32).max)

MOST_CLASSES = 20
"""A target of whole numbers with more different values than this is taken for a regression."""

_DELIMITERS = ",;\t|"

_SNIFFED = 64 * 1024
"""Characters of the file that delimiter and header are told from."""


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a CSV."""

    rows: np.ndarray
    """(n, columns) float32."""
    targets: np.ndarray
    """(n,) int64 class indices, or float32 values of a regression."""
    labels: tuple[str, ...] | None
    """Values of the target as written in the file, sorted; None for a regression."""
    task: str
    """One of TASKS."""
    spec: TableSpec

    @property
    def head(self) -> str:
        """The head of ModelSpec: sigmoid, softmax or regression."""
        return {"binary": "sigmoid", "multiclass": "softmax", "regression": "regression"}[self.task]


def read_table(
    path: str | Path,
    *,
    target: str | None = None,
    task: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
) -> Table:
    """Read a CSV for training.

    Args:
        path: of the file.
        target: name of the column, or its position from 1 (from the end: -1); None is the last.
        task: one of TASKS; None tells it from the target's values.
        delimiter: None sniffs it among comma, semicolon, tab and bar.
        header: whether the first line holds names; None: it does when none of its cells is a number.

    Raises:
        SourceError: the file is missing or holds no rows.
        TableError: a cell, a line or the target can't be used.
    """
    path = Path(path)
    lines, delimiter = _read(path, delimiter)
    if header is None:
        header = not any(is_number(cell) for cell in lines[0][1])
    width = len(lines[0][1])
    names = [c.strip() for c in lines[0][1]] if header else [f"column {i + 1}" for i in range(width)]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise TableError(f"{path}, line {lines[0][0]}: the header has the name {repeated[0]!r} twice; rename one")
    body = lines[1:] if header else lines
    if len(body) < 2:
        raise TableError(f"{path}: {len(body)} row of data; training needs at least 2, better hundreds")
    if width < 2:
        raise TableError(
            f"{path}: one column only, with the delimiter {delimiter!r}; pass --delimiter if it is another"
        )
    for number, cells in body:
        if len(cells) != width:
            raise TableError(f"{path}, line {number}: {len(cells)} cells, but line {lines[0][0]} has {width}")
    spec = TableSpec(
        fields=tuple(names), target=names[_position(target, names, path)], header=header, delimiter=delimiter
    )
    position = names.index(spec.target)
    rows = np.empty((len(body), width - 1), np.float32)
    for i, (number, cells) in enumerate(body):
        inputs = (cell for k, cell in enumerate(cells) if k != position)
        for k, (cell, name) in enumerate(zip(inputs, spec.columns, strict=True)):
            rows[i, k] = _number(cell, f"{path}, line {number}, column {name!r}")
    where = [f"{path}, line {number}, target {spec.target!r}" for number, _ in body]
    targets, labels, task = _targets([cells[position].strip() for _, cells in body], where, task)
    return Table(rows, targets, labels, task, spec)


def _read(path: Path, delimiter: str | None) -> tuple[list[tuple[int, list[str]]], str]:
    """Lines that hold something, with their numbers, and the delimiter."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if delimiter is None:
                delimiter = _sniff(file.read(_SNIFFED))
                file.seek(0)
            reader = csv.reader(file, delimiter=delimiter)
            lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file", code="missing_file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise TableError(f"{path}: can't be read as CSV: {e}") from None
    if not lines:
        raise SourceError(f"{path}: no rows of data", code="empty_table")
    return lines, delimiter


def _sniff(text: str) -> str:
    """The delimiter that splits the first lines into the most cells, the same number in each."""
    lines = [line for line in text.splitlines()[:50] if line.strip()]

    def cells(delimiter: str) -> int:
        widths = {len(row) for row in csv.reader(lines, delimiter=delimiter)}
        return widths.pop() if len(widths) == 1 else 0

    best = max(_DELIMITERS, key=cells)
    return best if cells(best) > 1 else max(_DELIMITERS, key=text.count)


def _number(cell: str, where: str) -> float:
    if not cell.strip():
        raise TableError(f"{where}: the cell is empty; fill it in or leave the row out")
    try:
        value = float(cell)
    except ValueError:
        raise TableError(f"{where}: {cell.strip()!r:.40} is no number; encode text columns as numbers") from None
    if not math.isfinite(value) or abs(value) > _LARGEST:
        raise TableError(f"{where}: {cell.strip()!r:.40} is no finite float32 number")
    return value


def _position(target: str | None, names: Sequence[str], path: Path) -> int:
    if target is None:
        return len(names) - 1
    if target in names:
        return names.index(target)
    try:
        number = int(target)
    except ValueError:
        number = 0
    if not 1 <= abs(number) <= len(names):
        raise TableError(
            f"{path}: no column {target!r}; give a position from 1 to {len(names)} or one of {', '.join(names)}"
        )
    return number - 1 if number > 0 else len(names) + number


def _targets(
    cells: Sequence[str], where: Sequence[str], task: str | None
) -> tuple[np.ndarray, tuple[str, ...] | None, str]:
    """Class indices and labels, or values."""
    for cell, place in zip(cells, where, strict=True):
        if not cell or (is_number(cell) and not math.isfinite(float(cell))):
            raise TableError(f"{place}: {cell!r} is no target; fill it in or leave the row out")
    numeric = all(is_number(c) for c in cells)
    # 1 and 1.0 are one class, under the name that comes first in the file.
    keys = [float(c) if numeric else c for c in cells]
    labels = {}
    for key, cell in zip(keys, cells, strict=True):
        labels.setdefault(key, cell)
    values = sorted(labels)
    if len(values) < 2:
        raise TableError(f"{where[0]}: every row has the value {cells[0]!r}; there is nothing to learn")
    task = task or _task(values, numeric)
    if task == "regression":
        if not numeric:
            place = next(w for c, w in zip(cells, where, strict=True) if not is_number(c))
            raise TableError(f"{place}: a regression needs numbers")
        return np.array(keys, np.float32), None, task
    if task == "binary" and len(values) != 2:
        raise TableError(f"{where[0]}: {len(values)} different values, but --task binary needs 2")
    index = {value: i for i, value in enumerate(values)}
    return np.array([index[k] for k in keys], np.int64), tuple(labels[v] for v in values), task


def _task(values: Sequence[float | str], numeric: bool) -> str:
    if len(values) == 2:
        return "binary"
    if not numeric or (len(values) <= MOST_CLASSES and all(float(v).is_integer() for v in values)):
        return "multiclass"
    return "regression"
