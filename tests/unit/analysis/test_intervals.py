"""Intervals: exact cases, invariances, order statistics. Their coverage is tests/laws/test_coverage.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ntkpipe.analysis import intervals
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.drawing import LOG_EDGES


def _columns(rng, n=400, sigma=0.5):
    k = rng.lognormal(sigma=sigma, size=n)
    return np.stack([k**2, k, np.ones(n)], axis=1)


S2 = (1.0, -2.0, 1.0)


def test_coarsen_adds_neighbours_and_loses_nothing():
    columns = np.arange(2 * 1301.0).reshape(1301, 2)
    coarse = intervals.coarsen(columns, blocks=512)
    assert coarse.shape == (434, 2)  # 3 a block, the last one of 2
    np.testing.assert_array_equal(coarse[0], columns[:3].sum(0))
    np.testing.assert_array_equal(coarse[-1], columns[1299:].sum(0))
    np.testing.assert_array_equal(coarse.sum(0), columns.sum(0))
    np.testing.assert_array_equal(intervals.coarsen(columns[:512]), columns[:512])


def test_log_linear_value_is_the_ratio_of_means():
    columns = _columns(np.random.default_rng(0))
    value = intervals.log_linear(columns, S2, 0.95).value
    assert value == pytest.approx(columns[:, 0].mean() / columns[:, 1].mean() ** 2, rel=1e-13)


def test_log_linear_of_light_tails_is_the_normal_interval():
    """With 512 blocks and tails like a chi-square's the bootstrap-t is Gaussian +- 1.96 standard errors."""
    x = np.random.default_rng(1).gamma(8.0, size=4096)
    got = intervals.log_linear(np.stack([x, np.ones_like(x)], axis=1), (1.0, -1.0), 0.95)
    half = 1.96 * x.std(ddof=1) / x.mean() / np.sqrt(len(x))
    # A 2.5 % quantile of 999 resamples has a standard error of sqrt(.025 .975/999)/phi(1.96) = 0.085
    # of 1.96; the standard error from 512 blocks one of 3 %: together 5.3 %, times 4.
    for end, sign in ((got.low, -1), (got.high, 1)):
        assert np.log(end / got.value) == pytest.approx(sign * half, rel=0.22)


def test_log_linear_is_lopsided_towards_an_unseen_tail():
    columns = _columns(np.random.default_rng(2), sigma=1.0)
    got = intervals.log_linear(columns, S2, 0.95)
    assert got.low < got.value < got.high
    assert np.log(got.high / got.value) > 1.2 * np.log(got.value / got.low)


def test_log_linear_widens_with_confidence_and_narrows_with_draws():
    rng = np.random.default_rng(3)
    few, many = _columns(rng, 300), _columns(rng, 30_000)
    spans = [np.log(e.high / e.low) for e in (intervals.log_linear(few, S2, c) for c in (0.8, 0.95, 0.99))]
    assert spans[0] < spans[1] < spans[2]
    wide = intervals.log_linear(many, S2, 0.95)
    assert np.log(wide.high / wide.low) == pytest.approx(spans[1] / 10, rel=0.5)


@pytest.mark.parametrize("scale", [1e-200, 3.0, 1e200])
def test_log_linear_has_no_unit(scale):
    columns = _columns(np.random.default_rng(4))
    base = intervals.log_linear(columns, S2, 0.95)
    scaled = intervals.log_linear(columns * [scale, 1.0, 1.0], S2, 0.95)
    np.testing.assert_allclose(np.log(scaled), np.log(base) + np.log(scale), rtol=0, atol=1e-10)


def test_log_linear_is_reproducible_and_leaves_numpys_generator_alone():
    columns = _columns(np.random.default_rng(5))
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    assert intervals.log_linear(columns, S2, 0.95) == intervals.log_linear(columns, S2, 0.95)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_log_linear_of_a_constant_has_no_width():
    columns = np.full((100, 3), 2.0)
    np.testing.assert_allclose(intervals.log_linear(columns, S2, 0.95), [1.0, 1.0, 1.0], rtol=1e-14)


def test_log_linear_where_there_is_nothing_to_say():
    assert np.isnan(intervals.log_linear(np.zeros((10, 3)), S2, 0.95)).all()
    assert np.isnan(intervals.log_linear(np.full((10, 3), np.inf), S2, 0.95)).all()
    value, low, high = intervals.log_linear(np.array([[4.0, 1, 1], [2.0, 1, 1]]), S2, 0.95)
    assert value == pytest.approx(3) and np.isnan(low) and np.isnan(high)


def test_ratio_of_equal_blocks_is_students_interval():
    x = np.random.default_rng(6).normal(3.0, 1.0, size=60)
    got = intervals.ratio(x, np.ones(60), 0.9)
    low, high = stats.t.interval(0.9, 59, loc=x.mean(), scale=stats.sem(x))
    np.testing.assert_allclose(got, [x.mean(), low, high], rtol=1e-12)


def test_ratio_counts_uneven_blocks_by_their_size():
    x = np.random.default_rng(7).normal(3.0, 1.0, size=1000)
    size = np.array([10] * 90 + [50] * 2)
    sums = np.add.reduceat(x, np.concatenate([[0], np.cumsum(size)[:-1]]))
    got = intervals.ratio(sums, size.astype(float), 0.95)
    assert got.value == pytest.approx(x.mean(), rel=1e-13)
    # the standard error of 1000 independent draws; from 92 uneven blocks it is known to 4 x 10 %
    assert (got.high - got.low) / (2 * 1.99) == pytest.approx(1 / np.sqrt(1000), rel=0.4)


def test_ratio_where_there_is_nothing_to_say():
    assert np.isnan(intervals.ratio(np.zeros(5), np.zeros(5), 0.95)).all()
    value, low, high = intervals.ratio(np.array([1.0, 2.0]), np.ones(2), 0.95)
    assert value == 1.5 and np.isnan(low) and np.isnan(high)


# --- quantiles --------------------------------------------------------------------------------

BIN = LOG_EDGES[1] - LOG_EDGES[0]


def _histogram(values):
    return np.histogram(values, LOG_EDGES)[0].astype(float)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("n", [200, 5000])
def test_quantile_interval_is_that_of_order_statistics(n, p):
    x = np.sort(np.random.default_rng(8).normal(size=n))
    got = intervals.quantile(_histogram(x), LOG_EDGES, p, 0.95)
    low, high = stats.binom.ppf([0.025, 0.975], n, p).astype(int)
    # P(N < low) < 2.5 %, so X_(low) bounds from below (1-based), X_(high + 1) from above; the code
    # takes one rank more below. A histogram knows a rank's value to its bin, or, in a gap, to the gap.
    assert x[low - 2] - BIN <= got.low <= max(x[low - 2] + BIN, x[low - 1])
    assert x[high] - BIN <= got.high <= max(x[high] + BIN, x[high + 1])
    assert abs(got.value - np.quantile(x, p)) <= BIN + np.diff(x[int(p * n) - 2 : int(p * n) + 2]).max()


@given(n=st.integers(1, 30), seed=st.integers(0, 100))
def test_quantile_interval_of_few_draws_claims_no_more_than_they_say(n, seed):
    """The widest interval of order statistics, (min, max), covers the median with 1 - 2^(1-n) only.

    So up to 5 draws there is no finite interval of 95 %, and an end must be infinite.
    """
    x = np.random.default_rng(seed).normal(size=n)
    got = intervals.quantile(_histogram(x), LOG_EDGES, 0.5, 0.95)
    low, high = stats.binom.ppf([0.025, 0.975], n, 0.5)
    assert (got.low == -np.inf) == (low < 1)
    assert (got.high == np.inf) == (high + 1 > n)


def test_quantile_in_the_outer_bins_is_infinite():
    counts = np.zeros(len(LOG_EDGES) - 1)
    counts[[0, 3000]] = 60, 40  # 60 % dead
    got = intervals.quantile(counts, LOG_EDGES, 0.5, 0.95)
    assert (got.value, got.low) == (-np.inf, -np.inf)
    assert LOG_EDGES[3000] <= got.high <= LOG_EDGES[3001] or got.high == -np.inf
    counts[[0, -1]] = 0, 200
    assert intervals.quantile(counts, LOG_EDGES, 0.5, 0.95).value == np.inf


def test_quantile_of_several_values_a_draw_counts_draws():
    x = np.random.default_rng(9).normal(size=(500, 8))
    counts = _histogram(x.ravel()) / 8
    as_draws = intervals.quantile(counts, LOG_EDGES, 0.5, 0.95)
    as_values = intervals.quantile(counts * 8, LOG_EDGES, 0.5, 0.95)
    assert as_draws == intervals.quantile(counts * 8, LOG_EDGES, 0.5, 0.95, draws=500)
    assert as_draws.high - as_draws.low > 2 * (as_values.high - as_values.low)


def test_quantile_of_nothing():
    assert np.isnan(intervals.quantile(np.zeros(4), np.arange(5.0), 0.5, 0.95)).all()


# --- sums of estimates ------------------------------------------------------------------------


def test_linear_combination_of_symmetric_intervals_adds_squares():
    got = intervals.linear_combination(np.array([2.0, -3.0]), [Estimate(1, 0.9, 1.1), Estimate(5, 4.8, 5.2)])
    half = np.hypot(2 * 0.1, 3 * 0.2)
    np.testing.assert_allclose(got, [-13, -13 - half, -13 + half], rtol=1e-13)


def test_linear_combination_keeps_sides_and_swaps_them_under_a_minus():
    lopsided = Estimate(1.0, 0.9, 1.5)
    np.testing.assert_allclose(intervals.linear_combination(np.array([2.0]), [lopsided]), [2, 1.8, 3])
    np.testing.assert_allclose(intervals.linear_combination(np.array([-1.0]), [lopsided]), [-1, -1.5, -0.9])


def test_a_mean_of_known_values_has_students_interval():
    values = np.array([1.0, np.nan, 2.0, 4.0, np.inf, 3.0])
    found = intervals.mean(values, 0.9)
    known = values[np.isfinite(values)]
    low, high = stats.t.interval(0.9, 3, known.mean(), stats.sem(known))
    np.testing.assert_allclose(found, [2.5, low, high], rtol=1e-14)
    np.testing.assert_array_equal(intervals.mean(values[:2], 0.9), [1.0, np.nan, np.nan])
    assert np.isnan(intervals.mean(values[:0], 0.9)).all()
