"""Which texts are sweeps, and which plain recipes mergekit must see as it does without this package."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mergekit_calib.errors import RecipeError, shown
from mergekit_calib.recipe.recipe_file import decoded, read_beginning
from mergekit_calib.recipe.short_form import SHORT_FORM
from mergekit_calib.recipe.yaml_reader import WHOLE_FILE, read_yaml

BLOCK = "calibration"
_LIKENESS = 0.75  # difflib's ratio from which a key is a misspelt `calibration`
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.MULTILINE)
_KEY = re.compile(r"([A-Za-z_]\w{4,30})[\"']?[ \t]*:")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


def has_calibration_block(text: str, source: str | None = None) -> bool:
    """Return whether a recipe's text is a sweep.

    Args:
        text: the recipe.
        source: its file, for messages.

    Raises:
        RecipeError: it is meant as a sweep and is none: not YAML, `calibration` misspelt or not at the top level, or a
            placeholder without a block that gives it values. Any other text is False, whatever is wrong with it.
    """
    if not _may_be_sweep(text):
        return False
    data = read_yaml(text, source)
    if not isinstance(data, dict):
        what = "a list" if isinstance(data, list) else shown(data, 40)
        raise RecipeError(WHOLE_FILE, f"is {what}; a recipe is a mapping, which begins as `merge_method: …`", source)
    if BLOCK in data:
        return True
    for key in data:
        if _is_nearly_block(key):
            raise RecipeError(key, f"is not a key of a recipe (did you mean {BLOCK!r}?)", source)
    for path, value in _entries(data, ""):
        if path.rpartition(".")[2] == BLOCK:
            raise RecipeError(path, "must stand at the top level of the recipe: move it to the margin", source)
        if isinstance(value, str) and path != "chat_template" and (found := _PLACEHOLDER.search(value)):
            problem = f"{shown(found.group(), 60)} needs a `{BLOCK}:` block with an axis of that name"
            raise RecipeError(path, problem, source)
    return False


def text_of_sweep(path: Path) -> str:
    """Return the text of a file that may be a sweep; empty for any other, which mergekit reads and judges itself.

    Args:
        path: a regular file.

    Raises:
        RecipeError: it may be a sweep, and is too large or not UTF-8.
    """
    try:
        data = read_beginning(path)
    except RecipeError:
        return ""
    # Text in UTF-16 has a zero in every letter.
    return decoded(data, str(path)) if _may_be_sweep(data.decode("utf-8", "replace").replace("\0", "")) else ""


def is_short_form(text: str, source: str | None = None) -> bool:
    """Return whether a recipe's text names the merge method `calibration_sweep`."""
    if SHORT_FORM not in text or not _may_be_sweep(text):
        return False
    data = read_yaml(text, source)
    return isinstance(data, dict) and data.get("merge_method") == SHORT_FORM


def _may_be_sweep(text: str) -> bool:
    """Return False for a text that cannot be a sweep, found without reading it as YAML, which may be broken."""
    text = _COMMENT.sub("", text)
    return "${" in text or SHORT_FORM in text or any(map(_is_nearly_block, set(_KEY.findall(text))))


def _is_nearly_block(key: str) -> bool:
    return len(key) <= 30 and difflib.SequenceMatcher(None, key.casefold(), BLOCK).ratio() >= _LIKENESS


def _entries(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of every entry below a node."""
    entries = (
        [(f"{path}.{key}" if path else key, value) for key, value in node.items()] if isinstance(node, dict) else []
    )
    entries += [(f"{path}[{i}]", value) for i, value in enumerate(node)] if isinstance(node, list) else []
    for key, value in entries:
        yield key, value
        yield from _entries(value, key)
