import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from edgecnn import ImageError, InputError, Prediction
from edgecnn.sinks import Stderr, VideoFile, annotate, to_record, to_text, write_results
from edgecnn.sources import Failure

RESULT = Prediction(
    scores=np.array([0.07, 0.93], np.float32), labels=("ant", "bee"), provider="CPUExecutionProvider",
    ms={"decode": 0.31234, "preprocess": 0.02, "inference": 0.19}, source="a/b.jpg",
)  # fmt: skip
VALUE = Prediction(scores=np.array([21.5], np.float32), value=21.5, provider="CPU", source="x.csv", row=3)
FAILED = Failure("a/x.jpg", ImageError("the image is truncated"))


def lines(format, *results, **options):
    stream = io.StringIO()
    sink = write_results(format, stream, **options)
    for r in results:
        sink.write(r)
    sink.close()
    return stream.getvalue().splitlines()


def test_json_lines_are_the_interface():
    good, value, failed = map(json.loads, lines("jsonl", RESULT, VALUE, FAILED))
    bee, ant = {"label": "bee", "index": 1, "score": 0.93}, {"label": "ant", "index": 0, "score": 0.07}
    assert good == {
        "source": "a/b.jpg", "frame": 0, **bee, "top": [bee, ant], "provider": "CPUExecutionProvider",
        "ms": {"decode": 0.312, "preprocess": 0.02, "inference": 0.19},
    }  # fmt: skip
    assert value == {"source": "x.csv", "row": 3, "value": 21.5, "provider": "CPU", "ms": {}}
    assert failed == {
        "source": "a/x.jpg",
        "error": {"code": "unreadable_image", "message": "the image is truncated"},
    }


def test_live_results_add_their_age():
    import dataclasses

    live = dataclasses.replace(
        RESULT, source="0", frame=7, captured_at="2026-01-01T00:00:00.000Z", age_ms=12.34, dropped=2
    )
    record = to_record(live)
    assert (record["captured_at"], record["age_ms"], record["dropped"]) == ("2026-01-01T00:00:00.000Z", 12.3, 2)
    assert to_text(live) == "0 frame 7: bee 0.930, ant 0.070"


def test_the_best_class_is_the_first_of_the_top_also_beside_nan():
    odd = dataclasses.replace(RESULT, scores=np.array([np.nan, 0.4], np.float32))
    assert (odd.index, odd.label, odd.top(1)[0][:2]) == (1, "bee", ("bee", 1))
    assert to_record(odd)["label"] == "bee"


def test_text():
    assert lines("text", RESULT, FAILED, VALUE) == ["a/b.jpg: bee 0.930, ant 0.070", "x.csv row 3: 21.5"]


def test_top_k_and_threshold():
    assert [t["label"] for t in to_record(RESULT, top_k=1)["top"]] == ["bee"]
    assert [t["label"] for t in to_record(RESULT, threshold=0.5)["top"]] == ["bee"]
    unsure = to_record(RESULT, threshold=0.95)
    assert (unsure["label"], unsure["index"], unsure["score"], unsure["top"]) == (None, None, 0.93, [])
    assert to_text(RESULT, threshold=0.95) == "a/b.jpg: uncertain (bee 0.930)"


def test_scores_that_are_no_numbers_are_still_json():
    import dataclasses

    (line,) = lines("jsonl", dataclasses.replace(RESULT, scores=np.array([np.nan, np.nan], np.float32)))
    assert json.loads(line, parse_constant=lambda c: pytest.fail(c))["score"] is None


def test_a_row_tells_what_the_model_did_not_see():
    odd = dataclasses.replace(VALUE, missing=("age", "town"), unseen=("color",))
    record = json.loads(lines("jsonl", odd)[0])
    assert (record["missing"], record["unseen"]) == (["age", "town"], ["color"])
    assert lines("text", odd) == ["x.csv row 3: 21.5 (missing age, town; unseen color)"]


def test_csv_has_one_row_a_result():
    rows = list(csv.DictReader(lines("csv", RESULT, FAILED, VALUE)))
    assert [(r["source"], r["label"], r["value"], r["error"]) for r in rows] == [
        ("a/b.jpg", "bee", "", ""),
        ("a/x.jpg", "", "", "the image is truncated"),
        ("x.csv", "", "21.5", ""),
    ]
    assert float(rows[0]["score"]) == 0.93


@pytest.mark.parametrize(
    ("format", "options"), [("xml", {}), ("text", {"top_k": 0}), ("text", {"threshold": 2}), ("csv", {"threshold": -1})]
)
def test_wrong_options(format, options):
    with pytest.raises(InputError):
        write_results(format, io.StringIO(), **options)


def test_failures_go_to_stderr_once_with_their_name(capsys):
    Stderr().write(FAILED)
    Stderr().write(Failure("a/y.jpg", ImageError("a/y.jpg: empty")))
    Stderr().write(RESULT)
    assert capsys.readouterr().err == "edgecnn: a/x.jpg: the image is truncated\nedgecnn: a/y.jpg: empty\n"


def test_a_saved_video_can_be_read_again(tmp_path):
    import dataclasses

    from edgecnn.capture import read_video

    frame = np.full((48, 64, 3), 40, np.uint8)
    shown = dataclasses.replace(RESULT, image=frame)
    assert annotate(shown).shape == frame.shape
    assert not np.array_equal(annotate(shown), frame)
    assert np.all(frame == 40), "the caller's frame must stay as it is"
    path = tmp_path / "out.avi"
    sink = VideoFile(str(path))
    for _ in range(3):
        sink.write(shown)
    sink.write(FAILED)
    sink.close()
    assert len(list(read_video(str(path)))) == 3
