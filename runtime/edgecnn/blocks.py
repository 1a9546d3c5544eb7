"""A CSV file -> blocks of float32 rows: which of its columns are the model's, and which lines are no rows.

A row may come as in the training file, target included, or with the input columns alone. A row that can't be used is
an error of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .cells import Lines, is_number, read_cells, sniff
from .errors import SourceError, TableError
from .spec import TableSpec
from .table import Columns, encode, listed


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of a CSV file."""

    first: int
    """Number of the first row, from 0, header not counted."""
    values: npt.NDArray[np.float32]
    """(n, TableSpec.width); zeros in the rows that failed."""
    failures: Mapping[int, TableError]
    """Why a row can't be used, by its position in the block."""
    missing: Columns
    """Whose cell is missing, as in Encoded, by the position in the block."""
    unseen: Columns
    """Whose category the model does not know, likewise."""
    lines: Lines
    """The rows as they are in the file."""
    layout: Layout

    def cells(self, position: int) -> tuple[str, ...]:
        """The input cells of a row that did not fail, in the order of TableSpec.columns."""
        cells = self.lines[position][1]
        return tuple(cells[i] for i in self.layout.widths[len(cells)].columns)

    def target(self, position: int) -> str | None:
        """The cell of the target, where the file has it."""
        cells = self.lines[position][1]
        place = self.layout.widths[len(cells)].target
        return None if place is None else cells[place].strip()


def read_blocks(path: str | Path, spec: TableSpec) -> Iterator[Block]:
    """Read a CSV file in blocks of rows; memory doesn't grow with the file.

    Raises:
        SourceError: the file is missing, or has no rows.
        TableError: it is no CSV, or its header doesn't fit the model. Rows before a damaged place come first.
    """
    layout: Layout | None = None
    rows = 0
    for lines in read_cells(path, _delimiter(path, spec)):
        if layout is None:
            layout = Layout.of(lines[0][1], path, spec)
            lines = lines[layout.header :]
        if lines:
            yield _encode_lines(lines, rows, layout, path, spec)
            rows += len(lines)
    if rows == 0:
        raise SourceError(f"{path}: no rows of data", code="empty_table")


def _delimiter(path: str | Path, spec: TableSpec) -> str:
    """The recipe's, save where a file without it has another that splits its first line as the model needs it."""
    found, lines = sniff(path)
    if not lines or len(lines[0]) < 2 or any(spec.delimiter in cell for cell in lines[0]):
        return spec.delimiter
    fits = len(lines[0]) in (len(spec.columns), len(spec.fields)) or {c.strip() for c in lines[0]} & set(spec.fields)
    return found if fits else spec.delimiter


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Positions in a line."""

    columns: tuple[int, ...]
    """Of TableSpec.columns."""
    target: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Where in the lines of a file the model's columns are."""

    header: bool
    """Whether the first line holds names."""
    widths: Mapping[int, Places]
    """By the number of cells that a line may have."""
    expected: str
    """Those numbers, in words."""

    @classmethod
    def of(cls, first: Sequence[str], path: str | Path, spec: TableSpec) -> Layout:
        """The layout of a file, by its first line.

        Raises:
            TableError: the line holds names, but not those of the model's columns.
        """
        header = _is_header(first, spec)
        names = [cell.strip() for cell in first]
        absent = [c for c in spec.columns if c not in names]
        if header and not absent:
            twice = next((c for c in spec.columns if names.count(c) > 1), None)
            if twice is not None:
                raise TableError(f"{path}: the header has the name {twice!r} twice; rename one")
            return cls(True, {len(names): _places(names, spec)}, f"the header has {len(names)}")
        if header and spec.header:
            raise TableError(
                f"{path}: the header has no column {absent[0]!r}; the model needs {listed(spec.columns)}, "
                f"the header has {listed(names)}"
            )
        # As the training file, without its target, or with the model's columns alone.
        lines = (spec.fields, [f for f in spec.fields if f != spec.target], spec.columns)
        widths = {len(line): _places(line, spec) for line in lines}
        target = f" (or {len(spec.fields)} with the target {spec.target!r})" if spec.target is not None else ""
        return cls(header, widths, f"the model takes {len(spec.columns)}{target}: {listed(spec.columns)}")


def _places(line: Sequence[str], spec: TableSpec) -> Places:
    at = {name: i for i, name in enumerate(line)}
    return Places(tuple(at[c] for c in spec.columns), at.get(spec.target) if spec.target is not None else None)


def _is_header(first: Sequence[str], spec: TableSpec) -> bool:
    """Whether a line holds names: all of the model's, or no number, and one of its names or nothing that it knows."""
    cells = {cell.strip() for cell in first}
    names = set(spec.columns)
    if names <= cells:
        return True
    if any(map(is_number, cells)):
        return False
    known = {category for column in spec.recipes for category in column.categories}
    return bool(cells & names) or not any(not c or c.lower() in spec.missing or c in known for c in cells)


def _encode_lines(lines: Lines, first: int, layout: Layout, path: str | Path, spec: TableSpec) -> Block:
    values = np.zeros((len(lines), spec.width), np.float32)
    failures: dict[int, str] = {}
    missing: dict[int, tuple[str, ...]] = {}
    unseen: dict[int, tuple[str, ...]] = {}
    positions: dict[int, list[int]] = {}
    for i, (_, cells) in enumerate(lines):
        positions.setdefault(len(cells), []).append(i)
    for width, at in positions.items():
        places = layout.widths.get(width)
        if places is None:
            failures |= dict.fromkeys(at, f"{width} cell{'s' if width > 1 else ''}, but {layout.expected}")
            continue
        across = list(zip(*(lines[i][1] for i in at), strict=True))
        encoded = encode([across[i] for i in places.columns], len(at), spec)
        values[at] = encoded.values
        failures |= {at[i]: message for i, message in encoded.failures.items()}
        missing |= {at[i]: names for i, names in encoded.missing.items()}
        unseen |= {at[i]: names for i, names in encoded.unseen.items()}
    named = {i: TableError(f"{path}, line {lines[i][0]}: {message}") for i, message in failures.items()}
    return Block(first, values, named, missing, unseen, lines, layout)
