"""Metrics of how well confidence ranks correct answers above wrong ones."""

from __future__ import annotations

from mergekit_calib.items.metric_definition import MetricContext, metric
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import accuracy, area_under_risk_coverage_statistic, auroc_statistic
from mergekit_calib.metrics.statistic import Statistic


@metric(
    "auroc",
    direction="maximize",
    meaning="how well confidence tells correct answers from wrong ones",
    always=False,
    most=1.0,
    of_confidences=True,
)
def auroc(table: ItemTable, context: MetricContext) -> Statistic | None:
    """Return the area under the ROC curve, 0 to 1; None where all answers are correct, or all wrong."""
    if accuracy(table.probabilities, table.labels) in (0.0, 1.0):
        return None
    return auroc_statistic(table.probabilities, table.labels)


@metric(
    "aurc",
    direction="minimize",
    meaning="error averaged over coverages, the most confident answered first",
    always=False,
    most=1.0,
    of_confidences=True,
)
def aurc(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the area under the risk-coverage curve, 0 to 1."""
    return area_under_risk_coverage_statistic(table.probabilities, table.labels)
