"""Draws of the objectives of scored and unscored points, from a process on the items.

The process predicts an unscored point's item tables, and so its objectives on every resample of the items. Resamples
are the same for all points. So a draw of the frontier and of the candidates is what another set of items would have
shown, and a point that is ahead by the chance of these items gains little on average over draws.

What the prediction misses is a process of its own, 0 at scored points. Its covariance is that of the errors of the
items' process, scaled for each objective to the errors that leaving out each scored point shows. Of a point that a race
stopped, only the objectives are used: they condition this second process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import Tables
from mergekit_calib.items.table import ItemTable
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.study import Study
from mergekit_calib.search.surrogate.axis_features import features
from mergekit_calib.search.surrogate.item_arrays import ItemArrays
from mergekit_calib.search.surrogate.item_process import ItemProcess

FloatArray = NDArray[np.float64]

_MAX_ITEMS = 2000  # of the selection split; more would make the evaluation of hundreds of predictions slow


def item_beliefs(study: Study, pending: FloatArray, n_draws: int) -> ItemBeliefs:
    """Return the draws that a study's item scores give.

    Args:
        study: the points so far.
        pending: (n_pending, n_features) points whose values are not known yet.
        n_draws: the number of draws, at most that of the evaluator's resamples.

    Raises:
        CalibError: the study has no evaluator, fewer than two points have item scores, or they have other documents.
    """
    whole = [point for point in study.evaluated if not point.stopped and point.tables]
    stopped = [point for point in study.evaluated if point.stopped]
    if study.evaluator is None or len(whole) < 2:
        raise CalibError("at least two points with item scores are needed")
    return ItemBeliefs(
        at=features(study.axes, [point.setting for point in whole]),
        arrays=ItemArrays.of(_reduced([point.tables for point in whole])),
        stopped_at=features(study.axes, [point.setting for point in stopped]),
        stopped=[point.evaluation for point in stopped],
        pending=pending,
        evaluator=study.evaluator,
        n_draws=n_draws,
        seed=study.next_seed,
    )


@dataclass(frozen=True, eq=False)
class ItemBeliefs:
    """Draws of objectives, where more is better, from a process on the items.

    Attributes:
        at: (n_points, n_features) the fully scored points.
        arrays: their item scores, of the selection split.
        stopped_at: (n_stopped, n_features) the points that a race stopped.
        stopped: (n_stopped,) their objectives.
        pending: (n_pending, n_features) points whose values are not known yet.
        evaluator: computes the objectives.
        n_draws: the number of draws, at most that of the evaluator's resamples.
        seed: the seed of the draws.
    """

    at: FloatArray
    arrays: ItemArrays
    stopped_at: FloatArray
    stopped: Sequence[Evaluation]
    pending: FloatArray
    evaluator: Evaluator
    n_draws: int
    seed: int

    @property
    def front(self) -> FloatArray:
        """(n_draws, n_points + n_pending, n_objectives) draws of the points so far."""
        known = np.stack([self._resampled(each) for each in self._known], axis=1)
        if not len(self.pending):
            return known
        errors = [
            law.mean + normal[:, :-1] @ law.factor.T for law, normal in zip(self._of_pending, self._normal, strict=True)
        ]
        return np.concatenate([known, self._predicted(self.pending) + np.stack(errors, axis=-1)], axis=1)

    def draw(self, candidates: FloatArray) -> FloatArray:
        """Return draws of candidates' objectives, jointly with those of the front.

        Args:
            candidates: (n_candidates, n_features).

        Returns:
            (n_draws, n_candidates, n_objectives).

        Raises:
            CalibError: an objective cannot be computed from the predictions.
        """
        n, errors = len(self.pending), []
        for j, (pending, normal) in enumerate(zip(self._of_pending, self._normal, strict=True)):
            law = self._error_law(np.vstack([self.pending, candidates]), j)
            shared = np.linalg.solve(pending.factor, law.covariance[:n, n:])
            own = np.sqrt(np.maximum(np.diag(law.covariance)[n:] - (shared**2).sum(axis=0), 0.0))
            errors.append(law.mean[n:] + normal[:, :-1] @ shared + normal[:, -1:] * own)
        drawn: FloatArray = self._predicted(candidates) + np.stack(errors, axis=-1)
        return drawn

    @cached_property
    def _processes(self) -> tuple[ItemProcess, ItemProcess]:
        """The processes of the log-likelihoods and of the tasks' own numbers, which are not as smooth."""
        return ItemProcess.fit(self.at, self.arrays.log_likelihoods), ItemProcess.fit(self.at, self.arrays.values)

    @property
    def _main(self) -> ItemProcess:
        """The process whose errors the objectives' errors follow."""
        of_choices, of_values = self._processes
        return of_choices if self.arrays.log_likelihoods.shape[1] else of_values

    @cached_property
    def _known(self) -> list[Evaluation]:
        """(n_points,) the objectives of the scored points, of the items that are used here."""
        return [self._evaluate(tables) for tables in self.arrays.tables]

    def _evaluate(self, tables: Tables) -> Evaluation:
        try:
            return self.evaluator.evaluate(tables)
        except CalibError:
            raise
        except Exception as problem:  # a third party's metric may raise anything
            raise CalibError(f"an objective cannot be computed from predictions: {problem}") from problem

    def _evaluations(self, log_likelihoods: FloatArray, values: FloatArray, where: FloatArray) -> list[Evaluation]:
        """Return the objectives of predicted rows of both arrays."""
        nearest = self._main.kernel(where, self.at).argmax(axis=1)
        # A confidence above 1, or a negative number of words, has no metric.
        within = np.clip(values, self.arrays.values.min(axis=0), self.arrays.values.max(axis=0))
        rows = zip(log_likelihoods, within, nearest.tolist(), strict=True)
        return [self._evaluate(self.arrays.predicted(*row)) for row in rows]

    def _predicted(self, where: FloatArray) -> FloatArray:
        """Return the objectives of the predicted items on the resamples, (n_draws, n, n_objectives)."""
        of_choices, of_values = self._processes
        evaluations = self._evaluations(of_choices.predict(where), of_values.predict(where), where)
        return np.stack([self._resampled(each) for each in evaluations], axis=1)

    def _resampled(self, evaluation: Evaluation) -> FloatArray:
        """Return the objectives on the resamples, (n_draws, n_objectives), signed, with their mean at the values."""
        drawn = metrics.centred(evaluation.replicates.T, evaluation.values).T[: self.n_draws]
        if not np.isfinite(drawn).all():
            raise CalibError("an objective is not finite on some resamples of the items")
        signed: FloatArray = self.evaluator.signs * drawn
        return signed

    @cached_property
    def _scales(self) -> FloatArray:
        """(n_objectives,) the variance of an objective's error, for each unit of the items' relative variance."""
        (of_choices, _), (of_values, _) = (process.leave_one_out() for process in self._processes)
        _, variances = self._main.leave_one_out()
        predicted = self._evaluations(of_choices, of_values, self.at)
        errors = np.array([p.values - k.values for p, k in zip(predicted, self._known, strict=True)])
        scales: FloatArray = (errors**2 / variances[:, None]).mean(axis=0)
        return scales

    @cached_property
    def _normal(self) -> FloatArray:
        """(n_objectives, n_draws, n_pending + 1) independent normal numbers; the last of each draw is a candidate's."""
        shape = (len(self._scales), self.n_draws, len(self.pending) + 1)
        return np.random.default_rng(self.seed).standard_normal(shape)

    @cached_property
    def _of_pending(self) -> list[_ErrorLaw]:
        """(n_objectives,) the law of the errors at the pending points."""
        return [self._error_law(self.pending, j) for j in range(len(self._scales))]

    def _error_law(self, where: FloatArray, objective: int) -> _ErrorLaw:
        """Return the law of an objective's errors at points, given those of the stopped points."""
        main, scale = self._main, float(self._scales[objective])
        covariance = scale * (main.covariance(where, where) + main.nugget * np.eye(len(where)))
        if not self.stopped:
            return _ErrorLaw(np.zeros(len(where)), covariance)
        to_stopped = scale * main.covariance(where, self.stopped_at)
        noise = [each.replicates[:, objective].var(ddof=1) for each in self.stopped]
        seen = scale * main.covariance(self.stopped_at, self.stopped_at) + np.diag(noise)
        gain = np.linalg.solve(seen + 1e-12 * np.eye(len(seen)), to_stopped.T).T
        return _ErrorLaw(gain @ self._stopped_errors[:, objective], covariance - gain @ to_stopped.T)

    @cached_property
    def _stopped_errors(self) -> FloatArray:
        """(n_stopped, n_objectives) the objectives of the stopped points minus the predicted ones, signed."""
        seen = self.evaluator.signs * np.array([each.values for each in self.stopped])
        missed: FloatArray = seen - self._predicted(self.stopped_at).mean(axis=0)
        return missed


@dataclass(frozen=True, eq=False)
class _ErrorLaw:
    """A normal law of an objective's errors at some points.

    Attributes:
        mean: (n_points,).
        covariance: (n_points, n_points).
    """

    mean: FloatArray
    covariance: FloatArray

    @cached_property
    def factor(self) -> FloatArray:
        """(n_points, n_points) the lower Cholesky factor of the covariance, with what it needs on the diagonal."""
        n = len(self.mean)
        least = 1e-8 * float(np.trace(self.covariance)) / max(n, 1) + 1e-18
        return np.asarray(np.linalg.cholesky(self.covariance + least * np.eye(n)), dtype=np.float64)


def _reduced(several: Sequence[Tables]) -> list[Tables]:
    """Return the tables' rows of the selection split, or an evenly spaced part of them if there are very many."""
    n_items = sum(int(table.in_selection_split.sum()) for some in several[0].values() for table in some)
    step = max(1.0, n_items / _MAX_ITEMS)

    def taken(table: ItemTable) -> ItemTable:
        chosen = np.flatnonzero(table.in_selection_split)
        return table.take(chosen[np.arange(0, len(chosen), step).astype(np.intp)])

    kept = [{entry: [taken(table) for table in some] for entry, some in each.items()} for each in several]
    return [{entry: [table for table in some if len(table)] for entry, some in each.items()} for each in kept]
