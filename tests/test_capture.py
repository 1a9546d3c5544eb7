"""Live capture, tested on a video file opened as if it were a camera: OpenCV reads both alike."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edgecnn import MissingDependencyError, SourceError
from edgecnn.capture import Camera, import_cv2, read_video, silenced


def drain(camera, pause=0.0):
    frames = []

    def read():
        for frame in camera:
            frames.append(frame)
            time.sleep(pause)

    with pytest.raises(SourceError) as caught:
        read()
    assert caught.value.code == "camera_lost"
    return frames


def test_all_frames_of_a_live_source(video):
    with Camera(str(video), frames="all") as camera:
        frames = drain(camera)
    assert [f.number for f in frames] == list(range(12))
    assert {f.dropped for f in frames} == {0}
    assert frames[0].timestamp.endswith("Z")
    assert abs(frames[0].captured_at - time.time()) < 30
    for file_frame, live_frame in zip(read_video(str(video)), frames, strict=True):
        np.testing.assert_array_equal(file_frame.image, live_frame.image)


def test_a_slow_consumer_gets_the_newest_frame_and_the_count_of_the_others(video):
    with Camera(str(video), frames="latest") as camera:
        time.sleep(0.5)
        frames = drain(camera, pause=0.05)
    assert frames[-1].number == 11
    assert sum(f.dropped + 1 for f in frames) == 12
    assert len(frames) < 12


def test_closing_does_not_wait_for_a_consumer(video):
    camera = Camera(str(video), frames="all")
    start = time.monotonic()
    camera.close()
    assert time.monotonic() - start < 5


def test_who_waits_for_a_frame_is_told_when_another_thread_closes(video, monkeypatch):
    waiting = threading.Event()

    def never(cv2, capture):
        waiting.wait(5)
        return False, None

    monkeypatch.setattr("edgecnn.capture._read", never)
    camera = Camera(str(video))
    reader = threading.Thread(target=lambda: list(camera), daemon=True)
    reader.start()
    camera._stop.set()
    reader.join(timeout=3)
    assert not reader.is_alive()
    waiting.set()
    camera.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_capture_that_fails_in_any_way_is_lost(video, monkeypatch):
    def broken(cv2, capture):
        raise MemoryError

    monkeypatch.setattr("edgecnn.capture._read", broken)
    with Camera(str(video)) as camera:
        assert drain(camera) == []


def test_threads_that_open_videos_at_once_leave_opencv_its_log_level():
    import cv2

    before = cv2.utils.logging.getLogLevel()
    first, second = silenced(cv2), silenced(cv2)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    second.__exit__(None, None, None)
    assert cv2.utils.logging.getLogLevel() == before


@pytest.mark.parametrize("source", ["97", "rtsp://127.0.0.1:9/none", "http://127.0.0.1:9/none.mjpg"])
def test_a_camera_that_is_not_there_is_one_line(source):
    # A process of its own: FFmpeg's log level is settled by the first video that a process opens.
    code = (
        "import sys, edgecnn.capture as c; s = sys.argv[1]\n"
        "try: c.Camera(int(s) if s.isdecimal() else s)\n"
        "except Exception as e: print(type(e).__name__, e.code, e)"
    )
    done = subprocess.run([sys.executable, "-c", code, source], capture_output=True, text=True, check=True)
    assert done.stderr == "", "OpenCV and FFmpeg must not print over our own message"
    assert done.stdout.startswith(f"SourceError camera_unavailable camera {source} can't be opened; check ")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'cv2'"), "pip install opencv-python "),
        (ImportError("libGL.so.1: cannot open shared object file"), r"apt-get install libgl1 .*headless"),
    ],
)
def test_without_a_working_opencv_both_ways_out_are_named(monkeypatch, error, message):
    import builtins

    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "cv2":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=message):
        import_cv2()
