"""Several workers: which one is this, by $TF_CONFIG? What they train is in test_train_devices.py."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgecnn.errors import InputError
from edgecnn.train.meeting import meet
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


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(address, *workers):
    threads = [threading.Thread(target=meet, args=(address, *worker), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    return threads


def reach(address):
    host, port = address.split(":")
    for _ in range(100):
        try:
            return socket.create_connection((host, int(port)), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_workers_meet_and_strangers_do_not_count(address):
    (first,) = start(address, (0, 3))
    for text in (b"GET / HTTP/1.1\r\n\r\n", b"edgecnn worker 2 of 4\n"):
        with reach(address) as stranger:
            stranger.sendall(text)
            assert stranger.recv(9) == b""
    with reach(address) as gone:
        gone.sendall(b"edgecnn worker 2 of 3\n")
    (second,) = start(address, (1, 3))
    second.join(1)
    assert first.is_alive()
    assert second.is_alive()
    for thread in (first, second, *start(address, (2, 3))):
        thread.join(10)
        assert not thread.is_alive()


def test_a_worker_may_come_before_the_first(address):
    (second,) = start(address, (1, 2))
    second.join(1)
    for thread in (second, *start(address, (0, 2))):
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_worker_that_waits_alone_can_be_ended(address, number, status):
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgecnn.cli import guard
from edgecnn.train.meeting import meet
raise SystemExit(guard(lambda argv: meet({address!r}, 0, 2), []))
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        reach(address).close()
        process.send_signal(number)
        try:
            assert process.wait(10) == status
        finally:
            process.kill()


def test_a_wrong_address_and_one_in_use_are_one_line():
    with pytest.raises(InputError, match="host:port, got 'a'"):
        meet("a", 0, 2)
    with socket.create_server(("", 0)) as used, pytest.raises(InputError, match="worker 0 can't listen at its port"):
        meet(f"a:{used.getsockname()[1]}", 0, 2)
