"""fit: the best epoch is what is kept, on the disk and in memory, whatever happens later."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from edgecnn.errors import InputError, ModelError
from edgecnn.export.stamp import read_stamp
from edgecnn.spec import ModelSpec, TableSpec
from edgecnn.train import backend, saving
from edgecnn.train.fit import FitOptions, fit
from edgecnn.train.optimizers import OPTIMIZERS, SCHEDULES, OptimizerOptions
from edgecnn.train.perceptrons import Network, Scale, perceptron
from edgecnn.train.resume import Resume

tf = pytest.importorskip("tensorflow")

SPEC = ModelSpec(labels=("no", "yes"), head="sigmoid")


def small(rows, dropout=0.2):
    """A network for (n, 3) rows."""
    scale = Scale.of_inputs(rows, TableSpec(fields=("a", "b", "c")))
    return perceptron(1, "sigmoid", Network(hidden=(8,), dropout=dropout), scale, seed=1)


@pytest.fixture
def data():
    """Rows whose sign of the first column is the class, and a model that learns it."""
    backend.start(0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)).astype(np.float32)
    targets = (rows[:, :1] > 0).astype(np.float32)
    model = small(rows[:150])
    batches = tf.data.Dataset.from_tensor_slices((rows[:150], targets[:150])).repeat().batch(10)
    validation = tf.data.Dataset.from_tensor_slices((rows[150:], targets[150:])).batch(50)
    return model, batches.skip, validation


def options(tmp_path, **changes):
    given = {"epochs": 6, "batch_size": 10, "steps_per_epoch": 15, "output": tmp_path / "m.keras"}
    optimizing = {"learning_rate": 0.02, "weight_decay": 0.0} | changes.pop("optimizing", {})
    return FitOptions(**given | {"quiet": True, "optimizing": OptimizerOptions(**optimizing)} | changes)


def test_it_learns_and_the_file_holds_model_and_stamp(data, tmp_path):
    import keras

    model, training, validation = data
    result = fit(model, training, validation, SPEC, options(tmp_path))
    assert result.metrics["accuracy"] >= 0.9
    assert read_stamp(tmp_path / "m.keras") == SPEC
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = np.eye(3, dtype=np.float32)
    assert np.array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert list(tmp_path.iterdir()) == [tmp_path / "m.keras"]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_best_epoch_is_kept_and_not_the_last(data, tmp_path, suffix):
    import keras

    model, training, validation = data
    # A rate that rises until training falls apart: the best epoch is early.
    rising = {"optimizer": "sgd", "learning_rate": 5.0, "warmup": 0.99}
    output = tmp_path / f"m{suffix}"
    result = fit(
        model, training, validation, SPEC,
        options(tmp_path, output=output, optimizing=rising),
    )  # fmt: skip
    losses = result.history["val_loss"]
    assert int(np.argmin(losses)) + 1 == result.best_epoch < result.epochs
    loaded = keras.models.load_model(output)
    loaded.compile(loss="binary_crossentropy")
    assert loaded.evaluate(validation, verbose=0) == pytest.approx(min(losses), rel=1e-5)
    assert result.metrics["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_patience_stops_early(data, tmp_path):
    model, training, validation = data
    still = {"optimizer": "sgd", "learning_rate": 1e-30, "schedule": "constant", "momentum": 0.0}
    assert (
        fit(model, training, validation, SPEC, options(tmp_path, epochs=50, patience=2, optimizing=still)).epochs == 3
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_with_monitor_none_the_last_epoch_is_kept(data, tmp_path, optimizer):
    model, training, validation = data
    rising = {"optimizer": optimizer, "learning_rate": 0.5, "warmup": 0.99}
    result = fit(model, training, validation, SPEC, options(tmp_path, monitor="none", patience=1, optimizing=rising))
    assert (result.best_epoch, result.epochs) == (6, 6)
    assert result.metrics["loss"] == pytest.approx(result.history["val_loss"][-1], rel=1e-5)


def test_without_validation_data_the_loss_decides(data, tmp_path):
    model, training, _ = data
    result = fit(model, training, None, SPEC, options(tmp_path))
    assert result.metrics == {}
    assert result.best_epoch == int(np.argmin(result.history["loss"])) + 1


def test_ctrl_c_keeps_the_best_epoch(data, tmp_path, monkeypatch, capsys):
    import keras

    model, training, validation = data

    class CtrlC(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("edgecnn.train.fit.display", lambda *a, **k: contextlib.nullcontext((0, [CtrlC()])))
    with pytest.raises(KeyboardInterrupt):
        fit(model, training, validation, SPEC, options(tmp_path))
    assert read_stamp(tmp_path / "m.keras") == SPEC
    assert f"interrupted; {tmp_path / 'm.keras'} holds epoch 2, --resume goes on" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_training_that_was_cut_off_goes_on_to_the_same_result(tmp_path, monkeypatch, schedule):
    import keras

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 3)).astype(np.float32)
    targets = (rows[:, :1] + rng.normal(0, 0.5, (120, 1)) > 0).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((rows[:90], targets[:90])).repeat().batch(8)
    validation = tf.data.Dataset.from_tensor_slices((rows[90:], targets[90:])).batch(30)

    def run(stop=None, **changes):
        backend.start(4)
        model = small(rows[:90], dropout=0.3)

        class CtrlC(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if self.model.optimizer.iterations.numpy() == stop:
                    raise KeyboardInterrupt

        monkeypatch.setattr("edgecnn.train.fit.display", lambda *a, **k: contextlib.nullcontext((0, [CtrlC()])))
        chosen = {"schedule": schedule, "plateau_patience": 1, "learning_rate": 0.05}
        how = options(tmp_path, patience=3, ema_momentum=0.9, identity={"seed": 4}, optimizing=chosen, **changes)
        result = fit(model, batches.skip, validation, SPEC, how)
        return result, [np.array(w) for w in model.get_weights()]

    whole, expected = run()
    with pytest.raises(KeyboardInterrupt):
        run(stop=50)
    assert (tmp_path / "m.resume.npz").exists()
    with pytest.raises(InputError, match="was begun with --seed 4, now 5"):
        Resume(tmp_path / "m.keras", {"seed": 5}, None, [], go_on=True)
    again, got = run(resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    assert (again.best_epoch, again.history) == (whole.best_epoch, whole.history)
    assert not (tmp_path / "m.resume.npz").exists()


def test_a_full_disk_is_one_line_and_keeps_the_older_file(data, tmp_path, monkeypatch):
    model, _, _ = data
    path = tmp_path / "m.keras"
    saving.save(model, path, SPEC)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras.Model.save", full)
    with pytest.raises(ModelError, match=r"m\.keras can't be written: No space left"):
        saving.save(model, path, SPEC)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_in_the_middle_is_a_line_and_what_was_saved_stays(data, tmp_path, monkeypatch, capsys):
    import keras

    model, training, validation = data
    real, saved = keras.Model.save, []

    def fills_up(self, path, *args, **kwargs):
        if len(saved) >= 3:
            path.write_bytes(b"half a model")
            raise OSError(28, "No space left on device")
        saved.append(path)
        return real(self, path, *args, **kwargs)

    monkeypatch.setattr("keras.Model.save", fills_up)
    with pytest.raises(ModelError, match=r"m\.keras can't be written: No space left on device"):
        fit(model, training, validation, SPEC, options(tmp_path, checkpoints=True))
    # Epoch 1 as a checkpoint and as the best, epoch 2 as a checkpoint; after that the disk was full.
    assert len(list((tmp_path / "m.checkpoints").iterdir())) == 2
    assert read_stamp(tmp_path / "m.keras") == SPEC
    assert keras.models.load_model(tmp_path / "m.keras").count_params() == model.count_params()
    lines = [line for line in capsys.readouterr().err.splitlines() if "No space left" in line]
    assert len(lines) >= 4
    assert all("training goes on" in line for line in lines)


def test_a_disk_too_full_for_the_stamp_is_told_of_the_model_itself(data, tmp_path, monkeypatch):
    model, _, _ = data

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgecnn.export.stamp._write_archive", full)
    with pytest.raises(ModelError, match=r"/m\.keras can't be written: No space left on device; what was saved"):
        saving.save(model, tmp_path / "m.keras", SPEC)
    assert not list(tmp_path.iterdir())


def test_the_best_epoch_of_a_full_disk_is_put_where_temporary_files_go(data, tmp_path, monkeypatch):
    import keras

    model, training, validation = data
    real, elsewhere = keras.Model.save, tmp_path / "elsewhere"
    elsewhere.mkdir()

    def full(self, path, *args, **kwargs):
        if elsewhere not in path.parents:
            raise OSError(28, "No space left on device")
        return real(self, path, *args, **kwargs)

    monkeypatch.setattr("keras.Model.save", full)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    with pytest.raises(ModelError, match=r"No space left .* epoch \d+, the best one, is in ") as caught:
        fit(model, training, validation, SPEC, options(tmp_path))
    path = Path(str(caught.value).rpartition(" is in ")[2])
    assert read_stamp(path) == SPEC
    got = keras.models.load_model(path).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(got, model.get_weights(), strict=True))
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(("name", "message"), [("m.onnx", "use .keras or .h5"), ("none/m.keras", "no folder")])
def test_an_output_that_can_not_be_is_refused_before_training(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        saving.check_output(tmp_path / name)


@pytest.mark.parametrize(("optimizer", "schedule"), list(zip(OPTIMIZERS, SCHEDULES, strict=True)))
def test_every_optimizer_and_every_schedule_learns(data, tmp_path, optimizer, schedule):
    model, training, validation = data
    chosen = {"optimizer": optimizer, "schedule": schedule, "plateau_patience": 1}
    result = fit(model, training, validation, SPEC, options(tmp_path, epochs=3, optimizing=chosen))
    assert result.metrics["accuracy"] >= 0.75
    if schedule == "plateau":
        assert "learning_rate" in result.history


def test_the_average_of_the_weights_is_what_is_validated_and_saved(data, tmp_path):
    import keras

    model, training, validation = data
    # A rate so high that single steps jump about while their average is steady.
    jumping = {"optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant"}
    result = fit(model, training, validation, SPEC, options(tmp_path, ema_momentum=0.95, optimizing=jumping))
    loaded = keras.models.load_model(tmp_path / "m.keras")
    loaded.compile(loss="binary_crossentropy")
    assert loaded.evaluate(validation, verbose=0) == pytest.approx(min(result.history["val_loss"]), rel=1e-5)
    alone = fit(*_fresh(data), SPEC, options(tmp_path, ema_momentum=0.0, optimizing=jumping))
    assert min(result.history["val_loss"]) != pytest.approx(min(alone.history["val_loss"]), rel=1e-3)


def _fresh(data):
    _, training, validation = data
    rows = np.concatenate([x for x, _ in training(0).take(15)])
    return small(rows), training, validation
