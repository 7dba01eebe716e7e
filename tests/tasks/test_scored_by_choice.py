"""MMLU-Pro and BIG-Bench Hard, which lm-eval generates answers for: its prompts, with the options scored."""

from __future__ import annotations

from typing import Any

import datasets
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.calib_bbh import task as bbh
from lm_eval_tasks.calib_mmlu_pro import task as mmlu_pro
from lm_eval_tasks.task import lm_eval_config


def asked(task: ConfigurableTask, num_fewshot: int) -> list[tuple[str, Any]]:
    task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    return [instance.args for instance in task.instances]


def bbh_samples(subtask: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    config = lm_eval_config(f"bbh/fewshot/{subtask}.yaml")
    return config, config["fewshot_config"]["samples"]


def bbh_data(**_: Any) -> dict[str, datasets.Dataset]:
    docs = [d for s in (*bbh.LISTED, *bbh.FIXED) for d in bbh.with_subtask(bbh_samples(s)[1], s, bbh_samples(s)[0])]
    # The questions differ a little from the examples, since lm-eval leaves a question out of its own examples.
    questions = [{**doc, "input": "Anew. " + doc["input"]} for doc in docs]
    return {"test": datasets.Dataset.from_list(questions), "examples": datasets.Dataset.from_list(docs)}


def test_every_example_of_bbh_has_its_answer_among_the_options():
    for subtask in (*bbh.LISTED, *bbh.FIXED):
        config, samples = bbh_samples(subtask)
        kept = bbh.with_subtask(samples, subtask, config)
        assert len(kept) == len(samples) == 3, subtask
        assert all(len(bbh.options(doc)) == len(set(bbh.options(doc))) >= 2 for doc in kept)


def test_bbh_asks_lm_evals_prompts_with_the_shots_of_the_subtask():
    config = load_yaml(TASKS_DIR / "calib_bbh" / "calib_bbh.yaml")
    ours = bbh.BBHTask({**config, "custom_dataset": bbh_data})
    assert len(ours.eval_docs) == 23 * 3
    contexts = list(dict.fromkeys(context for context, _ in asked(ours, 3)))
    for subtask in ("navigate", "snarks", "web_of_lies"):
        own, samples = bbh_samples(subtask)
        questions = [{**sample, "input": "Anew. " + sample["input"]} for sample in samples]
        theirs = ConfigurableTask(
            config={
                **own,
                "task": "theirs",
                "custom_dataset": lambda questions=questions, **_: {"test": datasets.Dataset.from_list(questions)},
            }
        )
        assert {context for context, _ in asked(theirs, 3)} <= set(contexts)


def test_bbh_has_every_option_as_a_choice_and_the_target_as_its_label():
    doc = {"subtask": "navigate", "input": "Options: none?\nOptions:\n- Yes\n- No", "target": "No"}
    assert bbh.options(doc) == ["Yes", "No"]
    assert bbh.answer(doc) == 1
    assert bbh.with_subtask([{**doc, "target": "Perhaps"}], "navigate", {"description": ""}) == []


def mmlu_pro_data(**_: Any) -> dict[str, datasets.Dataset]:
    def question(category: str, i: int, n_options: int) -> dict[str, Any]:
        return {
            "question": f"{category} {i}?",
            "options": [f"option {j}" for j in range(n_options)],
            "answer": "ABCDEFGHIJ"[i % n_options],
            "answer_index": i % n_options,
            "cot_content": "A: Let's think step by step. So it is.",
            "category": category,
        }

    tests = [question(c, i, 3 + i) for c in ("math", "law") for i in range(3)]
    examples = [question(c, 10 + i, 4) for c in ("law", "math") for i in range(5)]
    return {"test": datasets.Dataset.from_list(tests), "validation": datasets.Dataset.from_list(examples)}


def test_mmlu_pro_asks_lm_evals_questions_without_the_reasoning():
    config = load_yaml(TASKS_DIR / "calib_mmlu_pro" / "calib_mmlu_pro.yaml")
    ours = mmlu_pro.MMLUProTask({**config, "custom_dataset": mmlu_pro_data})
    theirs = ConfigurableTask(
        config={**lm_eval_config("mmlu_pro/mmlu_pro_math.yaml"), "task": "theirs", "custom_dataset": mmlu_pro_data}
    )
    shown = list(dict.fromkeys(context for context, _ in asked(ours, 0)))
    same = [context.replace(" Let's think step by step.", "") for context, _ in asked(theirs, 0)]
    strip = (
        ' Think step by step and then finish your answer with "the answer is (X)" where X is the correct letter choice.'
    )
    assert [context.replace(strip, "") for context in same] == [c for c in shown if "about math" in c]


def test_mmlu_pro_scores_the_letters_of_the_options_after_examples_of_the_category():
    config = load_yaml(TASKS_DIR / "calib_mmlu_pro" / "calib_mmlu_pro.yaml")
    requests = asked(mmlu_pro.MMLUProTask({**config, "custom_dataset": mmlu_pro_data}), 5)
    assert [letter for context, letter in requests if context.endswith("E. option 4\nAnswer:")] == [
        *(" A", " B", " C", " D", " E"),
        *(" A", " B", " C", " D", " E"),
    ]
    for context, _ in requests:
        assert ("math" in context) is not ("law" in context)
        assert context.count("Answer:") == 6
        assert "Answer: C\n" in context
