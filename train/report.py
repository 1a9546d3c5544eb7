"""The report beside a model: report.json for programs, report.html, which needs no other file, for people."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.errors import ModelError

from .progress import note

if TYPE_CHECKING:
    import keras

THUMBNAIL = 128
"""Side of an example image, pixels."""

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}figure{display:inline-block;margin:.3rem;
text-align:center;font-size:12px}pre{background:#f6f6f6;padding:.7rem;overflow:auto}"""


def report_paths(output: Path) -> tuple[Path, Path]:
    """Where report.json and report.html of a model are written."""
    return tuple(output.with_name(f"{output.stem}.report{suffix}") for suffix in (".json", ".html"))


class Report:
    """Collects sections, then writes both files.

    Args:
        data: what report.json holds: JSON types.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._sections: list[str] = []

    def add_numbers(self, title: str, numbers: dict[str, Any]) -> None:
        """A table of names and values."""
        rows = "".join(f"<tr><td>{_text(k)}</td><td>{_text(_number(v))}</td></tr>" for k, v in numbers.items())
        self._sections.append(f"<h2>{_text(title)}</h2><table>{rows}</table>")

    def add_classes(self, per_class: dict[str, dict[str, float]]) -> None:
        """Precision, recall, F1 and support of each class."""
        names = list(next(iter(per_class.values())))
        head = "".join(f"<th>{n}</th>" for n in ["class", *names])
        body = "".join(
            f"<tr><td>{_text(label)}</td>" + "".join(f"<td>{_number(row[n])}</td>" for n in names) + "</tr>"
            for label, row in per_class.items()
        )
        self._sections.append(f"<h2>Classes</h2><table><tr>{head}</tr>{body}</table>")

    def add_images(self, title: str, images: Sequence[tuple[np.ndarray, str]]) -> None:
        """Pictures, (h, w, 3) uint8 RGB, with a caption each."""
        if images:
            figures = "".join(
                f'<figure><img src="{_png(_thumbnail(image))}"><figcaption>{_text(caption)}</figcaption></figure>'
                for image, caption in images
            )
            self._sections.append(f"<h2>{_text(title)}</h2>{figures}")

    def add_text(self, title: str, text: str) -> None:
        """Text as it stands."""
        self._sections.append(f"<h2>{_text(title)}</h2><pre>{_text(text)}</pre>")

    def add_curves(self, history: dict[str, list[float]], best_epoch: int) -> None:
        """Loss and metrics over the epochs, training and validation."""
        names = [n for n in history if not n.startswith("val_") and n != "learning_rate"]

        def draw(figure):
            for axes, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
                for key, label in ((name, "training"), (f"val_{name}", "validation")):
                    if key in history:
                        axes.plot(range(1, len(history[key]) + 1), history[key], label=label)
                axes.axvline(best_epoch, color="gray", linewidth=0.8, linestyle=":")
                axes.set(title=name, xlabel="epoch")
                axes.legend()

        self._add_plot("Learning curves", draw, (4.5 * len(names), 3.5))

    def add_confusion(self, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
        """Rows are the truth, columns the answers."""

        def draw(figure):
            from sklearn.metrics import ConfusionMatrixDisplay

            shown = ConfusionMatrixDisplay(np.asarray(confusion), display_labels=labels)
            shown.plot(ax=figure.subplots(), cmap="Blues", colorbar=False, xticks_rotation="vertical")

        side = min(12.0, 2.5 + 0.5 * len(labels))
        self._add_plot("Confusion matrix", draw, (side, side))

    def add_roc(self, scores: np.ndarray, truth: np.ndarray) -> None:
        """ROC and precision-recall of class 1: scores (n,) float, truth (n,) 0 or 1."""

        def draw(figure):
            from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

            left, right = figure.subplots(1, 2)
            RocCurveDisplay.from_predictions(truth, scores, ax=left)
            PrecisionRecallDisplay.from_predictions(truth, scores, ax=right)

        self._add_plot("ROC and precision-recall", draw, (9, 4))

    def add_scatter(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Answers over true values of a regression, both (n,) float."""

        def draw(figure):
            axes = figure.subplots()
            axes.plot(truth, predicted, ".", alpha=0.5)
            axes.axline((float(truth.min()),) * 2, slope=1, color="gray", linewidth=0.8)
            axes.set(xlabel="true", ylabel="predicted")

        self._add_plot("Predicted and true values", draw, (5, 5))

    def _add_plot(self, title: str, draw: Any, size: tuple[float, float]) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError:
            self._sections.append(f"<h2>{title}</h2><p>for plots: python -m pip install matplotlib</p>")
            return
        # Figure without pyplot: no window system, no global state.
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100)
        self._sections.append(f'<h2>{title}</h2><img src="{_data_url(file.getvalue())}">')

    def write(self, output: Path) -> None:
        """Write both files beside the model.

        Raises:
            ModelError: they can't be written.
        """
        data, page = report_paths(output)
        title = f"{output.name}: {_text(str(self._data.get('trained_by', 'edgecnn')))}"
        body = "".join(self._sections)
        text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        try:
            data.write_text(json.dumps(self._data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            page.write_text(f"{text}<h1>{title}</h1>{body}</html>\n", encoding="utf-8")
        except OSError as e:
            raise ModelError(f"{page} can't be written: {e.strerror or e}; the model is saved") from None
        note(f"report {page}")


def summary(model: keras.Model) -> str:
    """Keras's summary as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    return "\n".join(lines)


def _text(text: object) -> str:
    return html.escape(str(text))


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(image)
    scale = THUMBNAIL / max(picture.size)
    return np.asarray(picture.resize([max(1, round(s * scale)) for s in picture.size]))


def _png(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return _data_url(file.getvalue())


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
