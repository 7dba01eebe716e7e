"""Keys of a recipe that nobody reads: misspelt ones are refused, others named in one note."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mergekit_calib.errors import RecipeError, closest, near_names, one_line

_PARAMETERS = "parameters"
_LIKENESS = 0.75  # from which a key is refused: shared recipes have keys that only hold anchors, as `const_tag`
_MOST_NAMED = 8  # keys in the note


@dataclass(frozen=True)
class KnownKeys:
    """The keys that are read at a place of a recipe.

    Attributes:
        names: key → the keys below it.
        below_any: the keys below every key, where the user names them, as modules; None where `names` are all.
    """

    names: Mapping[str, KnownKeys] = field(default_factory=dict)
    below_any: KnownKeys | None = None


@dataclass(frozen=True)
class UnreadKey:
    """A key that nobody reads.

    Attributes:
        path: its path in the recipe.
        name: the key.
        known: the keys that are read there.
    """

    path: str
    name: str
    known: Collection[str]


def check_keys(
    recipe: Mapping[str, Any],
    known: KnownKeys,
    parameters: Collection[str],
    all_parameters: Collection[str],
    source: str | None,
) -> list[str]:
    """Return a note that names the keys that nobody reads, if there are any.

    Args:
        recipe: the recipe, without the calibration block.
        known: the keys that mergekit reads.
        parameters: the parameters of the recipe's merge methods.
        all_parameters: those of every merge method. Shared recipes carry some of them that their method lacks.
        source: the recipe's file, for messages.

    Raises:
        RecipeError: a key may be a misspelling of one that is read.
    """
    unread = list(_unread(recipe, known, parameters, ""))
    for key in unread:
        misspelt = key.name not in all_parameters if key.known is parameters else True
        if misspelt and closest(key.name, key.known, _LIKENESS):
            names = ", ".join(sorted(key.known))
            problem = f"is not a key that is read here{near_names(key.name, key.known)}; known keys: {names}"
            raise RecipeError(key.path, problem, source)
    if not unread:
        return []
    named = [one_line(key.path, 60) for key in unread[:_MOST_NAMED]]
    more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
    return [f"Nobody reads these keys of the recipe, so they change nothing: {', '.join(named)}{more}."]


def _unread(node: Any, known: KnownKeys, parameters: Collection[str], path: str) -> Iterator[UnreadKey]:
    if isinstance(node, list):
        for i, value in enumerate(node):
            yield from _unread(value, known, parameters, f"{path}[{i}]")
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        below = f"{path}.{key}" if path else key
        if known.below_any is not None:
            if path.rpartition(".")[2] == _PARAMETERS and key not in parameters:
                yield UnreadKey(below, key, parameters)
            yield from _unread(value, known.below_any, parameters, below)
        elif key in known.names:
            yield from _unread(value, known.names[key], parameters, below)
        elif known.names:
            yield UnreadKey(below, key, known.names)
