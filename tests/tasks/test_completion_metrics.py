"""Diversity metrics by name in anybody's YAML with repeats, beside metrics of lm-eval's own."""

from __future__ import annotations

from pathlib import Path

import lm_eval
import numpy as np
import pytest
import transformers
import yaml
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.completions import DIVERSITY
from mergekit_calib import demo, metrics
from mergekit_calib.errors import CalibError
from mergekit_calib.integrations import hooks
from mergekit_calib.metrics.diversity import words
from mergekit_calib.metrics.novelty import equivalent_if_short

hooks.install()


def third_party_task(folder: Path, metric_list: list[dict[str, object]], **more: object) -> TaskManager:
    config = {
        "task": "drawn",
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(TASKS_DIR / "calib_demo" / "questions.parquet")}},
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "question : {{question}}\nanswer :",
        "doc_to_target": "{{choices[answer]}}",
        "repeats": 4,
        "generation_kwargs": {"do_sample": True, "temperature": 1.0, "max_gen_toks": 4},
        "metric_list": metric_list,
        **more,
    }
    folder.mkdir(exist_ok=True)
    (folder / "drawn.yaml").write_text(yaml.safe_dump(config))
    return TaskManager(include_path=str(folder), include_defaults=False)


def run(manager: TaskManager, limit: int = 12, **options: object) -> tuple[dict[str, float], list[dict[str, object]]]:
    finished = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(Path(demo.__file__).parent / "base")},
        tasks=["drawn"],
        task_manager=manager,
        limit=limit,
        device="cpu",
        batch_size=48,
        **options,
    )
    return finished["results"]["drawn"], finished["samples"]["drawn"]


def test_every_diversity_metric_is_a_mean_over_prompts_and_lm_evals_own_are_of_the_first_completion(tmp_path):
    listed = [
        {"metric": "exact_match"},
        *({"metric": name} for name in DIVERSITY if name not in ("distinct_n", "distinct_k")),
    ]
    results, samples = run(third_party_task(tmp_path, [*listed, {"metric": "distinct_n", "n": 3}]))
    drawn = [sample["resps"][0] for sample in samples]
    assert [len(texts) for texts in drawn] == [4] * 12
    for name in ("distinct_1", "self_bleu", "vendi_score", "answer_entropy"):
        assert results[f"{name},none"] == pytest.approx(np.mean([DIVERSITY[name](texts) for texts in drawn]))
        assert results[f"{name}_stderr,none"] > 0
    assert results["n_words,none"] == pytest.approx(np.mean([len(words(text)) for texts in drawn for text in texts]))
    assert results["empty,none"] == np.mean([not text.strip() for texts in drawn for text in texts])
    assert results["distinct_n,none"] == pytest.approx(np.mean([metrics.distinct_n(texts, 3) for texts in drawn]))
    first = [texts[0] == sample["target"] for texts, sample in zip(drawn, samples, strict=True)]
    assert results["exact_match,none"] == pytest.approx(np.mean(first))


def test_diversity_is_of_the_texts_that_a_filter_extracts_and_a_filter_that_votes_has_none(tmp_path):
    first_letter = {"function": "regex", "regex_pattern": "([a-z])"}
    filters = [
        {"name": "letters", "filter": [first_letter, {"function": "take_first"}]},
        {"name": "voted", "filter": [first_letter, {"function": "majority_vote"}, {"function": "take_first"}]},
    ]
    manager = third_party_task(tmp_path, [{"metric": "exact_match"}, {"metric": "answer_entropy"}], filter_list=filters)
    results, samples = run(manager)
    letters = [sample["filtered_resps"][0] for sample in samples if sample["filter"] == "letters"]
    assert {len(letter) for some in letters for letter in some} <= {1, len("[invalid]")}
    expected = np.mean([metrics.answer_entropy(some) for some in letters])
    assert results["answer_entropy,letters"] == pytest.approx(expected)
    assert "answer_entropy,voted" not in results
    assert {"exact_match,letters", "exact_match,voted"} <= set(results)


def test_predict_only_computes_no_metric(tmp_path):
    results, samples = run(third_party_task(tmp_path, [{"metric": "distinct_2"}]), limit=2, predict_only=True)
    assert not any(key.startswith("distinct_2") for key in results)
    assert [len(sample["resps"][0]) for sample in samples] == [4, 4]


@pytest.mark.parametrize(
    ("metric", "more", "message"),
    [
        ({"metric": "distinct_n", "order": 3}, {}, "drawn.*'order'.*takes n"),
        ({"metric": "distinct_2", "n": 3}, {}, "'n'.*takes none"),
        ({"metric": "self_bleu"}, {"repeats": 1}, "repeats"),
        (
            {"metric": "self_bleu"},
            {"filter_list": [{"name": "v", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]}]},
            "filter_list",
        ),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_when_the_task_is_loaded(metric, more, message, tmp_path):
    with pytest.raises(CalibError, match=message):
        third_party_task(tmp_path, [metric], **more).load(["drawn"])


def test_empty_completions_are_logged_beside_diversity(tmp_path, caplog):
    letters = {"do_sample": True, "temperature": 1.0, "max_gen_toks": 4, "until": list("abcdefghijklmnopqrstuvwxyz")}
    _, samples = run(third_party_task(tmp_path, [{"metric": "distinct_2"}], generation_kwargs=letters), limit=3)
    drawn = [text for sample in samples for text in sample["resps"][0]]
    n_empty = sum(not text.strip() for text in drawn)
    assert n_empty > 0
    assert f"drawn: {n_empty} of 12 completions are empty" in caplog.messages


def test_distinct_k_is_of_the_classifier_that_the_yaml_names(tmp_path):
    folder = tmp_path / "classifier"
    transformers.AutoTokenizer.from_pretrained(str(Path(demo.__file__).parent / "base")).save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**size, num_labels=2))
    model.classifier.bias.data[1] = 50.0  # takes any two texts for equivalent that it is asked about
    model.save_pretrained(folder)
    results, samples = run(third_party_task(tmp_path, [{"metric": "distinct_k", "classifier": str(folder)}]), limit=6)
    drawn = [sample["resps"][0] for sample in samples]
    # The demo's answers have few words, so that words decide, as in NoveltyBench.
    expected = [max(metrics.equivalence_classes(texts, equivalent_if_short)) + 1 for texts in drawn]
    assert results["distinct_k,none"] == np.mean(expected)
    assert 1 < results["distinct_k,none"] <= 4


def test_a_classifier_that_is_missing_is_an_error_when_the_task_is_loaded_that_names_the_metric_by_words(tmp_path):
    listed = [{"metric": "distinct_k", "classifier": str(tmp_path / "no_such")}]
    with pytest.raises(CalibError, match=r"drawn: metric_list: .*no_such.*distinct_k_ngrams"):
        third_party_task(tmp_path, listed).load(["drawn"])


def test_the_metric_by_words_says_that_it_is_not_noveltybenchs(tmp_path, caplog):
    results, samples = run(third_party_task(tmp_path, [{"metric": "distinct_k_ngrams"}]), limit=3)
    assert any("distinct_k_ngrams: texts are compared by their words" in message for message in caplog.messages)
    expected = np.mean([metrics.distinct_k_ngrams(sample["resps"][0]) for sample in samples])
    assert results["distinct_k_ngrams,none"] == expected


def test_noveltybenchs_task_draws_10_completions_and_its_variant_compares_words():
    novelty, by_words = (
        load_yaml(TASKS_DIR / "calib_novelty" / f"{n}.yaml") for n in ("calib_novelty", "calib_novelty_ngrams")
    )
    assert (novelty["repeats"], novelty["metric_list"]) == (10, [{"metric": "distinct_k"}])
    assert (by_words["repeats"], by_words["metric_list"]) == (10, [{"metric": "distinct_k_ngrams"}])
    assert {k: v for k, v in novelty.items() if k not in ("task", "metric_list", "class")} == {
        k: v for k, v in by_words.items() if k not in ("task", "metric_list", "class")
    }
