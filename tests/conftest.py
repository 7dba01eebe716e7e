"""Small checkpoints of real architectures, in pairs: what `from_pretrained` and mergekit read, made in seconds."""

from __future__ import annotations

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run beside one another
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports the hub's client, which reads it once

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
import transformers

VOCABULARY = 64

_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}


def _gemma3_multimodal() -> transformers.PreTrainedModel:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    text = {**_TEXT, "sliding_window": 8, "query_pre_attn_scalar": 8, "pad_token_id": 0}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=VOCABULARY - 1
    )
    return transformers.Gemma3ForConditionalGeneration(config)


ARCHITECTURES: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**_TEXT, tie_word_embeddings=False)),
    "llama-tied": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**_TEXT, tie_word_embeddings=True)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_TEXT)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_TEXT)),
    "gemma3-multimodal": _gemma3_multimodal,
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**_TEXT, num_local_experts=4, num_experts_per_tok=2)
    ),
    "qwen3-moe": lambda: transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(**_TEXT, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    ),
}


def _name_as_on_the_hub(folder: Path) -> None:
    """transformers 5 drops a level from the vision tower's names; Google's checkpoints, and mergekit, have it."""
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): t.clone() for name, t in tensors.items()}
    safetensors.torch.save_file(renamed, file, metadata={"format": "pt"})


def save_tokenizer(folder: Path, size: int = VOCABULARY, chat_template: str | None = None) -> None:
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{f"w{i}": i for i in range(4, size)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = chat_template
    fast.save_pretrained(folder)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a checkpoint with weights drawn from `seed`; the same arguments give the same folder."""
    made: dict[tuple, Path] = {}

    def make(
        architecture: str = "llama",
        seed: int = 0,
        dtype: str = "bfloat16",
        shard: str = "5GB",
        chat_template: str | None = None,
        **config: int,
    ) -> Path:
        key = (architecture, seed, dtype, shard, chat_template, *sorted(config.items()))
        if key not in made:
            torch.manual_seed(1000 + seed)
            model = ARCHITECTURES[architecture]()
            if config:
                model = type(model)(type(model.config)(**{**model.config.to_dict(), **config}))
            folder = tmp_path_factory.mktemp(f"{architecture}-{seed}-")
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(torch.randn_like(parameter) * 0.05)
            model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
            if architecture == "gemma3-multimodal":
                _name_as_on_the_hub(folder)
            save_tokenizer(folder, model.config.get_text_config().vocab_size, chat_template)
            made[key] = folder
        return made[key]

    return make


TASK = """
task: made_up
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A task of 40 made-up questions with 2 to 5 choices of one or two words."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(40):
        n = int(rng.integers(2, 6))
        words = [f"w{i}" for i in rng.choice(np.arange(4, 64), size=3 + 2 * n, replace=False)]
        choices = [" ".join(words[3 + 2 * i : 4 + 2 * i + i % 2]) for i in range(n)]
        rows.append({"question": " ".join(words[:3]), "choices": choices, "answer": int(rng.integers(n))})
    (folder / "made_up.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "made_up.yaml").write_text(TASK.format(data=folder / "made_up.jsonl"))
    return str(folder / "made_up.yaml")
