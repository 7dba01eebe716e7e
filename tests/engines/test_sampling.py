"""lm-eval's options of generation as vLLM's sampling arguments: the distribution is that of transformers."""

from __future__ import annotations

import pytest
from transformers import GenerationConfig

from mergekit_calib.engines.sampling import check_generation_config, option_problem, sampling_arguments
from mergekit_calib.errors import CalibError

PLAIN = GenerationConfig(eos_token_id=3)


def arguments(options, config=PLAIN):
    return sampling_arguments(config, options, max_tokens=9, stop=["\n", ""], seed=5)


def test_a_greedy_request_has_temperature_zero_and_no_seed():
    greedy = arguments({"do_sample": False})
    assert greedy["temperature"] == 0
    assert not greedy.keys() & {"seed", "top_k", "top_p"}


def test_what_a_request_leaves_open_comes_from_the_model_and_then_from_transformers():
    sampled = {"do_sample": True, "temperature": 0.7}
    assert arguments(sampled).items() >= {"temperature": 0.7, "top_k": 50, "top_p": 1.0, "seed": 5}.items()
    of_model = GenerationConfig(top_k=64, top_p=0.9, repetition_penalty=1.1)
    assert arguments(sampled, of_model).items() >= {"top_k": 64, "top_p": 0.9, "repetition_penalty": 1.1}.items()
    assert arguments({**sampled, "top_k": 0, "top_p": 0.5}, of_model).items() >= {"top_k": 0, "top_p": 0.5}.items()


def test_answers_end_where_those_of_transformers_end():
    assert arguments({}).items() >= {"max_tokens": 9, "stop": ["\n"], "stop_token_ids": [3], "ignore_eos": True}.items()
    several = GenerationConfig(eos_token_id=[3, 7], max_new_tokens=4)
    assert arguments({}, several).items() >= {"stop_token_ids": [3, 7], "max_tokens": 4}.items()
    assert arguments({}, GenerationConfig())["stop_token_ids"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 128},
        {"num_beams": 1, "no_repeat_ngram_size": 0},
        {"do_sample": False, "temperature": 0.0, "top_p": 0.9},
    ],
)
def test_options_that_both_engines_have_are_accepted(options):
    assert option_problem(options) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_beams": 4}, "num_beams"),
        ({"top_kk": 4}, "did you mean 'top_k'"),
        ({"do_sample": True}, "temperature must be above 0"),
        ({"do_sample": True, "temperature": 0}, "temperature must be above 0"),
    ],
)
def test_others_are_refused(options, words):
    assert words in (option_problem(options) or "")


def test_a_generation_config_with_options_that_vllm_lacks_is_refused():
    check_generation_config(PLAIN)
    with pytest.raises(CalibError, match="no_repeat_ngram_size: 3"):
        check_generation_config(GenerationConfig(no_repeat_ngram_size=3))
