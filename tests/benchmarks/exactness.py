"""Measure how far log-likelihoods in float32 are from those in float64, for lm-eval's `hf` and for `hf-prefix`.

    python tests/benchmarks/exactness.py MODEL                                        # ten questions without examples
    python tests/benchmarks/exactness.py MODEL --questions 4 --shots 16 --prefixes 4  # after each of four long prefixes

Questions of ARC-Easy, without and with a chat template (Gemma's, unless the tokenizer has one). The questions of a
prefix share its few-shot examples. The scores in float64 are those of `hf-prefix`; for the first question the script
also prints how far those are from `hf` in float64. It needs the memory of four copies of the model in float32.
"""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import click
import datasets
import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from mergekit_calib.prefix_lm.model import build_lm

GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def question(row: dict[str, Any]) -> str:
    """Return a question as lm-eval's `arc_easy` asks it."""
    return f"Question: {row['question']}\nAnswer:"


def requests(lm: HFLM, examples: list[dict[str, Any]], asked: list[dict[str, Any]], chat: bool) -> list[Instance]:
    """Return a request for each choice of each question, after the examples."""
    turns = []
    for row in examples:
        answer = row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])]
        turns += [{"role": "user", "content": question(row)}, {"role": "assistant", "content": answer}]
    pairs = []
    for number, row in enumerate(asked):
        if chat:
            context = lm.apply_chat_template([*turns, {"role": "user", "content": question(row)}])
        else:
            texts = [turn["content"] for turn in turns]
            shown = [f"{q} {a}" for q, a in zip(texts[::2], texts[1::2], strict=True)]
            context = "\n\n".join([*shown, question(row)])
        pairs += [(number, context, choice if chat else f" {choice}") for choice in row["choices"]["text"]]
    return [Instance("loglikelihood", {}, (c, a), i, metadata=("arc", n, 1)) for i, (n, c, a) in enumerate(pairs)]


def scores(lm: HFLM, asked: list[Instance]) -> NDArray[np.float64]:
    """Return the log-likelihood of each request, in nats."""
    return np.array([score for score, _ in lm.loglikelihood(asked, disable_tqdm=True)])


def probabilities(log_likelihoods: NDArray[np.float64], asked: list[Instance]) -> NDArray[np.float64]:
    """Return the softmax over the choices of each question."""
    numbers = np.array([instance.doc_id for instance in asked])
    parts = [np.exp(log_likelihoods[numbers == n] - log_likelihoods[numbers == n].max()) for n in np.unique(numbers)]
    return np.concatenate([part / part.sum() for part in parts])


@click.command()
@click.argument("model")
@click.option("--questions", default=10, help="Questions after each prefix.")
@click.option("--shots", default=0, help="Few-shot examples in a prefix.")
@click.option("--prefixes", default=1, help="Prefixes, each with examples and questions of its own.")
def main(model: str, questions: int, shots: int, prefixes: int) -> None:
    """Print the errors of `hf`, of `hf` with its log-softmax in float64, and of `hf-prefix`."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rows = datasets.load_dataset("allenai/ai2_arc", "ARC-Easy")
    single = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    double = copy.deepcopy(single).double()
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = tokenizer.chat_template or GEMMA
    scorers = {
        "hf": HFLM(single, tokenizer=tokenizer, batch_size=1),
        "hf, softmax in float64": HFLM(single, tokenizer=tokenizer, batch_size=1, softmax_dtype="float64"),
        "hf-prefix": build_lm(single, tokenizer),
    }
    exact = build_lm(double, tokenizer, model_args={"softmax_dtype": "float64"})
    plain = HFLM(double, tokenizer=tokenizer, batch_size=1, softmax_dtype="float64")
    for chat in (False, True):
        for prefix in range(prefixes):
            examples = [rows["train"][i] for i in range(prefix * shots, (prefix + 1) * shots)]
            asked = requests(
                exact,
                examples,
                [rows["test"][i] for i in range(prefix * questions, (prefix + 1) * questions)],
                chat,
            )
            reference = scores(exact, asked)
            first = [instance for instance in asked if instance.doc_id == 0]
            apart = np.abs(scores(plain, first) - reference[: len(first)]).max()
            length = len(tokenizer(asked[0].args[0])["input_ids"])
            kind = "chat" if chat else "plain"
            click.echo(f"{kind}, {length} tokens, {len(asked)} requests; in float64 {apart:.0e} apart")
            for name, lm in scorers.items():
                mine = scores(lm, asked)
                e = mine - reference
                p = np.abs(probabilities(mine, asked) - probabilities(reference, asked)).max()
                errors = f"mean {e.mean():+.1e}, from {e.min():+.1e} to {e.max():+.1e}"
                click.echo(f"  {name:<23} {errors}; probabilities {p:.0e}")


if __name__ == "__main__":
    main()
