"""The metrics in lm-eval: by their names in anybody's YAML, pooled, with standard errors; and with the hooks off."""

from __future__ import annotations

from pathlib import Path

import lm_eval
import numpy as np
import pytest
import yaml
from lm_eval.api.registry import metric_registry
from lm_eval.tasks import TaskManager

import lm_eval_tasks
from lm_eval_tasks.completions import DIVERSITY
from lm_eval_tasks.metrics import POOLED, pooled_arrays
from mergekit_calib import demo, metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations import hooks
from mergekit_calib.integrations.lm_eval import register_metrics

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


def run(manager: TaskManager, limit: int = 60, **options: object) -> dict[str, object]:
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
    listed = [{"metric": "acc"}, *({"metric": name} for name in POOLED)]
    return run(third_party_task(tmp_path_factory.mktemp("listed"), listed))


def test_a_yaml_that_lists_the_metrics_gets_them_pooled(finished):
    samples = finished["samples"]["somebody_elses"]
    log_likelihoods = [[float(response[0][0]) for response in s["resps"]] for s in samples]
    probabilities = metrics.choice_probabilities(log_likelihoods)
    right = np.array([int(s["target"]) for s in samples])
    found = finished["results"]["somebody_elses"]
    assert found["ece,none"] == pytest.approx(metrics.expected_calibration_error(probabilities, right))
    assert found["ece_mass,none"] == pytest.approx(
        metrics.expected_calibration_error(probabilities, right, binning="mass")
    )
    assert found["rms_ce,none"] == pytest.approx(metrics.expected_calibration_error(probabilities, right, norm="l2"))
    assert found["smooth_ece,none"] == pytest.approx(metrics.smooth_ece(probabilities, right))
    assert found["brier,none"] == pytest.approx(metrics.brier_score(probabilities, right))
    assert found["nll,none"] == pytest.approx(metrics.negative_log_likelihood(probabilities, right))
    assert found["overconfidence,none"] == pytest.approx(metrics.overconfidence(probabilities, right))
    assert found["auroc,none"] == pytest.approx(metrics.auroc(probabilities, right))
    assert found["aurc,none"] == pytest.approx(metrics.area_under_risk_coverage(probabilities, right))


def test_each_has_a_standard_error_and_a_direction(finished):
    found, directions = finished["results"]["somebody_elses"], finished["higher_is_better"]["somebody_elses"]
    # The bootstrap of a mean agrees with the formula, which lm-eval's own of acc is.
    scores = [s["brier"] for s in finished["samples"]["somebody_elses"]]
    each = [POOLED["brier"]([item]) for item in scores]
    assert found["brier_stderr,none"] == pytest.approx(np.std(each, ddof=1) / np.sqrt(len(each)), rel=0.1)
    for name, metric in POOLED.items():
        assert 0 < found[f"{name}_stderr,none"] < 1
        assert directions[name] is metric.higher_is_better
    assert {name for name in POOLED if directions[name]} == {"auroc"}


def test_a_run_without_standard_errors_has_none(tmp_path):
    found = run(third_party_task(tmp_path, [{"metric": "ece"}]), limit=4, bootstrap_iters=0)
    assert found["results"]["somebody_elses"]["ece_stderr,none"] == "N/A"


def test_options_reach_the_metric(tmp_path):
    found = run(third_party_task(tmp_path, [{"metric": "ece", "n_bins": 1}, {"metric": "overconfidence"}]))
    results = found["results"]["somebody_elses"]
    assert results["ece,none"] == pytest.approx(abs(results["overconfidence,none"]))


@pytest.mark.parametrize(
    ("metric", "more", "message"),
    [
        ({"metric": "ece", "bins": 3}, {}, "'bins'.*n_bins"),
        ({"metric": "ece", "aggregation": "mean"}, {}, "aggregation"),
        ({"metric": "ece"}, {"output_type": "generate_until"}, "multiple_choice"),
    ],
)
def test_what_cannot_be_answered_is_said_when_the_task_is_made(metric, more, message, tmp_path):
    with pytest.raises(CalibError, match=message):
        third_party_task(tmp_path, [metric], **more).load(["somebody_elses"])


def test_a_task_that_lists_none_is_unchanged(tmp_path):
    found = run(third_party_task(tmp_path, [{"metric": "acc"}]), limit=4)
    assert set(found["results"]["somebody_elses"]) & set(POOLED) == set()
    assert "ece" not in found["samples"]["somebody_elses"][0]


@pytest.mark.parametrize("name", ["ece", "self_bleu"])
def test_a_metric_that_lm_eval_has_by_the_name_stays(monkeypatch, name):
    def its_own(items: object) -> float:
        return 0.0

    monkeypatch.setitem(metric_registry._objs, name, its_own)
    register_metrics(lm_eval)
    assert metric_registry.get(name) is its_own
    assert metric_registry.get("brier") is POOLED["brier"]
    assert metric_registry.get("rouge_l") is DIVERSITY["rouge_l"]


def test_documents_with_several_right_choices_and_different_numbers_of_them():
    probabilities, right = pooled_arrays([([0, 2], [-1.0, -2.0, -3.0]), ([1], [-1.0, float("-inf")])])
    assert np.isnan(probabilities[1, 2])
    assert probabilities[1, 1] == 0
    np.testing.assert_array_equal(right, [[True, False, True], [False, True, False]])


def test_a_right_choice_that_is_not_offered_leaves_the_document_out():
    items = [([-1], [-1.0, -2.0]), ([1], [-1.0, -2.0])]
    assert POOLED["nll"](items) == POOLED["nll"](items[1:])
    with pytest.raises(ValueError, match="no document"):
        POOLED["nll"](items[:1])


def test_auroc_of_answers_all_right_is_not_a_number_and_ends_no_run():
    items = [([0], [-1.0, -2.0])] * 3
    assert np.isnan(POOLED["auroc"](items))
    assert np.isnan(POOLED["auroc"].standard_error(items))


@pytest.mark.filterwarnings("ignore:invalid value")  # lm-eval's own softmax of them
@pytest.mark.parametrize("scores", [[float("-inf")] * 4, [-1.0, float("nan"), -2.0, -3.0]])
def test_log_likelihoods_that_make_no_probabilities_are_an_error_that_names_the_document(scores, tmp_path):
    manager = third_party_task(tmp_path, [{"metric": "ece"}])
    task = manager.load(["somebody_elses"])["tasks"]["somebody_elses"]
    doc = task.eval_docs[7]
    with pytest.raises(CalibError, match=r"somebody_elses, document 7: .*(-inf|nan).*no probabilities"):
        task.process_results(doc, [(score, False) for score in scores])
    assert task.process_results(doc, [(-1.0, False), *[(float("-inf"), False)] * 3])["ece"][1][0] == -1.0


def test_predict_only_keeps_the_log_likelihoods_and_takes_no_metric():
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(DEMO / "base")},
        tasks=["calib_demo"],
        task_manager=TaskManager(include_path=str(lm_eval_tasks.TASKS_DIR), include_defaults=False),
        limit=4,
        device="cpu",
        predict_only=True,
    )
    assert set(found["results"]["calib_demo"]) == {"name", "alias", "sample_len"}
    assert [len(sample["resps"]) for sample in found["samples"]["calib_demo"]] == [4] * 4
