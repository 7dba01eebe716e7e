"""The strategy `bayesian`: the point from which Gaussian processes expect the largest gain in hypervolume.

For few points that are expensive to score. The acquisition is the noisy expected hypervolume improvement (Daulton,
Balandat, Bakshy 2021, arXiv 2105.08195) above the worse parent in each objective, over draws of the frontier; BoTorch
(Balandat et al. 2020, arXiv 1910.06403) makes its boxes. It is maximised over points of the space: a Sobol' sequence,
then points near the best, closer each time. Running points are part of every drawn frontier, so no worker waits for
another.

By default, the draws come from a process on the scores of every item (`surrogate.item_process`), and each draw is
another resample of the items (`surrogate.item_beliefs`). A process on the objectives alone (`surrogate.acquisition`)
has the noise that the resamples show.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mergekit_calib import pareto
from mergekit_calib.errors import CalibError
from mergekit_calib.recipe import Setting
from mergekit_calib.recipe.axes import grid_size
from mergekit_calib.search.strategy import Strategy, search_strategy
from mergekit_calib.search.study import Proposal, Study
from mergekit_calib.search.surrogate.axis_features import distinct, features, neighbours, space_filling, value_at
from mergekit_calib.search.surrogate.item_beliefs import item_beliefs

FloatArray = NDArray[np.float64]

# The least spread of an axis in the first points, where 1 is the whole axis. Without any spread, the points would say
# nothing about an axis on which the parents hardly differ.
_LEAST_SPREAD = 0.25

_DRAWS = {1: 128, 2: 128, 3: 32}  # by the number of objectives, as boxes are slow to make above two
_FEWEST_DRAWS = 16
# Candidates all over the space, and in each round near the best ones. Predicting all items of one takes a millisecond.
_N_CANDIDATES = {"items": (128, 64), "objectives": (1024, 256)}
_WIDTHS = (0.1, 0.05, 0.02, 0.01)  # of the steps of each round, as shares of an axis
_N_BEST = 8  # candidates that others are near
_COUNTABLE = 1e6  # combinations of values that can be listed


class Beliefs(Protocol):
    """Draws of the objectives of points, where more is better."""

    @property
    def front(self) -> FloatArray:
        """(n_draws, n_points, n_objectives) draws of the points that are scored or running."""
        ...

    def draw(self, candidates: FloatArray) -> FloatArray:
        """Return draws of candidates, (n_draws, n_candidates, n_objectives), jointly with those of the front."""
        ...


@search_strategy("bayesian")
class Bayesian(Strategy):
    """Propose points that fill the space, then the points that the Gaussian processes expect to gain most.

    In each of the first points, the axes of a family (such as `blocks`) vary around a common value, by more where
    the parents differ more in the axis's part of the model. This first guess of which blocks matter follows AP-BMM
    (arXiv 2512.09972), and the processes then correct it.

    Attributes:
        startup: number of the first points; None for twice the number of axes, within 4 to 16.
        model: what the processes are of: the scores of every item, or the objectives alone. Items of which a metric
            cannot be computed give way to objectives.
    """

    startup: int | None = Field(default=None, strict=True, ge=1)
    model: Literal["items", "objectives"] = "items"

    def ask(self, study: Study) -> Proposal | None:
        """Return the next of the first points, or the point with the largest expected gain."""
        n_startup = self.startup or min(max(2 * len(study.axes), 4), 16)
        n_before = study.n_proposed
        if n_before < n_startup or len(study.evaluated) < 2:
            setting = _first_point(study, n_before)
            if not study.has(setting):
                return study.start(setting)
        if grid_size(study.axes) < _COUNTABLE and next(study.unexplored(), None) is None:
            return None
        ranked = self._ranked(study) if len(study.evaluated) > 1 else []
        best = next((setting for setting in ranked if not study.has(setting)), None) or next(study.unexplored(), None)
        return None if best is None else study.start(best)

    def _ranked(self, study: Study) -> list[Setting]:
        """Return candidates, those with the largest expected gains first."""
        if self.model == "items":
            try:
                return _by_gain(study, item_beliefs(study, _pending(study), _n_draws(study)), *_N_CANDIDATES["items"])
            except CalibError:  # points have no items, or other documents, or a metric is not defined for predictions
                pass
        return _by_gain(study, _objective_beliefs(study), *_N_CANDIDATES["objectives"])


def _by_gain(study: Study, beliefs: Beliefs, n_spread: int, n_near: int) -> list[Setting]:
    """Return candidates by falling expected gain: some all over the space, and in each round some near the best."""
    from mergekit_calib.search.surrogate.acquisition import ExpectedGain  # here, because it imports torch

    seed, front = study.next_seed, beliefs.front
    is_small = grid_size(study.axes) <= n_spread
    spread = list(study.unexplored()) if is_small else distinct(study.axes, space_filling(study.axes, n_spread, seed))
    settings: list[Setting] = []
    gains = np.empty(0)
    for reference in _references(study):
        rng = np.random.default_rng(seed)
        settings, gains = [], np.empty(0)
        gain = ExpectedGain(front, reference)
        best = _in_space(study)
        for width in _WIDTHS:
            near = neighbours(study.axes, best, width, n_near, rng)
            new = distinct(study.axes, [*settings, *(near if settings else [*spread, *near])])[len(settings) :]
            if new:
                drawn = beliefs.draw(features(study.axes, new))
                settings, gains = settings + new, np.append(gains, gain.of(drawn))
            best = [settings[i] for i in np.argsort(-gains, kind="stable")[:_N_BEST]]
        if gains.any():
            break
    return [settings[i] for i in np.argsort(-gains, kind="stable")]


def _in_space(study: Study) -> list[Setting]:
    """Return the settings of the scored points that a search could propose; a parent may lie beyond the axes."""
    settings = [point.setting for point in study.evaluated]
    return [s for s in settings if all(axis.holds(s[name]) for name, axis in study.axes.items())]


def _n_draws(study: Study) -> int:
    return _DRAWS.get(len(study.directions), _FEWEST_DRAWS)


def _pending(study: Study) -> FloatArray:
    """Return the points without scores, (n_pending, n_features): the running ones, and those that failed.

    A failed point counts as if it ran, so that the points around it do not seem worth scoring for ever.
    """
    scored = [point.setting for point in study.evaluated]
    failed = [failure.setting for failure in study.failures.values()]
    return features(study.axes, [s for s in (*study.running, *failed) if s and s not in scored])


def _references(study: Study) -> list[FloatArray]:
    """Return the worse parent in each objective, and for when nothing gains on that, the worst point."""
    parents = [evaluation.values for evaluation in study.parent_evaluations]
    everyone = [point.evaluation.values for point in study.evaluated]
    return [pareto.gains(values, study.directions).min(axis=0) for values in (parents, everyone) if values]


def _objective_beliefs(study: Study) -> Beliefs:
    """Return processes on the objectives; what the points' resamples have in common is no noise of their comparison."""
    from mergekit_calib.search.surrogate.acquisition import ObjectiveProcesses  # here, because it imports torch

    replicates = np.stack([point.evaluation.replicates for point in study.evaluated])
    return ObjectiveProcesses(
        features(study.axes, [point.setting for point in study.evaluated]),
        pareto.gains([point.evaluation.values for point in study.evaluated], study.directions),
        (replicates - replicates.mean(axis=0)).var(axis=1, ddof=1),
        _pending(study),
        _n_draws(study),
        study.next_seed,
    )


def _first_point(study: Study, index: int) -> Setting:
    """Return point number `index` of a scrambled Sobol' sequence, unimportant axes near a common value."""
    from scipy.stats import qmc  # here, because every sweep imports this module, and scipy.stats takes 0.2 s

    sobol = qmc.Sobol(len(study.axes) + 1, seed=study.first_seed)
    if index:
        sobol.fast_forward(index)
    common, *own = sobol.random(1)[0]
    setting: Setting = {}
    for (name, axis), u in zip(study.axes.items(), own, strict=True):
        spread = max(study.importance[name], _LEAST_SPREAD) if name in study.importance else 1.0
        setting[name] = value_at(axis, float(np.clip(common + spread * (u - common), 0.0, 1.0)))
    return setting
