"""Matrices of modes by loops, linear dynamics by powers, quantiles and variances by their coverage."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe import angles
from ntkpipe.analysis import sampling
from ntkpipe.analysis.intervals import Estimate


def test_a_kernel_through_modes_by_sums():
    rng = np.random.default_rng(0)
    theta, values = rng.uniform(0, 6, 5), np.array([0.5, 0.3, 0.3])
    kernel, phi = rng.normal(size=(5, 5)), angles.fourier_modes(theta, 1)
    kernel = kernel + kernel.T
    found = sampling.through_modes(kernel, phi, values)
    for a in range(3):
        error = [sum(kernel[i, j] * phi[j, a] for j in range(5)) / 5 - values[a] * phi[i, a] for i in range(5)]
        assert found.action_max[a] == pytest.approx(max(map(abs, error)))
        assert found.action_square[a] == pytest.approx(sum(e * e for e in error) / 5)
        for b in range(3):
            entry = sum(phi[i, a] * kernel[i, j] * phi[j, b] for i in range(5) for j in range(5)) / 25
            assert found.coupling[a, b] == pytest.approx(entry)


def test_errors_by_hand():
    rng = np.random.default_rng(1)
    gram, coupling, action = rng.normal(size=(4, 5, 5)), rng.normal(size=(4, 5, 5)), rng.normal(size=(4, 5))
    found = sampling.errors(gram, coupling, action, np.array([0.9, 0.4, 0.1]))
    off = coupling[2] - np.diag([0.9, 0.4, 0.4, 0.1, 0.1])
    assert found["operator"][2] == pytest.approx(np.sqrt((off**2).sum()))
    assert found["gram entry"][1] == pytest.approx(np.abs(gram[1] - np.eye(5)).max())
    assert found["leakage 2"][0] == pytest.approx(np.sqrt((coupling[0, :3, 3] ** 2).sum()))
    assert found["leakage 0"][0] == pytest.approx(np.sqrt((coupling[0, 1:, 0] ** 2).sum()))
    np.testing.assert_array_equal(found["action 1"], action[:, 1])


def test_linear_descent_is_a_power_of_the_kernel():
    """f(X) = y - (I - eta K)^k y, and elsewhere K(x, X) K^{-1} of it."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(9, 6))
    kernel, y, eta = (root @ root.T)[:, :5], rng.normal(size=(5, 2)), 0.01
    found = sampling.linear_descent(kernel, y, eta, 7)
    left = np.linalg.matrix_power(np.eye(5) - eta * kernel[:5], 7) @ y
    np.testing.assert_allclose(found[:5], y - left, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found[5:], kernel[5:] @ np.linalg.solve(kernel[:5], y - left), rtol=1e-8)
    np.testing.assert_array_equal(sampling.linear_descent(kernel, y, eta, 0), 0.0)


@pytest.mark.parametrize(("n", "p"), [(40, 0.9), (64, 0.9), (25, 0.5)])
def test_order_statistics_are_the_closest_that_cover(n, p):
    """Of values 1 .. n the ends are ranks: their binomial coverage is enough, and no pair further in has both tails."""
    found = sampling.quantile(np.arange(1.0, n + 1), p, 0.95)
    low, high = found.low, found.high
    missed_low = stats.binom.cdf(low - 1, n, p)  # fewer than low values below the quantile
    missed_high = stats.binom.sf(high - 1, n, p)
    assert missed_low <= 0.025 < stats.binom.cdf(low, n, p)
    assert missed_high <= 0.025 < stats.binom.sf(high - 2, n, p)
    assert found.value == pytest.approx(np.quantile(np.arange(1.0, n + 1), p))


def test_few_values_have_no_upper_end():
    found = sampling.quantile(np.append(np.arange(8.0), np.nan), 0.9, 0.95)
    assert found.high == np.inf and np.isfinite(found.low)
    assert np.isnan(sampling.quantile(np.full(3, np.nan), 0.9, 0.95).value)


def test_variance_of_normal_values_covers():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(400):
        found = sampling.normal_variance(2.0 * rng.normal(size=6), 0.9)
        hits += found.low <= 4.0 <= found.high
    assert stats.binom.ppf(0.001, 400, 0.9) <= hits <= stats.binom.ppf(0.999, 400, 0.9)
    assert np.isnan(sampling.normal_variance(np.full(2, np.nan), 0.9).value)


def test_root_of_a_mean_square():
    assert sampling.root_mean_square(Estimate(4.0, -1.0, 9.0)) == Estimate(2.0, 0.0, 3.0)
    assert np.isnan(sampling.root_mean_square(Estimate(4.0, np.nan, np.nan)).low)
