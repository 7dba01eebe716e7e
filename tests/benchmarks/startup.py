"""Measure how soon each command says something, scores its first batch, and refuses an unknown task.

    python tests/benchmarks/startup.py [--runs 5] [--against CHECKOUT] [--only first_line,first_batch,refusal]

Each command runs in a terminal of its own (a pseudo-terminal). `--against` names another checkout, as one that `git
worktree add` makes; both then run by turns, and the ratio of the two is printed. Times are the least of the runs, and
ratios the median of the turns. The three parts:

    first_line   seconds until the first text is on the screen
    first_batch  seconds from the command `demo` to its first batch, those of its imports alone; processor seconds
    refusal      processor seconds of refusing a recipe whose suite names `calib_mmluu`
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

_ESCAPES = re.compile(rb"\x1b(\[[0-9;?]*[a-zA-Z]|[()][AB0])")
# Runs the demo, and stops where its first batch would be run.
_FIRST_BATCH = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "mergekit_calib.scoring.suite":
            sys.meta_path.remove(self)
            from mergekit_calib.scoring import requests
            requests.run_requests = lambda *_: os._exit(17)
sys.meta_path.insert(0, Finder())
from mergekit_calib.cli import main
main(["demo", sys.argv[1]])
"""
# Runs `mergekit-yaml`, and writes down when mergekit is imported, by the clock that all processes share.
_AFTER_IMPORTS = """
import pathlib, sys, time
from mergekit.scripts.run_yaml import main
pathlib.Path(sys.argv.pop(1)).write_text(str(time.perf_counter()))
main()
"""
_ARRIVED = 17  # the exit status with which that program stops at the first batch
_IMPORTS = "import mergekit_calib.commands.demo_command, mergekit_calib.sweep.coordinator"
_AXIS = ("{min: 0.0, max: 1.5}", "{start: 0.0, stop: 1.5, step: 0.1}")  # which earlier versions take too
_FEW_POINTS = ("{start: 0.0, stop: 1.5, step: 0.1}", "[0.5]")
_FEW_ITEMS = ("- calib_demo ", "- {task: calib_demo, limit: 60} ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        recipes(place)
        for part in options.only.split(","):
            for name, measure in PARTS[part](place).items():
                report(f"{part}, {name}", measure, options.runs, options.against)


def recipes(place: Path) -> None:
    """Write the recipes of the measured commands, and run a small sweep for those that read a finished one."""
    text = (HERE / "configs" / "demo.yml").read_text(encoding="utf-8").replace(*_AXIS)
    text = text.replace("model: mergekit_calib/", f"model: {HERE}/mergekit_calib/")
    (place / "demo.yml").write_text(text)
    (place / "unknown.yml").write_text(text.replace("- calib_demo ", "- calib_mmluu "))
    (place / "small.yml").write_text(text.replace(*_FEW_POINTS).replace(*_FEW_ITEMS))
    command = [BIN / "mergekit-calib", "sweep", place / "small.yml", place / "finished"]
    subprocess.run(command, check=True, capture_output=True, env=environment(HERE))


def report(name: str, measure: Callable[[Path], float], runs: int, against: Path | None) -> None:
    """Print the least of several measurements; with `against`, also those of the other checkout, and the ratio."""
    checkouts = [HERE] if against is None else [HERE, against.resolve()]
    measure(checkouts[-1])  # reads the files from disk
    seconds = [[measure(checkout) for checkout in checkouts] for _ in range(runs)]
    ours, *theirs = [min(column) for column in zip(*seconds, strict=True)]
    beside = ""
    if theirs:
        ratio = statistics.median(before / now for now, before in seconds)
        beside = f"   before {theirs[0]:.2f} s   {ratio:.1f} times as long"
    print(f"{name:40} {ours:.2f} s{beside}", flush=True)


def first_lines(place: Path) -> dict[str, Callable[[Path], float]]:
    """Return command → a function that measures the seconds until its first text is on the screen."""
    ours, out = BIN / "mergekit-calib", place / "finished"
    commands = {
        "--help": [ours, "--help"],
        "demo": [ours, "demo", place / "out"],
        "sweep": [ours, "sweep", place / "demo.yml", place / "out"],
        "score": [ours, "score", HERE / "mergekit_calib" / "demo" / "base", "--tasks", "calib_demo"],
        "report": [ours, "report", out],
        "compare": [ours, "compare", out, "--to", place / "comparison"],
        "doctor": [ours, "doctor"],
        "mergekit-yaml": [BIN / "mergekit-yaml", place / "demo.yml", place / "out"],
    }
    measures: dict[str, Callable[[Path], float]] = {
        name: lambda checkout, command=command: until_first_text(command, checkout)
        for name, command in commands.items()
    }
    imported_at = place / "imported_at"
    timed = [sys.executable, "-c", _AFTER_IMPORTS, imported_at, place / "demo.yml", place / "out"]

    def after_imports(checkout: Path) -> float:
        began = time.perf_counter()
        return began + until_first_text(timed, checkout) - float(imported_at.read_text())

    return {**measures, "mergekit-yaml, after its imports": after_imports}


def first_batch(place: Path) -> dict[str, Callable[[Path], float]]:
    """Return functions that measure the demo up to its first batch, and its imports alone."""

    def until_batch(measure: Callable[..., float], checkout: Path) -> float:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            return measure([sys.executable, "-c", _FIRST_BATCH, Path(folder) / "out"], checkout, expected=_ARRIVED)

    imports: list[object] = [sys.executable, "-c", _IMPORTS]
    return {
        "demo": lambda checkout: until_batch(seconds_of, checkout),
        "imports": lambda checkout: seconds_of(imports, checkout),
        "demo, processor": lambda checkout: until_batch(processor_seconds, checkout),
        "imports, processor": lambda checkout: processor_seconds(imports, checkout),
    }


def refusals(place: Path) -> dict[str, Callable[[Path], float]]:
    """Return command → a function that measures the processor time of refusing an unknown task."""
    ours = [BIN / "mergekit-calib", "sweep", place / "unknown.yml", place / "out"]
    theirs = [BIN / "mergekit-yaml", place / "unknown.yml", place / "out"]
    own = [sys.executable, "-c", "import mergekit.scripts.run_yaml"]
    return {
        "mergekit-calib sweep": lambda checkout: processor_seconds(ours, checkout, expected=1),
        "mergekit-yaml": lambda checkout: processor_seconds(theirs, checkout, expected=1),
        "mergekit's own imports": lambda _: processor_seconds(own, HERE, MERGEKIT_CALIB_DISABLE="1"),
    }


def environment(checkout: Path, **more: str) -> dict[str, str]:
    """Return the environment in which a checkout's package is used instead of the installed one."""
    return {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1", "TERM": "xterm-256color", **more}


def until_first_text(command: list[object], checkout: Path) -> float:
    """Return the seconds until a command shows a visible character in a terminal; it is stopped then."""
    began = time.perf_counter()
    process, screen = pty.fork()
    if process == 0:
        os.chdir(tempfile.gettempdir())
        os.execve(str(command[0]), [str(part) for part in command], environment(checkout))
    try:
        shown = b""
        while not _ESCAPES.sub(b"", shown).strip():
            if not select.select([screen], [], [], 120)[0]:
                raise SystemExit(f"{command} shows nothing")
            shown += os.read(screen, 4096)
        return time.perf_counter() - began
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(screen)


def seconds_of(command: list[object], checkout: Path, expected: int = 0, **more: str) -> float:
    """Return the seconds of a command that ends with an expected exit status."""
    began = time.perf_counter()
    _ended(command, checkout, expected, more)
    return time.perf_counter() - began


def processor_seconds(command: list[object], checkout: Path, expected: int = 0, **more: str) -> float:
    """Return the processor time of a command and its children, user and system."""
    before = os.times()
    _ended(command, checkout, expected, more)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _ended(command: list[object], checkout: Path, expected: int, more: dict[str, str]) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment(checkout, **more),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != expected:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")


PARTS: dict[str, Callable[[Path], dict[str, Callable[[Path], float]]]] = {
    "first_line": first_lines,
    "first_batch": first_batch,
    "refusal": refusals,
}

if __name__ == "__main__":
    main()
