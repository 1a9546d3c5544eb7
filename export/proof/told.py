"""Holds what a file tells beside its graph, labels, table and golden samples, against what its source tells.

None of that moves an output of the graph, so no comparison of values sees it; what a user is told hangs on it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from edgecnn import golden
from edgecnn.errors import SpecError, VerificationError
from edgecnn.session import Session
from edgecnn.spec import ModelSpec, TableSpec

from .. import recipe
from ..source import Source


def check_told(source: Source, spec: ModelSpec, theirs: ModelSpec) -> None:
    """Raise where two recipes name other classes, read the outputs otherwise or fill a table's cells otherwise.

    Args:
        source: what the model is held against.
        spec: what the model's file tells.
        theirs: what is known of the training; of what it doesn't know, nothing is asked.

    Raises:
        VerificationError: the message says what differs first.
    """
    try:
        recipe.check_labels(source, spec.labels, spec.head)
    except SpecError as e:
        raise VerificationError(f"the model's recipe has {e}") from e
    if spec.labels is not None and theirs.labels is not None and spec.labels != theirs.labels:
        raise VerificationError(f"the labels differ: {_first_difference(spec.labels, theirs.labels, source)}")
    if spec.head != theirs.head:
        raise VerificationError(
            f"what the outputs mean differs: the model's recipe says {spec.head}, {source.path} {theirs.head}"
        )
    if spec.table is not None and theirs.table is not None and spec.table != theirs.table:
        raise VerificationError(f"the table's recipe differs: {_first_field(spec.table, theirs.table, source)}")


def _first_difference(ours: Sequence[str], theirs: Sequence[str], source: Source) -> str:
    for i, (own, other) in enumerate(itertools.zip_longest(ours, theirs)):
        if own != other:
            return f"class {i} is {own!r} in the model and {other!r} for {source.path}"
    raise AssertionError("they are the same")


def _first_field(ours: TableSpec, theirs: TableSpec, source: Source) -> str:
    columns = zip(ours.recipes, theirs.recipes, strict=False)
    for where, own, other in (*((f" of {a.name!r}", a, b) for a, b in columns), ("", ours, theirs)):
        for field in dataclasses.fields(own):
            a, b = getattr(own, field.name), getattr(other, field.name)
            if a != b:
                return f"{field.name}{where} is {a!r:.80} in the model and {b!r:.80} for {source.path}"
    raise AssertionError("they are the same")


def check_golden(session: Session, spec: ModelSpec) -> None:
    """Raise where the golden samples in a file don't fit its recipe and graph.

    Raises:
        VerificationError: the message says which one and which stage.
    """
    for name, check in golden.checks(session, spec):
        try:
            check()
        except VerificationError as e:
            raise VerificationError(f"{name} in the model's file: {e}") from e
