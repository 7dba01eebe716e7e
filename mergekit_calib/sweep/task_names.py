"""Tasks in a recipe that are paths of YAML files, replaced by the names of the tasks in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe import Sweep
from mergekit_calib.scoring.entry_names import named_entries


def with_task_names(sweep: Sweep) -> Sweep:
    """Return the sweep with suite entries, objectives and the rule's options under the tasks' names.

    Only names change: an entry's `task` stays the path that it is loaded from, and that stored scores are found by.

    Args:
        sweep: the parsed sweep.

    Raises:
        RecipeError: two entries, or two objectives, have the same name.
    """
    block = sweep.calibration
    suite = named_entries(block.suite, sweep.source)
    names = {entry.task: entry.name for entry in suite if entry.name != entry.task}
    objectives = [
        spec.model_copy(update={"task": _renamed(spec.task, names), "weights": _renamed(spec.weights, names)})
        for spec in block.objectives
    ]
    of_objectives = [objective.name for objective in objectives]
    for i, name in enumerate(of_objectives):
        if name in of_objectives[:i]:
            raise RecipeError(f"calibration.objectives[{i}]", f"objectives have {name!r} twice", sweep.source)
    renamed = {"suite": suite, "objectives": objectives, "select": _renamed(block.select, names)}
    return replace(sweep, calibration=block.model_copy(update=renamed))


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return data with paths replaced by names, alone or as the scope of an objective, in keys and in values.

    Args:
        node: text, or lists and dicts that hold it; anything else is returned as it is.
        names: path → name.
    """
    if isinstance(node, dict):
        return {_renamed(key, names): _renamed(value, names) for key, value in node.items()}
    if isinstance(node, list):
        return [_renamed(each, names) for each in node]
    if isinstance(node, str):
        for path, name in names.items():
            if node == path or node.startswith(f"{path}/"):
                return name + node[len(path) :]
    return node
