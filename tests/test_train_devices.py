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


def test_several_workers_are_refused_before_training(monkeypatch):
    assert devices.count_workers() == 1
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(InputError, match="names 2 workers, and Keras 3 can train on one only"):
        devices.distribute("multiworker")


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_a_wrong_tf_config_is_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"\$TF_CONFIG: expected") as caught:
        devices.count_workers()
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


def test_two_devices_a_worker_and_16_bits_train_the_same_kind_of_file(photos, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        worker = f"127.0.0.1:{free.getsockname()[1]}"
    config = json.dumps({"cluster": {"worker": [worker]}, "task": {"type": "worker", "index": 0}})
    started = {
        "mirrored": run(photos, tmp_path / "mirrored.keras", "--strategy", "mirrored", before=TWO_DEVICES),
        "worker": run(photos, tmp_path / "worker.keras", "--strategy", "multiworker", TF_CONFIG=config),
        "mixed": run(photos, tmp_path / "mixed.keras", "--mixed-precision"),
    }
    try:
        said = {name: process.communicate(timeout=300)[1] for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    for name, process in started.items():
        err = said[name]
        assert process.returncode == 0, f"{name}: {err}"
        assert "Traceback" not in err
        if name == "mixed":
            assert "edge in mixed_bfloat16: " in err or "edge in mixed_float16: " in err
    for name in started:
        model = keras.models.load_model(tmp_path / f"{name}.keras")
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
        levels = np.array([60, 180], np.float32)[:, None, None, None] / 255 * np.ones((2, 16, 16, 3), np.float32)
        assert np.isfinite(model.predict(levels, verbose=0)).all()


def test_tensorboard_is_an_extra():
    import importlib.metadata

    assert any('extra == "tensorboard"' in line for line in importlib.metadata.requires("edgecnn"))
