"""The door from a host's command to the coordinator: text in, exit status out."""

from __future__ import annotations

from mergekit.options import MergeOptions

from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.report.console import ConsoleProgress
from mergekit_calib.sweep import EXIT_SOME_FAILED, run_sweep


def run_source(text: str, out_path: str, options: MergeOptions, source: str | None = None) -> int:
    """Run the sweep in `text`, printing as it goes.

    Args:
        text: a mergekit recipe with a `calibration:` block.
        out_path: the folder to write to.
        options: mergekit's options, as its command made them.
        source: the file that `text` came from, for messages.

    Returns:
        0, or `EXIT_SOME_FAILED` where a point failed and the others were scored.

    Raises:
        CalibError: something is wrong that the user can mend.
    """
    register()
    sweep = parse_sweep(text, registered_signatures(), source)
    frontier = run_sweep(sweep, out_path, options, ConsoleProgress(quiet=options.quiet))
    return EXIT_SOME_FAILED if any(p.status == "failed" for p in frontier.points) else 0
