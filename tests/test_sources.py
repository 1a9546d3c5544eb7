import io

import pytest

from edgecnn import TableSpec
from edgecnn.sources import Failure, ImageFile, Rows, read_sources

TABLE = TableSpec(fields=("a", "b"))


def names(items, root):
    return [str(i.source).replace(str(root) + "/", "") for i in items]


def test_folders_are_searched_in_order(photos):
    (photos / "red" / "notes.txt").write_text("no image")
    (photos / "zoo.JPG").write_bytes(b"")
    items = list(read_sources([str(photos)], None))
    assert all(isinstance(i, ImageFile) for i in items)
    assert names(items, photos) == ["zoo.JPG", "blue/one.bmp", "green/one.jpg", "red/one.png"]


def test_globs_and_stdin_keep_the_order_given(photos, monkeypatch):
    items = read_sources([str(photos / "*" / "one.*")], None)
    assert names(items, photos) == ["blue/one.bmp", "green/one.jpg", "red/one.png"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{photos}/red/one.png\n\n{photos}/blue\r\n"))
    assert names(read_sources(["-"], None), photos) == ["red/one.png", "blue/one.bmp"]


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
    path = tmp_path / "a[1].png"
    path.write_bytes(b"")
    assert [i.source for i in read_sources([str(path)], None)] == [str(path)]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("none.png", "missing_file", "no such file"),
        ("none*.png", "missing_file", "no file matches"),
        ("empty", "empty_folder", "no images in this folder"),
        ("rows.csv", "wrong_kind", "a table, but the model takes images"),
        ("text.mp4", "unreadable_video", "not a video that OpenCV can read"),
    ],
)
def test_what_can_not_be_used_is_a_failure_in_its_place(tmp_path, photos, name, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.csv").write_text("1,2\n")
    (tmp_path / "text.mp4").write_text("not a video")
    good = str(photos / "red" / "one.png")
    items = list(read_sources([good, str(tmp_path / name), good], None))
    assert [type(i) for i in items] == [ImageFile, Failure, ImageFile]
    assert items[1].error.code == code
    assert message in str(items[1].error)


def test_a_table_model_takes_csv_only(tmp_path, photos):
    path = tmp_path / "rows.csv"
    path.write_text("1,2\n3,x\n5,6\n")
    items = list(read_sources([str(path), str(photos), str(photos / "red" / "one.png")], TABLE))
    assert [type(i) for i in items] == [Rows, Failure, Failure]
    assert items[0].block.values.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert list(items[0].block.failures) == [1]
    assert {i.error.code for i in items[1:]} == {"wrong_kind"}


def test_a_video_gives_its_frames(video):
    frames = list(read_sources([str(video)], None))
    assert [f.number for f in frames] == list(range(12))
    assert frames[0].image.shape == (24, 32, 3)
    assert len(list(read_sources([str(video)], None, max_frames=5))) == 5
