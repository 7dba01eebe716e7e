"""Item scores as they were filed when content keys held all of `model_args` and no engine: of sweeps and of models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.items.item_files import read_items, write_items
from mergekit_calib.items.store import content_key

_CONTENT = ("models", "merge_options", "tokenizer", "suite", "model_args")


def file_under_earlier_keys(items: Path, model_args: dict[str, Any]) -> list[str]:
    """Rewrite all files in a folder of item scores as if they were scored with `model_args`; return their names.

    Each keeps its age: a study is rebuilt in the order of the files.
    """
    names = []
    for path in list(items.glob("*.parquet")):
        facts, rows = read_items(path)
        del facts["engine"]
        facts["model_args"] = model_args
        recipe, content = yaml.safe_load(facts["recipe"]), {name: facts[name] for name in _CONTENT}
        key = content_key(recipe=recipe, **content)
        names.append(_refiled(path, key, rows, facts))
    return names


def file_under_earlier_keys_of_models(items: Path, model_args: dict[str, Any]) -> None:
    """Rewrite all files of the command `score` in a folder as if they were scored with `model_args`."""
    for path in list(items.glob("*.parquet")):
        facts, rows = read_items(path)
        del facts["engine"]
        facts["model_args"] = model_args
        key = content_key(model=facts["digest"], **{name: facts[name] for name in ("tokenizer", "suite", "model_args")})
        _refiled(path, key, rows, facts)


def _refiled(path: Path, key: str, rows: list[Any], facts: dict[str, Any]) -> str:
    stem = path.name.removesuffix(".parquet").removesuffix(".part")
    earlier = path.with_name(f"{stem[:-16]}{key}{path.name[len(stem) :]}")
    write_items(earlier, key, rows, facts)
    age = path.stat().st_mtime_ns
    os.utime(earlier, ns=(age, age))
    path.unlink()
    return earlier.name
