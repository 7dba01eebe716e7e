"""The other version of lm-eval gives the same numbers, in an environment of its own that holds that version alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

import pytest

import lm_eval_tasks
from mergekit_calib.versions import TESTED_WITH, installed_version

PROGRAM = Path(__file__).with_name("second_lm_eval.py")
OTHER = {"0.4": "0.5.0.dev1", "0.5": "0.4.13"}[(installed_version("lm-eval") or "")[:3]]
assert OTHER in TESTED_WITH["lm-eval"]


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (python, *arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROGRAM.parents[1])}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tempfile.gettempdir(), check=False
    )


@pytest.fixture(scope="module")
def other_python(tmp_path_factory) -> Path:
    """An interpreter that has this environment's packages, its start-up files too, and the other lm-eval before them.

    lm-eval comes from the package index, or from pip's cache; the tests that need it are skipped without either.
    """
    home = tmp_path_factory.mktemp("other")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    download = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), f"lm-eval=={OTHER}"]
    done = subprocess.run(download, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"lm-eval {OTHER} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    ours = sysconfig.get_path("purelib")
    (site / "zz_this_environment.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return python


def found_by(python: Path, folder: Path) -> dict[str, Any]:
    done = run(python, PROGRAM, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "not active" not in done.stderr
    return json.loads((folder / "found.json").read_text())


def test_tasks_cards_and_sweeps_have_the_same_numbers_with_either_version(other_python, tmp_path_factory):
    here, there = (found_by(p, tmp_path_factory.mktemp("found")) for p in (Path(sys.executable), other_python))
    assert here["version"] == installed_version("lm-eval")
    assert there["version"] == OTHER
    assert here["folder"] != there["folder"]
    for part in ("reported", "card", "points"):
        assert_same(here[part], there[part], part)
    assert set(here["points"]) == {"lambda=0", "lambda=0.5", "lambda=1"}
    assert {"ece,none", "ece_stderr,none", "acc_norm,none"} <= set(here["reported"]["listed"])
    assert "vendi_score,none" in here["reported"]["drawn"]
    assert "ece,none" not in here["reported"]["plain"]


def assert_same(one: Any, other: Any, where: str) -> None:
    """Assert that two values of JSON are equal, numbers to 1e-6; lm-eval 0.5 divides `acc_norm` by other lengths."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if not str(key).startswith("acc_norm"):
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}/{i}")
    elif isinstance(one, float | int):
        assert other == pytest.approx(one, abs=1e-6, nan_ok=True), where
    else:
        assert one == other, where


def test_the_doctor_finds_everything_working_with_the_other_version(other_python):
    done = run(other_python, "-m", "mergekit_calib", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"lm-eval {OTHER}\n" in done.stdout
    assert "✗" not in done.stdout


def test_pass_at_k_is_that_of_lm_eval_0_5(other_python):
    with_05 = other_python if OTHER.startswith("0.5") else Path(sys.executable)
    tests = PROGRAM.parents[1] / "metrics" / "test_several_answers.py"
    done = run(with_05, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", tests, "-k", "lm_eval")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_both_adapters_define_the_same_names_with_the_same_arguments():
    """Only one of them can be imported here, so their sources are compared."""
    folder = Path(lm_eval_tasks.__file__).parent / "host"
    first, second = (interface(folder / f"lm_eval_{version}.py") for version in ("04", "05"))
    assert first == second
    assert len(first) > 20


def interface(path: Path) -> dict[str, list[str] | None]:
    """Return the names in a module's `__all__`, with the arguments of those that are functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {
        node.name: [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    (names,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return {name: functions.get(name) for name in names}
