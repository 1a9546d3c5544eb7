"""A CSV file -> the cells of its columns, a target, and what kind each of them is.

The file is gone through twice, in blocks: first to tell numbers from categories, then to keep the cells as what
they are. What becomes of the cells is decided later, by the rows that are trained on (columns.py).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgecnn.cells import MISSING, Lines, is_header, is_number, not_a_number, read_cells, sniff
from edgecnn.errors import InputError, SourceError, TableError
from edgecnn.table import Cells, category, is_missing, to_numbers

TASKS = ("binary", "multiclass", "regression")

MOST_CLASSES = 20
"""A target of whole numbers with more different values than this is taken for a regression."""

_STRAY = 0.1
"""A column in which at most this share of the cells is text holds numbers, and the text is a mistake."""

_NO_TARGET = tuple(word for word in MISSING if word != "none")
"""Cells that are no target; none may well be a class."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How a file is read; None is told from the file."""

    target: str | None = None
    """Name of the column, or its position from 1 (from the end: -1); None is the last."""
    task: str | None = None
    """One of TASKS."""
    delimiter: str | None = None
    header: bool | None = None
    """Whether the first line holds names."""
    numeric: tuple[str, ...] = ()
    """Columns of numbers, by name, position or range of positions."""
    categorical: tuple[str, ...] = ()
    """Columns of categories, even where they look like numbers."""
    ignore: tuple[str, ...] = ()
    """Columns that the model doesn't take."""
    missing: str = "accept"
    """accept, or refuse: a missing value is an error, in training and later."""
    missing_values: tuple[str, ...] = ()
    """Cells that mean a missing value besides MISSING."""
    missing_zeros: tuple[str, ...] = ()
    """Columns in which 0 means a missing value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One input column."""

    name: str
    kind: str
    """number or category."""
    cells: Cells
    """Number: (n,) float64, NaN where missing; category: n texts as in the file."""
    zero_is_missing: bool

    def missing(self, words: tuple[str, ...]) -> np.ndarray:
        """(n,) bool: which cells are missing; words as in TableSpec.missing."""
        if self.kind == "number":
            return np.isnan(self.cells) | ((self.cells == 0) & self.zero_is_missing)
        zero = ("0",) if self.zero_is_missing else ()
        return np.array([is_missing(category(cell), words, zero) for cell in self.cells], bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a CSV."""

    path: Path
    fields: tuple[str, ...]
    """Names of all columns, target and ignored ones included."""
    target: str
    header: bool
    delimiter: str
    missing: tuple[str, ...]
    """Cells that mean a missing value; none where that is refused."""
    columns: tuple[Column, ...]
    """The input columns, in the order of the fields."""
    targets: np.ndarray
    """(n,) int64 class indices, or float32 values of a regression."""
    labels: tuple[str, ...] | None
    """Values of the target as written in the file, sorted; None for a regression."""
    task: str
    """One of TASKS."""
    lines: np.ndarray
    """(n,) int64: the line of each row in the file."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def head(self) -> str:
        """The head of ModelSpec: sigmoid, softmax or regression."""
        return {"binary": "sigmoid", "multiclass": "softmax", "regression": "regression"}[self.task]


def read_table(path: str | Path, how: Reading | None = None) -> Table:
    """Read a CSV for training.

    Raises:
        SourceError: the file is missing or holds no rows.
        TableError: a cell, a line or the target can't be used.
        InputError: a column that was named is not there.
    """
    path, how = Path(path), how or Reading()
    delimiter, first = sniff(path, how.delimiter)
    if not first:
        raise SourceError(f"{path}: no rows of data", code="empty_table")
    header = is_header(first[0], first[1:]) if how.header is None else how.header
    names = _names(first[0], path) if header else [f"column {i + 1}" for i in range(len(first[0]))]
    if len(names) < 2:
        raise TableError(f"{path}: one column only, with the delimiter {delimiter!r}; pass --delimiter for another")
    file = _File(path, delimiter, header, len(names))
    missing = () if how.missing == "refuse" else (*MISSING, *(word.strip().lower() for word in how.missing_values))
    target = find_columns([how.target or "-1"], names, "--target")[0]
    ignored = find_columns(how.ignore, names, "--ignore")
    kinds = dict.fromkeys(find_columns(how.numeric, names, "--numeric"), "number")
    kinds |= dict.fromkeys(find_columns(how.categorical, names, "--categorical"), "category")
    zeros = find_columns(how.missing_zeros, names, "--missing-zeros")
    inputs = [i for i in range(len(names)) if i != target and i not in ignored]
    if not inputs:
        raise InputError(f"{path}: no column is left besides the target and what --ignore names")
    kinds = {i: kinds.get(i) or _kind(profile, names[i], path) for i, profile in _profile(file, inputs, missing)}
    cells, targets, lines = _keep(file, inputs, kinds, target, missing, names)
    values, labels, task = _targets(targets, lines, f"{path}, line {{}}, target {names[target]!r}", how.task)
    return Table(
        path=path, fields=tuple(names), target=names[target], header=header, delimiter=delimiter, missing=missing,
        columns=tuple(
            Column(name=names[i], kind=kinds[i], cells=cells[i], zero_is_missing=i in zeros) for i in inputs
        ),
        targets=values, labels=labels, task=task, lines=lines,
    )  # fmt: skip


def _names(cells: Sequence[str], path: Path) -> list[str]:
    """Names of a header; an empty one, as pandas writes it over its index, gets its position."""
    names = [cell.strip() or f"column {i + 1}" for i, cell in enumerate(cells)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise TableError(f"{path}, line 1: the header has the name {twice!r} twice; rename one")
    return names


def find_columns(wanted: Sequence[str], names: Sequence[str], option: str) -> list[int]:
    """Positions, from 0, of columns that go by name, by position from 1 (from the end: -1) or by a range of these.

    Raises:
        InputError: there is no such column.
    """
    found: list[int] = []
    for text in wanted:
        low, dash, high = text.rpartition("-")
        if text in names:
            found.append(names.index(text))
        elif dash and low.isdigit() and high.isdigit() and 1 <= int(low) <= int(high) <= len(names):
            found += range(int(low) - 1, int(high))
        elif text.lstrip("-").isdigit() and 1 <= abs(int(text)) <= len(names):
            found.append(int(text) - 1 if int(text) > 0 else len(names) + int(text))
        else:
            shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
            raise InputError(f"{option}: no column {text!r}; give a position from 1 to {len(names)} or one of {shown}")
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True)
class _File:
    path: Path
    delimiter: str
    header: bool
    width: int

    def blocks(self) -> Iterator[Lines]:
        """The lines below the header, all with the same number of cells."""
        first = self.header
        for lines in read_cells(self.path, self.delimiter):
            body, first = lines[first:], False
            for number, cells in body:
                if len(cells) != self.width:
                    raise TableError(
                        f"{self.path}, line {number}: {len(cells)} cells, but the first line has {self.width}"
                    )
            if body:
                yield body


@dataclasses.dataclass
class _Profile:
    """What was seen in a column."""

    numbers: int = 0
    texts: int = 0
    decimal_commas: int = 0
    example: tuple[int, str] | None = None
    """Line and text of the first cell that is no number."""


def _profile(file: _File, inputs: Sequence[int], missing: tuple[str, ...]) -> Iterator[tuple[int, _Profile]]:
    profiles = {i: _Profile() for i in inputs}
    rows = 0
    for lines in file.blocks():
        rows += len(lines)
        across = list(zip(*(cells for _, cells in lines), strict=True))
        for i, profile in profiles.items():
            values, failures = to_numbers(across[i], missing or MISSING)
            profile.texts += len(failures)
            profile.numbers += int(np.isfinite(values).sum())
            for k, message in failures.items():
                profile.decimal_commas += "decimal comma" in message
                profile.example = profile.example or (lines[k][0], across[i][k].strip())
    if rows == 0:
        raise SourceError(f"{file.path}: no rows of data", code="empty_table")
    if rows == 1:
        raise TableError(f"{file.path}: 1 row of data; training needs at least 2, better hundreds")
    yield from profiles.items()


def _kind(profile: _Profile, name: str, path: Path) -> str:
    if profile.texts == 0:
        return "number"
    assert profile.example is not None
    line, text = profile.example
    if 2 * profile.decimal_commas > profile.texts:
        raise TableError(f"{path}, line {line}: column {name!r} is {not_a_number(text)}")
    if profile.texts > _STRAY * (profile.numbers + profile.texts):
        return "category"
    raise TableError(
        f"{path}, line {line}: column {name!r} is {not_a_number(text)}, but {profile.numbers} others are; mend it, or "
        f"pass --missing-values {text!r:.40} or --categorical {name!r}"
    )


def _keep(
    file: _File, inputs: Sequence[int], kinds: dict[int, str], target: int, missing: tuple[str, ...], names: list[str]
) -> tuple[dict[int, Cells], list[str], np.ndarray]:
    """The cells of each input, those of the target, and the number of each line."""
    parts: dict[int, list[Cells]] = {i: [] for i in inputs}
    targets: list[str] = []
    numbers: list[int] = []
    same: dict[str, str] = {}
    for lines in file.blocks():
        across = list(zip(*(cells for _, cells in lines), strict=True))
        for i, kept in parts.items():
            if kinds[i] == "category":
                # One string for all equal cells: a column of a million has a few hundred different ones.
                kept.append([same.setdefault(cell, cell) for cell in across[i]])
                continue
            values, failures = to_numbers(across[i], missing)
            for k, message in failures.items():
                raise TableError(f"{file.path}, line {lines[k][0]}: column {names[i]!r} {message}")
            kept.append(values)
        targets += [same.setdefault(cell.strip(), cell.strip()) for cell in across[target]]
        numbers += [number for number, _ in lines]
    cells: dict[int, Cells] = {
        i: [cell for part in kept for cell in part] if kinds[i] == "category" else np.concatenate(kept)
        for i, kept in parts.items()
    }
    return cells, targets, np.array(numbers, np.int64)


def _targets(
    cells: Sequence[str], lines: np.ndarray, where: str, task: str | None
) -> tuple[np.ndarray, tuple[str, ...] | None, str]:
    """Class indices and labels, or values."""
    for i, cell in enumerate(cells):
        if cell.lower() in _NO_TARGET or (is_number(cell) and not math.isfinite(float(cell))):
            raise TableError(f"{where.format(lines[i])}: {cell!r} is no target; fill it in or leave the row out")
    numeric = all(is_number(c) for c in cells)
    # 1 and 1.0 are one class, under the name that comes first in the file.
    keys = [float(c) if numeric else c for c in cells]
    labels = {}
    for key, cell in zip(keys, cells, strict=True):
        labels.setdefault(key, cell)
    values = sorted(labels)
    if len(values) < 2:
        place = where.format(lines[0])
        raise TableError(f"{place}: every row has the value {cells[0]!r}; there is nothing to learn")
    task = task or _task(values, numeric)
    if task == "regression":
        if not numeric:
            i = next(i for i, c in enumerate(cells) if not is_number(c))
            raise TableError(f"{where.format(lines[i])}: is {not_a_number(cells[i])}; a regression needs numbers")
        return np.array(keys, np.float32), None, task
    place = where.format(lines[0])
    if task == "binary" and len(values) != 2:
        raise TableError(f"{place}: {len(values)} different values, but --task binary needs 2")
    if len(values) > 2 and 2 * len(values) > len(cells):
        hint = "--task regression" if numeric else "another --target"
        raise TableError(f"{place}: {len(values)} classes in {len(cells)} rows can't be learned; perhaps {hint}?")
    index = {value: i for i, value in enumerate(values)}
    return np.array([index[k] for k in keys], np.int64), tuple(labels[v] for v in values), task


def _task(values: Sequence[float | str], numeric: bool) -> str:
    if len(values) == 2:
        return "binary"
    if not numeric or (len(values) <= MOST_CLASSES and all(float(v).is_integer() for v in values)):
        return "multiclass"
    return "regression"
