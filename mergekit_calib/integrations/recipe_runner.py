"""Run a sweep from a recipe's text, as the hooks and the commands do, and return an exit status."""

from __future__ import annotations

from collections.abc import Sequence

from mergekit.options import MergeOptions

from mergekit_calib.integrations.run_log import RunLog
from mergekit_calib.integrations.trackers import TrackedProgress
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.report.terminal.console import ConsoleProgress
from mergekit_calib.results.events import ProgressGroup
from mergekit_calib.sweep.coordinator import EXIT_SOME_FAILED, run_sweep


def run_source(
    text: str, out_path: str, options: MergeOptions, source: str | None = None, log: Sequence[str] = ()
) -> int:
    """Run a sweep and show its progress; what the hosts write meanwhile goes to `calibration/run.log`.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        out_path: the folder to write to.
        options: mergekit's options, as its command made them.
        source: the file that `text` came from, for messages.
        log: names of the experiment trackers to log to, from `trackers.TRACKERS`.

    Returns:
        0, or `EXIT_SOME_FAILED` if some points failed and the others were scored.

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
    return EXIT_SOME_FAILED if any(p.status == "failed" for p in frontier.points) else 0
