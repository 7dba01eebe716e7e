"""Calibration errors and overconfidence: bins, definitions, and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.metric_cases import drawn_labels, items, random_items, top
from mergekit_calib.metrics import accuracy, classwise_calibration_error, expected_calibration_error, overconfidence
from mergekit_calib.metrics.calibration import bin_index

NORMS = ["l1", "l2", "max"]


def by_bin(confidence, correct, index):
    """(size, mean confidence, accuracy) of each bin that holds an item."""
    return [(np.sum(index == b), confidence[index == b].mean(), correct[index == b].mean()) for b in np.unique(index)]


def kumar_unbiased_l2(bins, n_items):
    """`unbiased_l2_ce` of the uncertainty-calibration package 0.1.4, written out."""
    total = 0.0
    for size, confidence, accuracy_ in bins:
        if size >= 2:
            total += size / n_items * ((confidence - accuracy_) ** 2 - accuracy_ * (1 - accuracy_) / (size - 1))
    return max(total, 0.0) ** 0.5


class TestBins:
    def test_a_confidence_at_an_edge_belongs_to_the_bin_above(self):
        for n_bins in (3, 10, 15, 20, 100):
            edges = np.array([k / n_bins for k in range(n_bins)])
            assert bin_index(edges, n_bins, "width").tolist() == list(range(n_bins))
            assert bin_index(np.nextafter(edges[1:], 0), n_bins, "width").tolist() == list(range(n_bins - 1))

    def test_certainty_has_a_bin_of_its_own(self):
        assert bin_index(np.array([1.0, np.nextafter(1, 0)]), 15, "width").tolist() == [15, 14]

    @given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99))
    def test_sizes_of_bins_of_equal_mass_differ_by_one_item_at_most(self, n_items, n_bins, seed):
        confidence = np.random.default_rng(seed).permutation(n_items) / n_items
        index = bin_index(confidence, n_bins, "mass")
        sizes = np.bincount(index, minlength=n_bins)
        assert sizes.max() - sizes.min() <= 1
        assert (np.diff(index[np.argsort(confidence)]) >= 0).all()

    @given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 12))
    def test_equal_confidences_share_a_bin_of_equal_mass(self, values, n_bins):
        confidence = np.array(values) / 5
        index = bin_index(confidence, n_bins, "mass")
        for value in np.unique(confidence):
            assert len(np.unique(index[confidence == value])) == 1
        # As numpy.array_split of the sorted items, which the reference implementation uses: the first part counts.
        parts = np.array_split(np.sort(confidence), n_bins)
        for value in np.unique(confidence):
            assert index[confidence == value][0] == next(b for b, part in enumerate(parts) if value in part)

    @pytest.mark.parametrize("n_bins", [0, -3])
    def test_no_bins_is_an_error(self, n_bins):
        with pytest.raises(ValueError, match="n_bins"):
            expected_calibration_error([[1.0]], [0], n_bins)

    @pytest.mark.parametrize(
        "options",
        [{"binning": "depth"}, {"norm": "l3"}, {"norm": "l1", "debias": True}, {"norm": "max", "debias": True}],
    )
    def test_an_unknown_option_is_an_error(self, options):
        with pytest.raises(ValueError, match=r"binning|norm"):
            expected_calibration_error([[1.0]], [0], **options)


class TestDefinition:
    @given(items(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
    def test_every_norm_is_its_formula(self, case, n_bins, binning):
        p, y = case
        confidence, correct = top(p, y)
        bins = by_bin(confidence, correct, bin_index(confidence, n_bins, binning))
        gaps = np.array([c - a for _, c, a in bins])
        share = np.array([size for size, _, _ in bins]) / len(p)
        errors = {norm: expected_calibration_error(p, y, n_bins, binning, norm) for norm in NORMS}
        assert errors["l1"] == pytest.approx(share @ np.abs(gaps), abs=1e-12)
        assert errors["l2"] == pytest.approx(np.sqrt(share @ gaps**2), abs=1e-12)
        assert errors["max"] == pytest.approx(np.abs(gaps).max(), abs=1e-12)
        assert -1e-12 <= errors["l1"] <= errors["l2"] + 1e-12 <= errors["max"] + 2e-12 <= 1 + 3e-12

    @given(items(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
    def test_debiased_is_the_estimate_of_kumar_et_al(self, case, n_bins, binning):
        p, y = case
        confidence, correct = top(p, y)
        bins = by_bin(confidence, correct, bin_index(confidence, n_bins, binning))
        debiased = expected_calibration_error(p, y, n_bins, binning, "l2", debias=True)
        assert debiased == pytest.approx(kumar_unbiased_l2(bins, len(p)), abs=1e-7)
        assert debiased <= expected_calibration_error(p, y, n_bins, binning, "l2") + 1e-12

    @given(items(min_items=2), st.integers(1, 20), st.sampled_from(["width", "mass"]), st.sampled_from(NORMS))
    def test_the_order_of_items_does_not_matter(self, case, n_bins, binning, norm):
        p, y = case
        order = np.random.default_rng(0).permutation(len(p))
        forward = expected_calibration_error(p, y, n_bins, binning, norm)
        assert expected_calibration_error(p[order], y[order], n_bins, binning, norm) == pytest.approx(
            forward, abs=1e-12
        )

    @pytest.mark.parametrize("norm", NORMS)
    @pytest.mark.parametrize("binning", ["width", "mass"])
    def test_relabelling_the_choices_does_not_matter(self, binning, norm):
        p, y = random_items(200, 5)
        order = np.array([3, 0, 4, 1, 2])
        relabelled = np.argsort(order)[y]
        assert expected_calibration_error(p[:, order], relabelled, 15, binning, norm) == pytest.approx(
            expected_calibration_error(p, y, 15, binning, norm), abs=1e-12
        )
        assert classwise_calibration_error(p[:, order], relabelled, 15, binning, norm) == pytest.approx(
            classwise_calibration_error(p, y, 15, binning, norm), abs=1e-12
        )

    def test_all_answers_correct_or_all_wrong(self):
        p = np.array([[0.8, 0.2]] * 10)
        correct, wrong = np.zeros(10, dtype=int), np.ones(10, dtype=int)
        for norm in NORMS:
            assert expected_calibration_error(p, correct, norm=norm) == pytest.approx(0.2)
            assert expected_calibration_error(p, wrong, norm=norm) == pytest.approx(0.8)
        assert overconfidence(p, correct) == pytest.approx(-0.2)
        assert overconfidence(p, wrong) == pytest.approx(0.8)

    def test_with_several_correct_choices_the_answer_need_only_be_one_of_them(self):
        p = np.array([[0.6, 0.3, 0.1]])
        assert expected_calibration_error(p, [[True, True, False]]) == pytest.approx(0.4)
        assert expected_calibration_error(p, [[False, True, True]]) == pytest.approx(0.6)

    @given(items(), st.integers(1, 20), st.sampled_from(["width", "mass"]))
    def test_overconfidence_is_confidence_less_accuracy_and_at_most_the_error(self, case, n_bins, binning):
        p, y = case
        confidence, correct = top(p, y)
        assert overconfidence(p, y) == pytest.approx(confidence.mean() - correct.mean(), abs=1e-12)
        assert accuracy(p, y) == pytest.approx(correct.mean())
        assert abs(overconfidence(p, y)) <= expected_calibration_error(p, y, n_bins, binning) + 1e-12


@pytest.fixture(scope="module")
def calibrated():
    rng = np.random.default_rng(5)
    p = rng.dirichlet(np.ones(4), 200_000)
    return p, drawn_labels(p, rng)


class TestInTheLimit:
    """A model whose labels are drawn from its own probabilities."""

    @pytest.mark.parametrize("binning", ["width", "mass"])
    @pytest.mark.parametrize(("norm", "debias"), [("l1", False), ("l2", False), ("l2", True)])
    def test_the_error_of_a_calibrated_model_vanishes(self, calibrated, binning, norm, debias):
        assert expected_calibration_error(*calibrated, 15, binning, norm, debias) < 0.008

    def test_the_classwise_error_and_overconfidence_vanish(self, calibrated):
        assert classwise_calibration_error(*calibrated) < 0.005
        assert abs(overconfidence(*calibrated)) < 0.004

    def test_the_debiased_error_of_few_items_is_nearer_to_the_truth(self):
        plain, debiased = [], []
        for seed in range(40):
            p, y = random_items(200, 4, seed)
            plain.append(expected_calibration_error(p, y, norm="l2"))
            debiased.append(expected_calibration_error(p, y, norm="l2", debias=True))
        assert np.mean(debiased) < 0.5 * np.mean(plain)


class TestClasswise:
    def test_a_choice_counts_over_the_items_that_have_it(self):
        p = np.array([[0.5, 0.5, np.nan], [0.2, 0.2, 0.6]])
        # Bins of one: 0.5 and 0.2 against 1 and 0, 0.5 and 0.2 against 0 and 0; the third choice has one item.
        expected = np.mean([(0.5 + 0.2) / 2, (0.5 + 0.2) / 2, 0.4])
        assert classwise_calibration_error(p, [0, 2]) == pytest.approx(expected)

    def test_a_choice_that_no_item_has_does_not_count(self):
        p, y = random_items(50, 3)
        padded = np.hstack([p, np.full((50, 2), np.nan)])
        assert classwise_calibration_error(padded, y) == classwise_calibration_error(p, y)

    @given(items())
    def test_it_is_between_0_and_1(self, case):
        assert 0 <= classwise_calibration_error(*case) <= 1
