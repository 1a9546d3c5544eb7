"""Several devices, several workers, 16 bits: the training is the same, and so is the kind of file."""

import importlib
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from edgecnn.errors import MissingDependencyError

keras = pytest.importorskip("keras")


@pytest.mark.parametrize(("name", "source"), [("cnn", "photos"), ("mlp", "rows.csv")])
def test_without_tensorboard_the_message_is_the_pip_command(monkeypatch, tmp_path, name, source):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("edgecnn.train.backend.start", lambda seed: pytest.fail("it should be told before anything"))
    (tmp_path / "rows.csv").write_text("a,b\n1,0\n2,1\n" * 9)
    main = importlib.import_module(f"edgecnn.train.{name}").main
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgecnn\[tensorboard\]'"):
        main([str(tmp_path / source), "-o", str(tmp_path / "m.keras"), "--tensorboard"])


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


def two_workers():
    """What $TF_CONFIG holds for each of two workers on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        hosts = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, two)]
    return [json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}}) for i in (0, 1)]


def test_devices_workers_and_16_bits_train_the_same_kind_of_file(photos, tmp_path):
    started = {
        "mirrored": run(photos, tmp_path / "mirrored.keras", "--strategy", "mirrored", before=TWO_DEVICES),
        "mixed": run(photos, tmp_path / "mixed.keras", "--mixed-precision"),
    }
    for i, config in enumerate(two_workers()):
        worker = run(photos, tmp_path / "workers.keras", "--strategy", "multiworker", TF_CONFIG=config)
        started["workers" if i == 0 else "second"] = worker
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
    # Both saw the same metrics, averaged over both, and the first alone left a file.
    losses = [re.findall(r"loss [\d.]+", said[name]) for name in ("workers", "second")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    assert sorted(p.name for p in tmp_path.glob("workers*")) == ["workers.config.toml", "workers.keras"]
    for name in set(started) - {"second"}:
        model = keras.models.load_model(tmp_path / f"{name}.keras")
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
        levels = np.array([60, 180], np.float32)[:, None, None, None] / 255 * np.ones((2, 16, 16, 3), np.float32)
        assert np.isfinite(model.predict(levels, verbose=0)).all()


def test_tensorboard_is_an_extra():
    assert any('extra == "tensorboard"' in line for line in importlib.metadata.requires("edgecnn"))
