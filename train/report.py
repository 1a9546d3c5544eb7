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
from edgecnn.terminal import say

from .evaluate import ECE_BINS, accuracy_interval, calibration_bins

if TYPE_CHECKING:
    import keras

    from .compare import Comparison

THUMBNAIL = 128
"""Side of an example image, pixels."""

_PLOTS = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#8a94a6", "axes.labelcolor": "#5d6b7e",
    "xtick.color": "#5d6b7e", "ytick.color": "#5d6b7e", "font.size": 10, "axes.titlesize": 11,
}  # fmt: skip
"""matplotlib's settings of every plot."""

_BLUE, _ORANGE, _GRAY = "#2563eb", "#ea7317", "#8a94a6"

_STYLE = """:root{--ink:#1c2430;--soft:#5d6b7e;--line:#dfe4ea;--card:#fff;--page:#f5f7f9;--blue:#2563eb}
*{box-sizing:border-box}
body{font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;margin:0;color:var(--ink);background:var(--page)}
main{max-width:66rem;margin:0 auto;padding:2rem 1.2rem 4rem}h1{font-size:1.7rem;margin:0}
h1+p{color:var(--soft);margin:.2rem 0 1.4rem}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.3rem 1.2rem;margin:1rem 0}
h2{font-size:1.05rem;margin:0 0 .7rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.8rem 1rem}
.card b{display:block;font-size:1.55rem;line-height:1.2;font-variant-numeric:tabular-nums}
.card:first-child b{color:var(--blue)}.card small{color:var(--soft);display:block}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.28rem 1rem .28rem 0;border-bottom:1px solid var(--line);text-align:right}
th{color:var(--soft);font-weight:500}td:first-child,th:first-child{text-align:left}tr:last-child td{border-bottom:0}
img{max-width:100%;vertical-align:middle}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:.8rem}
figure{margin:0;text-align:center;font-size:12px;line-height:1.35;color:var(--soft)}
figure img{display:block;height:128px;width:100%;object-fit:contain;background:var(--page);border-radius:6px;
margin-bottom:.25rem;image-rendering:pixelated}
pre{background:var(--page);border-radius:6px;padding:.8rem;overflow:auto;margin:0;font-size:12.5px;line-height:1.4}
ul{margin:0;padding-left:1.2rem}.wide{overflow-x:auto}.wide td:last-child,.wide th:last-child{text-align:left}
summary{cursor:pointer;font-weight:600}details pre{margin-top:.7rem}
@media print{body{background:#fff}section,.card{break-inside:avoid}}"""


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

    def add_headline(self, numbers: dict[str, Any], facts: dict[str, Any]) -> None:
        """What one wants to know first: cards of the numbers of evaluate.py, then facts of the training."""
        cards = _value_cards(numbers) if "r2" in numbers else _class_cards(numbers)
        shown = "".join(
            f"<div class=card><small>{_text(name)}</small><b>{value}</b><small>{_text(note)}</small></div>"
            for name, value, note in cards
        )
        self._sections.append(f"<div class=cards>{shown}</div>")
        self.add_numbers("Training and size", facts)

    def add_findings(self, title: str, lines: Sequence[str]) -> None:
        """A list of what was found; nothing where there is nothing."""
        if lines:
            self._add(title, "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>")

    def add_table(self, title: str, rows: Sequence[Sequence[object]], head: Sequence[str]) -> None:
        """Rows of cells under a head; a number is shown with four digits, None as nothing."""
        shown = [["" if cell is None else _number(cell) for cell in row] for row in rows]
        self._add(title, f"<div class=wide>{_table(shown, head=head)}</div>")

    def add_numbers(self, title: str, numbers: dict[str, Any]) -> None:
        """A table of names and values."""
        self._add(title, _table([[name.replace("_", " "), _number(value)] for name, value in numbers.items()]))

    def add_classes(self, per_class: dict[str, dict[str, float]]) -> None:
        """Precision, recall, F1 and support of each class."""
        names = list(next(iter(per_class.values())))
        rows = [[label, *(_number(row[n]) for n in names)] for label, row in per_class.items()]
        self._add("Classes", _table(rows, head=["class", *names]))

    def add_images(self, title: str, images: Sequence[tuple[np.ndarray, str]]) -> None:
        """Pictures, (h, w, 3) uint8 RGB, with a caption each."""
        if images:
            figures = "".join(
                f'<figure><img alt="" src="{_png(_thumbnail(image))}">{_text(caption)}</figure>'
                for image, caption in images
            )
            self._add(title, f"<div class=gallery>{figures}</div>")

    def add_text(self, title: str, text: str, *, folded: bool = False) -> None:
        """Text as it stands; folded: shown on a click."""
        if folded:
            self._sections.append(
                f"<section><details><summary>{_text(title)}</summary><pre>{_text(text)}</pre></details></section>"
            )
        else:
            self._add(title, f"<pre>{_text(text)}</pre>")

    def add_resizes(self, compared: Sequence[Comparison], pictures: Sequence[np.ndarray], samples: int) -> None:
        """What other loaders' pixels come to, with one image (h, w, 3) uint8 RGB as each loads it."""
        own = compared[0].accuracy
        rows = [
            [c.name, f"{c.accuracy:.1%}", f"{c.accuracy - own:+.1%}", f"{c.changed:.1%}", f"{c.difference:.2f}"]
            + ([] if c.trained is None else [f"{c.trained:.1%}", f"{c.trained - own:+.1%}"])
            for c in compared
        ]
        head = ["pixels as loaded by", "accuracy", "against its own", "other answers", "difference, levels"]
        head += ["trained so", "against its own"][: len(rows[0]) - len(head)]
        low, high = accuracy_interval(own, samples)
        luck = (
            f"<p>On {samples} images an accuracy of {own:.1%} stands for {low:.0%} to {high:.0%}: smaller differences "
        )
        self._add("Other loaders' pixels", _table(rows, head=head) + luck + "may be luck.</p>")

        def draw(figure):
            axes = figure.subplots()
            at = np.arange(len(compared))[::-1]
            # Where each loader was trained with as well, its two bars share a line.
            height = 0.8 if compared[0].trained is None else 0.4
            axes.barh(at, [c.accuracy for c in compared], height, color=_BLUE, label="this model on those pixels")
            if compared[0].trained is not None:
                axes.barh(at - height, [c.trained for c in compared], height, color=_GRAY, label="trained on them too")
                axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
            axes.set_yticks(at - (0.8 - height) / 2, [c.name for c in compared])
            axes.axvline(own, color=_GRAY, linewidth=0.8, linestyle=":")
            axes.set(xlabel="validation accuracy", xlim=(0, 1))

        self._add_plot("Accuracy by loader", draw, (8, 0.6 + 0.45 * len(compared)))
        self.add_images("One image as each loads it", [(p, c.name) for p, c in zip(pictures, compared, strict=True)])

    def add_curves(self, history: dict[str, list[float]], best_epoch: int) -> None:
        """Loss and metrics over the epochs, training and validation."""
        names = [n for n in history if not n.startswith("val_") and n != "learning_rate"]

        def draw(figure):
            for axes, name in zip(np.ravel(figure.subplots(1, len(names))), names, strict=True):
                for key, label, color in ((name, "training", _GRAY), (f"val_{name}", "validation", _BLUE)):
                    if key in history:
                        axes.plot(range(1, len(history[key]) + 1), history[key], label=label, color=color)
                axes.axvline(best_epoch, color=_ORANGE, linewidth=1, linestyle=":", label="kept")
                axes.set(title=name, xlabel="epoch")
                axes.legend(frameon=False)

        self._add_plot("Learning curves", draw, (4.8 * len(names), 3.5))

    def add_confusion(self, confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
        """Rows are the truth, columns the answers."""

        def draw(figure):
            from sklearn.metrics import ConfusionMatrixDisplay

            shown = ConfusionMatrixDisplay(np.asarray(confusion), display_labels=labels)
            turned = "vertical" if max(map(len, labels)) > 4 and len(labels) > 4 else "horizontal"
            shown.plot(ax=figure.subplots(), cmap="Blues", colorbar=False, xticks_rotation=turned)

        side = min(12.0, 2.6 + 0.45 * len(labels))
        self._add_plot("Confusion matrix", draw, (side, side))

    def add_roc(self, scores: np.ndarray, truth: np.ndarray, positive: str) -> None:
        """ROC and precision-recall of class 1, by its name: scores (n,) float, truth (n,) 0 or 1."""

        def draw(figure):
            from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

            left, right = figure.subplots(1, 2)
            RocCurveDisplay.from_predictions(truth, scores, ax=left, plot_chance_level=True, name=positive)
            PrecisionRecallDisplay.from_predictions(truth, scores, ax=right, plot_chance_level=True, name=positive)

        self._add_plot(f"ROC and precision-recall of {positive!r}", draw, (9, 4.2))

    def add_calibration(self, scores: np.ndarray, truth: np.ndarray, ece: float) -> None:
        """Accuracy over confidence: scores (n, classes) float, truth (n,) int."""
        bins = calibration_bins(scores, truth)

        def draw(figure):
            left, right = figure.subplots(1, 2)
            left.plot([0, 1], [0, 1], color=_GRAY, linewidth=0.8, linestyle=":")
            left.plot(bins.confidence, bins.accuracy, "o-", color=_BLUE, markersize=4)
            left.set(xlabel="mean confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02), title=f"ECE {ece:.3f}")
            right.bar(bins.confidence, bins.share, width=0.8 / ECE_BINS, color=_BLUE)
            right.set(xlabel="mean confidence", ylabel="share of the samples", xlim=(0, 1))

        self._add_plot("Calibration", draw, (9, 3.8))

    def add_residuals(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Answers of a regression over true values, and their errors, all (n,) float."""

        def draw(figure):
            left, middle, right = figure.subplots(1, 3)
            left.plot(truth, predicted, ".", color=_BLUE, alpha=0.5, markersize=4)
            left.axline((float(truth.min()),) * 2, slope=1, color=_GRAY, linewidth=0.8, linestyle=":")
            left.set(xlabel="true", ylabel="predicted")
            middle.plot(predicted, predicted - truth, ".", color=_BLUE, alpha=0.5, markersize=4)
            middle.axhline(0, color=_GRAY, linewidth=0.8, linestyle=":")
            middle.set(xlabel="predicted", ylabel="predicted - true")
            right.hist(predicted - truth, bins=30, color=_BLUE)
            right.axvline(0, color=_GRAY, linewidth=0.8, linestyle=":")
            right.set(xlabel="predicted - true", ylabel="rows")

        self._add_plot("Predicted and true values", draw, (11, 3.7))

    def add_importance(self, importance: dict[str, tuple[float, float]], metric: str) -> None:
        """How much a metric falls when a column is shuffled: mean and spread by column, the highest first."""
        names = list(importance)[::-1]

        def draw(figure):
            axes = figure.subplots()
            means, spreads = zip(*(importance[name] for name in names), strict=True)
            axes.barh([_shorten(name) for name in names], means, xerr=spreads, color=_BLUE, ecolor=_GRAY, height=0.6)
            axes.axvline(0, color=_GRAY, linewidth=0.8)
            axes.set(xlabel=f"{metric} lost when the column is shuffled")

        self._add_plot("What the answer depends on", draw, (8, 1 + 0.28 * len(names)))

    def _add(self, title: str, body: str) -> None:
        self._sections.append(f"<section><h2>{_text(title)}</h2>{body}</section>")

    def _add_plot(self, title: str, draw: Any, size: tuple[float, float]) -> None:
        try:
            from matplotlib import rc_context
            from matplotlib.figure import Figure
        except ImportError:
            self._add(title, "<p>for plots: python -m pip install matplotlib</p>")
            return
        with rc_context(_PLOTS):
            # Figure without pyplot: no window system, no global state.
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=150)
        self._add(title, f'<img alt="" width="{size[0] * 100:.0f}" src="{_data_url(file.getvalue())}">')

    def write(self, output: Path) -> None:
        """Write both files beside the model.

        Raises:
            ModelError: they can't be written.
        """
        data, page = report_paths(output)
        title, subtitle = _text(output.name), _text(str(self._data.get("trained_by", "edgecnn")))
        head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>"
        text = (
            f"<!doctype html><html lang=en>{head}<style>{_STYLE}</style><main><h1>{title}</h1><p>{subtitle}</p>"
            f"{''.join(self._sections)}</main></html>\n"
        )
        try:
            data.write_text(json.dumps(self._data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            page.write_text(text, encoding="utf-8")
        except OSError as e:
            raise ModelError(f"{page} can't be written: {e.strerror or e}; the model is saved") from None
        say(f"report {page}")


def summary(model: keras.Model) -> str:
    """Keras's summary as text."""
    lines: list[str] = []
    model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    return "\n".join(lines)


def _class_cards(numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    low, high = accuracy_interval(numbers["accuracy"], numbers["samples"])
    interval = f"of {numbers['samples']}; 95% interval {low:.0%} to {high:.0%}"
    cards = [
        ("accuracy", f"{numbers['accuracy']:.1%}", interval),
        ("balanced accuracy", f"{numbers['balanced_accuracy']:.1%}", "mean recall of the classes"),
        ("calibration error", f"{numbers['ece']:.3f}", "ECE: confidence against accuracy"),
    ]
    if "roc_auc" in numbers:
        cards.insert(1, ("ROC AUC", f"{numbers['roc_auc']:.3f}", "0.5 is chance"))
    return cards


def _value_cards(numbers: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        ("R2", f"{numbers['r2']:.3f}", f"of {numbers['samples']}; 1 is perfect, 0 the mean"),
        ("mean absolute error", f"{numbers['mae']:.4g}", "in the target's unit"),
        ("root mean square error", f"{numbers['rmse']:.4g}", "large errors count more"),
    ]


def _shorten(name: str, most: int = 32) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    first = "<tr>" + "".join(f"<th>{_text(name)}</th>" for name in head) + "</tr>" if head else ""
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{first}{body}</table>"


def _text(text: object) -> str:
    return html.escape(str(text))


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


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
