"""Item tables hold what lm-eval's own evaluation sees, for tasks of every shape."""

from __future__ import annotations

from typing import Any

import lm_eval
import numpy as np
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from helpers.small_tasks import ACCURACIES, CHOICES, GENERATES, QUESTIONS, table_of
from mergekit_calib.items.item_metrics.accuracies import correct, correct_by_length
from mergekit_calib.items.metric_registry import BUILT_IN, Metric, MetricContext
from mergekit_calib.items.scopes import Scopes, describe_tables
from mergekit_calib.items.table import ItemTable, joined


def metrics_of(table: ItemTable) -> dict[str, Metric]:
    """Return name → metric, for the metrics that can be computed from a task's item table."""
    return Scopes(describe_tables({"entry": [table]}), BUILT_IN).metrics("entry")


@pytest.fixture
def by_lm_eval(model, tokenizer):
    """lm-eval's own evaluation of a task with its plain `hf` model."""

    def evaluate(path: str, **options: Any) -> dict[str, Any]:
        return lm_eval.simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
            tasks=[path],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            **options,
        )

    return evaluate


def test_items_with_fewer_choices_are_padded(write_task, load_suite, lm, by_lm_eval) -> None:
    path = write_task("sums", QUESTIONS, metric_list=ACCURACIES, **CHOICES)

    table = table_of(load_suite(path), lm)
    theirs = by_lm_eval(path)

    n_choices = [len(q["options"]) for q in QUESTIONS]
    assert table.log_likelihoods.shape == (12, 5)
    assert (~np.isnan(table.log_likelihoods)).sum(axis=1).tolist() == n_choices
    assert table.labels.argmax(axis=1).tolist() == [q["answer"] for q in QUESTIONS]
    assert table.choice_chars[2, :3].tolist() == [len(c) for c in QUESTIONS[2]["options"]]
    assert correct(table).mean() == theirs["results"]["sums"]["acc,none"]
    assert correct_by_length(table).mean() == theirs["results"]["sums"]["acc_norm,none"]
    assert table.values == {}


def test_documents_have_lm_evals_ids_and_hashes_and_scores(write_task, load_suite, lm, by_lm_eval) -> None:
    path = write_task("sums", QUESTIONS, **CHOICES)

    table = table_of(load_suite(path, limit=5), lm)
    samples = by_lm_eval(path, limit=5)["samples"]["sums"]

    assert table.doc_ids.tolist() == [s["doc_id"] for s in samples]
    assert table.doc_hashes == [s["doc_hash"] for s in samples]
    for row, sample in zip(table.log_likelihoods, samples, strict=True):
        theirs = [r[0] for r in sample["filtered_resps"]]
        np.testing.assert_allclose(row[: len(theirs)], theirs, rtol=0, atol=1e-5)


def test_lengths_are_counted_in_characters_and_in_bytes(write_task, load_suite, lm) -> None:
    rows = [{"question": "?", "options": ["größe", "日本", "a"], "answer": 0}]

    table = table_of(load_suite(write_task("words", rows, **CHOICES)), lm)

    assert table.choice_chars.tolist() == [[5, 2, 1]]
    assert table.choice_bytes.tolist() == [[7, 6, 1]]


def test_choices_may_be_contexts(write_task, load_suite, lm, by_lm_eval, function) -> None:
    rows = [
        {"parts": [f"The {a} was hot,", f"The {b} was hot,"], "end": "so it melted.", "label": i % 2}
        for i, (a, b) in enumerate([("ice", "oven"), ("cup", "snow"), ("wax", "fire")])
    ]
    functions = """
    def label(doc):
        return doc["label"]
    """
    path = write_task(
        "blanks",
        rows,
        functions,
        doc_to_text=function("blanks", "label"),
        doc_to_choice="parts",
        doc_to_target="end",
    )

    table = table_of(load_suite(path), lm)

    assert table.labels.argmax(axis=1).tolist() == [0, 1, 0]
    assert correct(table).mean() == by_lm_eval(path)["results"]["blanks"]["acc,none"]


def test_several_choices_may_be_correct(write_task, load_suite, lm, by_lm_eval) -> None:
    rows = [{**q, "answers": [0, 2]} for q in QUESTIONS]
    path = write_task("several", rows, **{**CHOICES, "doc_to_target": "answers"})

    table = table_of(load_suite(path), lm)

    assert table.labels[:, :3].tolist() == [[True, False, True]] * 12
    assert correct(table).mean() == by_lm_eval(path)["results"]["several"]["acc,none"]


def test_a_label_may_be_the_text_of_a_choice(write_task, load_suite, lm) -> None:
    rows = [{**q, "text": q["options"][q["answer"]]} for q in QUESTIONS]

    table = table_of(load_suite(write_task("texts", rows, **{**CHOICES, "doc_to_target": "text"})), lm)

    assert table.labels.argmax(axis=1).tolist() == [q["answer"] for q in QUESTIONS]


def test_acc_mutual_info_is_computed_by_lm_eval(write_task, load_suite, lm, by_lm_eval) -> None:
    metrics = [{"metric": m, "aggregation": "mean", "higher_is_better": True} for m in ("acc", "acc_mutual_info")]
    path = write_task("sums", QUESTIONS, metric_list=metrics, **CHOICES)
    suite = load_suite(path)

    table = table_of(suite, lm)
    theirs = by_lm_eval(path)["results"]["sums"]

    assert table.log_likelihoods.shape == (12, 5)
    assert correct(table).mean() == theirs["acc,none"]
    assert table.values["acc_mutual_info"].mean() == theirs["acc_mutual_info,none"]
    assert suite.higher_is_better == {"sums": {"acc_mutual_info": True}}


def test_a_task_that_computes_its_own_results_is_not_judged_by_its_choices(
    write_task, load_suite, lm, function
) -> None:
    functions = """
    def results(doc, results):
        return {"acc": 0.25, "spread": results[0][0] - results[1][0], "raw": [1, 2], "total": 3}
    """
    path = write_task(
        "own",
        QUESTIONS,
        functions,
        process_results=function("own", "results"),
        metric_list=[
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
            {"metric": "spread", "aggregation": "mean", "higher_is_better": False},
            {"metric": "total", "aggregation": "perplexity", "higher_is_better": False},
        ],
        **CHOICES,
    )
    suite = load_suite(path)

    table = table_of(suite, lm)

    assert table.values["acc"].tolist() == [0.25] * 12
    assert np.ptp(table.values["spread"]) > 0
    assert sorted(table.values) == ["acc", "spread"]
    assert list(suite.higher_is_better.values()) == [{"acc": True, "spread": False}]
    assert not table.has_choices
    assert not {"ece", "brier"} & set(metrics_of(table))


def test_the_target_of_a_task_that_computes_its_own_results_need_not_be_a_choice(
    write_task, load_suite, function
) -> None:
    functions = """
    def results(doc, results):
        return {"acc": 1.0}
    """
    shape = {**CHOICES, "doc_to_target": "question"}

    load_suite(write_task("own", QUESTIONS, functions, process_results=function("own", "results"), **shape))

    with pytest.raises(Exception, match="the label '1 and 1 are' is not among"):
        load_suite(write_task("plain", QUESTIONS, **shape))


def test_a_task_with_our_metrics_is_judged_by_its_choices_even_if_it_computes_its_own_results(
    write_task, load_suite, lm, function
) -> None:
    functions = """
    from lm_eval_tasks.task import CalibrationTask

    def results(doc, results):
        return {"acc": 0.25}
    """
    path = write_task(
        "both",
        QUESTIONS,
        functions,
        **{"class": function("both", "CalibrationTask")},
        process_results=function("both", "results"),
        metric_list=ACCURACIES[:1],
        **CHOICES,
    )
    suite = load_suite(path)

    table = table_of(suite, lm)

    assert table.has_choices
    assert table.labels.argmax(axis=1).tolist() == [q["answer"] for q in QUESTIONS]
    assert table.values["acc"].tolist() == [0.25] * 12


def test_a_metric_that_only_some_documents_have_is_averaged_over_those_as_in_lm_eval(
    write_task, load_suite, lm, by_lm_eval, function
) -> None:
    functions = """
    import numpy as np

    def results(doc, results):
        correct = np.argmax([score for score, _ in results]) == doc["answer"]
        return {"correct": correct, "first" if doc["answer"] == 0 else "later": correct}
    """
    names = ("correct", "first", "later")
    path = write_task(
        "some",
        QUESTIONS,
        functions,
        process_results=function("some", "results"),
        metric_list=[{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names],
        **CHOICES,
    )

    table = table_of(load_suite(path), lm)
    theirs = by_lm_eval(path)["results"]["some"]

    assert np.isnan(table.values["first"]).tolist() == [q["answer"] != 0 for q in QUESTIONS]
    for name in names:
        assert np.nanmean(table.values[name]) == theirs[f"{name},none"]
        assert metrics_of(table)[name].statistic(table, MetricContext()).value() == theirs[f"{name},none"]


def test_joining_tables_fills_a_metric_that_one_lacks_with_nan() -> None:
    nothing = np.zeros((1, 0))
    parts = [
        ItemTable("t", np.array([i]), [f"h{i}"], nothing, nothing > 0, nothing, nothing, values=values)
        for i, values in enumerate([{"a": np.ones(1)}, {"a": np.zeros(1), "b": np.ones(1)}])
    ]

    values = joined(parts[::-1]).values

    np.testing.assert_array_equal(values["a"], [1.0, 0.0])
    np.testing.assert_array_equal(values["b"], [np.nan, 1.0])


def test_labels_belong_to_the_prompt_if_a_task_shuffles_its_choices_on_every_reading(
    write_task, load_suite, lm, function
) -> None:
    functions = """
    def shuffled(rows):
        def shuffle(row):
            options = list(row["options"])
            random.shuffle(options)
            return {**row, "options": options, "answer": options.index(row["options"][row["answer"]])}
        return datasets.Dataset.from_list([shuffle(row) for row in rows])
    """
    path = write_task("shuffled", QUESTIONS, functions, process_docs=function("shuffled", "shuffled"), **CHOICES)
    suite = load_suite(path)

    table = table_of(suite, lm)

    for row, instances in zip(table.labels, _by_document(suite), strict=True):
        choices = [i.args[1].strip() for i in instances]
        question = next(q for q in QUESTIONS if q["question"] == instances[0].args[0])
        assert choices[int(row.argmax())] == question["options"][question["answer"]]
    assert table_of(load_suite(path), lm).doc_hashes == table.doc_hashes


def _by_document(suite) -> list[list[Any]]:
    by_document: dict[int, list[Any]] = {}
    for instance in suite.entries[0].tasks[0].instances:
        by_document.setdefault(instance.doc_id, []).append(instance)
    return list(by_document.values())


def test_generations_are_kept_with_the_tasks_own_metric(write_task, load_suite, lm) -> None:
    suite = load_suite(write_task("says", QUESTIONS, **GENERATES), repeats=3, limit=4)

    table = table_of(suite, lm)

    assert not table.has_choices
    assert [len(texts) for texts in table.generations] == [3, 3, 3, 3]
    assert len({text for texts in table.generations for text in texts}) > 3
    assert table.values["exact_match"].shape == (4,)
    assert list(suite.higher_is_better.values()) == [{"tokens": False, "cut_off": False, "exact_match": True}]
    assert (table.values["cut_off"] <= 1).all()
    assert (table.values["tokens"] > 0).all()


def test_every_filter_of_a_task_has_its_own_metric(write_task, load_suite, lm) -> None:
    filters = [
        {"name": "as-is", "filter": [{"function": "take_first"}]},
        {"name": "digits", "filter": [{"function": "regex", "regex_pattern": "(.)"}, {"function": "take_first"}]},
    ]
    suite = load_suite(write_task("says", QUESTIONS, filter_list=filters, **GENERATES), limit=3)

    table = table_of(suite, lm)

    assert sorted(table.values) == ["cut_off", "exact_match", "exact_match,digits", "tokens"]
    assert [sorted(names) for names in suite.higher_is_better.values()] == [["exact_match", "exact_match,digits"]]


def test_a_metric_over_all_documents_at_once_has_no_values(write_task, load_suite, lm, by_lm_eval) -> None:
    path = write_task(
        "last_word",
        QUESTIONS,
        output_type="loglikelihood",
        doc_to_text="question",
        doc_to_target=" {{options[0]}}",
        metric_list=[
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    )
    suite = load_suite(path)

    table = table_of(suite, lm)

    assert list(table.values) == ["acc"]
    assert table.values["acc"].mean() == by_lm_eval(path)["results"]["last_word"]["acc,none"]
    assert suite.higher_is_better == {"last_word": {"acc": True}}
    assert table.generations is None
