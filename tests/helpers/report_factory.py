"""Frontiers of simulated items: every number is computed from answers that a simulated model gave."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from helpers.simulated_answers import N_BINS, Answers, changes, diagram, normalised, simulate, statistics
from mergekit_calib import Frontier
from mergekit_calib.results.frontier import (
    Baseline,
    Blend,
    Difference,
    Estimate,
    Objective,
    PointResult,
    Reliability,
    RuleScore,
    Selection,
    SuiteEntrySummary,
    Superiority,
)

LEVEL = 0.95
RECIPE = "merge_method: linear\nmodels:\n- model: org/some-model-pt\n- model: org/some-model-it\n"
DIRECTIONS = {"acc": "maximize", "ece": "minimize", "brier": "minimize", "rms_ce_debiased": "minimize"}


def make_frontier(
    axes: dict[str, list[float]] | None = None,
    objectives: tuple[str, ...] = ("acc", "ece"),
    n_items: int = 1200,
    select: str | None = "knee",
    failed: tuple[str, ...] = (),
    finished: bool = True,
    roles: tuple[str, ...] = ("base", "aligned"),
    **fields: object,
) -> Frontier:
    """A frontier as a run leaves it; two parents stand on the λ axis of a one-axis sweep, others on none."""
    axes = {"lambda": [0.0, 0.3, 0.6, 1.0, 1.3]} if axes is None else axes
    split = n_items // 2
    weights = np.random.default_rng(1).multinomial(split, np.full(split, 1 / split), size=200).astype(float)
    everywhere = np.ones((1, split))
    chosen = [Objective(metric=m, direction=DIRECTIONS[m]) for m in objectives]
    points: list[PointResult] = []
    replicates: dict[str, dict[str, NDArray[np.float64]]] = {}
    diagrams: dict[str, Reliability] = {}
    held_out: dict[str, Answers] = {}

    def add(setting: dict[str, float], role: str | None, lam: float, density: float) -> None:
        point = PointResult(
            id=",".join(f"{k}={v:g}" for k, v in setting.items()) or str(role),
            role=role,
            axes=setting,
            recipe=f"{RECIPE}# {setting}\n",
            seconds={"merge": 0.5, "score": 2.0},
        )
        points.append(point)
        if point.id in failed:
            point.status, point.reason = "failed", "OutOfMemoryError: tried to allocate 2 GiB | on <cuda:0>"
            return
        scope: dict[str, dict[str, Estimate]] = {}
        for name, seed in (("selection", 10), ("held_out", 11)):
            answers = simulate(lam, density, split, seed)
            drawn, value = statistics(answers, weights), statistics(answers, everywhere)
            for metric in DIRECTIONS:
                low, high = np.quantile(drawn[metric], [0.025, 0.975])
                scope.setdefault(metric, {})[name] = Estimate(value=value[metric][0], low=low, high=high, n=split)
        replicates[point.id], held_out[point.id] = drawn, answers
        diagrams[point.id] = diagram(answers)
        point.metrics = {"suite": scope, "calib_demo": scope}

    if list(axes) == ["lambda"] and len(roles) == 2:
        for lam in axes["lambda"]:
            add({"lambda": lam}, {0.0: roles[0], 1.0: roles[1]}.get(lam), lam, 0.7)
    else:
        for i, role in enumerate(roles):
            add({}, role, i / max(1, len(roles) - 1), 0.7 - 0.3 * (i % 3 == 2))
        for values in itertools.product(*axes.values()) if axes else ():
            setting = dict(zip(axes, values, strict=True))
            add(setting, None, setting.get("lambda", values[0]), setting.get("density", 0.7))

    frontier = Frontier(
        name="demo-run",
        created="2025-01-01T00:00:00+00:00",
        finished=finished,
        axes=axes,
        models={
            role: {"base": "org/some-model-pt", "aligned": "org/some-model-it"}.get(role, f"org/{role}")
            for role in roles
        },
        method="linear",
        seed=7,
        suite=[
            SuiteEntrySummary(
                name="calib_demo",
                tasks=["calib_demo"],
                n_items=n_items,
                n_selection=split,
                n_held_out=split,
                limit=n_items,
            )
        ],
        objectives=chosen,
        level=LEVEL,
        n_resamples=200,
        n_bins=N_BINS,
        points=points,
        reliability=diagrams,
        versions={"mergekit": "0.1.5", "lm-eval": "0.4.13"},
    )
    conclude(frontier, replicates, held_out, select)
    return frontier.model_copy(update=fields)


def conclude(
    frontier: Frontier,
    replicates: dict[str, dict[str, NDArray[np.float64]]],
    held_out: dict[str, Answers],
    select: str | None,
) -> None:
    """Mark dominance on each split, compare with the parents, and choose: `knee`, or a point by its id."""
    signs = [1 if o.direction == "maximize" else -1 for o in frontier.objectives]
    scored = frontier.complete_points
    for split in ("selection", "held_out"):
        gains = {
            p.id: np.array([s * p.estimate(o, split).value for s, o in zip(signs, frontier.objectives, strict=True)])
            for p in scored
        }
        for point in scored:
            mine = gains[point.id]
            point.on_frontier[split] = not any(np.all(v >= mine) and np.any(v > mine) for v in gains.values())
            point.dominated_by[split] = [
                other
                for other, theirs in gains.items()
                if np.all(theirs >= mine)
                and np.any(theirs - mine > 2.58 * errors(frontier, replicates, other, point.id))
            ]
    parents = [p for p in scored if p.role]
    for point in scored:
        worst = 0.0
        for parent in parents:
            if parent is point:
                continue
            for sign, objective in zip(signs, frontier.objectives, strict=True):
                drawn = replicates[point.id][objective.metric] - replicates[parent.id][objective.metric]
                low, high = np.quantile(drawn, [0.025, 0.975])
                p = (1 + np.sum(sign * drawn <= 0)) / (1 + len(drawn))
                worst = max(worst, p)
                point.differences.setdefault(parent.role, {})[objective.name] = Difference(
                    value=point.estimate(objective).value - parent.estimate(objective).value,
                    low=low,
                    high=high,
                    n=600,
                    p=p,
                )
            point.changes[parent.role] = changes(held_out[parent.id], held_out[point.id])
        if point.role is None and len(parents) == len(frontier.models):
            adjusted = min(1.0, worst * (len(scored) - len(parents)))
            point.superiority = Superiority(shown=adjusted <= 1 - LEVEL, p=worst, p_adjusted=adjusted)
    for metric in dict.fromkeys([*(o.metric for o in frontier.objectives), "brier"]) if scored else ():
        values = {p.id: p.metrics["suite"][metric]["selection"].value for p in scored}
        best = (max if DIRECTIONS[metric] == "maximize" else min)(values, key=values.__getitem__)
        spread = {i: float(np.std(replicates[i][metric] - replicates[best][metric])) for i in values}
        frontier.rule_scores[metric] = RuleScore(
            direction=DIRECTIONS[metric], values=values, best=best, standard_errors=spread
        )
    if len(scored) > 1:
        spreads = errors(frontier, replicates, scored[0].id, scored[-1].id)
        frontier.detectable = {o.name: 2.8 * float(e) for o, e in zip(frontier.objectives, spreads, strict=True)}
    if select is None or not scored:
        return
    knee = max(
        scored,
        key=lambda p: sum(
            s * p.estimate(o, "selection").value for s, o in zip(signs, frontier.objectives, strict=True)
        ),
    )
    chosen = knee if select == "knee" else frontier.point(select)
    chosen.selected = True
    frontier.selection = Selection(rule="knee", point=chosen.id, reason="largest sum of gains on the selection split.")


def errors(
    frontier: Frontier, replicates: dict[str, dict[str, NDArray[np.float64]]], one: str, other: str
) -> NDArray[np.float64]:
    """(n_objectives,) standard errors of the paired differences of two points."""
    return np.array([np.std(replicates[one][o.metric] - replicates[other][o.metric]) for o in frontier.objectives])


def add_blends(frontier: Frontier, n_items: int = 1200) -> Frontier:
    """Add the blends of the first parent with every other one, and each blend's best λ as a baseline."""
    split, everywhere = n_items // 2, np.ones((1, n_items // 2))
    lambdas = [i / 20 for i in range(31)]
    places = {
        p.id: (p.axes.get("lambda", i / max(1, len(frontier.parents) - 1)), 0.7 - 0.3 * (not p.axes and i % 3 == 2))
        for i, p in enumerate(frontier.parents)
    }
    base, *others = frontier.parents
    for k, other in enumerate(others):
        values: dict[str, dict[str, list[float | None]]] = {}
        for name, seed in (("selection", 10), ("held_out", 11)):
            first, second = (simulate(*places[p.id], split, seed) for p in (base, other))
            for at in lambdas:
                logits = (1 - at) * np.log(first.probabilities) + at * np.log(second.probabilities)
                drawn = statistics(normalised(logits, first.labels), everywhere)
                for o in frontier.objectives:
                    values.setdefault(o.name, {}).setdefault(name, []).append(float(drawn[o.metric][0]))
        frontier.blends.append(Blend(of=(base.id, other.id), lambdas=lambdas, values=values))
        metrics = {o.metric: {"held_out": Estimate(value=values[o.name]["held_out"][8])} for o in frontier.objectives}
        frontier.baselines.append(
            Baseline(
                id=f"{base.role}|{other.role}",
                kind="blend",
                of=[base.id, other.id],
                at=lambdas[8],
                models_run=2,
                shown=k == 0,
                metrics={"suite": metrics},
            )
        )
    return frontier
