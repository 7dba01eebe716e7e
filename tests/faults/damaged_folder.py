"""Damage each file of a finished run in each way, run the same command again, and print how it ends.

    python tests/faults/damaged_folder.py [--rounds] [--only NAME] [--pictures]

`--rounds` damages all files at once, each in another way, in as many rounds as there are ways: quicker, and what
matters when a disk fails. `--only` takes the files whose name holds NAME. `--pictures` draws pictures too, which takes
most of the time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from faults.damage import DAMAGES, Aftermath, Damage, FinishedRun, rerun  # noqa: E402 (the path is set first)
from faults.damage_run import finished_run, without_pictures  # noqa: E402


def rounds(run: FinishedRun) -> list[dict[str, Damage]]:
    """Return as many rounds as there are damages; in each, every file is damaged in another way.

    `sweep.yml` and `frontier.json` are damaged in turn: if nothing says whose run a folder holds, it is left alone.
    """
    taken = []
    for number in range(2 * len(DAMAGES)):
        spared = "calibration/sweep.yml" if number % 2 else "calibration/frontier.json"
        names = [name for name in run.files if name != spared]
        taken.append({name: DAMAGES[(i + number) % len(DAMAGES)] for i, name in enumerate(names)})
    return taken


def main() -> int:
    """Run all cases, print a line for each that does not end well, and a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--pictures", action="store_true")
    given = parser.parse_args()
    ends = Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as scratch, nullcontext() if given.pictures else without_pictures():
        run = finished_run(Path(scratch))
        if given.rounds:
            cases = rounds(run)
        else:
            cases = [{name: damage} for name in run.files if given.only in name for damage in DAMAGES]
        for number, damages in enumerate(cases):
            to = Path(scratch) / f"case{number}"
            to.mkdir()
            aftermath = rerun(run, damages, to)
            kind = aftermath.kind.partition(":")[0]
            ends["all files" if given.rounds else next(iter(damages.values())).__name__, kind] += 1
            if kind not in ("same", "refused"):
                _explain(damages, aftermath)
    print(f"\n{len(run.files)} files, {len(cases)} runs")
    for (damage, kind), n in sorted(ends.items()):
        print(f"{damage:20} {kind:10} {n}")
    return 0 if all(kind in ("same", "refused") for _, kind in ends) else 1


def _explain(damages: dict[str, Damage], aftermath: Aftermath) -> None:
    what = ", ".join(f"{name} {damage.__name__}" for name, damage in damages.items())
    print(f"{what[:300]}\n  {aftermath.kind}\n  {aftermath.lines[-1500:]}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
