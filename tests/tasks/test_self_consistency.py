"""Calibration of generated answers: votes among draws, compared by lm-eval's exact match, on lm-eval's prompts."""

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

from lm_eval_tasks import TASKS_DIR, host
from lm_eval_tasks.pooled_metrics import POOLED_METRICS_OF_ANSWERS
from lm_eval_tasks.self_consistency import AVERAGED, SelfConsistencyTask, majority, of_several_answers
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


def test_an_unreadable_answer_never_wins_but_lowers_the_confidence():
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
    """Return the values of documents with these completions."""
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
    correct, wrong = scored(task, drawn, "strict-match")
    # "$1000" does not fit lm-eval's pattern; "1,000" and "1000" are one answer to its exact match.
    assert {name: correct[name] for name in ("acc", "confidence", "overconfidence", "brier")} == {
        "acc": 1.0,
        "confidence": 0.5,
        "overconfidence": -0.5,
        "brier": 0.5,
    }
    assert correct["nll"] == pytest.approx(np.log(2))
    assert correct["answer_entropy"] == pytest.approx(np.log(2))
    assert (wrong["acc"], wrong["confidence"], wrong["ece"]) == (0.0, 0.75, (0.75, False))
    flexible, _ = scored(task, drawn, "flexible-extract")
    assert (flexible["acc"], flexible["confidence"]) == (1.0, 0.75)


def test_in_nll_a_share_of_0_or_1_is_half_a_vote_from_certainty(tmp_path):
    (sure,) = scored(gsm8k(tmp_path), [[SUM.format("7")] * 4], "strict-match")
    assert (sure["acc"], sure["confidence"], sure["brier"]) == (0.0, 1.0, 2.0)
    assert sure["nll"] == pytest.approx(-np.log(1 / 8))
    (none,) = scored(gsm8k(tmp_path), [["?"] * 4], "strict-match")
    assert (none["acc"], none["confidence"]) == (0.0, 0.0)
    assert none["nll"] == pytest.approx(-np.log(7 / 8))


def test_the_metrics_are_those_of_the_confidences(tmp_path):
    task, rng = gsm8k(tmp_path), np.random.default_rng(0)
    drawn = [[SUM.format(i + 1000 if rng.random() < 0.6 else 3) for _ in range(8)] for i in range(8)]
    values = scored(task, drawn, "strict-match")
    confidence, correct = np.array([v["confidence"] for v in values]), np.array([v["acc"] == 1 for v in values])
    assert 0 < correct.sum() < 8
    names = (*AVERAGED, *POOLED_METRICS_OF_ANSWERS)
    aggregated = {name: task.aggregation()[name]([v[name] for v in values]) for name in names}
    ece = metrics.expected_calibration_error
    assert aggregated["ece"] == pytest.approx(ece(confidence, correct))
    assert aggregated["rms_ce_debiased"] == pytest.approx(ece(confidence, correct, norm="l2", debias=True))
    assert aggregated["brier"] == pytest.approx(metrics.brier_score(confidence, correct))
    assert aggregated["overconfidence"] == pytest.approx(metrics.overconfidence(confidence, correct))
    assert aggregated["auroc"] == pytest.approx(metrics.auroc(confidence, correct))
    assert aggregated["aurc"] == pytest.approx(metrics.area_under_risk_coverage(confidence, correct))


def test_pass_at_k_and_maj_at_k_are_of_the_same_draws(tmp_path):
    right, wrong, other = (SUM.format(number) for number in ("1,000", "3", "4"))
    drawn = [right, wrong, wrong, other, right, right, wrong, "?"]
    (values,) = scored(gsm8k(tmp_path), [drawn], "strict-match")
    # 3 of 8 are correct; of all 8, "1000" and "3" have 3 votes, and "1000" was drawn first.
    assert {name: values[name] for name in ("pass@1", "pass@2", "pass@8", "maj@4", "maj@8", "acc")} == pytest.approx(
        {"pass@1": 3 / 8, "pass@2": 1 - 5 / 8 * 4 / 7, "pass@8": 1.0, "maj@4": 1 / 2, "maj@8": 1.0, "acc": 1.0}
    )


def test_the_k_are_those_that_the_number_of_draws_allows(tmp_path):
    task = gsm8k(tmp_path)
    assert {name for name in task.aggregation() if "@" in name} == set(of_several_answers(8))
    host.set_repeats(task, 5)
    assert {name for name in task.aggregation() if "@" in name} == {"pass@1", "pass@2", "pass@4", "maj@4"}
    (values,) = scored(task, [[SUM.format("1,000")] * 4 + ["?"]], "strict-match")
    assert (values["pass@1"], values["maj@4"], "pass@8" in values) == (0.8, 1.0, False)


def test_triviaqa_accepts_any_alias_in_any_case_and_punctuation(tmp_path):
    answer = {"aliases": ["Oslo", "Christiania"], "value": "Oslo"}
    task = SelfConsistencyTask(
        local(
            "calib_triviaqa", tmp_path, [{"question": "Capital of Norway", "answer": answer}], ("train", "validation")
        )
    )
    (values,) = scored(task, [[" oslo", "Oslo!", " Bergen", "Rome"]], "remove_whitespace")
    assert (values["acc"], values["confidence"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("name", "file", "differs"),
    [
        ("calib_gsm8k", "gsm8k/gsm8k.yaml", {"do_sample": True, "temperature": 0.2}),
        ("calib_triviaqa", "triviaqa/default.yaml", {"do_sample": True, "temperature": 1.0}),
    ],
)
def test_all_keys_but_those_of_the_draws_are_lm_evals(name, file, differs, monkeypatch):
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


def test_the_confidence_of_a_run_is_the_mean_share_of_the_most_frequent_answer(questions_of_the_demo):
    finished = run(questions_of_the_demo)
    results, samples = finished["results"]["demo_by_vote"], finished["samples"]["demo_by_vote"]
    assert all(len(sample["filtered_resps"][0]) == 8 for sample in samples)
    shares = [max(sample["filtered_resps"][0].count(a) for a in sample["filtered_resps"][0]) / 8 for sample in samples]
    assert results["confidence,remove_whitespace"] == pytest.approx(np.mean(shares))
    assert 0.2 < results["acc,remove_whitespace"] < 1
    assert results["overconfidence,remove_whitespace"] == pytest.approx(
        results["confidence,remove_whitespace"] - results["acc,remove_whitespace"]
    )
    for name in (*AVERAGED, *POOLED_METRICS_OF_ANSWERS):
        assert 0 < results[f"{name}_stderr,remove_whitespace"] < 1
    directions = finished["higher_is_better"]["demo_by_vote"]
    several = {"pass@1", "pass@2", "pass@4", "pass@8", "maj@4", "maj@8"}
    assert {name for name, up in directions.items() if up} == {"acc", "auroc", *several}
    assert results["maj@8,remove_whitespace"] == pytest.approx(results["acc,remove_whitespace"])
    for sample in samples:
        aliases = sample["doc"]["answer"]["aliases"]
        assert sample["pass@1"] == pytest.approx(np.mean([a in aliases for a in sample["filtered_resps"][0]]))
    pass_at = [results[f"pass@{k},remove_whitespace"] for k in (1, 2, 4, 8)]
    assert pass_at == sorted(pass_at)
    assert pass_at[0] < pass_at[3]


def test_predict_only_keeps_the_answers_and_computes_no_metric(questions_of_the_demo):
    finished = run(questions_of_the_demo, predict_only=True, limit=2)
    assert set(finished["results"]["demo_by_vote"]) == {"name", "alias", "sample_len", "bypass,remove_whitespace"} | {
        "bypass_stderr,remove_whitespace"
    }
    assert [len(sample["resps"][0]) for sample in finished["samples"]["demo_by_vote"]] == [8, 8]
