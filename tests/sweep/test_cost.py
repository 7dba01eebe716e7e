"""What a sweep will cost, as it is told beforehand, against what a run then does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.options import MergeOptions
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from helpers.prepared_sweeps import prepared, short_form
from helpers.small_models import gemma3, gpt2, gpt_oss, mixtral
from helpers.small_tasks import CHOICES, GENERATES, QUESTIONS
from mergekit_calib.demo import sweep_yaml
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.memory import fitting_footprint, footprint
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.prefix_lm import packed
from mergekit_calib.prefix_lm.generating import GeneratingLM
from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.prefix_lm.packed import PackedRunner
from mergekit_calib.prefix_lm.weightless import weightless_lm
from mergekit_calib.recipe import dump_recipe, parse_sweep
from mergekit_calib.report.terminal.cost_table import duration, rows_of, sentences_of
from mergekit_calib.results.cost import SweepCost
from mergekit_calib.scoring.suite import Suite
from mergekit_calib.sweep.cost.gpu_table import GPUS, UTILISATION, gpu_named
from mergekit_calib.sweep.cost.point_counts import count_points
from mergekit_calib.sweep.cost.suite_work import SuiteWork
from mergekit_calib.sweep.cost.sweep_estimate import estimate_cost

CPU = torch.device("cpu")
# The kernel for CPUs, which torch's counter does not know.
OF_CPU = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop(q, k, v)}


def llama(n: int) -> Any:
    return None  # the fixture's


def work_for(suite: Suite, scored: PrefixLM, rows: int = 64, **options: Any) -> SuiteWork:
    """Return the counts for a suite and the model that will score it, of which only the config is used."""
    lm = weightless_lm(empty_model(scored.model.config, False), scored.tokenizer, {})
    return SuiteWork(suite, lm, CPU, lambda n_tokens: rows, **options)


def cost(limit: int = 60, **options: Any) -> SweepCost:
    register()
    text = sweep_yaml().replace("- calib_demo ", f"- {{task: calib_demo, limit: {limit}}} ")
    sweep = parse_sweep(text, registered_signatures(), "demo.yml")
    return estimate_cost(sweep, Path("no-such-folder"), MergeOptions(quiet=True), **options)


@pytest.fixture(scope="module")
def of_demo() -> SweepCost:
    return cost()


@pytest.fixture
def choices(write_task, load_suite) -> Suite:
    return load_suite(write_task("asks", QUESTIONS, **CHOICES), num_fewshot=2)


@pytest.fixture
def steps_run(monkeypatch) -> list[Any]:
    """The steps that packed runners run, in order."""
    run, real = [], PackedRunner._hidden

    def recorded(self: PackedRunner, step: Any) -> Any:
        run.append(step)
        return real(self, step)

    monkeypatch.setattr(PackedRunner, "_hidden", recorded)
    return run


def test_tokens_are_those_that_the_scorer_runs(choices, model, tokenizer, steps_run):
    lm = build_lm(model, tokenizer)
    (entry,) = work_for(choices, lm).entries()
    steps_run.clear()  # of the scorer's trial
    choices.score(lm)
    assert entry.run == sum(len(step.tokens) for step in steps_run)
    assert entry.distinct <= entry.run < entry.asked
    assert entry.items == 12
    assert entry.requests == sum(len(row["options"]) for row in QUESTIONS)


def test_with_a_limit_tokens_are_those_of_a_suite_with_that_limit(write_task, load_suite, model, tokenizer):
    path, lm = write_task("asks", QUESTIONS, **CHOICES), build_lm(model, tokenizer)
    (some,) = work_for(load_suite(path), lm).entries(5)
    (limited,) = work_for(load_suite(path, limit=5), lm).entries()
    assert some == limited


def test_a_race_runs_what_its_blocks_run(choices, model, tokenizer, steps_run):
    lm = build_lm(model, tokenizer)
    blocks = [{"asks": [0, 3, 5]}, {"asks": [1, 2, 4]}, {"asks": [*range(6, 12)]}]
    (entry,) = work_for(choices, lm, blocks=blocks).entries()
    steps_run.clear()
    for block in blocks:
        choices.score(lm, documents=block)
    assert entry.run == sum(len(step.tokens) for step in steps_run)


@pytest.mark.parametrize("make", [llama, gemma3, gpt2, mixtral, gpt_oss])
def test_operations_are_those_that_torch_counts(make, choices, model, tokenizer, monkeypatch):
    monkeypatch.setattr(packed, "faster_product", lambda *_: None)  # oneDNN's products are not counted
    own = make(len(tokenizer))
    lm = build_lm(model if own is None else own.eval(), tokenizer)
    assert lm.fallback_reason is None
    lm.model.config._experts_implementation = "eager"  # torch does not count the products of grouped kernels
    (entry,) = work_for(choices, lm).entries()
    with FlopCounterMode(display=False, custom_mapping=OF_CPU) as counter:
        choices.score(lm)
    assert entry.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_the_bound_of_a_generation_holds(write_task, load_suite, model, tokenizer, monkeypatch):
    suite = load_suite(write_task("writes", QUESTIONS, **GENERATES), repeats=3)
    lm, generated = build_lm(model, tokenizer), []
    (entry,) = work_for(suite, lm, rows=8).entries()
    real = GeneratingLM._model_generate
    monkeypatch.setattr("mergekit_calib.prefix_lm.generation.max_rows", lambda *_: 8)

    def recorded(self: GeneratingLM, context: torch.Tensor, *given: Any, **options: Any) -> torch.Tensor:
        answer = real(self, context, *given, **options)
        generated.append(len(answer) * (answer.shape[1] - context.shape[1]))
        return answer

    monkeypatch.setattr(GeneratingLM, "_model_generate", recorded)
    monkeypatch.setattr(packed, "faster_product", lambda *_: None)
    with FlopCounterMode(display=False, custom_mapping=OF_CPU) as counter:
        suite.score(lm)
    assert 0 < sum(generated) <= entry.generated == 12 * 3 * 4
    assert counter.get_total_flops() <= entry.flops
    assert entry.decode_steps == -(-36 // 8) * 4


AXIS = {"axes": {"lambda": {"min": 0.0, "max": 1.5}}}


@pytest.mark.parametrize(
    ("block", "likely", "most"),
    [
        ({"axes": {"lambda": [0.0, 0.25, 0.5, 1.0]}}, 4, 4),  # of which two are the parents
        ({"axes": {"lambda": [0.25, 0.5]}, "search": {"strategy": "grid", "points": 1}}, 3, 3),
        ({**AXIS, "search": {"strategy": "curve"}}, 10, None),
        ({**AXIS, "search": {"strategy": "curve", "least": 9}}, 12, None),
        ({**AXIS, "search": {"strategy": "curve", "points": 5}}, 7, 7),
        ({**AXIS, "search": {"strategy": "adaptive"}}, 11, 99),
        ({**AXIS, "search": {"strategy": "random", "points": 20}}, 22, 22),
        ({**AXIS, "search": {"strategy": "evolve", "item_evaluations": 400}}, 10, 10),
        ({**AXIS, "search": {"strategy": "bayesian", "minutes": 5}}, None, None),
    ],
)
def test_points_follow_from_the_strategy_and_its_budget(make_model, task, tmp_path, block, likely, most):
    recipe = short_form(make_model(seed=0), make_model(seed=1))
    count = count_points(prepared(recipe, task, tmp_path / "out", **block))
    assert (count.likely, count.most) == (likely, most)
    assert "2 parents" in count.basis


def test_minutes_of_the_budget_become_points_by_what_a_point_takes(make_model, task):
    register()
    block = {**AXIS, "suite": [task], "search": {"strategy": "random", "minutes": 1}}
    text = dump_recipe({**short_form(make_model(seed=0), make_model(seed=1)), "calibration": block})
    sweep = parse_sweep(text, registered_signatures(), "sweep.yml")
    found = estimate_cost(sweep, Path("no-such-folder"), MergeOptions(quiet=True))
    assert found.points.likely is not None
    assert found.points.likely == pytest.approx(60 / found.point_seconds, rel=0.2, abs=2)


def test_memory_is_preflights(make_model, task, tmp_path):
    recipe = short_form(make_model(seed=0), make_model(seed=1))
    ready = prepared(recipe, task, tmp_path / "out")
    register()
    text = dump_recipe({**recipe, "calibration": {"axes": {"lambda": [0.5]}, "suite": [task]}})
    sweep = parse_sweep(text, registered_signatures(), "sweep.yml")
    here = estimate_cost(sweep, tmp_path / "out", MergeOptions(quiet=True))
    memory = ready.memory
    assert (here.live, here.building, here.on_device) == (memory.live, memory.building, memory.on_device)
    there = estimate_cost(sweep, tmp_path / "out", MergeOptions(quiet=True), gpu=GPUS["h100"])
    needed = footprint(ready.models.values(), "bfloat16", None, None, torch.device("cuda"), ready.options)
    fits = fitting_footprint(needed, 80 * 10**9, 10**15)
    assert (there.on_device, there.on_host) == (fits.on_device, fits.on_host)


def test_a_recipe_that_makes_a_tokenizer_is_planned(make_model, task):
    register()
    recipe = short_form(make_model(seed=0), make_model(seed=1), tokenizer={"source": "union"})
    text = dump_recipe({**recipe, "calibration": {"axes": {"lambda": [0.5]}, "suite": [task]}})
    sweep = parse_sweep(text, registered_signatures(), "sweep.yml")
    (entry,) = estimate_cost(sweep, Path("no-such-folder"), MergeOptions(quiet=True), gpu=GPUS["h100"]).entries
    assert entry.items == 40


def test_a_model_that_a_named_device_cannot_hold_is_refused_with_the_numbers(make_model, task, tmp_path):
    with pytest.raises(CalibError, match="are free on cuda"):
        cost(gpu=GPUS["l4"].__class__("tiny", 0.5, 1, 1, 0.1))


@pytest.mark.parametrize("name", GPUS)
def test_a_named_device_is_faster_in_half_precision_than_in_single(name):
    gpu = gpu_named(name.upper())
    assert gpu is not None
    assert gpu.rate(torch.float32) < gpu.rate(torch.bfloat16) < 3e15
    assert 20 < gpu.gigabytes < 200
    assert 0.2 < gpu.bandwidth < 10
    assert 0 < UTILISATION < 1


def test_a_device_that_is_not_known_is_answered_with_near_names():
    assert gpu_named("cpu") is None
    with pytest.raises(CalibError, match=r"--gpu h10: .*h100"):
        gpu_named("h10")


def test_the_estimate_says_what_it_is_based_on(of_demo):
    assert of_demo.seconds is not None
    assert of_demo.seconds.total > of_demo.seconds.statistics > 0
    assert "random weights" in of_demo.basis
    assert "not measured" in cost(gpu=GPUS["h100"]).basis
    shown = [" ".join(row) for row in rows_of(of_demo)]
    assert any(text.startswith("points about 10") for text in shown)
    assert any(text.startswith("items 60") for text in shown)
    assert "an estimate for this CPU, in float32" in " ".join(sentences_of(of_demo))


def test_more_workers_share_the_points(of_demo):
    shared = cost(workers=4, gpu=GPUS["h100"])
    alone = cost(gpu=GPUS["h100"])
    assert shared.seconds is not None
    assert alone.seconds is not None
    assert shared.seconds.score == pytest.approx(alone.seconds.score * 3 / 10)


def test_the_largest_suite_that_fits_is_found():
    slow = replace(GPUS["h100"], fp32=1e-6)  # so slow that what this machine takes at the start does not matter
    whole = cost(limit=600, gpu=slow, minutes=10**6)
    assert whole.seconds is not None
    assert whole.fitting is not None
    assert whole.fitting.limit is None
    assert whole.fitting.items == 600
    minutes = whole.seconds.total / 2 / 60
    half = cost(limit=600, gpu=slow, minutes=minutes).fitting
    assert half is not None
    assert half.limit == half.items
    assert 300 <= half.items < 600  # attention within a step grows faster than its tokens
    assert 0.9 * 60 * minutes < half.seconds <= 60 * minutes
    none = cost(limit=600, gpu=slow, minutes=0.001).fitting
    assert none is not None
    assert none.limit == 0


def test_durations_read_well():
    shown = [duration(s) for s in (0.04, 9.4, 61, 400, 12_000, 200_000)]
    assert shown == ["0.0 s", "9.4 s", "61 s", "7 min", "3 h 20 min", "2 d 7 h"]
    assert all(itertools.starmap(str.__contains__, [(duration(10**8), "1,157 d")]))
