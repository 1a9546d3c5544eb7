"""Several devices, several workers, 16 bits: the training is the same, and so is the kind of file."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from edgecnn.errors import InputError, MissingDependencyError
from edgecnn.train import devices

keras = pytest.importorskip("keras")


def test_the_worker_is_read_from_tf_config(monkeypatch, tmp_path):
    assert devices.worker_output(tmp_path / "m.keras") == tmp_path / "m.keras"
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert devices.worker_output(tmp_path / "m.keras") == tmp_path / "m.worker1.keras"


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_a_wrong_tf_config_is_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"\$TF_CONFIG: expected") as caught:
        devices.worker_index()
    assert "\n" not in str(caught.value)


def test_without_tensorboard_the_message_is_the_pip_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecnn\[tensorboard\]'"):
        devices.tensorboard(tmp_path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Dark and light noise: learned within a few steps."""
    from PIL import Image

    rng = np.random.default_rng(3)
    root = tmp_path_factory.mktemp("devices") / "photos"
    for name, level in (("dark", 60), ("light", 180)):
        (root / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(level - 40, level + 40, (20, 20, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def run(photos, output, *args, before="", **environment):
    """A training in a process of its own: strategies and policies last as long as the process."""
    fast = ["--image-size", "16", "--width", "0.5", "--epochs", "2", "--steps-per-epoch", "6", "--batch-size", "8"]
    argv = [str(photos), "-o", str(output), *fast, "--no-checkpoints", "--no-report", *args]
    code = f"{before}\nimport sys\nfrom edgecnn.train.cnn import main\nsys.exit(main({argv!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


TWO_DEVICES = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
real = tf.distribute.MirroredStrategy
tf.distribute.MirroredStrategy = lambda: real(["CPU:0", "CPU:1"])
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_devices_two_workers_and_16_bits_train_the_same_kind_of_file(photos, tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    config = [json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}}) for i in range(2)]
    started = {
        "mirrored": run(photos, tmp_path / "mirrored.keras", "--strategy", "mirrored", before=TWO_DEVICES),
        "worker 0": run(photos, tmp_path / "two.keras", "--strategy", "multiworker", TF_CONFIG=config[0]),
        "worker 1": run(photos, tmp_path / "two.keras", "--strategy", "multiworker", TF_CONFIG=config[1]),
        "mixed": run(photos, tmp_path / "mixed.keras", "--mixed-precision"),
    }
    for name, process in started.items():
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, f"{name}: {err}"
        assert "Traceback" not in err
        if name == "mixed":
            assert "edge in mixed_bfloat16: " in err or "edge in mixed_float16: " in err
    for name in ("mirrored", "two", "mixed"):
        model = keras.models.load_model(tmp_path / f"{name}.keras")
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
        levels = np.array([60, 180], np.float32)[:, None, None, None] / 255 * np.ones((2, 16, 16, 3), np.float32)
        assert np.isfinite(model.predict(levels, verbose=0)).all()
    same = [keras.models.load_model(tmp_path / name).get_weights() for name in ("two.keras", "two.worker1.keras")]
    assert all(np.array_equal(a, b) for a, b in zip(*same, strict=True))


def test_tensorboard_is_an_extra():
    import importlib.metadata

    assert any('extra == "tensorboard"' in line for line in importlib.metadata.requires("edgecnn"))
