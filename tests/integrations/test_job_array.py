"""The Slurm job array of `configs/README.md`: its tasks, started at once, share the points of one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from helpers.prepared_sweeps import short_form
from mergekit_calib.recipe import dump_recipe
from mergekit_calib.results.frontier import Frontier

GUIDE = Path(__file__).resolve().parents[2] / "configs" / "README.md"


def test_two_tasks_of_the_array_share_the_points(make_model, task, tmp_path):
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n#SBATCH --array.*?)^```", GUIDE.read_text(), re.M | re.S)
    (tmp_path / "job.sh").write_text(script)
    block = {"axes": {"lambda": [0.25, 0.5, 0.75]}, "suite": [task], "n_resamples": 100}
    recipe = {**short_form(make_model(seed=0), make_model(seed=1)), "calibration": block}
    (tmp_path / "recipe.yml").write_text(dump_recipe(recipe))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tasks = [
        subprocess.Popen(
            ["bash", "job.sh"],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "SLURM_ARRAY_TASK_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in (1, 2)
    ]
    printed = [task.communicate(timeout=240)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    frontier = Frontier.load(tmp_path / "out")
    assert {p.status for p in frontier.points} == {"complete"}
    begun = Counter(re.findall(r"  (\S.*): merging and scoring", "".join(printed)))
    assert begun == Counter(p.name for p in frontier.points)
    assert all("The report is out/calibration/report.html" in text for text in printed)
