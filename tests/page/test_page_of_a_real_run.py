"""The page of a sweep of the demo pair exists from the first point on, and chooses as the sweep's rules do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from mergekit_calib import demo, pareto
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult, RuleScore
from mergekit_calib.sweep.coordinator import run_sweep

OPTIONS = [
    ("one_se", {}),
    ("one_se", {"score": "nll", "then": "ece"}),
    ("least", {}),
    ("least", {"score": "ece"}),
    ("knee", {}),
    ("pareto_superior", {}),
    ("max", {"objective": "acc"}),
    ("max", {"objective": "brier", "bounds": {"ece": {"max": 0.09}, "acc": {"min": 0.7}}}),
    ("max", {"objective": "ece", "bounds": {"acc": {"min": 0.99}}}),
    ("max", {"objective": "acc", "bounds": {"ece": {"min": 0.11}}}),
    ("weighted", {"weights": {"acc": 4}}),
    ("weighted", {"weights": {"acc": 0.05, "brier": 0}}),
    ("nearest", {"ideal": {"ece": 0.08, "acc": 0.78}}),
]


class Watcher(Progress):
    """Reads the page whenever a point is done."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self.seen: list[str] = []

    def point_finished(self, point: PointResult, frontier: Frontier) -> None:
        self.seen.append(self.page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frontier, list[str], Path]:
    """The frontier of a short sweep, its page after each point, and its last page."""
    recipe = yaml.safe_load(demo.sweep_yaml())
    recipe["calibration"] |= {
        "axes": {"lambda": [0.0, 0.2, 0.4, 0.6, 1.0, 1.3]},
        "suite": [{"task": "calib_demo", "limit": 240}],
        "objectives": ["acc", "ece", "brier"],
        "select": {"rule": "knee"},
        "n_resamples": 100,
    }
    register()
    out = tmp_path_factory.mktemp("runs") / "out"
    page = out / "calibration" / "report.html"
    watcher = Watcher(page)
    frontier = run_sweep(parse_sweep(dump_recipe(recipe), registered_signatures(), "sweep.yml"), out, None, watcher)
    return frontier, watcher.seen, page


def test_the_page_is_there_from_the_first_point_on(run: tuple[Frontier, list[str], Path]) -> None:
    frontier, seen, page = run
    said = [
        f"The sweep is still running: {n} point{'s' if n > 1 else ''} so far" in text for n, text in enumerate(seen, 1)
    ]
    assert said == [True] * len(frontier.points)
    assert "The sweep is still running" not in page.read_text(encoding="utf-8")


def test_the_page_of_a_running_sweep_opens(run: tuple[Frontier, list[str], Path], open_report: Callable) -> None:
    opened = open_report(run[1][2])
    assert opened.page.locator("#frontier-chart [role=radio]").count() == 3
    assert opened.text(".lead").startswith("So far, ")


def candidates_of(frontier: Frontier) -> pareto.Candidates:
    """What the sweep's rules chose from, with the standard errors that the result has: those against the best."""
    assert frontier.selection is not None
    split = frontier.selection.split
    points = [p for p in frontier.complete_points if not p.dominated_by[split]]
    ids = [p.id for p in points]

    def values(among: Sequence[PointResult]) -> NDArray[np.float64]:
        return np.array([[p.estimate(o, split).value for o in frontier.objectives] for p in among], dtype=float)

    def paired(score: RuleScore) -> pareto.PairedScore:
        errors = np.full((len(ids), len(ids)), np.nan)
        errors[:, ids.index(score.best)] = [score.standard_errors[i] for i in ids]
        return pareto.PairedScore(score.direction, np.array([score.values[i] for i in ids]), errors)

    parents = [p for p in frontier.complete_points if p.role]
    return pareto.Candidates(
        ids=tuple(ids),
        objectives=tuple(o.name for o in frontier.objectives),
        directions=tuple(o.direction for o in frontier.objectives),
        values=values(points),
        parents=tuple(p.id for p in parents),
        parent_values=values(parents),
        scores={name: paired(score) for name, score in frontier.rule_scores.items()},
        proper=tuple(name for name, score in frontier.rule_scores.items() if score.proper),
    )


def test_the_page_chooses_as_the_rules_do(run: tuple[Frontier, list[str], Path], open_report: Callable) -> None:
    frontier = run[0]
    candidates = candidates_of(frontier)
    opened = open_report(frontier)
    chosen, expected = [], []
    for rule, options in OPTIONS:
        opened.page.locator("#rule").select_option("")
        opened.page.locator("#rule").select_option(rule)
        for name in ("score", "then"):
            if name in options:
                opened.page.locator(f"#rule-{name}").select_option(options[name])
        if "objective" in options:
            opened.page.get_by_label("the best").select_option(options["objective"])
        for name, bound in options.get("bounds", {}).items():
            for side, value in bound.items():
                opened.page.get_by_label(f"{name} at {'least' if side == 'min' else 'most'}").fill(str(value))
        for group, words in (("weights", "weight of"), ("ideal", "ideal")):
            for name, value in options.get(group, {}).items():
                opened.page.get_by_label(f"{words} {name}").fill(str(value))
        assert opened.picked == opened.chosen
        chosen.append((rule, options, opened.chosen))
        expected.append((rule, options, pareto.select(rule, candidates, options).id))
    assert chosen == expected
    assert len({point for *_, point in expected}) > 1
