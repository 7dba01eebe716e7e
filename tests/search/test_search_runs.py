"""Searches from end to end: budgets, resuming, the study rebuilt from item scores, races, and mistakes in the block."""

from __future__ import annotations

import json
import sys

import optuna
import pytest
import yaml
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

from mergekit_calib.errors import RecipeError
from mergekit_calib.merging.merge_configuration import configuration
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.search import Study

RANGE = {"lambda": {"min": 0.0, "max": 1.5}}


def others(frontier):
    return [p for p in frontier.points if p.role is None]


@pytest.mark.parametrize(
    ("strategy", "axes"),
    [
        ("random", RANGE),
        ("evolve", {"lambda": {"blocks": 2, "min": 0, "max": 1.5}}),
        ("bayesian", {"lambda": {"blocks": 2, "filters": ["self_attn", "mlp"], "min": 0, "max": 1.5}}),
        ("bayesian", {"lambda": [0.2, 0.5, 0.9], "method": ["linear", "slerp"]}),
    ],
)
def test_a_strategy_scores_as_many_points_as_its_budget_allows(recipe_with, run, tmp_path, strategy, axes):
    own = {"startup": 3} if strategy == "bayesian" else {"population": 4} if strategy == "evolve" else {}
    frontier, scored = run(recipe_with(axes, {"strategy": strategy, "points": 5, **own}), tmp_path / "out")
    assert len(others(frontier)) == 5
    assert len({p.id for p in frontier.points}) == 7
    assert set(scored.values()) == {1}
    assert frontier.finished
    assert any("evolve is no better than random" in note for note in frontier.notes) == (strategy == "evolve")
    study = tmp_path / "out" / "calibration" / "study.log"
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(study)))
    (summary,) = optuna.get_all_study_summaries(storage)
    assert [d.name for d in summary.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_the_plain_recipe_of_a_point_over_blocks_gives_its_weights(recipe_with, run, tmp_path):
    axes = {"lambda": {"blocks": 2, "filters": ["self_attn", "mlp"], "min": 0, "max": 1.5}}
    frontier, _ = run(recipe_with(axes, {"strategy": "random", "points": 2}), tmp_path / "out")
    point = others(frontier)[-1]
    run_merge(configuration(yaml.safe_load(point.recipe)), str(tmp_path / "plain"), MergeOptions(quiet=True))
    assert digest_of(tmp_path / "plain") == point.digest


def test_a_larger_budget_keeps_the_points_that_were_scored(recipe_with, run, tmp_path):
    first, _ = run(recipe_with(RANGE, {"strategy": "random", "points": 3}), tmp_path / "out")
    second, scored = run(recipe_with(RANGE, {"strategy": "bayesian", "points": 5}), tmp_path / "out")
    assert [p.id for p in second.points][: len(first.points)] == [p.id for p in first.points]
    assert len(others(second)) == 5
    assert len(scored) == 2


def test_a_search_over_a_range_reuses_the_points_of_a_grid(recipe_with, run, tmp_path):
    run(recipe_with({"lambda": [0.25, 0.75]}), tmp_path / "out")
    frontier, scored = run(recipe_with(RANGE, {"strategy": "random", "points": 3}), tmp_path / "out")
    assert {"lambda=0.25", "lambda=0.75"} < {p.id for p in frontier.points}
    assert len(scored) == 1


@pytest.mark.parametrize("damage", ["lost", "unreadable"])
def test_the_study_is_rebuilt_from_the_item_scores(recipe_with, run, tmp_path, damage):
    recipe = recipe_with(RANGE, {"strategy": "random", "points": 3})
    first, _ = run(recipe, tmp_path / "out")
    log = tmp_path / "out" / "calibration" / "study.log"
    if damage == "lost":
        log.unlink()
    else:
        log.write_text(log.read_text()[:200] + "\nx\n{}\n")
    second, scored = run(recipe, tmp_path / "out")
    assert not scored
    assert [(p.id, p.metrics) for p in second.points] == [(p.id, p.metrics) for p in first.points]


def test_item_scores_that_were_removed_are_scored_again(recipe_with, run, tmp_path):
    recipe = recipe_with({"lambda": [0.25, 0.5, 0.75]})
    run(recipe, tmp_path / "out")
    next((tmp_path / "out" / "calibration" / "items").glob("lambda=0.5-*")).unlink()
    frontier, scored = run(recipe, tmp_path / "out")
    assert set(scored) == {"lambda=0.5"}
    assert len(frontier.points) == 5


def test_a_point_whose_worker_died_after_writing_its_scores_is_not_scored_again(
    recipe_with, run, tmp_path, monkeypatch
):
    recipe = recipe_with(RANGE, {"strategy": "random", "points": 2})
    with monkeypatch.context() as patch:
        patch.setattr(Study, "tell", lambda *_, **__: sys.exit("killed"))
        with pytest.raises(SystemExit):
            run(recipe, tmp_path / "out")
    frontier, scored = run(recipe, tmp_path / "out")
    assert len(others(frontier)) == 2
    assert len(scored) == 1


def test_a_search_is_repeatable(recipe_with, run, tmp_path):
    recipe = recipe_with(RANGE, {"strategy": "random", "points": 3, "seed": 5})
    first, _ = run(recipe, tmp_path / "a")
    second, _ = run(recipe, tmp_path / "b")
    other, _ = run(recipe_with(RANGE, {"strategy": "random", "points": 3, "seed": 6}), tmp_path / "c")
    assert [p.id for p in first.points] == [p.id for p in second.points]
    assert [p.id for p in first.points] != [p.id for p in other.points]


def test_a_budget_of_item_evaluations_is_never_exceeded(recipe_with, run, tmp_path):
    frontier, _ = run(recipe_with(RANGE, {"strategy": "random", "item_evaluations": 40 * 4 + 39}), tmp_path / "out")
    assert frontier.suite[0].n_items == 40
    assert len(frontier.points) == 4


def test_only_parents_are_scored_after_the_budget_of_minutes(recipe_with, run, tmp_path):
    frontier, _ = run(recipe_with(RANGE, {"strategy": "random", "minutes": 1e-9}), tmp_path / "out")
    assert [p.role for p in frontier.points] == ["base", "aligned"]


def test_a_search_ends_when_every_listed_value_is_scored(recipe_with, run, tmp_path):
    frontier, _ = run(recipe_with({"lambda": [0.25, 0.5, 1.5]}, {"strategy": "random", "points": 50}), tmp_path / "out")
    assert {p.id for p in others(frontier)} == {"lambda=0.25", "lambda=0.5", "lambda=1.5"}


def test_a_failed_point_counts_as_one_point_of_the_budget(make_model, task, run, tmp_path):
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(make_model(seed=0)),
        "models": [{"model": str(make_model(seed=1)), "parameters": {"weight": "${scale}"}}],
        "calibration": {
            "axes": {"scale": {"min": 1e39, "max": 3e39}},
            "suite": [task],
            "n_resamples": 100,
            "search": {"strategy": "random", "points": 2},
        },
    }
    frontier, _ = run(recipe, tmp_path / "out")
    assert [p.status for p in others(frontier)] == ["failed", "failed"]
    again, _ = run(recipe, tmp_path / "out")
    assert len(others(again)) == 2


def test_a_race_that_stops_no_point_changes_no_number(recipe_with, run, tmp_path):
    axes = {"lambda": [0.5]}
    plain, _ = run(recipe_with(axes), tmp_path / "plain")
    raced, scored = run(recipe_with(axes, {"racing": {"blocks": 3}}), tmp_path / "raced")
    assert set(scored) == {"lambda=0", "lambda=1", "lambda=0.5"}
    for a, b in zip(plain.points, raced.points, strict=True):
        assert a.metrics["suite"]["acc"] == b.metrics["suite"]["acc"]
        assert a.metrics["suite"]["nll"]["all"].value == pytest.approx(b.metrics["suite"]["nll"]["all"].value, abs=1e-5)


@pytest.mark.parametrize(
    ("axes", "search", "key", "says"),
    [
        (RANGE, "grid", "calibration.search.strategy", "lambda is a range without values"),
        (RANGE, "radnom", "calibration.search.strategy", "did you mean 'random'"),
        (RANGE, "random", "calibration.search", "give it points, item_evaluations or minutes"),
        (
            RANGE,
            {"strategy": "random", "item_evaluations": 79},
            "calibration.search.item_evaluations",
            "79 are too few to score 2 parents on 40 documents each; 120 are enough for the parents and one more",
        ),
        (
            RANGE,
            {"strategy": "random", "point": 3},
            "calibration.search",
            "'point' is not an option (did you mean 'points'",
        ),
        (
            RANGE,
            {"strategy": "evolve", "points": 3, "population": 1},
            "calibration.search",
            "population is 1: input should be greater than or equal to 4",
        ),
        (
            RANGE,
            {"strategy": "adaptive", "coarse": 2},
            "calibration.search",
            "coarse is 2: input should be greater than or equal to 3",
        ),
        ({"lambda": [0.5], "method": ["linear", "ties"]}, "adaptive", "search.strategy", "there are 2: lambda, method"),
        (RANGE, {"strategy": "random", "points": 0}, "calibration.search.points", "greater than or equal to 1"),
        ({"lambda": {"blocks": 9, "values": [0, 1]}}, "grid", "axes.lambda", "the models have 4 layers"),
        ({"lambda": {"blcks": 2, "values": [0, 1]}}, "grid", "axes.lambda", "did you mean 'blocks'"),
        ({"lambda": {"blocks": 2}}, "grid", "calibration.axes.lambda", "needs the axis's values too"),
        ({"lambda": [0.5], "method": ["linear", "tise"]}, "grid", "axes.method", "did you mean 'ties'"),
    ],
)
def test_a_mistake_in_the_search_is_named(recipe_with, run, tmp_path, axes, search, key, says):
    with pytest.raises(RecipeError) as caught:
        run(recipe_with(axes, search), tmp_path / "out")
    assert key in caught.value.key
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_record_has_every_point_and_the_search(recipe_with, run, tmp_path):
    frontier, _ = run(recipe_with(RANGE, {"strategy": "random", "points": 2}), tmp_path / "out")
    record = yaml.safe_load((tmp_path / "out" / "calibration" / "sweep.yml").read_text())
    assert set(record["points"]) == {p.id for p in frontier.points}
    assert record["calibration"]["search"]["strategy"] == "random"
    assert record["calibration"]["axes"] == {"lambda": {"min": 0.0, "max": 1.5}}
    assert json.loads((tmp_path / "out" / "calibration" / "frontier.json").read_text())["axes"] == {
        "lambda": [0.0, 1.5]
    }


def test_a_divergence_from_a_parent_is_an_objective_that_can_be_bounded(recipe_with, run, tmp_path):
    axes = {"lambda": [0.0, 0.25, 0.5, 0.75, 1.0]}
    kl = {"metric": "kl", "to": "aligned"}
    bounds = {"rule": "max", "objective": "acc", "bounds": {"kl_to_aligned": {"max": 0.0}}}
    frontier, _ = run(recipe_with(axes, objectives=["acc", kl], select=bounds), tmp_path / "out")
    (_, objective) = frontier.objectives
    values = {p.id: p.estimate(objective).value for p in frontier.points}
    assert frontier.selected.role == "aligned"
    assert values["lambda=0.25"] > values["lambda=0.5"] > values["lambda=0.75"] > values["lambda=1"] == 0.0
    for point in frontier.points:
        if point.role != "aligned":
            assert point.changes["aligned"].kl == point.estimate(objective)
    again, scored = run(recipe_with(axes, objectives=["acc", {**kl, "to": "base"}]), tmp_path / "out")
    assert scored == {}  # the stored items have the answers of every parent
    assert again.parent("base").estimate(again.objectives[1]).value == 0.0
