"""Distances from the limit, their parts and rates: against matrix products, scipy, and coverage of the intervals."""

import numpy as np
import pytest
from scipy import linalg, stats

from ntkpipe.analysis import infinite_width as iw
from ntkpipe.analysis.intervals import mean
from ntkpipe.networks import Network
from ntkpipe.theory import function_space
from ntkpipe.theory.infinite_width import Kernels, kernels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 3))
N = 4
BOTH = kernels(Network(3, (8,), "erf", bias_init="zero", sigma_b=0.4), X)
MODES = function_space.modes(Kernels(BOTH.nngp[:, :N], BOTH.ntk[:, :N]))
Y, START = RNG.standard_normal(N), RNG.standard_normal(6)


def held(intervals, truth):
    """Share of intervals that hold the truth."""
    low, high = np.array([(part.low, part.high) for part in intervals]).T
    return np.mean((low <= truth) & (truth <= high))


def at_least(share, count):
    """A share of count draws that a true share lies under once in 10000 times."""
    return stats.binom.ppf(1e-4, count, share) / count


def test_distances_of_a_kernel_that_is_the_limit_times_a_number():
    theta = BOTH.ntk[:N, :N]
    ntk = np.array([theta, 1.5 * theta, -theta])
    np.testing.assert_allclose(iw.distance(ntk, theta, theta), [0, 0.5, 2], atol=1e-14)
    np.testing.assert_allclose(iw.excess(ntk, theta), [0, 0.5, -2], atol=1e-14)
    off = theta + 0.1 * linalg.null_space(theta.reshape(1, -1))[:, 0].reshape(N, N)
    assert iw.excess(off, theta) == pytest.approx(0, abs=1e-14)
    assert iw.distance(off, theta, theta) == pytest.approx(0.1 / np.linalg.norm(theta), rel=1e-12)


def test_parts_are_sums_over_pairs_and_add_up():
    values = RNG.standard_normal((7, 5)) + 0.3
    found = iw.parts(values, 0.9)
    pairs = [values[i] @ values[j] for i in range(7) for j in range(7) if i != j]
    assert found.bias.value == pytest.approx(np.mean(pairs), rel=1e-12)
    assert found.fluctuation.value == pytest.approx(values.var(axis=0, ddof=1).sum(), rel=1e-12)
    assert found.bias.value + found.fluctuation.value == pytest.approx(np.mean(np.sum(values**2, axis=1)), rel=1e-12)
    for part, statistic in (
        (found.bias, lambda v: (np.sum(v.sum(axis=0) ** 2) - np.sum(v**2)) / (len(v) * (len(v) - 1))),
        (found.fluctuation, lambda v: v.var(axis=0, ddof=1).sum()),
    ):
        jackknife = [statistic(np.delete(values, i, axis=0)) for i in range(7)]
        error = np.sqrt(6 / 7 * np.sum((jackknife - np.mean(jackknife)) ** 2))
        half = stats.t.ppf(0.95, 6) * error
        assert (part.low, part.high) == pytest.approx((part.value - half, part.value + half), rel=1e-9)


def test_parts_leave_out_diverged_runs():
    values = RNG.standard_normal((5, 3))
    lost = np.concatenate([values, np.full((1, 3), np.nan)])
    assert iw.parts(lost, 0.9) == iw.parts(values, 0.9)
    assert np.isnan(iw.parts(values[:2], 0.9).bias.value)


def test_intervals_of_parts_cover():
    """Correlated Gaussian rows with a mean of the size of their standard error; 90 % intervals hold 86 % and more."""
    root, centre, draws = np.tril(np.ones((4, 4))) / 2, np.array([0.4, 0.0, 0.2, 0.3]), 400
    rng = np.random.default_rng(1)
    found = [iw.parts(centre + rng.standard_normal((16, 4)) @ root.T, 0.9) for _ in range(draws)]
    assert held([part.bias for part in found], centre @ centre) >= at_least(0.86, draws)
    assert held([part.fluctuation for part in found], np.trace(root @ root.T)) >= at_least(0.84, draws)


@pytest.mark.parametrize("method", ["gd", "flow"])
def test_the_limit_of_one_network_is_its_recursion(method):
    """f + eta Theta (y - f), step by step, and the solution of the flow, from the network's own start."""
    rate, steps = 0.3 / MODES.values[-1], np.array([0, 1, 5, 12])
    found = iw.linear(MODES, iw.learned(MODES, method, rate, steps, rate * steps), START, Y)
    move = np.pad(BOTH.ntk[:, :N], ((0, 0), (0, 2)))
    rest = np.append(Y, [0, 0])
    for k, row in zip(steps, found, strict=True):
        if method == "gd":
            f = START
            for _ in range(k):
                f = f + rate * BOTH.ntk[:, :N] @ (Y - f[:N])
        else:  # f' = Theta (y - f): an affine system, by one matrix exponential
            generator = np.zeros((7, 7))
            generator[:6, :6], generator[:6, 6] = -move, move @ rest
            f = (linalg.expm(rate * k * generator) @ np.append(START, 1))[:6]
        np.testing.assert_allclose(row, f, rtol=1e-10, atol=1e-12)


def test_own_modes_are_those_of_the_kernel():
    ntk = BOTH.ntk[:, :N].copy()
    ntk[0, 1] *= 1 + 1e-12  # K of a network is symmetric to its rounding
    modes = iw.own_modes(ntk)
    np.testing.assert_allclose(modes.values, np.linalg.eigvalsh(BOTH.ntk[:N, :N]), rtol=1e-9)
    edge = 2 / modes.values[-1]
    assert iw.allows(modes, "gd", 0.99 * edge) and not iw.allows(modes, "gd", 1.01 * edge)
    assert iw.allows(modes, "flow", 10 * edge)


def test_sizes_and_shifts_by_hand():
    gap, m = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([1.0, 2.0])
    np.testing.assert_allclose(iw.rms(gap, 0.5), [np.sqrt(12.5) / 0.5, 0])
    np.testing.assert_allclose(iw.shift(gap, m), [11 / 5, 0])
    assert np.isnan(iw.shift(gap[0], np.zeros(2)))


def test_columns_are_means_with_student_intervals():
    values = RNG.standard_normal((6, 3, 2))
    values[2, 0] = np.nan
    values[1:, 2, 1] = np.nan
    values[:, 1, 1] = np.nan
    found = iw.columns(values, 0.9)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(found[:, i, j], mean(values[:, i, j], 0.9), rtol=1e-12)


def test_the_variance_of_one_point_has_the_exact_interval():
    residuals = RNG.standard_normal((9, 1))
    found = iw.variance_ratio(residuals, np.array([2.0]), np.array([[2.0]]), 0.95)
    assert found.value == pytest.approx(residuals.var(ddof=1) / 2)
    low, high = 8 * residuals.var(ddof=1) / 2 / stats.chi2.ppf([0.975, 0.025], 8)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert np.isnan(iw.variance_ratio(residuals[:1], np.array([2.0]), np.array([[2.0]]), 0.95).value)


def test_intervals_of_the_variance_ratio_cover():
    """Correlated points; the law of the sum is matched in two moments, so 90 % are 87 % at worst."""
    draws, rng = 500, np.random.default_rng(2)
    covariance = np.exp(-np.abs(np.subtract.outer(np.arange(6), np.arange(6))) / 3) * np.outer(*[np.arange(1, 7)] * 2)
    root = np.linalg.cholesky(covariance)
    found = [
        iw.variance_ratio(rng.standard_normal((12, 6)) @ root.T, np.diag(covariance).copy(), covariance, 0.9)
        for _ in range(draws)
    ]
    assert held(found, 1.0) >= at_least(0.87, draws)
    assert held(found, 2.5) < 0.5  # and it would see a variance that is off


WIDTHS = np.array([16.0, 64.0, 256.0, 1024.0])
FREEDOM = np.full(4, 31.0)


@pytest.mark.parametrize("amplitude", [0.7, -0.7])
def test_a_power_without_noise_is_found(amplitude):
    found = iw.power(WIDTHS, amplitude * WIDTHS**-1.0, np.full(4, 1e-9), FREEDOM, 0.95)
    assert found.exponent.value == pytest.approx(-1, abs=2e-3)
    assert found.amplitude == pytest.approx(amplitude, rel=1e-2)
    assert found.exponent.low <= -1 <= found.exponent.high


def test_intervals_of_a_power_cover_where_the_widest_are_noise():
    """Standard errors like width^-1/2 under a mean like 1/width: at the widest nothing is seen, and none is dropped."""
    rng, draws = np.random.default_rng(3), 300
    error = 0.3 / np.sqrt(WIDTHS) / np.sqrt(32)
    found = [iw.power(WIDTHS, 1 / WIDTHS + error * rng.standard_normal(4), error, FREEDOM, 0.9) for _ in range(draws)]
    seen = [part.exponent for part in found if np.isfinite(part.exponent.value)]
    assert len(seen) > 0.95 * draws
    assert held(seen, -1.0) >= at_least(0.87, len(seen))
    assert held(seen, -0.5) < 0.5


def test_cells_off_the_law_widen_the_interval_of_a_power():
    """Where scatter and not the standard error decides, half the error changes nothing."""
    value = WIDTHS**-1.0 * np.array([1.1, 0.9, 1.1, 0.9])
    ends = [iw.power(WIDTHS, value, c * 1e-3 * value, FREEDOM, 0.95) for c in (1.0, 0.5)]
    assert ends[0].exponent == ends[1].exponent and ends[0].exponent.high - ends[0].exponent.low > 0.02
    assert ends[1].scatter == pytest.approx(2 * ends[0].scatter)


def test_no_power_is_given_where_nothing_is_seen():
    error = np.full(4, 1.0)
    for value, widths in ((np.array([0.3, -0.5, 0.2, 0.1]), WIDTHS), (np.full(4, 50.0), np.full(4, 16.0))):
        assert np.isnan(iw.power(widths, value, error, FREEDOM, 0.95).exponent.value)
    one_seen = iw.power(WIDTHS, np.array([5.0, 0.0, 0.0, 0.0]), error, FREEDOM, 0.95).exponent
    assert np.isnan(one_seen.value) or one_seen.low == -np.inf
