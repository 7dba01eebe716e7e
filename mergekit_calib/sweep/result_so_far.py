"""The result of a running sweep: kept up to date with the points that are done, written to the folder, and told."""

from __future__ import annotations

from mergekit_calib.report.report_files import write_page
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.search.driver import Search
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
    """

    def __init__(self, prepared: Prepared, search: Search, earlier: EarlierRun | None, progress: Progress) -> None:
        self._prepared, self._search, self._earlier, self._progress = prepared, search, earlier, progress
        analysis = prepared.analysis(search.references)
        session = prepared.folder.session
        self._builder = FrontierBuilder(
            prepared.new_frontier(), analysis, prepared.rule, prepared.rule_options, session
        )

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
        self._progress.concluding()
        self._builder.finish(self._search.interpolation)
        return self.frontier
