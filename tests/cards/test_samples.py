"""Reading lm-eval's samples: lines of several of its releases, labels, own metrics, and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mergekit_calib.cards.from_samples import read_samples, table_of
from mergekit_calib.errors import CalibError


def line(scores=(-1.0, -2.5), texts=("yes", "no"), target="0", **more):
    """A document in lm-eval 0.4.13's form."""
    n = more.get("doc_id", 0)
    arguments = {f"gen_args_{i}": {"arg_0": "Is it?", "arg_1": f" {text}"} for i, text in enumerate(texts)}
    return {
        "doc_id": n,
        "doc": {"question": n},
        "target": target,
        "arguments": arguments,
        "resps": [[[str(score), "False"]] for score in scores],
        "filter": "none",
        "doc_hash": f"hash-{n}",
        **more,
    }


def table(*lines, tmp_path):
    file = tmp_path / "samples_made_up_2026-01-02T03-04-05.678.jsonl"
    file.write_text("\n".join(json.dumps(each) for each in lines))
    (model,) = read_samples([file])
    return model.tables["made_up"][0]


def test_choices_have_their_log_likelihoods_lengths_and_labels(tmp_path):
    read = table(
        line(texts=("ja", "né"), target="1"), line(scores=(-1, -2, -3), texts="abc", doc_id=1), tmp_path=tmp_path
    )
    np.testing.assert_array_equal(read.log_likelihoods, [[-1.0, -2.5, np.nan], [-1, -2, -3]])
    np.testing.assert_array_equal(read.labels, [[False, True, False], [True, False, False]])
    np.testing.assert_array_equal(read.choice_chars, [[2, 2, 0], [1, 1, 1]])
    np.testing.assert_array_equal(read.choice_bytes, [[2, 3, 0], [1, 1, 1]])
    assert read.doc_hashes == ["hash-0", "hash-1"]


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({"target": "1"}, [1]),
        ({"target": "[0, 1]"}, [0, 1]),
        ({"target": " no"}, [1]),
        ({"target": "the rest of the sentence", "acc": 0.0}, [1]),  # of two, the other than the likelier
        ({"target": "2", "texts": ("1", "2"), "acc": 0.0}, [1]),  # a text that looks like a number
        ({"target": "1", "texts": ("1", "2"), "acc": 1.0}, [0]),
        ({"target": "?", "metrics": ["ece"], "ece": [[1], [-1.0, -2.5]]}, [1]),
    ],
)
def test_labels_are_read_from_a_number_a_text_or_the_accuracy(given, labels, tmp_path):
    assert np.flatnonzero(table(line(**given), tmp_path=tmp_path).labels[0]).tolist() == labels


def test_requests_of_mutual_information_without_the_question_are_not_choices(tmp_path):
    twice = line(scores=(-1, -2, -3, -4), texts=("a", "b", "a", "b"), acc=1.0, acc_mutual_info=1.0)
    for i in (2, 3):
        twice["arguments"][f"gen_args_{i}"]["arg_0"] = ""
    np.testing.assert_array_equal(table(twice, tmp_path=tmp_path).log_likelihoods, [[-1, -2]])


def test_the_tasks_own_metrics_are_kept_and_generations_have_no_others(tmp_path):
    own = table(line(acc=1.0, acc_norm=0.0, metrics=["acc", "acc_norm"]), tmp_path=tmp_path)
    assert {name: values.tolist() for name, values in own.values.items()} == {"acc_norm": [0.0]}
    generated = {
        **line(exact_match=1.0, metrics=["exact_match"]),
        "arguments": {"gen_args_0": {"arg_0": "2 + 2 =", "arg_1": {"until": ["\n"]}}},
        "resps": [["4", "5"]],
    }
    read = table(generated, {**generated, "filter": "last", "exact_match": 0.0}, tmp_path=tmp_path)
    assert not read.has_choices
    assert read.generations == [["4", "5"]]
    assert {name: values.tolist() for name, values in read.values.items()} == {
        "exact_match": [1.0],
        "exact_match,last": [0.0],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ('{"doc_id": 0', "line 1: not JSON"),
        ('{"doc_id": 0, "target": "0"}', "line 1: no key 'arguments'"),
        (json.dumps(line(target="maybe")), "document 0: `target` is 'maybe'"),
        (json.dumps(line(scores=("nan", -1))), "is not a number"),
        (json.dumps({**line(), "resps": [[["x", "False"]], [["y", "False"]]]}), "a log-likelihood was expected"),
        (json.dumps({**line(), "arguments": "Is it?"}), "`arguments` is 'Is it\\?'"),
        (
            json.dumps({**line(), "arguments": [["a text"]], "resps": [[["-3", "False"]]]}),
            "neither choices .* nor a metric that lm-eval averages",
        ),
    ],
)
def test_an_error_names_what_cannot_be_read(text, message, tmp_path):
    file = tmp_path / "samples_made_up.jsonl"
    file.write_text(text)
    with pytest.raises(CalibError, match=message):
        read_samples([file])


def test_folders_without_samples_and_missing_paths_are_errors(tmp_path):
    with pytest.raises(CalibError, match=r"no samples_\*\.jsonl in it; run lm_eval with --log_samples"):
        read_samples([tmp_path])
    with pytest.raises(CalibError, match="no such file"):
        read_samples([tmp_path / "nowhere"])


def test_the_last_run_of_a_task_counts(tmp_path):
    for month, score in (("01", -1.0), ("02", -5.0)):
        file = tmp_path / f"samples_made_up_2026-{month}-02T03-04-05.678.jsonl"
        file.write_text(json.dumps(line(scores=(score, -2.0))))
    (model,) = read_samples([tmp_path])
    assert model.tables["made_up"][0].log_likelihoods[0, 0] == -5.0
    assert model.name == tmp_path.name
    assert any("2 runs" in note and file.name in note for note in model.notes)


def results(folder, month, model="model", **tasks):
    """The `results_*.json` of a run: task → its configuration, and which way its metrics are better."""
    configs, directions = ({task: both[i] for task, both in tasks.items()} for i in (0, 1))
    read = {"results": {}, "model_name": model, "configs": configs, "higher_is_better": directions}
    (folder / f"results_2026-{month}-02T03-04-05.678.json").write_text(json.dumps(read))


def test_directions_come_from_the_newest_run_of_each_task(tmp_path):
    for month, task, way in (("01", "first", False), ("02", "second", True), ("03", "second", False)):
        file = tmp_path / f"samples_{task}_2026-{month}-02T03-04-05.678.jsonl"
        file.write_text(json.dumps(line(spread=1.0, metrics=["spread"])))
        results(tmp_path, month, **{task: ({}, {"spread": way})})
    (model,) = read_samples([tmp_path])
    assert model.name == "model"
    assert model.higher_is_better == {"first": {"spread": False}, "second": {"spread": False}}


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({"metric_list": [{"metric": "perplexity", "aggregation": "perplexity"}]}, ["acc", "spread"]),
        ({"metric_list": None}, ["acc", "spread"]),
        ({"metric_list": [{"metric": "spread", "aggregation": "def median(items): ..."}]}, ["acc"]),
        ({"metric_list": [{"metric": "perplexity", "aggregation": "mean"}]}, ["acc", "perplexity", "spread"]),
    ],
)
def test_metrics_that_lm_eval_does_not_average_are_left_out(config, kept, tmp_path):
    one = line(scores=(-3.0,), texts=("yes",), acc=0, perplexity=-3.0, spread=1.0)
    read = table_of("made_up", [{**one, "metrics": ["acc", "perplexity", "spread"]}], tmp_path, config)
    assert list(read.values) == kept


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({"acc": 0.25}, None),  # a share of probability, as truthfulqa_mc2's
        ({"acc": 1.0}, {"process_results": "def by_any_of_several(doc, results): ..."}),
        ({"spread": 1.0}, {"process_results": "def by_difference(doc, results): ..."}),
    ],
)
def test_a_task_that_does_not_judge_by_choice_keeps_its_own_metrics_and_has_no_choices(given, config, tmp_path):
    read = table_of("made_up", [line(**given, metrics=list(given))], tmp_path, config)
    assert not read.has_choices
    assert {name: values.tolist() for name, values in read.values.items()} == {k: [v] for k, v in given.items()}


def test_an_accuracy_that_is_not_of_the_likeliest_choice_is_kept_with_a_note(tmp_path):
    notes = []
    read = table_of("made_up", [line(target="0", acc=0.0, scores=(-1, -2, -3), texts="abc")], tmp_path, notes=notes)
    assert ["`acc` does not say whether the likeliest choice" in note for note in notes] == [True]
    assert not read.has_choices
    assert read.values["acc"].tolist() == [0.0]


def test_labels_that_a_calibration_metric_states_are_used_whatever_else_the_task_computes(tmp_path):
    stated = line(acc=0.25, ece=[[1], [-1.0, -2.5]], metrics=["acc", "ece"])
    for own in ("CalibrationTask", "def by_any_of_several(doc, results): ..."):
        assert table_of("made_up", [stated], tmp_path, {"process_results": own}).labels.tolist() == [[False, True]]
    assert table_of("made_up", [line()], tmp_path, {"process_results": "CalibrationTask"}).has_choices


def test_a_metric_of_some_documents_is_nan_for_the_others(tmp_path):
    lines = [line(spread=1.0, metrics=["spread"]), line(doc_id=1, metrics=[])]
    np.testing.assert_array_equal(table(*lines, tmp_path=tmp_path).values["spread"], [1.0, np.nan])


def test_a_log_likelihood_can_be_negative_infinity(tmp_path):
    read = table_of("t", [line(scores=("-inf", -1.0))], tmp_path)
    assert read.probabilities[0].tolist() == [0.0, 1.0]


def test_a_document_whose_label_is_not_among_its_choices_is_left_out_with_a_note(tmp_path):
    def stated(doc_id, labels, acc):
        return line(doc_id=doc_id, target="7", acc=acc, ece=[labels, [-1.0, -2.5]], metrics=["acc", "ece"])

    lines = [stated(0, [0], 1.0), stated(1, [], 0.0), stated(2, [7], 0.0), stated(3, [1], 0.0)]
    notes = []
    kept = table_of("made_up", lines, tmp_path, notes=notes)
    assert ["2 of 4 documents" in note for note in notes] == [True]
    assert kept.doc_ids.tolist() == [0, 3]
    assert kept.labels.tolist() == [[True, False], [False, True]]
