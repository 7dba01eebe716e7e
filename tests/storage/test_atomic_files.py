"""Files are written whole or not at all, as UTF-8, with the permissions of the file that they replace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mergekit_calib.storage.atomic import remove_leftovers, write_bytes_atomic, write_text_atomic


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_text_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes_atomic(path, b"new")
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


def test_text_is_utf8_with_its_line_endings_and_ordinary_permissions(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "new" / "file", "λ\r\n")
    assert (tmp_path / "new" / "file").read_bytes() == "λ\r\n".encode()
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "new" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_permissions_of_a_replaced_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o640)
    write_text_atomic(tmp_path / "file", "new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_folder_in_the_way_is_set_aside(tmp_path: Path, caplog) -> None:
    (tmp_path / "file" / "inner").mkdir(parents=True)
    write_text_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "file.unreadable" / "inner").is_dir()
    assert "file is a folder; it is kept as file.unreadable" in caplog.text


@pytest.mark.parametrize("target", ["elsewhere", "nowhere", "file"])
def test_a_link_is_replaced_and_not_followed(tmp_path: Path, target) -> None:
    (tmp_path / "elsewhere").write_text("old")
    (tmp_path / "file").symlink_to(target)  # the last is a link to itself
    write_text_atomic(tmp_path / "file", "new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "elsewhere").read_text() == "old"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode)


def test_leftovers_of_dead_writers_are_removed_and_those_of_living_ones_are_not(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ".abcdefgh.tmp").write_text("half")
    for name in (".mine.tmp", "abcdefgh.tmp", ".abcdefgh.tmp.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".folder__.tmp").mkdir()
    (tmp_path / ".linked__.tmp").symlink_to(tmp_path / ".mine.tmp")
    fsync = os.fsync

    def tidied(descriptor: int) -> None:
        remove_leftovers([tmp_path, tmp_path / "nowhere"])  # another process, while this one writes
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", tidied)
    write_text_atomic(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    kept = {".mine.tmp", "abcdefgh.tmp", ".abcdefgh.tmp.txt", ".folder__.tmp", ".linked__.tmp", "file"}
    assert names(tmp_path) == kept
