"""The folder that workers share, and the session that they join in it."""

from __future__ import annotations

from mergekit_calib.sweep.folder import RunFolder


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
