"""Compare the time of a sweep and of its parts with lm-eval's `hf` and mergekit.

    python tests/benchmarks/speed.py PAIR OUT.json [--questions 64] [--points 11] [--only scorer,merge,…]

PAIR holds `base/` and `aligned/`, as `tests/benchmarks/make_real_pair.py` writes them. The whole takes about 40 minutes
on 2 CPU cores, most of it for `scorer`, `sweep` and `linear`. Both sides of a comparison run by turns. The parts:

    scorer    `hf-prefix` against `hf`: time, log-probabilities, share of the rate of a large matrix product, by torch
              and by the library that `hf-prefix` uses
    share     the same share with one thread, in processor seconds, which hardly depend on what else the machine does
    merge     setting the next point in place, against a copy of the weights and mergekit's kernel
    sweep     a sweep of MMLU, against one `lm_eval` run, and against `mergekit-yaml` and `lm_eval` for each point
    curve     a sweep of MMLU over λ in [0, 2] with the strategy `curve`, all its points, against one `lm_eval` run
    linear    the cost of a point in a longer sweep, and of twice the items
    memory    peak memory of a sweep
    profile   share of each kind of operation in scoring
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from speed_common import SUBJECTS, Report, plain_recipe, recipe, run, timed
from speed_of_merging import merge

from mergekit_calib.prefix_lm.model import PrefixLM, build_lm
from mergekit_calib.prefix_lm.onednn_products import faster_product
from mergekit_calib.recipe import SuiteEntry
from mergekit_calib.scoring.suite import Suite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--questions", type=int, default=64, help="questions of each MMLU subject; four times as many of arc_easy"
    )
    parser.add_argument("--points", type=int, default=11, help="points of the sweep")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default=",".join(MEASURES), help="the parts to run; all if not given")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    report: Report = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "threads": torch.get_num_threads(),
        "questions": options.questions,
    }
    for name in options.only.split(","):
        report[name] = MEASURES[name](options)
        options.out.write_text(json.dumps(report, indent=2))
        print(name, json.dumps(report[name], indent=2), flush=True)


def scorer(options: argparse.Namespace) -> Report:
    """Compare `hf-prefix` with `hf` at its best batch size, and with the machine's rate of matrix products."""
    model = transformers.AutoModelForCausalLM.from_pretrained(options.pair / "base", dtype=torch.float32)
    model = model.to(options.device).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.pair / "base")
    report: Report = {}
    slices = {
        "mmlu, 5 shots": [SuiteEntry(task=s, limit=options.questions, num_fewshot=5) for s in SUBJECTS],
        "arc_easy, 0 shots": [SuiteEntry(task="arc_easy", limit=4 * options.questions)],
    }
    for name, entries in slices.items():
        best = _best_batch_size(model, tokenizer, entries[0])
        turns: list[Report] = []
        for entry in entries:
            instances = _instances(entry, model, tokenizer)
            plain, theirs = timed(HFLM(model, tokenizer=tokenizer, batch_size=best).loglikelihood, instances)
            lm = PrefixLM(model, tokenizer=tokenizer)
            ours_seconds, ours = timed(lm.loglikelihood, instances)
            needed = useful_work(lm, model, instances)
            fastest = faster_product(model.dtype, model.device) or torch.nn.functional.linear
            few = instances[: len(instances) // 8]
            exact = HFLM(model, tokenizer=tokenizer, batch_size=best, softmax_dtype="float64").loglikelihood(few)
            turns.append(
                {
                    "entry": entry.name,
                    "hf_seconds": plain,
                    "seconds": ours_seconds,
                    "ratio": plain / ours_seconds,
                    "useful_share": needed / ours_seconds / product_rate(torch.nn.functional.linear, options.device),
                    "useful_share_of_fastest": needed / ours_seconds / product_rate(fastest, options.device),
                    "largest_difference": largest_difference(theirs, ours),
                    "from_hf_with_float64_softmax": largest_difference(exact, ours[: len(few)]),
                    "hf_from_itself_with_float64_softmax": largest_difference(exact, theirs[: len(few)]),
                    "greedy_agrees": all(a[1] == b[1] for a, b in zip(theirs, ours, strict=True)),
                }
            )
        report[name] = {
            "hf_batch_size": best,
            "ratio": sum(t["hf_seconds"] for t in turns) / sum(t["seconds"] for t in turns),
            "turns": turns,
        }
    return report


def largest_difference(theirs: list[tuple[float, bool]], ours: list[tuple[float, bool]]) -> float:
    """Return the largest absolute difference of two lists of log-likelihoods, in nats."""
    return max(abs(a[0] - b[0]) for a, b in zip(theirs, ours, strict=True))


def _best_batch_size(model: Any, tokenizer: Any, entry: SuiteEntry) -> int:
    few = _instances(entry.model_copy(update={"limit": 8}), model, tokenizer)
    seconds = {}
    for size in (1, 2, 4, 8):  # not `auto`, which runs out of memory on a CPU
        seconds[size], _ = timed(HFLM(model, tokenizer=tokenizer, batch_size=size).loglikelihood, few)
    return min(seconds, key=seconds.__getitem__)


def _instances(entry: SuiteEntry, model: Any, tokenizer: Any) -> list[Any]:
    suite = Suite.load([entry])
    suite.build_requests(build_lm(model, tokenizer))
    return [instance for task in suite.entries[0].tasks for instance in task.instances]


def useful_work(lm: PrefixLM, model: Any, instances: list[Any]) -> float:
    """Return the floating-point operations that are needed: each distinct token once, and the head where it is read."""
    steps = lm.tokenize(instances).steps(lm.batch_limits.step_tokens)
    head = model.get_output_embeddings().weight.numel()
    body = sum(p.numel() for p in model.parameters()) - head
    return 2.0 * (body * sum(len(s.tokens) for s in steps) + head * sum(len(s.reads) for s in steps))


def product_rate(
    product: Callable[..., torch.Tensor], device: str, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the floating-point operations a second of a large matrix product, the best of five."""
    a = torch.randn(2048, 2048, device=device)
    return max(2 * 2048**3 / timed(product, a, a, None, clock=clock)[0] for _ in range(5))


def share(options: argparse.Namespace) -> Report:
    """Measure the useful share of one thread's processor time in scoring one subject of MMLU, the median of three."""
    model = transformers.AutoModelForCausalLM.from_pretrained(options.pair / "base", dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.pair / "base")
    instances = _instances(SuiteEntry(task=SUBJECTS[1], limit=options.questions, num_fewshot=5), model, tokenizer)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lm = PrefixLM(model, tokenizer=tokenizer)
    needed = useful_work(lm, model, instances)
    fastest = faster_product(model.dtype, model.device) or torch.nn.functional.linear
    turns = []
    for _ in range(3):
        seconds, _ = timed(lm.loglikelihood, instances, clock=time.process_time)
        rates = [product_rate(p, "cpu", time.process_time) for p in (torch.nn.functional.linear, fastest)]
        turns.append((seconds, *(needed / seconds / rate for rate in rates)))
    torch.set_num_threads(threads)
    names = ("processor_seconds", "useful_share", "useful_share_of_fastest")
    return dict(zip(names, map(statistics.median, zip(*turns, strict=True)), strict=True))


def sweep(options: argparse.Namespace) -> Report:
    """Compare a sweep of some of MMLU with `lm_eval --model hf`, once and, with `mergekit-yaml`, for each point.

    For the latter one point is run, and counted as often as there are points.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sweep.yml").write_text(recipe(options.pair, "float32", "linear", options.points, options.questions))
        (place / "point.yml").write_text(plain_recipe(options.pair))
        ours, _ = timed(run, "mergekit-yaml", place / "sweep.yml", place / "out")
        a_merge, _ = timed(run, "mergekit-yaml", place / "point.yml", place / "point")
        theirs, _ = timed(run, *_lm_eval_command(place / "point", options))
    return {
        "points": options.points,
        "sweep_seconds": ours,
        "lm_eval_seconds": theirs,
        "mergekit_seconds": a_merge,
        "sweep_by_one_lm_eval_run": ours / theirs,
        "as_today_by_sweep": options.points * (a_merge + theirs) / ours,
    }


def _lm_eval_command(model: Path, options: argparse.Namespace) -> tuple[object, ...]:
    """Return the command that scores the slice of MMLU with lm-eval's `hf`."""
    return (
        *("lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"),
        *("--tasks", ",".join(SUBJECTS), "--num_fewshot", 5, "--limit", options.questions, "--device", options.device),
    )


def curve(options: argparse.Namespace) -> Report:
    """Compare a sweep of the slice of MMLU over λ in [0, 2], by the strategy `curve`, with one run of lm-eval's `hf`.

    Processor seconds are given too: with `OMP_NUM_THREADS=1` they hardly depend on what else the machine does.
    """
    search = "  search: {strategy: curve}\n"
    text = recipe(options.pair, "float32", "linear", 2, options.questions, search)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sweep.yml").write_text(text.replace("lambda: [0.0, 1.0]", "lambda: {min: 0, max: 2}"))
        began = _processor_seconds()
        ours, _ = timed(run, "mergekit-yaml", place / "sweep.yml", place / "out")
        ours_processor = _processor_seconds() - began
        frontier = json.loads((place / "out" / "calibration" / "frontier.json").read_text())
        began = _processor_seconds()
        theirs, _ = timed(run, *_lm_eval_command(options.pair / "base", options))
        theirs_processor = _processor_seconds() - began
    return {
        "points": len(frontier["points"]),
        "sweep_seconds": ours,
        "scoring_seconds": sum(p["seconds"]["score"] for p in frontier["points"]),
        "lm_eval_seconds": theirs,
        "sweep_by_one_lm_eval_run": ours / theirs,
        "processor_seconds": {"sweep": ours_processor, "lm_eval": theirs_processor},
        "the_same_in_processor_seconds": ours_processor / theirs_processor,
    }


def _processor_seconds() -> float:
    """Return the processor time of all finished commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def linear(options: argparse.Namespace) -> Report:
    """Compare the cost of a point in sweeps of 21 and 11 points, and the cost of scoring twice the items."""
    few = max(2, options.questions // 4)
    seconds, scoring = {}, {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.pair / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(options.pair / "base", dtype=torch.float32).eval()
    work = {n: sum(_slice_work(n, model, tokenizer)) for n in (few, 2 * few)}
    for points, questions in ((3, few), (11, few), (21, few), (3, 2 * few)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "sweep.yml").write_text(recipe(options.pair, "float32", "linear", points, questions))
            seconds[points, questions], _ = timed(run, "mergekit-yaml", place / "sweep.yml", place / "out")
            frontier = json.loads((place / "out" / "calibration" / "frontier.json").read_text())
            scoring[points, questions] = statistics.median(p["seconds"]["score"] for p in frontier["points"])
    alone = seconds[3, few]
    return {
        "seconds": {f"{points} points, {n} questions a subject": s for (points, n), s in seconds.items()},
        "a_point_of_21_by_one_of_11": ((seconds[21, few] - alone) / 18) / ((seconds[11, few] - alone) / 8),
        "twice_the_items_by_as_many": scoring[3, 2 * few] / scoring[3, few],
        "of_their_useful_work": scoring[3, 2 * few] / scoring[3, few] / (work[2 * few] / work[few]),
    }


def _slice_work(questions: int, model: Any, tokenizer: Any) -> list[float]:
    """Return the useful work of that many questions of each subject; questions share a subject's examples."""
    lm = PrefixLM(model, tokenizer=tokenizer)
    entries = [SuiteEntry(task=s, limit=questions, num_fewshot=5) for s in SUBJECTS]
    return [useful_work(lm, model, _instances(entry, model, tokenizer)) for entry in entries]


def memory(options: argparse.Namespace) -> Report:
    """Measure a sweep's peak memory beyond parents and live model, for some items and for twice as many.

    The parents are bfloat16 files that are memory-mapped, the live model is float32.
    """
    a_parent = sum(f.stat().st_size for f in (options.pair / "base").glob("*.safetensors"))
    weights = (2 + 2) * a_parent
    report: Report = {"parents_and_live_bytes": weights}
    for times in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            in_float32 = "  model_args: {dtype: float32}\n"
            text = recipe(options.pair, "bfloat16", "linear", 3, times * options.questions // 2, in_float32)
            (place / "sweep.yml").write_text(text)
            code = (
                "import resource, sys; from mergekit_calib import run_sweep; run_sweep(*sys.argv[1:]);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
            )
            output = run(sys.executable, "-c", code, place / "sweep.yml", place / "out")
            report[f"beyond_bytes_{times}x_items"] = int(output.split()[-1]) - weights
    return report


def profile(options: argparse.Namespace) -> Report:
    """Return the share of each kind of operation in scoring one subject by torch's profiler, if above one percent."""
    model = transformers.AutoModelForCausalLM.from_pretrained(options.pair / "base", dtype=torch.float32)
    lm = PrefixLM(
        model.to(options.device).eval(), tokenizer=transformers.AutoTokenizer.from_pretrained(options.pair / "base")
    )
    entry = SuiteEntry(task=SUBJECTS[1], limit=options.questions, num_fewshot=5)
    instances = _instances(entry, lm.model, lm.tokenizer)
    lm.loglikelihood(instances)
    with torch.profiler.profile() as profiler:
        lm.loglikelihood(instances)
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    shares = {name: time_ / sum(spent.values()) for name, time_ in sorted(spent.items(), key=lambda x: -x[1])}
    return {name: round(share, 3) for name, share in shares.items() if share > 0.01}


MEASURES: dict[str, Callable[[argparse.Namespace], Report]] = {
    "scorer": scorer,
    "share": share,
    "merge": merge,
    "sweep": sweep,
    "curve": curve,
    "linear": linear,
    "memory": memory,
    "profile": profile,
}

if __name__ == "__main__":
    main()
