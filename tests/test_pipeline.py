import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from edgecnn import InputError, ModelError, Predictor, SourceError
from edgecnn.pipeline import run, run_live
from edgecnn.sources import Failure, ImageFile, read_sources


@pytest.fixture
def predictor(image_model):
    return Predictor(image_model, threads=1)


@pytest.fixture
def mixed(photos):
    """Good and bad images in turn."""
    (photos / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    good = sorted(str(p) for p in photos.glob("*/one.*"))
    return [good[0], str(photos / "bad.jpg"), str(photos / "none.png"), good[1], str(photos / "bad.jpg"), good[2]] * 3


@pytest.mark.parametrize("batch_size", [1, 2, 4, 100])
@pytest.mark.parametrize("workers", [1, 3])
def test_results_and_failures_come_in_the_order_of_the_input(predictor, mixed, batch_size, workers):
    results = list(run(predictor, read_sources(mixed, None), batch_size=batch_size, workers=workers))
    assert [r.source for r in results] == mixed
    kinds = [r.error.code if isinstance(r, Failure) else r.label for r in results]
    assert kinds == ["blue", "unreadable_image", "missing_file", "green", "unreadable_image", "red"] * 3


def test_batches_are_full(predictor, photos, monkeypatch):
    sizes = []
    real = predictor.infer
    monkeypatch.setattr(predictor, "infer", lambda batch, ms: sizes.append(len(batch)) or real(batch, ms))
    paths = [str(p) for p in sorted(photos.glob("*/one.*"))] * 3
    list(run(predictor, read_sources(paths, None), batch_size=4))
    assert sizes == [4, 4, 1]


def test_a_slow_source_does_not_hold_back_what_is_done(predictor, photos):
    release = threading.Event()

    def items():
        yield ImageFile(str(photos / "red" / "one.png"))
        release.wait(10)
        yield ImageFile(str(photos / "green" / "one.jpg"))

    results = run(predictor, items())
    assert next(results).label == "red"
    assert not release.is_set()
    release.set()
    assert [r.label for r in results] == ["green"]


def test_only_a_bounded_number_of_items_is_prepared_ahead(predictor, photos):
    taken = 0

    def items():
        nonlocal taken
        while True:
            taken += 1
            yield ImageFile(str(photos / "red" / "one.png"))

    results = run(predictor, items(), workers=2)
    next(results)
    time.sleep(0.3)
    assert taken < 20
    before = threading.active_count()
    results.close()
    time.sleep(0.3)
    assert threading.active_count() < before, "an abandoned run must stop its threads"


def test_an_error_in_the_source_reaches_the_caller(predictor):
    def items():
        yield Failure("a", SourceError("gone"))
        raise RuntimeError("broken source")

    results = run(predictor, items())
    assert next(results).source == "a"
    with pytest.raises(RuntimeError, match="broken source"):
        next(results)


def test_a_model_without_a_recipe_ends_the_run(tmp_path, make_color_model, photos):
    predictor = Predictor(make_color_model(tmp_path / "m.onnx", spec=None))
    with pytest.raises(ModelError, match="carries no recipe"):
        list(run(predictor, read_sources([str(photos)], None)))


def test_wrong_options(predictor):
    with pytest.raises(InputError):
        list(run(predictor, [], batch_size=0))
    with pytest.raises(InputError):
        list(run(predictor, [], workers=0))


def test_live_results_carry_their_frame_and_age(predictor, video):
    results = []
    with pytest.raises(SourceError, match="gave no more frames"):
        results.extend(run_live_into(results, predictor, str(video), frames="all"))
    assert [r.frame for r in results] == list(range(12))
    assert [r.label for r in results] == ["red"] * 4 + ["green"] * 4 + ["blue"] * 4
    for r in results:
        assert r.captured_at is not None
        assert 0 <= r.age_ms < 10_000
        assert r.dropped == 0
        assert isinstance(r.image, np.ndarray)


def run_live_into(results, *args, **kwargs):
    for r in run_live(*args, **kwargs):
        results.append(r)
    return []


def test_live_stops_after_max_frames(predictor, video):
    assert [r.frame for r in run_live(predictor, str(video), frames="all", max_frames=3)] == [0, 1, 2]


@pytest.mark.parametrize("wrong", [{"max_frames": 0}, {"max_frames": -1}, {"max_age_ms": -5.0},
                                   {"max_age_ms": float("nan")}])  # fmt: skip
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_limits_that_no_frame_would_meet_are_refused(predictor, video, scheme, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name} must be .* got {value}"):
        next(predictor.stream(f"{scheme}{video}", **wrong))


@pytest.mark.parametrize("index", [-1, 2**31])
def test_an_index_that_no_camera_has(index):
    # A process of its own: OpenCV crashes at -1.
    code = f"import edgecnn; next(edgecnn.Predictor().stream({index}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"InputError: a camera's index is 0 to 2147483647, got {index}" in done.stderr


def test_frames_that_are_too_old_are_dropped_and_counted(predictor, video):
    with pytest.raises(SourceError, match="gave no more frames"):
        list(run_live(predictor, str(video), frames="all", max_age_ms=1e-9))
