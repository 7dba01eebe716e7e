"""Tasks that report calibration or diversity beside lm-eval's own metrics: the classes that the YAML here names.

They need none of the plugin's hooks. Relied on in lm-eval 0.4.13: a YAML's `class:` is called with the YAML as
`config`; `process_results` gives a value for each metric and document, and the metric's aggregation sees those of all
documents; `load_yaml(path)` resolves a YAML's includes and functions.
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
from lm_eval_tasks.metrics import POOLED, Pooled, aggregations, scores_of
from mergekit_calib.errors import CalibError, HostVersionError
from mergekit_calib.versions import RELIED_ON

Ours = TypeVar("Ours", Pooled, Diversity)


class CalibrationTask(ConfigurableTask):
    """lm-eval's own multiple-choice task, with metrics of `lm_eval_tasks.metrics` beside its accuracies.

    Those that its `metric_list` names; all of them, if it names none. Their values for a document are its right choices
    and log-likelihoods, as lm-eval's sample logs show.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, POOLED)
        # lm-eval looks metrics up by name unless a task processes its results itself, which this class does.
        super().__init__(config={"output_type": "multiple_choice", "process_results": "CalibrationTask", **theirs})
        pooled = listed or POOLED
        for name, metric in pooled.items():
            self._metric_fn_list[name], self._metric_fn_kwargs[name] = metric, {}
            self._higher_is_better[name] = metric.higher_is_better
        self._aggregation_list |= aggregations(pooled)
        self._ours = [*aggregations(pooled)]

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
        found: dict[str, Any] = super().process_results(doc, results)
        # The hooks have filled them in already; --predict_only takes all metrics away.
        wanted = [name for name in self._ours if name in self._aggregation_list and name not in found]
        return {**found, **dict.fromkeys(wanted, scores_of(self, doc, results))} if wanted else found


class DiversityTask(ConfigurableTask):
    """lm-eval's own generation task, with the metrics of `lm_eval_tasks.completions` that its `metric_list` names.

    Raises:
        CalibError: `repeats` is below 2, or no pipeline of filters leaves several completions.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        theirs, listed = without_ours(config, DIVERSITY)
        super().__init__(config={"output_type": "generate_until", **theirs})
        self._diversity = listed
        measure_completions(self, listed)

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().process_results(doc, as_lm_eval(results))
        return {**found, **diversity_of(self, self._diversity, results)}


class LmEvalTask(CalibrationTask):
    """A multiple-choice task of lm-eval's own, read from its YAML, with every calibration metric added.

    The prompts, splits, shots and metrics are those of the file that `lm_eval_yaml` names, relative to lm-eval's
    `tasks/` folder; keys of our YAML, or from the command line, come before its keys.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(over_lm_evals(config))


def over_lm_evals(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration over that of the task of lm-eval's own that its `lm_eval_yaml` names.

    Its keys come before lm-eval's; those of `generation_kwargs` and of `metadata` one by one, for lm-eval writes into
    the latter what the command line says.

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
    """The configuration of a task of lm-eval's own, without its name and the names that gather tasks.

    Args:
        file: its YAML, relative to lm-eval's `tasks/` folder.

    Raises:
        HostVersionError: this lm-eval has no such file.
    """
    path = Path(lm_eval.tasks.__file__).parent / file
    if not path.is_file():
        raise HostVersionError(f"lm-eval has no tasks/{file}; lm-eval {RELIED_ON['lm-eval']} has it")
    config = load_yaml(path)
    return {key: value for key, value in config.items() if key not in ("task", "task_alias", "tag", "group")}


def without_ours(config: Mapping[str, Any], ours: Mapping[str, Ours]) -> tuple[dict[str, Any], dict[str, Ours]]:
    """A task's configuration without our metrics in `metric_list`, and those, with their options.

    A metric that lm-eval itself has by the name is its own.

    Raises:
        CalibError: an option that a metric of ours does not have, or another aggregation.
    """
    task = str(config.get("task"))
    theirs = {key: value for key, value in config.items() if key != "class"}
    found: dict[str, Ours] = {}
    kept = []
    for entry in theirs.get("metric_list") or []:
        name = entry.get("metric")
        known = name in ours and (name not in metric_registry or metric_registry.get(name) is ours[name])
        if known:
            if entry.get("aggregation", name) not in (name, "mean" if isinstance(ours[name], Diversity) else name):
                raise CalibError(f"task {task}: metric_list: {name}: leave `aggregation` out")
            options = {k: v for k, v in entry.items() if k not in ("metric", "aggregation", "higher_is_better")}
            found[name] = ours[name].with_options(options, task)
        else:
            kept.append(entry)
    if found:
        theirs["metric_list"] = kept
    return theirs, found
