"""The names that are read from YAML files without lm-eval are those of lm-eval's own index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Entry, Kind

from lm_eval_tasks import TASKS_DIR
from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.scoring.known_tasks import check_names, definitions, every_definition, locate

# File → text. Most define what their names say; a file whose name starts with `_` is there to be included.
ODD_FILES = {
    "plain.yaml": "task: plain # a comment\ntag: [one, two]\n",
    "quoted.yaml": '"task": "quoted"\n"tag": \'three\'\n',
    "hyphens.yaml": "task: with-hyphens.and_dots/and_slashes+\n",
    "long.yaml": "task:\n  long\ntag:\n- four\n- five  # a comment\n",
    "commented.yaml": "# a comment\n\n  # another\ntask: commented\n#task: not_this\n",
    "twice.yaml": "task: first\ntask: second\n",
    "windows.yaml": "task: windows\r\ntag:\r\n  - six\r\n",
    "indented.yaml": "  task: indented\n  tag: seven\n",
    "flow.yaml": "{task: flow, tag: eight}\n",
    "document.yaml": "---\ntask: document\n",
    "accents.yaml": "task: größe\n",
    "anchored.yaml": "description: &a anchored\ntask: *a\n",
    "merged.yaml": "base: &b {tag: nine}\ntask: merged\n<<: *b\n",
    "in_text.yaml": "doc_to_text: |\n  task: not_this\n  tag: nor_this\ntask: in_text\n",
    "class.yaml": "class: !function utils.Task\ntask: python_task\n",
    "class_and_group.yaml": "class: !function utils.Task\ngroup: no_group\ntask: python_too\n",
    "group.yaml": "group: a_group\ntask:\n- plain\n- {task: quoted, num_fewshot: 2}\n- group: inline\n  task: [long]\n",
    "_tagged": "tag: ten\ndoc_to_text: text\n",
    "_above": "include: _tagged\ntask: overridden\n",
    "included.yaml": "include: _above\ntask: included\n",
    "inherited.yaml": "include: [_above]\n",
    "own_tag.yaml": "include: _above\ntask: own_tag\ntag: eleven\n",
    "circle.yaml": "include: circle.yaml\ntask: circle\n",
    "missing.yaml": "include: nowhere.yaml\ntask: missing\n",
    "template.yaml": "doc_to_text: text\n",
    "empty.yaml": "",
    "list.yaml": "- task: in_a_list\n",
}


@pytest.fixture(scope="module")
def lm_evals() -> TaskManager:
    return TaskManager(include_path=str(TASKS_DIR))


def test_the_names_are_those_of_lm_evals_index(lm_evals) -> None:
    assert len(lm_evals.all_tasks) > 10_000
    assert set(every_definition()) == set(lm_evals.all_tasks)


def test_all_that_a_group_or_tag_stands_for_is_located(lm_evals) -> None:
    wrong = []
    for name in [*lm_evals.all_groups, *lm_evals.all_tags]:
        places, needed, tagged = locate([name]), set(), {}
        for entry in entries_of(name, lm_evals, {}).values():
            if entry.kind is Kind.TAG:
                tagged[entry.name] = entry.tags
            elif not str(entry.yaml_path).startswith(str(TASKS_DIR)):
                needed.add(os.path.dirname(entry.yaml_path))
        if places.folders[-1] != str(TASKS_DIR) or not needed <= set(places.folders) or places.tagged != tagged:
            wrong.append(name)
    assert wrong == []


def entries_of(name: str, manager: TaskManager, found: dict[str, Entry]) -> dict[str, Entry]:
    """Add to `found` what a name stands for, by lm-eval's index, and return it."""
    entry = manager.task_index.get(name)
    if entry is None or name in found:
        return found
    found[name] = entry
    below = entry.tags if entry.kind is Kind.TAG else members(entry.cfg["task"]) if entry.kind is Kind.GROUP else ()
    for each in below:
        entries_of(each, manager, found)
    return found


def members(tasks: Any) -> Iterator[str]:
    for item in tasks if isinstance(tasks, list) else []:
        if isinstance(item, str):
            yield item
            continue
        if "group" in item:
            yield item["group"]
        if isinstance(item.get("task"), str):
            yield item["task"]
        else:
            yield from members(item.get("task"))


@pytest.mark.parametrize("file", ODD_FILES)
def test_every_way_to_write_a_file_is_read_as_lm_eval_reads_it(file, tmp_path) -> None:
    for name in (file, *(name for name in ODD_FILES if name.startswith("_"))):
        (tmp_path / name).write_bytes(ODD_FILES[name].encode())
    manager = TaskManager(include_defaults=False, include_path=str(tmp_path))
    found = list(definitions([str(path) for path in tmp_path.glob("*.yaml")]))

    assert {each.name for each in found if not each.is_group} == set(manager.all_subtasks)
    assert {each.name for each in found if each.is_group} == set(manager.all_groups)
    assert {tag for each in found for tag in each.tags} == set(manager.all_tags)


def test_the_members_of_a_group_are_found_at_every_depth(tmp_path) -> None:
    (tmp_path / "group.yaml").write_text(ODD_FILES["group.yaml"])
    (group,) = definitions([str(tmp_path / "group.yaml")])

    assert group.members == {"plain", "quoted", "inline", "long"}


def test_what_a_groups_file_stands_for_are_its_members(tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text("group: mine\ntask: [arc_easy, glue]\n")

    assert locate([str(tmp_path / "mine.yaml")]) == locate(["arc_easy", "glue"])


@pytest.mark.parametrize(
    ("name", "near"),
    [("calib_mmluu", "'calib_mmlu'"), ("arc_eassy", "'arc_easy'"), ("leaderbord", "'leaderboard'"), ("ARC_EASY", "")],
)
def test_an_unknown_name_is_refused_with_near_ones(name, near) -> None:
    with pytest.raises(RecipeError, match=f"no task, group or tag '{name}'.*{near}.*`lm_eval ls tasks`"):
        check_names([SuiteEntry(task="mmlu"), SuiteEntry(task=name)])
