"""The door from a host's command to the coordinator: text in, exit status out."""

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
    """Run the sweep in `text`, showing how it goes; what the hosts say meanwhile goes to `calibration/run.log`.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        out_path: the folder to write to.
        options: mergekit's options, as its command made them.
        source: the file that `text` came from, for messages.
        log: names of the experiment trackers to log to, of `tracking.TRACKERS`.

    Returns:
        0, or `EXIT_SOME_FAILED` where a point failed and the others were scored.

    Raises:
        CalibError: something is wrong that the user can mend.
    """
    register()
    sweep = parse_sweep(text, registered_signatures(), source)
    console = ConsoleProgress(quiet=options.quiet, out_path=out_path)
    noise = RunLog(out_path, console.note, options.verbosity)
    console.show_latest(lambda: noise.latest)
    with noise, console:
        trackers = [TrackedProgress(name, out_path) for name in log]
        frontier = run_sweep(sweep, out_path, options, ProgressGroup(noise, *trackers, console))
    return EXIT_SOME_FAILED if any(p.status == "failed" for p in frontier.points) else 0
