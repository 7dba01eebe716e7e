"""How the two splits compare: what the rule would choose on each, and whether the parents differ otherwise on them."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import excludes_zero, sort_outcomes
from mergekit_calib.results.choice_findings import BothSplits
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import point_name

_SPLIT_NAMES = {split: name for split, name in formatting.SPLIT_NAMES.items() if split != "all"}


def both_splits(frontier: Frontier) -> str:
    """Return whether the rule makes the same choice on both splits, and under resampling.

    If it would not, the two choices are compared on each split.
    """
    splits = frontier.splits
    if splits is None:
        return ""
    chosen = {split: choice.point for split, choice in splits.choices.items()}
    scores = {split: _values(frontier, estimates) for split, estimates in splits.on_other_split.items()}
    mine, theirs = point_name(chosen["selection"]), point_name(chosen["held_out"])
    resampled = _under_resampling(splits)
    on_all = formatting.chosen_split(frontier) == "all"
    if splits.agree:
        too = (
            f"on each alone the rule picks {mine}"
            if on_all
            else f"on the held-out split the rule would pick {mine} too"
        )
        return f"Both splits agree: {too}.{resampled} {mine} on the selection split: {scores['held_out']}."
    differ = (
        f"on the selection split alone the rule would pick {mine}, on the held-out split {theirs}"
        if on_all
        else f"on the held-out split the rule would pick {theirs}"
    )
    compared = {
        name: outcomes
        for split, name in _SPLIT_NAMES.items()
        if (outcomes := sort_outcomes(frontier.objectives, splits.differences.get(split, {})))
    }
    clauses = [f"On {name}, {mine} against {theirs}: {outcomes.clause()}." for name, outcomes in compared.items()]
    return " ".join(
        [
            f"The choice is uncertain: {differ}.{resampled}",
            *clauses,
            f"{mine} on the held-out split: {scores['selection']}.",
            f"{theirs} on the selection split: {scores['held_out']}.",
        ]
    )


def split_difference(frontier: Frontier) -> str:
    """Return a warning if two parents compare differently on the two splits.

    A parent that was tuned on the items of one split is a possible cause.
    """
    if frontier.splits is None or len(frontier.parents) != 2:
        return ""
    parents = frontier.parents
    changes = []
    for objective in frontier.objectives:
        difference = frontier.splits.difference_in_differences.get(objective.name)
        if difference is None or not excludes_zero(difference):
            continue
        pairs = [[p.estimate(objective, split).value for p in parents] for split in _SPLIT_NAMES]
        by = [formatting.number(b - a, 3, signed=True) for a, b in pairs if a is not None and b is not None]
        changes.append(f"{formatting.metric_name(objective)} {' and '.join(by)}")
    if not changes:
        return ""
    return (
        f"The splits differ significantly. Change from {parents[0].role} to {parents[1].role} on the selection split "
        f"and on the held-out split: {'; '.join(changes)}. If a parent was tuned on the questions of the selection "
        "split, choose on others."
    )


def _values(frontier: Frontier, estimates: Mapping[str, Estimate]) -> str:
    return formatting.listed(
        [f"{formatting.metric_name(o)} {formatting.with_interval(estimates[o.name])}" for o in frontier.objectives]
    )


def _under_resampling(splits: BothSplits) -> str:
    """Return how often the rule chooses each point on resamples, the most frequent first."""
    if not splits.choice_shares:
        return ""
    names = [point_name(point_id) for point_id in splits.choice_shares]
    axes = {name.rpartition(" = ")[0] for name in names}
    if len(axes) == 1 and "," not in next(iter(axes)):
        names = [name.rpartition(" = ")[2] for name in names]  # with one axis, the value alone names the point
    separator = "; " if any("," in name for name in names) else ", "
    shares = [
        f"{name} ({formatting.percent(round(share, 2))})"
        for name, share in zip(names, splits.choice_shares.values(), strict=True)
    ]
    others = [f"{len(shares) - 3} others (the rest)"] if len(shares) > 4 else shares[3:]
    return f" Under resampling: {separator.join([*shares[:3], *others])}."
