"""Comparisons with other packages' metrics; skipped as a whole where torch is not installed.

torchmetrics and lm-eval import torch; relplot 1.0.3, rouge-score and vendi-score 0.0.3 are here too, so that the other
tests of metrics need few packages.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings

torch = pytest.importorskip("torch", reason="torch is not installed, which the packages compared with need")

from lm_eval.api.metrics import brier_score as lm_eval_brier_score  # noqa: E402
from relplot import smECE  # noqa: E402
from rouge_score.rouge_scorer import RougeScorer  # noqa: E402
from sklearn.preprocessing import normalize  # noqa: E402
from torchmetrics.functional.classification import (  # noqa: E402
    binary_calibration_error,
    multiclass_calibration_error,
)
from torchmetrics.functional.classification.calibration_error import _ce_compute  # noqa: E402
from vendi_score import text_utils, vendi  # noqa: E402

from helpers.metric_cases import adversarial_items, random_items, random_texts, small_texts, top  # noqa: E402
from mergekit_calib import metrics  # noqa: E402
from mergekit_calib.metrics.diversity import words  # noqa: E402

NORMS = ["l1", "l2", "max"]
ADVERSARIAL = adversarial_items()
ROUGE = RougeScorer(["rougeL"])


class TestTorchmetrics:
    """torchmetrics 1.9 (`functional.classification`), in its own float32 and in float64."""

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("n_bins", [1, 7, 10, 15, 100])
    @pytest.mark.parametrize("seed", range(4))
    def test_calibration_error_of_random_items_in_float64(self, norm, n_bins, seed):
        p, y = random_items(2000, 2 + seed, seed, sharpness=0.5)
        confidence, correct = top(p, y)
        oracle = binary_calibration_error(torch.tensor(confidence), torch.tensor(correct).int(), n_bins, norm)
        assert metrics.expected_calibration_error(p, y, n_bins, norm=norm) == pytest.approx(float(oracle), abs=1e-9)

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("n_choices", [2, 4, 26])
    def test_calibration_error_of_random_items_of_several_choices(self, norm, n_choices):
        p, y = random_items(300, n_choices, seed=n_choices)
        oracle = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), n_choices, 15, norm)
        assert metrics.expected_calibration_error(p, y, norm=norm) == pytest.approx(float(oracle), abs=1e-6)

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("n_bins", [1, 2, 8, 16, 64])
    @pytest.mark.parametrize("case", ADVERSARIAL)
    def test_calibration_error_of_adversarial_items(self, norm, n_bins, case):
        p, y = ADVERSARIAL[case]
        oracle = multiclass_calibration_error(torch.tensor(p), torch.tensor(y), p.shape[1], n_bins, norm)
        assert metrics.expected_calibration_error(p, y, n_bins, norm=norm) == pytest.approx(float(oracle), abs=1e-6)

    @pytest.mark.parametrize("seed", range(4))
    def test_debiased_error_if_no_bin_holds_a_single_item(self, seed):
        p, y = random_items(3000, 4, seed, sharpness=0.4)
        confidence, correct = top(p, y)
        assert np.bincount(metrics.bin_index(confidence, 10, "width"))[3:].min() > 1
        oracle = float(_ce_compute(torch.tensor(confidence), torch.tensor(correct), 10, "l2", debias=True))
        debiased = metrics.expected_calibration_error(p, y, 10, norm="l2", debias=True)
        assert debiased == pytest.approx(oracle, abs=1e-9)

    @pytest.mark.parametrize("norm", NORMS)
    def test_the_classwise_error_is_the_mean_binary_error_of_the_choices(self, norm):
        p, y = random_items(800, 4, sharpness=0.5)
        per_choice = [
            binary_calibration_error(torch.tensor(p[:, c]), torch.tensor(y == c).int(), 15, norm) for c in range(4)
        ]
        classwise = metrics.classwise_calibration_error(p, y, norm=norm)
        assert classwise == pytest.approx(float(np.mean(per_choice)), abs=1e-9)


class TestLmEval:
    @pytest.mark.parametrize("case", ADVERSARIAL)
    def test_brier_score_of_adversarial_items(self, case):
        p, y = ADVERSARIAL[case]
        assert metrics.brier_score(p, y) == pytest.approx(lm_eval_brier_score(list(zip(y, p, strict=True))), abs=1e-9)

    @pytest.mark.parametrize("seed", range(3))
    def test_brier_score_of_random_items(self, seed):
        p, y = random_items(700, 5, seed)
        assert metrics.brier_score(p, y) == pytest.approx(lm_eval_brier_score(list(zip(y, p, strict=True))), abs=1e-12)


class TestRelplot:
    """SmoothECE by its authors' package."""

    @pytest.mark.parametrize(
        ("n_items", "sharpness"), [(1, 1.0), (2, 1.0), (30, 0.0), (500, 0.3), (5000, 1.0), (5000, 3.0)]
    )
    def test_random_items(self, n_items, sharpness):
        p, y = random_items(n_items, 4, seed=n_items, sharpness=sharpness)
        confidence, correct = top(p, y)
        assert metrics.smooth_ece(p, y) == pytest.approx(smECE(confidence, correct.astype(float)), abs=1e-9)

    @pytest.mark.parametrize("case", ADVERSARIAL)
    def test_adversarial_items(self, case):
        confidence, correct = top(*ADVERSARIAL[case])
        oracle = smECE(confidence, correct.astype(float))
        assert metrics.smooth_ece(*ADVERSARIAL[case]) == pytest.approx(oracle, abs=1e-9)

    @pytest.mark.parametrize("gap", [0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.013, 0.03])
    def test_small_errors(self, gap):
        # Small errors have small bandwidths, whose grids are finer, of an even or an odd number of points. Answers are
        # correct as often as confidence says, less a gap that varies along it, with as little randomness as possible.
        confidence = np.linspace(0.5, 1.0, 20_000)
        expected = np.cumsum(confidence - gap * (1 + np.sin(40 * confidence)))
        correct = np.diff(np.floor(expected), prepend=0.0)
        oracle, bandwidth = smECE(confidence, correct, return_width=True)
        assert bandwidth <= max(0.0021, 2 * gap)
        assert metrics.smooth_ece(confidence, correct > 0) == pytest.approx(oracle, abs=1e-9)

    def test_a_replicate_is_the_error_of_the_drawn_items(self):
        p, y = random_items(200, 4, sharpness=0.4)
        confidence, correct = top(p, y)
        weights = metrics.resample_weights(200, 12)
        for row, replicate in zip(weights, metrics.smooth_ece_statistic(p, y).replicates(weights), strict=True):
            drawn = np.repeat(np.arange(200), row.astype(int))
            assert replicate == pytest.approx(smECE(confidence[drawn], correct[drawn].astype(float)), abs=1e-9)


class TestRougeScore:
    @pytest.mark.parametrize("seed", range(3))
    def test_random_texts(self, seed):
        drawn = random_texts(6, seed, n_words=150)
        oracle = [ROUGE.score(a, b)["rougeL"].fmeasure for a, b in combinations(drawn, 2)]
        assert metrics.pairwise_rouge_l(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)

    @settings(max_examples=50)
    @given(small_texts)
    def test_short_texts_and_empty_ones(self, drawn):
        oracle = [1.0 if a == b else ROUGE.score(a, b)["rougeL"].fmeasure for a, b in combinations(drawn, 2)]
        assert metrics.pairwise_rouge_l(drawn) == pytest.approx(np.mean(oracle), abs=1e-9)


class TestVendiScore:
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("n_texts", [1, 2, 8])
    def test_the_score_of_texts(self, seed, n_texts):
        """The package's n-gram counts, averaged kernels and score, as its `ngram_vendi_score` joins them."""
        drawn = random_texts(n_texts, seed)
        kernels = []
        for n in (1, 2, 3, 4):
            counts = normalize(text_utils.get_ngrams(drawn, n=n, tokenizer=words, token_pattern=None))
            kernels.append((counts @ counts.T).toarray())
        assert metrics.ngram_kernel(drawn) == pytest.approx(np.mean(kernels, axis=0), abs=1e-9)
        assert metrics.vendi_score(drawn) == pytest.approx(vendi.score_K(np.mean(kernels, axis=0)), abs=1e-6)

    @pytest.mark.parametrize("order", [0.1, 0.5, 1.0, 2.0, 7.0])
    def test_the_score_of_any_order(self, order):
        vectors = np.random.default_rng(0).normal(size=(12, 30))
        oracle = vendi.score_K(vendi.normalize_K(vectors @ vectors.T), q=order)
        similarities = metrics.embedding_kernel(vectors)
        assert metrics.vendi_score_of_similarities(similarities, order) == pytest.approx(oracle, abs=1e-6)
