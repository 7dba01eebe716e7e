"""Paired differences and baselines with given outcomes, for results whose sentences are checked."""

from __future__ import annotations

from helpers.report_factory import make_frontier
from mergekit_calib.results.baseline_findings import Baseline
from mergekit_calib.results.choice_findings import BothSplits, Selection
from mergekit_calib.results.findings import Difference
from mergekit_calib.results.frontier import Frontier, Superiority

BETTER, WORSE, NEITHER = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.02)  # intervals of a gain


def difference(gain: tuple[float, float], sign: int = 1) -> Difference:
    low, high = sorted(sign * g for g in gain)
    p = {BETTER: 0.001, WORSE: 0.999, NEITHER: 0.2}[gain]  # one-sided, of a gain
    return Difference(value=(low + high) / 2, low=low, high=high, n=600, p=p)


def compared(acc: tuple[float, float], ece: tuple[float, float]) -> dict[str, Difference]:
    return {"acc": difference(acc), "ece": difference(ece, -1)}


def with_baselines(recalibrated, plain, select: str = "lambda=0.6", **fields) -> Frontier:
    frontier = make_frontier(select=select, **fields)
    metrics = frontier.points[0].metrics
    frontier.baselines = [
        Baseline(
            id="aligned+T",
            kind="temperature",
            of=["lambda=1"],
            temperatures={"calib_demo": 1.834},
            metrics=metrics,
            differences={f"{select}+T": compared(*recalibrated), select: compared(*plain)},
        ),
        Baseline(
            id="base&aligned",
            kind="average",
            of=["lambda=0", "lambda=1"],
            models_run=2,
            metrics=metrics,
            differences={select: compared(NEITHER, BETTER)},
        ),
        Baseline(id=f"{select}+T", kind="temperature", of=[select], temperatures={"calib_demo": 1.2}, metrics=metrics),
    ]
    return frontier


def assert_holds(text: str, *facts: str) -> None:
    """Check that each of `facts` stands in `text`, in this order."""
    at = 0
    for fact in facts:
        assert fact in text[at:], (fact, text)
        at = text.index(fact, at) + len(fact)


def sound(**fields: object) -> Frontier:
    """A sweep to which no caveat applies: λ = 0.6 is better than both parents and chosen on both splits."""
    frontier = make_frontier(select="lambda=0.6", **fields)
    chosen = frontier.point("lambda=0.6")
    chosen.superiority = Superiority(shown=True, p=0.001, p_adjusted=0.01)
    chosen.dominated_by = {}
    frontier.detectable = {"acc": 0.02, "ece": 0.02}
    return frontier


def with_baseline(frontier: Frontier, differences: dict[str, Difference], **fields: object) -> Frontier:
    known = {"id": "aligned+T", "kind": "temperature", "of": ["lambda=1"], "temperatures": {"calib_demo": 1.83}}
    baseline = Baseline(**known | {"differences": {"lambda=0.6": differences}} | fields)
    frontier.baselines = [*frontier.baselines, baseline]
    return frontier


def splits(other: str, shares: dict[str, float], **differences: dict[str, Difference]) -> BothSplits:
    """The choices of both splits: λ = 0.6, and `other` on the held-out split."""
    chosen = {"selection": "lambda=0.6", "held_out": other}
    return BothSplits(
        choices={split: Selection(rule="knee", point=point, reason="") for split, point in chosen.items()},
        on_other_split={},
        differences=differences,
        choice_shares=shares,
    )
