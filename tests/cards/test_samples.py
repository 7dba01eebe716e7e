"""What lines of lm-eval's samples mean, in the forms that its releases wrote them, and what is said of other lines."""

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


def test_choices_with_their_lengths_and_the_right_one(tmp_path):
    found = table(
        line(texts=("ja", "né"), target="1"), line(scores=(-1, -2, -3), texts="abc", doc_id=1), tmp_path=tmp_path
    )
    np.testing.assert_array_equal(found.log_likelihoods, [[-1.0, -2.5, np.nan], [-1, -2, -3]])
    np.testing.assert_array_equal(found.labels, [[False, True, False], [True, False, False]])
    np.testing.assert_array_equal(found.choice_chars, [[2, 2, 0], [1, 1, 1]])
    np.testing.assert_array_equal(found.choice_bytes, [[2, 3, 0], [1, 1, 1]])
    assert found.doc_hashes == ["hash-0", "hash-1"]


def test_lines_of_earlier_releases_mean_the_same(tmp_path):
    new = line()
    old = {k: v for k, v in new.items() if k not in ("doc_hash", "filter")}
    old["arguments"] = [["Is it?", " yes"], ["Is it?", " no"]]
    old["resps"] = [[[-1.0, False]], [[-2.5, False]]]
    found, expected = table(old, tmp_path=tmp_path), table(new, tmp_path=tmp_path)
    np.testing.assert_array_equal(found.log_likelihoods, expected.log_likelihoods)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert len(found.doc_hashes[0]) == 64


@pytest.mark.parametrize(
    ("given", "right"),
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
def test_right_answers_by_number_by_text_or_by_accuracy(given, right, tmp_path):
    assert np.flatnonzero(table(line(**given), tmp_path=tmp_path).labels[0]).tolist() == right


def test_mutual_information_asks_twice_and_counts_once(tmp_path):
    twice = line(scores=(-1, -2, -3, -4), texts=("a", "b", "a", "b"), acc=1.0, acc_mutual_info=1.0)
    np.testing.assert_array_equal(table(twice, tmp_path=tmp_path).log_likelihoods, [[-1, -2]])


def test_the_tasks_own_numbers_are_kept_and_those_of_generations_are_all_there_is(tmp_path):
    own = table(line(acc=1.0, acc_norm=0.0, metrics=["acc", "acc_norm"]), tmp_path=tmp_path)
    assert {name: values.tolist() for name, values in own.values.items()} == {"acc_norm": [0.0]}
    generated = {
        **line(exact_match=1.0, metrics=["exact_match"]),
        "arguments": {"gen_args_0": {"arg_0": "2 + 2 =", "arg_1": {"until": ["\n"]}}},
        "resps": [["4", "5"]],
    }
    found = table(generated, {**generated, "filter": "last"}, tmp_path=tmp_path)
    assert not found.has_choices
    assert found.generations == [["4", "5"]]
    assert found.values["exact_match"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ('{"doc_id": 0', "line 1: not JSON"),
        ('{"doc_id": 0, "target": "0"}', "line 1: no key 'arguments'"),
        (json.dumps(line(target="maybe")), "document 0: `target` is 'maybe'"),
        (json.dumps(line(scores=("nan", -1))), "is not a number"),
        (json.dumps({**line(), "resps": [[["x", "False"]], [["y", "False"]]]}), "a log-likelihood was expected"),
        (json.dumps({**line(), "arguments": "Is it?"}), "`arguments` is a str"),
        (
            json.dumps({**line(), "arguments": [["a text"]], "resps": [[["-3", "False"]]]}),
            "neither choices to judge by nor a number",
        ),
    ],
)
def test_what_cannot_be_understood_is_named(text, said, tmp_path):
    file = tmp_path / "samples_made_up.jsonl"
    file.write_text(text)
    with pytest.raises(CalibError, match=said):
        read_samples([file])


def test_folders_without_samples_and_paths_that_are_not_there(tmp_path):
    with pytest.raises(CalibError, match=r"no samples_\*\.jsonl in it; run lm_eval with --log_samples"):
        read_samples([tmp_path])
    with pytest.raises(CalibError, match="no such file"):
        read_samples([tmp_path / "nowhere"])


def test_of_a_task_that_was_run_twice_the_last_counts(tmp_path):
    for month, score in (("01", -1.0), ("02", -5.0)):
        file = tmp_path / f"samples_made_up_2026-{month}-02T03-04-05.678.jsonl"
        file.write_text(json.dumps(line(scores=(score, -2.0))))
    (model,) = read_samples([tmp_path])
    assert model.tables["made_up"][0].log_likelihoods[0, 0] == -5.0
    assert model.name == tmp_path.name


def results(folder, month, **tasks):
    """The `results_*.json` of a run: task → its configuration, and which way its metrics are better."""
    configs, directions = ({task: both[i] for task, both in tasks.items()} for i in (0, 1))
    found = {"model_name": f"model-{month}", "configs": configs, "higher_is_better": directions}
    (folder / f"results_2026-{month}-02T03-04-05.678.json").write_text(json.dumps(found))


def test_every_run_of_a_folder_says_which_way_its_tasks_are_better(tmp_path):
    for month, task, way in (("01", "first", False), ("02", "second", True), ("03", "second", False)):
        file = tmp_path / f"samples_{task}_2026-{month}-02T03-04-05.678.jsonl"
        file.write_text(json.dumps(line(spread=1.0, metrics=["spread"])))
        results(tmp_path, month, **{task: ({}, {"spread": way})})
    (model,) = read_samples([tmp_path])
    assert model.name == "model-03"
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
def test_what_lm_eval_takes_no_mean_of_is_left_out(config, kept, tmp_path):
    said = line(scores=(-3.0,), texts=("yes",), acc=0, perplexity=-3.0, spread=1.0)
    found = table_of("made_up", [{**said, "metrics": ["acc", "perplexity", "spread"]}], tmp_path, config)
    assert list(found.values) == kept


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({"acc": 0.25}, None),  # a share of probability, as truthfulqa_mc2's
        ({"acc": 1.0}, {"process_results": "def by_any_of_several(doc, results): ..."}),
        ({"spread": 1.0}, {"process_results": "def by_difference(doc, results): ..."}),
    ],
)
def test_a_task_that_judges_in_its_own_way_keeps_its_numbers_and_has_no_choices(given, config, tmp_path):
    found = table_of("made_up", [line(**given, metrics=list(given))], tmp_path, config)
    assert not found.has_choices
    assert {name: values.tolist() for name, values in found.values.items()} == {k: [v] for k, v in given.items()}


def test_an_accuracy_that_is_not_the_likeliest_choices_is_kept_and_told_of(tmp_path):
    with pytest.warns(UserWarning, match=r"samples_made_up.*`acc` is not whether the likeliest choice is the one"):
        found = table(line(target="0", acc=0.0, scores=(-1, -2, -3), texts="abc"), tmp_path=tmp_path)
    assert not found.has_choices
    assert found.values["acc"].tolist() == [0.0]


def test_choices_of_a_calibration_task_are_those_that_it_says_whatever_else_it_computes(tmp_path):
    said = line(acc=0.25, ece=[[1], [-1.0, -2.5]], metrics=["acc", "ece"])
    for own in ("CalibrationTask", "def by_any_of_several(doc, results): ..."):
        assert table_of("made_up", [said], tmp_path, {"process_results": own}).labels.tolist() == [[False, True]]
    assert table_of("made_up", [line()], tmp_path, {"process_results": "CalibrationTask"}).has_choices


def test_a_metric_of_some_documents_is_not_a_number_for_the_others(tmp_path):
    lines = [line(spread=1.0, metrics=["spread"]), line(doc_id=1, metrics=[])]
    np.testing.assert_array_equal(table(*lines, tmp_path=tmp_path).values["spread"], [1.0, np.nan])


def test_negative_infinity_is_a_score(tmp_path):
    found = table_of("t", [line(scores=("-inf", -1.0))], tmp_path)
    assert found.probabilities[0].tolist() == [0.0, 1.0]
