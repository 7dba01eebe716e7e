"""The run that an output folder holds already: what of it is reused, what is left out, and what has changed since."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mergekit_calib import pareto
from mergekit_calib.errors import CalibError
from mergekit_calib.prefix_lm.model_args import without_placement
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.result_reader import load_sweep
from mergekit_calib.storage.set_aside import set_aside
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.folder_checks import read_record

_AGAIN = "a new one is written"
# Keys of the block whose changes are told in other words, or change no result.
_NOT_TOLD = {"axes", "select", "objectives", "workers", "gpus_per_worker"}


@dataclass(frozen=True)
class EarlierRun:
    """What an earlier run has left in the folder.

    Attributes:
        record: the contents of its `sweep.yml`; None if there is none that can be read.
        frontier: its result; None as above.
        keys: the content keys of the points that it has scored to the end.
    """

    record: Mapping[str, Any] | None
    frontier: Frontier | None
    keys: frozenset[str]

    @classmethod
    def found_in(cls, folder: RunFolder) -> EarlierRun:
        """Read what the folder holds; files that cannot be read are set aside with a warning."""
        keys = folder.items.keys()
        record = read_record(folder.sweep_record)
        if record is None and folder.sweep_record.exists():
            set_aside(folder.sweep_record, "cannot be read", _AGAIN)
        frontier = None
        if folder.frontier.exists():
            try:
                frontier = load_sweep(folder.path)
            except CalibError as problem:
                reason = str(problem).partition(": ")[2].partition("; ")[0]
                set_aside(folder.frontier, f"cannot be read ({reason})", _AGAIN)
        if keys:
            for path, read in ((folder.sweep_record, record), (folder.frontier, frontier)):
                if read is None and not path.exists():
                    logging.getLogger(__name__).warning("%s is missing; %s", path, _AGAIN)
        return cls(record, frontier, keys)

    def summary(self, n_reused: int, used: Collection[str], resolved: Mapping[str, Any], frontier: Frontier) -> str:
        """Return one line on what is kept and what is not; empty if there was no run.

        Args:
            n_reused: how many points of this sweep need not be scored again.
            used: the content keys of this sweep's points so far.
            resolved: what `sweep.yml` will hold now.
            frontier: the new result.
        """
        n_left_out = len(self.keys - set(used))
        if not self.keys and self.frontier is None:
            return ""
        parts = [f"{n_reused} {'point' if n_reused == 1 else 'points'} of an earlier run {_are(n_reused)} reused"]
        if n_left_out:
            parts.append(
                f"{n_left_out} {_are(n_left_out)} not in this sweep and left out (calibration/items keeps them)"
            )
        if changes := list(self._changes(resolved, frontier)):
            parts.append(f"the choice is made anew, since these have changed: {', '.join(changes)}")
        return "; ".join(parts)

    def _changes(self, resolved: Mapping[str, Any], frontier: Frontier) -> Iterator[str]:
        if self.frontier is not None:
            before, now = ([o.name for o in each.objectives] for each in (self.frontier, frontier))
            if before != now:
                yield f"objectives ({', '.join(before)} → {', '.join(now)})"
            if self.frontier.method != frontier.method:
                yield f"method ({self.frontier.method} → {frontier.method})"
            yield from (f"axis {name}" for name in _different(self.frontier.axes, frontier.axes))
        if self.record is None:
            return
        old, new = self.record.get("calibration"), resolved["calibration"]
        if isinstance(old, dict):
            rules = [str((each.get("select") or {}).get("rule", pareto.DEFAULT_RULE)) for each in (old, new)]
            if rules[0] != rules[1]:
                yield f"rule ({' → '.join(rules)})"
            elif old.get("select") != new.get("select"):
                yield f"options of the rule {rules[0]}"
            yield from (name for name in _different(_scoring(old), _scoring(new)) if name not in _NOT_TOLD)
        models = self.record["models"]
        for name in _different(models, resolved["models"]):
            if name in models:
                yield f"the files of {name}"
        versions = self.record.get("versions")
        if isinstance(versions, dict):
            changed = _different(versions, resolved["versions"])
            yield from (f"the version of {package}" for package in ("lm-eval", "transformers") if package in changed)


def _scoring(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `calibration:` block without the devices that hold the models, on which no score depends."""
    model_args = block.get("model_args")
    return {**block, "model_args": without_placement(model_args)} if isinstance(model_args, dict) else dict(block)


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ."""
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
