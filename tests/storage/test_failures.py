"""What the system refuses becomes one line that says what would work."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mergekit_calib.storage.failures import folder_error, machine_error

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_recognised_however_it_is_reported():
    with pytest.raises(OSError, match="No space") as plain, FULL.open("wb", buffering=0) as file:
        file.write(b"x")
    assert "free some space, and the same command goes on" in str(folder_error(plain.value, "out"))


@pytest.mark.parametrize(
    "text",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
    ],
)
def test_safetensors_own_error_is_recognised(text):
    from safetensors import SafetensorError

    refused = folder_error(SafetensorError(text), "out")
    assert str(refused) == "out: No space left on device: free some space, and the same command goes on"


def test_an_error_that_came_from_a_full_disk_is_recognised():
    problem = RuntimeError("cannot write")
    problem.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/file")
    assert machine_error(problem) is problem.__cause__
    assert str(folder_error(problem, "out")).startswith("out/file: No space left")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.EROFS, "make it writable"),
        (errno.EACCES, "make it writable"),
        (errno.ENOENT, "was deleted or moved"),
        (errno.ENOTDIR, "move away what is there"),
        (errno.ELOOP, "move away what is there"),
        (errno.EIO, "the same command goes on"),
    ],
)
def test_each_refusal_says_what_would_work(code, advice):
    line = str(folder_error(OSError(code, os.strerror(code), f"{'x' * 3000}/file"), "out"))
    assert advice in line
    assert os.strerror(code) in line
    assert len(line) < 500


def test_other_errors_are_left_as_they_are():
    for problem in (ValueError("x"), OSError("no model of that name on the Hub"), KeyError("x")):
        assert folder_error(problem, "out") is None
    assert machine_error(FileNotFoundError(errno.ENOENT, "no such file", "a/shard")) is None
