"""Compare `bayesian` with racing against random searches, on the demo pair with a λ for each block and kind of module.

    python tests/benchmarks/search_demo.py [--seeds 20] [--limit 1000] [--points 200] [--out configs/results]

It takes a minute of a free core for each seed. The demo's models have three layers, so there are three blocks of one
layer, and with `self_attn` and `mlp` six λ. A dense random search scores `--points` points with all items; `bayesian`
with racing (its process on items, and that on objectives alone) and `random` without get a quarter of its item
evaluations, parents included. Four random searches together make a dense one (the parents count once for each), so
every four seeds share a dense search.

The hypervolume is that above the parents' lower accuracy and below their larger ECE. On the selection split, which the
searches see, it is of all points that were scored to the end; on the held-out split, which no search sees, it is of
those points that are non-dominated on the selection split. Item scores are kept by the points' content, so seeds share
them; a point from there costs its search as many item evaluations as if it had been scored. Finished searches are kept
as well and not run again, so a command that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mergekit.options import MergeOptions

from mergekit_calib import pareto
from mergekit_calib.demo import __file__ as demo_module
from mergekit_calib.items.metric_registry import BUILT_IN, MetricContext
from mergekit_calib.items.store import ItemStore, StoredPoint, Tables
from mergekit_calib.items.table import ItemTable, Split
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels, ReadyModel
from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.recipe import Point, dump_recipe, parse_sweep
from mergekit_calib.scoring.requests import run_requests
from mergekit_calib.search.racing import Documents
from mergekit_calib.storage.atomic import write_bytes_atomic, write_text_atomic
from mergekit_calib.sweep.folder import RunFolder
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared
from mergekit_calib.sweep.validation import strategy_of

TASK = "calib_demo"
DIRECTIONS: list[pareto.Direction] = ["maximize", "minimize"]
SPLITS: tuple[Split, Split] = ("selection", "held_out")
_TOGETHER = 4  # random searches that make a dense one
_RACING = {"blocks": 8, "error": 0.05}
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"strategy": "random"},
    "bayesian, objectives": {"strategy": "bayesian", "model": "objectives", "racing": _RACING},
    "bayesian": {"strategy": "bayesian", "racing": _RACING},
}
_COLOURS = {"random": "#8a8a8a", "bayesian, objectives": "#3b7a57", "bayesian": "#2f5d9b"}


class Remembered(ItemStore):
    """The item scores of one search, in memory."""

    def __init__(self) -> None:
        self._whole: dict[str, StoredPoint] = {}
        self._parts: dict[str, StoredPoint] = {}

    def load(self, key: str) -> StoredPoint | None:
        return self._whole.get(key)

    def load_part(self, key: str) -> StoredPoint | None:
        return self._parts.get(key)

    def described(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return iter(())

    def save(self, key: str, point: StoredPoint, facts: Mapping[str, Any], whole: bool = True) -> Path:
        (self._whole if whole else self._parts)[key] = point
        return Path()


class Scorer:
    """Scores points with one live model, and keeps the scores of each split on disk.

    Documents, their hashes and their labels come from the first model that is scored; for the others only the
    log-likelihoods are computed, with the suite's own requests and scorer.
    """

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        self.prepared, self._folder = prepared, folder
        self._models = PointModels(
            prepared.options, prepared.tokenizer, folder / "scratch", prepared.device, prepared.dtype
        )
        self.template = self._first()
        (entry,) = prepared.suite.entries
        selected = dict(zip(self.template.doc_ids.tolist(), self.template.in_selection_split.tolist(), strict=True))
        self._requests: dict[Split, list[Any]] = {"selection": [], "held_out": []}
        for instance in entry.tasks[0].instances:
            self._requests["selection" if selected[instance.doc_id] else "held_out"].append(instance)

    def scored(self, point: Point, split: Split) -> tuple[str, ItemTable]:
        """Return the digest of a point's weights, and its item table with the log-likelihoods of that split only."""
        path = self._folder / f"{self.prepared.key_of(point)}-{split}.npz"
        rows = self.template.rows(split)
        if not path.exists():
            log_likelihoods, digest = self._score(point, split)
            buffer = io.BytesIO()
            np.savez(buffer, log_likelihoods=log_likelihoods, digest=digest)
            write_bytes_atomic(path, buffer.getvalue())
        kept = np.load(path)
        everything = np.full_like(self.template.log_likelihoods, -1.0)
        everything[rows] = kept["log_likelihoods"]
        return str(kept["digest"]), dataclasses.replace(self.template, log_likelihoods=everything)

    def _score(self, point: Point, split: Split) -> tuple[np.ndarray, str]:
        with self._models.at(point) as ready:
            requests = self._requests[split]
            run_requests(self._lm(ready), requests)
            by_document: dict[int, list[float]] = {}
            for request in sorted(requests, key=lambda request: (request.doc_id, request.idx)):
                by_document.setdefault(request.doc_id, []).append(request.resps[0][0])
            return np.array([by_document[i] for i in self.template.doc_ids[self.template.rows(split)]]), ready.digest

    def _first(self) -> ItemTable:
        with self._models.at(self.prepared.parents[0]) as ready:
            ((table,),) = self.prepared.suite.score(self._lm(ready)).values()
        return dataclasses.replace(table, values={})

    def _lm(self, ready: ReadyModel) -> PrefixLM:
        return build_lm(
            ready.model,
            ready.tokenizer,
            batch_size=self.prepared.sweep.calibration.batch_size,
            model_args=self.prepared.model_args,
            prefix_trees=self.prepared.suite.prefix_trees,
        )


def part(table: ItemTable, documents: Documents | None) -> Tables:
    """Return the tables that scoring only those documents would have given."""
    return {TASK: [table if documents is None else table.take(np.isin(table.doc_ids, documents[TASK]))]}


def recipe(limit: int) -> dict[str, Any]:
    demo = Path(demo_module).parent
    return {
        "merge_method": "calibration_sweep",
        "base_model": str(demo / "base"),
        "models": [{"model": str(demo / "aligned")}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": {"blocks": 3, "filters": ["self_attn", "mlp"], "min": 0.0, "max": 1.5}},
            "search": {"strategy": "random", "points": 1},
            "suite": [{"task": TASK, "limit": limit}],
            "objectives": ["acc", "ece"],
            "model_args": {"dtype": "float32"},
            "batch_size": 256,
        },
    }


def search(name: str, seed: int, budget: int, scorer: Scorer, folder: Path) -> list[dict[str, Any]]:
    """Run one search, and return each of its points with its cost and its objectives on the selection split."""
    prepared = scorer.prepared
    block = prepared.sweep.calibration
    settings = type(block.search)(**SEARCHES[name], item_evaluations=budget, seed=seed)
    sweep = dataclasses.replace(prepared.sweep, calibration=block.model_copy(update={"search": settings}))
    mine = dataclasses.replace(prepared, sweep=sweep, folder=RunFolder(folder), strategy=strategy_of(sweep))
    mine.folder.items = Remembered()
    points: list[dict[str, Any]] = []
    with mine.folder.joined(mine.study_name) as session:
        loop = mine.search(session)
        for point in loop.points():
            digest, table = scorer.scored(point, "selection")
            stored = loop.score(point, digest, lambda wanted, table=table: part(table, wanted))
            loop.finish(point, stored)
            stopped = stored.stopped is not None
            seen = objectives(table, "selection")
            points.append({"axes": point.axes, "items": stored.n_items, "stopped": stopped, "selection": seen})
    return points


def objectives(table: ItemTable, split: Split) -> list[float]:
    """Return accuracy and ECE of the items of one split."""
    kept = table.take(table.rows(split))
    by_name = {metric.name: metric for metric in BUILT_IN}
    return [float(by_name[name].statistic(kept, MetricContext()).value()) for name in ("acc", "ece")]


@dataclass(frozen=True)
class Runs:
    """The finished searches, one JSON file each.

    Attributes:
        scorer: scores the searches' points.
        folder: holds the files.
        dense: item evaluations of the dense search; the others have a quarter.
    """

    scorer: Scorer
    folder: Path
    dense: int

    def get(self, name: str, seed: int) -> list[dict[str, Any]]:
        """Return the points of a search, which is run if it is not among the finished ones."""
        path = self.folder / f"{name}-{self.dense}-{seed}.json"
        if not path.exists():
            with tempfile.TemporaryDirectory() as scratch:
                write_text_atomic(path, json.dumps(search(name, seed, self.dense // 4, self.scorer, Path(scratch))))
        points: list[dict[str, Any]] = json.loads(path.read_text())
        return points


class Judge:
    """Computes the hypervolume of searches on the held-out split of the scorer's items."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._parents = [self._values(point) for point in scorer.prepared.parents]

    def hypervolume(self, points: list[dict[str, Any]]) -> float:
        """Return the hypervolume of the points that are non-dominated on the selection split."""
        whole = [p for p in points if not p["stopped"]]
        best = pareto.non_dominated(np.array([p["selection"] for p in whole]), DIRECTIONS)
        space = self._scorer.prepared
        axes = [p["axes"] for p, is_best in zip(whole, best, strict=True) if is_best]
        values = [self._values(space.point(a)) for a in axes if not space.is_parent(a)]
        return pareto.hypervolume(np.array([*self._parents, *values]), DIRECTIONS, reference_point(self._parents))

    def _values(self, point: Point) -> list[float]:
        return objectives(self._scorer.scored(point, "held_out")[1], "held_out")


def reference_point(parents: list[list[float]]) -> np.ndarray:
    """Return the parents' lower accuracy and larger ECE."""
    return np.array([min(p[0] for p in parents), max(p[1] for p in parents)])


def course(points: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    """Return item evaluations, and the hypervolume on the selection split, after each point; parents come first."""
    reference = reference_point([p["selection"] for p in points[:2]])
    whole = np.array([[np.nan, np.nan] if p["stopped"] else p["selection"] for p in points])
    volumes = []
    for n in range(1, len(points) + 1):
        seen = whole[:n][~np.isnan(whole[:n, 0])]
        volumes.append(pareto.hypervolume(seen, DIRECTIONS, reference))
    return np.cumsum([p["items"] for p in points]).tolist(), volumes


def compare(runs: Runs, judge: Judge, seeds: int) -> pd.DataFrame:
    """Return a row for each seed and search, with the hypervolumes on both splits as shares of the dense search's."""
    rows = []
    for seed in range(seeds):
        first = seed - seed % _TOGETHER
        dense = [point for other in range(first, first + _TOGETHER) for point in runs.get("random", other)]
        whole, judged = course(dense)[1][-1], judge.hypervolume(dense)
        for name in SEARCHES:
            points = runs.get(name, seed)
            rows.append(
                {
                    "seed": seed,
                    "search": name,
                    "points": len(points),
                    "stopped": sum(p["stopped"] for p in points),
                    "items": sum(p["items"] for p in points),
                    "selection": course(points)[1][-1] / whole,
                    "held_out": judge.hypervolume(points) / judged,
                }
            )
    return pd.DataFrame(rows)


def table(results: pd.DataFrame) -> str:
    """Return a Markdown table of each search's shares of the dense search, and in how many seeds it is ahead."""
    columns = ["", "item evaluations", "points (stopped)"]
    for split in ("selection split", "held-out split"):
        columns += [split, "least", "seeds ≥ 98 %", "above `random`"]
    lines = ["| " + " | ".join(columns) + " |", "| --- " + "| --: " * (len(columns) - 1) + "|"]
    wide = results.pivot(index="seed", columns="search", values=["selection", "held_out"])
    n = len(wide)
    for name in SEARCHES:
        mine = results[results.search == name]
        cells = [
            f"`{name}`" + (", racing" if "racing" in SEARCHES[name] else ""),
            f"{100 * mine['items'].mean() / (_TOGETHER * mine['items'].max()):.0f} %",
            f"{mine.points.mean():.1f} ({mine.stopped.mean():.1f})",
        ]
        for split in SPLITS:
            above = int((wide[split][name] > wide[split]["random"]).sum())
            cells += [
                f"{100 * mine[split].mean():.0f} %",
                f"{100 * mine[split].min():.0f} %",
                f"{int((mine[split] >= 0.98).sum())} of {n}",
                "" if name == "random" else f"{above} of {n}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(runs: Runs, seeds: int) -> Figure:
    """Draw the hypervolume on the selection split over item evaluations, and where the dense searches end."""
    drawn = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = drawn.subplots()
    at = np.linspace(runs.dense / 200, runs.dense / 4, 120)
    for name, colour in _COLOURS.items():
        lines = []
        for seed in range(seeds):
            items, volumes = course(runs.get(name, seed))
            lines.append([volumes[max(int(np.searchsorted(items, x, side="right")) - 1, 0)] for x in at])
        axes.plot(
            at, np.mean(lines, axis=0), color=colour, label=name + (", racing" if "racing" in SEARCHES[name] else "")
        )
        axes.fill_between(at, np.min(lines, axis=0), np.max(lines, axis=0), color=colour, alpha=0.12, linewidth=0)
    ends = []
    for first in range(0, seeds, _TOGETHER):
        ends.append(course([p for s in range(first, first + _TOGETHER) for p in runs.get("random", s)])[1][-1])
    axes.axhspan(min(ends), max(ends), color="#c9a227", alpha=0.25, linewidth=0)
    axes.axhline(float(np.mean(ends)), color="#c9a227", label=f"dense random search, {runs.dense:,} items")
    axes.set_xlabel("item evaluations")
    axes.set_ylabel("hypervolume, selection split")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return drawn


def scorer_of(limit: int, cache: Path) -> Scorer:
    register()
    sweep = parse_sweep(dump_recipe(recipe(limit)), registered_signatures(), "search_demo")
    return Scorer(prepare(sweep, cache / f"run-{limit}", MergeOptions(quiet=True)), cache / f"items-{limit}")


@click.command(help=__doc__.partition("\n\n")[0])
@click.option("--seeds", default=20, show_default=True)
@click.option("--limit", default=1000, show_default=True, help="Items that a search sees, both splits together.")
@click.option(
    "--judge-limit", type=int, help="Items whose held-out split is used for the comparison; --limit if not given."
)
@click.option("--points", default=200, show_default=True, help="Points of the dense search.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".search_demo"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("configs/results"), show_default=True)
def main(seeds: int, limit: int, judge_limit: int | None, points: int, cache: Path, out: Path) -> None:
    runs = Runs(scorer_of(limit, cache), cache / "runs", points * limit)
    for seed in range(seeds):
        for name in SEARCHES:
            click.echo(f"seed {seed:>2} {name:<9} hypervolume {course(runs.get(name, seed))[1][-1]:.5f}")
    judging = runs.scorer if judge_limit is None else scorer_of(judge_limit, cache)
    results = compare(runs, Judge(judging), seeds)
    out.mkdir(parents=True, exist_ok=True)
    results.round(4).to_csv(out / "search_demo.csv", index=False)
    write_text_atomic(out / "search_demo.md", table(results))
    figure(runs, seeds).savefig(out / "search_demo.png", dpi=130)
    click.echo(table(results))


if __name__ == "__main__":
    main()
