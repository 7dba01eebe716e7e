"""The tasks, groups and tags that lm-eval's and our YAML files define, found without importing lm-eval.

lm-eval's own index parses all of its 14,000 files whole. Here only the lines of a few keys are read, a tenth of the
work, so that a misspelt name is refused within a second, and lm-eval is then given only the folders that it needs. Most
tasks stand in a file of their own name; then no other file is read.

Relies on lm-eval 0.4.13 for the rules of `TaskIndex.process_cfg` (what a file defines), `load_yaml` (includes) and
`TaskFactory` (what a group holds).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from lm_eval_tasks import TASKS_DIR
from mergekit_calib.errors import RecipeError, near_names
from mergekit_calib.recipe import SuiteEntry

_OURS = str(TASKS_DIR)
_IGNORED_FOLDERS = {"__pycache__", ".ipynb_checkpoints"}
_KEYS = ("class", "group", "include", "tag", "task")

# A file in block style: its first line that is not blank or a comment starts with a key, at the margin.
_IN_BLOCK_STYLE = re.compile(rb"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[A-Za-z_]\w*[ ]*:")
# A key of ours at the margin, its value on that line, and the lines below that belong to it.
_ENTRY = re.compile(
    rb"^[\"']?(class|group|include|tag|task)[\"']?[ ]*:([^\n]*(?:\n(?:[ \t\r#-][^\n]*)?)*)", re.MULTILINE
)
# A plain scalar on one line; YAML reads it as a string unless it is one of the words below.
_STRING = re.compile(rb"[ \t]+([A-Za-z_][\w.+/-]*)[ \t\r]*(?:[ \t]#[^\n]*)?\s*", re.ASCII)
_NO_STRINGS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


@dataclass(frozen=True)
class Definition:
    """What one YAML file defines.

    Attributes:
        path: the file.
        name: the name of the task or group in it.
        is_group: whether it is a group.
        tags: the tags of the task.
        members: what the group holds: tasks, groups and tags.
    """

    path: str
    name: str
    is_group: bool
    tags: frozenset[str]
    members: frozenset[str]


@dataclass(frozen=True)
class Places:
    """Where lm-eval finds some tasks.

    Attributes:
        folders: folders for `TaskManager`, where a later one overrides an earlier one; ours is always the last.
        tagged: tag → its tasks, for the tags among the names that were asked for and among their groups' members.
    """

    folders: list[str]
    tagged: dict[str, set[str]]


Index = Mapping[str, Sequence[Definition]]
"""Name of a task, group or tag → the files that define it; for a tag, those of the tasks that have it."""


def check_names(entries: Sequence[SuiteEntry], source: str | None = None) -> None:
    """Check that lm-eval has the tasks of a suite.

    Args:
        entries: the suite, as in the recipe.
        source: the file that the entries were read from, for messages.

    Raises:
        RecipeError: an entry is no file, and no task, group or tag of that name exists; the message has near names.
    """
    for i, entry in enumerate(entries):
        if problem := _name_problem(entry.task):
            raise RecipeError(f"calibration.suite[{i}].task", problem, source)


def is_file(task: str) -> bool:
    """Return whether an entry's task is the path of a YAML file, which need not exist."""
    return task.endswith((".yaml", ".yml"))


def locate(names: Sequence[str]) -> Places:
    """Return where the files of `names` are, and of everything that groups and tags among them stand for.

    Args:
        names: tasks, groups, tags, or paths of files; one that does not exist is nowhere.
    """
    members = [member for path in filter(is_file, names) for each in definitions([path]) for member in each.members]
    wanted = {*members, *(name for name in names if not is_file(name))}
    reached = _reached(wanted, _likely(wanted))
    # Of a tag, and of a group in lm-eval's files, parts may be in files of any name.
    if any(not any(_is_whole(name, each) for each in found) for name, found in reached.items()):
        reached = _reached(wanted, every_definition())
    folders = {os.path.dirname(each.path) for found in reached.values() for each in found}
    tagged = {name: {each.name for each in found if name in each.tags} for name, found in reached.items()}
    return Places(
        [*sorted((folder for folder in folders if not folder.startswith(_OURS)), reverse=True), _OURS],
        {name: tasks for name, tasks in tagged.items() if tasks},
    )


@functools.cache
def every_definition() -> Index:
    """Return the index of all tasks, groups and tags of lm-eval and ours."""
    return _index([*definitions(_yaml_files(_lm_evals_folder())), *_our_definitions()])


def definitions(paths: Iterable[str]) -> Iterator[Definition]:
    """Yield what YAML files define; a broken file, which lm-eval leaves out too, defines nothing."""
    included: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            settings = _with_includes(path, included)
            is_group = "group" in settings and "class" not in settings
            name = settings["group" if is_group else "task"]
            tags = () if is_group else _strings(settings.get("tag"))
            members = _strings(settings.get("task")) if is_group else ()
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
            continue
        if isinstance(name, str):
            yield Definition(path, name, is_group, frozenset(tags), frozenset(members))


def _name_problem(name: str) -> str | None:
    """Return an error message unless `name` is a task, group or tag, or a file."""
    if is_file(name):
        return None if Path(name).expanduser().is_file() else f"there is no file {name}"
    if name in _likely({name}) or name in (known := every_definition()):
        return None
    return f"lm-eval has no task, group or tag {name!r}{near_names(name, known)}; `lm_eval ls tasks` lists them"


def _likely(names: set[str]) -> Index:
    """Return the index of our files, and of those of lm-eval's that have one of the names."""
    files = {f"{name}.yaml" for name in names}
    named = [path for path in _yaml_files(_lm_evals_folder()) if os.path.basename(path) in files]
    return _index([*definitions(named), *_our_definitions()])


@functools.cache
def _our_definitions() -> list[Definition]:
    return list(definitions(_yaml_files(_OURS)))


def _index(found: Iterable[Definition]) -> Index:
    index: dict[str, list[Definition]] = {}
    for each in found:
        for name in {each.name, *each.tags}:
            index.setdefault(name, []).append(each)
    return index


def _reached(names: Iterable[str], index: Index) -> dict[str, Sequence[Definition]]:
    """Return what defines `names` and, again and again, the members of the groups among them; of some, nothing."""
    reached: dict[str, Sequence[Definition]] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in reached:
            reached[name] = index.get(name, ())
            left += [member for each in reached[name] if each.name == name for member in each.members]
    return reached


def _is_whole(name: str, found: Definition) -> bool:
    """Return whether nothing that `name` stands for can be missing from an index of likely files that has `found`."""
    return found.path.startswith(_OURS) or (found.name == name and not found.is_group)


def _lm_evals_folder() -> str:
    """Return the folder of lm-eval's tasks; lm-eval is not imported."""
    spec = find_spec("lm_eval")
    assert spec is not None, "lm-eval, which this package depends on, is not installed"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "tasks")


@functools.cache
def _yaml_files(folder: str) -> list[str]:
    """Return the YAML files in a folder and below it that lm-eval reads."""
    paths = []
    for parent, below, files in os.walk(folder):
        below[:] = [name for name in below if name not in _IGNORED_FOLDERS]
        paths += [os.path.join(parent, name) for name in files if name.endswith(".yaml")]
    return paths


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings in a value of `tag`, or of a group's `task`, whose items may name tasks or groups in turn."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        yield from _strings([value.get("group"), value.get("task")])


def _with_includes(path: str, included: dict[str, dict[str, Any]], above: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a file's settings for `_KEYS`, with those of the files that it includes; `included` keeps the latter."""
    if path in above:
        raise ValueError(f"{path} includes itself")
    settings = _settings(Path(path).expanduser().read_bytes())
    includes = settings.pop("include", [])
    merged: dict[str, Any] = {}
    for name in includes if isinstance(includes, list) else [includes]:
        inner = os.path.normpath(os.path.join(os.path.dirname(path), name))
        if inner not in included:
            included[inner] = _with_includes(inner, included, (*above, path))
        merged |= included[inner]
    return merged | settings


def _settings(data: bytes) -> dict[str, Any]:
    """Return the settings for `_KEYS` in a YAML file's contents."""
    if not _IN_BLOCK_STYLE.match(data) or b"<<:" in data or b": *" in data:  # merge keys, aliases
        whole = yaml.load(data, _Loader)
        return {key: whole[key] for key in _KEYS if key in whole} if isinstance(whole, dict) else {}
    settings: dict[str, Any] = {}
    for key, value in _ENTRY.findall(data):
        string = _STRING.fullmatch(value)
        text = string[1].decode() if string else ""
        if not text or text.lower() in _NO_STRINGS:
            settings |= yaml.load(key + b":" + value, _Loader)
        else:
            settings[key.decode()] = text
    return settings


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A YAML loader that reads `!function` as text."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
