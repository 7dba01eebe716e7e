"""Compare what `mergekit-calib plan` predicts with what the sweep then takes, and print the ratios as Markdown.

    python tests/benchmarks/plan_accuracy.py                  # the demo, and a random Llama of 40 million parameters
    python tests/benchmarks/plan_accuracy.py --pair PAIR      # also a real pair, in PAIR/base and PAIR/aligned

Plan and sweep are processes of one thread each that run right after one another, by turns. What a sweep took is its
user and system time, since the machine may do other things; the estimate is of seconds on an idle machine, which are
the same with one thread. A search by `curve` scores as many points as it needs, so their number is part of the error.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from mergekit_calib.demo import parents, sweep_yaml
from mergekit_calib.results.frontier import Frontier

TOP = Path(__file__).resolve().parents[2]
PLAN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from mergekit.options import MergeOptions
from mergekit_calib.commands.plan_command import show_cost
cost = show_cost(Path(sys.argv[1]), Path(sys.argv[2]), MergeOptions())
print(json.dumps({**asdict(cost.seconds), "total": cost.seconds.total, "points": cost.points.likely}))
"""
RECIPE = """
merge_method: calibration_sweep
base_model: {base}
models: [{{model: {aligned}}}]
parameters: {{method: linear}}
dtype: bfloat16
calibration:
  axes: {{lambda: [0.25, 0.5, 0.75]}}
  suite: [{suite}]
  model_args: {{dtype: float32}}
"""


@dataclass(frozen=True)
class Trial:
    """What was predicted, and what a run took."""

    predicted: dict[str, float]
    seconds: float
    points: int


def random_pair(folder: Path) -> str:
    """Write two random Llamas of some 40 million parameters with the demo's tokenizer; return a recipe for them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(parents()[1])
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=10,
        num_attention_heads=9,
        max_position_embeddings=512,
    )
    for seed, name in enumerate(("base", "aligned")):
        torch.manual_seed(seed)
        transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    suite = "{task: calib_demo, limit: 300, num_fewshot: 5}"
    return RECIPE.format(base=folder / "base", aligned=folder / "aligned", suite=suite)


def trial(recipe: str) -> Trial:
    """Plan a sweep, and run it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "sweep.yml", Path(name) / "out"
        path.write_text(recipe, encoding="utf-8")
        plan = [sys.executable, "-c", PLAN, str(path), str(out)]
        printed = subprocess.run(plan, env=environment, cwd=TOP, check=True, capture_output=True, text=True).stdout
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = [sys.executable, "-m", "mergekit_calib", "sweep", str(path), str(out), "--quiet"]
        subprocess.run(run, env=environment, cwd=TOP, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Trial(json.loads(printed.splitlines()[-1]), seconds, len(Frontier.load(out).points))


def row(name: str, trials: list[Trial]) -> str:
    """Return a row of the table: medians, and the range of the ratios."""
    ratios = sorted(each.predicted["total"] / each.seconds for each in trials)
    predicted, taken = (
        statistics.median(values)
        for values in ([each.predicted["total"] for each in trials], [each.seconds for each in trials])
    )
    points = f"{trials[0].predicted['points']} / {trials[0].points}"
    parts = ", ".join(
        f"{part} {statistics.median(each.predicted[part] for each in trials):.1f}"
        for part in ("start", "load", "merge", "score", "answers", "statistics", "write")
    )
    middle = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {name} | {points} | {predicted:.1f} | {taken:.1f} | {middle} | {parts} |"


def main() -> None:
    """Print a table of predicted and taken times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, help="a folder with base/ and aligned/")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="the row to measure: demo, llama or pair")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipes = {"demo": sweep_yaml(), "llama": random_pair(Path(folder))}
        if given.pair:
            suite = "{task: arc_easy, limit: 100}"
            recipes["pair"] = RECIPE.format(base=given.pair / "base", aligned=given.pair / "aligned", suite=suite)
        print("| sweep | points, predicted / scored | predicted, s | taken, s | predicted / taken | predicted parts |")
        print("| --- | --- | --: | --: | --: | --- |")
        for name, recipe in recipes.items():
            if given.only in (None, name):
                trials = [trial(recipe) for _ in range(given.repeats)]
                print(row(name, trials), flush=True)


if __name__ == "__main__":
    main()
