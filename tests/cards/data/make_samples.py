"""Make the samples in this folder: run one version of lm-eval on made-up tasks, with a model that hashes its requests.

    pip download --no-deps --no-binary :all: lm-eval==0.4.2 && tar xzf lm_eval-0.4.2.tar.gz
    MERGEKIT_CALIB_DISABLE=1 PYTHONPATH=lm_eval-0.4.2 python make_samples.py 0.4.2

The version's own code loads the tasks, computes the metrics and writes the samples. Its `results*.json` is cut to the
keys that the reader knows, since it describes the machine. Every version logs the same scores.

All of 0.4.2 to 0.4.13 on PyPI were run so (transformers 5.24, datasets 5.2), and the reader gave the same tables. Kept
is one of each form: 0.4.2; 0.4.3; 0.4.5 (0.4.4 has the order of `acc_mutual_info` of 0.4.3); 0.4.7 and 0.4.8; 0.4.9 to
0.4.13; 0.5.0.dev1.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import evaluate
import transformers

HERE = Path(__file__).parent
KEPT = ("results", "configs", "higher_is_better", "n-samples", "config", "model_name", "date", "lm_eval_version")
ROWS = [
    {"q": "Is 2 even?", "choices": ["yes", "no"], "label": 0, "inputs": ["two", "three"], "rest": "is even"},
    {
        "q": "A fruit?",
        "choices": ["a red apple", "tin", "iron"],
        "label": 0,
        "inputs": ["apple", "tin"],
        "rest": "ripens",
    },
    {"q": "Larger?", "choices": ["ant", "elephant"], "label": 1, "inputs": ["ant", "elephant"], "rest": "is large"},
    {"q": "„No“?", "choices": ["nein", "né"], "label": 0, "inputs": ["nein", "né"], "rest": "heißt es"},
]
CHOICES = {"output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{choices}}"}
TASKS = {
    "form_choice": (CHOICES | {"doc_to_target": "label"}, ["acc", "acc_norm"]),
    "form_norm": (CHOICES | {"doc_to_target": "label"}, ["acc_norm"]),
    "form_text": (CHOICES | {"doc_to_target": "{{choices[label]}}"}, ["acc"]),
    "form_mutual": (CHOICES | {"doc_to_target": "label"}, ["acc", "acc_mutual_info"]),
    "form_several": (CHOICES | {"doc_to_target": "many"}, ["acc"]),
    "form_inputs": (
        {"output_type": "multiple_choice", "doc_to_text": "label", "doc_to_target": "rest", "doc_to_choice": "inputs"},
        ["acc"],
    ),
    "form_answers": (
        {
            "output_type": "generate_until",
            "doc_to_text": "{{q}}",
            "doc_to_target": "{{choices[label]}}",
            "generation_kwargs": {"until": ["\n"]},
            "repeats": 2,
            "filter_list": [
                {
                    "name": "strict",
                    "filter": [{"function": "regex", "regex_pattern": "(yes)"}, {"function": "take_first"}],
                },
                {"name": "loose", "filter": [{"function": "take_first"}]},
            ],
        },
        ["!function metric.agreement"],
    ),
    "form_rolling": (
        {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{q}}"},
        ["word_perplexity"],
    ),
}
# 0.5.0.dev1 refuses these tasks, or this model's answers to them, as they stand.
NOT_IN_0_5 = {"form_mutual", "form_several", "form_inputs", "form_rolling"}


# 0.5.0.dev1 expects a score for each repetition, and the others a number.
METRIC = """
def agreement(references, predictions, **more):
    same = float(references == predictions)
    return [same] if IN_0_5 else same
"""


class Exact:
    """0.4.2 loads `exact_match` from the Hub when it is imported."""

    def compute(self, references, predictions, **more):
        return {"exact_match": sum(map(str.__eq__, references, predictions)) / len(references)}


def write_tasks(folder: Path, names: list[str], is_0_5: bool) -> None:
    rows = [row | {"many": [0, 1] if len(row["choices"]) > 2 else [row["label"]]} for row in ROWS]
    docs = folder / "docs.jsonl"
    docs.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (folder / "metric.py").write_text(f"IN_0_5 = {is_0_5}\n{METRIC}")
    for name in names:
        task, metrics = TASKS[name]
        of_metric = "weighted_perplexity" if name == "form_rolling" else "mean"
        data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(docs)}}, "test_split": "test"}
        # JSON is YAML, but for the tag of a function.
        lines = [f"{key}: {json.dumps(value)}" for key, value in ({"task": name} | data | task).items()]
        lines.append("metric_list:")
        for metric in metrics:
            lines += [f"  - metric: {metric}", f"    aggregation: {of_metric}", "    higher_is_better: true"]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(version: str) -> None:
    evaluate.load = lambda *arguments, **more: Exact()
    if not hasattr(transformers, "AutoModelForVision2Seq"):  # transformers 5 has another name for it
        transformers.AutoModelForVision2Seq = transformers.AutoModelForCausalLM
    from lm_eval import tasks
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model

    @register_model("hashing")
    class Hashing(LM):
        def __init__(self, **more):
            super().__init__()

        def loglikelihood(self, requests, **more):
            digests = [hashlib.sha256("".join(request.args[:2]).encode()).digest() for request in requests]
            return [(-int.from_bytes(digest[:4], "big") / 2**30, False) for digest in digests]

        def loglikelihood_rolling(self, requests, **more):
            return [-float(len(request.args[0])) for request in requests]

        def generate_until(self, requests, **more):
            return ["yes" if "even" in request.args[0] else "nein" for request in requests]

    out = HERE / version
    with tempfile.TemporaryDirectory(dir=Path(tasks.__file__).parent) as folder:  # 0.4.9.2 prints paths from there
        is_0_5 = version.startswith("0.5")
        names = [name for name in TASKS if not (is_0_5 and name in NOT_IN_0_5)]
        write_tasks(Path(folder), names, is_0_5)
        sys.argv = [
            *("lm_eval", "--model", "hashing", "--model_args", "pretrained=made/up,dtype=float32"),
            *("--include_path", folder, "--tasks", ",".join(names), "--log_samples", "--output_path", str(out)),
        ]
        cli_evaluate()
        for file in out.rglob("results*.json"):
            kept = {key: value for key, value in json.loads(file.read_text()).items() if key in KEPT}
            kept["config"] = {"model_args": kept["config"]["model_args"]}
            for config in kept["configs"].values():
                for key in ("dataset_kwargs", "config_source"):
                    config.pop(key, None)
            file.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
