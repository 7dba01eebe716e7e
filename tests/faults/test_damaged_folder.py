"""Files of a finished run are damaged; the same command ends as the undisturbed run did, and says what it did again.

`python tests/faults/damaged_folder.py` damages each file in each way.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from faults.damage import DAMAGES, FinishedRun, deleted, end_of, flipped, linked, of_a_newer_version, printed, rerun
from faults.damage_run import finished_run, without_pictures
from faults.damaged_folder import rounds
from mergekit_calib.commands.report_command import rewrite_report
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations.recipe_runner import run_source
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.notebook import SweepResult
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.report.comparison_files import write_comparison
from mergekit_calib.results.events import Progress
from mergekit_calib.sweep.coordinator import run_sweep


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with without_pictures():
        yield finished_run(tmp_path_factory.mktemp("damaged"))


@pytest.mark.parametrize("number", [2, 7])
def test_a_run_whose_files_are_all_damaged_ends_as_before(run: FinishedRun, tmp_path, number):
    damages = rounds(run)[number]
    aftermath = rerun(run, damages, tmp_path)
    assert aftermath.kind == "same", aftermath.lines
    for name, damage in damages.items():
        if "/items/" in name and damage not in (deleted, flipped):  # a flipped bit may be one that nothing reads
            assert Path(name).name in aftermath.lines, (name, damage.__name__)
    assert "the model in" in aftermath.lines


@pytest.mark.parametrize("damage", [linked, of_a_newer_version])
def test_a_damaged_table_is_kept_aside_and_its_point_is_scored_again(run: FinishedRun, tmp_path, damage):
    name = next(name for name in run.files if "/lambda=0.5-" in name)
    aftermath = rerun(run, {name: damage}, tmp_path)
    assert aftermath.kind == "same", aftermath.lines
    assert "2 points of an earlier run are reused" in aftermath.lines
    assert (tmp_path / "out" / f"{name}.unreadable").is_symlink() == (damage is linked)


def with_another_setting(path: Path, elsewhere: Path) -> None:
    """The journal says that the scores of λ = 0.5 are those of λ = 1."""
    text = path.read_text()
    assert '"param_value_internal": 0.5' in text.replace('internal":0', 'internal": 0')
    path.write_text(text.replace('internal": 0.5', 'internal": 1.0').replace('internal":0.5', 'internal":1.0'))


def test_scores_are_not_taken_for_those_of_the_setting_that_a_damaged_journal_names(run: FinishedRun, tmp_path):
    assert rerun(run, {"calibration/study.log": with_another_setting}, tmp_path).kind == "same"


class Remover(Progress):
    """Deletes the output folder while a point is scored."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def scoring(self, entry: str, done: int, total: int) -> None:
        if done and self._out.exists():
            shutil.rmtree(self._out)


def test_a_folder_that_is_deleted_during_the_run_is_not_made_again_and_the_same_command_goes_on(run, tmp_path):
    out = tmp_path / "out"
    register()
    sweep = parse_sweep(run.recipe, registered_signatures(), "sweep.yml")
    with pytest.raises(CalibError, match="was deleted, moved or replaced during the run"):
        run_sweep(sweep, out, progress=Remover(out))
    assert not out.exists()
    _, problem = printed(lambda: run_source(run.recipe, str(out)))
    assert problem is None
    assert end_of(out) == run.end


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_report_and_compare_refuse_a_damaged_result_in_one_line(run: FinishedRun, tmp_path, damage):
    shutil.copytree(run.out, tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    damage(tmp_path / "out" / "calibration" / "frontier.json", tmp_path / "elsewhere")
    for read in (
        lambda: SweepResult.load(tmp_path / "out"),
        lambda: rewrite_report(tmp_path / "out", []),
        lambda: write_comparison([run.out, tmp_path / "out"], tmp_path / "comparison"),
    ):
        with pytest.raises(CalibError) as refused:
            read()
        assert "frontier.json" in str(refused.value)
        assert "command again" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_another_sweep_of_the_same_models_says_what_is_reused_left_out_and_replaced(run: FinishedRun, tmp_path):
    shutil.copytree(run.out, tmp_path / "out")
    recipe = yaml.safe_load(run.recipe)
    recipe["calibration"]["axes"] = {"lambda": [0.0, 1.0]}
    recipe["calibration"] |= {"select": {"rule": "max", "objective": "acc"}, "objectives": ["acc", "nll"]}
    record = tmp_path / "out" / "calibration" / "sweep.yml"
    resolved = yaml.safe_load(record.read_text())
    assert resolved["versions"]["lm-eval"] != "0.4.12"
    resolved["versions"]["lm-eval"] = "0.4.12"
    record.write_text(yaml.safe_dump(resolved))
    lines, problem = printed(lambda: run_source(dump_recipe(recipe), str(tmp_path / "out")))
    assert problem is None, lines
    assert "2 points of an earlier run are reused; 1 is not in this sweep and left out" in lines
    for change in ("objectives (acc, ece → acc, nll)", "axis lambda", "→ max", "the version of lm-eval"):
        assert change in lines
    fields = json.loads((tmp_path / "out" / "calibration" / "frontier.json").read_text())
    assert all(point["reused"] for point in fields["points"])
    assert not any(
        point["reused"] for point in json.loads((run.out / "calibration" / "frontier.json").read_text())["points"]
    )
