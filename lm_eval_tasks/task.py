"""The classes of tasks that report calibration or diversity beside lm-eval's own metrics, as the YAML here names them.

They need none of the plugin's hooks. Relied on in lm-eval: a YAML's `class:` is called with the YAML as `config`;
`load_yaml(path)` resolves a YAML's includes and functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import lm_eval.tasks
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks import host
from lm_eval_tasks.completions import DIVERSITY, Diversity, as_lm_eval, diversity_of, measure_completions
from lm_eval_tasks.pooled_metrics import POOLED_METRICS, PooledMetric, scored_choices
from mergekit_calib.errors import CalibError, HostVersionError
from mergekit_calib.versions import tested_versions

Ours = TypeVar("Ours", PooledMetric, Diversity)


class CalibrationTask(host.ChoiceTask):
    """A multiple-choice task of lm-eval with calibration metrics beside its accuracies.

    It has the metrics of `pooled_metrics.POOLED_METRICS` that its `metric_list` names; all of them, if it names none. A
    document's value of each is the numbers of its correct choices and all choices' log-likelihoods, as lm-eval's sample
    logs show.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, POOLED_METRICS)
        super().__init__(config=theirs)
        pooled = listed or POOLED_METRICS
        self.add_pooled(
            {name: metric.with_options({}, self.task_name) for name, metric in pooled.items()}, scored_choices
        )


class DiversityTask(host.GenerationTask):  # type: ignore[misc]
    """A generation task of lm-eval with the metrics of `completions.DIVERSITY` that its `metric_list` names.

    Raises:
        CalibError: `repeats` is below 2, or no pipeline of filters leaves several completions.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, DIVERSITY)
        super().__init__(config={"output_type": "generate_until", **theirs})
        self._diversity = listed
        measure_completions(self, listed)

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any] | None:
        """Return lm-eval's own values of a document, of its first completion, and the diversity of all."""
        own = super().process_results(doc, as_lm_eval(results))
        return host.with_values(own, lambda: diversity_of(self, self._diversity, results))


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
        raise HostVersionError(f"lm-eval has no tasks/{file}; lm-eval {tested_versions('lm-eval')} have it")
    config = load_yaml(path)
    return {key: value for key, value in config.items() if key not in ("task", "task_alias", "tag", "group")}


def without_ours(config: Mapping[str, Any], ours: Mapping[str, Ours]) -> tuple[dict[str, Any], dict[str, Ours]]:
    """Return a task's configuration without our metrics in `metric_list`, and those metrics with their options.

    In these classes a name of ours means our metric, also if an lm-eval has a metric of that name. In the YAML of other
    tasks it then means lm-eval's (see `integrations/lm_eval.py`).

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
        if name in ours:
            if entry.get("aggregation", name) not in (name, "mean" if isinstance(ours[name], Diversity) else name):
                raise CalibError(f"task {task}: metric_list: {name}: leave `aggregation` out")
            options = {k: v for k, v in entry.items() if k not in ("metric", "aggregation", "higher_is_better")}
            listed[name] = ours[name].with_options(options, task)
        else:
            kept.append(entry)
    if listed:
        theirs["metric_list"] = kept
    return theirs, listed
