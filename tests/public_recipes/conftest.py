"""The small random models that the public recipes name, in one folder that stands for the Hub and the user's disk."""

from __future__ import annotations

import shutil
import string
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from helpers.checkpoints import VOCABULARY, save_checkpoint

BASES = {"llama": "llama", "mistral": "mistral", "qwen": "qwen2", "gemma": "gemma3", "vision": "gemma3-multimodal"}
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
CHATML = "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
# Each family's fine-tunes: `instruct` has a chat template, `chatml` another one and its two tokens.
FINE_TUNES = {
    "llama": ("instruct", "math", "code", "story", "medical", "writer", "chatml"),
    "mistral": ("instruct", "math", "story", "chatml"),
    "qwen": ("instruct", "coder", "math"),
    "gemma": ("instruct", "translate", "story"),
    "vision": ("instruct", "draw"),
}


def save_fine_tune(base: Path, folder: Path, seed: int) -> None:
    """Save a copy of `base` whose weights a short training might have moved: by a tenth of their size."""
    shutil.copytree(base, folder)
    generator = torch.Generator().manual_seed(seed)
    for file in folder.glob("*.safetensors"):
        moved = {
            name: tensor + (0.02 * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
            for name, tensor in safetensors.torch.load_file(file).items()
        }
        safetensors.torch.save_file(moved, file, metadata={"format": "pt"})


def add_tokens(folder: Path) -> None:
    """Add ChatML's two tokens to a model's tokenizer and vocabulary."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": list(CHATML_TOKENS)})
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def save_adapter(base: Path, folder: Path, seed: int) -> None:
    """Save a LoRA adapter of `base` that changes its answers."""
    import peft

    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(folder)


def save_qwen_tokenizer(folder: Path) -> None:
    """Save a tokenizer of letters and digits: transformers reads any tokenizer of a Qwen as byte-level BPE."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "Ġ", *string.ascii_lowercase, *string.digits]
    words += [f"<|reserved_{i}|>" for i in range(len(words), VOCABULARY)]
    vocabulary = {word: i for i, word in enumerate(words)}
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], **special).save_pretrained(folder)


def set_template(folder: Path, template: str) -> None:
    """Give a model's tokenizer a chat template."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def save_family(lab: Path, family: str) -> None:
    """Save a base model and its fine-tunes as `lab/<family>-<name>`."""
    base = lab / f"{family}-base"
    base.mkdir(parents=True)
    save_checkpoint(base, BASES[family], seed=0, dtype="bfloat16", shard="5GB", chat_template=None)
    if family == "qwen":
        save_qwen_tokenizer(base)
    for seed, name in enumerate(FINE_TUNES[family]):
        folder = lab / f"{family}-{name}"
        save_fine_tune(base, folder, seed)
        if name == "instruct":
            set_template(folder, TEMPLATE)
        if name == "chatml":
            add_tokens(folder)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, task: str) -> Path:
    """The folder that recipes are run in: the models that they name as `lab/…`, and `suite.yaml`, their task."""
    folder = tmp_path_factory.mktemp("workplace")
    for family in BASES:
        save_family(folder / "lab", family)
    for seed, name in enumerate(("poet", "coder", "lawyer")):
        save_adapter(folder / "lab" / "llama-base", folder / "lab" / f"llama-{name}-lora", seed)
    shutil.copy(task, folder / "suite.yaml")
    return folder
