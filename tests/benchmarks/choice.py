"""Compare rules that choose a point, over many splits of real item scores and in synthetic worlds with known truth.

    python tests/benchmarks/choice.py --demo OUT [--real OUT] [--splits 200]

OUT is the folder of a finished sweep: of the demo on a grid (`mergekit-yaml tests/benchmarks/choice_demo.yml OUT`), and
of the real pair (`mergekit-yaml tests/benchmarks/choice_real_pair.yml OUT`). It takes some ten minutes of a core.

A rule chooses on n items, and its choice is judged on the items that no rule chose on. Worlds:

- `demo`: random splits of the demo's 5,000 items, n = 250, 500, 1,250 and 2,500.
- `real`: random splits of the real pair's items, n = 200, 400, and half of the items.
- twelve synthetic worlds of 16 points along λ in 0 to 1.5 with four choices, n = 150, 500 and 1,500: base calibrated or
  under-confident; aligned 0.02 less accurate than base, as accurate, or 0.05 more accurate; the two models' errors
  nearly the same (correlation 0.95) or rather independent (0.6). Aligned is overconfident in all of them.
- three more with the sizes of BIG-Bench Hard's tasks, n = 60 and 125: 2, 5 and 10 choices, accuracies of 0.55, 0.4
  and 0.3, errors that correlate by 0.8.

Criteria, each divided by a loss that a user would notice, fixed before any result was seen:

- the share of choices that another point dominates on the other items (`pareto.dominates`), by 0.10;
- the mean regret on the other items (in synthetic worlds: on 20,000 items), against the best point of each metric:
  accuracy by 0.005, Brier score by 0.005, NLL by 0.01, ECE by 0.01;
- the standard deviation of the chosen λ, by 0.1.

A world's loss is the mean of these six, over its sizes. A rule's score is half the mean over all worlds, half the worst
world. Of the rows that choose on n items, the least score wins, and its rule is `pareto.DEFAULT_RULE`. That rule's
"all:" row decides whether points are chosen on all items.

"all:" rows choose on 2 n items, the n and as many others, where there are 3 n.
For the default rule, the benchmark also compares what would be quoted with the truth, in the synthetic worlds: the
choice of one half as the other half measures it; and for a choice on all items, the mean of each half's choice as the
other half measures it (cross-fitting).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from choice_worlds import METRICS, FloatArray, Measured, World, joined, real_world, synthetic_worlds

from mergekit_calib import pareto

UNITS = {"dominated": 0.10, "acc": 0.005, "brier": 0.005, "nll": 0.01, "ece": 0.01, "spread": 0.1}

RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "knee": ("knee", {}),
    "one_se, Brier then ECE": ("one_se", {"score": "brier", "then": "ece"}),
    "one_se, Brier then NLL": ("one_se", {"score": "brier", "then": "nll"}),
    "one_se, NLL then ECE": ("one_se", {"score": "nll", "then": "ece"}),
    "one_se, NLL then Brier": ("one_se", {"score": "nll", "then": "brier"}),
    "least Brier": ("least", {"score": "brier"}),
    "least NLL": ("least", {"score": "nll"}),
    "max accuracy": ("max", {"objective": "acc"}),
}


def judged(world: World, n: int, repeats: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return each rule's criteria in a world at one size, and what is quoted for the default rule against the truth."""
    rows: list[dict[str, Any]] = []
    quoted: list[dict[str, float]] = []
    for draw in world.draws(n, repeats, rng):
        first, other = draw.selection.measured(rng), draw.other.measured(rng)
        judges = draw.truth or other
        regrets, dominated = judges.regrets(), other.candidates(world.lambdas).dominates.any(axis=0)
        measured = {"": first}
        if draw.second is not None:
            measured["all: "] = joined(draw.selection, draw.second).measured(rng)
        chosen: dict[str, int] = {}
        for prefix, sample in measured.items():
            candidates = sample.candidates(world.lambdas)
            for label, (rule, options) in RULES.items():
                at = chosen[prefix + label] = candidates.ids.index(pareto.select(rule, candidates, options).id)
                row = dict(zip(METRICS, regrets[at], strict=True))
                rows.append({"rule": prefix + label, "dominated": dominated[at], "spread": world.lambdas[at], **row})
        if draw.truth is not None and draw.second is not None:
            second = draw.second.measured(rng)
            quoted.append(quotes(world.lambdas, first, second, measured["all: "], draw.truth))
    by_rule = pd.DataFrame(rows).groupby("rule", sort=False)
    criteria = by_rule[["dominated", *METRICS]].mean()
    criteria["spread"] = by_rule["spread"].std(ddof=1)
    return criteria, pd.DataFrame(quoted)


def quotes(lambdas: FloatArray, first: Measured, second: Measured, both: Measured, truth: Measured) -> dict[str, float]:
    """Return the errors of two ways to quote accuracy and ECE of the default rule's choice."""

    def choice(sample: Measured) -> int:
        candidates = sample.candidates(lambdas)
        return candidates.ids.index(pareto.select(pareto.DEFAULT_RULE, candidates, {}).id)

    on_first, on_second, on_both = choice(first), choice(second), choice(both)
    errors = {}
    for k, metric in enumerate(METRICS[:2]):
        errors[f"{metric}, one half"] = second.values[on_first, k] - truth.values[on_first, k]
        crossed = (second.values[on_first, k] + first.values[on_second, k]) / 2.0
        errors[f"{metric}, cross-fitted"] = crossed - truth.values[on_both, k]
    return errors


def losses(criteria: pd.DataFrame) -> pd.DataFrame:
    """Return the six criteria in the units of the docstring."""
    return criteria[list(UNITS)] / pd.Series(UNITS)


@click.command()
@click.option("--demo", type=click.Path(path_type=Path, exists=True), help="Folder of the demo's finished sweep.")
@click.option("--real", type=click.Path(path_type=Path, exists=True), help="Folder of a real pair's finished sweep.")
@click.option("--splits", default=200, show_default=True, help="Splits of the items of each sweep and size.")
@click.option("--draws", default=100, show_default=True, help="Draws of each synthetic world and size.")
def main(demo: Path | None, real: Path | None, splits: int, draws: int) -> None:
    """Print the tables as Markdown."""
    worlds = synthetic_worlds()
    if real is not None:
        worlds.insert(0, real_world("real pair", real, (200, 400, 10**9)))
    if demo is not None:
        worlds.insert(0, real_world("demo", demo, (250, 500, 1250, 2500)))
    by_world: dict[str, pd.Series] = {}
    every_quote = []
    criteria_of: dict[tuple[str, int], pd.DataFrame] = {}
    for i, world in enumerate(worlds):
        of_sizes = []
        for n in world.sizes:
            repeats = draws if world.name not in ("demo", "real pair") else splits
            criteria, quoted = judged(world, n, repeats, np.random.default_rng([i, n]))
            criteria_of[world.name, n] = criteria
            of_sizes.append(losses(criteria).mean(axis=1))
            if len(quoted):
                every_quote.append(quoted.assign(world=world.name, n=n))
        by_world[world.name] = pd.concat(of_sizes, axis=1).mean(axis=1)
        click.echo(f"{world.name}: done", err=True)
    print_tables(pd.DataFrame(by_world), criteria_of, pd.concat(every_quote))


def print_tables(
    by_world: pd.DataFrame, criteria_of: Mapping[tuple[str, int], pd.DataFrame], quoted: pd.DataFrame
) -> None:
    """Print the scores, the losses of every world, the criteria by size, and the errors of what is quoted."""
    scores = pd.DataFrame(
        {
            "score": (by_world.mean(axis=1) + by_world.max(axis=1)) / 2.0,
            "mean of worlds": by_world.mean(axis=1),
            "worst world": by_world.max(axis=1),
            "which": by_world.idxmax(axis=1),
        }
    )
    click.echo(scores.sort_values("score").to_markdown(floatfmt=".2f"))
    click.echo("\nLoss in each world:\n\n" + by_world.T.to_markdown(floatfmt=".2f"))
    for (name, n), criteria in criteria_of.items():
        if name in ("demo", "real pair"):
            shown = criteria * pd.Series({**dict.fromkeys(METRICS, 1000.0), "dominated": 100.0, "spread": 1.0})
            click.echo(f"\n{name}, n = {n:,} (dominated in %, regrets in thousandths):\n")
            click.echo(shown[list(UNITS)].to_markdown(floatfmt=".2f"))
    click.echo("\nErrors of the quoted numbers, in thousandths, by n:\n")
    errors = quoted.drop(columns="world").groupby("n")
    table = pd.concat({"bias": errors.mean(), "root mean square": (errors.agg(lambda e: (e**2).mean() ** 0.5))}, axis=1)
    click.echo((1000.0 * table).to_markdown(floatfmt=".1f"))


if __name__ == "__main__":
    main()
