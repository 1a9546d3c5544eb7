"""`edgecnn doctor`: what is installed, what really works, and what to do about the rest."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
from collections.abc import Callable, Sequence
from typing import Any

from . import _core
from .capture import import_cv2
from .errors import EdgeCNNError
from .predictor import default_model, embedded_model
from .session import Session, import_onnxruntime
from .terminal import say, show

_PACKAGES = (
    "numpy", "pillow", "simplejpeg", "kornia-rs", "onnxruntime", "onnxruntime-gpu", "opencv-python",
    "opencv-python-headless", "tensorflow", "tensorflow-cpu", "keras", "tf-keras", "tf2onnx", "onnx", "scikit-learn",
)  # fmt: skip

_RIVALS = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("opencv-python", "opencv-python-headless"),
    ("tensorflow", "tensorflow-cpu"),
)
"""Pairs that install the same module over each other."""


def examine() -> dict[str, Any]:
    """Versions, processor, providers, and a list of problems; JSON types."""
    versions = {name: _version(name) for name in _PACKAGES}
    problems = [
        f"{a} and {b} are both installed and overwrite each other's files; pip uninstall both, then install one"
        for a, b in _RIVALS
        if versions[a] and versions[b]
    ]
    report: dict[str, Any] = {
        "edgecnn": _core.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "kernel": {"isa": _core.isa(), "available": list(_core.available_isas())},
        "packages": {name: v for name, v in versions.items() if v},
        "providers": [],
        "device": None,
        "cv2": None,
        "default_model": str(default_model()),
    }
    _try(problems, lambda: report.update(providers=import_onnxruntime().get_available_providers()))
    _try(problems, lambda: report.update(device=Session(embedded_model()).provider))
    _try(problems, lambda: report.update(cv2=import_cv2().__version__))
    return {**report, "problems": problems}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try(problems: list[str], step: Callable[[], None]) -> None:
    try:
        step()
    except EdgeCNNError as e:
        if str(e) not in problems:
            problems.append(str(e))


def main(argv: Sequence[str]) -> int:
    """The command; exit status 2 where no model can run here."""
    parser = argparse.ArgumentParser(prog="edgecnn doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    report = examine()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 0 if report["device"] else 2


def _print(report: dict[str, Any]) -> None:
    show(f"edgecnn {report['edgecnn']}, Python {report['python']}, {report['platform']}")
    kernel = report["kernel"]
    show(f"kernel     {kernel['isa']} (this processor runs {', '.join(kernel['available'])})")
    show(f"providers  {', '.join(report['providers']) or 'none'}; auto runs on {report['device'] or 'nothing'}")
    show(f"model      {report['default_model']} without --model")
    show(f"packages   {', '.join(f'{k} {v}' for k, v in report['packages'].items())}")
    for problem in report["problems"]:
        say(f"problem    {problem}")
    if not report["problems"]:
        show("no problems found")
