"""Frames of cameras, network streams and video files, through OpenCV.

A live source is read on a thread of its own, so that a slow consumer gets the newest frame rather than a
growing backlog; a video file is read in step with its consumer, so that no frame is lost.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import queue
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, MissingDependencyError, SourceError

FRAMES = ("all", "latest")

_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 10_000
"""Longest wait for a network stream to open or to give a frame (OpenCV's own default is 30 s)."""

MAX_INDEX = 2**31 - 1
"""Largest index of a camera: OpenCV takes a C int, and 5.0 crashes the process at -1."""

_WAIT = 0.1
"""Seconds after which who waits for a frame, or for room for one, looks whether the camera was closed."""

_BACKLOG = 64
"""Frames kept for a consumer that wants all of them; past that the capture thread waits."""


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a video or camera."""

    source: str
    number: int
    """Counted from 0, dropped frames included."""
    image: npt.NDArray[np.uint8]
    """(H, W, 3) uint8, BGR."""
    captured_at: float | None = None
    """Live sources: seconds since the epoch."""
    dropped: int = 0
    """Frames skipped since the one before."""

    @property
    def timestamp(self) -> str | None:
        """captured_at as ISO 8601 in UTC with milliseconds."""
        if self.captured_at is None:
            return None
        at = datetime.fromtimestamp(self.captured_at, timezone.utc)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def import_cv2() -> Any:
    """The cv2 module.

    Raises:
        MissingDependencyError: cv2 is not installed, or a library that it needs is missing.
    """
    # FFmpeg's own log is set up when OpenCV loads it; -8 is its AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "cameras and videos need OpenCV; pip install opencv-python (or opencv-python-headless without a display)"
        ) from None
    except ImportError as e:
        raise MissingDependencyError(
            f"OpenCV is installed but can't be loaded ({e}); either apt-get install libgl1 libglib2.0-0, or "
            "pip uninstall opencv-python && pip install opencv-python-headless"
        ) from None
    return cv2


_silencing = threading.Lock()
_levels: list[int] = []
"""OpenCV's log level as it was, once for each thread that keeps it silent."""


@contextlib.contextmanager
def silenced(cv2: Any) -> Iterator[None]:
    """Keep OpenCV from printing what our own error says.

    Its level is the whole process's: the first thread to come silences it, the last to go puts it back.
    """
    logging = cv2.utils.logging
    with _silencing:
        _levels.append(_levels[0] if _levels else logging.getLogLevel())
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        with _silencing:
            level = _levels.pop()
            if not _levels:
                logging.setLogLevel(level)


def _as_opencv(source: int | str) -> int | bytes:
    """A name as bytes: at a str that is no UTF-8, as names of files may be, OpenCV 5.0 crashes the process."""
    return source if isinstance(source, int) else os.fsencode(source)


def is_url(source: object) -> bool:
    """Whether a source is a network stream such as rtsp://host/path."""
    return isinstance(source, str) and "://" in source


def read_video(path: str) -> Iterator[Frame]:
    """Every frame of a video file, in order.

    Raises:
        SourceError: the file can't be opened, or holds no frame.
    """
    cv2 = import_cv2()
    if not os.path.isfile(path):
        raise SourceError(f"{path}: no such file", code="missing_file")
    with silenced(cv2):
        capture = cv2.VideoCapture(_as_opencv(path))
    try:
        number = 0
        while True:
            ok, image = _read(cv2, capture)
            if not ok:
                break
            yield Frame(path, number, image)
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise SourceError(f"{path}: not a video that OpenCV can read (no frame)", code="unreadable_video")


def _read(cv2: Any, capture: Any) -> tuple[bool, npt.NDArray[np.uint8]]:
    try:
        ok, image = capture.read()
    except cv2.error:
        return False, np.empty((0, 0, 3), np.uint8)
    return bool(ok), image


class Camera:
    """A live source: a context manager that iterates over frames until it is closed or lost.

    Args:
        source: index of a local camera, or a URL.
        frames: latest (the newest frame; older ones are dropped and counted) or all.

    Raises:
        InputError: a negative index.
        SourceError: it can't be opened (code camera_unavailable); while iterating, it gave no more frames
            (code camera_lost).
    """

    def __init__(self, source: int | str, *, frames: str = "latest") -> None:
        if frames not in FRAMES:
            raise InputError(f"frames must be one of {', '.join(FRAMES)}; got {frames!r}")
        if isinstance(source, int) and not 0 <= source <= MAX_INDEX:
            raise InputError(f"a camera's index is 0 to {MAX_INDEX}, got {source}")
        self.name = str(source)
        self._cv2 = import_cv2()
        self._capture = self._open(source)
        self._latest = frames == "latest"
        self._queue: queue.Queue[Frame | None] = queue.Queue(1 if self._latest else _BACKLOG)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, name=f"capture {source}", daemon=True)
        self._thread.start()

    def _open(self, source: int | str) -> Any:
        cv2 = self._cv2
        if is_url(source):
            limits = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS,
            ]  # fmt: skip
            with silenced(cv2):
                capture = cv2.VideoCapture(_as_opencv(source), cv2.CAP_FFMPEG, limits)
            hint = "check the address, the network and the user name"
        else:
            with silenced(cv2):
                capture = cv2.VideoCapture(_as_opencv(source))
            hint = "check that it is plugged in, not in use, and that you may read it (ls -l /dev/video*)"
        if not capture.isOpened():
            raise SourceError(f"camera {source} can't be opened; {hint}", code="camera_unavailable")
        # A driver's own queue would age the newest frame; where it can't be set, this does nothing.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture

    def _pump(self) -> None:
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    break
                ok, image = _read(self._cv2, self._capture)
                if not ok:
                    break
                self._offer(Frame(self.name, number, image, time.time()))
        finally:  # whatever ended it, somebody waits
            self._put(None)

    def _offer(self, frame: Frame) -> None:
        """Queue a frame; in latest mode it takes the place of one that nobody fetched yet."""
        if self._latest:
            with contextlib.suppress(queue.Empty):
                stale = self._queue.get_nowait()
                if stale is not None:
                    frame = dataclasses.replace(frame, dropped=stale.dropped + 1)
        self._put(frame)

    def _put(self, frame: Frame | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(frame, timeout=_WAIT)
                return
            except queue.Full:
                continue

    def __iter__(self) -> Iterator[Frame]:
        last = -1
        while not self._stop.is_set():
            try:
                frame = self._queue.get(timeout=_WAIT)
            except queue.Empty:  # another thread may have closed the camera
                continue
            if frame is None:
                raise SourceError(f"camera {self.name} gave no more frames after {last + 1}", code="camera_lost")
            last = frame.number
            yield frame

    def close(self) -> None:
        """Stop capturing and free the device."""
        self._stop.set()
        self._thread.join(timeout=_READ_TIMEOUT_MS / 1e3)
        if not self._thread.is_alive():
            self._capture.release()

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
