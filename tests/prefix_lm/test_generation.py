"""`hf-prefix` generates what lm-eval's `hf` generates, and reads a prompt once for all of its samples."""

from __future__ import annotations

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from mergekit_calib.prefix_lm import generation
from mergekit_calib.prefix_lm.generation import max_tokens_per_row
from mergekit_calib.prefix_lm.model import build_lm


def generations(lm: HFLM, texts: list[str], repeats: int, **kwargs: object) -> list[str]:
    settings = {"until": ["\n"], "max_gen_toks": 6, **kwargs}
    asked = [Instance("generate_until", {}, (text, settings), i) for i, text in enumerate(texts)]
    return lm.generate_until([instance for instance in asked for _ in range(repeats)], disable_tqdm=True)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "mamba"])
@pytest.mark.filterwarnings("ignore:scored as lm-eval")
def test_greedy_generations_are_those_of_hf(models, tokenizer, name) -> None:
    plain = HFLM(pretrained=models[name], tokenizer=tokenizer, batch_size=1)
    texts = ["2 + 2 =", "A longer beginning, beyond the sixteen tokens of a window,", "Once"]

    generated = generations(build_lm(models[name], tokenizer, batch_size=1), texts, 3)

    assert generated == generations(plain, texts, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 3, "do_sample": False},
        {"cache_implementation": "static"},
        {"max_gen_toks": None, "max_new_tokens": 4},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_cannot_use_a_filled_cache_generate_as_hf_does(models, tokenizer, options) -> None:
    texts, plain = ["2 + 2 =", "Once"], HFLM(pretrained=models["llama"], tokenizer=tokenizer, batch_size=1)

    generated = generations(build_lm(models["llama"], tokenizer, batch_size=1), texts, 2, **options)

    assert generated == generations(plain, texts, 2, **options)


def test_the_most_tokens_of_a_row() -> None:
    options = [{"max_gen_toks": 6}, {"max_gen_toks": 40}]
    assert max_tokens_per_row(10, options) == 50
    assert max_tokens_per_row(10, [*options, {"max_gen_toks": 6, "num_beams": 3}]) == 150
    assert max_tokens_per_row(10, [*options, {"max_gen_toks": 6, "max_length": 80}]) == 80


@pytest.mark.parametrize("alias", ["max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_every_alias_of_max_gen_toks_limits_the_tokens_of_a_row(models, tokenizer, monkeypatch, alias) -> None:
    counted: list[int] = []
    monkeypatch.setattr(generation, "max_rows", lambda _, n_tokens: counted.append(n_tokens) or 4)

    generations(build_lm(models["llama"], tokenizer), ["2 + 2 ="], 1, max_gen_toks=None, **{alias: 9})

    assert counted == [len("2 + 2 =") + 9]


def test_a_prompt_is_read_once_for_all_its_samples(models, tokenizer) -> None:
    model, seen = models["llama"], []
    hook = model.base_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    torch.manual_seed(0)
    samples = generations(build_lm(model, tokenizer), ["A prompt"], 8, do_sample=True, temperature=1.0)
    hook.remove()

    assert seen[-6:] == [(1, len("A prompt") - 1), *[(8, 1)] * 6][-6:]
    assert len(set(samples)) > 1


def test_rows_that_do_not_fit_in_memory_together_are_generated_in_parts(models, tokenizer) -> None:
    model, rows = models["llama"], []

    def refuse(_: object, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        rows.append(len(kwargs["input_ids"]))
        if rows[-1] > 2:
            raise torch.cuda.OutOfMemoryError

    texts = ["2 + 2 =", "A longer beginning", "Once", "Twice", "And again"]
    expected = generations(HFLM(pretrained=model, tokenizer=tokenizer), texts, 1)
    packed = build_lm(model, tokenizer)
    hook = model.register_forward_pre_hook(refuse, with_kwargs=True)
    generated = generations(packed, texts, 1)
    hook.remove()

    assert max(rows) == 5
    assert generated == expected
