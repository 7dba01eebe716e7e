"""Numbers that need all points of a sweep: both splits, the frontier's uncertainty, trends along λ, macro averages."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from helpers.simulated_models import ACC, BRIER, ECE, Model, analysed, empty, items, without_choices
from mergekit_calib import metrics
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.paired import differences, shares_recovered
from mergekit_calib.errors import CalibError
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import in_split
from mergekit_calib.report.text.outcomes import outcome
from mergekit_calib.report.text.split_texts import split_difference
from mergekit_calib.report.text.statements import statements
from mergekit_calib.results.frontier import Estimate, Frontier, Objective, PointResult, SuiteEntrySummary

EXTRAPOLATED = {
    "base": Model(1.0, 1.0),
    "aligned": Model(1.4, 1.6),
    "0.25": Model(1.3, 1.1),
    "0.5": Model(1.7, 1.2),
    "0.75": Model(1.5, 1.4),
    "1.25": Model(1.2, 2.0),
    "1.5": Model(0.9, 2.6),
}
MACRO_ACC = Objective(metric="acc", direction="maximize", average="macro", weights={"a": 3.0, "b": 1.0})
MACRO_ECE = MACRO_ACC.model_copy(update={"metric": "ece", "direction": "minimize"})


@pytest.fixture(scope="module")
def extrapolated() -> Frontier:
    return analysed(EXTRAPOLATED, (ACC, ECE, BRIER), n_items=1500)


def test_each_split_chooses_by_the_same_rule_and_is_quoted_from_the_other(extrapolated):
    splits = extrapolated.splits
    chosen = {split: extrapolated.point(choice.point) for split, choice in splits.choices.items()}
    assert chosen["selection"].selected
    assert splits.on_other_split["selection"]["ece"] == chosen["selection"].estimate(ECE, "held_out")
    assert splits.on_other_split["held_out"]["ece"] == chosen["held_out"].estimate(ECE, "selection")
    assert splits.agree == (chosen["selection"] is chosen["held_out"])


def test_splits_agree_on_a_point_that_is_far_ahead():
    models = {"base": Model(0.5), "aligned": Model(0.8, 2.0), "0.5": Model(2.0, 1.2)}
    splits = analysed(models, rule="max", options={"objective": "acc"}).splits
    assert splits.agree
    assert splits.differences == {}


def test_a_clear_choice_is_made_in_every_resample_and_one_of_many_similar_points_is_not():
    far = {"base": Model(0.5), "aligned": Model(0.8, 2.0), "0.5": Model(2.0, 1.2)}
    best = {"rule": "max", "options": {"objective": "acc"}}
    assert analysed(far, **best).splits.choice_shares == {"lambda=0.5": 1.0}
    alike = {f"0.{i}": Model(1.5, 1.2, own=0.5) for i in range(1, 6)}
    shares = analysed({"base": Model(), "aligned": Model(1.4, 2.0), **alike}, n_items=300, **best).splits.choice_shares
    assert sum(shares.values()) == pytest.approx(1.0)
    assert len(shares) > 1
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_splits_that_choose_among_similar_points_disagree_and_their_differences_are_given():
    alike = {f"0.{i}": Model(1.5, 1.2, own=0.5) for i in range(1, 9)}
    disagreeing = [
        both
        for seed in range(6)
        if not (
            both := analysed({"base": Model(), "aligned": Model(1.4, 2.0), **alike}, n_items=300, seed=seed).splits
        ).agree
    ]
    assert disagreeing
    for splits in disagreeing:
        # Each split prefers its own choice: one of the differences is a gain there.
        assert set(splits.differences) == {"selection", "held_out"}
        assert splits.differences["selection"]["acc"].value >= 0 or splits.differences["selection"]["ece"].value <= 0
        assert splits.differences["held_out"]["acc"].value <= 0 or splits.differences["held_out"]["ece"].value >= 0


def with_named_splits(on_selection: dict[str, Model], on_held_out: dict[str, Model]) -> Frontier:
    """Return a sweep that chooses on the items of one task and reports those of another; models can differ by task."""
    splits = {"selection": on_selection, "held_out": on_held_out}
    scores = {split: items(models, 600, task=split) for split, models in splits.items()}
    analysis = SweepAnalysis((ACC, ECE), BUILT_IN, level=0.95, n_resamples=400, n_bins=15, seed=0)
    frontier = empty((ACC, ECE))
    frontier.suite = [
        SuiteEntrySummary(
            name=split,
            tasks=[split],
            n_items=600,
            n_selection=600 * (split == "selection"),
            n_held_out=600 * (split == "held_out"),
        )
        for split in splits
    ]
    for name, lam in (("base", 0.0), ("aligned", 1.0), ("0.5", 0.5)):
        role = name if name in ("base", "aligned") else None
        point = PointResult(id=f"lambda={lam:g}", role=role, axes={"lambda": lam}, recipe="")
        tables = {
            split: [dataclasses.replace(t[name], doc_hashes=[in_split(h, split) for h in t[name].doc_hashes])]
            for split, t in scores.items()
        }
        frontier.points.append(point)
        analysis.add(point, tables)
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    return frontier


def test_a_parent_tuned_on_the_selection_split_is_detected():
    fair = {"base": Model(1.0, 1.0), "aligned": Model(1.2, 1.6), "0.5": Model(1.15, 1.2)}
    tuned_on = {**fair, "aligned": Model(2.2, 1.1)}
    frontier = with_named_splits(tuned_on, fair)
    difference = frontier.splits.difference_in_differences
    base, aligned = frontier.parent("base"), frontier.parent("aligned")
    gains = [
        aligned.estimate(ACC, split).value - base.estimate(ACC, split).value for split in ("selection", "held_out")
    ]
    assert difference["acc"].value == pytest.approx(gains[0] - gains[1])
    assert 0.0 < difference["acc"].low < difference["acc"].value < difference["acc"].high
    assert difference["acc"].n == 1200
    sentence = split_difference(frontier)
    assert f"accuracy +{gains[0]:.3f} and +{gains[1]:.3f}" in sentence
    assert sentence in statements(frontier)


def test_there_is_no_warning_for_splits_of_the_same_kind_of_items():
    fair = {"base": Model(1.0, 1.0), "aligned": Model(1.2, 1.6), "0.5": Model(1.15, 1.2)}
    frontier = with_named_splits(fair, fair)
    assert (
        frontier.splits.difference_in_differences["acc"].low
        < 0.0
        < frontier.splits.difference_in_differences["acc"].high
    )
    assert split_difference(frontier) == ""


def test_splits_by_hash_are_not_tested_for_a_difference(extrapolated):
    assert extrapolated.splits.difference_in_differences == {}


def test_the_worst_point_is_on_no_resampled_frontier_and_the_best_on_every_one(extrapolated):
    probabilities = {p.id: p.frontier_probability for p in extrapolated.points}
    assert probabilities["lambda=1.5"] == 0.0
    assert max(probabilities.values()) == 1.0
    assert all(0.0 <= share <= 1.0 for share in probabilities.values())


def test_the_reference_is_the_worse_parent_in_each_objective(extrapolated):
    base, aligned = (extrapolated.parent(role) for role in ("base", "aligned"))
    worse = {"acc": min, "ece": max, "brier": max}
    for objective in extrapolated.objectives:
        both = [parent.estimate(objective).value for parent in (base, aligned)]
        assert extrapolated.uncertainty.reference[objective.name] == pytest.approx(worse[objective.name](both))


def test_the_hypervolume_is_above_that_of_the_parents_and_within_its_interval(extrapolated):
    uncertainty = extrapolated.uncertainty
    assert uncertainty.hypervolume.value > uncertainty.of_parents.value >= 0
    assert uncertainty.hypervolume.low <= uncertainty.hypervolume.value <= uncertainty.hypervolume.high
    assert uncertainty.hypervolume.n == extrapolated.points[0].estimate(ACC).n


def test_without_both_parents_there_is_no_reference_and_no_average():
    frontier = analysed({"base": Model(), "0.5": Model(1.6)})
    assert frontier.uncertainty is None
    assert {b.kind for b in frontier.baselines} == {"temperature"}
    assert frontier.points[0].superiority is None


def test_calibration_error_that_grows_above_lambda_1_is_a_significant_trend(extrapolated):
    acc, ece, _ = extrapolated.trends
    assert acc.lambdas == [1.0, 1.25, 1.5]
    assert (ece.tau.value, ece.tau.low, acc.tau.high) == (1.0, 1.0, -1.0)
    assert ece.fitted == pytest.approx([extrapolated.point(f"lambda={x:g}").estimate(ECE).value for x in ece.lambdas])
    assert ece.p_monotone == 1.0


def test_similar_points_have_no_trend():
    alike = {f"{x}": Model(1.4, 1.6, own=0.5) for x in (1.1, 1.2, 1.3, 1.4, 1.5)}
    shown = 0
    for seed in range(20):
        frontier = analysed(
            {"base": Model(), "aligned": Model(1.4, 1.6, own=0.5), **alike}, (ACC,), seed=seed, n_items=300
        )
        (trend,) = frontier.trends
        shown += not trend.tau.low <= 0 <= trend.tau.high
    assert shown <= 4


def test_trends_need_three_points_from_the_aligned_model_on():
    frontier = analysed({"base": Model(), "aligned": Model(1.4, 1.6), "1.5": Model(1.0, 2.5)})
    assert frontier.trends == []
    assert [o.objective for o in frontier.optima] == ["acc", "ece"]


def test_optima_and_the_ends_of_their_intervals_are_scored_settings(extrapolated):
    at = {o.objective: o for o in extrapolated.optima}
    scored = {p.axes["lambda"] for p in extrapolated.points}
    assert at["acc"].at == 0.5
    assert at["ece"].at < 0.5
    for optimum in extrapolated.optima:
        assert {optimum.at, optimum.low, optimum.high} <= scored
        assert optimum.low <= optimum.at <= optimum.high


def test_there_are_no_trends_with_several_axes():
    frontier = empty((ACC,))
    frontier.axes = {"lambda": [], "density": []}
    analysis = SweepAnalysis([ACC], BUILT_IN, 0.95, 100, 15, 0)
    for i, table in enumerate(items({str(i): Model() for i in range(5)}, 100).values()):
        frontier.points.append(PointResult(id=str(i), axes={"lambda": 1 + i % 2, "density": i}, recipe=""))
        analysis.add(frontier.points[-1], {"t": [table]})
    frontier.selection = analysis.conclude(frontier.points, "knee", {})
    analysis.finish(frontier, "knee", {})
    assert (frontier.trends, frontier.optima) == ([], [])


def test_a_macro_average_weights_tasks_and_a_pooled_metric_weights_items():
    models = {"base": Model(0.8), "aligned": Model(1.5, 2.0), "0.5": Model(1.5, 1.2)}
    frontier = analysed(models, (MACRO_ACC, MACRO_ECE, ACC), ("a", "b"), n_items={"a": 200, "b": 1000})
    for point in frontier.points:
        a, b = (point.metrics[task]["acc"]["held_out"] for task in ("a", "b"))
        assert point.estimate(MACRO_ACC).value == pytest.approx((3 * a.value + b.value) / 4)
        assert point.estimate(ACC).value == pytest.approx((a.n * a.value + b.n * b.value) / (a.n + b.n))
        assert point.estimate(MACRO_ACC).n == a.n + b.n
    assert set(frontier.points[2].differences["base"]) >= {"macro/acc", "macro/ece", "acc"}
    assert frontier.baseline("aligned+T").estimate(MACRO_ECE).value is not None


def test_every_metric_of_every_task_has_a_paired_difference_to_each_parent():
    frontier = analysed({"base": Model(0.8), "aligned": Model(1.5, 2.0), "0.5": Model(1.5, 1.2)}, (ACC,), ("a", "b"))
    point = frontier.points[2]
    for role in ("base", "aligned"):
        parent, differences_to_it = frontier.parent(role), point.differences[role]
        assert differences_to_it["acc"].p is not None
        for scope, name in (("suite", "brier"), ("a", "a/brier"), ("b", "b/acc")):
            metric = name.split("/")[-1]
            mine, theirs = (p.metrics[scope][metric]["held_out"] for p in (point, parent))
            assert differences_to_it[name].value == pytest.approx(mine.value - theirs.value)
            assert differences_to_it[name].low < differences_to_it[name].value < differences_to_it[name].high
            assert differences_to_it[name].high - differences_to_it[name].low < (mine.high - mine.low) + (
                theirs.high - theirs.low
            )
            assert (differences_to_it[name].n, differences_to_it[name].p) == (mine.n, None)
    assert frontier.parent("base").differences.keys() == {"aligned"}


def test_a_single_item_answered_differently_is_not_significant():
    n = 37
    theirs = np.arange(n) % 5 > 0
    mine = theirs.copy()
    mine[0] = True
    for seed in range(20):
        counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=1000)
        results = []
        for correct in (mine, theirs):
            results.append({"acc": metrics.BootstrapResult(correct.mean(), 0.0, 1.0, counts @ correct / n)})
        difference = differences(*results, [ACC], 0.95, {"acc": n})["acc"]
        assert difference.value == pytest.approx(1 / n)
        assert outcome(ACC, difference) == "not significant"
        assert difference.p > 0.05


def test_the_share_recovered_is_relative_to_the_difference_between_the_parents(extrapolated):
    base, aligned = (extrapolated.parent(role) for role in ("base", "aligned"))
    for point in extrapolated.points:
        for objective in (ACC, ECE, BRIER):
            share = point.recovered[objective.name]
            values = [p.estimate(objective).value for p in (point, aligned, base)]
            assert share.value == pytest.approx((values[0] - values[1]) / (values[2] - values[1]))
            assert share.n == point.estimate(objective).n
    assert [aligned.recovered["ece"].value, base.recovered["ece"].value] == [0.0, 1.0]
    assert extrapolated.point("lambda=0.5").recovered["ece"].low > 0.3
    assert extrapolated.point("lambda=1.5").recovered["ece"].high < 0.0


def test_a_share_has_an_interval_only_if_the_parents_differ_significantly():
    def drawn(value: float, noise: float, seed: int) -> metrics.BootstrapResult:
        replicates = value + noise * np.random.default_rng(seed).standard_normal(2000)
        return metrics.BootstrapResult(value, replicates.min(), replicates.max(), replicates)

    def share(noise: float) -> Estimate:
        mine, base, aligned = ({"ece": drawn(value, noise, i)} for i, value in enumerate((0.06, 0.04, 0.10)))
        return shares_recovered(mine, base, aligned, 0.95, {"ece": 7})["ece"]

    unknown = share(0.1)
    assert (unknown.value, unknown.low, unknown.high, unknown.n) == (pytest.approx(2 / 3), None, None, 7)
    shown = share(0.002)
    # By propagation of error: gain / cost of noises √2 × 0.002 that share the aligned model's.
    error = 0.002 / 0.06 * np.sqrt(1 + (2 / 3) ** 2 + (1 - 2 / 3) ** 2)
    assert (shown.high - shown.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    assert shown.low < 2 / 3 < shown.high


def test_tasks_of_a_macro_average_are_resampled_separately():
    # Two tasks with the same items. If they were resampled together, the average's interval would be as wide as theirs.
    tables = items({"m": Model()}, 400)
    frontier = empty((MACRO_ACC,))
    analysis = SweepAnalysis([MACRO_ACC.model_copy(update={"weights": {}})], BUILT_IN, 0.95, 1000, 15, 0)
    point = PointResult(id="m", recipe="")
    analysis.add(point, {"a": [tables["m"]], "b": [tables["m"]]})
    single, average = point.metrics["a"]["acc"]["held_out"], point.metrics["macro"]["acc"]["held_out"]
    assert average.value == single.value
    assert (average.high - average.low) / (single.high - single.low) == pytest.approx(1 / np.sqrt(2), rel=0.1)
    assert frontier.objectives[0].name == "macro/acc"


def test_a_weight_of_0_leaves_a_task_out_of_the_average():
    only_a = MACRO_ACC.model_copy(update={"weights": {"a": 1.0, "b": 0.0}})
    frontier = analysed({"base": Model(), "aligned": Model(1.4, 2.0)}, (only_a,), ("a", "b"), n_items=200)
    point = frontier.points[0]
    assert point.estimate(only_a).value == point.metrics["a"]["acc"]["held_out"].value


def test_a_macro_average_of_a_metric_of_choices_leaves_out_tasks_without_choices():
    table = items({"m": Model()}, 100)["m"]
    texts = without_choices(dataclasses.replace(table, task="g"), {"acc": np.zeros(100)})
    analysis = SweepAnalysis([MACRO_ACC.model_copy(update={"weights": {}})], BUILT_IN, 0.95, 100, 15, 0)
    point = PointResult(id="m", recipe="")
    analysis.add(point, {"a": [table], "g": [texts]})
    assert point.metrics["macro"]["acc"] == point.metrics["a"]["acc"] == point.metrics["suite"]["acc"]


def test_intervals_contain_their_values_for_small_calibration_errors_too():
    frontier = analysed({"base": Model(), "aligned": Model(1.4, 1.05)}, n_items=400)
    for point in frontier.points:
        for scope in point.metrics.values():
            for name, splits in scope.items():
                for estimate in splits.values():
                    assert estimate.low <= estimate.value <= estimate.high, name
        assert point.estimate(ECE).low >= 0


def test_points_scored_on_other_items_are_refused_with_the_name_of_the_task():
    analysis = SweepAnalysis([ACC], BUILT_IN, 0.95, 100, 15, 0)
    analysis.add(PointResult(id="x", recipe=""), {"t": [items({"m": Model()}, 50)["m"]]})
    with pytest.raises(CalibError, match="t: its items are not those"):
        analysis.add(PointResult(id="y", recipe=""), {"t": [items({"m": Model()}, 51)["m"]]})


def test_the_value_on_all_items_is_that_of_both_splits_together():
    table = items({"m": Model(1.4, 1.5)}, 300)["m"]
    analysis = SweepAnalysis([ACC], BUILT_IN, 0.95, 100, 15, 0)
    point = PointResult(id="m", recipe="")
    analysis.add(point, {"t": [table]})
    expected = metrics.expected_calibration_error(table.probabilities, table.labels)
    assert point.estimate(ECE, "all").value == pytest.approx(expected, abs=1e-12)


def test_a_result_is_read_back_from_its_file_and_so_is_one_of_the_first_version(extrapolated, tmp_path):
    (tmp_path / "frontier.json").write_text(extrapolated.model_dump_json())
    assert Frontier.load(tmp_path / "frontier.json") == extrapolated
    old = json.loads(extrapolated.model_dump_json())
    old["schema_version"] = 1
    for name in ("baselines", "splits", "uncertainty", "trends", "optima"):
        del old[name]
    for point in old["points"]:
        del point["frontier_probability"]
    for objective in old["objectives"]:
        del objective["average"], objective["weights"]
    (tmp_path / "frontier.json").write_text(json.dumps(old))
    read = Frontier.load(tmp_path / "frontier.json")
    assert read.schema_version == 3
    assert read.baselines == []
    assert read.points[0].metrics == extrapolated.points[0].metrics
