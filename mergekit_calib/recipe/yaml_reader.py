"""The one reader of a recipe's YAML: bounded in size, depth and aliases, and strict about what YAML lets pass silently.

What it accepts, it reads as PyYAML does, so mergekit sees the same data.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import yaml

from mergekit_calib.errors import RecipeError, one_line, shown

MOST_CHARACTERS = 256_000
MOST_VALUES = 10_000  # with those of each alias counted again; a recipe of 100 slices has some 2,000
WHOLE_FILE = "(whole file)"  # in messages, in place of a key
_MOST_LEVELS = 32  # of nesting; the deepest place in a recipe is at some 10
_LONGEST_KEY = 200
_GREATEST_INTEGER = 2**63
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}

_SCALARS = yaml.constructor.SafeConstructor()
_CONSTRUCTORS: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    "int": _SCALARS.construct_yaml_int,
    "float": _SCALARS.construct_yaml_float,
    "bool": _SCALARS.construct_yaml_bool,
}

# What YAML does not allow in text, except in escapes.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, in C where it is built: ten times as fast."""


class _Refused(Exception):
    """The YAML is not one that recipes are written in.

    Args:
        problem: what was found and what would work.
        mark: the place, if it is known.
    """

    def __init__(self, problem: str, mark: Any) -> None:
        self.problem, self.mark = problem, mark
        super().__init__(problem)


def read_yaml(text: str, source: str | None = None) -> Any:
    """Return the data in a recipe's text; the caller must not change it.

    Args:
        text: the text.
        source: its file, for messages.

    Raises:
        RecipeError: it is not YAML, or too large; or it holds what YAML would let pass and no recipe means: a key
            twice, a key that is not text, a date, several documents. The error has the line and column.
    """
    try:
        return _data(text)
    except _Refused as refused:
        mark = refused.mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise RecipeError(WHOLE_FILE, f"{where}{refused.problem}", source) from None


@functools.lru_cache(maxsize=1)  # the hook, the check before the imports, and the sweep all need it
def _data(text: str) -> Any:
    if len(text) > MOST_CHARACTERS:
        raise _Refused(f"has {len(text):,} characters; a recipe can have {MOST_CHARACTERS:,}", None)
    if (found := _UNPRINTABLE.search(text, text.startswith("\ufeff"))) is not None:
        raise _Refused(f"character U+{ord(found.group()):04X} cannot stand in YAML", _mark(text, found.start()))
    try:
        _check_events(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Checker().check(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        raise _Refused(_explained(problem, text), problem.problem_mark or problem.context_mark) from None
    except yaml.YAMLError as problem:
        raise _Refused(f"is not valid YAML: {problem}", None) from None


def _check_events(text: str) -> None:
    """Refuse deep nesting and too many values before PyYAML builds it, which it does by recursion."""
    depth = n_values = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MOST_LEVELS:
                raise _Refused(f"is nested more than {_MOST_LEVELS} levels deep", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        n_values += isinstance(event, yaml.NodeEvent)
        if n_values > 2 * MOST_VALUES:  # keys and values
            raise _Refused(f"there are more than {MOST_VALUES:,} values; shorten the recipe", event.start_mark)


class _Checker:
    """Counts the values below each node, and refuses what no recipe means."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}  # id of a node → values in it
        self._open: set[int] = set()

    def check(self, node: yaml.Node, depth: int = 0) -> int:
        """Return how many values a node stands for, where each alias stands for all of its values.

        Raises:
            _Refused: there are too many, or one is not a value that recipes have.
        """
        if id(node) in self._open:
            raise _Refused("an alias (`*…`) stands inside the value that it repeats", node.start_mark)
        if (size := self._sizes.get(id(node))) is not None:
            return size
        if depth > _MOST_LEVELS:
            raise _Refused(f"aliases (`*…`) nest values more than {_MOST_LEVELS} levels deep", node.start_mark)
        self._open.add(id(node))
        size = 1 + sum(self.check(child, depth + 1) for child in self._children(node))
        if size > MOST_VALUES:
            raise _Refused(
                f"with aliases (`*…`) expanded, there are more than {MOST_VALUES:,} values; shorten the recipe",
                node.start_mark,
            )
        self._open.remove(id(node))
        self._sizes[id(node)] = size
        return size

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if node.tag not in _PLAIN_TAGS:
            raise _Refused(_problem_of_tag(node), node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
            return []
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        assert isinstance(node, yaml.MappingNode)
        _check_keys(node)
        return [value for _, value in node.value]


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Mark] = {}
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        if key.tag != f"{_TAG}str" or not isinstance(key, yaml.ScalarNode):
            what = (
                f"key {shown(key.value, 40)} is" if isinstance(key, yaml.ScalarNode) else "a list or mapping as key is"
            )
            hint = "; a placeholder is written ${…}, in quotes" if isinstance(key, yaml.MappingNode) else ""
            raise _Refused(f"{what} not text: write it in quotes if it is a name{hint}", key.start_mark)
        if not key.value.strip():
            raise _Refused("a key is empty", key.start_mark)
        if len(key.value) > _LONGEST_KEY:
            raise _Refused(f"key {shown(key.value, 40)} has {len(key.value):,} characters", key.start_mark)
        if key.value in seen:
            first = seen[key.value].line + 1
            problem = f"key {shown(key.value)} is given twice, first in line {first}; YAML would use the last"
            raise _Refused(f"{problem}: leave one out", key.start_mark)
        seen[key.value] = key.start_mark


def _check_scalar(node: yaml.ScalarNode) -> None:
    """Refuse a value that PyYAML cannot make, or whose size the rest of the program would stumble over."""
    name = node.tag.removeprefix(_TAG)
    if name == "int":
        if len(node.value) > 40:
            raise _Refused(f"{shown(node.value, 40)} is too large a number", node.start_mark)
        if ":" in node.value:
            raise _Refused(f"{node.value!r} is a number of base 60 in YAML: write it in quotes", node.start_mark)
    if name not in _CONSTRUCTORS:
        return
    try:
        value = _CONSTRUCTORS[name](node)
    except (ValueError, LookupError, OverflowError):
        raise _Refused(f"{shown(node.value, 40)} cannot be read as {name}", node.start_mark) from None
    if name == "int" and abs(value) >= _GREATEST_INTEGER:
        raise _Refused(f"{shown(node.value, 40)} is too large a number", node.start_mark)


def _problem_of_tag(node: yaml.Node) -> str:
    name = node.tag.removeprefix(_TAG)
    if name == "timestamp":
        return f"{shown(node.value, 40)} is a date in YAML: write it in quotes if it is text"
    if name == "value":
        return "`=` has a meaning of its own in YAML: write it in quotes"
    return f"the tag {one_line(node.tag.replace(_TAG, '!!'), 60)} is not used in recipes: leave it out"


def _explained(problem: yaml.MarkedYAMLError, text: str) -> str:
    """Return what is wrong in a text that is not YAML, with the likeliest remedy."""
    said = one_line(problem.problem or problem.context or "", 150)
    mark = problem.problem_mark
    before = text[max(mark.index - 1, 0) : mark.index] if mark is not None else ""
    at = text[mark.index : mark.index + 1] if mark is not None else ""
    line = text.split("\n")[mark.line] if mark is not None and mark.line < text.count("\n") + 1 else ""
    placeholder = re.search(r"\$\{[^}\n]*\}?", line)
    if placeholder is not None and (before + at == "${" or re.search(r"[\[{,].*\$\{", line)):
        written = one_line(placeholder.group(), 60)
        return f'write the placeholder in quotes, "{written}": inside [ ] or {{ }}, YAML reads {{ as a mapping'
    if at == "\t" or before == "\t" or line.startswith("\t"):
        return "a tab cannot indent a line in YAML: use spaces"
    if "another document" in said or "document start" in said:
        return "a second document begins here (`---`); a recipe is one document"
    if "undefined alias" in said:
        return f"is not valid YAML: {said}: text that begins with * needs quotes"
    if at and at in "@`%*&!|>" and "start" in said:
        return f"is not valid YAML: text that begins with {at} needs quotes"
    if "mapping values are not allowed" in said:
        return (
            "is not valid YAML: a `:` followed by a space is not allowed here; is the line indented as its neighbours?"
        )
    start = problem.context_mark
    begun = (
        f" (begun in line {start.line + 1})"
        if start is not None and mark is not None and start.line < mark.line
        else ""
    )
    if "quoted scalar" in (problem.context or "") and "end" in said:
        return f"is not valid YAML: a quotation mark is not closed{begun}"
    if mark is not None and mark.index >= len(text.rstrip()) and "flow" in (problem.context or ""):
        return f"is not valid YAML: a [ or {{ is not closed{begun}"
    return f"is not valid YAML: {said}{begun}"


def _mark(text: str, index: int) -> yaml.Mark:
    line = text.count("\n", 0, index)
    return yaml.Mark("", index, line, index - (text.rfind("\n", 0, index) + 1), None, 0)
