"""The frontier of a running sweep and its choice, built from the outcomes of the points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mergekit_calib.analysis import SweepAnalysis, reliability_diagram
from mergekit_calib.analysis.empty_texts import (
    cut_off_shares,
    empty_text_shares,
    notes_of_cut_off_answers,
    notes_of_empty_texts,
)
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
        rule: the selection rule's name.
        rule_options: the rule's options.
        session: the id of the workers' session; points that another session has scored are marked as reused.
    """

    def __init__(
        self,
        frontier: Frontier,
        analysis: SweepAnalysis,
        rule: str,
        rule_options: Mapping[str, Any],
        session: str = "",
    ) -> None:
        self.frontier, self._analysis, self._session = frontier, analysis, session
        self._rule, self._rule_options = rule, rule_options
        self._empty_texts: dict[str, dict[str, float]] = {}  # point → task → share of empty texts
        self._cut_off: dict[str, dict[str, float]] = {}  # the same of answers that the limit cut off

    def add(self, outcome: Outcome) -> PointResult:
        """Add a point that was scored, stopped or failed; choose again among all.

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
        """Add what is computed from all points: baselines, both splits, uncertainty, trends, predictions, notes.

        Args:
            interpolation: the ids of the points that all others are predicted from, whether they are enough, and
                whether the search went on in another way; None if the search predicts none.
        """
        if interpolation is not None and not interpolation[1]:
            # The search went on by what it saw of the selection split alone.
            self._analysis.choose_on = "selection"
            self._conclude()
        self._analysis.finish(self.frontier, self._rule, self._rule_options)
        if interpolation is not None:
            self.frontier.predicted = self._analysis.predicted(self.frontier, *interpolation)
        self.frontier.notes += _note_of_identical_points(self.frontier)
        self.frontier.notes += notes_of_empty_texts(self._empty_texts)
        self.frontier.notes += notes_of_cut_off_answers(self._cut_off)

    def _conclude(self) -> None:
        self.frontier.selection = self._analysis.conclude(self.frontier.points, self._rule, self._rule_options)

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
