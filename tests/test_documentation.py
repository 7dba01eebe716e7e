"""The documentation names what exists: links, paths, commands, options, and recipes that parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mergekit_calib import plugins
from mergekit_calib.cli import main
from mergekit_calib.commands.plan_command import plan_command
from mergekit_calib.commands.sweep_command import sweep_command
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.recipe import parse_sweep

TOP = Path(__file__).resolve().parents[1]
FOLDERS = ("configs", "lm_eval_tasks", "mergekit_calib", "tests", ".github")
DOCUMENTS = sorted([*TOP.glob("*.md"), *(path for folder in FOLDERS for path in (TOP / folder).rglob("*.md"))])

HOMES = (TOP / "mergekit_calib", TOP / "tests/plugins/example")  # paths may be given from here, too

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"\.?\w[\w.*-]*(/[\w.*-]+)+/?|\.?\w[\w-]*/")
COMMAND = re.compile(r"\bmergekit-calib ([a-z]+)\b([^\n#]*)")


def prose(document: Path) -> str:
    return BLOCK.sub("", document.read_text(encoding="utf-8"))


def code(document: Path) -> Iterator[str]:
    text = document.read_text(encoding="utf-8")
    yield from (block for _, block in BLOCK.findall(text))
    yield from SPAN.findall(BLOCK.sub("", text))


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(document: Path) -> str:
    return str(document.relative_to(TOP))


def test_the_readme_is_short():
    assert len((TOP / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(document):
    broken = []
    for link in LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        leads_there = target.exists() and not (anchor and target.is_dir())
        if leads_there and anchor and target.suffix == ".md":
            leads_there = anchor in anchors(target)
        if not leads_there:
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_in_backticks_exist(document):
    """A path counts as one of the repository's if it begins with a folder of it, or names a Python file."""
    missing = []
    for span in SPAN.findall(prose(document)):
        if not PATH.fullmatch(span):
            continue
        first = span.split("/")[0]
        homes = [home for home in (TOP, document.parent, *HOMES) if (home / first).exists()]
        is_ours = first in FOLDERS or span.endswith(".py") or any(home != TOP for home in homes)
        if is_ours and not any([*home.glob(span.rstrip("/"))] for home in homes):
            missing.append(span)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_commands_and_their_options_exist(document):
    assert isinstance(main, click.Group)
    unknown = []
    for fragment in code(document):
        for subcommand, arguments in COMMAND.findall(fragment):
            forwarded = {"sweep": sweep_command, "plan": plan_command}  # with mergekit's own options
            command = forwarded.get(subcommand) or main.commands.get(subcommand)
            if command is None:
                unknown.append(subcommand)
                continue
            options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
            given = set(re.findall(r"(?<!\S)--[a-z_-]+", arguments))
            unknown += [f"{subcommand} {option}" for option in given - options - {"--help"}]
    assert unknown == []


@pytest.mark.parametrize("rule", sorted(plugins.selection_rules()))
def test_the_table_of_rules_has_every_rule_with_its_options(rule):
    text = (TOP / "configs" / "README.md").read_text(encoding="utf-8")
    table = text.partition("| `rule` | it chooses |")[2].partition("\n\n")[0]
    (options,) = re.findall(rf"^\| `{rule}` \|[^|]+\|([^|]+)\|$", table, re.MULTILINE)
    named = set(re.findall(r"(?:^|\. )`(\w+)` \(", options.strip()))
    assert named == set(plugins.selection_rules()[rule].model_fields)


def test_the_table_of_recipes_has_every_recipe():
    text = (TOP / "configs" / "README.md").read_text(encoding="utf-8").partition("## The block")[0]
    assert set(re.findall(r"\]\((\w[\w.]*\.yml)\)", text)) == {path.name for path in TOP.glob("configs/*.yml")}


def recipes() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for language, block in BLOCK.findall(document.read_text(encoding="utf-8")):
            if language == "yaml" and "calibration:" in block and "merge_method:" in block:
                yield name(document), block


def test_the_recipes_in_the_documentation_parse():
    register()
    shown = list(recipes())
    assert len(shown) >= 3
    for where, recipe in shown:
        assert parse_sweep(recipe, registered_signatures(), where).axes
