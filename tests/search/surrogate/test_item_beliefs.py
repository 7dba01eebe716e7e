"""What a process on the items believes: exact where points are scored, honest about its errors, for votes as well."""

from __future__ import annotations

import numpy as np
import pytest

from mergekit_calib import plugins
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.recipe.axes import read_axis
from mergekit_calib.results.frontier import Objective
from mergekit_calib.search import Evaluated, Study
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.surrogate import item_beliefs as module
from mergekit_calib.search.surrogate.item_beliefs import ItemBeliefs, item_beliefs

N_ITEMS = 500
OBJECTIVES = [Objective(metric="acc", direction="maximize"), Objective(metric="ece", direction="minimize")]
NONE = np.empty((0, 2))


def table(a: float, b: float, votes: bool, held_out: float | None = None) -> ItemTable:
    """Return a model's scores, of choices or of votes; with `held_out`, in place of those of the held-out split."""
    rng = np.random.default_rng(0)
    margins = 1.0 - 3.0 * (a - 0.6) ** 2 + a * rng.normal(0.0, 1.0, N_ITEMS) + rng.normal(0.0, 1.5, N_ITEMS)
    scores = np.zeros((N_ITEMS, 0 if votes else 2))
    values = {}
    if votes:
        confidence = 1.0 / (1.0 + np.exp(-np.abs(margins) * (0.5 + b)))
        values = {"acc": (margins > 0).astype(float), "confidence": confidence}
    else:
        scores[:, 0] = margins * (0.5 + 2.0 * b)
    labels, sizes = np.zeros(scores.shape, dtype=bool), np.ones(scores.shape, dtype=int)
    labels[:, :1] = True
    hashes = [f"doc-{i}" for i in range(N_ITEMS)]
    whole = ItemTable("t", np.arange(N_ITEMS), hashes, scores, labels, sizes, sizes, values=values)
    if held_out is not None:
        whole.log_likelihoods[~whole.in_selection_split] = held_out
    return whole


@pytest.fixture
def make_study(tmp_path):
    def make(votes: bool = False, held_out: float | None = None, n: int = 12) -> Study:
        evaluator = Evaluator(OBJECTIVES, list(plugins.metrics().values()), n_bins=15, seed=0)
        axes = {name: read_axis({"min": 0.0, "max": 1.0}) for name in "ab"}
        study = Study(tmp_path / f"{held_out}.log", "s", axes, ["maximize", "minimize"], evaluator=evaluator)
        for a, b in np.random.default_rng(1).random((n, 2)):
            scored: Tables = {"t": [table(a, b, votes, held_out)]}
            study.evaluated.append(Evaluated({"a": a, "b": b}, evaluator.evaluate(scored), tables=scored))
        return study

    return make


def beliefs(study: Study, pending=NONE) -> ItemBeliefs:
    return item_beliefs(study, pending, 200)


@pytest.mark.parametrize("votes", [False, True])
def test_at_a_scored_point_draws_are_its_objectives_on_the_resamples(make_study, votes):
    study = make_study(votes)
    believed = beliefs(study)
    front = believed.front
    for i, point in enumerate(study.evaluated):
        centred = point.evaluation.replicates - point.evaluation.replicates.mean(axis=0) + point.evaluation.values
        np.testing.assert_allclose(front[:, i], centred * [1, -1])
    if not votes:
        again = believed.draw(believed.at[:3])
        np.testing.assert_allclose(again, front[:, :3], atol=0.02)


def test_draws_of_unscored_points_are_about_the_truth_and_as_wrong_as_they_say(make_study):
    study, where = make_study(), np.random.default_rng(2).random((25, 2))
    believed = beliefs(study)
    scored = [study.evaluator.evaluate({"t": [table(a, b, False)]}) for a, b in where]
    truth = np.array([e.values for e in scored]) * [1, -1]
    paired = np.stack([e.replicates - e.replicates.mean(axis=0) for e in scored], axis=1) * [1, -1]
    errors = believed.draw(where) - paired  # without the noise of the resamples, which both have
    z = (errors.mean(axis=0) - truth) / errors.std(axis=0)
    assert 0.3 < np.sqrt((z**2).mean()) < 2.0
    standard_errors = np.array([e.replicates.std(axis=0) for e in scored]).mean(axis=0)
    assert (np.abs(errors.mean(axis=0) - truth).mean(axis=0) < standard_errors).all()


def test_votes_are_predicted_without_confidences_above_one(make_study):
    assert np.isfinite(beliefs(make_study(votes=True)).draw(np.random.default_rng(2).random((10, 2)))).all()


def test_the_held_out_split_changes_nothing(make_study):
    where = np.array([[0.3, 0.4]])
    assert np.array_equal(beliefs(make_study()).draw(where), beliefs(make_study(held_out=-7.0)).draw(where))


def test_a_running_point_is_part_of_the_front_at_what_is_believed_of_it(make_study):
    study, where = make_study(), np.array([[0.31, 0.44], [0.9, 0.1]])
    believed = beliefs(study, pending=where)
    assert believed.front.shape == (200, 14, 2)
    np.testing.assert_allclose(believed.draw(where), believed.front[:, -2:], atol=0.02)


def test_very_many_items_are_thinned(make_study, monkeypatch):
    study = make_study()
    whole = beliefs(study).arrays.log_likelihoods.shape[1]
    monkeypatch.setattr(module, "_MAX_ITEMS", 100)
    thinned = beliefs(study)
    assert thinned.arrays.log_likelihoods.shape[1] == pytest.approx(200, abs=6)
    assert whole > 400
    assert thinned.draw(np.array([[0.5, 0.5]])).shape == (200, 1, 2)


def test_fewer_than_two_points_or_no_evaluator_are_too_little(make_study):
    with pytest.raises(CalibError, match="at least two points"):
        beliefs(make_study(n=1))
    study = make_study()
    study.evaluator = None
    with pytest.raises(CalibError, match="at least two points"):
        beliefs(study)
