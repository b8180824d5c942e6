"""The pieces of the width-free sampler: binomials from bits, chi-squares, the walk."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.engines import scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream


@pytest.mark.parametrize("n", [1, 2, 7, 63, 64, 65, 128, 200, 256, 257, 1000])
def test_active_units_are_binomial(n):
    m = scalar.active_units(np.random.default_rng(n), n, 20_000)
    assert m.min() >= 0 and m.max() <= n
    values = np.arange(n + 1)
    expected = stats.binom.pmf(values, n, 0.5) * 20_000
    observed = np.bincount(m, minlength=n + 1)
    rare = expected < 10  # chi-square wants ten a class: the tails are put together
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    assert stats.chisquare(observed[keep], expected[keep]).pvalue > 1e-4  # 11 comparisons, fixed seeds


@pytest.mark.parametrize("degrees", [1, 2, 9])
def test_chi_square(degrees):
    x = scalar.chi_square(np.random.default_rng(0), np.full(5000, degrees))
    assert stats.kstest(x, stats.chi2(degrees).cdf).pvalue > 1e-4


def test_chi_square_without_degrees_of_freedom_is_zero():
    x = scalar.chi_square(np.random.default_rng(0), np.array([0, -1, 1]))
    assert list(x[:2]) == [0.0, 0.0] and x[2] > 0


def test_walk_by_hand():
    """Two hidden layers with given (m, a, b), against the sum over layers of docs/theory.md, section 2."""
    net = Network(3, (4, 5), bias_init="zero", sigma_b=0.7, sigma_v=1.5)
    g, (a1, b1), (a2, b2) = 0.8, (2.5, 1.5), (3.0, 2.0)
    v1, v2, v3 = 2 / 3, 2 / 4, 2.25 / 5
    r1, r2 = v1 * a1, v2 * a2
    f2 = v3 * g**2
    f1 = r2 * f2
    d2 = f2 + v3 * b2
    d1 = f1 + v2 * b1 * d2
    norm = 1.3
    expected = (v1 * norm + 0.49) * d1 + (v2 * norm * r1 + 0.49) * d2 + (v3 * norm * r1 * r2 + 0.49)
    walk = scalar.State(net, np.array([g]))
    walk.step(np.array([3]), np.array([a2]), np.array([b2]))
    walk.step(np.array([3]), np.array([a1]), np.array([b1]))
    draws = walk.draws(norm, np.array([-1.0]), np.zeros(1))
    np.testing.assert_allclose(draws.ntk, expected, rtol=1e-14)
    np.testing.assert_allclose(draws.output, -np.sqrt(norm * r1 * r2 * v3) * g, rtol=1e-14)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_dead_layer_anywhere_leaves_the_output_bias(layer):
    net = Network(3, (4, 4, 4), bias_init="zero", sigma_b=0.7)
    walk = scalar.State(net, np.array([1.0, 1.0]))
    for k in (2, 1, 0):
        m = np.array([0 if k == layer else 2, 2])
        walk.step(m, np.where(m > 0, 2.0, 0.0), np.where(m > 0, 1.0, 0.0))
    draws = walk.draws(1.0, np.ones(2), np.zeros(2))
    assert draws.ntk[0] == pytest.approx(0.49, rel=1e-15) and draws.output[0] == 0
    assert draws.ntk[1] > 0.49 and draws.output[1] != 0


def test_output_is_even_and_never_zero_in_a_wide_network():
    draws = scalar.sample(Network(3, (64, 64)), np.ones((1, 3)), Stream(0, "a"), 0, 1024)
    assert np.all(draws.output != 0)
    assert stats.binomtest(int(np.sum(draws.output > 0)), 1024).pvalue > 1e-4
