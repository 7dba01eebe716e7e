"""The result of a running sweep: kept up to date with the points that are done, written to the folder, and told."""

from __future__ import annotations

from mergekit_calib.analysis.decided_choice import Choosing
from mergekit_calib.report.report_files import write_page
from mergekit_calib.results.decision import Decision
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.search.driver import Search
from mergekit_calib.sweep.asked_point import AskedPoint
from mergekit_calib.sweep.earlier_run import EarlierRun
from mergekit_calib.sweep.failing_parents import check_parents
from mergekit_calib.sweep.frontier_builder import FrontierBuilder
from mergekit_calib.sweep.prepared import Prepared


class ResultSoFar:
    """Adds the points that are done, by this process or another, to the result, and writes it.

    Args:
        prepared: the sweep.
        search: knows which points are done.
        earlier: the run that the folder held; None if it held none.
        progress: receives the points.
        decision: what a person decided after an earlier run; None if nobody did.
    """

    def __init__(
        self,
        prepared: Prepared,
        search: Search,
        earlier: EarlierRun | None,
        progress: Progress,
        decision: Decision | None = None,
    ) -> None:
        self._prepared, self._search, self._earlier, self._progress = prepared, search, earlier, progress
        analysis = prepared.analysis(search.references)
        session = prepared.folder.session
        self._builder = FrontierBuilder(
            prepared.new_frontier(), analysis, Choosing(prepared.sweep.calibration.select, decision), session
        )
        self._decision = decision

    @property
    def frontier(self) -> Frontier:
        """The result so far."""
        return self._builder.frontier

    def add_news(self) -> None:
        """Add the points that were finished since the last call; the first time, say what is reused of an earlier run.

        Raises:
            CalibError: the folder is gone, or the parents that failed leave nothing to merge.
        """
        news = self._search.news()
        self._prepared.folder.check_is_there()
        if self._earlier is not None:
            reused = [outcome.point for outcome in news if outcome.stored and outcome.stored.session is not None]
            used = {self._prepared.key_of(point) for point in (*self._prepared.parents, *reused)}
            if text := self._earlier.summary(len(reused), used, self._prepared.resolved(), self.frontier):
                self._progress.folder_noted(text)
            self._earlier = None  # it is told once
        for outcome in news:
            result = self._builder.add(outcome)
            if outcome is news[-1]:
                self._builder.predict(self._search.interpolation)
            self._prepared.folder.save(self.frontier)
            write_page(self.frontier, self._prepared.folder.path)
            self._progress.point_finished(result, self.frontier)
        check_parents(self.frontier)

    def conclude(self) -> Frontier:
        """Add the last points and what is computed from all of them, and return the result."""
        self.add_news()
        self._add_asked()
        self._progress.concluding()
        self._builder.finish(self._search.interpolation)
        return self.frontier

    def _add_asked(self) -> None:
        """Add the point that a person has decided for, if it is none of the search's; score it if need be."""
        decision = self._decision
        if decision is None or decision.point is None or any(p.id == decision.point for p in self.frontier.points):
            return
        asked = AskedPoint.of_decision(decision, self._prepared)
        result = self._builder.add(asked.outcome(self._prepared, self._progress))
        result.asked = True
        self._progress.point_finished(result, self.frontier)
