"""The folder that workers share: what one of them leaves to the others."""

from __future__ import annotations

from mergekit_calib.sweep.folder import RunFolder


def test_the_scratch_folder_goes_with_the_last_worker(tmp_path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    theirs = first.scratch / "point-of-the-second"
    with second.joined("study") as session:
        with first.joined("study"):
            theirs.mkdir(parents=True)
            (first.scratch / "model").mkdir()
            first.remove_scratch()
            assert theirs.exists()
            assert not (first.scratch / "model").exists()
            with RunFolder(tmp_path).joined("study") as third:  # still shared: no session of its own
                assert third.id == session.id
        second.remove_scratch()
        assert not first.scratch.exists()
        with RunFolder(tmp_path).joined("study") as third:
            assert third.id == session.id
