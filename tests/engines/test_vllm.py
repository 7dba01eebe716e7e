"""vLLM itself, with the demo pair: `run.sh` installs it and runs these tests, which are skipped without it.

The pair has a tied output head, 64 tokens of context, and parents that differ by nats.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval.api.instance import Instance
from mergekit.options import MergeOptions

from mergekit_calib import demo
from mergekit_calib.engines.transformers_engine import TransformersEngine
from mergekit_calib.engines.vllm_engine import VllmEngine, VllmPlace
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.prefix_lm.shared_trees import SharedPrefixTrees
from mergekit_calib.recipe import Point, dump_recipe, parse_sweep
from mergekit_calib.recipe.engine_settings import VllmSettings
from mergekit_calib.results.events import Progress
from mergekit_calib.results.frontier import Frontier
from mergekit_calib.sweep.coordinator import run_sweep

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed (tests/engines/run.sh)"),
]
CPU = torch.device("cpu")
OPTIONS = MergeOptions(random_seed=0, quiet=True)
MODEL_ARGS = {"dtype": "float32"}
GREEDY = {"do_sample": False, "max_gen_toks": 24, "until": []}
PROMPTS = [
    "question : which instrument does Sedoni play ?\nanswer :",
    "question : which animal does Zizis keep ?\nanswer :",
    "question : which animal does Zizis keep ? question : which colour does Sedoni wear ?\nanswer :",
    "which",
    "in which month does Sedoni travel ? " * 9,  # cut on the left to 40 of its 64 tokens
]


@pytest.fixture(scope="module")
def points() -> dict[str, Point]:
    register()
    recipe = yaml.safe_load(demo.sweep_yaml())
    sweep = parse_sweep(dump_recipe(recipe), registered_signatures())
    base, aligned = sweep.parents()
    return {"base": base, "aligned": aligned, "half": sweep.point({"lambda": 0.5})}


def models_of(folder: Path) -> PointModels:
    return PointModels(OPTIONS, TokenizerChoice(demo.parents()[1]), folder, CPU, "float32")


def transformers_engine(models: PointModels) -> TransformersEngine:
    return TransformersEngine(models, MODEL_ARGS, 8, SharedPrefixTrees())


def vllm_engine(points: dict[str, Point], folder: Path, beside: bool = True, **settings: Any) -> VllmEngine:
    models = models_of(folder)
    mend = settings.pop("mend_tied_heads", True)
    return VllmEngine(
        models,
        transformers_engine(models) if beside else None,
        [points["base"], points["aligned"]],
        VllmSettings(enforce_eager=True, **settings),
        VllmPlace(CPU, 0.0, folder),
        merge_options=OPTIONS,
        model_args=MODEL_ARGS,
        mend_tied_heads=mend,
    )


@pytest.fixture(scope="module")
def engine(points: dict[str, Point], tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmEngine]:
    engine = vllm_engine(points, tmp_path_factory.mktemp("beside"))
    yield engine
    engine.discard()


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Instance]:
    return [Instance(kind, {}, given, i, metadata=("made_up", i, 1)) for i, given in enumerate(arguments)]


def greedy(lm: Any) -> list[str]:
    return list(lm.generate_until(requests("generate_until", *((p, GREEDY) for p in PROMPTS)), disable_tqdm=True))


def is_tie(lm: Any, prompt: str, one: str, other: str) -> bool:
    """Return whether two continuations of a prompt part where the next tokens are equally likely."""
    a, b = (lm.tok_encode(prompt + text)[-63:] for text in (one, other))
    first = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    logits = lm.model(torch.tensor([a[:first]])).logits[0, -1].log_softmax(-1)
    return bool((logits[a[first]] - logits[b[first]]).abs() < 1e-3)


def assert_same_texts(vllm: VllmEngine, point: Point, folder: Path) -> None:
    with transformers_engine(models_of(folder)).at(point) as plain, vllm.at(point) as ready:
        assert ready.digest == plain.digest
        expected, found = greedy(plain.lm), greedy(ready.lm)
        assert any(expected)
        for prompt, one, other in zip(PROMPTS, expected, found, strict=True):
            assert one == other or is_tie(plain.lm, prompt, one, other)


@pytest.mark.parametrize("name", ["base", "aligned", "half"])
def test_greedy_texts_are_those_of_transformers(name, engine, points, tmp_path):
    assert_same_texts(engine, points[name], tmp_path)


def test_log_likelihoods_come_from_transformers_at_the_same_point(engine, points, tmp_path):
    asked = requests("loglikelihood", (PROMPTS[0], " lute"), (PROMPTS[0], " trumpet"))
    with transformers_engine(models_of(tmp_path)).at(points["half"]) as plain:
        expected = plain.lm.loglikelihood(asked)
    with engine.at(points["half"]) as ready:
        assert ready.lm.loglikelihood(asked) == expected


def test_sampled_texts_are_repeated_with_the_seed_and_differ_between_requests(engine, points):
    sampled = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_gen_toks": 12, "until": []}

    def draw(seed: int) -> list[str]:
        with engine.at(points["base"]) as ready:
            torch.manual_seed(seed)  # as a suite does once the model is made
            return list(ready.lm.generate_until(requests("generate_until", *[(PROMPTS[3], sampled)] * 8), True))

    first = draw(1)
    assert draw(1) == first
    assert draw(2) != first
    assert len(set(first)) > 1


def test_a_text_ends_before_its_stop_text(engine, points):
    until = {**GREEDY, "until": ["a"]}
    with engine.at(points["aligned"]) as ready:
        texts = ready.lm.generate_until(requests("generate_until", *((p, until) for p in PROMPTS)), True)
        assert texts == [text.split("a")[0] for text in greedy(ready.lm)]


def test_a_stale_tied_head_is_found(points, tmp_path):
    engine = vllm_engine(points, tmp_path, beside=False, mend_tied_heads=False)
    with (
        pytest.raises(CalibError, match=r"differ from those of transformers by [\d.]+ nats"),
        engine.at(points["base"]),
    ):
        pass
    engine.discard()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes need two cores")
def test_two_processes_that_share_the_model_make_their_own_blends(points, tmp_path):
    engine = vllm_engine(points, tmp_path, beside=False, tensor_parallel_size=2)
    for name in ("base", "half", "aligned"):
        assert_same_texts(engine, points[name], tmp_path)
    engine.discard()


class Counted(Progress):
    """Keeps how many answers of each entry were reported."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}

    def scoring(self, entry: str, done: int, total: int) -> None:
        self.most[entry] = max(done, self.most.get(entry, 0))


def run(recipe: dict[str, Any], folder: Path) -> tuple[Frontier, Counted]:
    register()
    counted = Counted()
    return run_sweep(parse_sweep(dump_recipe(recipe), registered_signatures()), folder, OPTIONS, counted), counted


def test_a_sweep_scores_choices_and_generates_in_two_phases(diversity_of_the_demo, demo_recipe, tmp_path):
    diversity = {"task": str(diversity_of_the_demo), "metric": "vendi_score"}
    suite = [{"task": "calib_demo", "limit": 60}, str(diversity_of_the_demo)]
    engine = {"generation": {"name": "vllm", "enforce_eager": True}}
    frontier, counted = run(demo_recipe(suite, engine=engine, objectives=["acc", diversity]), tmp_path / "out")
    assert frontier.finished
    assert [point.status for point in frontier.points] == ["complete"] * 3
    assert counted.most == {"calib_demo": 240, "diversity_of_the_demo": 32}
    assert frontier.selected is not None
    assert frontier.selected.digest == digest_of(tmp_path / "out")
    again, recounted = run(demo_recipe(suite, engine=engine, objectives=["acc", diversity]), tmp_path / "out")
    assert [p.metrics for p in again.points] == [p.metrics for p in frontier.points]
    assert recounted.most == {}


def test_a_sweep_that_only_generates_needs_no_other_engine(diversity_of_the_demo, demo_recipe, tmp_path):
    objectives = ["vendi_score", "self_bleu"]
    recipe = demo_recipe(
        [str(diversity_of_the_demo)], engine={"name": "vllm", "enforce_eager": True}, objectives=objectives
    )
    frontier, _ = run(recipe, tmp_path / "out")
    assert frontier.finished
    assert len({point.digest for point in frontier.points}) == 3
    assert frontier.selected is not None
    assert frontier.selected.digest == digest_of(tmp_path / "out")
