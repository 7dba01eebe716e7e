"""The coordinator: the one loop that merges, scores and chooses. Reads like the method section of the paper."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib import plugins
from mergekit_calib.analysis import SweepAnalysis, reliability_diagram
from mergekit_calib.errors import CalibError
from mergekit_calib.items.store import StoredPoint, Tables
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.prefix_lm.model import build_lm
from mergekit_calib.recipe import Point, Sweep, parse_sweep
from mergekit_calib.report.report_files import write_page, write_report
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier, PointResult
from mergekit_calib.search.driver import Search
from mergekit_calib.search.protocol import Outcome
from mergekit_calib.search.racing import Documents
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared

EXIT_SOME_FAILED = 3

# What an OSError says of the machine, and not of the point that met it; transformers raises others of bad models.
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE}


def run_sweep(
    sweep: Sweep | str | Path,
    out_path: str | Path,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
) -> Frontier:
    """Merge, score and compare every point of a sweep; write the chosen model and the report.

    A run that was stopped at any moment goes on where it stopped when it is called again with the same arguments.
    Called in several processes at once, it shares the points among them.

    Args:
        sweep: a parsed sweep, or the path of its YAML.
        out_path: the folder to write to; new, empty, or of the same sweep.
        options: mergekit's options; its defaults if None.
        progress: what is told of events; silent if None.

    Returns:
        The frontier, as in `out_path/calibration/frontier.json`. Points that failed are in it with their reasons.

    Raises:
        CalibError: something is wrong that can be found out before any model is loaded, or no point could be scored.
    """
    register()
    if not isinstance(sweep, Sweep):
        sweep = parse_sweep(Path(sweep).read_text(encoding="utf-8"), registered_signatures(), str(sweep))
    progress = progress or Progress()
    prepared = prepare(sweep, Path(out_path), options or MergeOptions())
    with prepared.folder.joined(prepared.study_name) as session:
        with prepared.folder.alone():
            prepared.settle()
        frontier = _explore(prepared, prepared.search(session), progress)
        if frontier.selected is None:
            reasons = "; ".join(f"{p.id}: {p.reason}" for p in frontier.points if p.status == "failed")
            raise CalibError(f"no point could be scored ({reasons})")
        with prepared.folder.alone():
            _write(prepared, frontier)
    progress.finished(frontier)
    return frontier


def _explore(prepared: Prepared, search: Search, progress: Progress) -> Frontier:
    """Score points: the parents first, then those that the search proposes, until it has enough."""
    block = prepared.sweep.calibration
    models = prepared.models_of_points()
    analysis = SweepAnalysis(
        objectives=prepared.objectives,
        of_choices=plugins.metrics(),
        level=block.level,
        n_resamples=block.n_resamples,
        n_bins=block.n_bins,
        seed=block.seed,
    )
    frontier = prepared.frontier()
    progress.started(frontier, prepared.n_points)
    progress.will_take(str(prepared.memory))

    for point in search.points():
        _take_in(search.news(), frontier, analysis, prepared, progress)
        progress.point_started(point.id)
        try:
            search.finish(point, _score(point, prepared, models, search, progress))
        except Exception as problem:
            if isinstance(problem, OSError) and problem.errno in _MACHINE_ERRORS:
                raise
            # One point that cannot be merged or scored says nothing of the others.
            logging.getLogger(__name__).info("%s failed", point.id, exc_info=True)
            search.fail(point, f"{type(problem).__name__}: {problem}".split("\n")[0])
            models.discard()
        _take_in(search.news(), frontier, analysis, prepared, progress)
    models.discard()
    _take_in(search.news(), frontier, analysis, prepared, progress)
    progress.concluding()
    analysis.finish(frontier, prepared.rule, prepared.rule_options)
    frontier.notes += _identical_points(frontier)
    return frontier


def _score(point: Point, prepared: Prepared, models: PointModels, search: Search, progress: Progress) -> StoredPoint:
    """Set the live model to the point and score it, as far as the search wants it scored."""
    began = time.perf_counter()
    with models.at(point) as ready:
        merged = time.perf_counter()

        def score(documents: Documents | None) -> Tables:
            suite = prepared.suite
            lm = build_lm(
                ready.model,
                ready.tokenizer,
                batch_size=prepared.sweep.calibration.batch_size,
                model_args=prepared.model_args,
                arrangements=suite.arrangements,
            )
            return suite.score(lm, progress.scoring, documents)

        stored = search.score(point, ready.digest, score)
    return replace(stored, seconds={"merge": merged - began, "score": time.perf_counter() - merged})


def _take_in(
    outcomes: Iterable[Outcome], frontier: Frontier, analysis: SweepAnalysis, prepared: Prepared, progress: Progress
) -> None:
    """What came of points, on this worker or another: their numbers, and the frontier and the choice as they stand."""
    for outcome in outcomes:
        point, stored = outcome.point, outcome.stored
        result = PointResult(id=point.id, role=point.role, axes=point.axes, recipe=point.yaml)
        if stored is None:
            result.status, result.reason = "failed", outcome.reason
        else:
            result.digest, result.seconds = stored.digest, stored.seconds
            if stored.stopped is not None:
                result.status, result.reason = "stopped", stored.stopped
            elif twin := next((p for p in frontier.complete_points if p.digest == stored.digest), None):
                analysis.share(result, twin)
            else:
                try:
                    analysis.add(result, stored.tables)
                    every_table = [table for some in stored.tables.values() for table in some]
                    if diagram := reliability_diagram(every_table, frontier.n_bins):
                        frontier.reliability[point.id] = diagram
                except CalibError as problem:
                    result.status, result.reason, result.metrics = "failed", str(problem), {}
        frontier.points.append(result)
        frontier.selection = analysis.conclude(frontier.points, prepared.rule, prepared.rule_options)
        prepared.folder.save(frontier)
        write_page(frontier, prepared.folder.path)
        progress.point_finished(result, frontier)


def _write(prepared: Prepared, frontier: Frontier) -> None:
    """The chosen model, written by mergekit from its plain recipe, and the report."""
    selected = frontier.selected
    assert selected is not None
    folder = prepared.folder
    points = {p.id: prepared.parents[p.role != "base"] if p.role else prepared.point(p.axes) for p in frontier.points}
    models = prepared.models_of_points()
    folder.write_model(lambda target: models.write(points[selected.id], target, selected.digest), selected.digest)
    prepared.record(points.values())
    frontier.finished = True
    folder.save(frontier)
    write_report(frontier, folder.path, card=prepared.options.write_model_card)
    folder.remove_scratch()


def _identical_points(frontier: Frontier) -> list[str]:
    same = [p for p in frontier.points if p.same_as and not p.role]
    if not same:
        return []
    listed = ", ".join(f"{p.id} (as {p.same_as})" for p in same)
    return [
        f"These points came out with the very weights of an earlier one, so their axis changes nothing there: {listed}"
    ]
