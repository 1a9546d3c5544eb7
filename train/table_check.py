"""A look at a table before training: its columns, and what in them or in the split would spoil the result."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgecnn.spec import TableSpec
from edgecnn.table import category

from .check import check_counts
from .progress import counted
from .tables import Column, Table

_MOSTLY_MISSING = 0.5
"""Share of missing values from which a column is named."""

_GAP = 5
"""Times the usual distance of neighbouring values that 0 lies below the next one where it hardly is a value."""

_FEW_VALUES = 10
"""Different values below which a number column is more of a code: nothing is read into its zeros."""

_SURE = 0.999
"""Correlation with the target of a regression from which a column is suspected to be the target itself."""


@dataclasses.dataclass(frozen=True)
class TableCheck:
    """What was seen."""

    findings: list[str]
    """A line each; none is a good sign."""
    rows: int
    target: dict[str, Any]
    """JSON types: name, task, and counts by class, or min, median and max."""
    columns: list[dict[str, Any]]
    """JSON types: name, kind, missing cells, different values, and min, median and max of numbers."""

    def describe(self) -> str:
        """A table for people."""
        count = len(self.findings)
        lines = [f"{self.rows} rows, {len(self.columns)} columns; {counted(count, 'finding')}"]
        width = max(len(c["name"]) for c in self.columns)
        for c in self.columns:
            spread = f"{c['min']:.6g} to {c['max']:.6g}, median {c['median']:.6g}" if "min" in c else ""
            missing = f"{c['missing']} missing" if c["missing"] else ""
            texts = (f"{c['different']} different", spread, missing)
            lines.append(f"  {c['name']:{width}}  {c['kind']:8}  {', '.join(t for t in texts if t)}")
        facts = ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}" for k, v in self.target.items())
        return "\n".join([*lines, f"  target: {facts}"])


def check_table(
    table: Table,
    recipe: TableSpec,
    rows: np.ndarray,
    training: np.ndarray,
    held: np.ndarray,
    *,
    weighted: bool = False,
) -> TableCheck:
    """Look at the columns, the target and the split.

    Args:
        table: as it was read.
        recipe: its recipe.
        rows: (n, recipe.width) float32, encoded by it.
        training: positions of the rows that are trained on.
        held: positions of the rows that are held out.
        weighted: class weights are given, so that the classes may be of any size.
    """
    findings: list[str] = []
    columns = []
    for column in table.columns:
        values = _values(column, table)
        columns.append(_describe(column, values, table))
        findings += _check_column(column, values, table)
    if table.labels is not None:
        counts = dict(zip(table.labels, np.bincount(table.targets, minlength=len(table.labels)).tolist(), strict=True))
        findings += check_counts(counts, weighted=weighted)
        target: dict[str, Any] = counts
    else:
        target = {k: float(f(table.targets)) for k, f in (("min", np.min), ("median", np.median), ("max", np.max))}
    findings += _check_copies(rows, table, training, held)
    return TableCheck(findings, len(table), {"name": table.target, "task": table.task, **target}, columns)


def _values(column: Column, table: Table) -> np.ndarray:
    """A column as float64 numbers that are equal where its cells are; NaN where missing."""
    if column.kind == "number":
        values = np.array(column.cells, np.float64)
    else:
        numbers: dict[str, int] = {}
        values = np.array([numbers.setdefault(category(c), len(numbers)) for c in column.cells], np.float64)
    values[column.missing(table.missing)] = np.nan
    return values


def _describe(column: Column, values: np.ndarray, table: Table) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    found: dict[str, Any] = {
        "name": column.name, "kind": column.kind, "missing": len(values) - len(known),
        "different": len(np.unique(known)),
    }  # fmt: skip
    if column.kind == "number" and len(known):
        found |= {"min": float(known.min()), "median": float(np.median(known)), "max": float(known.max())}
    return found


def _check_column(column: Column, values: np.ndarray, table: Table) -> list[str]:
    name, number = repr(column.name), column.kind == "number"
    known = ~np.isnan(values)
    different = np.unique(values[known])
    gone = len(values) - int(known.sum())
    if len(different) == 0:
        return [f"column {name} has no values at all: --ignore it"]
    found = []
    if gone > _MOSTLY_MISSING * len(values):
        found.append(f"column {name}: {gone} of {len(values)} values are missing")
    if len(different) == 1 and not gone:
        value = f"{different[0]:g}" if number else repr(column.cells[0])
        return [f"column {name} has the one value {value}: it tells nothing"]
    if len(different) == len(values) > _FEW_VALUES and (not number or _counts(values)):
        found.append(f"column {name} has another value in every row, like an id: --ignore it")
    elif not number and len(different) > len(values) / 2 > _FEW_VALUES:
        found.append(f"column {name} has {len(different)} categories in {len(values)} rows, like an id: --ignore it?")
    elif _decides(values, known, table, number):
        found.append(f"column {name} alone decides the target: is it known before the answer is?")
    zeros = int((values == 0).sum())
    if number and zeros and not column.zero_is_missing and _stands_apart(different):
        found.append(
            f"column {name} is 0 in {zeros} rows, and {different[1]:g} or more in the others: if 0 means missing, "
            "name it in --missing-zeros"
        )
    return found


def _counts(values: np.ndarray) -> bool:
    """Whether a column of different numbers just counts the rows, up or down."""
    steps = np.diff(values)
    return bool((steps == steps[0]).all())


def _decides(values: np.ndarray, known: np.ndarray, table: Table, number: bool) -> bool:
    """Whether the target follows from one column: classes by thresholds or by category, values by a straight line."""
    x, y = values[known], table.targets[known]
    if len(x) <= _FEW_VALUES or len(np.unique(y)) < 2 or len(np.unique(x)) < 2:
        return False
    if table.labels is None:
        return number and abs(float(np.corrcoef(x, y)[0, 1])) > _SURE
    if not number:
        pairs = np.unique(np.stack([x, y]), axis=1)
        return pairs.shape[1] == len(np.unique(x)) <= len(x) / 2
    order = np.argsort(x, kind="stable")
    changes = np.flatnonzero(np.diff(y[order]))
    return len(changes) == len(np.unique(y)) - 1 and bool((x[order][changes] < x[order][changes + 1]).all())


def _stands_apart(different: np.ndarray) -> bool:
    """Whether 0 is the least of a column's values, and farther from the next than these are from each other."""
    if len(different) < _FEW_VALUES or different[0] != 0:
        return False
    return bool(different[1] > _GAP * np.median(np.diff(different[1:])))


def _check_copies(rows: np.ndarray, table: Table, training: np.ndarray, held: np.ndarray) -> list[str]:
    """Rows that are there twice: on both sides of the split, or with different targets."""
    if not len(rows):
        return []
    # Equal rows get equal numbers; a view of bytes sorts faster than columns, and -0.0 is turned into 0.0.
    flat = np.ascontiguousarray(rows + np.float32(0)).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    _, number = np.unique(flat.ravel(), return_inverse=True)
    number = number.ravel()
    found = []
    leaks = np.intersect1d(number[training], number[held])
    if len(leaks):
        found.append(f"the same row in training and held-out rows, {counted(len(leaks), 'time')}")
    if table.labels is not None:
        pairs = np.unique(np.stack([number, table.targets]), axis=1)
        torn = len(pairs[0]) - len(np.unique(number))
        if torn:
            found.append(
                f"rows that are equal but for the target, {counted(torn, 'time')}: no model can tell them apart"
            )
    return found
