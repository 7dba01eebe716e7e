"""What a third party's package may look like: one of each extension, registered by an entry point."""

from __future__ import annotations

from typing import Literal

from mergekit_calib import hookimpl, metrics
from mergekit_calib.items.metric_registry import Metric
from mergekit_calib.pareto import Choice, SelectionRule
from mergekit_calib.recipe import Axis, AxisKind, Expansion, axis_kind
from mergekit_calib.search import StrategyKind


class Golden:
    """A strategy: the golden section between the ends of the first axis, again and again to the right."""

    def __init__(self, share: float) -> None:
        self.share = share

    def ask(self, study):
        name, axis = next(iter(study.axes.items()))
        low, high = axis.numbers
        for _ in study.known:
            setting = {name: axis.place(low + self.share * (high - low)), **{a: 0.5 for a in study.axes if a != name}}
            if not study.has(setting):
                return study.start(setting)
            low += self.share * (high - low)
        return None


def a_share(value):
    return None if isinstance(value, float) and 0 < value < 1 else "expected a number between 0 and 1"


@axis_kind("ramp")
class Ramp(AxisKind):
    """A straight line over the layers, from one value in the first to another in the last."""

    ramp: Literal["linear"]

    def expand(self, name, axis, layers):
        ends = [f"{name}_first", f"{name}_last"]
        one_end = Axis(values=axis.values, low=axis.low, high=axis.high)
        return Expansion(dict.fromkeys(ends, one_end), lambda placeholder: [placeholder(end) for end in ends])


@hookimpl
def calib_search_strategies():
    return {"golden": StrategyKind(lambda o: Golden(o.get("share", 0.618)), options={"share": a_share})}


@hookimpl
def calib_metrics():
    def confidence(table, n_bins):
        return metrics.mean_statistic(table.probabilities.max(axis=1, initial=0.0, where=table.probabilities > 0))

    return [Metric("mean_confidence", "minimize", "confidence in the chosen option", confidence)]


@hookimpl
def calib_selection_rules():
    return {"last": SelectionRule(lambda candidates, _: Choice(candidates.ids[-1], "It is the last."))}


@hookimpl
def calib_axis_kinds():
    return [Ramp]
