"""edgecnn.export.files: what is written is whole, and in the place of nothing that is read."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from edgecnn import ModelError
from edgecnn.export.files import check_written, write_atomically


def test_a_link_leads_to_the_new_content(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


def test_a_pipe_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "pipe", b"content")
    reader.join()
    assert got == [b"content"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"model")
    (tmp_path / "link.json").symlink_to("model.h5")
    read = [("model", tmp_path / "model.h5")]
    for path, message in (
        (tmp_path / "model.h5", "would be written over the model of the same name"),
        (tmp_path / "link.json", "would be written over the model"),
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "r.json", "does not exist; make it"),
    ):
        with pytest.raises(ModelError, match=f"--report .*{message}"):
            check_written([("--report", path)], read)
    with pytest.raises(ModelError, match="over the file of -o of the same name"):
        check_written([("-o", tmp_path / "a"), ("--report", tmp_path / "a")], read)
    check_written([("-o", tmp_path / "a"), ("--report", tmp_path / "b")], read)
