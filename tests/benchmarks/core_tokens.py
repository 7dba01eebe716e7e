"""Count the tokens that a model reads for `calib_core`, and the time that takes a model of 8 billion parameters.

    python tests/benchmarks/core_tokens.py TOKENIZER [--limit 500]    # under a minute; TOKENIZER: a folder or a Hub id

Where a task's data set is on this machine or can be downloaded, `--limit` of its documents are counted and scaled to
all of them. For the other tasks, the published number of documents is multiplied by the requests to a document and the
tokens to a request, both estimated from the prompts. A request is a choice after its context, as lm-eval's `hf` runs
it; choices of one token after the same context are one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer, PreTrainedTokenizerBase

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
FLOPS_PER_TOKEN = 2 * 8e9  # two for each parameter
SUSTAINED = 125e12  # floating-point operations a second: 40 % of the 312e12 of an A100 in bfloat16


def count(name: str, tokenizer: PreTrainedTokenizerBase, limit: int) -> tuple[int, float, float] | None:
    """Return documents, requests to a document and tokens to a request; None if the data set cannot be loaded."""
    try:
        task = TaskManager(include_path=str(TASKS_DIR), include_defaults=False).load([name])["tasks"][name]
    except Exception:  # whatever a missing data set raises
        return None
    task.set_config("num_fewshot", task.get_config("num_fewshot") or 0)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=limit)
    texts = dict.fromkeys(texts_run(((i.doc_id, *i.args) for i in task.instances), tokenizer))
    n_tokens = sum(len(ids) for ids in tokenizer([text for _, text in texts])["input_ids"])
    n_documents = min(limit, len(task.eval_docs))
    return len(task.eval_docs), len(texts) / n_documents, n_tokens / len(texts)


def texts_run(
    requests: Iterable[tuple[int, str, str]], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[int, str]]:
    """Yield the document and the text of each request; the context alone if the choice is one token."""
    n_tokens = {}
    for document, context, choice in requests:
        if choice not in n_tokens:
            n_tokens[choice] = len(tokenizer(choice, add_special_tokens=False)["input_ids"])
        yield document, context if n_tokens[choice] == 1 else context + choice


@click.command(help=__doc__.partition("\n\n")[0])
@click.argument("tokenizer")
@click.option("--limit", default=500, show_default=True, help="Documents of a task that are counted.")
def main(tokenizer: str, limit: int) -> None:
    loaded = AutoTokenizer.from_pretrained(tokenizer)
    total = 0.0
    print("| task | documents | requests | tokens a request | million tokens | from |\n|---|---|---|---|---|---|")
    for name, published in PUBLISHED.items():
        counts = count(name, loaded, limit)
        documents, requests, tokens = counts or published
        millions = documents * requests * tokens / 1e6
        total += millions
        source = "counted" if counts else "published size"
        print(f"| `{name}` | {documents:,} | {documents * requests:,.0f} | {tokens:.0f} | {millions:.2f} | {source} |")
    minutes = total * 1e6 * FLOPS_PER_TOKEN / SUSTAINED / 60
    print(f"\n{total:.1f} million tokens: {minutes:.0f} minutes at {SUSTAINED / 1e12:.0f} TFLOP/s sustained")


if __name__ == "__main__":
    main()
