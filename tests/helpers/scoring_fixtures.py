"""Fixtures of tests that score: a small random model that reads bytes, tasks written on the spot, lm-eval's data.

The `conftest.py` of a folder imports those that its tests use.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import tokenizers
import torch
import transformers
import yaml

from helpers.small_models import TEXT
from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.scoring.suite import Suite

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "install_cache.py"
CHAT_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/{{ m.role }}]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="session")
def hub_data() -> None:
    """MMLU and ARC-Easy where `datasets` looks for them offline."""
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    if all((cache / name).is_dir() for name in ("cais___mmlu", "allenai___ai2_arc")):
        return
    if not SHARED_DATA.exists():
        pytest.skip(f"no MMLU or ARC-Easy in {cache}, and no {SHARED_DATA} to install them from")
    subprocess.run([sys.executable, str(SHARED_DATA)], check=True)


@pytest.fixture(scope="session")
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer with a token for every byte, after three special tokens, and with a chat template."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", "<pad>", *alphabet])}
    bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bytes_.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_.decoder = tokenizers.decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture(scope="session")
def model(tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.PreTrainedModel:
    """A small Llama whose prompts may be long."""
    torch.manual_seed(7)
    config = transformers.LlamaConfig(**{**TEXT, "max_position_embeddings": 8192}, vocab_size=len(tokenizer))
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def lm(model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerFast) -> PrefixLM:
    return build_lm(model, tokenizer, batch_size=8)


@pytest.fixture
def write_task(tmp_path: Path) -> Callable[..., str]:
    """Write a task over rows of its own, with functions for its YAML to name; returns the YAML's path."""

    def write(name: str, rows: list[dict[str, object]], functions: str = "", **config: object) -> str:
        code = "import random\nimport datasets\n\ndef load(**_):\n    rows = datasets.Dataset.from_list(ROWS)\n"
        code += f"    return {{'test': rows, 'dev': rows}}\n\nROWS = {rows!r}\n\n" + textwrap.dedent(functions)
        (tmp_path / f"{name}_code.py").write_text(code, encoding="utf-8")
        settings = {"task": name, "test_split": "test", "output_type": "multiple_choice", **config}
        text = yaml.safe_dump(settings, sort_keys=False).replace("'!function ", "!function ").replace("()'", "")
        text += f"custom_dataset: !function {name}_code.load\n"
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def function() -> Callable[[str, str], str]:
    """`!function` in the YAML that `write_task` writes: of the task's own code."""
    return lambda task, name: f"!function {task}_code.{name}()"


@pytest.fixture
def load_suite() -> Callable[..., Suite]:
    return lambda task, **options: Suite.load([SuiteEntry(task=task, **options)])
