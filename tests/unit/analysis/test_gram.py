"""Gram statistics against plain NumPy on draws."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.analysis import gram
from ntkpipe.drawing import GRAM_BLOCK, LOG_EDGES
from ntkpipe.kinds.initialization.statistics import HISTOGRAMS

BIN = LOG_EDGES[1] - LOG_EDGES[0]


def _circle(k, norm=1.0):
    angle = 2 * np.pi * np.arange(k) / k
    return norm * np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.mark.parametrize("norm", [1.0, 7.0])
def test_angles_of_the_circle(norm):
    distinct, index = gram.angles(_circle(8, norm))
    np.testing.assert_allclose(distinct, np.pi / 4 * np.arange(5), atol=2e-9)  # rounded to 9 digits
    steps = np.abs(np.arange(8)[:, None] - np.arange(8))
    np.testing.assert_array_equal(index, np.minimum(steps, 8 - steps))


def test_angles_do_not_depend_on_norms_and_keep_small_ones():
    x = np.array([[1.0, 0.0], [3.0, 3e-6], [0.0, 2.0]])
    distinct, index = gram.angles(x)
    np.testing.assert_allclose(distinct, [0, 1e-6, np.pi / 2 - 1e-6, np.pi / 2], atol=1e-9)  # arccos would lose 1e-6
    np.testing.assert_array_equal(index, [[0, 1, 3], [1, 0, 2], [3, 2, 0]])


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(640, 4, 6)) + 1
    return factor @ factor.transpose(0, 2, 1)


def _blocks(values):
    return np.add.reduceat(values, np.arange(0, len(values), GRAM_BLOCK), axis=0)


def test_by_angle_is_plain_numpy_on_the_draws(draws):
    x = _circle(4)  # angles 0 (4 pairs), pi/2 (8), pi (4)
    count = np.full(20, 32.0)
    row = gram.by_angle(x, _blocks(draws), _blocks(draws**2), count, 0.95)
    index = gram.angles(x)[1]
    for a in range(3):
        pairs = draws[:, index == a]
        assert row["ntk_mean"][a] == pytest.approx(pairs.mean(), rel=1e-12)
        assert row["ntk_variance"][a] == pytest.approx(pairs.var(axis=0).mean(), rel=1e-10)
        # Networks are the units: Student's t over means of 32 of them.
        means = pairs.mean(axis=1).reshape(20, 32).mean(axis=1)
        low, high = stats.t.interval(0.95, 19, means.mean(), stats.sem(means))
        assert (row["ntk_mean_low"][a], row["ntk_mean_high"][a]) == pytest.approx((low, high), rel=1e-10)
        spread = ((pairs - pairs.mean(axis=0)) ** 2).mean(axis=1).reshape(20, 32).mean(axis=1)
        low, high = stats.t.interval(0.95, 19, spread.mean(), stats.sem(spread))
        assert (row["ntk_variance_low"][a], row["ntk_variance_high"][a]) == pytest.approx((low, high), rel=1e-10)


def test_pairs_of_one_network_are_not_independent_draws():
    """K equal on all pairs of a network: 12 pairs say no more than one."""
    one = np.random.default_rng(1).normal(size=640)
    draws = np.broadcast_to(one[:, None, None], (640, 4, 4))
    row = gram.by_angle(_circle(4), _blocks(draws), _blocks(draws**2), np.full(20, 32.0), 0.95)
    half = stats.t.ppf(0.975, 19) * stats.sem(one.reshape(20, 32).mean(axis=1))
    np.testing.assert_allclose(row["ntk_mean_high"] - row["ntk_mean"], half, rtol=1e-10)


def test_a_last_block_that_is_not_full_is_counted_by_its_draws(draws):
    cut = draws[:600]
    count = np.array([32.0] * 18 + [24.0])
    row = gram.by_angle(_circle(4), _blocks(cut), _blocks(cut**2), count, 0.95)
    diagonal = np.diagonal(cut, axis1=1, axis2=2)
    assert row["ntk_mean"][0] == pytest.approx(diagonal.mean(), rel=1e-12)
    assert row["ntk_variance"][0] == pytest.approx(diagonal.var(axis=0).mean(), rel=1e-10)


def test_spectrum_quantiles_are_those_of_the_draws_to_a_bin():
    rng = np.random.default_rng(2)
    low, condition = rng.normal(-3, 1, size=5000), rng.normal(6, 2, size=5000)
    low[:200] = -np.inf  # singular
    histogram = np.zeros((3, len(LOG_EDGES) - 1))
    for name, logs in (("log_min_eigenvalue", low), ("log_condition", condition)):
        clipped = np.clip(logs, LOG_EDGES[0], None)
        histogram[HISTOGRAMS.index(name)] = np.histogram(clipped, LOG_EDGES)[0]
    row = gram.spectrum(histogram, 0.95)
    assert row["singular_fraction"] == 0.04
    expected = {
        "min_eigenvalue_median": np.quantile(low, 0.5),
        "min_eigenvalue_p95": np.quantile(low, 0.95),
        "min_eigenvalue_p05": np.quantile(low, 0.05),
        "condition_median": np.quantile(condition, 0.5),
        "condition_p05": np.quantile(condition, 0.05),
        "condition_p95": np.quantile(condition, 0.95),
    }
    for name, value in expected.items():
        assert abs(np.log(row[name]) - value) <= 2 * BIN, name
    for name, logs in (("min_eigenvalue", low), ("condition", condition)):
        ranks = stats.binom.ppf([0.025, 0.975], 5000, 0.5).astype(int)
        expected_low, expected_high = np.sort(logs)[ranks]
        assert abs(np.log(row[f"{name}_median_low"]) - expected_low) <= 2 * BIN
        assert abs(np.log(row[f"{name}_median_high"]) - expected_high) <= 2 * BIN
    assert row.keys() == gram.SPECTRUM.keys()


def test_mostly_singular_matrices_have_no_smallest_eigenvalue():
    histogram = np.zeros((3, len(LOG_EDGES) - 1))
    histogram[1, 0], histogram[1, 3000] = 90, 10
    histogram[2, -1], histogram[2, 3500] = 90, 10
    row = gram.spectrum(histogram, 0.95)
    assert row["min_eigenvalue_median"] == 0 and row["condition_median"] == np.inf
    assert row["singular_fraction"] == 0.9
