"""Stored scores of models whose content keys had other parts, filed under the keys that this version looks for.

Up to the first development versions of 0.2, the key of a model's scores held all of `model_args`, `device` among them,
and no engine. Every file says what its key was made from. The engine was transformers, and the files do not say which
version of it; they are taken to be of the installed one, which is what those versions did with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergekit_calib.items.item_files import UnreadableItemsError, read_facts
from mergekit_calib.items.refiling import refile
from mergekit_calib.items.store import ItemStore, content_key
from mergekit_calib.prefix_lm.model_args import without_placement

_CONTENT = ("tokenizer", "suite", "model_args")


def scored_args(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `hf` that a model's scores depend on: not its devices, and not the batch size."""
    return {name: value for name, value in without_placement(model_args).items() if name != "batch_size"}


def adopt_earlier_scores_of_models(store: ItemStore, engine: Mapping[str, Any]) -> int:
    """Save scores of models that have a key of an earlier version under their present key, and remove the old files.

    Files whose key does not follow from their facts are left as they are, as are points of a sweep.

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
    if "engine" in facts or not isinstance(facts.get("model_args"), dict) or not facts.keys() >= {*_CONTENT, "digest"}:
        return False
    content = {name: facts[name] for name in _CONTENT}
    if content_key(model=facts["digest"], **content) != key:
        return False
    content |= {"model_args": scored_args(content["model_args"]), "engine": dict(engine)}
    return refile(path, key, content_key(model=facts["digest"], **content), content)
