"""The classes of tasks that report calibration or diversity beside lm-eval's own metrics, as the YAML here names them.

They need none of the plugin's hooks. Relied on in lm-eval 0.4.13: a YAML's `class:` is called with the YAML as
`config`; `process_results` returns a value of each metric for a document, and the metric's aggregation is called with
the values of all documents; `load_yaml(path)` resolves a YAML's includes and functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import lm_eval.tasks
from lm_eval.api.registry import metric_registry
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks.completions import DIVERSITY, Diversity, as_lm_eval, diversity_of, measure_completions
from lm_eval_tasks.pooled_metrics import POOLED_METRICS, PooledMetric, aggregations, scored_choices
from mergekit_calib.errors import CalibError, HostVersionError
from mergekit_calib.versions import RELIED_ON

Ours = TypeVar("Ours", PooledMetric, Diversity)


class CalibrationTask(ConfigurableTask):  # type: ignore[misc]
    """A multiple-choice task of lm-eval with calibration metrics beside its accuracies.

    It has the metrics of `pooled_metrics.POOLED_METRICS` that its `metric_list` names; all of them, if it names none. A
    document's value of each is the numbers of its correct choices and all choices' log-likelihoods, as lm-eval's sample
    logs show.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, POOLED_METRICS)
        # lm-eval looks metrics up by name unless a task processes its results itself, which this class does.
        super().__init__(config={"output_type": "multiple_choice", "process_results": "CalibrationTask", **theirs})
        pooled = listed or {name: m.with_options({}, self.task_name) for name, m in POOLED_METRICS.items()}
        for name, metric in pooled.items():
            self._metric_fn_list[name], self._metric_fn_kwargs[name] = metric, {}
            self._higher_is_better[name] = metric.higher_is_better
        self._aggregation_list |= aggregations(pooled)
        self._ours = [*aggregations(pooled)]

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
        """Return lm-eval's own values of a document, and what its calibration metrics need."""
        values: dict[str, Any] = super().process_results(doc, results)
        # None is missing if the hooks have added them already, or if --predict_only has removed all metrics.
        missing = [name for name in self._ours if name in self._aggregation_list and name not in values]
        return {**values, **dict.fromkeys(missing, scored_choices(self, doc, results))} if missing else values


class DiversityTask(ConfigurableTask):  # type: ignore[misc]
    """A generation task of lm-eval with the metrics of `completions.DIVERSITY` that its `metric_list` names.

    Raises:
        CalibError: `repeats` is below 2, or no pipeline of filters leaves several completions.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, DIVERSITY)
        super().__init__(config={"output_type": "generate_until", **theirs})
        self._diversity = listed
        measure_completions(self, listed)

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """Return lm-eval's own values of a document, of its first completion, and the diversity of all."""
        values: dict[str, Any] = super().process_results(doc, as_lm_eval(results))
        return {**values, **diversity_of(self, self._diversity, results)}


class LmEvalTask(CalibrationTask):
    """A multiple-choice task of lm-eval's own, read from its YAML, with every calibration metric added.

    The prompts, splits, shots and metrics are those of the file that `lm_eval_yaml` names, relative to lm-eval's
    `tasks/` folder; keys of our YAML, or from the command line, take precedence over its keys.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(over_lm_evals(config))


def over_lm_evals(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration laid over that of lm-eval's own task which its `lm_eval_yaml` names.

    Its keys take precedence over lm-eval's; those of `generation_kwargs` and of `metadata` do one by one, because
    lm-eval writes options of the command line into the latter.

    Raises:
        HostVersionError: this lm-eval has no such file.
    """
    own = {key: value for key, value in config.items() if key not in ("class", "lm_eval_yaml")}
    theirs = lm_eval_config(config["lm_eval_yaml"])
    for key in ("generation_kwargs", "metadata"):
        if own.get(key) or theirs.get(key):
            own[key] = {**(theirs.get(key) or {}), **(own.get(key) or {})}
    return {**theirs, **own}


def lm_eval_config(file: str) -> dict[str, Any]:
    """Return the configuration of a task of lm-eval's own, without its name, tag and group.

    Args:
        file: the task's YAML, relative to lm-eval's `tasks/` folder.

    Raises:
        HostVersionError: this lm-eval has no such file.
    """
    path = Path(lm_eval.tasks.__file__).parent / file
    if not path.is_file():
        raise HostVersionError(f"lm-eval has no tasks/{file}; lm-eval {RELIED_ON['lm-eval']} has it")
    config = load_yaml(path)
    return {key: value for key, value in config.items() if key not in ("task", "task_alias", "tag", "group")}


def without_ours(config: Mapping[str, Any], ours: Mapping[str, Ours]) -> tuple[dict[str, Any], dict[str, Ours]]:
    """Return a task's configuration without our metrics in `metric_list`, and those metrics with their options.

    A name that lm-eval itself has a metric for means lm-eval's metric.

    Args:
        config: the task's configuration.
        ours: name → one of our metrics.

    Raises:
        CalibError: a metric of ours has an option that it does not take, or another aggregation than its own.
    """
    task = str(config.get("task"))
    theirs = {key: value for key, value in config.items() if key != "class"}
    listed: dict[str, Ours] = {}
    kept = []
    for entry in theirs.get("metric_list") or []:
        name = entry.get("metric")
        if name in ours and (name not in metric_registry or metric_registry.get(name) is ours[name]):
            if entry.get("aggregation", name) not in (name, "mean" if isinstance(ours[name], Diversity) else name):
                raise CalibError(f"task {task}: metric_list: {name}: leave `aggregation` out")
            options = {k: v for k, v in entry.items() if k not in ("metric", "aggregation", "higher_is_better")}
            listed[name] = ours[name].with_options(options, task)
        else:
            kept.append(entry)
    if listed:
        theirs["metric_list"] = kept
    return theirs, listed
