"""The demo pair, λ by blocks of layers and kinds of module: `bayesian` with racing against random searches.

    python tests/benchmarks/search_demo.py [--seeds 20] [--limit 1000] [--points 200] [--out configs/results]

The demo's models have three layers, so there are three blocks of one layer, and with `self_attn` and `mlp` six λ.
A dense random search scores `--points` points with all items; `bayesian` with racing and `random` without get a quarter
of its item evaluations, parents included. Four random runs together, of which the parents count once for each, are a
dense search of four times the budget, so there is one for every four seeds, and each seed is judged by its own.

Hypervolume is above the parents' lower accuracy and below their larger ECE: on the *selection* half, which the searches
see, of all points that were scored to the end; and on the *report* half, which they do not see, of the points that are
non-dominated on the other one. Scores are kept by the points' content, so seeds share them; a point from there costs
its search as many item evaluations as if it had been scored. Runs that are done are kept as well, and not run again.
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
from mergekit.options import MergeOptions

from mergekit_calib import pareto
from mergekit_calib.checks import strategy_of
from mergekit_calib.demo import __file__ as demo_module
from mergekit_calib.files import write_bytes_atomic, write_text_atomic
from mergekit_calib.items import Half, ItemTable
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels, ReadyModel
from mergekit_calib.objectives import BUILT_IN
from mergekit_calib.preflight import prepare
from mergekit_calib.prepared import Prepared
from mergekit_calib.recipe import Point, dump_recipe, parse_sweep
from mergekit_calib.run_folder import RunFolder
from mergekit_calib.scoring.model import PrefixLM, build_lm
from mergekit_calib.search.racing import Documents
from mergekit_calib.search.store import ItemStore, StoredPoint, Tables

TASK = "calib_demo"
DIRECTIONS: list[pareto.Direction] = ["maximize", "minimize"]
HALVES: tuple[Half, Half] = ("selection", "report")
_TOGETHER = 4  # random searches that make a dense one
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"strategy": "random"},
    "bayesian": {"strategy": "bayesian", "racing": {"blocks": 8, "error": 0.05}},
}


class Remembered(ItemStore):
    """Item scores of one search, in memory: nothing here is killed and goes on."""

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
    """Scores points with one live model, each half once: what was scored is kept on disk.

    Documents, their hashes and which choices are right come from the first model that is scored; of the others only the
    log-likelihoods are taken, by the suite's own requests and scorer.
    """

    def __init__(self, prepared: Prepared, folder: Path) -> None:
        self.prepared, self._folder = prepared, folder
        self._models = PointModels(
            prepared.options, prepared.tokenizer, folder / "scratch", prepared.device, prepared.dtype
        )
        self.template = self._first()
        (entry,) = prepared.suite.entries
        selected = dict(zip(self.template.doc_ids.tolist(), self.template.in_selection_half.tolist(), strict=True))
        self._requests: dict[Half, list[Any]] = {"selection": [], "report": []}
        for instance in entry.tasks[0].instances:
            self._requests["selection" if selected[instance.doc_id] else "report"].append(instance)

    def scored(self, point: Point, half: Half) -> tuple[str, ItemTable]:
        """The digest of a point's weights, and its item table, with the log-likelihoods of that half only."""
        path = self._folder / f"{self.prepared.key_of(point)}-{half}.npz"
        rows = self.template.rows(half)
        if not path.exists():
            log_likelihoods, digest = self._score(point, half)
            buffer = io.BytesIO()
            np.savez(buffer, log_likelihoods=log_likelihoods, digest=digest)
            write_bytes_atomic(path, buffer.getvalue())
        kept = np.load(path)
        everything = np.full_like(self.template.log_likelihoods, -1.0)
        everything[rows] = kept["log_likelihoods"]
        return str(kept["digest"]), dataclasses.replace(self.template, log_likelihoods=everything)

    def _score(self, point: Point, half: Half) -> tuple[np.ndarray, str]:
        with self._models.at(point) as ready:
            requests = self._requests[half]
            self.prepared.suite._run(self._lm(ready), requests)
            by_document: dict[int, list[float]] = {}
            for request in sorted(requests, key=lambda request: (request.doc_id, request.idx)):
                by_document.setdefault(request.doc_id, []).append(request.resps[0][0])
            return np.array([by_document[i] for i in self.template.doc_ids[self.template.rows(half)]]), ready.digest

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
            arrangements=self.prepared.suite.arrangements,
        )


def part(table: ItemTable, documents: Documents | None) -> Tables:
    """What scoring only those documents would have given."""
    return {TASK: [table if documents is None else table.take(np.isin(table.doc_ids, documents[TASK]))]}


def recipe(limit: int | None) -> dict[str, Any]:
    demo = Path(demo_module).parent
    return {
        "merge_method": "calibration_sweep",
        "base_model": str(demo / "base"),
        "models": [{"model": str(demo / "aligned")}],
        "dtype": "bfloat16",
        "calibration": {
            "axes": {"lambda": {"blocks": 3, "filters": ["self_attn", "mlp"], "min": 0.0, "max": 1.5}},
            "search": {"strategy": "random", "points": 1},
            "suite": [{"task": TASK, "limit": limit} if limit else TASK],
            "objectives": ["acc", "ece"],
            "model_args": {"dtype": "float32"},
            "batch_size": 256,
        },
    }


def search(name: str, seed: int, budget: int, scorer: Scorer, judge: Scorer, folder: Path) -> list[dict[str, Any]]:
    """One search: each of its points with what it cost and its objectives on both halves."""
    prepared = scorer.prepared
    block = prepared.sweep.calibration
    settings = type(block.search)(**SEARCHES[name], item_evaluations=budget, seed=seed)
    sweep = dataclasses.replace(prepared.sweep, calibration=block.model_copy(update={"search": settings}))
    mine = dataclasses.replace(prepared, sweep=sweep, folder=RunFolder(folder), strategy=strategy_of(sweep))
    mine.folder.items = Remembered()
    points: dict[str, dict[str, Any]] = {}
    scored: dict[str, Point] = {}
    with mine.folder.joined(mine.study_name) as session:
        going = mine.search(session)
        for point in going.points():
            digest, table = scorer.scored(point, "selection")
            stored = going.score(point, digest, lambda wanted, table=table: part(table, wanted))
            going.finish(point, stored)
            stopped = stored.stopped is not None
            seen = objectives(table, "selection")
            points[point.id] = {"axes": point.axes, "items": stored.n_items, "stopped": stopped, "selection": seen}
            scored[point.id] = point
    whole = [name for name, found in points.items() if not found["stopped"]]
    best = pareto.non_dominated(np.array([points[name]["selection"] for name in whole]), DIRECTIONS)
    for name in {*(name for name, is_best in zip(whole, best, strict=True) if is_best), *list(points)[:2]}:
        points[name]["report"] = objectives(judge.scored(scored[name], "report")[1], "report")
    return list(points.values())


def objectives(table: ItemTable, half: Half) -> list[float]:
    """Accuracy and ECE of the items of one half."""
    kept = table.take(table.rows(half))
    by_name = {metric.name: metric for metric in BUILT_IN}
    return [float(by_name[name].statistic(kept, 15).value()) for name in ("acc", "ece")]


@dataclass(frozen=True)
class Runs:
    """The searches that are done, one JSON file each.

    Attributes:
        scorer: what the searches see.
        judge: the same pair with all items, of which the report half judges.
        folder: where they are kept.
        dense: item evaluations of the dense search; the others have a quarter.
    """

    scorer: Scorer
    judge: Scorer
    folder: Path
    dense: int

    def get(self, name: str, seed: int) -> list[dict[str, Any]]:
        path = self.folder / f"{name}-{self.dense}-{seed}.json"
        if not path.exists():
            with tempfile.TemporaryDirectory() as scratch:
                points = search(name, seed, self.dense // 4, self.scorer, self.judge, Path(scratch))
            write_text_atomic(path, json.dumps(points))
        found: list[dict[str, Any]] = json.loads(path.read_text())
        return found


def shares(points: list[dict[str, Any]], reference: dict[Half, np.ndarray]) -> dict[Half, float]:
    """Hypervolume on each half; on the report half, of what is non-dominated on the other."""
    whole = [p for p in points if not p["stopped"]]
    seen = np.array([p["selection"] for p in whole])
    best = pareto.non_dominated(seen, DIRECTIONS)
    chosen = np.array([p["report"] for p, is_best in zip(whole, best, strict=True) if is_best])
    return {
        "selection": pareto.hypervolume(seen, DIRECTIONS, reference["selection"]),
        "report": pareto.hypervolume(chosen, DIRECTIONS, reference["report"]),
    }


def worse_parent(points: list[dict[str, Any]]) -> dict[Half, np.ndarray]:
    """The reference point on each half; every search begins with the parents."""
    return {h: np.array([min(p[h][0] for p in points[:2]), max(p[h][1] for p in points[:2])]) for h in HALVES}


def compare(runs: Runs, seeds: int) -> pd.DataFrame:
    """A row for each seed: hypervolumes on both halves of both searches, as shares of the dense search's."""
    rows = []
    for group in range(0, seeds, _TOGETHER):
        members = range(group, group + _TOGETHER)
        dense = [point for seed in members for point in runs.get("random", seed)]
        reference = worse_parent(dense)
        of_dense = shares(dense, reference)
        for seed in range(group, min(group + _TOGETHER, seeds)):
            row: dict[str, Any] = {"seed": seed}
            for name in SEARCHES:
                points = runs.get(name, seed)
                row |= {f"{name} {h}": v / of_dense[h] for h, v in shares(points, reference).items()}
                row[f"{name} items"] = sum(p["items"] for p in points)
                row[f"{name} points"] = len(points)
                row[f"{name} stopped"] = sum(p["stopped"] for p in points)
            rows.append(row)
            click.echo(
                f"seed {seed:>2}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float)), nl=True
            )
    return pd.DataFrame(rows)


@click.command()
@click.option("--seeds", default=20, show_default=True)
@click.option("--limit", default=1000, show_default=True, help="Items of the demo's task, both halves together.")
@click.option("--points", default=200, show_default=True, help="Of the dense search.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".search_demo"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("configs/results"), show_default=True)
@click.option("--only", default="", help="Run these seeds, as 4-7, and stop: for several processes at a time.")
def main(seeds: int, limit: int, points: int, cache: Path, out: Path, only: str) -> None:
    runs = Runs(scorer_of(limit, cache), scorer_of(None, cache), cache / "runs", points * limit)
    for name, seed in [(name, seed) for seed in seeds_of(only) for name in SEARCHES]:
        runs.get(name, seed)
    if only:
        return
    results = compare(runs, seeds)
    print(results.describe().T.to_string())


def scorer_of(limit: int | None, cache: Path) -> Scorer:
    register()
    sweep = parse_sweep(dump_recipe(recipe(limit)), registered_signatures(), "search_demo")
    name = f"{limit or 'all'}"
    return Scorer(prepare(sweep, cache / f"run-{name}", MergeOptions(quiet=True)), cache / f"items-{name}")


def seeds_of(text: str) -> list[int]:
    """`3-5` → 3, 4, 5; nothing of nothing."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1)) if text else []


if __name__ == "__main__":
    main()
