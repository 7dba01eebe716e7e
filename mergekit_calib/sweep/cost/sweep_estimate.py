"""The cost of a sweep: points, tokens, operations, memory, disk and time, before anything is loaded."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mergekit.options import MergeOptions

from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.memory import SCORING_BYTES
from mergekit_calib.merging.models import compute_dtype
from mergekit_calib.prefix_lm.weightless import weightless_lm
from mergekit_calib.recipe import Sweep
from mergekit_calib.results.cost import Disk, Duration, EntryCost, FittingSuite, PointCount, SweepCost
from mergekit_calib.search.evaluation import Evaluator
from mergekit_calib.search.racing import Race
from mergekit_calib.sweep.cost.answer_times import answer_seconds
from mergekit_calib.sweep.cost.gpu_table import Gpu
from mergekit_calib.sweep.cost.point_counts import count_points
from mergekit_calib.sweep.cost.point_shapes import answers_together, merged_dtype, model_of_points, tokenizer_of
from mergekit_calib.sweep.cost.scoring_rates import Rates, rates_here, rates_of_gpu, slowdown_of
from mergekit_calib.sweep.cost.statistics_times import proposal_seconds, statistics_seconds
from mergekit_calib.sweep.cost.suite_work import SuiteWork
from mergekit_calib.sweep.preflight import prepare
from mergekit_calib.sweep.prepared import Prepared

_READ = 1e9  # bytes a second from disk; assumed
_WRITE = 5e8  # bytes a second of mergekit's writer, with the fingerprint of what it wrote; assumed
_LOAD = 1.5  # seconds of the first point beside its weights: trials of packed steps and of products, the study
_GUESSES = 8  # of the largest limit that fits
_REPORT = 2.2  # seconds for pictures and page
_REPORT_BYTES = 2_000_000
_ITEM_BYTES, _POINT_BYTES = 67, 8_000  # of item scores


@dataclass(frozen=True)
class _Costs:
    """What the parts of an estimate share."""

    prepared: Prepared
    suite_work: SuiteWork
    rates: Rates
    answers: dict[str, float]
    start: float
    n_numbers: int
    workers: int

    def seconds(self, n_points: int, entries: Sequence[EntryCost]) -> Duration:
        """Return how long a sweep takes."""
        prepared, rates = self.prepared, self.rates
        mine = math.ceil(n_points / self.workers)  # the last worker to finish
        items = sum(entry.items for entry in entries)
        read = sum(model.n_bytes for model in prepared.models.values())
        written = self.n_numbers * merged_dtype(prepared).itemsize
        score = sum(map(self.score_seconds, entries))
        merge = self.n_numbers * rates.merge * slowdown_of(prepared.sweep.method.split(", "))
        if prepared.memory.streams:
            merge += read / _READ
        n_new = n_points - len(prepared.parents)
        statistics = (
            statistics_seconds(prepared, items, mine) + n_new * proposal_seconds(prepared, items) / self.workers
        )
        return Duration(
            start=self.start,
            load=_LOAD + read / _READ + 2 * merge,
            merge=mine * merge,
            score=mine * score,
            answers=mine * sum(entry.items * self.answers[entry.name] for entry in entries),
            statistics=statistics,
            write=_REPORT + written / _WRITE,
        )

    def score_seconds(self, entry: EntryCost) -> float:
        """Return how long the model takes for one entry of one point."""
        rates = self.rates
        prompts = 1 - entry.decode_flops / entry.flops if entry.flops else 0.0
        packed = prompts * (entry.body_flops / rates.body + entry.head_flops / rates.head)
        least = rates.least_step * math.ceil(entry.run / self.suite_work.limits.step_tokens)
        return max(packed, least) + entry.decode_steps * rates.decode_step


def estimate_cost(
    sweep: Sweep,
    out_path: Path,
    options: MergeOptions,
    gpu: Gpu | None = None,
    workers: int = 1,
    minutes: float | None = None,
    started: float | None = None,
) -> SweepCost:
    """Check a sweep as its run would, and return what it costs; nothing is written, and no weights are loaded.

    Args:
        sweep: the parsed sweep.
        out_path: the output folder, which need not exist.
        options: mergekit's options.
        gpu: the device to plan for; None for this machine.
        workers: how many workers share the points, each with a device of its own.
        minutes: if given, the largest suite that fits into this time is found.
        started: the processor time from which on reading and tokenising count as the start of a run; 0 for all that
            this process has taken, imports included; None for now.

    Raises:
        CalibError: the first mistake that was found.
    """
    began = time.process_time() if started is None else started
    with silence_transformers():
        here = workers if gpu is None else 1
        gpu_bytes = None if gpu is None else int(gpu.gigabytes * 1e9)
        prepared = prepare(sweep, out_path, options, workers=here, gpu_bytes=gpu_bytes)
        return _estimated(prepared, gpu, workers, minutes, began)


def _estimated(prepared: Prepared, gpu: Gpu | None, workers: int, minutes: float | None, began: float) -> SweepCost:
    """Return what a sweep costs that was checked."""
    tokenizer = tokenizer_of(prepared)
    model = model_of_points(prepared, tokenizer)
    dtype = compute_dtype(prepared.dtype) or merged_dtype(prepared)
    lm = weightless_lm(model, tokenizer, prepared.model_args)
    racing = prepared.sweep.calibration.search.racing
    evaluator = Evaluator(prepared.objectives, [], 1, 0)  # the race's blocks do not depend on it
    blocks = Race(racing, evaluator, prepared.suite.documents).blocks if racing else None
    work = SuiteWork(prepared.suite, lm, prepared.device, answers_together(prepared, model, dtype, gpu), blocks)
    entries = work.entries()
    start = time.process_time() - began
    batches = work.batches()
    layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    if gpu is None:
        rates = rates_here(model, work.tokens(), batches, dtype, merged_dtype(prepared), prepared.device, work.packs)
    else:
        rates = rates_of_gpu(gpu, dtype, work.work, layers, batches)
    n_numbers = prepared.memory.live // dtype.itemsize
    costs = _Costs(prepared, work, rates, answer_seconds(prepared.suite), start, n_numbers, workers)
    points = _with_minutes(count_points(prepared), costs, entries)
    n_items = sum(entry.items for entry in entries)
    likely = points.likely or points.most
    memory = prepared.memory
    return SweepCost(
        title=f"{' → '.join(prepared.sweep.parent_models.values())}, {prepared.sweep.method}",
        points=points,
        entries=entries,
        n_active=work.work.n_active,
        dtype=str(dtype).removeprefix("torch."),
        device=gpu.title if gpu else _name_of(prepared.device),
        workers=workers,
        live=memory.live,
        parents=memory.parents,
        scoring=SCORING_BYTES,
        building=memory.building,
        on_device=memory.on_device,
        on_host=memory.on_host,
        parents_mapped=not memory.parents,
        streams=memory.streams,
        disk=_disk(prepared, n_numbers, n_items, likely or len(prepared.parents)),
        seconds=costs.seconds(points.likely, entries) if points.likely else None,
        seconds_at_most=costs.seconds(points.most, entries) if points.most else None,
        point_seconds=_point_seconds(costs, entries),
        basis=rates.basis,
        fitting=_fitting(costs, points, minutes) if minutes is not None else None,
        notes=[*prepared.notes, *_notes(prepared, gpu, workers)],
    )


def _notes(prepared: Prepared, gpu: Gpu | None, workers: int) -> list[str]:
    """Return what the reader should know about the estimate."""
    notes = []
    if workers > 1 and gpu is None and prepared.device.type == "cpu":
        notes.append("Workers on one CPU share its cores, so they gain less than is estimated here.")
    if gpu is None and hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > (os.cpu_count() or 1) + 1:
        notes.append(
            f"This machine is busy (load {load:.0f}): the estimate is for a machine that is as busy all the time."
        )
    if any(model.reference.lora for model in prepared.models.values()):
        notes.append("Merging the LoRAs, once at the start, is not part of the estimate.")
    return notes


def _point_seconds(costs: _Costs, entries: Sequence[EntryCost]) -> float:
    """Return how long one more point takes one worker."""
    n = costs.workers * 10
    one = costs.seconds(n + costs.workers, entries).total - costs.seconds(n, entries).total
    return max(one, 0.0)


def _with_minutes(points: PointCount, costs: _Costs, entries: Sequence[EntryCost]) -> PointCount:
    """Return the number of points with the budget's minutes, after which no point is begun."""
    minutes = costs.prepared.sweep.calibration.search.minutes
    if minutes is None:
        return points
    n_parents = len(costs.prepared.parents)
    each = max(_point_seconds(costs, entries), 1e-3)
    in_time = max(n_parents, costs.workers * (int(60 * minutes / each) + 1))
    if points.likely is not None and points.likely <= in_time:
        return points
    basis = f"{costs.prepared.strategy.name} with search.minutes: {minutes:g}, at {each:.3g} s a point"
    return PointCount(in_time, points.most, f"{basis}; {n_parents} parent{'s' if n_parents != 1 else ''}")


def _fitting(costs: _Costs, points: PointCount, minutes: float) -> FittingSuite:
    """Return the largest `limit`, the same for every task, with which the sweep fits into some minutes."""
    n_points = points.likely or len(costs.prepared.parents)

    def of(limit: int | None) -> tuple[int, float]:
        entries = costs.suite_work.entries(limit)
        return sum(entry.items for entry in entries), costs.seconds(n_points, entries).total

    items, seconds = of(None)
    if seconds <= 60 * minutes:
        return FittingSuite(minutes, None, items, seconds)
    allowed = 60 * minutes
    below, above = (1, of(1)), (costs.suite_work.most_documents, (items, seconds))
    if below[1][1] > allowed:
        return FittingSuite(minutes, 0, 0, below[1][1])
    for _ in range(_GUESSES):  # time is nearly linear in the number of documents
        share = (allowed - below[1][1]) / (above[1][1] - below[1][1])
        limit = below[0] + int(share * (above[0] - below[0]))
        if limit - below[0] <= below[0] // 50:
            break
        guess = (limit, of(limit))
        below, above = (guess, above) if guess[1][1] <= allowed else (below, guess)
    return FittingSuite(minutes, below[0], *below[1])


def _disk(prepared: Prepared, n_numbers: int, n_items: int, n_points: int) -> Disk:
    written = n_numbers * merged_dtype(prepared).itemsize
    of_adapters = sum(model.n_bytes for model in prepared.models.values() if model.reference.lora)
    items = n_points * (_ITEM_BYTES * n_items + _POINT_BYTES)
    return Disk(model=written, staging=written + of_adapters, items=items, report=_REPORT_BYTES)


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return "this CPU" if device.type == "cpu" else str(device)
