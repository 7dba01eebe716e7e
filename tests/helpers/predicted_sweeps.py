"""Results of sweeps that predict what lies between their scored points: every number is computed from item scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.simulated_models import ACC, ECE, empty, without_choices
from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.analysis.diagrams import reliability_diagram
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import ItemTable, choice_table
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier, PointResult, SuiteEntrySummary
from mergekit_calib.search.surrogate.leja import leja_points

DIVERSITY = Objective(metric="distinct_2", task="texts", direction="maximize")
NODES = leja_points(0.0, 1.5, [0.0, 1.0, 1.5], 8, lambda value: round(value, 3))
AROUND = [0.55, 0.6, 0.65]  # scored after the nodes
N_ITEMS = 600


def predicted_sweep(known: bool = True, texts: bool = False) -> Frontier:
    """A finished sweep over λ from 0 to 1.5, of which eight points are the nodes.

    Args:
        known: whether the items change slowly enough with λ for the nodes to predict each other.
        texts: whether the suite has texts too, whose diversity jumps from λ to λ, so that no point predicts another.
    """
    objectives = (ACC, ECE, *([DIVERSITY] if texts else []))
    analysis = SweepAnalysis(objectives, BUILT_IN, level=0.95, n_resamples=200, n_bins=15, seed=0)
    frontier = empty(objectives)
    frontier.axes, frontier.finished = {"lambda": [0.0, 1.5]}, True
    for value in (*NODES, *AROUND):
        role = {0.0: "base", 1.0: "aligned"}.get(value)
        recipe = f"merge_method: linear\n# {value:g}\n"
        point = PointResult(id=f"lambda={value:g}", role=role, axes={"lambda": value}, recipe=recipe)
        frontier.points.append(point)
        tables: dict[str, list[ItemTable]] = {"choices": [_choices(value, 3.0 if known else 40.0)]}
        if texts:
            tables["texts"] = [_texts(value)]
        analysis.add(point, tables)
        diagram = reliability_diagram(tables["choices"], frontier.n_bins)
        assert diagram is not None
        frontier.reliability[point.id] = diagram
    frontier.suite = [_summary(entry, some) for entry, some in tables.items()]
    frontier.selection = analysis.conclude(frontier.points, "one_se", {})
    frontier.blends = analysis.blends(frontier)
    analysis.finish(frontier, "one_se", {})
    frontier.predicted = analysis.predicted(frontier, [f"lambda={node:g}" for node in NODES], known, not known)
    return frontier


def _choices(value: float, steepness: float) -> ItemTable:
    """Item scores of a model that grows surer with λ; each item is learnt or forgotten at a λ of its own."""
    rng = np.random.default_rng(0)
    logits, change = rng.normal(0, 1, (2, N_ITEMS, 4))
    logits[:, 0] += 1.2 + 0.75 * value - 0.42 * value**2
    logits += 0.7 * change * np.tanh(steepness * (value - rng.uniform(0, 1.5, (N_ITEMS, 1))))
    logits *= 1.2 + 0.9 * value
    hashes = [f"{i:04d}" for i in range(N_ITEMS)]
    return replace(choice_table(logits - 5.0, [[0]] * N_ITEMS), task="choices", doc_hashes=hashes)


def _texts(value: float) -> ItemTable:
    rng = np.random.default_rng(int(1000 * value))
    table = replace(_choices(value, 1.0), task="texts").take(np.arange(60))
    return without_choices(table, {DIVERSITY.metric: rng.uniform(0.3, 0.7) + rng.normal(0, 0.05, 60)})


def _summary(entry: str, tables: list[ItemTable]) -> SuiteEntrySummary:
    (table,) = tables
    n_selection = int(table.in_selection_split.sum())
    return SuiteEntrySummary(
        name=entry, tasks=[table.task], n_items=len(table), n_selection=n_selection, n_held_out=len(table) - n_selection
    )
