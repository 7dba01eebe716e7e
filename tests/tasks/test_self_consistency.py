"""Calibration of generated answers: votes counted by lm-eval's exact match, on lm-eval's prompts."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import numpy as np
import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.pooled_metrics import POOLED_METRICS_OF_ANSWERS
from lm_eval_tasks.self_consistency import AVERAGED, SelfConsistencyTask, majority
from lm_eval_tasks.task import lm_eval_config
from mergekit_calib import demo, metrics

DEMO = Path(demo.__file__).parent
SUM = "So it is {0}.\n#### {0}"


def same(answer: str, other: str) -> bool:
    return answer.lower() == other.lower()


def test_the_most_frequent_answer_wins_with_its_share_of_all_draws():
    vote = majority(["Oslo", "Rome", "oslo", "[invalid]"], same)
    assert (vote.answer, vote.share, vote.groups) == ("Oslo", 0.5, [0, 1, 0, None])


def test_of_equally_frequent_answers_the_first_drawn_wins():
    assert majority(["b", "a", "a", "b"], same).answer == "b"


def test_what_cannot_be_read_never_wins_but_costs_confidence():
    vote = majority(["[invalid]", "", "[invalid]", "7"], same)
    assert (vote.answer, vote.share) == ("7", 0.25)
    nothing = majority(["[invalid]", ""], same)
    assert (nothing.answer, nothing.share) == ("", 0.0)


def local(name: str, folder: Path, rows: list[dict[str, object]], splits: tuple[str, ...]) -> dict[str, object]:
    """The task of that name with its data from a file."""
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": dict.fromkeys(splits, str(file))}}
    return {**load_yaml(TASKS_DIR / name / f"{name}.yaml"), **data, "dataset_name": None}


def gsm8k(folder: Path) -> SelfConsistencyTask:
    rows = [{"question": f"How many are {i} and 1000?", "answer": SUM.format(f"{i + 1000:,}")} for i in range(8)]
    return SelfConsistencyTask(local("calib_gsm8k", folder, rows, ("train", "test")))


def scored(task: ConfigurableTask, drawn: list[list[str]], filter_: str) -> list[dict[str, object]]:
    """The results of documents whose completions are given."""
    docs = list(task.eval_docs)[: len(drawn)]
    instances = [
        Instance("generate_until", doc, ("", {}), 0, metadata=(task.task_name, i, len(texts)))
        for i, (doc, texts) in enumerate(zip(docs, drawn, strict=True))
    ]
    for instance, texts in zip(instances, drawn, strict=True):
        instance.resps = list(texts)
    task._instances = instances
    task.apply_filters()
    return [task.process_results(i.doc, [i.filtered_resps[filter_]]) for i in instances]


def test_gsm8k_reads_answers_and_judges_them_as_lm_eval_does(tmp_path):
    task = gsm8k(tmp_path)
    drawn = [
        [SUM.format("1,000"), SUM.format("1000"), SUM.format("$1000"), "I do not know, 3?"],
        [SUM.format("5"), SUM.format("5"), SUM.format("1,001"), SUM.format("5")],
    ]
    right, wrong = scored(task, drawn, "strict-match")
    # "$1000" does not fit lm-eval's pattern; "1,000" and "1000" are one answer to its exact match.
    assert {name: right[name] for name in ("acc", "confidence", "overconfidence", "brier")} == {
        "acc": 1.0,
        "confidence": 0.5,
        "overconfidence": -0.5,
        "brier": 0.5,
    }
    assert right["nll"] == pytest.approx(np.log(2))
    assert right["answer_entropy"] == pytest.approx(np.log(2))
    assert (wrong["acc"], wrong["confidence"], wrong["ece"]) == (0.0, 0.75, (0.75, False))
    flexible, _ = scored(task, drawn, "flexible-extract")
    assert (flexible["acc"], flexible["confidence"]) == (1.0, 0.75)


def test_a_share_of_all_or_nothing_is_half_a_vote_from_certainty_in_nll(tmp_path):
    (sure,) = scored(gsm8k(tmp_path), [[SUM.format("7")] * 4], "strict-match")
    assert (sure["acc"], sure["confidence"], sure["brier"]) == (0.0, 1.0, 2.0)
    assert sure["nll"] == pytest.approx(-np.log(1 / 8))
    (none,) = scored(gsm8k(tmp_path), [["?"] * 4], "strict-match")
    assert (none["acc"], none["confidence"]) == (0.0, 0.0)
    assert none["nll"] == pytest.approx(-np.log(7 / 8))


def test_the_metrics_are_those_of_the_shares(tmp_path):
    task, rng = gsm8k(tmp_path), np.random.default_rng(0)
    drawn = [[SUM.format(i + 1000 if rng.random() < 0.6 else 3) for _ in range(8)] for i in range(8)]
    found = scored(task, drawn, "strict-match")
    confidence, right = np.array([f["confidence"] for f in found]), np.array([f["acc"] == 1 for f in found])
    assert 0 < right.sum() < 8
    aggregated = {name: task.aggregation()[name]([f[name] for f in found]) for name in (*AVERAGED, *POOLED_METRICS_OF_ANSWERS)}
    assert aggregated["ece"] == pytest.approx(metrics.expected_calibration_error(confidence, right))
    assert aggregated["brier"] == pytest.approx(metrics.brier_score(confidence, right))
    assert aggregated["overconfidence"] == pytest.approx(metrics.overconfidence(confidence, right))
    assert aggregated["auroc"] == pytest.approx(metrics.auroc(confidence, right))
    assert aggregated["aurc"] == pytest.approx(metrics.area_under_risk_coverage(confidence, right))


def test_triviaqa_takes_any_alias_and_forgives_case_and_punctuation(tmp_path):
    answer = {"aliases": ["Oslo", "Christiania"], "value": "Oslo"}
    task = SelfConsistencyTask(
        local(
            "calib_triviaqa", tmp_path, [{"question": "Capital of Norway", "answer": answer}], ("train", "validation")
        )
    )
    (found,) = scored(task, [[" oslo", "Oslo!", " Bergen", "Rome"]], "remove_whitespace")
    assert (found["acc"], found["confidence"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("name", "file", "differs"),
    [
        ("calib_gsm8k", "gsm8k/gsm8k.yaml", {"do_sample": True, "temperature": 0.2}),
        ("calib_triviaqa", "triviaqa/default.yaml", {"do_sample": True, "temperature": 1.0}),
    ],
)
def test_everything_but_the_draws_is_lm_evals(name, file, differs, monkeypatch):
    given = {}

    class Seen(Exception):
        pass

    def data_not_needed(self: ConfigurableTask, config: dict[str, object]) -> None:
        given.update(config)
        raise Seen

    monkeypatch.setattr(ConfigurableTask, "__init__", data_not_needed)
    with pytest.raises(Seen):
        SelfConsistencyTask(load_yaml(TASKS_DIR / name / f"{name}.yaml"))
    theirs = lm_eval_config(file)
    assert given.pop("task") == name
    assert given.pop("repeats") == 8
    theirs.pop("repeats", None)
    assert given.pop("generation_kwargs") == {**theirs.pop("generation_kwargs"), **differs}
    assert given == theirs


def test_the_temperature_of_gsm8k_is_that_of_lm_evals_own_self_consistency():
    theirs = lm_eval_config("gsm8k/gsm8k-cot-self-consistency.yaml")["generation_kwargs"]
    ours = load_yaml(TASKS_DIR / "calib_gsm8k" / "calib_gsm8k.yaml")["generation_kwargs"]
    assert ours == {key: theirs[key] for key in ("do_sample", "temperature")}


def run(file: Path, **options: object) -> dict[str, object]:
    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(DEMO / "base")},
        tasks=["demo_by_vote"],
        task_manager=TaskManager(include_path=str(file.parent), include_defaults=False),
        device="cpu",
        batch_size=64,
        **options,
    )


def test_a_model_that_samples_is_right_about_as_often_as_its_draws_agree(questions_of_the_demo):
    found = run(questions_of_the_demo)
    results, samples = found["results"]["demo_by_vote"], found["samples"]["demo_by_vote"]
    assert all(len(sample["filtered_resps"][0]) == 8 for sample in samples)
    shares = [max(sample["filtered_resps"][0].count(a) for a in sample["filtered_resps"][0]) / 8 for sample in samples]
    assert results["confidence,remove_whitespace"] == pytest.approx(np.mean(shares))
    assert 0.2 < results["acc,remove_whitespace"] < 1
    assert results["overconfidence,remove_whitespace"] == pytest.approx(
        results["confidence,remove_whitespace"] - results["acc,remove_whitespace"]
    )
    for name in (*AVERAGED, *POOLED_METRICS_OF_ANSWERS):
        assert 0 < results[f"{name}_stderr,remove_whitespace"] < 1
    directions = found["higher_is_better"]["demo_by_vote"]
    assert {name for name, up in directions.items() if up} == {"acc", "auroc"}


def test_predict_only_keeps_the_answers_and_takes_no_metric(questions_of_the_demo):
    found = run(questions_of_the_demo, predict_only=True, limit=2)
    assert set(found["results"]["demo_by_vote"]) == {"name", "alias", "sample_len", "bypass,remove_whitespace"} | {
        "bypass_stderr,remove_whitespace"
    }
    assert [len(sample["resps"][0]) for sample in found["samples"]["demo_by_vote"]] == [8, 8]
