"""Simulated models that answer the same items: what they know, how sure they are, and how alike they err."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mergekit_calib.analysis import SweepAnalysis
from mergekit_calib.items.metric_registry import BUILT_IN
from mergekit_calib.items.table import ItemTable
from mergekit_calib.results.frontier import Frontier, Objective, PointResult

ACC = Objective(metric="acc", direction="maximize")
ECE = Objective(metric="ece", direction="minimize")
BRIER = Objective(metric="brier", direction="minimize")


@dataclass(frozen=True)
class Model:
    """A model that is calibrated at `sureness` 1 and overconfident above it.

    Attributes:
        knowledge: by how much the correct choice's logit is raised.
        sureness: what the logits are multiplied by.
        own: the share of the noise's variance that other models do not have.
    """

    knowledge: float = 1.4
    sureness: float = 1.0
    own: float = 0.1


def items(
    models: dict[str, Model], n_items: int = 1000, seed: int = 0, task: str = "made_up", n_choices: int = 4
) -> dict[str, ItemTable]:
    """Each model's scores of the same items."""
    rng = np.random.default_rng([seed, *task.encode()])
    labels = np.eye(n_choices, dtype=bool)[rng.integers(n_choices, size=n_items)]
    shared = rng.standard_normal(labels.shape)
    tables = {}
    for name, model in models.items():
        noise = np.sqrt(1 - model.own) * shared + np.sqrt(model.own) * rng.standard_normal(labels.shape)
        # Unit noise around a mean of k or 0: the log-odds of the truth are k times the value.
        logits = model.sureness * model.knowledge * (noise + model.knowledge * labels)
        tables[name] = ItemTable(
            task=task,
            doc_ids=np.arange(n_items),
            doc_hashes=[f"{task}-{i}" for i in range(n_items)],
            log_likelihoods=logits - 5.0,
            labels=labels,
            choice_chars=np.ones(labels.shape, dtype=np.int64),
            choice_bytes=np.ones(labels.shape, dtype=np.int64),
        )
    return tables


def without_choices(table: ItemTable, values: dict[str, np.ndarray]) -> ItemTable:
    """The same items as those of a task that has only metrics of its own."""
    none = {name: getattr(table, name)[:, :0] for name in ("log_likelihoods", "labels", "choice_chars", "choice_bytes")}
    return replace(table, **none, values=values)


def analysed(
    models: dict[str, Model],
    objectives: tuple[Objective, ...] = (ACC, ECE),
    tasks: tuple[str, ...] = ("made_up",),
    rule: str = "knee",
    options: dict | None = None,
    n_items: int | dict[str, int] = 1000,
    seed: int = 0,
    n_resamples: int = 200,
    choose_on: str = "selection",
) -> Frontier:
    """The frontier of models named `base`, `aligned` or by their λ, as a sweep leaves it."""
    sizes = n_items if isinstance(n_items, dict) else dict.fromkeys(tasks, n_items)
    scores = {task: items(models, sizes[task], seed, task) for task in tasks}
    analysis = SweepAnalysis(
        objectives, BUILT_IN, level=0.95, n_resamples=n_resamples, n_bins=15, seed=0, choose_on=choose_on
    )
    frontier = empty(objectives)
    for name in models:
        at = {"base": 0.0, "aligned": 1.0}.get(name)
        lam = float(name) if at is None else at
        role = None if at is None else name
        point = PointResult(id=f"lambda={lam:g}", role=role, axes={"lambda": lam}, recipe="")
        frontier.points.append(point)
        analysis.add(point, {task: [tables[name]] for task, tables in scores.items()})
    frontier.selection = analysis.conclude(frontier.points, rule, options or {})
    frontier.blends = analysis.blends(frontier)
    analysis.finish(frontier, rule, options or {})
    return frontier


def empty(objectives: tuple[Objective, ...]) -> Frontier:
    return Frontier(
        name="run", created="", finished=False, axes={"lambda": []}, models={"base": "b", "aligned": "a"},
        method="linear", seed=0, suite=[], objectives=list(objectives), level=0.95, n_resamples=200, n_bins=15,
        points=[],
    )  # fmt: skip
