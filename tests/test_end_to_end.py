"""From JPEG files to probabilities: our decode, kernel and onnxruntime against Keras's own loader and model."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgecnn
from edgecnn.cli import main

SHARED = Path(__file__).parents[2] / "shared/data/ants-bees/val"
CLASSES = ("ants", "bees")
SIZE = (48, 64)


def sample_photos(folder):
    """Twenty photographs of different sizes in two class folders: shared ones, else crops of scikit-learn's two."""
    for c in CLASSES:
        (folder / c).mkdir(parents=True)
    if SHARED.is_dir():
        for c in CLASSES:
            for path in sorted((SHARED / c).glob("*.jpg"))[::6][:10]:
                shutil.copy(path, folder / c / path.name)
        return
    import sklearn.datasets

    rng = np.random.default_rng(7)
    images = [
        Image.fromarray(edgecnn.decode(p)) for p in sorted(Path(sklearn.datasets.__file__).parent.glob("images/*.jpg"))
    ]
    for i in range(20):
        source = images[i % 2]
        width, height = (int(v) for v in rng.integers(37, 400, 2))
        left, top = int(rng.integers(0, 640 - width)), int(rng.integers(0, 427 - height))
        crop = source.crop((left, top, left + width, top + height))
        subsampling = ("4:2:0", "4:2:2", "4:4:4")[i % 3]
        crop.save(folder / CLASSES[i % 2] / f"{i:02}.jpg", quality=60 + 2 * i, subsampling=subsampling)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    sample_photos(folder)
    paths = sorted(folder.glob("*/*.jpg"))
    assert len(paths) == 20
    assert len({edgecnn.decode(p).shape for p in paths}) >= 5
    return paths


def build_model(preset):
    """A small network with batch normalisation whose statistics aren't trivial."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3), name="image"),
            layers.Rescaling(1 / 255 if preset == "keras-dataset" else 1.0),
            layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0.02, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def loaded_by_keras(preset, paths):
    """Keras's own loader for a preset, in the order of paths: (n, *SIZE, 3) float32."""
    import keras

    if preset == "keras-dataset":
        dataset = keras.utils.image_dataset_from_directory(
            str(paths[0].parents[1]), image_size=SIZE, shuffle=False, batch_size=64, verbose=False
        )
        (batch,) = [images.numpy() for images, _ in dataset]
        return batch
    if preset == "keras-flow":
        legacy = pytest.importorskip("keras.src.legacy.preprocessing.image")
        flow = legacy.ImageDataGenerator(rescale=1 / 255).flow_from_directory(
            paths[0].parents[1], target_size=SIZE, batch_size=64, shuffle=False, class_mode=None
        )
        return next(flow)
    images = [keras.utils.load_img(p, target_size=SIZE, interpolation="bilinear") for p in paths]
    return np.stack([keras.utils.img_to_array(i, dtype="float32") for i in images]) * np.float32(1 / 255)


@pytest.mark.parametrize("preset", ["edgecnn", "keras-flow", "keras-dataset"])
def test_files_to_probabilities(preset, photos, tmp_path, capsys):
    keras_model = build_model(preset)
    keras_model.save(tmp_path / "model.keras")
    argv = ["export", str(tmp_path / "model.keras"), "--preset", preset, "--data", str(photos[0].parents[1])]
    assert main(argv) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.onnx")

    theirs = loaded_by_keras(preset, photos)
    predictor = edgecnn.Predictor(tmp_path / "model.onnx", device="cpu")
    ours = predictor.allocate(len(photos))
    for slot, path in zip(ours, photos, strict=True):
        predictor.prepare(str(path), slot)
    np.testing.assert_array_equal(ours, theirs, err_msg="the input tensors must be equal bit for bit")

    expected = keras_model.predict(theirs, verbose=0)
    assert expected.std(axis=0).max() > 1e-3, "a model that answers the same to all proves nothing"
    one_by_one = [predictor.predict(path) for path in photos]
    for results in (one_by_one, predictor.predict_batch(photos)):
        np.testing.assert_allclose([r.scores for r in results], expected, rtol=0, atol=1e-5)
        assert [r.index for r in results] == expected.argmax(axis=1).tolist()
