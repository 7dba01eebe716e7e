"""Metrics computed from arrays: calibration, proper scores, ranking, diversity, and the bootstrap over items.

They know neither models nor files, and need numpy and scipy only (`self_bleu` sacrebleu too), so they can be used on
the scores of any model:

    >>> from mergekit_calib import metrics
    >>> probabilities = [[0.7, 0.2, 0.1], [0.4, 0.6, float("nan")]]
    >>> round(metrics.brier_score(probabilities, [0, 1]), 3)
    0.23
    >>> round(metrics.expected_calibration_error(probabilities, [0, 1]), 3)
    0.35

A function `x(…)` returns a number, and `x_statistic(…)` the same number in a form that `bootstrap` can resample.
"""

from __future__ import annotations

from mergekit_calib.metrics.bootstrapping import (
    BootstrapResult,
    Resamples,
    bootstrap,
    centred,
    centred_interval,
    interval,
    resample_weights,
)
from mergekit_calib.metrics.calibration import (
    bin_index,
    classwise_calibration_error,
    expected_calibration_error,
    expected_calibration_error_statistic,
    overconfidence,
    overconfidence_statistic,
)
from mergekit_calib.metrics.divergence import kl_divergence, kl_divergence_statistic
from mergekit_calib.metrics.diversity import (
    answer_entropy,
    compression_ratio,
    distinct_n,
    expectation_adjusted_distinct,
)
from mergekit_calib.metrics.novelty import distinct_k, distinct_k_ngrams, equivalence_classes
from mergekit_calib.metrics.padding import pad
from mergekit_calib.metrics.paired_tests import ROUNDING, bootstrap_p_value, sign_flip_p_value
from mergekit_calib.metrics.proper import (
    accuracy,
    accuracy_statistic,
    brier_score,
    brier_statistic,
    negative_log_likelihood,
    nll_statistic,
)
from mergekit_calib.metrics.ranking import (
    RiskCoverageCurve,
    accuracy_at_coverage,
    accuracy_at_coverage_statistic,
    area_under_risk_coverage,
    area_under_risk_coverage_statistic,
    auroc,
    auroc_statistic,
    risk_coverage_curve,
)
from mergekit_calib.metrics.reliability import (
    BrierDecomposition,
    ReliabilityCurve,
    brier_decomposition,
    reliability_curve,
    wilson_interval,
)
from mergekit_calib.metrics.semantic import sentence_kernel
from mergekit_calib.metrics.several_answers import pass_at_k
from mergekit_calib.metrics.similarity import (
    embedding_kernel,
    ngram_kernel,
    pairwise_rouge_l,
    self_bleu,
    vendi_score,
    vendi_score_of_similarities,
)
from mergekit_calib.metrics.smooth import smooth_ece, smooth_ece_statistic
from mergekit_calib.metrics.statistic import (
    FunctionOfMeans,
    ItemContributions,
    MeanOfSome,
    Statistic,
    WeightedAverage,
    WeightedStatistic,
    WorstOf,
    item_contributions,
    mean_of_some_statistic,
    mean_statistic,
)
from mergekit_calib.metrics.temperature import (
    choice_log_probabilities,
    choice_probabilities,
    fit_temperature,
    fit_temperature_to_model,
)
from mergekit_calib.metrics.trend import kendall_tau, monotone_fit, monotone_p_value

__all__ = [
    "ROUNDING",
    "BootstrapResult",
    "BrierDecomposition",
    "FunctionOfMeans",
    "ItemContributions",
    "MeanOfSome",
    "ReliabilityCurve",
    "Resamples",
    "RiskCoverageCurve",
    "Statistic",
    "WeightedAverage",
    "WeightedStatistic",
    "WorstOf",
    "accuracy",
    "accuracy_at_coverage",
    "accuracy_at_coverage_statistic",
    "accuracy_statistic",
    "answer_entropy",
    "area_under_risk_coverage",
    "area_under_risk_coverage_statistic",
    "auroc",
    "auroc_statistic",
    "bin_index",
    "bootstrap",
    "bootstrap_p_value",
    "brier_decomposition",
    "brier_score",
    "brier_statistic",
    "centred",
    "centred_interval",
    "choice_log_probabilities",
    "choice_probabilities",
    "classwise_calibration_error",
    "compression_ratio",
    "distinct_k",
    "distinct_k_ngrams",
    "distinct_n",
    "embedding_kernel",
    "equivalence_classes",
    "expectation_adjusted_distinct",
    "expected_calibration_error",
    "expected_calibration_error_statistic",
    "fit_temperature",
    "fit_temperature_to_model",
    "interval",
    "item_contributions",
    "kendall_tau",
    "kl_divergence",
    "kl_divergence_statistic",
    "mean_of_some_statistic",
    "mean_statistic",
    "monotone_fit",
    "monotone_p_value",
    "negative_log_likelihood",
    "ngram_kernel",
    "nll_statistic",
    "overconfidence",
    "overconfidence_statistic",
    "pad",
    "pairwise_rouge_l",
    "pass_at_k",
    "reliability_curve",
    "resample_weights",
    "risk_coverage_curve",
    "self_bleu",
    "sentence_kernel",
    "sign_flip_p_value",
    "smooth_ece",
    "smooth_ece_statistic",
    "vendi_score",
    "vendi_score_of_similarities",
    "wilson_interval",
]
