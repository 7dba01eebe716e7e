"""How many tokens a model reads for `calib_core`, and how long that takes a model of 8 billion parameters.

    python tests/benchmarks/core_tokens.py TOKENIZER [LIMIT]

Tasks whose data are at hand are counted, over LIMIT documents (500) and scaled to their size. For the others the sizes
of their evaluation splits, as published, are multiplied by tokens to a request, estimated from their prompts. A request
is a choice with its context, as `hf` runs it; choices of one token after the same context are run once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer

from lm_eval_tasks import TASKS_DIR

# Documents, requests to a document as they are run, and tokens to a request.
PUBLISHED = {
    "calib_mmlu": (14042, 1, 750),
    "calib_arc_easy": (2376, 4, 40),
    "calib_arc_challenge": (1172, 4, 45),
    "calib_hellaswag": (10042, 4, 105),
    "calib_winogrande": (1267, 2, 30),
    "calib_piqa": (1838, 2, 45),
    "calib_boolq": (3270, 1, 150),
    "calib_commonsense_qa": (1221, 1, 60),
    "calib_openbookqa": (500, 4, 20),
    "calib_truthfulqa_mc1": (817, 5, 300),
}
FLOPS_A_TOKEN = 2 * 8e9  # two for each parameter
SUSTAINED = 125e12  # floating-point operations a second: 40 % of the 312e12 of an A100 in bfloat16


def counted(name: str, tokenizer: AutoTokenizer, limit: int) -> tuple[int, float, float] | None:
    """Documents, requests to a document and tokens to a request; None where the data are not at hand."""
    try:
        task = TaskManager(include_path=str(TASKS_DIR), include_defaults=False).load([name])["tasks"][name]
    except Exception:  # whatever a data set that is not here raises
        return None
    task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=limit)
    runs = dict.fromkeys(run_once(((i.doc_id, *i.args) for i in task.instances), tokenizer))
    tokens = sum(len(ids) for ids in tokenizer([text for _, text in runs])["input_ids"])
    n_documents = min(limit, len(task.eval_docs))
    return len(task.eval_docs), len(runs) / n_documents, tokens / len(runs)


def run_once(requests: Iterable[tuple[int, str, str]], tokenizer: AutoTokenizer) -> Iterable[tuple[int, str]]:
    """The documents and texts that are run: a context alone where its choice is one token."""
    size = {}
    for document, context, choice in requests:
        if choice not in size:
            size[choice] = len(tokenizer(choice, add_special_tokens=False)["input_ids"])
        yield document, context if size[choice] == 1 else context + choice


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    limit = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    total = 0.0
    print("| task | documents | requests | tokens a request | million tokens | from |\n|---|---|---|---|---|---|")
    for name, published in PUBLISHED.items():
        found = counted(name, tokenizer, limit)
        documents, requests, tokens = found or published
        millions = documents * requests * tokens / 1e6
        total += millions
        source = "counted" if found else "published size"
        print(f"| `{name}` | {documents:,} | {documents * requests:,.0f} | {tokens:.0f} | {millions:.2f} | {source} |")
    minutes = total * 1e6 * FLOPS_A_TOKEN / SUSTAINED / 60
    print(f"\n{total:.1f} million tokens: {minutes:.0f} minutes at {SUSTAINED / 1e12:.0f} TFLOP/s sustained")


if __name__ == "__main__":
    main()
