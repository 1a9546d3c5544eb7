"""`edgecnn info`: what a model file says of itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from .session import Session
from .spec import ModelSpec
from .terminal import show

_COLUMNS = 60
"""Columns shown at most."""


def read_info(path: str) -> dict[str, Any]:
    """A model's inputs, outputs, size and recipe as JSON types; input and output are the first of them.

    Raises:
        ModelError: no usable ONNX model.
    """
    session = Session(path, device="cpu", several=True)
    spec = session.read_spec()
    inputs = [{"name": p.name, "shape": list(p.shape), "dtype": p.dtype} for p in session.inputs]
    outputs = [{"name": p.name, "shape": list(p.shape)} for p in session.outputs]
    return {
        "model": str(session.path),
        "bytes": session.path.stat().st_size,
        "sealed": session.sealed,
        "input": inputs[0],
        "inputs": inputs,
        "output": outputs[0],
        "outputs": outputs,
        "spec": None if spec is None else json.loads(spec.to_json()),
        "recipe": _describe(spec),
        "columns": None if spec is None or spec.table is None else {c.name: c.describe() for c in spec.table.recipes},
    }


def _describe(spec: ModelSpec | None) -> str | None:
    if spec is None or (spec.pixels is None and spec.table is None):
        return None
    if spec.pixels is not None:
        return spec.pixels.describe()
    assert spec.table is not None
    return f"table of {spec.table.describe()}"


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="edgecnn info", description=__doc__)
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    info = read_info(args.model)
    if args.json:
        print(json.dumps(info, ensure_ascii=False, indent=2))
        return 0
    seal = "as exported" if info["sealed"] else "no digest: written or changed by another program"
    show(f"{info['model']}: {info['bytes'] / 1000:.0f} kB, {seal}")
    for port in info["inputs"]:
        show(f"  input   {port['name']} {_shape(port['shape'])} {port['dtype']}")
    for port in info["outputs"]:
        show(f"  output  {port['name']} {_shape(port['shape'])}")
    spec = info["spec"]
    show(f"  recipe  {info['recipe'] or _why_none(info)}")
    if spec is None:
        return 0
    columns = info["columns"] or {}
    for name, rule in list(columns.items())[:_COLUMNS]:
        show(f"            {name}: {rule}")
    if len(columns) > _COLUMNS:
        show(f"            and {len(columns) - _COLUMNS} more (--json shows all)")
    labels = spec["labels"]
    show(f"  head    {spec['head']}")
    show(f"  labels  {f'{len(labels)}: ' + _short(labels) if labels else 'none'}")
    for key, value in spec["provenance"].items():
        show(f"  {key}  {value}")
    return 0


def _why_none(info: dict[str, Any]) -> str:
    """Why a model has no recipe, and what to do."""
    if not any(len(port["shape"]) == 4 for port in info["inputs"]):
        return "none: no input is an image; run it through onnxruntime directly"
    if info["spec"] is None:
        return "none: not written by edgecnn, or exported without one; predict needs --preset"
    return "unknown: export again with --preset, or name one to predict"


def _shape(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(str(s) for s in shape) + ")"


def _short(labels: Sequence[str], limit: int = 12) -> str:
    return ", ".join(labels[:limit]) + (", ..." if len(labels) > limit else "")
