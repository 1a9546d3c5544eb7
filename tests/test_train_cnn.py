"""`edgecnn train cnn` from a folder to a stamped file that the runtime's own pixels suit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgecnn
from edgecnn.cli import guard
from edgecnn.export.stamp import read_stamp
from edgecnn.train import cnn, digits

keras = pytest.importorskip("keras")

SCRIPT = Path(__file__).parents[1] / "train/cnn.py"
FAST = ("--image-size", "16", "--width", "0.5", "--batch-size", "8")


def stripes(folder, count=16):
    """Photograph-like noise with lying or standing stripes, of several sizes."""
    rng = np.random.default_rng(9)
    for name in ("lying", "standing"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            height, width = rng.integers(40, 90, 2)
            wave = 90 * np.sin(np.arange(height) / 4 + rng.random() * 6)[:, None, None] * np.ones((1, width, 3))
            if name == "standing":
                wave = 90 * np.sin(np.arange(width) / 4 + rng.random() * 6)[None, :, None] * np.ones((height, 1, 3))
            pixels = np.clip(wave + rng.normal(128, 30, wave.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.jpg")
    return folder


def train(*args):
    return guard(cnn.main, [str(a) for a in args])


def weights(path):
    return np.concatenate([w.ravel() for w in keras.models.load_model(path).get_weights()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return stripes(tmp_path_factory.mktemp("photos") / "stripes")


def test_a_folder_becomes_a_stamped_model_that_learned(folder, tmp_path, capsys):
    output = tmp_path / "m.keras"
    augmentation = ("--rotation-range", "5", "--mixup", "0.1", "--cutout", "0.2")
    assert train(folder, "-o", output, *FAST, "--epochs", 4, "--steps-per-epoch", 20, *augmentation) == 0
    out, err = capsys.readouterr()
    assert out == f"{output}\n"
    assert "25 images for training, 7 for validation; lying 16, standing 16" in err
    assert "epoch 4/4" in err

    spec = read_stamp(output)
    assert spec.labels == ("lying", "standing")
    assert spec.head == "softmax"
    assert spec.pixels == edgecnn.PixelSpec(
        height=16, width=16, color="rgb", decode="pil", resize="pil_bilinear", scale=1 / 255
    )
    report = json.loads((tmp_path / "m.report.json").read_text())
    assert sum(map(sum, report["validation"]["confusion"])) == 7
    assert len(report["history"]["val_loss"]) == 4
    page = (tmp_path / "m.report.html").read_text()
    assert "Learning curves" in page
    assert page.count("<img") > 8
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page

    model = keras.models.load_model(output)
    assert not [layer.name for layer in model.layers if "random" in layer.name.lower()]
    unseen = stripes(tmp_path / "unseen", count=5)
    paths = sorted(unseen.rglob("*.jpg"))
    x = np.stack([edgecnn.preprocess(edgecnn.decode(p), spec.pixels) for p in paths])
    got = [spec.labels[i] for i in model.predict(x, verbose=0).argmax(axis=1)]
    assert np.mean([label == path.parent.name for label, path in zip(got, paths, strict=True)]) >= 0.9


def test_the_same_seed_gives_the_same_weights(folder, tmp_path):
    made = []
    for seed in (3, 3, 4):
        output = tmp_path / "m.h5"
        assert (
            train(
                folder,
                "-o",
                output,
                *FAST,
                "--epochs",
                1,
                "--steps-per-epoch",
                4,
                "--seed",
                seed,
                "--quiet",
                "--no-report",
            )
            == 0
        )
        made.append(weights(output))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_a_validation_folder_is_used_as_it_is(folder, tmp_path, capsys):
    held = stripes(tmp_path / "held", count=3)
    args = ("-o", tmp_path / "m.keras", *FAST, "--epochs", 1, "--steps-per-epoch", 2)
    assert train(folder, "--validation-data", held, *args) == 0
    assert "32 images for training, 6 for validation" in capsys.readouterr().err


def test_every_epoch_is_kept_loaders_are_compared_and_a_test_folder_is_measured(tmp_path, capsys):
    for name, count in (("train", 8), ("val", 4), ("test", 3)):
        stripes(tmp_path / "photos" / name, count)
    args = ("-o", tmp_path / "m.keras", *FAST, "--epochs", 2, "--steps-per-epoch", 2, "--compare-training")
    assert train(tmp_path / "photos", *args) == 0
    err = capsys.readouterr().err
    assert "16 images for training, 8 for validation, 6 for the test" in err
    report = json.loads((tmp_path / "m.report.json").read_text())
    losses = report["history"]["val_loss"]
    kept = sorted(path.name for path in (tmp_path / "m.checkpoints").iterdir())
    assert kept == [f"m.{i + 1:02d}-{loss:.2f}.keras" for i, loss in enumerate(losses)]
    assert read_stamp(tmp_path / "m.checkpoints" / kept[0]).labels == ("lying", "standing")
    assert report["test"]["samples"] == 6
    own, *others = report["resizes"]
    assert own["name"] == "this model's own, edgecnn"
    assert (own["accuracy"], own["difference"]) == (report["validation"]["accuracy"], 0)
    assert {"keras-dataset", "opencv", "teachable-machine"} <= {other["name"] for other in others}
    assert all(other["difference"] > 0.5 for other in others)
    assert [own["trained"], *(0 <= other["trained"] <= 1 for other in others)] == [
        own["accuracy"],
        *[True] * len(others),
    ]
    assert err.count("training anew") == len(others)
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"photos", "m"}
    assert "Other loaders" in (tmp_path / "m.report.html").read_text()


@pytest.mark.parametrize("strict", [True, False])
def test_an_image_that_breaks_in_epoch_3_is_skipped_and_counted_or_refused(tmp_path, capsys, monkeypatch, strict):
    from edgecnn.train import feed

    folder = stripes(tmp_path / "photos", count=5)
    broken, load = folder / "lying/03.jpg", feed.load
    reads = []

    def breaking(source, spec, out=None):
        reads.append(source)
        if len(reads) > 40 and source == broken:
            raise edgecnn.ImageError("the file is truncated")
        return load(source, spec, out)

    # Two steps of eight images and two for validation are 18 an epoch; a few batches are read ahead.
    monkeypatch.setattr(feed, "load", breaking)
    args = (folder, "-o", tmp_path / "m.keras", *FAST, "--epochs", 12, "--steps-per-epoch", 2, "--cache", "none")
    status = train(*args, "--no-report", *(["--strict"] if strict else []))
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "epoch 1/12" in err
    assert read_stamp(tmp_path / "m.keras").labels == ("lying", "standing")
    if strict:
        assert status == 2
        assert err.splitlines()[-1].endswith(f"{broken}: the file is truncated")
    else:
        assert status == 0
        assert f"skipped {broken}: the file is truncated" in err
        assert "1 of 10 images can't be read" in err


def test_a_corrupt_image_for_validation_is_told_too(tmp_path, capsys):
    folder, held = (stripes(tmp_path / name, count=3) for name in ("photos", "held"))
    (held / "lying/00.jpg").write_bytes(b"")
    args = (folder, "-o", tmp_path / "m.keras", *FAST, "--epochs", 1, "--steps-per-epoch", 1, "--cache", "none")
    assert train(*args, "--validation-data", held, "--no-report") == 0
    err = capsys.readouterr().err
    assert f"skipped {held / 'lying/00.jpg'}: the image is empty" in err
    assert "1 of 6 images can't be read" in err


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_corrupt_image_is_skipped_and_counted_or_refused(tmp_path, capsys, cache):
    folder = stripes(tmp_path / "photos", count=4)
    (folder / "lying/00.jpg").write_bytes(b"")
    args = (folder, "-o", tmp_path / "m.keras", *FAST, "--epochs", 1, "--steps-per-epoch", 1, "--cache", cache)
    assert train(*args, "--strict") == 2
    assert "lying/00.jpg: the image is empty" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "m.keras").exists()
    assert train(*args) == 0
    err = capsys.readouterr().err
    assert "skipped" in err
    assert "1 of 8 images can't be read" in err
    assert ("lying 3, standing 4" if cache == "auto" else "lying 4, standing 4") in err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), "no images in class folders"),
        (lambda p: stripes(p, 2) and [f.unlink() for f in (p / "lying").iterdir()], "lying: no images"),
        (lambda p: stripes(p, 1), "class 'lying' has 1 usable sample"),
        (
            lambda p: stripes(p, 2) and [f.write_text("x") for f in (p / "lying").iterdir()],
            "none of its images can be read",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, make, message):
    make(tmp_path / "photos")
    assert train(tmp_path / "photos", "-o", tmp_path / "m.keras") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("args", [(), ("x", "--dataset", "digits"), ("x", "--epochs", "0"), ("x", "--image-size", "4")])
def test_wrong_usage_is_status_2(args):
    with pytest.raises(SystemExit, match="2"):
        cnn.main(list(args))


def test_help_shows_every_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        cnn.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "stays near chance" in text
    for line in ("--epochs", "--learning-rate", "--rotation-range", "--preset"):
        assert line in text
    assert text.count("default") > 25


def test_the_script_works_and_ctrl_c_keeps_what_was_saved(folder, tmp_path):
    output = tmp_path / "m.keras"
    args = [sys.executable, SCRIPT, folder, "-o", output, *FAST, "--epochs", "100000", "--steps-per-epoch", "2"]
    # Tests that run in the background are told to ignore Ctrl-C, and would hand that on.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([str(a) for a in args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, inherited)
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("epoch 3/"):
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, "".join(seen) + err
    assert out == ""
    assert "m.keras holds epoch" in err
    assert "Traceback" not in err
    expected = ("epoch ", "25 images", "edge: ", "100000 epochs", "check: class")
    assert [line for line in seen if not line.startswith(expected)] == []
    assert read_stamp(output).labels == ("lying", "standing")


def test_ctrl_c_and_resume_come_to_the_same_weights(folder, tmp_path, monkeypatch, capsys):
    from edgecnn.train import fit

    args = (
        folder,
        "-o",
        tmp_path / "m.keras",
        *FAST,
        "--epochs",
        3,
        "--steps-per-epoch",
        3,
        "--mixup",
        "0.2",
        "--no-report",
    )
    assert train(*args) == 0
    expected = weights(tmp_path / "m.keras")

    class CtrlC(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() == 5:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "display", lambda *a, **k: contextlib.nullcontext((0, [CtrlC()])))
        assert train(*args) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert train(*args, "--resume") == 0
    assert "going on after epoch 1" in capsys.readouterr().err
    assert np.array_equal(weights(tmp_path / "m.keras"), expected)


def test_without_edgecnn_the_script_prints_the_pip_command(tmp_path):
    # -S: no site-packages, as on a machine where edgecnn was never installed.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-S", SCRIPT], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "-m pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_digits_are_scikit_learns_written_as_class_folders(tmp_path, capsys):
    from sklearn.datasets import load_digits

    assert train("--write-dataset", tmp_path / "digits") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'digits'}\n"
    data = load_digits()
    for name in "0123456789":
        assert len(list((tmp_path / "digits" / name).glob("*.png"))) == int((data.target == int(name)).sum())
    first = np.asarray(Image.open(tmp_path / "digits/0/0000.png").resize((8, 8), Image.Resampling.BOX), np.float32)
    assert np.corrcoef(first.ravel(), data.images[0].ravel())[0, 1] > 0.99


def test_digits_train_without_a_folder(tmp_path, capsys):
    args = ("--dataset", "digits", "-o", tmp_path / "m.keras", "--image-size", 16, "--width", 0.5, "--epochs", 3)
    assert train(*args, "--steps-per-epoch", 60, "--invert", 0, "--no-report") == 0
    spec = read_stamp(tmp_path / "m.keras")
    assert spec.labels == tuple("0123456789")
    assert (spec.pixels.color, spec.pixels.shape) == ("gray", (16, 16, 1))
    accuracy = float(capsys.readouterr().err.split("val accuracy ")[1].split(" ")[0])
    assert accuracy > 0.5
    assert len(digits.load_digits()) == 1797


def test_more_photographs_are_trained_on_for_more_steps_within_bounds():
    from edgecnn.train.cnn_options import parse, set_length

    def steps(images):
        _, options = parse(["photos"])
        per_epoch = set_length(options, images)
        assert 5 <= options.epochs <= 75
        # What the decay takes off in all is bounded: steps times decay, at a mean rate of half the highest.
        assert options.weight_decay * per_epoch * options.epochs * 1e-3 <= 3.4 + 1e-9
        assert options.weight_decay <= 0.5
        return per_epoch * options.epochs

    lengths = [steps(n) for n in (20, 240, 400, 700, 1000, 1440, 3000, 10_000, 50_000)]
    assert lengths == sorted(lengths)
    # 150 looks at 1,440 photographs in batches of 32, to the nearest epoch of 100 steps.
    assert abs(lengths[5] - 150 * 1440 / 32) <= 50
