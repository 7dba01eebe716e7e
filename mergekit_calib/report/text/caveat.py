"""The one caveat of a sweep that matters most: the first that applies, in a fixed order.

The order, with its reasons. What makes the numbers wrong comes before what makes them imprecise, and what would change
what a reader ships comes before what only adds to it.

1. The sweep is not finished: everything below can still change.
2. The parents compare differently on the two splits: one of them may know the items. That is bias; more items of the
   same kind do not mend it.
3. A baseline is shown to be better than the choice: there is something better to ship.
4. The items are too few to show a difference in accuracy that matters. Every "does as well" below would then say only
   that nothing could be shown.
5. A baseline that runs one model does as well: the merge is not needed.
6. The splits disagree on the choice, and it is worse than the other split's, beyond chance: that may be the better one.
7. Points failed: one of them may be the better one, but nothing suggests it.
8. The choice is at the end of an axis: a better one may lie outside of what was searched.
9. The choice varies under resampling, between points that do not differ beyond chance: it hardly matters which.
10. A baseline that runs several models does as well: the merge costs less, so it is still what to ship.
11. The choice is not shown to be better than every parent: the gains and losses of line 2 say so too.

What line 1 says (the rule gave way, the choice is dominated, it is a parent) is not said again.
"""

from __future__ import annotations

from collections.abc import Callable

from mergekit_calib.report.text import formatting
from mergekit_calib.report.text.baseline_texts import better_baseline, equal_baseline, rivals
from mergekit_calib.report.text.outcomes import negated, sort_outcomes
from mergekit_calib.report.text.parent_texts import every_parent, parent_role
from mergekit_calib.report.text.split_texts import split_difference
from mergekit_calib.results.findings import Objective
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.results.names import axis_name

DIFFERENCE_THAT_MATTERS = 0.03
"""In accuracy: a sweep that cannot show it says so."""

_ACCURACY = ("acc", "acc_norm", "exact_match")


def main_caveat(frontier: Frontier) -> str:
    """Return the first caveat that applies, in the order of this module's docstring; or that there is none."""
    return next((text for caveat in CAVEATS if (text := caveat(frontier))), _none(frontier))


def unfinished(frontier: Frontier) -> str:
    """Return that the sweep is not finished, or that there is nothing to choose."""
    if frontier.finished:
        return "" if frontier.selected else "No point was scored to the end, so there is no model to ship."
    return "The sweep is not finished: all of this can still change."


def splits_differ(frontier: Frontier) -> str:
    """Return that the parents compare differently on the two splits."""
    return split_difference(frontier)


def baseline_is_better(frontier: Frontier) -> str:
    """Return which baseline is better than the choice, at which cost."""
    return better_baseline(frontier)


def too_few_items(frontier: Frontier) -> str:
    """Return the smallest difference in accuracy that could be shown, if that is more than one that matters."""
    for objective in frontier.objectives:
        smallest = frontier.detectable.get(objective.name)
        if not is_accuracy(objective) or smallest is None or smallest <= DIFFERENCE_THAT_MATTERS:
            continue
        crossed = frontier.cross_fitted
        n = crossed.estimates[objective.name].n if crossed else formatting.item_counts(frontier, objective)
        items = f"{formatting.counted(n, 'item')}" if n else "The items"
        return (
            f"{items} are few: a true difference of less than {formatting.number(smallest)} in "
            f"{formatting.metric_name(objective)} would often not show."
        )
    return ""


def baseline_does_as_well(frontier: Frontier) -> str:
    """Return which baseline that runs one model does as well as the choice."""
    return equal_baseline(frontier, most_models=1)


def splits_disagree(frontier: Frontier) -> str:
    """Return what the rule would choose on one split, if the choice is worse than that on a split, beyond chance."""
    splits, selected = frontier.splits, frontier.selected
    if splits is None or splits.agree or selected is None or formatting.dominated_on(frontier, selected):
        return ""
    choices = {split: choice.point for split, choice in splits.choices.items()}
    if selected.id not in choices.values():
        mine, theirs = (frontier.point(choices[split]).name for split in ("selection", "held_out"))
        return f"The choice is uncertain: the selection split alone would pick {mine}, the held-out split {theirs}."
    split, other = next((split, point) for split, point in choices.items() if point != selected.id)
    for measured_on, differences in splits.differences.items():
        # They are the selection split's choice minus the held-out split's.
        mine_minus_other = {n: negated(d) for n, d in differences.items()} if split == "selection" else differences
        compared = sort_outcomes(frontier.objectives, mine_minus_other)
        if compared.worse:
            alone, measured = (formatting.SPLIT_NAMES[each] for each in (split, measured_on))
            return (
                f"The choice is uncertain: on {alone} alone the rule would pick {frontier.point(other).name}. Against "
                f"it, on {measured}, {selected.name} is {compared.clause()}."
            )
    return ""


def points_failed(frontier: Frontier) -> str:
    """Return which points failed."""
    failed = [p.name for p in frontier.points if p.status == "failed"]
    if not failed:
        return ""
    named = f": {formatting.listed(failed)}" if len(failed) <= 3 else ""
    return f"{len(failed)} of {formatting.counted(len(frontier.points), 'point')} failed and were not compared{named}."


def end_of_an_axis(frontier: Frontier) -> str:
    """Return at which end of an axis a chosen merge is."""
    selected = frontier.selected
    if selected is None or parent_role(frontier, selected) is not None:
        return ""
    for axis, values in frontier.axes.items():
        numbers = [value for value in values if not isinstance(value, str)]
        chosen = selected.axes.get(axis)
        if len(numbers) < max(2, len(values)) or isinstance(chosen, str):
            continue
        if chosen in (min(numbers), max(numbers)):
            return (
                f"{selected.name} is at the end of the {axis_name(axis)} axis: a better point may lie beyond "
                f"{formatting.axis_value(chosen)}."
            )
    return ""


def choice_varies(frontier: Frontier) -> str:
    """Return how often the choice is chosen on resamples, if that is in less than half of them."""
    splits, selected = frontier.splits, frontier.selected
    if splits is None or selected is None or not splits.choice_shares:
        return ""
    share = splits.choice_shares.get(selected.id, 0.0)
    if share >= 0.5:
        return ""
    others = [frontier.point(p).name for p in splits.choice_shares if p != selected.id]
    return (
        f"The choice varies with the items: the rule picks {selected.name} in "
        f"{formatting.percent(round(share, 2))} of resamples, most often else {others[0]}."
    )


def costly_baseline_does_as_well(frontier: Frontier) -> str:
    """Return which baseline that runs several models does as well as the choice."""
    return equal_baseline(frontier)


def not_superior(frontier: Frontier) -> str:
    """Return that a chosen merge is not shown to be better than every parent on every objective."""
    test = frontier.selected.superiority if frontier.selected is not None else None
    if test is None or test.shown:
        return ""
    return f"Not shown to be better than {every_parent(frontier)} in every objective."


CAVEATS: tuple[Callable[[Frontier], str], ...] = (
    unfinished,
    splits_differ,
    baseline_is_better,
    too_few_items,
    baseline_does_as_well,
    splits_disagree,
    points_failed,
    end_of_an_axis,
    choice_varies,
    costly_baseline_does_as_well,
    not_superior,
)
"""Each returns a caveat in one or two sentences, or an empty text if it does not apply; the most important first."""


def is_accuracy(objective: Objective) -> bool:
    """Return whether an objective is a share of correct answers."""
    return objective.metric.partition(",")[0] in _ACCURACY


def _none(frontier: Frontier) -> str:
    """Return that there is no caveat, or none beside those of line 1, and what was checked."""
    checked = []
    if rivals(frontier):
        checked.append("no baseline does as well")
    if frontier.splits is not None:
        checked.append("the choice is stable over the items")
    checked.append("every point was scored")
    selected, selection = frontier.selected, frontier.selection
    is_in_line_1 = (selected and formatting.dominated_on(frontier, selected)) or (selection and selection.gave_way)
    return f"No {'other ' if is_in_line_1 else ''}caveat: {formatting.listed(checked)}."
