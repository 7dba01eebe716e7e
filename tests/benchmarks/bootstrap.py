"""How long 1,000 resamples of ECE, Brier score and accuracy take over as many items as MMLU has; both interval kinds.

python tests/benchmarks/bootstrap.py
"""

from __future__ import annotations

import time

import numpy as np

from mergekit_calib import metrics

N_ITEMS, N_CHOICES, N_RESAMPLES = 14_042, 4, 1000


def main() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.dirichlet(np.full(N_CHOICES, 0.7), size=N_ITEMS)
    labels = np.array([draw.choice(N_CHOICES, p=p) for p in probabilities])
    statistics = {
        "acc": metrics.accuracy_statistic(probabilities, labels),
        "ece": metrics.expected_calibration_error_statistic(probabilities, labels),
        "brier": metrics.brier_statistic(probabilities, labels),
    }
    for method in ("percentile", "bca"):
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            metrics.bootstrap(statistics, n_resamples=N_RESAMPLES, method=method)
            seconds.append(time.perf_counter() - began)
        print(f"{method}: {min(seconds):.2f} s at best, {max(seconds):.2f} s at worst of 5")


if __name__ == "__main__":
    main()
