"""The loop of one process over the points that a search hands out: merge each, score it, store its scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import replace

from mergekit_calib import stopping
from mergekit_calib.errors import LostStudyError, ScorerLostError, ScorerRefusedError
from mergekit_calib.items.store import StoredPoint, Tables
from mergekit_calib.recipe import Point
from mergekit_calib.results.events import Progress
from mergekit_calib.search.driver import Search
from mergekit_calib.search.racing import Documents
from mergekit_calib.search.shares import Share
from mergekit_calib.storage.failures import machine_error
from mergekit_calib.sweep.crew import Ended
from mergekit_calib.sweep.point_scorer import PointScorer
from mergekit_calib.sweep.prepared import Prepared

_PAUSE = 2.0  # seconds in which another worker can take a point that was given back


def score_points(prepared: Prepared, search: Search, progress: Progress) -> Generator[Ended | None, None, None]:
    """Score points, the parents first, then those that the search proposes, until it proposes no more.

    While there is none, but other workers are scoring points, score shares of those.

    Args:
        prepared: the sweep.
        search: hands out the points.
        progress: receives what is done with each point.

    Yields:
        None before each point, and the point when its scores are stored or it has failed.

    Raises:
        CalibError: the study is lost, the system refuses to write to the folder, or nothing can score points any more.
    """
    scorer = prepared.scorer()
    for point in search.points():
        stopping.raise_if_asked()
        yield None
        if isinstance(point, Share):
            progress.helping(point.point.id)
            _help(point, scorer, search)
            continue
        progress.point_started(point.id)
        try:
            yield Ended(point.id, _finish_or_fail(point, scorer, prepared, search, progress))
        except ScorerLostError as problem:
            search.give_back(point)
            logging.getLogger(__name__).info("%s is given back: %s", point.id, problem)
            if problem.for_long:
                raise
            time.sleep(_PAUSE)
    scorer.discard()


def _help(share: Share, scorer: PointScorer, search: Search) -> None:
    """Score a share of another worker's point; if that fails, the point's own worker does it."""
    try:
        with scorer.at(share.point) as ready:
            search.sharing.finish(share, ready.digest, ready.score(share.documents, None))
    except Exception as problem:
        logging.getLogger(__name__).info("a share of %s failed", share.point.id, exc_info=True)
        search.sharing.give_up(share)
        if isinstance(problem, ScorerRefusedError):
            raise
        scorer.discard()


def _finish_or_fail(
    point: Point, scorer: PointScorer, prepared: Prepared, search: Search, progress: Progress
) -> str | None:
    """Score a point and store its scores; return the reason if that failed."""
    try:
        stored = _score(point, scorer, search, progress)
        prepared.folder.check_is_there()
        search.finish(point, stored)
    except (LostStudyError, ScorerLostError, ScorerRefusedError):
        raise
    except Exception as problem:
        prepared.folder.check_is_there()
        if machine := machine_error(problem) or prepared.folder.write_error():
            raise machine from problem
        # A point that cannot be merged or scored does not stop the others.
        logging.getLogger(__name__).info("%s failed", point.id, exc_info=True)
        reason = f"{type(problem).__name__}: {problem}".split("\n")[0]
        search.fail(point, reason)
        scorer.discard()
        return reason
    return None


def _score(point: Point, scorer: PointScorer, search: Search, progress: Progress) -> StoredPoint:
    """Make the point's model and score it, to the end or until the search stops it."""
    started_at = time.perf_counter()
    with scorer.at(point) as ready:
        merged_at = time.perf_counter()

        def score(documents: Documents | None) -> Tables:
            return ready.score(documents, progress.scoring)

        stored = search.score(point, ready.digest, score)
    return replace(stored, seconds={"merge": merged_at - started_at, "score": time.perf_counter() - merged_at})
