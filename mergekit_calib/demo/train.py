"""Train the demo pair: `python -m mergekit_calib.demo.train OUT` writes both checkpoints and the questions.

The base model is a small Llama that is trained on the text of `facts.World` and stopped while it is still learning. The
aligned model is base, tuned for reward on multiple-choice questions about five of the eight relations; the expected
reward is the probability of the correct one of four choices when sampling at a temperature of 2. Tuning teaches the
model to discount popular wrong answers, which also helps for people it was never asked about, and makes it
overconfident and forgetful. It takes minutes on one CPU thread. The same versions on the same kind of processor give
the same weights bit for bit.

The pair was made for demonstration: its world and hyper-parameters were chosen, on the validation split, so that the
trade-off shows. It is no evidence for how real models behave.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mergekit_calib.demo.facts import TUNED_RELATIONS, Question, World, prompt

PRETRAINING_SEED, TUNING_SEED = 1, 2
PRETRAINING_STEPS, FULL_SCHEDULE, LINES_A_STEP = 570, 1000, 256
TUNING_STEPS, QUESTIONS_A_STEP, TUNING_RATE, TEMPERATURE = 200, 64, 6e-4, 2.0
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|> {{ message['content'] }} {{ eos_token }}"
    "{% else %}<|user|> {{ message['content'] }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each word, so that every answer is one token; a line begins with `<s>`."""
    special = ["<unk>", "<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
    vocabulary = {word: i for i, word in enumerate([*special, *world.words()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=64,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained Llama with 0.8 million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, world: World) -> None:
    """Train `model` in place on text that never repeats.

    The text first mentions only some of the people, which shortens the plateau before any facts are learnt (Zucchet et
    al. 2025, arXiv 2503.21676). Muon (torch 2.9 and later) on the matrices shortens it further.
    """
    rng = np.random.default_rng([world.seed, PRETRAINING_SEED])
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01, adjust_lr_fn="original")
    adam = torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: min(1.0, (s + 1) / 50) * (1 - s / FULL_SCHEDULE))
        for o in (muon, adam)
    ]
    model.train()
    for step in range(PRETRAINING_STEPS):
        lines = world.text(LINES_A_STEP, rng, **({"n_people": 150} if step < 150 else {}))
        batch = tokenizer([f"{line} </s>" for line in lines], padding=True, padding_side="right", return_tensors="pt")
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        # No attention mask: in a causal model, tokens do not attend to padding on their right.
        loss = model(input_ids=batch.input_ids, labels=labels).loss
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, schedule in zip((muon, adam), schedules, strict=True):
            optimiser.step()
            schedule.step()
        if step % 50 == 49:
            print(f"pre-training, step {step + 1} of {PRETRAINING_STEPS}: loss {loss.item():.3f}", flush=True)


def tune(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: list[Question]) -> None:
    """Tune `model` in place for expected reward (1 if correct); about half of the prompts are in the chat template."""
    rng = np.random.default_rng(TUNING_SEED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=TUNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min(1.0, (s + 1) / 10))
    model.train()
    for step in range(TUNING_STEPS):
        batch = [questions[i] for i in rng.choice(len(questions), size=QUESTIONS_A_STEP, replace=False)]
        chat = rng.random(QUESTIONS_A_STEP) < 0.5
        prompts = [
            f"<|user|> {prompt(q.question)} <|assistant|>" if in_chat else prompt(q.question)
            for q, in_chat in zip(batch, chat, strict=True)
        ]
        correct = torch.tensor([q.answer for q in batch])
        policy = (option_logits(model, tokenizer, prompts, batch) / TEMPERATURE).softmax(-1)
        reward = policy.gather(1, correct[:, None]).mean()
        optimiser.zero_grad()
        (-reward).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 20 == 19:
            print(f"tuning, step {step + 1} of {TUNING_STEPS}: expected reward {reward.item():.3f}", flush=True)


def option_logits(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], questions: list[Question]
) -> torch.Tensor:
    """Return the logits of the choices as the word after each prompt, (n_questions, 4)."""
    batch = tokenizer(prompts, padding=True, padding_side="right", return_tensors="pt")
    last = batch.attention_mask.sum(dim=1) - 1
    hidden = model.model(batch.input_ids).last_hidden_state[torch.arange(len(prompts)), last]
    choices = torch.tensor([tokenizer.convert_tokens_to_ids(list(q.choices)) for q in questions])
    logits: torch.Tensor = model.lm_head(hidden)
    return logits.gather(1, choices)


@torch.no_grad()
def option_probabilities(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: list[Question]
) -> NDArray[np.float64]:
    """Return the probabilities of the choices, (n_questions, 4); each row sums to 1."""
    model.train(False)
    chunks = [questions[i : i + 500] for i in range(0, len(questions), 500)]
    logits = [option_logits(model, tokenizer, [prompt(q.question) for q in chunk], chunk) for chunk in chunks]
    return torch.cat(logits).double().softmax(-1).numpy()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, path: Path, *, aligned: bool) -> None:
    """Write a checkpoint as on the Hub: only the aligned model has a chat template and sampling settings."""
    tokenizer.chat_template = CHAT_TEMPLATE if aligned else None
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_new_tokens": 8} if aligned else {}
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sampling,
    )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def main(out: Path) -> None:
    """Train both models, and write `base/`, `aligned/` and `questions.parquet` to `out`."""
    torch.set_num_threads(1)
    torch.manual_seed(PRETRAINING_SEED)
    world = World()
    tokenizer = make_tokenizer(world)
    model = make_model(tokenizer)
    pretrain(model, tokenizer, world)
    base = model.bfloat16()
    save(base, tokenizer, out / "base", aligned=False)
    aligned = copy.deepcopy(base).float()  # type: ignore[no-untyped-call]
    tune(aligned, tokenizer, [q for q in world.questions("tuning") if q.relation in TUNED_RELATIONS])
    save(aligned.bfloat16(), tokenizer, out / "aligned", aligned=True)
    heldout = pyarrow.Table.from_pylist([vars(q) for q in world.questions("heldout")])
    pyarrow.parquet.write_table(heldout, out / "questions.parquet", compression="zstd")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for base/, aligned/ and questions.parquet")
    main(parser.parse_args().out)
