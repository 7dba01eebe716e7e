"""The frontier of a running sweep and its choice, built from the outcomes of the points."""

from __future__ import annotations

from collections.abc import Sequence

from mergekit_calib.analysis import SweepAnalysis, reliability_diagram
from mergekit_calib.analysis.answering_thresholds import DEFAULT_MAX_ERROR, answering, points_to_answer
from mergekit_calib.analysis.decided_choice import Choosing
from mergekit_calib.analysis.empty_texts import (
    cut_off_shares,
    empty_text_shares,
    notes_of_cut_off_answers,
    notes_of_empty_texts,
)
from mergekit_calib.analysis.worst_tasks import notes_of_worst
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import StoredPoint
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.results.names import point_name
from mergekit_calib.search.protocol import Outcome


class FrontierBuilder:
    """Adds the outcomes of points to a frontier, and keeps its choice up to date.

    Args:
        frontier: the result so far, without points.
        analysis: the sweep's statistics, without points.
        choosing: how a point is chosen.
        session: the id of the workers' session; points that another session has scored are marked as reused.
    """

    def __init__(
        self,
        frontier: Frontier,
        analysis: SweepAnalysis,
        choosing: Choosing,
        session: str = "",
    ) -> None:
        self.frontier, self._analysis, self._session = frontier, analysis, session
        self._choosing = choosing
        self._empty_texts: dict[str, dict[str, float]] = {}  # point → task → share of empty texts
        self._cut_off: dict[str, dict[str, float]] = {}  # the same of answers that the limit cut off

    def add(self, outcome: Outcome, conclude: bool = True) -> PointResult:
        """Add a point that was scored, stopped or failed; choose again among all.

        Args:
            outcome: the point, with its scores.
            conclude: False if more points follow at once, so that the choice can wait for the last.

        Returns:
            The point, as it is now in the frontier. It has failed if a metric cannot be computed from its scores.
        """
        point = outcome.point
        result = PointResult(id=point.id, role=point.role, axes=point.axes, recipe=point.yaml)
        if outcome.stored is None:
            result.status, result.reason = "failed", outcome.reason
        else:
            self._add_scores(result, outcome.stored)
        self.frontier.points.append(result)
        if conclude:
            self._conclude()
            self.frontier.blends = self._analysis.blends(self.frontier)
        return result

    def predict(self, interpolation: tuple[Sequence[str], bool, bool] | None) -> None:
        """Add predictions between the points so far, if they are good enough.

        Args:
            interpolation: as `finish` takes it.
        """
        if interpolation is not None and interpolation[1]:
            self.frontier.predicted = self._analysis.predicted(self.frontier, *interpolation)

    def finish(self, interpolation: tuple[Sequence[str], bool, bool] | None = None) -> None:
        """Add what is computed from all points: baselines, both splits, where to answer, and so on.

        Args:
            interpolation: the ids of the points that all others are predicted from, whether they are enough, and
                whether the search went on in another way; None if the search predicts none.
        """
        if interpolation is not None and not interpolation[1]:
            # The search went on by what it saw of the selection split alone.
            self._analysis.choose_on = "selection"
            self._conclude()
        selection = self.frontier.selection
        if selection is not None and selection.decided is not None and selection.decided.by == "point":
            # There is no rule to cross-fit: the point is measured on the held-out split, as all others are.
            self._analysis.choose_on = "selection"
            self.frontier.selection = selection.model_copy(update={"split": "selection"})
        self._analysis.finish(self.frontier, *self._choosing.rule)
        tables = self._analysis.tables_of(points_to_answer(self.frontier))
        self.frontier.answering = answering(tables, DEFAULT_MAX_ERROR, self.frontier.level)
        if interpolation is not None:
            self.frontier.predicted = self._analysis.predicted(self.frontier, *interpolation)
        self.frontier.notes += _note_of_identical_points(self.frontier)
        self.frontier.notes += notes_of_worst(self.frontier.objectives, self.frontier.selected, tables)
        self.frontier.notes += notes_of_empty_texts(self._empty_texts)
        self.frontier.notes += notes_of_cut_off_answers(self._cut_off)

    def _conclude(self) -> None:
        self.frontier.selection = self._choosing.conclude(self._analysis, self.frontier.points)

    def _add_scores(self, result: PointResult, stored: StoredPoint) -> None:
        result.digest, result.seconds = stored.digest, stored.seconds
        result.reused = stored.session not in (None, self._session)
        if stored.stopped is None:
            self._empty_texts[result.name] = empty_text_shares(stored.tables)
            self._cut_off[result.name] = cut_off_shares(stored.tables)
        identical = next((p for p in self.frontier.complete_points if p.digest == stored.digest), None)
        if stored.stopped is not None:
            result.status, result.reason = "stopped", stored.stopped
        elif identical is not None:
            self._analysis.copy_results(result, identical)
        else:
            try:
                self._analysis.add(result, stored.tables)
                every_table = [table for some in stored.tables.values() for table in some]
                if diagram := reliability_diagram(every_table, self.frontier.n_bins):
                    self.frontier.reliability[result.id] = diagram
            except CalibError as problem:
                result.status, result.reason, result.metrics = "failed", str(problem), {}


def _note_of_identical_points(frontier: Frontier) -> list[str]:
    same = [p for p in frontier.points if p.same_as and not p.role]
    if not same:
        return []
    listed = ", ".join(f"{point_name(p.id)} (as {point_name(p.same_as or '')})" for p in same)
    return [f"These points have the same weights as an earlier point, so their axis changes nothing there: {listed}."]
