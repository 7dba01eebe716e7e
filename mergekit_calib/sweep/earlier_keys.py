"""Item scores of versions whose content keys had other parts, filed under the keys that this version looks for.

Up to the first development versions of 0.2, a content key held all of `model_args`, `device` among them, and no engine.
Every file says what its key was made from, so the key it has now follows from the file alone, whatever the device was,
and for points of any sweep. The engine was transformers, and the files do not say which version of it; they are taken
to be of the installed one, which is what those versions did with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.items.item_files import UnreadableItemsError, read_facts
from mergekit_calib.items.refiling import refile
from mergekit_calib.items.store import ItemStore, content_key
from mergekit_calib.prefix_lm.model_args import without_placement

_CONTENT = ("models", "merge_options", "tokenizer", "suite", "model_args")  # and the recipe, of keys without an engine


def adopt_earlier_scores(store: ItemStore, engine: Mapping[str, Any]) -> int:
    """Save item scores that have a key of an earlier version under their present key, and remove the old files.

    Hold the folder's lock. A file whose key does not follow from its facts, or that is damaged, is left as it is.

    Args:
        store: the folder of item scores.
        engine: what content keys hold of the engine that earlier versions scored with, transformers.

    Returns:
        The number of files that have another name now.
    """
    return sum(_adopt(path, store, engine) for path in sorted(store.folder.glob("*.parquet")))


def _adopt(path: Path, store: ItemStore, engine: Mapping[str, Any]) -> bool:
    try:
        facts = read_facts(path)
    except (UnreadableItemsError, OSError):  # the store says so when the file is needed
        return False
    key = store.key_in_name(path)
    if "engine" in facts or (recipe := _recipe_of(facts)) is None:
        return False
    content = {name: facts[name] for name in _CONTENT if name in facts}
    if content_key(recipe=recipe, **content) != key:
        return False
    content |= {"model_args": without_placement(content["model_args"]), "engine": dict(engine)}
    return refile(path, key, content_key(recipe=recipe, **content), content)


def _recipe_of(facts: Mapping[str, Any]) -> Any:
    """Return the recipe that a key was made from; None if the facts do not hold what such a key is made from."""
    if not isinstance(facts.get("recipe"), str) or not isinstance(facts.get("model_args"), dict):
        return None
    try:
        return yaml.safe_load(facts["recipe"])
    except yaml.YAMLError:
        return None
