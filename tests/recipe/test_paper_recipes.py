"""The eighteen recipes that `configs/paper/make_recipes.py` writes are sweeps whose points mergekit accepts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mergekit.config import MergeConfiguration

from mergekit_calib.merging.method import registered_signatures
from mergekit_calib.recipe import parse_sweep

COMMAND = Path(__file__).resolve().parents[2] / "configs" / "paper" / "make_recipes.py"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("paper") / "recipes"
    done = subprocess.run([sys.executable, COMMAND, folder], capture_output=True, text=True, check=True)
    paths = sorted(folder.glob("*.yml"))
    assert sorted(done.stdout.split()) == [str(path) for path in paths]
    return {path.stem: path.read_text() for path in paths}


def test_there_are_eighteen_that_differ(recipes):
    assert len(recipes) == len(set(recipes.values())) == 18


def test_each_is_a_sweep_by_curve_over_whole_benchmarks_whose_points_mergekit_accepts(recipes):
    seen = set()
    for name, text in recipes.items():
        sweep = parse_sweep(text, registered_signatures(), name)
        seen.add((sweep.parent_models["base"], sweep.method, sweep.calibration.suite[0].apply_chat_template))
        assert (sweep.axes["lambda"].low, sweep.axes["lambda"].high) == (0.0, 2.0)
        assert sweep.calibration.search.strategy == "curve"
        assert all(entry.limit is None for entry in sweep.calibration.suite)
        for value in (0.5, 1.5, 2.0):
            MergeConfiguration.model_validate(sweep.point({"lambda": value}).recipe)
    assert len(seen) == 18
