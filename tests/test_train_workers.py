"""Several workers: which one is this, by $TF_CONFIG? What they train is in test_train_devices.py."""

import json
from pathlib import Path

import pytest

from edgecnn.errors import InputError
from edgecnn.train.workers import find_worker, own_output


def test_without_tf_config_there_is_one_worker(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert find_worker() == (0, 1)


@pytest.mark.parametrize(
    ("cluster", "task", "index", "expected"),
    [
        ({"worker": ["a:1"]}, "worker", 0, (0, 1)),
        ({"worker": ["a:1", "b:1"]}, "worker", 1, (1, 2)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, (0, 3)),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "worker", 0, (1, 3)),
    ],
)
def test_the_first_is_the_chief_or_worker_0(monkeypatch, cluster, task, index, expected):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": task, "index": index}}))
    assert find_worker() == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "evaluator", "index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"\$TF_CONFIG: expected") as caught:
        find_worker()
    assert "\n" not in str(caught.value)


def test_workers_keep_their_files_apart():
    assert own_output(Path("a/model.keras"), 0) == Path("a/model.keras")
    assert own_output(Path("a/model.keras"), 2) == Path("a/model.worker2.keras")
