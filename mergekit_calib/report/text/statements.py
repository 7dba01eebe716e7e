"""The statements of a finished sweep: baselines, agreement of the splits, hypervolume, trends and optima along λ."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.outcomes import Outcome, Outcomes, excludes_zero, outcome, sort_outcomes
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import BothSplits, Frontier, Trend
from mergekit_calib.results.names import axis_name, point_name


def statements(frontier: Frontier) -> list[str]:
    """Return the statements as plain text, a few sentences each, the most useful first.

    A statement whose numbers were not computed is left out. Brackets are intervals at the sweep's level.
    """
    all_statements = [
        recalibration(frontier),
        averaging(frontier),
        both_splits(frontier),
        split_difference(frontier),
        hypervolume(frontier),
        extrapolation(frontier),
        optima(frontier),
    ]
    return [statement for statement in all_statements if statement]


def recalibration(frontier: Frontier) -> str:
    """Return how merging compares with temperature scaling, in its favour or not; empty if that was not computed."""
    selected = frontier.selected
    aligned = frontier.baseline("aligned+T")
    if selected is None or aligned is None:
        return ""
    own = next((b for b in frontier.baselines if b.kind == "temperature" and b.of == [selected.id]), None)
    if selected.role == "aligned":
        return (
            f"Nothing was gained by merging: the aligned model itself is chosen. Temperature scaling "
            f"({formatting.temperatures(aligned)}) needs no merge."
        )
    without_temperature = sort_outcomes(frontier.objectives, aligned.differences.get(selected.id, {}))
    both = sort_outcomes(frontier.objectives, aligned.differences.get(own.id, {}) if own is not None else {})
    if own is None or not both or not without_temperature:
        return ""
    name = selected.name
    subject = "The base model, which is chosen," if selected.role else "Merging"
    return (
        f"{subject} {_verdict(both)}. Both have a fitted temperature here: {name} with "
        f"{formatting.temperatures(own)}, aligned with {formatting.temperatures(aligned)}. {name} without a "
        f"temperature, against aligned with one: {without_temperature.clause()}."
    )


def averaging(frontier: Frontier) -> str:
    """Return how the choice compares with the average of the parents' probabilities."""
    selected = frontier.selected
    average = next((b for b in frontier.baselines if b.kind == "average"), None)
    if selected is None or average is None:
        return ""
    compared = sort_outcomes(frontier.objectives, average.differences.get(selected.id, {}))
    if not compared:
        return ""
    cost = f"which runs {average.models_run} models for each answer"
    return f"{selected.name} against the average of the parents' probabilities, {cost}: {compared.clause()}."


def both_splits(frontier: Frontier) -> str:
    """Return whether the rule would make the same choice on the held-out split, and under resampling."""
    splits = frontier.splits
    if splits is None:
        return ""
    chosen = {split: choice.point for split, choice in splits.choices.items()}
    scores = {split: _values(frontier, estimates) for split, estimates in splits.on_other_split.items()}
    mine, theirs = point_name(chosen["selection"]), point_name(chosen["held_out"])
    resampled = _under_resampling(splits)
    if splits.agree:
        return (
            f"Both splits agree: on the held-out split the rule would pick {mine} too.{resampled} "
            f"{mine} on the selection split: {scores['held_out']}."
        )
    better = {mine: _same_on_both(frontier, splits, "better"), theirs: _same_on_both(frontier, splits, "worse")}
    clauses = [
        f"{name} is significantly better in {formatting.listed(names)}" for name, names in better.items() if names
    ]
    verdict = (
        f"On both splits, {formatting.listed(clauses)}."
        if clauses
        else "In no objective do the two differ significantly on both splits."
    )
    return (
        f"The choice is uncertain: on the held-out split the rule would pick {theirs}.{resampled} {verdict} "
        f"{mine} on the held-out split: {scores['selection']}. {theirs} on the selection split: "
        f"{scores['held_out']}."
    )


def split_difference(frontier: Frontier) -> str:
    """Return a warning if base and aligned compare differently on the two splits.

    A parent that was tuned on the items of one split is a possible cause.
    """
    base, aligned = frontier.parent("base"), frontier.parent("aligned")
    if frontier.splits is None or base is None or aligned is None:
        return ""
    changes = []
    for objective in frontier.objectives:
        difference = frontier.splits.difference_in_differences.get(objective.name)
        if difference is None or not excludes_zero(difference):
            continue
        pairs = [[p.estimate(objective, split).value for p in (base, aligned)] for split in ("selection", "held_out")]
        by = [formatting.number(b - a, 3, signed=True) for a, b in pairs if a is not None and b is not None]
        changes.append(f"{formatting.metric_name(objective)} {' and '.join(by)}")
    if not changes:
        return ""
    return (
        "The splits differ significantly. Change from base to aligned on the selection split and on the held-out "
        f"split: {'; '.join(changes)}. If a parent was tuned on the questions of the selection split, choose on others."
    )


def hypervolume(frontier: Frontier) -> str:
    """Return the frontier's hypervolume and that of the parents, with their reference point."""
    uncertainty = frontier.uncertainty
    if uncertainty is None:
        return ""
    names = {o.name: formatting.metric_name(o) for o in frontier.objectives}
    reference = ", ".join(f"{names.get(name, name)} {value:.3g}" for name, value in uncertainty.reference.items())
    return (
        f"Hypervolume of the frontier: {_two_digits(uncertainty.hypervolume)}; of the parents alone: "
        f"{_two_digits(uncertainty.of_parents)}. Reference point: the worse parent in each objective ({reference})."
    )


def extrapolation(frontier: Frontier) -> str:
    """Return how the objectives change beyond λ = 1."""
    if not frontier.trends:
        return ""
    lambdas = frontier.trends[0].lambdas
    span = f"From λ = {lambdas[0]:g} to {lambdas[-1]:g} ({formatting.counted(len(lambdas), 'point')})"
    return f"{span}: {'; '.join(_trend(frontier, trend) for trend in frontier.trends)}."


def optima(frontier: Frontier) -> str:
    """Return where along the axis each objective is best."""
    names = {o.name: formatting.metric_name(o) for o in frontier.objectives}
    parts = [
        f"{names.get(o.objective, o.objective)} at {axis_name(o.axis)} = {o.at:g} [{o.low:g}, {o.high:g}]"
        for o in frontier.optima
    ]
    return f"Best of the scored points: {'; '.join(parts)}. The intervals are over resamples." if parts else ""


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


def _same_on_both(frontier: Frontier, splits: BothSplits, result: Outcome) -> list[str]:
    """Return the objectives whose difference between the two choices has this outcome on both splits."""
    return [
        formatting.metric_name(objective)
        for objective in frontier.objectives
        if splits.differences
        and all(
            objective.name in differences and outcome(objective, differences[objective.name]) == result
            for differences in splits.differences.values()
        )
    ]


def _trend(frontier: Frontier, trend: Trend) -> str:
    names = {o.name: formatting.metric_name(o) for o in frontier.objectives}
    name, tau = names.get(trend.objective, trend.objective), trend.tau
    text = f"Kendall's τ {formatting.with_interval(tau, 2, signed=True)}"
    if tau.low is None or tau.high is None or tau.low <= 0 <= tau.high:
        return f"no significant trend in {name} ({text})"
    verb = "rises" if tau.low > 0 else "falls"
    if trend.p_monotone <= 1 - frontier.level:
        return f"{name} {verb}, but not monotonically, p {formatting.p_value(trend.p_monotone)} ({text})"
    return f"{name} {verb} ({text})"


def _values(frontier: Frontier, estimates: Mapping[str, Estimate]) -> str:
    return formatting.listed(
        [f"{formatting.metric_name(o)} {formatting.with_interval(estimates[o.name])}" for o in frontier.objectives]
    )


def _under_resampling(splits: BothSplits) -> str:
    """Return how often the rule chooses each point on resamples of the selection split, the most frequent first."""
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


def _two_digits(estimate: Estimate) -> str:
    """Return a number of any size and its interval, to two digits."""
    if estimate.value is None:
        return formatting.UNDEFINED
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2g}"
    return f"{estimate.value:.2g} [{estimate.low:.2g}, {estimate.high:.2g}]"
