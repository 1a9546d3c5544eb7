"""Class folders, the split and the feed: what training sees is what the runtime sees."""

import numpy as np
import pytest
from PIL import Image

import edgecnn
from edgecnn.presets import from_preset
from edgecnn.train.augment import Augmentation
from edgecnn.train.feed import Feed, load, ordered_batches, training_batches, value_range
from edgecnn.train.images import find_images, find_sets
from edgecnn.train.split import split

pytest.importorskip("tensorflow")


@pytest.fixture
def folder(tmp_path):
    """Three JPEGs, a PNG and a text file in two classes."""
    rng = np.random.default_rng(1)
    for name, size in (
        ("b/2.jpg", (91, 60)),
        ("b/1.JPEG", (64, 64)),
        ("a/deep/x.png", (33, 70)),
        ("a/y.jpg", (300, 211)),
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)
    (tmp_path / "photos/a/notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_classes_are_the_sorted_folders_and_files_are_sorted(folder):
    images = find_images(folder)
    assert images.classes == ("a", "b")
    assert [str(p.relative_to(folder)) for p in images.sources] == ["a/y.jpg", "a/deep/x.png", "b/1.JPEG", "b/2.jpg"]
    assert images.indices.tolist() == [0, 0, 1, 1]
    assert images.counts == {"a": 2, "b": 2}


def test_train_and_val_subfolders_are_a_split(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    for name in ("train", "val"):
        (root / name).symlink_to(folder)
    training, validation, test = find_sets(root)
    assert test is None
    assert training.classes == validation.classes == ("a", "b")
    assert validation.sources[0].parts[-3:-1] == ("val", "a")


def test_a_test_folder_is_no_class(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    for name in ("train", "test"):
        (root / name).symlink_to(folder)
    training, validation, test = find_sets(root)
    assert training.classes == test.classes == ("a", "b")
    assert validation is None


def test_a_validation_folder_with_other_classes_is_refused(folder):
    with pytest.raises(edgecnn.SourceError, match="classes a, b, but training has a, c"):
        find_images(folder, classes=("a", "c"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), "no images in class folders"),
        (lambda p: p.write_text("x"), "is not a folder"),
    ],
)
def test_a_folder_without_images_is_one_clear_error(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(edgecnn.SourceError, match=message):
        find_images(tmp_path / "x")


def test_one_class_and_an_empty_class_are_refused(folder):
    (folder / "c").mkdir()
    with pytest.raises(edgecnn.SourceError, match=r"c: no images"):
        find_images(folder)
    with pytest.raises(edgecnn.SourceError, match="only one class, 'deep'"):
        find_images(folder / "a")


@pytest.mark.parametrize("preset", ["edgecnn", "keras-flow", "keras-dataset"])
def test_the_feed_gives_the_tensor_of_the_kernel(folder, preset):
    images = find_images(folder)
    spec = from_preset(preset, height=48, width=40)
    feed = Feed(images.sources, spec)
    for i, path in enumerate(images.sources):
        expected = edgecnn.preprocess(edgecnn.decode(path, spec.decode), spec)
        assert np.array_equal(feed.batch(np.array([i]))[0][0], expected)


@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_the_feed_gives_the_pixels_of_keras_load_img(folder, color):
    import keras

    images = find_images(folder)
    spec = from_preset("edgecnn", height=48, width=40, color=color)
    mode = {"rgb": "rgb", "gray": "grayscale"}[color]
    for source in images.sources:
        image = keras.utils.load_img(source, target_size=(48, 40), interpolation="bilinear", color_mode=mode)
        expected = keras.utils.img_to_array(image, dtype="float32") * np.float32(1 / 255)
        assert np.array_equal(load(source, spec), expected)


def test_a_set_too_large_for_memory_gives_the_same_batches(folder):
    images = find_images(folder)
    spec = from_preset("edgecnn", height=32, width=32)
    kept, on_disk, streamed = (Feed(images.sources, spec, cache=cache) for cache in ("auto", "disk", "none"))
    assert kept.is_cached
    assert on_disk.is_cached
    assert not streamed.is_cached
    positions = np.array([3, 0, 2, 3])
    assert np.array_equal(kept.batch(positions)[0], streamed.batch(positions)[0])
    assert np.array_equal(kept.batch(positions)[0], on_disk.batch(positions)[0])


def test_a_full_disk_leaves_the_images_to_be_decoded_each_epoch(folder, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    images = find_images(folder)
    feed = Feed(images.sources, from_preset("edgecnn", height=32, width=32), cache="disk")
    assert not feed.is_cached
    assert "No space left on device" in capsys.readouterr().err
    assert feed.batch(np.arange(4))[0].any(axis=(1, 2, 3)).all()


def test_an_unreadable_image_is_counted_and_replaced_by_a_neighbour(folder):
    (folder / "a/y.jpg").write_bytes(b"\xff\xd8\xff broken")
    images = find_images(folder)
    spec = from_preset("edgecnn", height=16, width=16)
    feed = Feed(images.sources, spec, cache="none")
    batch, used = feed.batch(np.arange(4))
    assert list(feed.failed) == [0]
    assert used.tolist() == [1, 1, 2, 3]
    assert np.array_equal(batch[0], batch[1])
    (_, labels), *_ = ordered_batches(feed, np.array([2, 0]), images.one_hot, batch_size=2)
    assert labels.numpy().tolist() == [[0, 1], [0, 1]]
    with pytest.raises(edgecnn.ImageError, match=r"y\.jpg"):
        Feed(images.sources, spec, strict=True)


def test_batches_repeat_with_the_seed_and_not_without(folder):
    images = find_images(folder)
    spec = from_preset("edgecnn", height=16, width=16)
    feed = Feed(images.sources, spec)

    def take(seed):
        batches = training_batches(
            feed, np.arange(4), images.one_hot, batch_size=3, seed=seed, augmentation=Augmentation(noise=0.1), spec=spec
        )
        return [(x.numpy(), y.numpy()) for x, y in batches.take(4)]

    one, again, other = take(1), take(1), take(2)
    assert all(np.array_equal(a, b) for p, q in zip(one, again, strict=True) for a, b in zip(p, q, strict=True))
    assert not all(np.array_equal(p[0], q[0]) for p, q in zip(one, other, strict=True))
    # Three passes over four images: every image three times, with its own label.
    assert np.concatenate([y for _, y in one]).sum(axis=0).tolist() == [6, 6]


def test_validation_batches_are_unchanged_and_in_order(folder):
    images = find_images(folder)
    spec = from_preset("edgecnn", height=16, width=16)
    feed = Feed(images.sources, spec)
    got = list(ordered_batches(feed, np.array([2, 0, 1]), images.one_hot, batch_size=2))
    assert np.array_equal(np.concatenate([x for x, _ in got]), feed.batch(np.array([2, 0, 1]))[0])
    assert np.concatenate([y for _, y in got]).tolist() == [[0, 1], [1, 0], [1, 0]]


def test_value_range_follows_the_recipe():
    low, high = value_range(from_preset("imagenet-tf", height=8, width=8))
    assert low.tolist() == [-1, -1, -1]
    assert high.tolist() == [1, 1, 1]


def test_split_is_stratified_disjoint_and_seeded():
    indices = np.array([0] * 80 + [1] * 20)
    training, validation = split(indices, ("a", "b"), 0.25, seed=3)
    assert sorted([*training, *validation]) == list(range(100))
    assert np.bincount(indices[validation]).tolist() == [20, 5]
    assert np.array_equal(validation, split(indices, ("a", "b"), 0.25, seed=3)[1])
    assert not np.array_equal(validation, split(indices, ("a", "b"), 0.25, seed=4)[1])


def test_a_class_of_one_sample_can_not_be_split():
    with pytest.raises(edgecnn.errors.InputError, match="class 'b' has 1 usable sample"):
        split(np.array([0, 0, 0, 1]), ("a", "b"), 0.25, seed=0)


def test_too_few_values_of_a_regression_can_not_be_split():
    assert [part.tolist() for part in split(np.array([0.5, 1.5, 2.5]), None, 0.4, seed=0)] == [[0], [1, 2]]
    with pytest.raises(edgecnn.errors.InputError, match=r"can't split 3 samples with a share of 0\.9 held out"):
        split(np.array([0.5, 1.5, 2.5]), None, 0.9, seed=0)


def test_a_csv_of_paths_and_labels_is_a_set_too(folder):
    path = folder / "list.csv"
    path.write_text("path,label\nb/2.jpg,wasp\na/y.jpg,ant\n\na/deep/x.png,wasp\n")
    images, validation, test = find_sets(path)
    assert validation is None
    assert test is None
    assert images.classes == ("ant", "wasp")
    assert images.indices.tolist() == [1, 0, 1]
    assert images.sources[0] == folder / "b/2.jpg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b/2.jpg,a\nb/none.jpg,b\n", r"list\.csv, line 2: no such file: .*none\.jpg"),
        ("b/2.jpg,a\nb/1.JPEG\n", r"line 2: expected path,label, got 'b/1\.JPEG'"),
        ("b/2.jpg,a\n\0\n", r"list\.csv: can't be read as CSV: line 2 holds a zero byte"),
        ("b/2.jpg,a\nb/1.JPEG,a\n", "1 classes; a classifier needs at least two"),
    ],
)
def test_a_wrong_line_of_the_csv_is_named(folder, text, message):
    (folder / "list.csv").write_text(text)
    with pytest.raises(edgecnn.errors.InputError, match=message):
        find_sets(folder / "list.csv")
