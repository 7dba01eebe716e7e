"""Checks of an output folder before a sweep starts: whether it can be written to, and whose run it holds."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from mergekit_calib.errors import CalibError
from mergekit_calib.items.item_files import UnreadableItemsError, read_items
from mergekit_calib.report.text.safe_text import storable

_SHOWN = 3  # names in a message


def check_usable(out: Path, folders: Collection[Path]) -> None:
    """Check that a sweep can write into `out`, and that nothing in it leads out of it.

    `out` itself may be a link to a folder.

    Args:
        out: the output folder.
        folders: the folders that a sweep keeps in it.

    Raises:
        CalibError: something else stands where a folder should be, a link leads out of `out`, the system does not
            allow writing there, or the path is not UTF-8.
    """
    path = str(out.absolute())
    if storable(path) != path:
        raise CalibError(f"{out}: this path is not UTF-8, so no model can be written there; name another folder")
    if out.is_symlink() and not out.exists():
        raise CalibError(
            f"{out} is a link to {os.readlink(out)}, which does not exist; make that folder, or name another"
        )
    if out.exists() and not out.is_dir():
        raise CalibError(f"{out} is a file; a sweep writes a folder")
    here = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not here.is_dir():
        raise CalibError(f"{out} cannot be made, since {here} is no folder; name another folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise CalibError(f"{here} cannot be written to; make it writable, or name another folder")
    for folder in folders:
        if folder.is_symlink() and not folder.resolve().is_relative_to(out.resolve()):
            raise CalibError(
                f"{folder} is a link to {os.readlink(folder)}, and a sweep writes nothing outside of its folder; put a "
                f"folder there instead of the link, or make {out} itself a link"
            )
        if os.path.lexists(folder) and not folder.is_dir():
            raise CalibError(f"{folder} is a file, and a sweep keeps a folder there; move the file away")
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise CalibError(f"{folder} cannot be written to; make it writable, or name another folder")


def check_same_models(out: Path, record: Path, frontier: Path, items: Path, models: Collection[str]) -> None:
    """Check that the folder is new, empty, or holds a run of the same models.

    Any of the three that names the same models will do, since each of them may be damaged or missing.

    Args:
        out: the output folder.
        record: its `sweep.yml`.
        frontier: its `frontier.json`.
        items: the folder of its item scores.
        models: the models, as the recipe names them.

    Raises:
        CalibError: it holds something else, which a sweep must not overwrite.
    """
    others: list[str] = []
    for earlier in _earlier_models(record, frontier, items):
        if set(earlier) == set(models):
            return
        others = others or earlier
    if others:
        raise CalibError(
            f"{out} holds a sweep of {_listed(others)}, and this one is of {_listed(models)}; name a new folder"
        )
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if names not in ([], [record.parent.name]):
        raise CalibError(
            f"{out} holds something else ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}); "
            "name a new folder, or one that an earlier run of this sweep wrote"
        )


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the contents of a `sweep.yml`; None if it is missing or damaged."""
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("models"), dict) else None


def read_result(path: Path) -> dict[str, Any]:
    """Return the fields of a `frontier.json` of any version; empty if it is missing or damaged."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _earlier_models(record: Path, frontier: Path, items: Path) -> Iterator[list[str]]:
    """Yield the models of the earlier run, from each file that tells them."""
    if (recorded := read_record(record)) is not None:
        yield [str(model) for model in recorded["models"]]
    if isinstance(of_result := read_result(frontier).get("models"), dict):
        yield [str(model) for model in of_result.values()]
    for path in sorted(items.glob("*.parquet")):
        try:
            facts, _ = read_items(path)
        except (UnreadableItemsError, OSError):
            continue
        if isinstance(facts.get("models"), dict):
            yield [str(model) for model in facts["models"]]
            return


def _listed(models: Collection[str]) -> str:
    names = [name if len(name) <= 100 else f"…{name[-100:]}" for name in models]
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
