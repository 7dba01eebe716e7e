"""Time of generated texts: vLLM against the static batches of `generate`, same prompts, same sampling, same weights.

    python tests/benchmarks/vllm_generation.py [--pair FOLDER] [--prompts 32] [--samples 8] [--tokens 32] [--dtype NAME]

Needs vLLM (tests/engines/run.sh installs it in an environment of its own, and runs this). FOLDER holds `base` and
`aligned`; the demo pair if it is not given. Prints a Markdown table; each engine runs once to warm up, and is timed on
the second run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from mergekit.options import MergeOptions

from lm_eval_tasks.calib_demo.dataset import load
from mergekit_calib import demo
from mergekit_calib.engines.engine import Engine
from mergekit_calib.engines.transformers_engine import TransformersEngine
from mergekit_calib.engines.vllm_engine import VllmEngine, VllmPlace
from mergekit_calib.engines.vllm_internals import vllm_version
from mergekit_calib.merging.models import PointModels
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.prefix_lm.shared_trees import SharedPrefixTrees
from mergekit_calib.recipe import Point
from mergekit_calib.recipe.engine_settings import VllmSettings


def point(base: Path, aligned: Path, lambda_: float, dtype: str) -> Point:
    weights = {str(base): 1 - lambda_, str(aligned): lambda_}
    models = [{"model": model, "parameters": {"weight": weight}} for model, weight in weights.items()]
    return Point(f"lambda={lambda_}", {}, {"merge_method": "linear", "models": models, "dtype": dtype})


def measure(engine: Engine, points: list[Point], requests: list[Instance]) -> tuple[float, float, int]:
    """Return the seconds that a point takes to set, those that its texts take, and the characters of the texts."""
    for each in points:
        began = time.perf_counter()
        with engine.at(each) as ready:
            set_in = time.perf_counter() - began
            torch.manual_seed(0)
            began = time.perf_counter()
            texts = ready.lm.generate_until(requests, disable_tqdm=True)
            seconds = time.perf_counter() - began
    engine.discard()
    return set_in, seconds, sum(map(len, texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pair", type=Path)
    for name, default in (("prompts", 32), ("samples", 8), ("tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--enforce-eager", action="store_true")
    given = parser.parse_args()
    base, aligned = (given.pair / "base", given.pair / "aligned") if given.pair else demo.parents()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_gen_toks": given.tokens}
    options |= {"until": []}
    questions = [f"question : {row['question']}\nanswer :" for row in list(load()["test"])[: given.prompts]]
    requests = [
        Instance("generate_until", {}, (question, options), i, metadata=("speed", i, 1))
        for i, question in enumerate(q for q in questions for _ in range(given.samples))
    ]
    points = [point(base, aligned, lambda_, "bfloat16") for lambda_ in (0.0, 0.5)]
    merge_options = MergeOptions(random_seed=0, quiet=True)

    def models(scratch: str) -> PointModels:
        return PointModels(merge_options, TokenizerChoice(aligned), Path(scratch), device, given.dtype)

    rows: dict[str, tuple[float, float, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        plain = TransformersEngine(models(scratch), {"dtype": given.dtype}, 8, SharedPrefixTrees())
        rows["transformers"] = measure(plain, points, requests)
        vllm = VllmEngine(
            models(scratch),
            None,
            points,
            VllmSettings(enforce_eager=given.enforce_eager),
            VllmPlace(device, 0.9, Path(scratch)),
            merge_options=merge_options,
            model_args={"dtype": given.dtype},
        )
        rows[f"vLLM {vllm_version()}"] = measure(vllm, points, requests)
    print(
        f"{given.prompts} prompts × {given.samples} samples of at most {given.tokens} tokens, {given.dtype} on "
        f"{torch.cuda.get_device_name() if device.type == 'cuda' else f'{torch.get_num_threads()} CPU threads'}\n"
    )
    print("| engine | setting the point, s | generating, s | texts per second | characters per text |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, (set_in, seconds, characters) in rows.items():
        per_text = characters / len(requests)
        print(f"| {name} | {set_in:.2f} | {seconds:.2f} | {len(requests) / seconds:.1f} | {per_text:.0f} |")


if __name__ == "__main__":
    main()
