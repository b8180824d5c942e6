"""The double-scaling limit: closed form, ends, slopes, and how fast finite widths reach it."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from ntkpipe.networks import Network
from ntkpipe.theory import limit, moments

BETAS = [1e-6, 1e-3, 0.008, 0.0083, 0.0084, 0.009, 0.05, 0.3, 1.0, 4.0, 20.0]


def _closed_form(beta):
    """[(9 b^2 + 6 b - 1) e^{5b} + e^{-b}]/(27 b^2) in 60 digits, where nothing cancels."""
    with localcontext() as context:
        context.prec = 60
        b = Decimal(beta)
        return ((9 * b * b + 6 * b - 1) * (5 * b).exp() + (-b).exp()) / (27 * b * b)


# Below z = 6 beta = 0.05 the series leaves out (4/3) z^6/40320 < 6e-13; above, 1 - exprel(-z) cancels
# to z/2 > 0.025, a loss of 40 ulp (5e-15).
ERROR = 1e-12


@pytest.mark.parametrize("beta", BETAS)
def test_closed_form(beta):
    assert limit.s2_limit(beta) == pytest.approx(float(_closed_form(beta)), rel=ERROR, abs=0)


@pytest.mark.parametrize("beta", BETAS)
def test_prefactor_is_s2_over_exp_5_beta(beta):
    with localcontext() as context:
        context.prec = 60
        expected = float(_closed_form(beta) / (5 * Decimal(beta)).exp())
    assert limit.prefactor_limit(beta) == pytest.approx(expected, rel=ERROR, abs=0)


@pytest.mark.parametrize("beta", BETAS)
def test_local_slope_is_the_derivative(beta):
    with localcontext() as context:
        context.prec = 60
        h = Decimal(beta) / 10**12
        up, down = (_closed_form(Decimal(beta) + s * h).ln() for s in (1, -1))
        expected = float((up - down) / (2 * h))
    # The series leaves out 8 z^5/6720 < 4e-10 (z < 0.05); above it terms of 1/z < 20 cancel to 1/6.
    assert limit.local_slope_limit(beta) == pytest.approx(expected, rel=0, abs=5e-10)


def test_ends():
    assert limit.s2_limit(0.0) == 1
    assert limit.prefactor_limit(0.0) == 1
    assert limit.local_slope_limit(0.0) == pytest.approx(11 / 3, rel=1e-15)
    # prefactor - 1/3 = (4/3)/z (1 - 1/z) for large z = 6 beta
    assert limit.prefactor_limit(1e6) == pytest.approx(1 / 3, abs=1e-6)
    assert limit.local_slope_limit(1e6) == pytest.approx(5, abs=1e-6)


def test_slope_rises_and_prefactor_falls():
    beta = np.linspace(0, 30, 3001)
    assert np.all(np.diff(limit.local_slope_limit(beta)) > 0)
    assert np.all(np.diff(limit.prefactor_limit(beta)) < 0)


def test_arrays_keep_their_shape():
    beta = np.array([[0.0, 0.001], [0.1, 4.0]])
    for function in (limit.s2_limit, limit.prefactor_limit, limit.local_slope_limit):
        np.testing.assert_array_equal(function(beta), [[function(float(b)) for b in row] for row in beta])


@pytest.mark.parametrize("beta", [0.125, 0.5, 1.0, 2.0])
def test_finite_widths_approach_the_limit_at_rate_one_over_width(beta):
    widths = [64, 128, 256, 512, 1024]
    error = [moments.s2(Network(10, (n,) * round(beta * n)), 1.0) / limit.s2_limit(beta) - 1 for n in widths]
    rates = np.log2(np.abs(error[:-1]) / np.abs(error[1:]))
    assert np.all(np.sign(error) == np.sign(error[0]))
    # error = A/n + B/n^2: the measured rate is 1 + (B/A)/n to first order, so its own error halves.
    assert abs(rates[-1] - 1) < 0.03
    assert abs(rates[-1] - 1) < 0.6 * abs(rates[-2] - 1) + 1e-3


def test_unequal_widths_do_not_follow_the_limit():
    """Blocks of n and 10 n at one beta: 12 % off at beta = 0.5 (docs/theory.md, section 2)."""
    n = 512
    blocks = Network(10, (n,) * (n // 4) + (10 * n,) * (10 * n // 4))
    assert blocks.beta == pytest.approx(0.5)
    ratio = moments.s2(blocks, 1.0) / limit.s2_limit(0.5)
    same_widths = moments.s2(Network(10, (n,) * (n // 2)), 1.0) / limit.s2_limit(0.5)
    assert ratio == pytest.approx(1.12, abs=0.01)
    assert abs(same_widths - 1) < 0.02  # while equal widths have arrived
