"""The output folder of a sweep may have any name that models can be written under."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mergekit_calib.errors import CalibError
from mergekit_calib.sweep.folder_checks import check_usable


def test_a_folder_whose_name_is_not_utf_8_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    """safetensors writes no file under such a path."""
    with pytest.raises(CalibError, match="not UTF-8"):
        check_usable(tmp_path / os.fsdecode(b"caf\xe9"), [])
    check_usable(tmp_path / "=a\x1b[31m\n<b>é[x]", [])
