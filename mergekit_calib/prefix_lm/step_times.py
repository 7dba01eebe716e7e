"""The rate at which a model runs packed steps, measured on a sample of the steps that it will run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mergekit_calib.prefix_lm.accumulator import Accumulator
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.prefix_tree import TokenRequests
from mergekit_calib.prefix_lm.steps import Step
from mergekit_calib.prefix_lm.work import ModelWork, count_steps

_SAMPLES = 8  # places in the tree at which steps are taken
_SLOW = 0.3  # seconds; a step that takes as long is measured once, a faster one twice


@dataclass(frozen=True)
class StepRates:
    """How fast a model runs packed steps.

    Attributes:
        body: floating-point operations a second in the body.
        head: the same in the output head.
        steps: number of steps that were measured.
        seconds: time that measuring took.
    """

    body: float
    head: float
    steps: int
    seconds: float


def measured_rates(runner: PackedRunner, requests: TokenRequests, work: ModelWork, seconds: float) -> StepRates:
    """Run some steps of a prefix tree, and return the rates.

    Args:
        runner: the model; its weights may be random, and its vocabulary smaller than that of the requests.
        requests: the requests, at least one.
        work: the operations of the model.
        seconds: about how long to measure.
    """
    steps = [_within(step, runner.vocab_size) for step in _sample(requests.steps(runner.limits.step_tokens))]
    by_run = runner._by_run
    accumulator = Accumulator(requests, runner._head, runner._to_device, runner._device)
    began = time.perf_counter()
    body_flops = body_seconds = head_flops = head_seconds = 0.0
    runner._hidden(steps[0])  # prepares threads and kernels
    n_done = n_pending = 0
    for step in steps:
        taken, hidden = _timed(runner, step)
        if taken < _SLOW and not step.kept:
            taken = min(taken, _timed(runner, step)[0])
        counts = count_steps([step], runner.windows, by_run)
        body_flops, body_seconds = body_flops + work.body_flops(counts), body_seconds + taken
        if hidden is not None:
            accumulator.add(hidden, step)
            n_pending, head_flops = n_pending + counts.reads, head_flops + work.head_flops(counts)
        if n_pending >= runner._head.max_rows:
            head_seconds, n_pending = head_seconds + _applied(accumulator, runner._device), 0
        n_done += 1
        if time.perf_counter() - began > seconds:
            break
    head_seconds += _applied(accumulator, runner._device)
    head = head_flops / head_seconds if head_flops else body_flops / body_seconds
    return StepRates(body_flops / body_seconds, head, n_done, time.perf_counter() - began)


def _sample(steps: Sequence[Step]) -> list[Step]:
    """Return steps from several places of the tree in a mixed order; each place begins where the cache is empty."""
    starts = [i for i, step in enumerate(steps) if step.past == 0]
    chosen = sorted({starts[len(starts) * i // _SAMPLES] for i in range(_SAMPLES)})
    places = [list(range(start, stop)) for start, stop in zip(chosen, [*chosen[1:], len(steps)], strict=True)]
    order = [*range(1, len(places)), 0] if len(places) > 1 else [0]
    return [steps[i] for k in order for i in places[k][: max(4, 64 // len(places))]]


def _within(step: Step, vocab_size: int) -> Step:
    """Return a step whose tokens a smaller vocabulary has."""
    return replace(step, tokens=step.tokens % vocab_size, targets=step.targets % vocab_size)


def _timed(runner: PackedRunner, step: Step) -> tuple[float, torch.Tensor | None]:
    _finish(runner._device)
    start = time.perf_counter()
    hidden = runner._hidden(step)
    _finish(runner._device)
    return time.perf_counter() - start, hidden


def _applied(accumulator: Accumulator, device: torch.device) -> float:
    start = time.perf_counter()
    accumulator.apply_head()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
