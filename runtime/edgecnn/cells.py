"""A CSV file -> lists of cells: delimiter, header, quoted cells, byte order mark, CRLF; in bounded memory.

Training, export and prediction read through here, so a file means the same to all of them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from .errors import SourceError, TableError

ROWS = 4096
"""Rows read at a time."""

MAX_LINE = 2**22
"""Characters of one line at most: half a million numbers."""

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "<na>", "#n/a")
"""Cells that mean a missing value where nobody says otherwise, in lower case: what spreadsheets, R, pandas, SQL and
the UCI files write."""

_SNIFFED = 64 * 1024
"""Characters of the file that delimiter and header are told from."""

_DELIMITERS = (",;\t|", " :")
"""Tried in this order; the second group only where none of the first splits every line alike."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

Lines = list[tuple[int, list[str]]]
"""(number of the line from 1, its cells)."""


def read_cells(path: str | Path, delimiter: str) -> Iterator[Lines]:
    """Read a CSV file, ROWS lines at a time; lines without any content are left out.

    Raises:
        SourceError: the file is missing.
        TableError: it is no UTF-8 text, or a line or cell is too long; the lines before come first.
    """
    with _open(path) as file:
        reader = csv.reader(_bounded(file), delimiter=delimiter, skipinitialspace=True)
        lines: Lines = []
        whole = 0
        try:
            for cells in reader:
                whole = reader.line_num
                # The first cell is looked at first: most lines need no more.
                if cells and (cells[0].strip() or any(c.strip() for c in cells)):
                    lines.append((whole, cells))
                    if len(lines) == ROWS:
                        yield lines
                        lines = []
        except (csv.Error, UnicodeDecodeError, OSError) as e:
            if lines:
                yield lines
            raise TableError(f"{path}: can't be read as CSV: {_reason(e, whole)}") from None
    if lines:
        yield lines


def sniff(path: str | Path, delimiter: str | None = None) -> tuple[str, list[list[str]]]:
    """The delimiter of a CSV file, told from it unless given, and its first lines split by it.

    Raises:
        SourceError: the file is missing.
        TableError: it is no UTF-8 text.
    """
    with _open(path) as file:
        try:
            text = file.read(_SNIFFED)
        except (OSError, UnicodeDecodeError) as e:
            raise TableError(f"{path}: can't be read as CSV: {_reason(e, 0)}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) == _SNIFFED and len(lines) > 1:
        lines.pop()
    lines = lines[:1000]
    delimiter = delimiter or sniff_delimiter(lines)
    return delimiter, _split(lines, delimiter)


def sniff_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that splits lines into the most cells, the same number in each.

    A comma inside numbers (3,14;2,5) is no delimiter: of two that fit, the one whose cells are whole wins.
    """
    lines = [line for line in lines[:50] if line.strip()]
    for group in _DELIMITERS:
        best = max(group, key=lambda d: _fitness(lines, d))
        if _fitness(lines, best)[1] > 1:
            return best
    text = "".join(lines)
    return max(_DELIMITERS[0], key=text.count)


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    """(share of cells without another delimiter, cells a line); (0, 1) where the lines differ."""
    rows = _split(lines, delimiter)
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        return 0.0, 1
    others = [d for d in _DELIMITERS[0] if d != delimiter]
    cells = [cell.strip() for row in rows for cell in row]
    whole = sum(not any(d in c for d in others) or bool(_DECIMAL_COMMA.fullmatch(c)) for c in cells)
    return whole / len(cells), widths.pop()


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []


def is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether a line holds names.

    None of its cells is a number; and one of them stands over numbers, or none stands again in its column.
    """
    names = [cell.strip() for cell in first]
    if not any(names) or any(is_number(name) for name in names):
        return False
    below: list[set[str]] = [{row[i].strip() for row in rest if i < len(row)} - {""} for i in range(len(names))]
    over_numbers = [bool(column) and all(map(is_number, column)) for column in below]
    if any(over and name.lower() not in MISSING for name, over in zip(names, over_numbers, strict=True)):
        return True
    return not any(name in column for name, column in zip(names, below, strict=True))


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number; an empty one does not."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def not_a_number(cell: object) -> str:
    """What to say of a cell that should hold a number."""
    text = f"{str(cell).strip()!r:.40}, not a number"
    if isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell.strip()):
        return f"{text}; write the decimal comma as a point: {cell.strip().replace(',', '.')}"
    return text


def _open(path: str | Path) -> TextIO:
    try:
        file = open(path, encoding="utf-8-sig", newline="")  # noqa: SIM115
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file", code="missing_file") from None
    except OSError as e:
        raise TableError(f"{path}: can't be read as CSV: {_reason(e, 0)}") from None
    return file


def _bounded(file: TextIO) -> Iterator[str]:
    """The lines of a file, none of which takes more than MAX_LINE characters of memory; csv.Error for what is none."""
    read: Callable[[int], str] = file.readline
    number = 0
    while line := read(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            raise csv.Error(f"line {number}: has more than {MAX_LINE} characters; is it a CSV?")
        if "\0" in line:
            raise csv.Error(f"line {number} holds a zero byte; is it a text file?")
        yield line


def _reason(error: Exception, line: int) -> str:
    where = f"after line {line}" if line else "at its start"
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return f"byte {byte:#04x} {where} is not UTF-8; save the file as UTF-8"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if "field limit" in str(error):
        return f"a cell {where} has more than {csv.field_size_limit()} characters; is a quote left open?"
    return str(error)
