"""`frontier.json` of an earlier schema version is read as one of the current version, with the same numbers.

`data/frontier_schema_2.json` is that of the demo as version 0.1 wrote it, without most points and metrics.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from mergekit_calib.results.frontier import Frontier

FILE = Path(__file__).parent / "data" / "frontier_schema_2.json"


@pytest.fixture
def old() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(params=[1, 2])
def frontier(request, old, tmp_path) -> Frontier:
    path = tmp_path / "frontier.json"
    path.write_text(json.dumps({**old, "schema_version": request.param}), encoding="utf-8")
    return Frontier.load(path)


def values(splits: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {split: tuple(estimate[key] for key in ("value", "low", "high", "n")) for split, estimate in splits.items()}


def test_it_has_the_current_schema_version(frontier):
    assert frontier.schema_version == 3
    assert frontier.finished
    assert frontier.selected is not None
    assert frontier.selected.id == "lambda=0.4"


def test_the_estimates_of_report_become_those_of_the_held_out_split(frontier, old):
    for before in (*old["points"], *old["baselines"]):
        after = frontier.baseline(before["id"]) or frontier.point(before["id"])
        for metric, splits in before["metrics"]["suite"].items():
            read = values(after.model_dump()["metrics"]["suite"][metric])
            assert read == {name.replace("report", "held_out"): v for name, v in values(splits).items()}
    assert frontier.point("lambda=0.4").metrics["suite"]["ece"]["held_out"].value == 0.0535746
    assert frontier.baseline("aligned+T").temperatures == {"calib_demo": 2.29609}


def test_the_suite_counts_the_items_of_the_held_out_split(frontier):
    (entry,) = frontier.suite
    assert (entry.n_items, entry.n_selection, entry.n_held_out) == (5000, 2501, 2499)


def test_each_point_says_on_which_splits_it_is_on_the_frontier(frontier):
    assert frontier.point("lambda=0.4").on_frontier == {"all": False, "selection": True, "held_out": False}


def test_halves_becomes_splits_with_new_field_names(frontier):
    splits = frontier.splits
    assert splits is not None
    assert {split: choice.point for split, choice in splits.choices.items()} == {
        "selection": "lambda=0.4",
        "held_out": "lambda=0.2",
    }
    assert not splits.agree
    assert splits.on_other_split["selection"]["acc"].value == 0.789116
    assert splits.on_other_split["held_out"]["ece"].value == 0.0192449
    assert splits.differences["held_out"]["ece"].value == 0.0257757
    assert splits.choice_shares["lambda=0.2"] == 0.37


def test_apart_becomes_difference_in_differences(old):
    old["halves"]["apart"] = {"acc": {"value": 0.1, "low": 0.05, "high": 0.15, "n": 5000}}
    splits = Frontier.model_validate(old).splits
    assert splits is not None
    assert splits.difference_in_differences["acc"].value == 0.1


def test_chance_becomes_uncertainty(frontier):
    assert frontier.uncertainty is not None
    assert frontier.uncertainty.hypervolume.value == 0.00241938
    assert frontier.uncertainty.reference == {"acc": 0.762305, "ece": 0.112887}


def test_fields_of_the_same_name_are_unchanged(frontier, old):
    for name in ("name", "created", "axes", "models", "seed", "versions", "level"):
        assert getattr(frontier, name) == old[name]
    for before in old["points"]:
        after = frontier.point(before["id"]).model_dump(mode="json")
        for name in ("recipe", "role", "digest", "differences", "superiority", "recovered"):
            assert after[name] == before[name]


def test_a_running_sweep_of_the_old_schema_is_read(old):
    running = {**old, "finished": False, "halves": None, "chance": None, "selection": None, "baselines": []}
    frontier = Frontier.model_validate(running)
    assert frontier.splits is None
    assert frontier.uncertainty is None


def test_it_is_written_in_the_current_schema(frontier, tmp_path):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "frontier.json").write_text(frontier.model_dump_json(), encoding="utf-8")
    assert Frontier.load(tmp_path) == frontier


def test_an_unknown_version_is_refused(old):
    with pytest.raises(pydantic.ValidationError, match="schema_version"):
        Frontier.model_validate({**old, "schema_version": 4})


def test_an_unknown_point_is_named_with_the_known_ones(frontier):
    with pytest.raises(KeyError, match=r"lambda=0\.9.*lambda=0\.2"):
        frontier.point("lambda=0.9")
