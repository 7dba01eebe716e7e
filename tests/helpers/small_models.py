"""Small models of the architectures that tests score, with weights large enough that answers differ."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


class AlwaysAllLogits(transformers.LlamaForCausalLM):
    """A model whose forward pass always computes all logits."""

    def forward(self, input_ids: torch.Tensor, **_: object) -> object:  # type: ignore[override]
        return super().forward(input_ids)


def gemma3_multimodal(n: int) -> transformers.PreTrainedModel:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "vision_use_head": False,
    }
    text = {**TEXT, "vocab_size": n, "sliding_window": 16, "query_pre_attn_scalar": 8}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=n - 1, initializer_range=0.3
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def gemma3(n: int) -> transformers.PreTrainedModel:
    config = transformers.Gemma3TextConfig(
        **{**TEXT, "num_hidden_layers": 3}, vocab_size=n, sliding_window=16, sliding_window_pattern=2
    )
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    return transformers.Gemma3ForCausalLM(config)


def mixtral(n: int) -> transformers.PreTrainedModel:
    config = transformers.MixtralConfig(**TEXT, vocab_size=n, num_local_experts=3, num_experts_per_tok=2)
    return transformers.MixtralForCausalLM(config)


def gpt2(n: int) -> transformers.PreTrainedModel:
    own = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
    config = transformers.GPT2Config(**own, vocab_size=n, initializer_range=0.3, bos_token_id=0, eos_token_id=1)
    return transformers.GPT2LMHeadModel(config)


def gpt_neox(n: int) -> transformers.PreTrainedModel:
    few = {key: value for key, value in TEXT.items() if key not in ("num_key_value_heads", "head_dim")}
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**few, vocab_size=n))


def gpt_oss(n: int) -> transformers.PreTrainedModel:
    config = transformers.GptOssConfig(**TEXT, vocab_size=n, num_local_experts=3, num_experts_per_tok=2)
    config.sliding_window = 16
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}
    return transformers.GptOssForCausalLM(config)


def opt(n: int) -> transformers.PreTrainedModel:
    config = transformers.OPTConfig(
        vocab_size=n,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        init_std=0.3,
    )
    return transformers.OPTForCausalLM(config)


def gpt_neo(n: int) -> transformers.PreTrainedModel:
    config = transformers.GPTNeoConfig(
        vocab_size=n,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=16,
        max_position_embeddings=512,
        initializer_range=0.3,
    )
    return transformers.GPTNeoForCausalLM(config)


def long_rope(n: int) -> transformers.PreTrainedModel:
    """A model whose rotary embedding changes for inputs of more than 128 tokens."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.5, 2.0, 4.0, 8.0],
        "original_max_position_embeddings": 128,
    }
    text = {key: value for key, value in TEXT.items() if key != "head_dim"}
    config = transformers.Phi3Config(**text, vocab_size=n, original_max_position_embeddings=128, rope_parameters=rope)
    return transformers.Phi3ForCausalLM(config)


def mamba(n: int) -> transformers.PreTrainedModel:
    config = transformers.MambaConfig(
        vocab_size=n, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.3, bos_token_id=0
    )
    return transformers.MambaForCausalLM(config)


# Models that run in packed steps.
PACKED: dict[str, Callable[[int], transformers.PreTrainedModel]] = {
    "llama": lambda n: transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, vocab_size=n)),
    "qwen2": lambda n: transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**TEXT, vocab_size=n, use_sliding_window=True, sliding_window=16, max_window_layers=1)
    ),
    "qwen3": lambda n: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**TEXT, vocab_size=n)),
    "gemma3": gemma3,
    "gemma3-multimodal": gemma3_multimodal,
    "mistral": lambda n: transformers.MistralForCausalLM(
        transformers.MistralConfig(**TEXT, vocab_size=n, sliding_window=16)
    ),
    "mixtral": mixtral,
    "gpt2": gpt2,
    "gpt-neox": gpt_neox,
    "gpt-oss": gpt_oss,
    "opt": opt,
}
# Models that are scored as lm-eval's `hf` scores them.
PLAIN: dict[str, Callable[[int], transformers.PreTrainedModel]] = {
    "all-logits": lambda n: AlwaysAllLogits(transformers.LlamaConfig(**TEXT, vocab_size=n)),
    "gpt-neo": gpt_neo,
    "mamba": mamba,
}
