"""Let a disk be full from each write of a small sweep on, free it, and run again; exit status 1 if any end is wrong.

    python tests/faults/full_disk.py [--every 1] [--first 0]

The disk is a small tmpfs, so this needs the right to mount one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from faults.disks import outcome, small_disk  # noqa: E402 (the path is set first)
from faults.kills import audit_kills  # noqa: E402
from faults.warm_sweeps import result, warm_sweeps  # noqa: E402


def main() -> int:
    """Fill the disk and run again, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, warm_sweeps(Path(scratch)) as sweeps:
        events = audit_kills(sweeps, Path(scratch) / "undisturbed")
        expected = result(Path(scratch) / "undisturbed")
        chosen = events[given.first :: given.every]
        ended = good = 0
        started = time.monotonic()
        with small_disk(Path(scratch) / "disk") as disk:
            for event in chosen:
                was_ended, wrong = outcome(sweeps, event, disk, expected)
                ended, good = ended + was_ended, good + (not wrong)
                for line in wrong:
                    print(f"{event}: {line}", flush=True)
    print("| writes | tried | ended by the full disk | all well | seconds |\n| ---: | ---: | ---: | ---: | ---: |")
    print(f"| {len(events)} | {len(chosen)} | {ended} | {good} | {time.monotonic() - started:.0f} |")
    return int(good < len(chosen))


if __name__ == "__main__":
    raise SystemExit(main())
