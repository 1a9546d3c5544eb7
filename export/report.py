"""What an export tells: a line a stage on stderr, a summary at the end, and the JSON report."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecnn.terminal import say

from .files import write_atomically
from .proof.parity import Parity
from .source import Source, Tensor


@dataclasses.dataclass
class Report:
    """The export report; its fields are the JSON's keys."""

    source: str
    output: str
    status: str = "failed"
    """passed or failed; failed until everything is done."""
    keras_version: str | None = None
    """The Keras that wrote the file."""
    loaded_by: str | None = None
    """The library that read it."""
    sha256: str | None = None
    opset: int | None = None
    inputs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    outputs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    batch: int | None = None
    """Samples that the model takes at a time, where its layers rely on one number; null for any."""
    stages: dict[str, Any] | None = None
    """What each stage brings: decode, resize, normalise, graph, quantisation; and the layer, where one differs."""
    parity: dict[str, Any] | None = None
    """Of the float32 graph against Keras: samples, max_abs_diff, tolerance, top1_agreement."""
    quantization: dict[str, Any] | None = None
    decode: dict[str, Any] | None = None
    """Of decode="fast" against the training's decoder, on real images: samples, max_levels, mean_levels,
    top1_agreement; None for an exact decoder."""
    nodes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Operator -> count."""
    bytes: int | None = None
    """Size of the written file."""
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    """Stage -> wall time."""
    reason: str | None = None
    """Why it failed."""

    def tell(self, source: Source) -> None:
        """Take over what is known of the Keras file."""
        self.keras_version, self.loaded_by, self.sha256 = source.keras_version, source.loaded_by, source.sha256
        self.inputs, self.outputs = describe_tensors(source.inputs), describe_tensors(source.outputs)
        self.batch = source.batch

    def prove(self, parity: Parity) -> str:
        """Take over how closely the graph agrees with its source, which is also told in words."""
        self.parity = parity.to_dict()
        if parity.remark is not None:
            self.note(parity.remark)
        return f"{parity.samples} inputs, largest difference {parity.max_abs_diff:.2g}"

    def note(self, text: str) -> None:
        """Tell the user something and keep it."""
        self.notes.append(text)
        say(f"note: {text}")

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time a stage and print its line; what the block appends to the list is the line's text."""
        start, details = time.perf_counter(), []
        try:
            yield details
        finally:
            took = time.perf_counter() - start
            self.seconds[name] = round(took, 3)
            say(f"{name:<10}{took:6.2f} s  {', '.join(details)}".rstrip())


def write_reports(path: str | Path, reports: list[Report]) -> None:
    """Write the JSON file: the report of one model, or a list of them.

    Raises:
        ModelError: it can't be written.
    """
    found = [dataclasses.asdict(r) for r in reports]
    text = json.dumps(found[0] if len(found) == 1 else found, indent=2, ensure_ascii=False)
    write_atomically(Path(path), f"{text}\n".encode())


def summarize(reports: list[Report]) -> None:
    """Print the lines at the end, on stderr: one model in words, several as a table."""
    if len(reports) == 1:
        report, q = reports[0], reports[0].quantization
        say(f"exported {report.source} in {sum(report.seconds.values()):.1f} s")
        if q is not None and q["kind"] != "none":
            agreement = "" if q["top1_agreement"] is None else f"; top-1 agreement {q['top1_agreement']:.2%}"
            sizes = f"{q['quantized_bytes']:,} bytes, float32 would be {q['float32_bytes']:,}"
            say(f"{q['kind']}: {sizes}{agreement}")
        return
    width = max(len(r.source) for r in reports)
    for r in reports:
        if r.parity and r.bytes:
            found = f"{r.bytes:>12,} bytes  difference {r.parity['max_abs_diff']:.1e}"
        else:
            found = (r.reason or "").removeprefix(f"{r.source} ").replace(f"can't open {r.source}:", "can't open it:")
        seconds = f"{sum(r.seconds.values()):6.1f} s"
        say(f"{r.source:<{width}}  {r.status}  {seconds}  {found}")


def describe_tensors(tensors: tuple[Tensor, ...]) -> list[dict[str, Any]]:
    """Name, type and shape of each, a free batch as 'batch'."""
    return [{"name": t.name, "dtype": t.dtype, "shape": [t.shape[0] or "batch", *t.shape[1:]]} for t in tensors]
