"""The folder that workers share, the session that they join in it, the model in it, and what may stand in its way."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from mergekit_calib.errors import CalibError
from mergekit_calib.sweep.folder import RunFolder

FILES = {"model.safetensors": b"weights" * 100, "config.json": b"{}", "templates/one.jinja": b"{{ x }}"}

FOLDERS = ["calibration", "calibration/items", "calibration/.workers", "calibration/scratch"]


def written(to: Path) -> None:
    for name, data in FILES.items():
        (to / name).parent.mkdir(exist_ok=True)
        (to / name).write_bytes(data)


def not_written(to: Path) -> None:
    raise AssertionError("the model is whole")


@pytest.fixture
def finished(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "out")
    assert folder.write_model(written, "digest", "lambda=0.5") is None
    return folder


def is_whole(folder: RunFolder) -> bool:
    return {name: (folder.path / name).read_bytes() for name in FILES} == FILES


def test_the_last_worker_removes_the_scratch_folder(tmp_path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    file_of_second = first.scratch / "point-of-the-second"
    with second.joined("study") as session:
        with first.joined("study"):
            file_of_second.mkdir(parents=True)
            (first.scratch / "model").mkdir()
            first.remove_scratch()
            assert file_of_second.exists()
            assert not (first.scratch / "model").exists()
            with RunFolder(tmp_path).joined("study") as third:  # it joins the same session
                assert third.id == session.id
        second.remove_scratch()
        assert not first.scratch.exists()
        with RunFolder(tmp_path).joined("study") as third:
            assert third.id == session.id


def test_a_whole_model_is_not_written_again(finished):
    finished.write_model(not_written, "digest", "lambda=0.5")
    assert is_whole(finished)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped", "folder", "dangling", "linked"])
def test_a_model_that_is_not_whole_is_written_again(finished, tmp_path, caplog, name, damage):
    path, times = finished.path / name, (finished.path / name).stat()
    outside = tmp_path / "outside"
    outside.write_bytes(b"outside")
    if damage == "cut":
        path.write_bytes(FILES[name][:-1])
    elif damage == "flipped":
        path.write_bytes(bytes([FILES[name][0] ^ 1]) + FILES[name][1:])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk that loses a bit
    else:
        path.unlink()
    if damage == "folder":
        path.mkdir()
        (path / "stray").write_text("stray")
    elif damage in ("dangling", "linked"):
        path.symlink_to(outside if damage == "linked" else tmp_path / "nowhere")
    with caplog.at_level(logging.WARNING):
        finished.write_model(written, "digest", "lambda=0.5")
    assert is_whole(finished)
    assert not path.is_symlink()
    assert outside.read_bytes() == b"outside"
    assert f"is not whole: {name}" in caplog.text
    finished.write_model(not_written, "digest", "lambda=0.5")


def test_a_file_of_the_model_that_the_user_changed_is_kept_aside(finished):
    (finished.path / "config.json").write_text("mine")
    finished.write_model(written, "digest", "lambda=0.5")
    assert (finished.path / "config.json.replaced").read_text() == "mine"
    assert is_whole(finished)


def test_weights_that_are_not_part_of_the_model_are_moved_away(finished):
    (finished.path / "model.safetensors.index.json").write_text("{}")
    finished.write_model(written, "digest", "lambda=0.5")
    assert not (finished.path / "model.safetensors.index.json").exists()
    assert (finished.path / "model.safetensors.index.json.replaced").exists()


def test_another_points_model_replaces_the_one_that_was_there(finished):
    def other(to: Path) -> None:
        (to / "model-00001-of-00001.safetensors").write_bytes(b"other")

    said = finished.write_model(other, "other digest", "lambda=0.2")
    assert "held λ = 0.5, which is replaced by λ = 0.2" in said
    assert {path.name for path in finished.path.iterdir() if path.is_file()} == {"model-00001-of-00001.safetensors"}


def test_a_model_of_version_0_1_has_no_record_and_is_written_again(finished, caplog):
    (finished.calibration / "model.json").rename(finished.calibration / "model.digest")
    finished.write_model(written, "digest", "lambda=0.5")
    assert "nothing says whether the model" in caplog.text
    assert not (finished.calibration / "model.digest").exists()


def test_a_write_that_fails_leaves_the_old_model(finished):
    def failing(to: Path) -> None:
        written(to)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        finished.write_model(failing, "other digest", "lambda=0.2")
    assert is_whole(finished)
    assert not (finished.scratch / "model").exists()
    finished.write_model(not_written, "digest", "lambda=0.5")


@pytest.mark.parametrize(
    "name", [".", "calibration", "calibration/items", "calibration/.workers", "calibration/scratch"]
)
@pytest.mark.parametrize("instead", ["a file", "a link to nothing", "a link to elsewhere"])
def test_what_stands_in_place_of_a_folder_is_refused_in_one_line(tmp_path, name, instead):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir()
    path = (out / name).resolve()
    if instead == "a file":
        path.write_text("")
    else:
        path.symlink_to(elsewhere if instead == "a link to elsewhere" else tmp_path / "nowhere")
    if name == "." and instead == "a link to elsewhere":
        RunFolder(out).check(["a", "b"])  # people keep results on another disk
        return
    with pytest.raises(CalibError, match=path.name) as refused:
        RunFolder(out).check(["a", "b"])
    assert "\n" not in str(refused.value)
    path.unlink()
    RunFolder(out).check(["a", "b"])
    assert not any(elsewhere.iterdir())


def test_a_link_within_the_folder_is_followed(tmp_path):
    (tmp_path / "out" / "calibration" / "scores").mkdir(parents=True)
    (tmp_path / "out" / "calibration" / "items").symlink_to("scores")
    RunFolder(tmp_path / "out").check(["a", "b"])


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CalibError, match="file is no folder"):
        RunFolder(tmp_path / "file" / "out").check(["a", "b"])


@pytest.mark.parametrize("models", [["a", "b"], ["a", "c"]])
@pytest.mark.parametrize("record", [None, "", "models", "models: [a]", "{", "models: {x: 1}"])
def test_another_file_tells_whose_run_it_is_if_sweep_yml_is_damaged(tmp_path, models, record):
    folder = RunFolder(tmp_path / "out")
    folder.calibration.mkdir(parents=True)
    (folder.path / "config.json").write_text("{}")
    folder.frontier.write_text('{"models": {"base": "a", "aligned": "b"}}')
    if record is not None:
        folder.sweep_record.write_text(record)
    if models == ["a", "b"]:
        folder.check(models)
    else:
        with pytest.raises(CalibError, match="holds a sweep of"):
            folder.check(models)


def test_a_worker_notices_that_the_folder_is_gone(tmp_path):
    folder = RunFolder(tmp_path / "out")
    with folder.joined("study"):
        folder.check_is_there()
        folder.path.rename(tmp_path / "moved")
        with pytest.raises(CalibError, match="deleted, moved or replaced"):
            folder.check_is_there()
        assert not folder.path.exists()
    with folder.joined("study"):
        folder.check_is_there()


def test_the_first_worker_removes_what_killed_runs_left_and_follows_no_link(tmp_path):
    folder, elsewhere = RunFolder(tmp_path / "out"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    for name in ("scratch/point-x", "scratch/adapters", ".workers", "items"):
        (folder.calibration / name).mkdir(parents=True)
    (folder.scratch / "model").symlink_to(elsewhere)
    left = [folder.path / ".abcdefgh.tmp", folder.items.folder / ".x1234567.tmp"]
    for path in left:
        path.write_text("half")
    folder.study_log.symlink_to(elsewhere / "kept")
    (folder.calibration / ".workers" / "decide").symlink_to(elsewhere / "kept")
    with folder.joined("study"):
        assert not any(path.exists() for path in left)
        assert [path.name for path in folder.scratch.iterdir()] == ["adapters"]
        assert not folder.study_log.is_symlink()
        assert not (folder.calibration / ".workers" / "decide").is_symlink()
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"kept": "kept"}
