"""Measure `hf-prefix` against lm-eval's `hf`, and vLLM if it is installed, and write a Markdown table.

The models are random Llama models of about 1 and 8 billion parameters, made on the device: nothing is downloaded, and
the time of a forward pass does not depend on the numbers. The questions are those of the embedded demo, with examples
before them, in the demo's tokens.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

import mergekit_calib.demo
from mergekit_calib.demo.facts import World, prompt
from mergekit_calib.prefix_lm.model import build_lm

DEMO = Path(mergekit_calib.demo.__file__).parent
SHAPES = {  # hidden, feed-forward, layers, heads, key-value heads, vocabulary
    "tiny": (64, 128, 2, 4, 2, 2048),
    "1B": (2048, 8192, 16, 32, 8, 128_256),
    "8B": (4096, 14_336, 32, 32, 8, 128_256),
}
_CONTEXT = 4096  # tokens that the models take
_SAMPLES = 8  # generations of a prompt


def random_llama(name: str, device: torch.device, dtype: torch.dtype) -> transformers.PreTrainedModel:
    """Return a Llama model with random weights, made on the device."""
    hidden, inner, layers, heads, key_heads, vocabulary = SHAPES[name]
    config = transformers.LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        vocab_size=vocabulary,
        max_position_embeddings=_CONTEXT,
        dtype=dtype,
    )
    torch.manual_seed(0)
    given = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = transformers.LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(given)
    return model.eval().requires_grad_(False)


def requests(n_questions: int, n_examples: int) -> tuple[list[Instance], list[Instance]]:
    """Return choices to score, four for each question, and prompts to continue, eight times each."""
    asked = World().questions("heldout")
    texts = [f"{prompt(question.question)} {question.choices[question.answer]}" for question in asked]
    examples = "\n".join(texts[:n_examples])
    chosen = asked[n_examples : n_examples + n_questions]
    questions = [f"{examples}\n{prompt(question.question)}" for question in chosen]
    choices = [(text, f" {c}") for text, question in zip(questions, chosen, strict=True) for c in question.choices]
    scored = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(choices)]
    settings = {"until": ["\n\n\n"], "max_gen_toks": 32, "do_sample": True, "temperature": 1.0}
    prompts = [(question, settings) for question in questions[: max(1, n_questions // 8)]]
    return scored, [Instance("generate_until", {}, args, i) for i, args in enumerate(prompts) for _ in range(_SAMPLES)]


def timed(work: Callable[[], object], device: torch.device) -> tuple[float, object]:
    """Return the seconds that a function takes on the device, and what it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def rows_of(name: str, device: torch.device, n_questions: int, n_examples: int, vllm: bool) -> list[str]:
    """Measure one model, and return its rows of the table."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO / "base")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = random_llama(name, device, dtype)
    n = sum(parameter.numel() for parameter in model.parameters())
    scored, prompts = requests(n_questions, n_examples)
    plain = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16, softmax_dtype="float32", max_length=_CONTEXT)
    ours = build_lm(model, tokenizer, batch_size=16, model_args={"max_length": _CONTEXT})
    rows, seconds, scores = [], {}, {}
    for label, lm in (("hf", plain), ("hf-prefix", ours)):
        timed(lambda lm=lm: lm.loglikelihood(scored[:8], disable_tqdm=True), device)  # kernels are loaded
        took, answers = timed(lambda lm=lm: lm.loglikelihood(scored, disable_tqdm=True), device)
        seconds[label], scores[label] = took, torch.tensor([score for score, _ in answers])  # type: ignore[attr-defined]
        difference = float((scores[label] - scores["hf"]).abs().max())
        rows.append(row(name, n, dtype, "choices", label, took, len(scored), seconds["hf"] / took, f"{difference:.3f}"))
    for label, lm in (("hf", plain), ("hf-prefix", ours)):
        took, _ = timed(lambda lm=lm: lm.generate_until(prompts, disable_tqdm=True), device)
        seconds[label] = took
        rows.append(row(name, n, dtype, "generations", label, took, len(prompts), seconds["hf"] / took, ""))
    if vllm:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            del model, plain, ours, lm
            gc.collect()
            torch.cuda.empty_cache()
            took = seconds_of_vllm(folder, [instance.args[0] for instance in prompts])
        rows.append(row(name, n, dtype, "generations", "vLLM", took, len(prompts), seconds["hf"] / took, ""))
    return rows


def seconds_of_vllm(folder: str, prompts: list[str]) -> float:
    """Return the seconds in which vLLM continues prompts."""
    import vllm

    engine = vllm.LLM(folder, max_model_len=_CONTEXT, gpu_memory_utilization=0.8, enforce_eager=False)
    settings = vllm.SamplingParams(temperature=1.0, max_tokens=32)
    engine.generate(prompts[:1], settings, use_tqdm=False)
    start = time.perf_counter()
    engine.generate(prompts, settings, use_tqdm=False)
    return time.perf_counter() - start


def row(
    name: str, n: int, dtype: torch.dtype, kind: str, label: str, took: float, requests: int, speedup: float, gap: str
) -> str:
    """Return a row of the table."""
    of = f"{name} ({n / 1e9:.2f} billion, {str(dtype).removeprefix('torch.')})"
    return f"| {of} | {kind} | {label} | {requests} | {took:.2f} | {requests / took:.1f} | {speedup:.1f} | {gap} |"


def main() -> None:
    """Measure every size, and write the table after each, so that a run that is cut short leaves what it has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["1B", "8B"])
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, help="the Markdown file")
    options = parser.parse_args()
    device = torch.device(options.device)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, a rehearsal"
    vllm = device.type == "cuda" and importlib.util.find_spec("vllm") is not None
    lines = [
        f"{hardware}, torch {torch.__version__}, transformers {transformers.__version__}; {options.questions} "
        f"questions, {options.examples} examples before each; {'with' if vllm else 'without'} vLLM.",
        "",
        "| model | requests | scored by | number | seconds | per second | × `hf` | difference, nats |",
        "| --- | --- | --- | --: | --: | --: | --: | --: |",
    ]
    for name in options.sizes:
        lines += rows_of(name, device, options.questions, options.examples, vllm)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines[-4:]), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
