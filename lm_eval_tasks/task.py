"""A multiple-choice task that reports its calibration, over its items pooled: the class that the YAML here names.

Relied on in lm-eval 0.4.13: a YAML's `class:` is called with the YAML as `config`; `process_results` gives a value for
each metric and document, and the metric's aggregation sees those of all documents; `load_yaml(path)` resolves a YAML's
includes and functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lm_eval.tasks
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from lm_eval_tasks.metrics import POOLED, scores_of
from mergekit_calib.errors import HostVersionError
from mergekit_calib.hosts.versions import RELIED_ON


class CalibrationTask(ConfigurableTask):
    """lm-eval's own multiple-choice task, with every metric of `lm_eval_tasks.metrics` beside its accuracies.

    Their values for a document are its right choices and log-likelihoods, as lm-eval's sample logs show. The
    standard errors need the plugin's hooks; without them lm-eval shows N/A.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        own = {key: value for key, value in config.items() if key != "class"}
        # lm-eval looks metrics up by name unless a task processes its results itself, which this class does.
        super().__init__(config={"output_type": "multiple_choice", "process_results": "CalibrationTask", **own})
        for name, metric in POOLED.items():
            self._metric_fn_list[name], self._metric_fn_kwargs[name] = metric, {}
            self._aggregation_list[name], self._higher_is_better[name] = metric, metric.higher_is_better

    def process_results(self, doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
        found: dict[str, Any] = super().process_results(doc, results)
        # The hooks have filled them in already; --predict_only takes all metrics away.
        wanted = [name for name in POOLED if name in self._aggregation_list and name not in found]
        return {**found, **dict.fromkeys(wanted, scores_of(self, doc, results))} if wanted else found


class LmEvalTask(CalibrationTask):
    """A multiple-choice task of lm-eval's own, read from its YAML, with every calibration metric added.

    The prompts, splits, shots and metrics are those of the file that `lm_eval_yaml` names, relative to lm-eval's
    `tasks/` folder; keys of our YAML, or from the command line, come before its keys.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        own = dict(config)
        super().__init__({**lm_eval_config(own.pop("lm_eval_yaml")), **own})


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
