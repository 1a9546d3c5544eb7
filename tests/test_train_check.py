"""The check before training finds copies, leaks, rare classes and columns that tell nothing or everything."""

import numpy as np
import pytest

from edgecnn.cli import guard
from edgecnn.train import cnn
from edgecnn.train.check import check_images
from edgecnn.train.feed import Feed, ImageData, Subset
from edgecnn.train.images import find_images

pytest.importorskip("tensorflow")


@pytest.fixture
def folder(tmp_path):
    """25 different images in each of two classes."""
    from PIL import Image

    rng = np.random.default_rng(2)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(25):
            pixels = rng.integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i:02}.png")
    return tmp_path / "photos"


def findings(folder, held=None, **how):
    from edgecnn.presets import from_preset

    images = find_images(folder)
    feed = Feed(images.sources, from_preset("edgecnn", height=8, width=8))
    order = np.arange(len(images))
    held = order[::5] if held is None else held
    return check_images(ImageData(Subset(images, feed, np.setdiff1d(order, held)), Subset(images, feed, held)), **how)


def test_clean_data_has_no_findings(folder):
    assert findings(folder) == []


def test_a_copy_on_both_sides_of_the_split_is_a_leak(folder):
    (folder / "a/24.png").write_bytes((folder / "a/00.png").read_bytes())
    (line,) = findings(folder, held=np.array([0, 30]))
    assert "in training and validation, 1 time:" in line
    assert "00.png" in line
    assert findings(folder, held=np.array([1, 30])) == []


def test_the_same_image_in_two_classes_is_a_conflict(folder):
    (folder / "b/00.png").write_bytes((folder / "a/01.png").read_bytes())
    assert any("several classes, 1 time:" in line for line in findings(folder))


def test_a_size_or_a_suffix_that_gives_the_class_away_is_told(folder):
    from PIL import Image

    for i, path in enumerate(sorted((folder / "b").iterdir())):
        Image.open(path).resize((20, 30) if i else (4, 5)).save(path)
    lines = findings(folder)
    assert any(line.startswith("the size in pixels of a file alone gives its class away in 98%") for line in lines)
    for path in (folder / "b").iterdir():
        Image.open(path).resize((9, 9)).save(path.with_suffix(".bmp"))
        path.unlink()
    assert [line.split(" of the images")[0] for line in findings(folder)] == [
        "the suffix of a file alone gives its class away in 100%"
    ]


def test_rare_and_unequal_classes_are_named(folder):
    for path in sorted((folder / "b").iterdir())[4:]:
        path.unlink()
    lines = findings(folder)
    assert any("class 'b' has only 4 samples" in line for line in lines)
    assert any("consider --class-weight balanced" in line for line in lines)
    assert not any("consider" in line for line in findings(folder, weighted=True))


def test_check_only_trains_nothing(folder, tmp_path, capsys):
    assert guard(cnn.main, [str(folder), "-o", str(tmp_path / "m.keras"), "--check-only"]) == 0
    counts = (
        "40 images for training, 10 for validation; a 25, b 25; 9x9 pixels, 50 of 50 smaller than the network's 64x64"
    )
    assert capsys.readouterr().out == f"{counts}; 0 unreadable; 0 findings\n"
    (folder / "a/00.png").write_bytes(b"broken")
    assert guard(cnn.main, [str(folder), "-o", str(tmp_path / "m.keras"), "--check-only"]) == 1
    said = capsys.readouterr()
    assert "00.png" in said.err
    assert "1 unreadable" in said.out
    assert not (tmp_path / "m.keras").exists()
