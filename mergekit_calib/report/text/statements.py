"""What a finished sweep says beyond its choice, in words: against recalibration, on both splits, by chance, along λ."""

from __future__ import annotations

from collections.abc import Mapping

from mergekit_calib.report.text import formatting
from mergekit_calib.results.frontier import Baseline, BothSplits, Difference, Estimate, Frontier, Objective, Trend


def statements(frontier: Frontier) -> list[str]:
    """Each statement a sentence or two of plain text, the most useful first; none of what was not computed."""
    found = [
        recalibration(frontier),
        averaging(frontier),
        both_halves(frontier),
        unlike_halves(frontier),
        chance(frontier),
        amplification(frontier),
        optima(frontier),
    ]
    return [statement for statement in found if statement]


def recalibration(frontier: Frontier) -> str:
    """Does merging give more than recalibration? Whichever way it goes; empty where it was not computed."""
    selected = frontier.selected
    aligned = frontier.baseline("aligned+T")
    if selected is None or aligned is None:
        return ""
    own = next((b for b in frontier.baselines if b.kind == "temperature" and b.of == [selected.id]), None)
    if selected.role == "aligned":
        return (
            "Merging gives no more than recalibration here: the aligned parent itself is chosen, and a fitted "
            f"temperature ({_temperature(aligned)}) costs no merge."
        )
    plain = _compared(frontier, aligned.differences.get(selected.id, {}))
    both = aligned.differences.get(own.id, {}) if own is not None else {}
    if own is None or not both or not plain:
        return ""
    name = selected.id
    subject = "The base parent, which is chosen," if selected.role else "Merging"
    return (
        f"{subject} {_verdict(frontier, both)}: with a temperature fitted to each, {name} ({_temperature(own)}) is "
        f"{_compared(frontier, both)} than aligned ({_temperature(aligned)}); as it is, {name} is {plain} than "
        "aligned with its temperature."
    )


def averaging(frontier: Frontier) -> str:
    """The choice against the average of the parents' probabilities."""
    selected = frontier.selected
    average = next((b for b in frontier.baselines if b.kind == "average"), None)
    if selected is None or average is None:
        return ""
    compared = _compared(frontier, average.differences.get(selected.id, {}))
    cost = f"which runs {average.models_run} models for each answer"
    return f"{selected.id} is {compared} than the average of both parents' probabilities, {cost}." if compared else ""


def both_halves(frontier: Frontier) -> str:
    """Whether the splits agree on the choice."""
    splits = frontier.splits
    if splits is None:
        return ""
    chosen = {split: choice.point for split, choice in splits.choices.items()}
    scores = {split: _values(frontier, estimates) for split, estimates in splits.elsewhere.items()}
    mine, theirs = chosen["selection"], chosen["held_out"]
    if splits.agree:
        return (
            f"Both splits agree: chosen on the held-out split too, by the same rule, it is {mine} "
            f"({scores['held_out']} on the selection split).{_stability(splits)}"
        )
    outcomes = {
        split: {o.name: formatting.outcome(o, found[o.name]) for o in frontier.objectives if o.name in found}
        for split, found in splits.differences.items()
    }
    shared = {o.name: {found.get(o.name, "open") for found in outcomes.values()} for o in frontier.objectives}
    better = {
        mine: [name for name, both in shared.items() if both == {"better"}],
        theirs: [name for name, both in shared.items() if both == {"worse"}],
    }
    clauses = [f"{point} is better in {formatting.listed(names)}" for point, names in better.items() if names]
    verdict = (
        f"on both splits, {formatting.listed(clauses)} beyond chance"
        if clauses
        else "no objective tells the two apart beyond chance on both splits"
    )
    return (
        f"The splits do not agree: the selection split chooses {mine} (on the held-out split {scores['selection']}), "
        f"and the held-out split would choose {theirs} (on the selection split {scores['held_out']}); {verdict}."
        f"{_stability(splits)}"
    )


def unlike_halves(frontier: Frontier) -> str:
    """Whether the parents compare otherwise on the split that is chosen on, which a parent may have been tuned on."""
    base, aligned = frontier.parent("base"), frontier.parent("aligned")
    if frontier.splits is None or base is None or aligned is None:
        return ""
    told = []
    for objective in frontier.objectives:
        apart = frontier.splits.apart.get(objective.name)
        if apart is None or apart.low is None or apart.high is None or apart.low <= 0.0 <= apart.high:
            continue
        ends = [[p.estimate(objective, split).value for p in (base, aligned)] for split in ("selection", "held_out")]
        by = [formatting.number(b - a, 3, signed=True) for a, b in ends if a is not None and b is not None]
        told.append(f"{objective.name} changes by {formatting.listed(by)}")
    if not told:
        return ""
    return (
        f"The splits are unlike beyond chance: from base to aligned, on the selection split and on the held-out split, "
        f"{formatting.listed(told)}. If a parent was tuned on the selection split's questions, choose on others."
    )


def chance(frontier: Frontier) -> str:
    """The frontier's hypervolume with its interval and its reference."""
    found = frontier.chance
    if found is None:
        return ""
    reference = ", ".join(f"{name} {value:.3g}" for name, value in found.reference.items())
    return (
        f"The frontier's hypervolume is {_small(found.hypervolume, frontier)}, measured from the worse parent in each "
        f"objective ({reference}); the parents alone have {_small(found.of_parents, frontier)}."
    )


def amplification(frontier: Frontier) -> str:
    """Whether the objectives go on as post-training took them, from λ = 1 on."""
    if not frontier.trends:
        return ""
    lambdas = frontier.trends[0].lambdas
    span = f"From λ = {lambdas[0]:g} to {lambdas[-1]:g} ({formatting.counted(len(lambdas), 'point')})"
    return f"{span}, {formatting.listed([_trend(frontier, trend) for trend in frontier.trends])}."


def optima(frontier: Frontier) -> str:
    """Where along the axis each objective is best."""
    parts = [
        f"{o.objective} is best at {formatting.axis_label(o.axis)} = {o.at:g} ({o.low:g} to {o.high:g})"
        for o in frontier.optima
    ]
    interval = f"{formatting.percent(frontier.level)} intervals over resamples"
    return f"Of the points scored, {formatting.listed(parts)}, {interval}." if parts else ""


def _verdict(frontier: Frontier, differences: Mapping[str, Difference]) -> str:
    sorted_out = _by_outcome(frontier, differences)
    better, worse = ([o.name for o, _ in sorted_out[outcome]] for outcome in ("better", "worse"))
    if better and worse:
        return f"gives more than recalibration in {formatting.listed(better)} and less in {formatting.listed(worse)}"
    if better:
        return f"gives more than recalibration in {formatting.listed(better)}"
    if worse:
        return f"gives less than recalibration in {formatting.listed(worse)}"
    return "is not shown to give more than recalibration"


def _compared(frontier: Frontier, differences: Mapping[str, Difference]) -> str:
    words = {"better": "better in", "worse": "worse in", "open": "not shown to be better or worse in"}
    clauses = [
        f"{words[outcome]} {formatting.listed([formatting.difference(frontier, o, d) for o, d in found])}"
        for outcome, found in _by_outcome(frontier, differences).items()
        if found
    ]
    return formatting.listed(clauses) if clauses else ""


def _by_outcome(
    frontier: Frontier, differences: Mapping[str, Difference]
) -> dict[str, list[tuple[Objective, Difference]]]:
    found: dict[str, list[tuple[Objective, Difference]]] = {"better": [], "worse": [], "open": []}
    for objective in frontier.objectives:
        difference = differences.get(objective.name)
        if difference is not None and difference.value is not None:
            found[formatting.outcome(objective, difference)].append((objective, difference))
    return found


def _trend(frontier: Frontier, trend: Trend) -> str:
    tau = trend.tau
    span = f"{formatting.percent(frontier.level)} interval {formatting.interval(tau, 2, signed=True)}"
    text = f"Kendall's τ {formatting.number(tau.value, 2, signed=True)}, {span}"
    if tau.low is None or tau.high is None or tau.low <= 0 <= tau.high:
        return f"no trend of {trend.objective} is shown ({text})"
    verb = "rises" if tau.low > 0 else "falls"
    if trend.p_monotone <= 1 - frontier.level:
        return f"{trend.objective} {verb}, but not monotonically, p {formatting.p_value(trend.p_monotone)} ({text})"
    return f"{trend.objective} {verb} ({text})"


def _temperature(baseline: Baseline) -> str:
    fitted = baseline.temperatures
    if len(fitted) == 1:
        return f"T = {next(iter(fitted.values())):.2f}"
    return ", ".join(f"T of {entry} = {temperature:.2f}" for entry, temperature in fitted.items())


def _values(frontier: Frontier, estimates: Mapping[str, Estimate]) -> str:
    parts = []
    for objective in frontier.objectives:
        estimate = estimates[objective.name]
        places = formatting.decimals([estimate])
        parts.append(f"{objective.name} {formatting.number(estimate.value, places)}{_span(estimate, places)}")
    return ", ".join(parts)


def _stability(splits: BothSplits) -> str:
    shares = [f"{point} in {formatting.percent(round(share, 2))}" for point, share in splits.chosen_in.items()]
    if not shares:
        return ""
    others = [f"{len(shares) - 3} others in the rest"] if len(shares) > 4 else shares[3:]
    return f" Over resamples of the selection split, the rule chooses {formatting.listed([*shares[:3], *others])}."


def _span(estimate: Estimate, places: int) -> str:
    bracketed = formatting.bracketed(estimate, places)
    return f" {bracketed}" if bracketed else ""


def _small(estimate: Estimate, frontier: Frontier) -> str:
    """A number of any size, to two digits of its interval."""
    if estimate.value is None:
        return formatting.UNDEFINED
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2g}"
    level = formatting.percent(frontier.level)
    return f"{estimate.value:.2g} ({level} interval {estimate.low:.2g} to {estimate.high:.2g})"
