"""Run the test suites of mergekit and lm-eval with the plugin and without it, and compare every test's outcome.

    python tests/benchmarks/host_suites.py mergekit --checkout PATH
    python tests/benchmarks/host_suites.py lm-eval

Without a checkout, the sdist of the installed version is fetched from the package index. An sdist lacks some of the
helpers that its tests import: what cannot be collected is left out, and counted. Further arguments go to pytest, as
`-k "not vllm"`. The suite is run on the installed host, not on the source beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from importlib.metadata import version
from pathlib import Path

NAMES = {"mergekit": "mergekit", "lm-eval": "lm_eval"}


def tests_of(host: str, checkout: Path | None, work: Path) -> Path:
    """Return a folder that holds the host's `tests`, and none of its source, which Python would import."""
    source = checkout
    if source is None:
        download = [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "download",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary",
            ":all:",
        ]
        subprocess.run([*download, "--dest", str(work), f"{host}=={version(host)}"], check=True)
        (archive,) = work.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(work / "sdist", filter="data")
        (source,) = (work / "sdist").iterdir()
    (work / "run").mkdir()
    shutil.copytree(source / "tests", work / "run" / "tests")
    return work / "run"


def outcomes(folder: Path, disabled: bool, arguments: list[str]) -> dict[str, str]:
    """Return test → outcome of one run of pytest; a file that cannot be collected is a test of its own."""
    report = folder / "report.xml"
    environment = {k: v for k, v in os.environ.items() if k != "MERGEKIT_CALIB_DISABLE"}
    if disabled:
        environment["MERGEKIT_CALIB_DISABLE"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--continue-on-collection-errors", f"--junitxml={report}", "tests", *arguments]
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}::{case.get('name')}"] = kinds[0] if kinds else "passed"
    return found


def main() -> int:
    """Print the numbers of both runs and every test whose outcomes differ; return 1 if one differs for the worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", choices=NAMES)
    parser.add_argument("--checkout", type=Path)
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as work:
        folder = tests_of(options.host, options.checkout, Path(work))
        without = outcomes(folder, True, arguments)
        with_us = outcomes(folder, False, arguments)
    print(f"{options.host} {version(options.host)}, {len(without)} tests without the plugin")
    for name, found in (("without", without), ("with", with_us)):
        print(f"{name}: " + ", ".join(f"{n} {outcome}" for outcome, n in sorted(Counter(found.values()).items())))
    worse = 0
    for test in sorted(without.keys() | with_us.keys()):
        before, after = without.get(test, "not there"), with_us.get(test, "not there")
        if before != after:
            print(f"{test}: {before} without the plugin, {after} with it")
            worse += not (before == "not there" and after == "passed")  # a test of the method that we register
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
