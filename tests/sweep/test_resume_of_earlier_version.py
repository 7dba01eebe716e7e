"""A run folder that version 0.1 began goes on: what it scored is not scored again, and the numbers are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import lm_eval
import pytest
from mergekit.options import MergeOptions

from mergekit_calib.items.item_files import read_items
from mergekit_calib.merging.method import registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep

BEGUN = Path(__file__).parent / "data" / "begun_before_0_2"
CHECKOUT = Path(__file__).parents[2]
# The results when version 0.1 itself finishes the run.
LAST_DIGEST = "4958325f54bae198da1f6da8904c2a1c"
LAST_VALUES = {"acc": 0.7027027027027027, "brier": 0.396447797121726, "nll": 0.9836095060940269}
SCORED = ["lambda=0", "lambda=1", "lambda=0.5"]

# lm-eval's version is part of every content key, so that scores of two versions are never mixed in one sweep.
BEGUN_WITH = "0.4.13"


class ScoredPoints(Progress):
    """Collects the ids of the points that were scored by running a model."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def point_started(self, point_id: str) -> None:
        self._running = point_id

    def scoring(self, entry: str, done: int, total: int) -> None:
        if self._running not in self.ids:
            self.ids.append(self._running)


def items(out: Path) -> set[tuple[str, str]]:
    """Return point and item scores of each file; without the key in its name, as this version has other keys."""
    paths = list((out / "calibration" / "items").iterdir())
    scores = {(path.name.rpartition("-")[0], repr(read_items(path)[1])) for path in paths}
    assert {path.suffix for path in paths} == {".parquet"}
    return scores


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(CHECKOUT)  # the recipe names the demo's models relative to it
    shutil.copytree(BEGUN / "out", tmp_path / "out")
    return tmp_path / "out"


def run(out: Path) -> tuple[Frontier, list[str]]:
    scored = ScoredPoints()
    recipe = (BEGUN / "recipe.yml").read_text(encoding="utf-8")
    sweep = parse_sweep(recipe, registered_signatures(), "recipe.yml")
    return run_sweep(sweep, out, MergeOptions(quiet=True), scored), scored.ids


def test_a_run_begun_by_version_0_1_scores_only_what_is_missing(out):
    begun, files = Frontier.load(out), items(out)
    assert [point.id for point in begun.points] == SCORED
    assert not begun.finished

    frontier, scored = run(out)
    same_version = lm_eval.__version__ == BEGUN_WITH
    assert scored == (["lambda=1.5"] if same_version else [*SCORED, "lambda=1.5"])
    assert [point.id for point in frontier.points] == [*SCORED, "lambda=1.5"]
    assert frontier.finished
    after = items(out)
    assert files <= after
    assert len(list((out / "calibration" / "items").iterdir())) == len(files) + len(scored)

    rel = 1e-12 if same_version else 1e-4  # of scores that were computed again
    for point in begun.points:
        resumed = frontier.point(point.id)
        assert resumed.digest == point.digest
        assert resumed.axes == point.axes
        # Values alone: this version's intervals of means are not centred, as those of version 0.1 were.
        for metric, splits in point.metrics["suite"].items():
            for split, estimate in splits.items():
                again = resumed.metrics["suite"][metric][split]
                assert again.n == estimate.n, (point.id, metric, split)
                assert again.value == pytest.approx(estimate.value, rel=rel), (point.id, metric, split)


def test_another_version_of_lm_eval_scores_every_point_again_and_keeps_the_old_scores(out, monkeypatch):
    files = items(out)
    monkeypatch.setattr(lm_eval, "__version__", "0.4.13.another")
    _, scored = run(out)
    assert scored == [*SCORED, "lambda=1.5"]
    assert files <= items(out)
    assert len(list((out / "calibration" / "items").iterdir())) == len(files) + len(scored)


def test_the_missing_point_has_the_scores_that_version_0_1_gives_it(out):
    frontier, _ = run(out)
    point = frontier.point("lambda=1.5")
    assert point.digest == LAST_DIGEST
    for metric, value in LAST_VALUES.items():
        assert point.metrics["suite"][metric]["held_out"].value == pytest.approx(value, rel=1e-4), metric
    assert frontier.selected is not None
    assert frontier.selected.id == "lambda=0"
