"""The coordinator: the loop that merges points, scores them and chooses one."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError, LostStudyError
from mergekit_calib.items.store import StoredPoint, Tables
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import Point, Sweep, parse_sweep, read_file
from mergekit_calib.report.report_files import write_page, write_report
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import point_name
from mergekit_calib.search.driver import Search
from mergekit_calib.search.racing import Documents
from mergekit_calib.search.shares import Share
from mergekit_calib.storage.failures import folder_error, machine_error
from mergekit_calib.sweep.earlier_run import EarlierRun
from mergekit_calib.sweep.failing_parents import check_parents
from mergekit_calib.sweep.frontier_builder import FrontierBuilder
from mergekit_calib.sweep.point_scorer import PointScorer
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared


def run_sweep(
    sweep: Sweep | str | Path,
    out_path: str | Path,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
) -> Frontier:
    """Merge, score and compare every point of a sweep; write the chosen model and the report.

    If a run was stopped at any moment, a call with the same arguments goes on where it stopped.
    Called in several processes at once, it shares the points among them.

    Args:
        sweep: a parsed sweep, or the path of its YAML.
        out_path: the folder to write to; new, empty, or of the same sweep.
        options: mergekit's options; its defaults if None.
        progress: receives the events of the run; none if None.

    Returns:
        The frontier, as in `out_path/calibration/frontier.json`. Points that failed are in it with their reasons.

    Raises:
        CalibError: a mistake that can be found before any model is loaded; no point could be scored; or the system
            refuses to write to the folder (disk full, read-only, deleted meanwhile).
    """
    register()
    if not isinstance(sweep, Sweep):
        sweep = parse_sweep(read_file(Path(sweep)), registered_signatures(), str(sweep), known_keys())
    try:
        return _run(sweep, Path(out_path), options or MergeOptions(), progress or Progress())
    except Exception as problem:
        if isinstance(problem, CalibError) or (known := folder_error(problem, out_path)) is None:
            raise
        raise known from problem


def _run(sweep: Sweep, out_path: Path, options: MergeOptions, progress: Progress) -> Frontier:
    prepared = prepare(sweep, out_path, options)
    with prepared.folder.joined(prepared.study_name) as session:
        with prepared.folder.alone():
            prepared.adopt_earlier_scores()
            earlier = EarlierRun.found_in(prepared.folder) if session.is_first else None
            prepared.merge_adapters()
            prepared.record(prepared.parents)
        frontier = _explore(prepared, prepared.search(session), earlier, progress)
        if frontier.selected is None:
            reasons = "; ".join(f"{point_name(p.id)}: {p.reason}" for p in frontier.points if p.status == "failed")
            raise CalibError(f"no point could be scored ({reasons})")
        with prepared.folder.alone():
            _write(prepared, frontier, progress)
    progress.finished(frontier)
    return frontier


def _explore(prepared: Prepared, search: Search, earlier: EarlierRun | None, progress: Progress) -> Frontier:
    """Score points, the parents first, then those that the search proposes, until it proposes no more."""
    analysis = prepared.analysis(search.references)
    session = prepared.folder.session
    builder = FrontierBuilder(prepared.new_frontier(), analysis, prepared.rule, prepared.rule_options, session)
    scorer = prepared.scorer()
    progress.started(builder.frontier, prepared.n_points)
    progress.memory_estimated(prepared.memory.peak)
    logging.getLogger(__name__).info("the sweep %s", prepared.memory)

    for point in search.points():
        if isinstance(point, Share):
            _help(point, scorer, search)
            continue
        _add_outcomes(search, builder, prepared, progress, earlier)
        earlier = None  # it is told once
        progress.point_started(point.id)
        try:
            stored = _score(point, scorer, search, progress)
            prepared.folder.check_is_there()
            search.finish(point, stored)
        except LostStudyError:
            raise
        except Exception as problem:
            prepared.folder.check_is_there()
            if machine := machine_error(problem) or prepared.folder.write_error():
                raise machine from problem
            # A point that cannot be merged or scored does not stop the others.
            logging.getLogger(__name__).info("%s failed", point.id, exc_info=True)
            search.fail(point, f"{type(problem).__name__}: {problem}".split("\n")[0])
            scorer.discard()
        _add_outcomes(search, builder, prepared, progress)
        check_parents(builder.frontier)

    scorer.discard()
    _add_outcomes(search, builder, prepared, progress, earlier)
    progress.concluding()
    builder.finish(search.interpolation)
    return builder.frontier


def _score(point: Point, scorer: PointScorer, search: Search, progress: Progress) -> StoredPoint:
    """Make the point's model and score it, to the end or until the search stops it."""
    started_at = time.perf_counter()
    with scorer.at(point) as ready:
        merged_at = time.perf_counter()

        def score(documents: Documents | None) -> Tables:
            return ready.score(documents, progress.scoring)

        stored = search.score(point, ready.digest, score)
    return replace(stored, seconds={"merge": merged_at - started_at, "score": time.perf_counter() - merged_at})


def _help(share: Share, scorer: PointScorer, search: Search) -> None:
    """Score a share of another worker's point; if that fails, the point's own worker does it."""
    try:
        with scorer.at(share.point) as ready:
            search.sharing.finish(share, ready.digest, ready.score(share.documents, None))
    except Exception:
        logging.getLogger(__name__).info("a share of %s failed", share.point.id, exc_info=True)
        search.sharing.give_up(share)
        scorer.discard()


def _add_outcomes(
    search: Search,
    builder: FrontierBuilder,
    prepared: Prepared,
    progress: Progress,
    earlier: EarlierRun | None = None,
) -> None:
    """Add the points that were finished since the last call, by this worker or another, and write the result so far.

    If `earlier` is given, first say what is reused of that run.
    """
    news = search.news()
    prepared.folder.check_is_there()
    if earlier is not None:
        reused = [outcome.point for outcome in news if outcome.stored and outcome.stored.session is not None]
        used = {prepared.key_of(point) for point in (*prepared.parents, *reused)}
        if text := earlier.summary(len(reused), used, prepared.resolved(), builder.frontier):
            progress.folder_noted(text)
    for outcome in news:
        result = builder.add(outcome)
        if outcome is news[-1]:
            builder.predict(search.interpolation)
        prepared.folder.save(builder.frontier)
        write_page(builder.frontier, prepared.folder.path)
        progress.point_finished(result, builder.frontier)


def _write(prepared: Prepared, frontier: Frontier, progress: Progress) -> None:
    """Write the chosen model, made by mergekit from its plain recipe, and the report."""
    selected = frontier.selected
    assert selected is not None
    assert selected.digest is not None  # a point that was scored has one
    folder, digest = prepared.folder, selected.digest
    folder.check_is_there()
    parents = {parent.role: parent for parent in prepared.parents}
    points = {p.id: parents[p.role] if p.role else prepared.point(p.axes) for p in frontier.points}
    models = prepared.point_models()
    replaced = folder.write_model(lambda to: models.write(points[selected.id], to, digest), digest, selected.id)
    if replaced:
        progress.folder_noted(replaced)
    prepared.record(points.values())
    frontier.finished = True
    folder.save(frontier)
    write_report(frontier, folder.path, card=prepared.options.write_model_card)
    folder.remove_scratch()
