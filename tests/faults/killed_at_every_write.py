"""Kill a small sweep at each write, run it again each time, and print what came of it; exit status 1 if any is wrong.

    python tests/faults/killed_at_every_write.py [--by hook|strace] [--every 1] [--first 0]

Writes are found by Python's audit hook, and those within a file and of native code by strace, where it is installed.
`--every 4 --first 1` takes every fourth, from the second on, so that several commands can share the work.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from faults.kills import audit_kills, outcome, syscall_kills  # noqa: E402 (the path is set first)
from faults.warm_sweeps import result, warm_sweeps  # noqa: E402


def main() -> int:
    """Kill and run again, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--by", choices=["hook", "strace"], nargs="+", default=["hook", "strace"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    table, is_wrong = [], False
    with tempfile.TemporaryDirectory() as scratch, warm_sweeps(Path(scratch)) as sweeps:
        for way in given.by:
            if way == "strace" and shutil.which("strace") is None:
                print("strace is not installed")
                continue
            undisturbed = Path(scratch) / f"undisturbed-{way}"
            kills = (audit_kills if way == "hook" else syscall_kills)(sweeps, undisturbed)
            expected = result(undisturbed)
            landed = good = 0
            chosen = kills[given.first :: given.every]
            started = time.monotonic()
            for number, kill in enumerate(chosen):
                was_killed, wrong = outcome(sweeps, kill, Path(scratch) / f"{way}-{number}", expected)
                landed, good = landed + was_killed, good + (not wrong)
                for line in wrong:
                    print(f"{way} {kill}: {line}", flush=True)
            is_wrong |= good < len(chosen)
            table.append((way, len(kills), len(chosen), landed, good, time.monotonic() - started))
    print(
        "\n| found by | writes | kills tried | landed | ended as an undisturbed run | seconds |\n| --- |"
        + " ---: |" * 5
    )
    for way, n, tried, landed, good, seconds in table:
        print(f"| {way} | {n} | {tried} | {landed} | {good} | {seconds:.0f} |")
    return int(is_wrong)


if __name__ == "__main__":
    raise SystemExit(main())
