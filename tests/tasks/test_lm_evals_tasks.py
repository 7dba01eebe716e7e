"""The tasks that are lm-eval's own with our metrics: prompts, splits and shots are lm-eval's."""

from __future__ import annotations

import pytest
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.task import TaskConfig
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import TASKS_DIR
from lm_eval_tasks.pooled_metrics import POOLED_METRICS
from lm_eval_tasks.task import CalibrationTask, LmEvalTask, lm_eval_config
from mergekit_calib.errors import HostVersionError

SAME = {
    "arc_easy": "arc_easy",
    "arc_challenge": "arc_challenge",
    "hellaswag": "hellaswag",
    "winogrande": "winogrande",
    "piqa": "piqa",
    "boolq": "boolq",
    "commonsense_qa": "commonsense_qa",
    "openbookqa": "openbookqa",
    "truthfulqa_mc1": "truthfulqa_mc1",
    "gpqa": "gpqa_main_zeroshot",
}


@pytest.fixture(scope="module")
def manager():
    return TaskManager(include_path=str(TASKS_DIR))


def prompts(task: ConfigurableTask, num_fewshot: int) -> list[tuple[str, str]]:
    task.set_config("num_fewshot", num_fewshot)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=12)
    return [instance.args for instance in task.instances]


@pytest.mark.parametrize("num_fewshot", [0, 3])
def test_arc_easy_asks_lm_evals_prompts_token_for_token(manager, num_fewshot):
    ours = manager.load(["calib_arc_easy"])["tasks"]["calib_arc_easy"]
    theirs = manager.load(["arc_easy"])["tasks"]["arc_easy"]
    assert isinstance(ours, CalibrationTask)
    assert ours.VERSION == theirs.VERSION
    assert prompts(ours, num_fewshot) == prompts(theirs, num_fewshot)
    assert set(ours.aggregation()) == {"acc", "acc_norm", *POOLED_METRICS}


@pytest.mark.parametrize(("name", "lm_evals"), SAME.items())
def test_all_keys_but_the_name_and_metrics_are_lm_evals(name, lm_evals, manager, monkeypatch):
    given = {}

    def data_not_needed(self: ConfigurableTask, config: dict[str, object]) -> None:
        given.update(config)

    monkeypatch.setattr(CalibrationTask, "__init__", data_not_needed)
    path = TASKS_DIR / f"calib_{name}" / f"calib_{name}.yaml"
    LmEvalTask(load_yaml(path))
    theirs = load_yaml(manager.task_index[lm_evals].yaml_path)
    assert given.pop("task") == f"calib_{name}" == path.stem
    for key in ("task", "task_alias", "tag", "group"):
        theirs.pop(key, None)
    if name == "gpqa":  # the order of choices, which test_gpqa_order is about
        given.pop("process_docs"), theirs.pop("process_docs")
    assert given == theirs
    assert TaskConfig(**given).output_type == "multiple_choice"


def test_the_tasks_of_the_group_exist(manager):
    members = load_yaml(TASKS_DIR / "calib_core" / "calib_core.yaml")["task"]
    assert set(members) <= set(manager.all_subtasks)
    assert "calib_core" in manager.all_groups


def test_the_error_names_a_yaml_that_this_lm_eval_lacks():
    with pytest.raises(HostVersionError, match=r"tasks/arc/nowhere\.yaml"):
        lm_eval_config("arc/nowhere.yaml")
