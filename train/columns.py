"""What becomes of a table's columns, learned from the training rows alone: its TableSpec, and the rows by it."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np

from edgecnn.errors import TableError
from edgecnn.spec import ColumnSpec, TableSpec
from edgecnn.table import category, encode

from .tables import Column, Table

MOST_CATEGORIES = 255
"""Categories of one column with an input of their own; the rest shares one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """What the user may choose."""

    missing_indicator: bool = True
    """One input more for each number column with missing values among the training rows: 1 where missing."""
    rare: int = 3
    """A category with fewer training rows than this shares one input with the other rare ones, and with those
    that come later and were never seen."""
    unseen: str = "accept"
    """accept, or refuse: a category that training never saw is an error."""


def make_spec(table: Table, chosen: np.ndarray, rules: Rules) -> TableSpec:
    """The table recipe.

    Args:
        table: all rows.
        chosen: positions of the training rows.
        rules: the user's.
    """
    return TableSpec(
        fields=table.fields,
        target=table.target,
        header=table.header,
        delimiter=table.delimiter,
        inputs=tuple(_recipe(column, table, chosen, rules) for column in table.columns),
        missing=table.missing,
    )


def _recipe(column: Column, table: Table, chosen: np.ndarray, rules: Rules) -> ColumnSpec:
    also = ("0",) if column.zero_is_missing else ()
    missing = column.missing(table.missing)
    if column.kind == "number":
        if not table.missing:
            return ColumnSpec(name=column.name)
        present, gone = column.cells[chosen][~missing[chosen]], missing[chosen]
        fill = float(np.median(present)) if len(present) else 0.0
        indicator = rules.missing_indicator and 0 < gone.sum() < len(chosen)
        return ColumnSpec(name=column.name, missing=also, fill=fill, indicator=bool(indicator))
    # What is refused later must not be refused in the held-out rows; an input that training never saw stays silent.
    rows = range(len(table)) if rules.unseen == "refuse" else chosen.tolist()
    counts = Counter("" if missing[i] else category(column.cells[i]) for i in rows)
    if rules.unseen == "refuse":
        kept, unseen = set(counts), "error"
    else:
        kept = {c for c, n in counts.most_common(MOST_CATEGORIES) if n >= rules.rare}
        unseen = "other" if len(kept) < len(counts) else "zeros"
    return ColumnSpec(name=column.name, kind="category", missing=also, categories=tuple(sorted(kept)), unseen=unseen)


def encode_table(table: Table, spec: TableSpec) -> np.ndarray:
    """(n, spec.width) float32, by the very function that the runtime uses.

    Raises:
        TableError: a row can't be used; with its line.
    """
    encoded = encode([column.cells for column in table.columns], len(table), spec)
    if encoded.failures:
        first = min(encoded.failures)
        raise TableError(f"{table.path}, line {table.lines[first]}: {encoded.failures[first]}")
    return encoded.values
