"""The coordinator: check a sweep, have its points scored, choose one and write it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib import stopping
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.recipe import Sweep, parse_sweep, read_file
from mergekit_calib.results.decision import Decision
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import point_name
from mergekit_calib.search.driver import Search
from mergekit_calib.storage.failures import folder_error
from mergekit_calib.sweep.another_choice import decision_in
from mergekit_calib.sweep.chosen_model import write_choice
from mergekit_calib.sweep.crew import Crew, Ended
from mergekit_calib.sweep.earlier_run import EarlierRun
from mergekit_calib.sweep.point_scorer import PointScorer
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.sweep.result_so_far import ResultSoFar
from mergekit_calib.sweep.scoring_loop import score_points


def run_sweep(
    sweep: Sweep | str | Path,
    out_path: str | Path,
    options: MergeOptions | None = None,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> Frontier:
    """Merge, score and compare every point of a sweep; write the chosen model and the report.

    If a run was stopped at any moment, a call with the same arguments goes on where it stopped.
    Called in several processes at once, it shares the points among them.

    Args:
        sweep: a parsed sweep, or the path of its YAML.
        out_path: the folder to write to; new, empty, or of the same sweep.
        options: mergekit's options; its defaults if None.
        progress: receives the events of the run; none if None.
        crew: workers in other processes, which score the points; None to score them in this process, whatever
            `workers` is in the recipe.

    Returns:
        The frontier, as in `out_path/calibration/frontier.json`. Points that failed are in it with their reasons.

    Raises:
        CalibError: a mistake that can be found before any model is loaded; no point could be scored; or the system
            refuses to write to the folder (disk full, read-only, deleted meanwhile).
    """
    register()
    if not isinstance(sweep, Sweep):
        sweep = parse_sweep(read_file(Path(sweep)), registered_signatures(), str(sweep), known_keys())
    progress = progress or Progress()
    with _folder_errors(out_path):
        size, scores_here = (crew.size, crew.scores_here) if crew else (1, True)
        options = options or MergeOptions()
        prepared = prepare(sweep, Path(out_path), options, workers=size, scores_here=scores_here)
        return _run(prepared, progress, crew)


def run_worker(
    sweep: Sweep,
    out_path: str | Path,
    options: MergeOptions,
    progress: Progress,
    ended: Callable[[Ended], None],
    streams: bool,
    elsewhere: Callable[[Prepared], PointScorer] | None = None,
) -> None:
    """Score points of a sweep that another process coordinates, until there are no more.

    Args:
        sweep: the parsed sweep.
        out_path: the output folder, which the coordinator uses.
        options: mergekit's options.
        progress: receives `started`, and what is done with each point.
        ended: is called after each point.
        streams: whether the parents are read for each point, which the coordinator has decided for all workers.
        elsewhere: makes what scores the points on another machine; None to score them in this process.

    Raises:
        CalibError: as `run_sweep`.
    """
    with _folder_errors(out_path):
        prepared = prepare(sweep, Path(out_path), options, streams=streams, scores_here=elsewhere is None)
        prepared = replace(prepared, elsewhere=elsewhere)
        with prepared.folder.joined(prepared.study_name) as session:
            with prepared.folder.alone():
                prepared.merge_adapters()
            progress.started(prepared.new_frontier(), prepared.n_points)
            for done in score_points(prepared, prepared.search(session), progress):
                if done is not None:
                    ended(done)


@contextmanager
def _folder_errors(out_path: str | Path) -> Iterator[None]:
    """Turn errors of the file system in the output folder into a `CalibError`."""
    try:
        yield
    except Exception as problem:
        if isinstance(problem, CalibError) or (known := folder_error(problem, out_path)) is None:
            raise
        raise known from problem


def _run(prepared: Prepared, progress: Progress, crew: Crew | None) -> Frontier:
    with prepared.folder.joined(prepared.study_name) as session:
        with prepared.folder.alone():
            prepared.adopt_earlier_scores()
            earlier = EarlierRun.found_in(prepared.folder) if session.is_first else None
            decision = decision_in(prepared)
            if decision is not None and session.is_first:
                progress.folder_noted(decision.kept_in(prepared.folder.path))
            prepared.merge_adapters()
            prepared.record(prepared.parents)
        frontier = _explore(prepared, prepared.search(session), earlier, progress, crew, decision)
        if frontier.selected is None:
            reasons = "; ".join(f"{point_name(p.id)}: {p.reason}" for p in frontier.points if p.status == "failed")
            raise CalibError(f"no point could be scored ({reasons})")
        with prepared.folder.alone():
            write_choice(prepared, frontier, progress)
    progress.finished(frontier)
    return frontier


def _explore(
    prepared: Prepared,
    search: Search,
    earlier: EarlierRun | None,
    progress: Progress,
    crew: Crew | None,
    decision: Decision | None,
) -> Frontier:
    """Have the points scored, in this process or by a crew, and return the result."""
    result = ResultSoFar(prepared, search, earlier, progress, decision)
    progress.started(result.frontier, prepared.n_points)
    if crew is None or crew.scores_here:
        progress.memory_estimated(prepared.memory.peak)
        logging.getLogger(__name__).info("the sweep %s", prepared.memory)

    if crew is None:
        for _ in score_points(prepared, search, progress):
            result.add_news()
        return result.conclude()
    with closing(crew.work(prepared.memory.streams, progress)) as steps:
        for step in steps:
            stopping.raise_if_asked()
            if step is not None and step.reason is not None:
                search.note_failed_parent(step.point, step.reason)
            search.follow()
            result.add_news()
    search.follow()
    return result.conclude()
