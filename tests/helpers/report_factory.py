"""Frontiers of simulated items: every number is computed from answers that a simulated model gave."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergekit_calib import Frontier
from mergekit_calib.results.frontier import (
    Difference,
    Estimate,
    Objective,
    PointResult,
    Reliability,
    Selection,
    SuiteEntrySummary,
    Superiority,
)

N_BINS = 15
LEVEL = 0.95
RECIPE = "merge_method: linear\nmodels:\n- model: org/some-model-pt\n- model: org/some-model-it\n"
DIRECTIONS = {"acc": "maximize", "ece": "minimize", "brier": "minimize", "rms_ce_debiased": "minimize"}


@dataclass(frozen=True)
class Answers:
    """(n_items,) confidence, whether the answer is correct, and Brier score."""

    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    brier: NDArray[np.float64]


def simulate(lam: float, density: float, n_items: int, seed: int = 0) -> Answers:
    """A model that knows most just before λ = 1 and grows surer all the way."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=n_items)
    noise = rng.normal(size=(n_items, 4))
    knowledge = 1.15 + 0.75 * lam - 0.42 * lam**2 - 0.5 * (density - 0.7) ** 2
    logits = noise + knowledge * np.eye(4)[labels]
    logits *= 1.0 + 0.9 * max(lam, -0.5) + 0.3 * density
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return Answers(p.max(axis=1), p.argmax(axis=1) == labels, ((p - np.eye(4)[labels]) ** 2).sum(axis=1))


def statistics(answers: Answers, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Metric → (n_resamples,) of weights (n_resamples, n_items)."""
    total = weights.sum(axis=1)
    index = np.minimum((answers.confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.stack(
        [weights[:, index == b] @ (answers.confidence - answers.correct)[index == b] for b in range(N_BINS)]
    )
    counts = np.stack([weights[:, index == b].sum(axis=1) for b in range(N_BINS)])
    squares = np.divide(gaps**2, counts, out=np.zeros_like(gaps), where=counts > 0).sum(axis=0) / total
    return {
        "acc": weights @ answers.correct / total,
        "ece": np.abs(gaps).sum(axis=0) / total,
        "brier": weights @ answers.brier / total,
        "rms_ce_debiased": np.sqrt(np.clip(squares - 0.5 / total, 0, None)),
    }


def make_frontier(
    axes: dict[str, list[float]] | None = None,
    objectives: tuple[str, ...] = ("acc", "ece"),
    n_items: int = 1200,
    select: str | None = "knee",
    failed: tuple[str, ...] = (),
    finished: bool = True,
    **fields: object,
) -> Frontier:
    """A frontier as a run leaves it; parents stand on the λ axis of a one-axis sweep, and on none otherwise."""
    axes = {"lambda": [0.0, 0.3, 0.6, 1.0, 1.3]} if axes is None else axes
    split = n_items // 2
    weights = np.random.default_rng(1).multinomial(split, np.full(split, 1 / split), size=200).astype(float)
    everywhere = np.ones((1, split))
    chosen = [Objective(metric=m, direction=DIRECTIONS[m]) for m in objectives]
    points: list[PointResult] = []
    replicates: dict[str, dict[str, NDArray[np.float64]]] = {}
    diagrams: dict[str, Reliability] = {}

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
        replicates[point.id] = drawn
        diagrams[point.id] = diagram(answers)
        point.metrics = {"suite": scope, "calib_demo": scope}

    if list(axes) == ["lambda"]:
        for lam in axes["lambda"]:
            add({"lambda": lam}, {0.0: "base", 1.0: "aligned"}.get(lam), lam, 0.7)
    else:
        add({}, "base", 0.0, 0.7)
        add({}, "aligned", 1.0, 0.7)
        for values in itertools.product(*axes.values()) if axes else ():
            setting = dict(zip(axes, values, strict=True))
            add(setting, None, setting.get("lambda", 0.5), setting.get("density", 0.7))

    frontier = Frontier(
        name="demo-run",
        created="2025-01-01T00:00:00+00:00",
        finished=finished,
        axes=axes,
        models={"base": "org/some-model-pt", "aligned": "org/some-model-it"},
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
    conclude(frontier, replicates, select)
    return frontier.model_copy(update=fields)


def diagram(answers: Answers) -> Reliability:
    index = np.minimum((answers.confidence * N_BINS).astype(int), N_BINS - 1)
    members = [index == b for b in range(N_BINS)]
    return Reliability(
        edges=np.linspace(0, 1, N_BINS + 1).tolist(),
        counts=[int(m.sum()) for m in members],
        confidence=[float(answers.confidence[m].mean()) if m.any() else None for m in members],
        accuracy=[float(answers.correct[m].mean()) if m.any() else None for m in members],
    )


def conclude(frontier: Frontier, replicates: dict[str, dict[str, NDArray[np.float64]]], select: str | None) -> None:
    """Mark dominance on each split, compare with the parents, and choose: `knee`, or a point by its id."""
    signs = [1 if o.direction == "maximize" else -1 for o in frontier.objectives]
    scored = frontier.complete_points
    for split in ("selection", "held_out"):
        gains = {
            p.id: [s * p.estimate(o, split).value for s, o in zip(signs, frontier.objectives, strict=True)]
            for p in scored
        }
        for point in scored:
            mine = np.array(gains[point.id])
            point.on_frontier[split] = not any(
                np.all(v >= mine) and np.any(v > mine) for v in map(np.array, gains.values())
            )
    parents = [p for p in scored if p.role]
    for point in scored if len(parents) == 2 else []:
        if point.role:
            continue
        worst = 0.0
        for parent in parents:
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
        adjusted = min(1.0, worst * (len(scored) - 2))
        point.superiority = Superiority(shown=adjusted <= 1 - LEVEL, p=worst, p_adjusted=adjusted)
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
