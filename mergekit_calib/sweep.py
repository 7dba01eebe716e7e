"""The coordinator: the one loop that merges, scores and chooses. Reads like the method section of the paper."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib import plugins
from mergekit_calib.analysis import Analysis, reliability_diagram
from mergekit_calib.errors import CalibError
from mergekit_calib.frontier import Frontier, PointResult
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.preflight import Prepared, prepare
from mergekit_calib.progress import Progress
from mergekit_calib.recipe import Point, Sweep, parse_sweep
from mergekit_calib.report.write import write_report
from mergekit_calib.scoring.model import build_lm
from mergekit_calib.search.store import StoredPoint

EXIT_SOME_FAILED = 3


def run_sweep(
    sweep: Sweep | str | Path,
    out_path: str | Path,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
) -> Frontier:
    """Merge, score and compare every point of a sweep; write the chosen model and the report.

    A run that was stopped at any moment goes on where it stopped when it is called again with the same arguments.

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
    with prepared.folder.lock():
        prepared.settle()
        frontier = _explore(prepared, progress)
        if frontier.selected is None:
            reasons = "; ".join(f"{p.id}: {p.reason}" for p in frontier.points if p.status == "failed")
            raise CalibError(f"no point could be scored ({reasons})")
        _write(prepared, frontier)
    progress.finished(frontier)
    return frontier


def _explore(prepared: Prepared, progress: Progress) -> Frontier:
    """Score every point: the parents first, then those that the search proposes."""
    block, folder = prepared.sweep.calibration, prepared.folder
    models = PointModels(prepared.options, prepared.tokenizer, folder.scratch, prepared.device, prepared.dtype)
    suite = prepared.suite
    analysis = Analysis(
        objectives=prepared.objectives,
        known=plugins.metrics(),
        higher_is_better=suite.higher_is_better,
        level=block.level,
        n_resamples=block.n_resamples,
        n_bins=block.n_bins,
        seed=block.seed,
    )
    frontier = prepared.frontier()
    scored: dict[str, tuple[PointResult, StoredPoint]] = {}
    progress.started(frontier, len(prepared.points))

    for point in prepared.points:
        result = PointResult(id=point.id, role=point.role, axes=point.axes, recipe=point.yaml)
        frontier.points.append(result)
        progress.point_started(point.id)
        try:
            stored = folder.items.load(prepared.key_of(point))
            if stored is None:
                stored = _score(point, prepared, models, scored.values(), progress)
            result.digest, result.seconds = stored.digest, stored.seconds
            if twin := next((twin for twin, its in scored.values() if its.digest == stored.digest), None):
                analysis.share(result, twin)
            else:
                analysis.add(result, stored.tables)
                if diagram := reliability_diagram(stored.tables, block.n_bins):
                    frontier.reliability[point.id] = diagram
            scored[point.id] = (result, stored)
        except OSError:
            raise  # a full disk is no property of this point
        except Exception as problem:
            # One point that cannot be merged or scored says nothing of the others.
            result.status, result.reason = "failed", f"{type(problem).__name__}: {problem}".split("\n")[0]
            models.discard()
        frontier.selection = analysis.conclude(frontier.points, prepared.rule, prepared.rule_options)
        folder.save(frontier)
        progress.point_finished(result, frontier)
    analysis.finish(frontier, prepared.rule, prepared.rule_options)
    frontier.notes += _identical_points(frontier)
    return frontier


def _score(
    point: Point,
    prepared: Prepared,
    models: PointModels,
    scored: Iterable[tuple[PointResult, StoredPoint]],
    progress: Progress,
) -> StoredPoint:
    """Set the live model to the point and score it; a merge that came out as an earlier one takes its scores."""
    began = time.perf_counter()
    with models.at(point) as ready:
        merged = time.perf_counter()
        twin = next((stored for _, stored in scored if stored.digest == ready.digest), None)
        if twin is not None:
            tables = twin.tables
        else:
            block = prepared.sweep.calibration
            suite = prepared.suite
            lm = build_lm(
                ready.model,
                ready.tokenizer,
                batch_size=block.batch_size,
                model_args=prepared.model_args,
                arrangements=suite.arrangements,
            )
            tables = suite.score(lm, progress=progress.scoring)
        seconds = {"merge": merged - began, "score": time.perf_counter() - merged}
        stored = StoredPoint(point.id, tables, ready.digest, seconds)
    prepared.folder.items.save(prepared.key_of(point), stored, prepared.facts_of(point))
    return stored


def _write(prepared: Prepared, frontier: Frontier) -> None:
    """The chosen model, written by mergekit from its plain recipe, and the report."""
    selected = frontier.selected
    assert selected is not None
    folder = prepared.folder
    point = next(p for p in prepared.points if p.id == selected.id)
    models = PointModels(prepared.options, prepared.tokenizer, folder.scratch, prepared.device, prepared.dtype)
    folder.write_model(lambda target: models.write(point, target, selected.digest), selected.digest)
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
