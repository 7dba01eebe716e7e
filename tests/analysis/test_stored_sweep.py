"""A sweep read from its folder with its item scores: the same numbers as the sweep's own, and more on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from mergekit_calib.analysis.stored_sweep import StoredSweep
from mergekit_calib.errors import CalibError


@pytest.fixture(scope="module")
def stored(finished_demo: Path) -> StoredSweep:
    return StoredSweep.load(finished_demo)


def test_choosing_again_with_the_same_rule_gives_the_same_choice_and_the_same_numbers(stored):
    again = stored.frontier.model_copy(deep=True)
    rule, options = "one_se", {}
    analysis = stored.analysis()
    analysis.conclude(again.points, rule, options)
    analysis.finish(again, rule, options)
    assert again.model_copy(update={"notes": stored.frontier.notes}) == stored.frontier


def test_a_metric_that_the_sweep_did_not_compute_is_computed_from_the_item_scores(stored):
    frontier = stored.with_metrics(["acc", "auroc"])
    assert all("auroc" not in p.metrics["suite"] for p in stored.frontier.complete_points)
    for before, after in zip(stored.frontier.complete_points, frontier.complete_points, strict=True):
        assert 0.0 <= after.metrics["suite"]["auroc"]["held_out"].value <= 1.0
        assert after.metrics["suite"]["acc"] == before.metrics["suite"]["acc"]


def test_an_unknown_metric_is_refused_with_the_names_that_there_are(stored):
    with pytest.raises(CalibError, match=r"no metric 'accuracy'; there are .*acc"):
        stored.with_metrics(["accuracy"])


def test_a_point_without_item_scores_is_named(stored):
    with pytest.raises(CalibError, match=r"no item scores of point 'lambda=9'"):
        stored.tables("lambda=9")


def test_a_record_that_cannot_be_read_is_named(tmp_path, finished_demo):
    folder = tmp_path / "calibration"
    folder.mkdir()
    (folder / "frontier.json").write_bytes((finished_demo / "calibration" / "frontier.json").read_bytes())
    for text in ("points: 3", "{", None):
        if text is not None:
            (folder / "sweep.yml").write_text(text)
        else:
            (folder / "sweep.yml").unlink()
        with pytest.raises(CalibError, match=r"sweep\.yml is missing or cannot be read"):
            StoredSweep.load(tmp_path)
