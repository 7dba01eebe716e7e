"""Files are written whole or not at all, as UTF-8, with the permissions of the file that they replace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic


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
