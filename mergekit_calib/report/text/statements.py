"""The statements of a sweep: everything that its numbers say beyond the four lines of the answer."""

from __future__ import annotations

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.answering_texts import where_to_answer
from mergekit_calib.report.text.baseline_texts import baseline_verdicts, recalibration
from mergekit_calib.report.text.parent_texts import against_other_parents, every_parent
from mergekit_calib.report.text.prediction_texts import prediction
from mergekit_calib.report.text.served_texts import served_statements
from mergekit_calib.report.text.split_texts import both_splits, split_difference
from mergekit_calib.report.text.user_changes import user_changes
from mergekit_calib.results.findings import Estimate
from mergekit_calib.results.frontier import Frontier, Trend
from mergekit_calib.results.names import axis_name


def statements(frontier: Frontier) -> list[str]:
    """Return the statements as plain text, a few sentences each, the most useful first.

    A statement whose numbers were not computed is left out. Brackets are intervals at the sweep's level.
    """
    all_statements = [
        superiority(frontier),
        *against_other_parents(frontier),
        user_changes(frontier),
        where_to_answer(frontier),
        *baseline_verdicts(frontier),
        recalibration(frontier),
        both_splits(frontier),
        split_difference(frontier),
        smallest_shown(frontier),
        hypervolume(frontier),
        extrapolation(frontier),
        optima(frontier),
        prediction(frontier),
        *served_statements(frontier),
    ]
    return [statement for statement in all_statements if statement]


def superiority(frontier: Frontier) -> str:
    """Return whether the choice is significantly better than every parent, and which other points are."""
    selected = frontier.selected
    tests = {p.id: p.superiority for p in frontier.complete_points if p.superiority is not None}
    if not tests or selected is None:
        return ""
    level = f"{formatting.percent(1 - frontier.level)} level, over all points"
    better = f"significantly better than {every_parent(frontier)} in every objective"
    others = [p.name for p in frontier.complete_points if p is not selected and p.superiority and p.superiority.shown]
    named = formatting.listed(others) if 0 < len(others) <= 3 else formatting.counted(len(others), "point")
    verb = "is" if len(others) == 1 else "are"
    if selected.superiority is None:
        return f"{named} {verb} {better} ({level})." if others else f"No point is {better} ({level})."
    p = f"p {formatting.p_value(selected.superiority.p_adjusted)}"
    if selected.superiority.shown:
        return f"{selected.name} is {better} ({level}, {p})."
    of_others = f"; {named} {verb}" if others else ""
    return f"{selected.name} is not {better} ({level}, {p}){of_others}."


def smallest_shown(frontier: Frontier) -> str:
    """Return the smallest true differences to a parent that the items could show."""
    parts = [
        f"{formatting.metric_name(o)} {formatting.number(smallest)}"
        for o in frontier.objectives
        if (smallest := frontier.detectable.get(o.name)) is not None
    ]
    if not parts:
        return ""
    listed = formatting.listed(parts)
    return f"The smallest true differences that the items show with 80 % probability: {listed}."


def hypervolume(frontier: Frontier) -> str:
    """Return the frontier's hypervolume and that of the parents, with their reference point."""
    uncertainty = frontier.uncertainty
    if uncertainty is None:
        return ""
    names = {o.name: formatting.metric_name(o) for o in frontier.objectives}
    worst = "worst" if len(frontier.models) > 2 else "worse"
    reference = ", ".join(f"{names.get(name, name)} {value:.3g}" for name, value in uncertainty.reference.items())
    return (
        f"Hypervolume of the frontier: {_two_digits(uncertainty.hypervolume)}; of the parents alone: "
        f"{_two_digits(uncertainty.of_parents)}. Reference point: the {worst} parent in each objective ({reference})."
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


def _two_digits(estimate: Estimate) -> str:
    """Return a number of any size and its interval, to two digits."""
    if estimate.value is None:
        return formatting.UNDEFINED
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2g}"
    return f"{estimate.value:.2g} [{estimate.low:.2g}, {estimate.high:.2g}]"
