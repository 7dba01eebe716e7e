"""One lm-eval model out of two: log-likelihoods from transformers, texts from whatever generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from mergekit_calib.engines.blend_stream import Blender, BlendOptions
from mergekit_calib.engines.next_tokens import next_tokens
from mergekit_calib.engines.vllm_lm import TwoPhaseLM, VllmLM
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.scoring.requests import run_requests


class Greedy:
    """Generates greedily, one prompt at a time, with a model of transformers; keeps what it was asked."""

    def __init__(self, model: Any) -> None:
        self.model, self.asked = model, list[dict[str, Any]]()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sequence[dict[str, Any]],
        on_answers: Callable[[int], None] | None = None,
    ) -> list[list[int]]:
        self.asked += [{"prompt": list(p), **arguments} for p, arguments in zip(prompts, sampling, strict=True)]
        answers = []
        for prompt, arguments in zip(prompts, sampling, strict=True):
            rows = self.model.generate(
                torch.tensor([prompt]), max_new_tokens=arguments["max_tokens"], do_sample=False, pad_token_id=2
            )
            answers.append(rows[0, len(prompt) :].tolist())
            if on_answers:
                on_answers(1)
        return answers


@pytest.fixture
def generator(model, tokenizer):
    skeleton = empty_model(model.config, trust_remote_code=False)
    skeleton.generation_config = model.generation_config
    return lambda engine, max_length=8192: VllmLM(skeleton, tokenizer, engine, max_length)


def requests(kind: str, *arguments: Any) -> list[Instance]:
    return [Instance(kind, {}, given, i, metadata=("made_up", i, 1)) for i, given in enumerate(arguments)]


def asks(text: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return text, {"max_gen_toks": 6, **options}


def test_texts_are_those_of_transformers_and_go_to_the_generator_alone(model, lm, generator):
    engine = Greedy(model)
    both = TwoPhaseLM(lm, generator(engine))
    texts = [asks("Two and two"), asks("A much longer prompt than that"), asks("Two", until=["a", "e"])]
    choices = [("one and one", " are two"), ("one and one", " are three")]
    expected = lm.generate_until(requests("generate_until", *texts), disable_tqdm=True)
    answered = requests("generate_until", *texts) + requests("loglikelihood", *choices)
    counted: list[int] = []
    both.on_answers = counted.append
    run_requests(both, answered)
    assert [i.resps[0] for i in answered[:3]] == expected
    assert both.answer_lengths == lm.answer_lengths
    assert {length.cut_off for length in both.answer_lengths} <= {True, False}
    assert len(both.answer_lengths) == 3
    assert [i.resps[0] for i in answered[3:]] == lm.loglikelihood(requests("loglikelihood", *choices))
    assert len(engine.asked) == 3
    assert sum(counted) >= 5


def test_prompts_are_cut_on_the_left_to_leave_room_for_the_answer(model, generator):
    engine = Greedy(model)
    generator(engine, max_length=20).generate_until(requests("generate_until", asks("x" * 50 + "abcdefgh")), True)
    assert len(engine.asked[0]["prompt"]) == 14
    assert engine.asked[0]["max_tokens"] == 6


def test_every_request_has_a_seed_of_its_own_and_the_same_one_when_it_is_repeated(model, generator):
    sampled = [asks("Two", do_sample=True, temperature=1.0)] * 3
    seeds = []
    for torch_seed in (1, 1, 2):
        engine = Greedy(model)
        torch.manual_seed(torch_seed)
        generator(engine).generate_until(requests("generate_until", *sampled), disable_tqdm=True)
        seeds.append([asked["seed"] for asked in engine.asked])
    assert len(set(seeds[0])) == 3
    assert seeds[0] == seeds[1] != seeds[2]


def test_alone_it_scores_nothing(model, generator):
    alone = generator(Greedy(model))
    with pytest.raises(CalibError, match="only generates"):
        run_requests(alone, requests("loglikelihood", ("one", " two")))


def test_engines_with_the_same_weights_agree_on_next_tokens_and_others_do_not(model, tokenizer):
    expected = next_tokens(model, tokenizer)
    same = [{int(t): float(row[t]) for t in row.topk(5).indices} for row in expected.log_probabilities]
    assert expected.difference(same) == 0
    assert expected.difference([{t: value - 1 for t, value in of.items()} for of in same]) > expected.tolerance
    assert not {token for prompt in expected.prompts for token in prompt} & set(tokenizer.all_special_ids)


def test_a_worker_blends_the_tensors_that_mergekit_writes(make_model, tmp_path):
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    from mergekit_calib.merging.merge_configuration import configuration

    weights = {str(make_model(seed=0)): 0.7, str(make_model(seed=1)): 0.3}
    models = [{"model": model, "parameters": {"weight": weight}} for model, weight in weights.items()]
    recipe = {"merge_method": "linear", "models": models, "dtype": "bfloat16"}
    options = MergeOptions(random_seed=0, quiet=True, write_model_card=False)
    blend = Blender(BlendOptions(merge_options=options.model_dump(mode="json"))).blend(recipe)
    for _ in blend:
        pass
    run_merge(configuration(recipe), str(tmp_path / "merged"), options)
    assert blend.digest == digest_of(tmp_path / "merged")
    assert blend.problem is None
