"""The page's rules choose as Python's do, give way as they do, and the page says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from helpers.report_factory import make_frontier
from mergekit_calib import pareto
from mergekit_calib.results.frontier import Frontier


@pytest.fixture(scope="module")
def frontier() -> Frontier:
    return make_frontier({"lambda": [0.0, 0.3, 0.6, 0.8, 1.0, 1.3]}, select="lambda=0.3")


def random_candidates(rng: np.random.Generator) -> pareto.Candidates:
    """Points with so few distinct values that ties and copies are common; some dominate others beyond chance."""
    k, n = int(rng.integers(1, 4)), int(rng.integers(1, 12))
    ids = tuple(f"p{j}" for j in range(n))

    def errors(scale: float) -> Any:
        halves = rng.random((n, n)) * scale
        return halves + halves.T

    values = np.round(rng.random((n, k)), int(rng.integers(1, 4)))
    if n > 2 and rng.random() < 0.3:
        values[0, 0] = np.nan
    scores = {
        name: pareto.PairedScore("minimize", np.round(rng.random(n), int(rng.integers(1, 4))), errors(0.3))
        for name in ("brier", "nll")
    }
    if rng.random() < 0.3:
        scores["nll"].values[: int(rng.integers(1, n + 1))] = np.inf
    return pareto.Candidates(
        ids=ids,
        objectives=tuple("abc"[:k]),
        directions=tuple(rng.choice(["maximize", "minimize"], k).tolist()),
        values=values,
        parents=ids[: int(rng.integers(0, min(n, 3) + 1))],
        standard_errors=np.stack([errors(0.1) for _ in range(k)], axis=-1),
        scores=scores,
        proper=tuple(scores) if rng.random() < 0.5 else (),
    )


def as_the_page_has_them(candidates: pareto.Candidates) -> dict[str, Any]:
    finite = candidates.with_finite_values()
    usable = finite.without_dominated()
    scores = {}
    for name in [*usable.scores, *usable.objectives]:
        score = usable.score(name)
        best = usable.least(np.arange(len(usable.ids)), score.losses)
        scores[name] = {
            "direction": score.direction,
            "values": {i: v if np.isfinite(v) else None for i, v in zip(usable.ids, score.values, strict=True)},
            "standard_errors": dict(zip(usable.ids, score.standard_errors[:, best].tolist(), strict=True)),
            "proper": name in usable.proper,
        }
    return {
        "ids": candidates.ids,
        "objectives": candidates.objectives,
        "directions": candidates.directions,
        "values": [[None if np.isnan(v) else v for v in row] for row in candidates.values.tolist()],
        "parents": candidates.parents,
        "dominated": [i for i in finite.ids if i not in usable.ids],
        "scores": scores,
    }


def test_the_pages_rules_choose_as_the_runs_do(open_report: Callable, frontier: Frontier) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for i in range(150):
        candidates = random_candidates(rng)
        names = candidates.objectives

        def number() -> float:
            return float(np.round(rng.random(), 2))

        options: dict[str, dict[str, Any]] = {
            "one_se": [{}, {"score": "nll"}, {"score": names[-1], "then": "brier"}][i % 3],
            "least": [{}, {"score": "brier"}, {"score": names[0]}][i % 3],
            "knee": {},
            "pareto_superior": {},
            "max": {"objective": names[-1], **({"bounds": {names[0]: {"min": number()}}} if i % 2 else {})},
            "weighted": {"weights": {names[0]: 3 * number() + 0.01}},
            "nearest": {"ideal": {names[0]: number()}} if i % 2 else {},
        }
        for rule, given in options.items():
            choice = pareto.select(rule, candidates, given)
            expected = [choice.id, choice.gave_way is not None]
            cases.append((rule, as_the_page_has_them(candidates), given, expected))
    opened = open_report(frontier)
    chosen = opened.page.evaluate(
        """cases => cases.map(([rule, from, options]) => {
            const { id, gaveWay } = calib.rules.choose(rule, from, options);
            return [id, gaveWay !== null];
        })""",
        [case[:3] for case in cases],
    )
    assert [(*c, found) for c, found in zip(cases, chosen, strict=True) if found != c[3]] == []
    assert {rule for rule, *_, (_, gave_way) in cases if gave_way} == {"max", "pareto_superior"}
    assert sum(len(data["dominated"]) for _, data, *_ in cases) > 100


def test_every_rule_of_the_package_can_be_tried_on_the_page(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    assert set(opened.page.evaluate("calib.rules.names(calib.run.rule_scores)")) == set(pareto.SELECTION_RULES)


def test_rules_that_need_the_finished_sweeps_scores_are_not_offered_before(open_report: Callable) -> None:
    frontier = make_frontier(finished=False)
    frontier.rule_scores = {}
    opened = open_report(frontier)
    offered = opened.page.locator("#rule option").evaluate_all("options => options.map(o => o.value)")
    assert set(offered) == {"", *pareto.SELECTION_RULES} - {"one_se", "least"}
    opened.page.locator("#rule").select_option("max")
    opened.page.get_by_label("acc at least").fill("0.99")
    assert "is run when all points are scored" in opened.text("#rule-outcome")
    assert opened.page.locator("#points-table tr.selected").count() == 0


def test_the_rule_is_switched_and_the_choice_follows(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    acc, ece = frontier.objectives
    usable = [p for p in frontier.complete_points if not p.dominated_by["selection"]]
    best = max(usable, key=lambda p: p.estimate(acc, "selection").value or 0.0)
    opened.page.locator("#rule").select_option("max")
    assert (opened.chosen, opened.picked) == (best.id, best.id)
    assert "select: {rule: max, objective: acc}" in opened.text("#rule-outcome")
    bound = round(frontier.point("lambda=0.6").estimate(ece, "selection").value or 0.0, 6) + 1e-6
    opened.page.get_by_label("ece at most").fill(f"{bound:.6f}")
    within = [p for p in usable if (p.estimate(ece, "selection").value or 0.0) <= bound]
    expected = max(within, key=lambda p: p.estimate(acc, "selection").value or 0.0).id
    assert opened.chosen == expected != best.id
    opened.page.reload()
    assert opened.chosen == expected
    opened.page.locator("#rule").select_option("")
    assert opened.chosen == "lambda=0.3"


def test_a_dominated_point_is_never_chosen(open_report: Callable) -> None:
    frontier = make_frontier({"lambda": [0.0, 0.3, 0.6, 0.8, 1.0, 1.3]})
    opened = open_report(frontier)
    opened.page.locator("#rule").select_option("max")
    best = opened.chosen
    frontier.point(best).dominated_by["selection"] = ["lambda=0.3"]
    opened = open_report(frontier)
    opened.page.locator("#rule").select_option("max")
    assert opened.chosen != best
    opened.page.locator(f'#points-table tr[data-point="{best}"] th button').click()
    assert "never chosen, by λ = 0.3" in opened.text("#point-panel .badges")


def test_within_one_standard_error_either_metric_can_be_set(open_report: Callable, frontier: Frontier) -> None:
    opened = open_report(frontier)
    opened.page.locator("#rule").select_option("one_se")
    opened.page.locator("#rule-score").select_option("ece")
    opened.page.locator("#rule-then").select_option("acc")
    score, then = frontier.rule_scores["ece"], frontier.rule_scores["acc"]
    within = [p for p, v in score.values.items() if v - score.values[score.best] <= score.standard_errors[p]]
    usable = [p for p in within if not frontier.point(p).dominated_by["selection"]]
    assert len(usable) > 1
    assert opened.chosen == max(usable, key=then.values.__getitem__)


def test_a_rule_that_can_choose_no_point_gives_way_and_the_page_says_so(open_report: Callable) -> None:
    frontier = make_frontier()
    opened = open_report(frontier)
    opened.page.locator("#rule").select_option("max")
    opened.page.get_by_label("acc at least").fill("0.99")
    said = opened.text("#rule-outcome")
    assert "max can choose no point: none of" in said
    assert f"The default rule, {pareto.DEFAULT_RULE}, chooses" in said
    reason = "none of 5 points has acc at least 0.99"
    frontier.selection = frontier.selection.model_copy(update={"rule": "max", "gave_way": reason})
    opened = open_report(frontier)
    assert reason in opened.text("#rule-outcome")
    assert reason in opened.text(".lead")


def test_the_option_shown_for_another_choice_is_valid_yaml(open_report: Callable) -> None:
    frontier = make_frontier(objectives=("acc", "ece"), select="lambda=0.3")
    name = "acc,flexible-extract"
    frontier.objectives[0] = frontier.objectives[0].model_copy(update={"metric": name})
    for point in frontier.points:
        point.metrics["suite"][name] = point.metrics["suite"]["acc"]
    opened = open_report(frontier)
    opened.page.locator("#rule").select_option("max")
    said = yaml.safe_load(opened.text("#rule-outcome").partition("run it again with ")[2])
    assert said == {"select": {"rule": "max", "objective": name}}
