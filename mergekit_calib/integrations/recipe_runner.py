"""Run a sweep from a recipe's text, as the hooks and the commands do, and return an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.integrations.trackers import TrackedProgress
from mergekit_calib.integrations.worker_crew import WorkerCrew
from mergekit_calib.integrations.worker_shares import ENVIRONMENT_OF_ASKING, environments_of_workers
from mergekit_calib.recipe import Sweep, parse_sweep, read_block
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.report.text import formatting
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.scoring.known_tasks import check_names

if TYPE_CHECKING:
    from mergekit.options import MergeOptions

    from mergekit_calib.sweep.remote.cluster_share import RaySettings


class ExitStatus(IntEnum):
    """The exit status of a sweep that wrote a model; a mistake that stops it is 1."""

    OK = 0
    SOME_FAILED = 3
    RULE_GAVE_WAY = 4


def run_source(
    text: str,
    out_path: str,
    options: MergeOptions | None = None,
    source: str | None = None,
    log: Sequence[str] = (),
    workers: int | str | None = None,
    ray: RaySettings | None = None,
) -> ExitStatus:
    """Run a sweep and show its progress; what the hosts write meanwhile goes to `calibration/run.log`.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        out_path: the folder to write to.
        options: mergekit's options, as its command made them; its defaults if None.
        source: the file that `text` came from, for messages.
        log: names of the experiment trackers to log to, from `trackers.TRACKERS`.
        workers: how many processes score points, or `auto`; as the recipe says if None.
        ray: the Ray cluster that scores the points; None to score them on this machine.

    Returns:
        The exit status. If the rule gave way and some points failed, it is `RULE_GAVE_WAY`.

    Raises:
        CalibError: a mistake that the user can correct.
    """
    console = _console(out_path, options)
    with console:
        console.preparing(f"reading {Path(source).name if source else 'the recipe'}, loading mergekit and lm-eval")
        check_block(text, source)
        # Imported when the user has seen the line above: they take seconds.
        from mergekit.options import MergeOptions

        from mergekit_calib.merging.method import register, registered_signatures
        from mergekit_calib.merging.recipe_keys import known_keys
        from mergekit_calib.sweep.coordinator import run_sweep

        register()
        options = options or MergeOptions()
        sweep = parse_sweep(text, registered_signatures(), source, known_keys())
        console.preparing("reading models and tasks")
        run_log = RunLog(out_path, console.note, options.verbosity)
        console.show_latest(lambda: run_log.latest)
        try:
            with run_log, console:  # the live view ends before the log may write an error to the screen
                trackers = [TrackedProgress(name, out_path) for name in log]
                environments, share = _workers(sweep, options, workers, ray)
                crew = None
                if len(environments) > 1 or share is not None:
                    as_json = options.model_dump(mode="json")
                    crew = WorkerCrew(text, source, out_path, as_json, environments, run_log.inform, share)
                frontier = run_sweep(sweep, out_path, options, ProgressGroup(run_log, *trackers, console), crew)
                status = _status(frontier)
                if options.quiet and status is ExitStatus.RULE_GAVE_WAY:
                    console.note(explain(status, out_path))  # otherwise the answer says it
        except KeyboardInterrupt:
            console.interrupted()
            raise
    return status


def check_block(text: str, source: str | None = None) -> None:
    """Check the `calibration:` block as far as that is possible without importing mergekit, lm-eval or torch.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        source: the file that the text came from, for messages.

    Raises:
        RecipeError: a key or a value is wrong, or lm-eval has no task of a name in the suite.
    """
    check_names(read_block(text, source).suite, source)


def explain(status: ExitStatus, out_path: str | Path) -> str:
    """Return one sentence on what a status other than `OK` means for the sweep in `out_path`."""
    frontier = Frontier.load(out_path)
    if status is ExitStatus.RULE_GAVE_WAY and frontier.selection is not None:
        why = formatting.sentence(frontier, frontier.selection.gave_way or "")
        return f"a model was written to {out_path}, but not by the rule {frontier.selection.rule}: {why}"
    failed = formatting.counted(sum(p.status == "failed" for p in frontier.points), "point")
    return f"a model was written to {out_path}, but {failed} failed; calibration/frontier.json says why"


def _workers(
    sweep: Sweep, options: MergeOptions, workers: int | str | None, ray: RaySettings | None
) -> tuple[list[dict[str, str]], dict[str, Any] | None]:
    """Return the environment variables of each worker, and its share of the Ray cluster if there is one.

    There is at most one environment if this process scores the points itself.
    """
    block = sweep.calibration
    if ray is None:
        return environments_of_workers(block, options, workers), None
    from mergekit_calib.sweep.remote.cluster_share import shares_of_cluster

    requested = workers or block.workers
    shares = shares_of_cluster(ray, block.gpus_per_worker, requested if isinstance(requested, int) else None)
    return [ENVIRONMENT_OF_ASKING] * len(shares), asdict(shares[0])


def _console(out_path: str, options: MergeOptions | None) -> ConsoleProgress:
    if options is None:
        return ConsoleProgress(out_path=out_path)
    return ConsoleProgress(
        quiet=options.quiet, out_path=out_path, verbose=options.verbosity > 0, card=options.write_model_card
    )


def _status(frontier: Frontier) -> ExitStatus:
    if frontier.selection is not None and frontier.selection.gave_way:
        return ExitStatus.RULE_GAVE_WAY
    return ExitStatus.SOME_FAILED if any(p.status == "failed" for p in frontier.points) else ExitStatus.OK
