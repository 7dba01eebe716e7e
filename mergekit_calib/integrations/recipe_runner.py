"""Run a sweep from a recipe's text, as the hooks and the commands do, and return an exit status."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

from mergekit.options import MergeOptions

from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.integrations.trackers import TrackedProgress
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.report.text import formatting
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep


class ExitStatus(IntEnum):
    """The exit status of a sweep that wrote a model; a mistake that stops it is 1."""

    OK = 0
    SOME_FAILED = 3
    RULE_GAVE_WAY = 4


def run_source(
    text: str, out_path: str, options: MergeOptions, source: str | None = None, log: Sequence[str] = ()
) -> ExitStatus:
    """Run a sweep and show its progress; what the hosts write meanwhile goes to `calibration/run.log`.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        out_path: the folder to write to.
        options: mergekit's options, as its command made them.
        source: the file that `text` came from, for messages.
        log: names of the experiment trackers to log to, from `trackers.TRACKERS`.

    Returns:
        The exit status. If the rule gave way and some points failed, it is `RULE_GAVE_WAY`.

    Raises:
        CalibError: a mistake that the user can correct.
    """
    register()
    sweep = parse_sweep(text, registered_signatures(), source)
    console = ConsoleProgress(
        quiet=options.quiet, out_path=out_path, verbose=options.verbosity > 0, card=options.write_model_card
    )
    run_log = RunLog(out_path, console.note, options.verbosity)
    console.show_latest(lambda: run_log.latest)
    with run_log, console:
        trackers = [TrackedProgress(name, out_path) for name in log]
        frontier = run_sweep(sweep, out_path, options, ProgressGroup(run_log, *trackers, console))
        status = _status(frontier)
        if options.quiet and status is ExitStatus.RULE_GAVE_WAY:
            console.note(explain(status, out_path))  # otherwise the answer says it
    return status


def explain(status: ExitStatus, out_path: str | Path) -> str:
    """Return one sentence on what a status other than `OK` means for the sweep in `out_path`."""
    frontier = Frontier.load(out_path)
    if status is ExitStatus.RULE_GAVE_WAY and frontier.selection is not None:
        why = formatting.sentence(frontier, frontier.selection.gave_way or "")
        return f"a model was written to {out_path}, but not by the rule {frontier.selection.rule}: {why}"
    failed = formatting.counted(sum(p.status == "failed" for p in frontier.points), "point")
    return f"a model was written to {out_path}, but {failed} failed; calibration/frontier.json says why"


def _status(frontier: Frontier) -> ExitStatus:
    if frontier.selection is not None and frontier.selection.gave_way:
        return ExitStatus.RULE_GAVE_WAY
    return ExitStatus.SOME_FAILED if any(p.status == "failed" for p in frontier.points) else ExitStatus.OK
