"""Small checkpoints of real architectures: what `from_pretrained` and mergekit read, made in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import tokenizers
import torch
import transformers

VOCABULARY = 64

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}


def gemma3_multimodal() -> transformers.PreTrainedModel:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    text = {**TEXT, "sliding_window": 8, "query_pre_attn_scalar": 8, "pad_token_id": 0}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=VOCABULARY - 1
    )
    return transformers.Gemma3ForConditionalGeneration(config)


ARCHITECTURES: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, tie_word_embeddings=False)),
    "llama-tied": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, tie_word_embeddings=True)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**TEXT)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**TEXT)),
    "mistral": lambda: transformers.MistralForCausalLM(transformers.MistralConfig(**TEXT)),
    "gemma3": lambda: transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(**TEXT, sliding_window=8, query_pre_attn_scalar=8, pad_token_id=0)
    ),
    "gemma3-multimodal": gemma3_multimodal,
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**TEXT, num_local_experts=4, num_experts_per_tok=2)
    ),
    "qwen3-moe": lambda: transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(**TEXT, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    ),
}


def name_as_on_the_hub(folder: Path) -> None:
    """transformers 5 drops a level from the vision tower's names; Google's checkpoints, and mergekit, have it."""
    file = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    renamed = {name.replace("vision_tower.", "vision_tower.vision_model."): t.clone() for name, t in tensors.items()}
    safetensors.torch.save_file(renamed, file, metadata={"format": "pt"})


def save_tokenizer(folder: Path, size: int = VOCABULARY, chat_template: str | None = None) -> None:
    """Save a tokenizer whose words are w4, w5 … after four special tokens."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{f"w{i}": i for i in range(4, size)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = chat_template
    fast.save_pretrained(folder)


def save_checkpoint(
    folder: Path, architecture: str, seed: int, dtype: str, shard: str, chat_template: str | None, **config: int
) -> None:
    """Save a model with weights drawn from `seed`, and a tokenizer."""
    torch.manual_seed(1000 + seed)
    model = ARCHITECTURES[architecture]()
    if config:
        model = type(model)(type(model.config)(**{**model.config.to_dict(), **config}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard)
    if architecture == "gemma3-multimodal":
        name_as_on_the_hub(folder)
    save_tokenizer(folder, model.config.get_text_config().vocab_size, chat_template)
