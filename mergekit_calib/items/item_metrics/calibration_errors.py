"""Calibration errors: how far confidence and accuracy are apart, binned or smoothed."""

from __future__ import annotations

from mergekit_calib.items.metric_definition import MetricContext, metric
from mergekit_calib.items.table import ItemTable
from mergekit_calib.metrics import expected_calibration_error_statistic, smooth_ece_statistic
from mergekit_calib.metrics.statistic import Statistic


@metric(
    "ece",
    direction="minimize",
    meaning="expected calibration error, equal-width bins, L1",
    most=1.0,
    of_confidences=True,
    options=("n_bins",),
)
def ece(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the expected calibration error over bins of equal width, 0 to 1."""
    return expected_calibration_error_statistic(table.probabilities, table.labels, context.n_bins)


@metric(
    "ece_mass",
    direction="minimize",
    meaning="expected calibration error, bins of equally many items, L1",
    always=False,
    most=1.0,
    of_confidences=True,
    options=("n_bins",),
)
def ece_mass(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the expected calibration error over bins of equally many items, 0 to 1."""
    return expected_calibration_error_statistic(table.probabilities, table.labels, context.n_bins, binning="mass")


@metric(
    "rms_ce",
    direction="minimize",
    meaning="root-mean-square calibration error",
    always=False,
    most=1.0,
    of_confidences=True,
    options=("n_bins",),
)
def rms_ce(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the root-mean-square calibration error over bins of equal width, 0 to 1."""
    return expected_calibration_error_statistic(table.probabilities, table.labels, context.n_bins, norm="l2")


@metric(
    "rms_ce_debiased",
    direction="minimize",
    meaning="root-mean-square calibration error, debiased (Kumar et al. 2019)",
    most=1.0,
    of_confidences=True,
    options=("n_bins",),
)
def rms_ce_debiased(table: ItemTable, context: MetricContext) -> Statistic:
    """Return `rms_ce` without the bias that comes from few items in a bin, 0 to 1."""
    probabilities, labels = table.probabilities, table.labels
    return expected_calibration_error_statistic(probabilities, labels, context.n_bins, norm="l2", debias=True)


@metric(
    "smooth_ece",
    direction="minimize",
    meaning="calibration error, smoothed instead of binned (Błasiok and Nakkiran 2023)",
    always=False,
    most=1.0,
    of_confidences=True,
)
def smooth_ece(table: ItemTable, context: MetricContext) -> Statistic:
    """Return the smooth calibration error, 0 to 1."""
    return smooth_ece_statistic(table.probabilities, table.labels)
