"""Calibration metrics in the `metric_list` of any lm-eval task: their values, standard errors, options and labels."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval
import numpy as np
import pytest
import yaml
from lm_eval.api.registry import metric_registry
from lm_eval.tasks import TaskManager

import lm_eval_tasks
from lm_eval_tasks.completions import DIVERSITY
from lm_eval_tasks.pooled_metrics import POOLED_METRICS, table_of_choices
from mergekit_calib import demo, metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations import hooks
from mergekit_calib.integrations.lm_eval import register_metrics
from mergekit_calib.items.metric_registry import BUILT_IN

DEMO = Path(demo.__file__).parent
QUESTIONS = Path(lm_eval_tasks.__file__).parent / "calib_demo" / "questions.parquet"

hooks.install()


def third_party_task(folder: Path, metric_list: list[dict[str, object]], **more: object) -> TaskManager:
    config = {
        "task": "somebody_elses",
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(QUESTIONS)}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "question : {{question}}\nanswer :",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": metric_list,
        **more,
    }
    folder.mkdir(exist_ok=True)
    (folder / "somebody_elses.yaml").write_text(yaml.safe_dump(config))
    return TaskManager(include_path=str(folder), include_defaults=False)


def run(manager: TaskManager, limit: int | None = 60, **options: object) -> dict[str, object]:
    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(DEMO / "base")},
        tasks=["somebody_elses"],
        task_manager=manager,
        limit=limit,
        device="cpu",
        batch_size=16,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    listed = [{"metric": "acc"}, *({"metric": name} for name in POOLED_METRICS)]
    return run(third_party_task(tmp_path_factory.mktemp("listed"), listed))


def test_listed_metrics_are_computed_over_all_documents_together(finished):
    samples = finished["samples"]["somebody_elses"]
    log_likelihoods = [[float(response[0][0]) for response in s["resps"]] for s in samples]
    probabilities = metrics.choice_probabilities(log_likelihoods)
    labels = np.array([int(s["target"]) for s in samples])
    results = finished["results"]["somebody_elses"]
    ece = metrics.expected_calibration_error
    expected = {
        "ece": ece(probabilities, labels),
        "ece_mass": ece(probabilities, labels, binning="mass"),
        "rms_ce": ece(probabilities, labels, norm="l2"),
        "rms_ce_debiased": ece(probabilities, labels, norm="l2", debias=True),
        "smooth_ece": metrics.smooth_ece(probabilities, labels),
        "brier": metrics.brier_score(probabilities, labels),
        "nll": metrics.negative_log_likelihood(probabilities, labels),
        "overconfidence": metrics.overconfidence(probabilities, labels),
        "auroc": metrics.auroc(probabilities, labels),
        "aurc": metrics.area_under_risk_coverage(probabilities, labels),
    }
    assert {name: results[f"{name},none"] for name in POOLED_METRICS} == pytest.approx(expected)


def test_each_metric_has_a_standard_error_and_a_direction(finished):
    results, directions = finished["results"]["somebody_elses"], finished["higher_is_better"]["somebody_elses"]
    # The bootstrap standard error of a mean agrees with the formula that lm-eval uses for acc.
    scores = [s["brier"] for s in finished["samples"]["somebody_elses"]]
    values = [POOLED_METRICS["brier"]([item]) for item in scores]
    assert results["brier_stderr,none"] == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=0.1)
    for name, metric in POOLED_METRICS.items():
        assert 0 < results[f"{name}_stderr,none"] < 1
        assert directions[name] is metric.higher_is_better
    assert {name for name in POOLED_METRICS if directions[name]} == {"auroc"}


def test_a_run_without_standard_errors_has_none(tmp_path):
    finished = run(third_party_task(tmp_path, [{"metric": "ece"}]), limit=4, bootstrap_iters=0)
    assert finished["results"]["somebody_elses"]["ece_stderr,none"] == "N/A"


def test_options_reach_the_metric(tmp_path):
    finished = run(third_party_task(tmp_path, [{"metric": "ece", "n_bins": 1}, {"metric": "overconfidence"}]))
    results = finished["results"]["somebody_elses"]
    assert results["ece,none"] == pytest.approx(abs(results["overconfidence,none"]))


@pytest.mark.parametrize(
    ("metric", "more", "message"),
    [
        ({"metric": "ece", "bins": 3}, {}, "'bins'.*n_bins"),
        ({"metric": "ece", "aggregation": "mean"}, {}, "aggregation"),
        ({"metric": "ece"}, {"output_type": "generate_until"}, "multiple_choice"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_when_the_task_is_loaded(metric, more, message, tmp_path):
    with pytest.raises(CalibError, match=message):
        third_party_task(tmp_path, [metric], **more).load(["somebody_elses"])


def test_a_task_that_lists_none_of_the_metrics_is_unchanged(tmp_path):
    finished = run(third_party_task(tmp_path, [{"metric": "acc"}]), limit=4)
    assert not [key for key in finished["results"]["somebody_elses"] if key.split(",")[0] in POOLED_METRICS]
    assert "ece" not in finished["samples"]["somebody_elses"][0]


@pytest.mark.parametrize("name", ["ece", "self_bleu"])
def test_a_metric_that_lm_eval_itself_has_is_not_replaced(monkeypatch, name):
    def its_own(items: object) -> float:
        return 0.0

    monkeypatch.setitem(metric_registry._objs, name, its_own)
    register_metrics(lm_eval)
    assert metric_registry.get(name) is its_own
    assert metric_registry.get("brier") is POOLED_METRICS["brier"]
    assert metric_registry.get("rouge_l") is DIVERSITY["rouge_l"]


def test_documents_with_several_labels_and_different_numbers_of_choices():
    table = table_of_choices([([0, 2], [-1.0, -2.0, -3.0]), ([1], [-1.0, float("-inf")])])
    assert np.isnan(table.probabilities[1, 2])
    assert table.probabilities[1, 1] == 0
    np.testing.assert_array_equal(table.labels, [[True, False, True], [False, True, False]])


def test_a_document_whose_label_is_not_among_its_choices_is_left_out_with_a_warning(tmp_path):
    rows = [{"question": f"q{i}", "choices": ["a", "b"], "answer": 7 if i in (2, 3) else i % 2} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}}
    manager = third_party_task(tmp_path, [{"metric": "acc"}, {"metric": "brier"}, {"metric": "nll"}], **data)
    with pytest.warns(UserWarning, match="somebody_elses: .* 2 of 8 documents"):
        finished = run(manager, limit=None)
    samples = {sample["doc_id"]: sample for sample in finished["samples"]["somebody_elses"]}
    assert [samples[i]["acc"] for i in (2, 3)] == [0.0, 0.0]
    assert [samples[i]["brier"][0] for i in range(8)] == [[0], [1], [], [], [0], [1], [0], [1]]
    kept = [samples[i]["brier"] for i in range(8) if i not in (2, 3)]
    probabilities = metrics.choice_probabilities([scores for _, scores in kept])
    expected = metrics.brier_score(probabilities, np.array([label for (label,), _ in kept]))
    assert finished["results"]["somebody_elses"]["brier,none"] == pytest.approx(expected)


def test_without_any_label_among_the_choices_there_is_no_metric():
    with pytest.raises(ValueError, match="no document has a label"):
        POOLED_METRICS["nll"]([([], [-1.0, -2.0])])


def test_every_registered_metric_of_probabilities_can_be_listed_and_no_other():
    of_probabilities = {metric.name for metric in BUILT_IN if metric.of_probabilities and not metric.needs_reference}
    assert set(POOLED_METRICS) == of_probabilities - {"acc"}


def test_auroc_of_answers_that_are_all_correct_is_nan():
    items = [([0], [-1.0, -2.0])] * 3
    assert np.isnan(POOLED_METRICS["auroc"](items))
    assert np.isnan(POOLED_METRICS["auroc"].standard_error(items))


@pytest.mark.filterwarnings("ignore:invalid value")  # lm-eval's own softmax of them
@pytest.mark.parametrize("scores", [[float("-inf")] * 4, [-1.0, float("nan"), -2.0, -3.0]])
def test_log_likelihoods_that_make_no_probabilities_raise_an_error_that_names_the_document(scores, tmp_path):
    manager = third_party_task(tmp_path, [{"metric": "ece"}])
    task = manager.load(["somebody_elses"])["tasks"]["somebody_elses"]
    doc = task.eval_docs[7]
    with pytest.raises(CalibError, match=r"somebody_elses, document 7: .*(-inf|nan).*no probabilities"):
        task.process_results(doc, [(score, False) for score in scores])
    assert task.process_results(doc, [(-1.0, False), *[(float("-inf"), False)] * 3])["ece"][1][0] == -1.0


def test_predict_only_keeps_log_likelihoods_and_computes_no_metric():
    finished = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(DEMO / "base")},
        tasks=["calib_demo"],
        task_manager=TaskManager(include_path=str(lm_eval_tasks.TASKS_DIR), include_defaults=False),
        limit=4,
        device="cpu",
        predict_only=True,
    )
    assert set(finished["results"]["calib_demo"]) == {"name", "alias", "sample_len"}
    assert [len(sample["resps"]) for sample in finished["samples"]["calib_demo"]] == [4] * 4
