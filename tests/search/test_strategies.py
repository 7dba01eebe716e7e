"""The points that each strategy proposes after scored, running and failed points; no model is run."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib import pareto
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.search import STRATEGIES, Evaluated, Study
from mergekit_calib.search.evaluation import Evaluation

BOTH_LESS = ["minimize", "minimize"]


def along_lambda(lambda_: float) -> np.ndarray:
    """Return an error that is least at λ = 0.7 and a calibration error that is least at λ = 0.15."""
    return np.array([0.2 + 0.1 * (lambda_ - 0.7) ** 2, 0.02 + 0.1 * abs(lambda_ - 0.15)])


@pytest.fixture
def make_study(tmp_path):
    def make(directions=BOTH_LESS, importance=dict, **axes):
        parsed = {name: read_axis(axis) for name, axis in axes.items()}
        return Study(tmp_path / "study.log", "s", parsed, directions, importance=importance)

    return make


def drive(study: Study, strategy: str, function, budget: int = 60, error: float = 0.0, **options) -> list[dict]:
    """Ask a strategy for points, and tell it their values of `function`, until it ends; return the settings."""
    asked, rng, settings = STRATEGIES[strategy](**options), np.random.default_rng(0), []
    noise = rng.normal(0, 1, (200, 2))  # common to all points: differences are paired
    while len(settings) < budget and (proposal := asked.ask(study)) is not None:
        values = function(*proposal.setting.values())
        evaluation = Evaluation(values, values + error * (0.8 * noise + 0.6 * rng.normal(0, 1, (200, 2))))
        study.name_point(proposal.number, str(proposal.number))
        study.tell(proposal.number, evaluation)
        study.evaluated.append(Evaluated(proposal.setting, evaluation))
        settings.append(proposal.setting)
    return settings


def test_grid_takes_every_combination_in_order(make_study):
    study = make_study(x=[1, 2], y=["a", "b"])
    settings = drive(study, "grid", lambda x, y: np.zeros(2))
    assert settings == [{"x": 1, "y": "a"}, {"x": 1, "y": "b"}, {"x": 2, "y": "a"}, {"x": 2, "y": "b"}]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES.keys() - {"curve"}))  # `test_curve.py` has its own
def test_no_point_is_proposed_twice_even_while_another_runs(make_study, strategy):
    study, asked = make_study(x=[0.0, 0.5, 1.0, 1.5, 2.5]), STRATEGIES[strategy]()
    proposals = []
    while (proposal := asked.ask(study)) is not None:
        study.name_point(proposal.number, str(proposal.number))
        proposals.append(proposal.setting["x"])
        if len(proposals) == 1:
            continue  # the first one runs until the end
        evaluation = Evaluation(along_lambda(proposal.setting["x"]), np.zeros((200, 2)) + along_lambda(0.5))
        study.tell(proposal.number, evaluation)
        study.evaluated.append(Evaluated(proposal.setting, evaluation))
        assert len(proposals) <= 5
    assert len(set(proposals)) == len(proposals)
    assert strategy == "adaptive" or len(proposals) == 5


def test_random_covers_a_range(make_study):
    places = [s["x"] for s in drive(make_study(x={"min": -1, "max": 3}), "random", lambda x: np.zeros(2), budget=40)]
    assert min(places) < -0.5
    assert max(places) > 2.5
    assert all(-1 <= place <= 3 for place in places)


def test_adaptive_finds_the_frontier_of_a_21_point_grid_with_far_fewer_points(make_study):
    error = 0.01  # the standard error of a proportion near 0.9 over 1,000 items
    study = make_study(x={"min": 0.0, "max": 2.0})
    settings = drive(study, "adaptive", along_lambda, error=error)
    assert len(settings) <= 0.4 * 21
    grid = np.array([along_lambda(x) for x in np.linspace(0, 2, 21)])
    evaluated = np.array([p.evaluation.values for p in study.evaluated])
    for point in grid[pareto.non_dominated(grid, BOTH_LESS)]:
        assert np.abs(evaluated - point).max(axis=1).min() <= 2 * error  # within a 95 % interval


def test_adaptive_halves_intervals_near_the_frontier(make_study):
    settings = drive(make_study(x={"min": 0.0, "max": 2.0}), "adaptive", along_lambda, error=0.002)
    halved = [s["x"] for s in settings[5:]]
    assert len(halved) >= 4
    assert np.mean([0.0 <= x <= 1.0 for x in halved]) > 0.8


def test_adaptive_without_noise_halves_down_to_its_resolution(make_study):
    settings = drive(make_study(x={"min": 0.0, "max": 1.0}), "adaptive", lambda x: np.array([x, -x]), resolution=0.125)
    assert sorted(s["x"] for s in settings) == pytest.approx(np.linspace(0, 1, 9).tolist())


def test_adaptive_proposes_no_second_point_in_an_interval_with_a_running_one(make_study):
    study, asked = make_study(x={"min": 0.0, "max": 1.0}), STRATEGIES["adaptive"](coarse=3)
    for _ in range(3):
        proposal = asked.ask(study)
        values = np.array([proposal.setting["x"], -proposal.setting["x"]])
        study.tell(proposal.number, Evaluation(values, np.tile(values, (200, 1))))
        study.evaluated.append(Evaluated(proposal.setting, Evaluation(values, np.tile(values, (200, 1)))))
    assert {asked.ask(study).setting["x"], asked.ask(study).setting["x"]} == {0.25, 0.75}
    assert asked.ask(study) is None


def test_adaptive_halves_other_intervals_after_a_point_failed(make_study):
    study = make_study(x={"min": 0.0, "max": 1.0})
    asked, places = STRATEGIES["adaptive"](coarse=3, resolution=0.125), []
    while (proposal := asked.ask(study)) is not None and len(places) < 30:
        place = proposal.setting["x"]
        places.append(place)
        study.name_point(proposal.number, str(proposal.number))
        if 0.0 < place < 0.4:
            study.fail(proposal.number, "it cannot be merged")
            continue
        evaluation = Evaluation(np.array([place, -place]), np.tile([place, -place], (200, 1)))
        study.tell(proposal.number, evaluation)
        study.evaluated.append(Evaluated(proposal.setting, evaluation))
    assert len(places) < 30
    assert len(set(places)) == len(places)
    assert 0.25 in places
    assert 0.75 in places


@pytest.mark.parametrize("n_scored", [0, 1])
def test_adaptive_proposes_nothing_while_its_coarse_points_run_or_have_failed(make_study, n_scored):
    study, asked = make_study(x={"min": 0.0, "max": 1.0}), STRATEGIES["adaptive"](coarse=3)
    for i in range(3):
        proposal = asked.ask(study)
        study.name_point(proposal.number, str(proposal.number))
        if i < n_scored:
            evaluation = Evaluation(np.zeros(2), np.zeros((200, 2)))
            study.tell(proposal.number, evaluation)
            study.evaluated.append(Evaluated(proposal.setting, evaluation))
        elif i == 2:
            study.fail(proposal.number, "it cannot be merged")
    assert asked.ask(study) is None


def test_bayesian_varies_the_blocks_where_the_parents_differ_more(make_study):
    axes = {f"lambda_{i}": {"min": 0.0, "max": 1.0} for i in (1, 2)}
    study = make_study(importance=lambda: {"lambda_1": 1.0, "lambda_2": 0.0}, **axes)
    settings = drive(study, "bayesian", lambda a, b: np.array([a, b]), budget=16, startup=16)
    first, second = (np.array([s[name] for s in settings]) for name in axes)
    common = (second - 0.25 * first) / 0.75  # roughly the common value, which is 0.75 of the second axis
    assert np.corrcoef(second, common)[0, 1] > 0.9
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.6


@pytest.mark.parametrize("strategy", ["bayesian", "evolve"])
def test_bayesian_and_evolve_reach_a_larger_hypervolume_than_random(make_study, tmp_path, strategy):
    """On four axes: `a` trades one objective for the other, and the other three axes each have a best value."""

    def surface(a, b, c, d):
        off = (c - 0.3) ** 2 + (d - 0.6) ** 2
        return np.array([a + off, 1 - a + (b - 0.5) ** 2 + off])

    volumes = {}
    for name in ("random", strategy):
        axes = {axis: read_axis({"min": 0.0, "max": 1.0}) for axis in "abcd"}
        study = Study(tmp_path / f"{name}.log", name, axes, BOTH_LESS, seed=1)
        options = {"random": {}, "evolve": {"population": 8}, "bayesian": {"startup": 6}}[name]
        drive(study, name, surface, budget=14 if strategy == "bayesian" else 60, **options)
        values = np.array([p.evaluation.values for p in study.evaluated])
        volumes[name] = pareto.hypervolume(values, BOTH_LESS, [1.5, 1.5])
    assert volumes[strategy] > volumes["random"]


def test_adaptive_counts_no_stopped_point_as_on_the_frontier(make_study):
    study, asked = make_study(x={"min": 0.0, "max": 1.0}), STRATEGIES["adaptive"](coarse=3)
    for x in (0.0, 0.5, 1.0):
        proposal = asked.ask(study)
        values = np.array([x, -x])
        evaluation = Evaluation(values, values + 0.001 * np.random.default_rng(int(10 * x)).normal(size=(200, 2)))
        study.tell(proposal.number, evaluation)
        study.evaluated.append(Evaluated(proposal.setting, evaluation, stopped=x > 0.25))
    assert asked.ask(study).setting == {"x": 0.25}
    assert asked.ask(study) is None
