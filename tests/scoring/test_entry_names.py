"""A suite entry that is a YAML file has the name of the task or group in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.small_tasks import CHOICES, QUESTIONS
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import Seeds, SuiteEntry
from mergekit_calib.scoring.entry_names import named_entries
from mergekit_calib.scoring.loading import load_entries
from mergekit_calib.scoring.suite import Suite


def name_of(task: str) -> str:
    return named_entries([SuiteEntry(task=task)])[0].name


def file_with(folder: Path, text: str, name: str = "some file.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("task: sums\n", "sums"),
        ("task: sums\ndoc_to_text: !function nowhere.text\n", "sums"),
        ("include: sub/base.yaml\n", "included"),
        ("include: sub/base.yaml\ntask: its_own\n", "its_own"),
        ("group: arithmetic\ntask: [calib_demo, calib_mmlu]\n", "arithmetic"),
    ],
)
def test_a_file_has_the_name_of_its_task_or_group(tmp_path, text, name) -> None:
    (tmp_path / "sub").mkdir()
    file_with(tmp_path / "sub", "task: included\n", "base.yaml")

    assert name_of(file_with(tmp_path, text)) == name


@pytest.mark.parametrize("text", ["colour: blue\n", "task: [a, b]\n", "- a list\n", "{"])
def test_a_file_that_names_no_task_keeps_its_path_until_loading_it_fails(tmp_path, text) -> None:
    path = file_with(tmp_path, text)

    assert name_of(path) == path
    with pytest.raises(RecipeError, match=r"some file\.yaml cannot be loaded"):
        load_entries([SuiteEntry(task=path)], Seeds())


@pytest.mark.parametrize("task", ["calib_demo", "nowhere/mine.yaml"])
def test_a_task_of_lm_evals_and_a_missing_file_are_named_as_in_the_recipe(task) -> None:
    assert name_of(task) == task


def test_a_name_changes_neither_what_is_loaded_nor_the_description_that_stored_scores_are_found_by(write_task) -> None:
    path = write_task("sums", QUESTIONS, **CHOICES)
    suite = Suite.load([SuiteEntry(task=path, limit=3)])

    (described,) = suite.describe()

    assert described["entry"] == {**dict.fromkeys(described["entry"]), "task": path, "limit": 3}
    assert suite.summaries()[0].name == suite.tasks[0].entry == "sums"
    assert suite.entry_of == {"sums": "sums"}


def test_two_entries_of_the_same_name_are_an_error_before_any_task_is_loaded(tmp_path) -> None:
    path = file_with(tmp_path, "task: calib_demo\ndataset_path: not/there\n")

    with pytest.raises(
        RecipeError, match=r"calib_demo and .*some file\.yaml have the same name, 'calib_demo'"
    ) as caught:
        load_entries([SuiteEntry(task="calib_demo"), SuiteEntry(task=path)], Seeds())

    assert caught.value.key == "calibration.suite[1].task"


@pytest.mark.parametrize("name", ["suite", "macro"])
def test_a_task_cannot_have_the_name_of_all_tasks_together(tmp_path, name) -> None:
    with pytest.raises(RecipeError, match=f"is named '{name}'.*rename the task"):
        name_of(file_with(tmp_path, f"task: {name}\n"))
