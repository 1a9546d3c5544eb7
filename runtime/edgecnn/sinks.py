"""Where results go: text, JSON lines or CSV on a stream, a window, a video file.

A failed input is a record in JSON and CSV; in every format it is also one line on stderr.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from .capture import import_cv2, silenced
from .errors import InputError, SourceError
from .predictor import Prediction
from .sources import Failure
from .terminal import printable, say

FORMATS = ("text", "jsonl", "csv")

Result = Prediction | Failure

_encode = json.JSONEncoder(ensure_ascii=False).encode

_SAVED_FPS = 25.0
"""Frames a second of a saved video: sources seldom know theirs, and 25 plays everywhere."""


_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
"""Variables of the environment that say where windows go."""

_NO_DISPLAY = (
    "--show needs a display and an OpenCV with windows (opencv-python, not the headless one); leave it out, or use "
    "--save-video FILE"
)


class Sink(Protocol):
    """Takes results one by one."""

    def write(self, result: Result) -> None:
        """Show or store one result."""

    def close(self) -> None:
        """Finish; called once, also after an error."""


def write_results(format: str, stream: TextIO, *, top_k: int = 3, threshold: float = 0.0) -> Sink:
    """A sink that prints results.

    Args:
        format: text, jsonl or csv.
        stream: where the lines go; each is flushed, so that a pipe sees a result as it comes.
        top_k: classes listed.
        threshold: classes with a lower score are left out; a result whose best is lower has no label.
    """
    if top_k < 1 or not 0 <= threshold <= 1:
        raise InputError(f"top-k must be at least 1 and threshold 0 to 1, got {top_k} and {threshold}")
    if format == "text":
        return _Lines(stream, lambda r: to_text(r, top_k, threshold))
    if format == "jsonl":
        return _Lines(stream, lambda r: _encode(to_record(r, top_k, threshold)))
    if format == "csv":
        return _Csv(stream, threshold)
    raise InputError(f"format must be one of {', '.join(FORMATS)}; got {format!r}")


def to_record(result: Result, top_k: int = 3, threshold: float = 0.0) -> dict[str, Any]:
    """A result as the JSON object of one line."""
    record: dict[str, Any] = {"source": result.source}
    if result.row is not None:
        record["row"] = result.row
    elif result.frame is not None or isinstance(result, Prediction):
        record["frame"] = result.frame or 0
    if isinstance(result, Failure):
        return {**record, "error": {"code": result.error.code, "message": str(result.error)}}
    if result.value is not None:
        record["value"] = _finite(result.value)
    else:
        top = [
            {"label": label, "index": index, "score": _finite(score)}
            for label, index, score in result.top(top_k)
            if not score < threshold
        ]
        best = top[0] if top else {"label": None, "index": None, "score": _finite(result.score)}
        record |= {**best, "top": top}
    record |= {name: list(columns) for name, columns in _oddities(result) if columns}
    record |= {"provider": result.provider, "ms": {k: round(v, 3) for k, v in result.ms.items()}}
    if result.captured_at is not None:
        age = None if result.age_ms is None else round(result.age_ms, 1)
        record |= {"captured_at": result.captured_at, "age_ms": age, "dropped": result.dropped}
    return record


def _oddities(result: Prediction) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Columns of a row in which the model saw something else than the cell, by why."""
    return ("missing", result.missing), ("unseen", result.unseen)


def _finite(value: float) -> float | None:
    """The shortest decimal that is the same float32; JSON has no NaN and no infinity."""
    return float(str(np.float32(value))) if np.isfinite(value) else None


def to_text(result: Result, top_k: int = 3, threshold: float = 0.0) -> str | None:
    """A result as a line for people; None for a failure, which stderr tells."""
    if isinstance(result, Failure):
        return None
    where = str(result.source)
    if result.row is not None:
        where += f" row {result.row}"
    elif result.frame is not None:
        where += f" frame {result.frame}"
    odd = "; ".join(f"{name} {', '.join(columns)}" for name, columns in _oddities(result) if columns)
    odd = f" ({odd})" if odd else ""
    if result.value is not None:
        return printable(f"{where}: {result.value:.6g}{odd}")
    top = [f"{label} {score:.3f}" for label, _, score in result.top(top_k) if not score < threshold]
    return printable(f"{where}: {', '.join(top) or f'uncertain ({result.label} {result.score:.3f})'}{odd}")


class _Lines:
    def __init__(self, stream: TextIO, to_line: Callable[[Result], str | None]) -> None:
        self._stream = stream
        self._to_line = to_line

    def write(self, result: Result) -> None:
        line = self._to_line(result)
        if line is not None:
            self._stream.write(line + "\n")
            self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class _Csv:
    """One row a result: source, frame, row, label, index, score, value, error."""

    COLUMNS = ("source", "frame", "row", "label", "index", "score", "value", "error")

    def __init__(self, stream: TextIO, threshold: float) -> None:
        self._stream = stream
        self._threshold = threshold
        self._writer = csv.DictWriter(stream, self.COLUMNS, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def write(self, result: Result) -> None:
        record = to_record(result, 1, self._threshold)
        if "error" in record:
            record["error"] = record["error"]["message"]
        self._writer.writerow(record)
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class Stderr:
    """One line on stderr for each failed input."""

    def write(self, result: Result) -> None:
        """Print a failure; other results are for the other sinks."""
        if isinstance(result, Failure):
            where = "" if result.source in str(result.error) else f"{result.source}: "
            say(f"edgecnn: {where}{result.error}")

    def close(self) -> None:
        """Nothing to finish."""


def annotate(result: Prediction, top_k: int = 3) -> npt.NDArray[np.uint8]:
    """A copy of a result's frame with its best classes written into it.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    import cv2

    assert result.image is not None
    image = np.ascontiguousarray(result.image).copy()
    scale = max(image.shape[0] / 480, 0.4)
    for i, (label, _, score) in enumerate(result.top(top_k)):
        # OpenCV's built-in fonts have ASCII only.
        text = f"{score:5.1%} {label}".encode("ascii", "replace").decode()
        at = (int(10 * scale), int(24 * scale * (i + 1)))
        for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
            cv2.putText(
                image,
                text,
                at,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.7 * scale,
                color,
                max(1, round(width * scale)),
                cv2.LINE_AA,
            )
    return image


class Window:
    """A window that shows each frame with its result; q or Esc ends the run (stopped becomes True).

    Raises:
        InputError: there is no display.
    """

    def __init__(self) -> None:
        # Qt, which OpenCV's wheel opens windows with, ends the process where it finds none of these.
        if sys.platform == "linux" and not any(map(os.environ.get, _DISPLAYS)):
            raise InputError(_NO_DISPLAY)
        self._cv2 = import_cv2()
        self.stopped = False

    def write(self, result: Result) -> None:
        """Show a frame.

        Raises:
            InputError: there is no display.
        """
        if isinstance(result, Failure) or result.image is None:
            return
        try:
            self._cv2.imshow("edgecnn", annotate(result))
            key = self._cv2.waitKey(1) & 0xFF
        except self._cv2.error:
            raise InputError(_NO_DISPLAY) from None
        self.stopped = key in (ord("q"), 27)

    def close(self) -> None:
        """Close the window."""
        if hasattr(self._cv2, "destroyAllWindows"):
            try:
                self._cv2.destroyAllWindows()
            except self._cv2.error:
                return


class VideoFile:
    """A video of the frames with their results, MP4 (or what the suffix says)."""

    def __init__(self, path: str) -> None:
        self._cv2 = import_cv2()
        self._path = path
        self._writer: Any = None

    def write(self, result: Result) -> None:
        """Append a frame; frames of another size are scaled to the first one's.

        Raises:
            SourceError: the file can't be written.
        """
        if isinstance(result, Failure) or result.image is None:
            return
        frame = annotate(result)
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            codec = "MJPG" if self._path.lower().endswith(".avi") else "mp4v"
            path, fourcc = os.fsencode(self._path), self._cv2.VideoWriter_fourcc(*codec)
            with silenced(self._cv2):
                self._writer = self._cv2.VideoWriter(path, fourcc, _SAVED_FPS, size)
            self._size = size
            if not self._writer.isOpened():
                raise SourceError(
                    f"{self._path}: can't be written as a video; name a .mp4 or .avi in a folder that you may write to",
                    code="unwritable",
                )
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = self._cv2.resize(frame, self._size)
        self._writer.write(frame)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()
