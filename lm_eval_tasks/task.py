"""A multiple-choice task that reports its calibration, over its items pooled: the class that the YAML here names.

Relied on in lm-eval 0.4.13: a YAML's `class:` is called with the YAML as `config`; `process_results` gives a value for
each metric and document, and the metric's aggregation sees those of all documents.
"""

from __future__ import annotations

from typing import Any

from lm_eval.api.task import ConfigurableTask

from lm_eval_tasks.metrics import POOLED, scores_of


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
