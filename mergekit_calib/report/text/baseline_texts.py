"""Baselines in sentences: which do as well as the chosen point, at which cost, and what they forecast."""

from __future__ import annotations

from dataclasses import dataclass

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import Outcomes, sort_outcomes
from mergekit_calib.report.text.parent_texts import parent_role
from mergekit_calib.results.baseline_findings import Baseline, Blend
from mergekit_calib.results.frontier import Frontier

_ONE_SIDED = 0.01 / 2  # the level of one side of a two-sided 1 % test


@dataclass(frozen=True)
class Rival:
    """A baseline that could be used in place of the chosen point.

    Attributes:
        baseline: the baseline.
        outcomes: in which objectives the chosen point is better or worse than it.
        is_clearly_worse: whether the chosen point is worse in an objective at the two-sided 1 % level, at which a point
            counts as dominated: one of several baselines easily is better at 5 % by chance.
    """

    baseline: Baseline
    outcomes: Outcomes
    is_clearly_worse: bool

    @property
    def is_better(self) -> bool:
        """Whether the choice is clearly worse than it in an objective, and better in none."""
        return self.is_clearly_worse and not self.outcomes.better

    @property
    def does_as_well(self) -> bool:
        """Whether the choice is better than it in no objective, and clearly worse in none."""
        return not self.outcomes.better and not self.is_clearly_worse


def rivals(frontier: Frontier) -> list[Rival]:
    """Return the baselines of short tables that the choice was compared with, those that run the fewest models first.

    With several parents, these are the best of each kind. A temperature of the choice itself is no rival, unless the
    choice is a parent: it needs the same merge. A blend at an end of its curve is none either: it is a parent.
    """
    selected = frontier.selected
    if selected is None:
        return []
    is_merge = parent_role(frontier, selected) is None
    found = []
    for baseline in frontier.baselines:
        differences = baseline.differences.get(selected.id, {})
        outcomes = sort_outcomes(frontier.objectives, differences)
        is_itself = (is_merge and baseline.of == [selected.id]) or (
            baseline.kind == "blend" and baseline.models_run == 1
        )
        if baseline.shown and outcomes and not is_itself:
            worse = any(d.p is not None and d.p >= 1.0 - _ONE_SIDED for d in differences.values())
            found.append(Rival(baseline, outcomes, worse and bool(outcomes.worse)))
    return sorted(found, key=lambda rival: (rival.baseline.models_run, -len(rival.outcomes.worse)))


def better_baseline(frontier: Frontier) -> str:
    """Return which baseline is better than the choice, with the differences and its cost; empty if none is."""
    return next((_sentence(frontier, rival) for rival in rivals(frontier) if rival.is_better), "")


def equal_baseline(frontier: Frontier, most_models: int | None = None) -> str:
    """Return which baseline does as well as the choice, with the differences and its cost; empty if none does.

    Args:
        frontier: the sweep.
        most_models: the most models that it may run for each answer; any number, if None.
    """
    return next(
        (
            _sentence(frontier, rival)
            for rival in rivals(frontier)
            if rival.does_as_well and (most_models is None or rival.baseline.models_run <= most_models)
        ),
        "",
    )


def described(frontier: Frontier, baseline: Baseline) -> str:
    """Return a baseline as it is called in a sentence: `aligned with T = 1.83`."""
    if baseline.kind == "temperature":
        labels = "" if baseline.uses_labels else ", fitted without labels"
        return f"{formatting.names_of(frontier, baseline.of)[0]} with {formatting.temperatures(baseline)}{labels}"
    names = formatting.listed(formatting.names_of(frontier, baseline.of))
    if baseline.kind == "average":
        return f"the average of the probabilities of {names}"
    at = "" if baseline.at is None else f" at λ = {baseline.at:g}"
    return f"the blended log-probabilities of {names}{at}"


def cost(baseline: Baseline) -> str:
    """Return what a baseline costs, as `which needs no merge, but runs 2 models for each answer`."""
    runs = f", but runs {baseline.models_run} models for each answer" if baseline.models_run > 1 else ""
    return f"which needs no merge{runs}"


def forecast(frontier: Frontier, blend: Blend) -> str:
    """Return where each objective is best along the blend of two parents: what to expect of their merges."""
    best = []
    for objective in frontier.objectives:
        by_split = blend.values.get(objective.name, {})
        values = by_split.get("selection") or by_split.get("held_out") or []
        # Objectives of other things than the probabilities of choices have no values.
        known = [(value, at) for value, at in zip(values, blend.lambdas, strict=False) if value is not None]
        if known:
            sign = 1.0 if objective.direction == "maximize" else -1.0
            value, at = max(known, key=lambda pair: sign * pair[0])
            best.append(f"{formatting.metric_name(objective)} {formatting.number(value)} near λ = {at:g}")
    if not best:
        return ""
    of = ""
    if len(frontier.models) > 2:
        of = f" ({formatting.listed(formatting.names_of(frontier, blend.of))})"
    return f"Forecast from the parents alone{of}: best {formatting.listed(best)}."


def baseline_verdicts(frontier: Frontier) -> list[str]:
    """Return which baselines are better than the choice, which do as well, or that none does; then each comparison."""
    selected = frontier.selected
    compared = rivals(frontier)
    if selected is None or not compared:
        return []
    by_verdict = {
        "Better than": [r.baseline for r in compared if r.is_better],
        "As good as": [r.baseline for r in compared if r.does_as_well],
    }
    parts = [
        f"{verdict} {selected.name}, without a merge: "
        f"{formatting.listed([f'{described(frontier, b)} ({_runs(b)})' for b in baselines])}."
        for verdict, baselines in by_verdict.items()
        if baselines
    ]
    verdicts = [" ".join(parts) or f"{selected.name} is better than every baseline in at least one objective."]
    against = [
        f"{selected.name} against {described(frontier, r.baseline)}, {cost(r.baseline)}: {r.outcomes.clause()}."
        for r in compared
    ]
    return [*verdicts, *against]


def recalibration(frontier: Frontier) -> str:
    """Return how merging compares with temperature scaling if both have a temperature; empty if that is not known."""
    selected = frontier.selected
    if selected is None or parent_role(frontier, selected) is not None:
        return ""
    own = next((b for b in frontier.baselines if b.kind == "temperature" and b.of == [selected.id]), None)
    if own is None:
        return ""
    for baseline in frontier.baselines:
        both = sort_outcomes(frontier.objectives, baseline.differences.get(own.id, {}))
        if baseline.kind == "temperature" and baseline.uses_labels and baseline.shown and both:
            return (
                f"Merging {_verdict(both)}. Both have a fitted temperature here: {described(frontier, own)}, "
                f"{described(frontier, baseline)}."
            )
    return ""


def _sentence(frontier: Frontier, rival: Rival) -> str:
    selected = frontier.selected
    assert selected is not None
    verdict = "is better" if rival.is_better else "does as well"
    known = rival.baseline.differences.get(selected.id, {})
    unknown = [formatting.metric_name(o) for o in frontier.objectives if o.name not in known]
    not_known = f" Its {formatting.listed(unknown)} is not known." if unknown else ""
    return (
        f"A baseline {verdict}: {described(frontier, rival.baseline)}, {cost(rival.baseline)}. {selected.name} against "
        f"it: {rival.outcomes.clause()}.{not_known}"
    )


def _runs(baseline: Baseline) -> str:
    return f"runs {formatting.counted(baseline.models_run, 'model')}"


def _verdict(compared: Outcomes) -> str:
    """Return the predicate of a sentence about merging, from a comparison of models that both have a temperature."""
    if not compared.better and not compared.worse:
        return f"does not significantly beat temperature scaling: {compared.not_significant_clause()}"
    parts = [f"beats temperature scaling on {formatting.listed(compared.better)}"] if compared.better else []
    if compared.worse:
        verb = "loses to it" if parts else "loses to temperature scaling"
        parts.append(f"{verb} on {formatting.listed(compared.worse)}")
    verdict = " and ".join(parts)
    return f"{verdict}; {compared.not_significant_clause()}" if compared.not_significant else verdict
