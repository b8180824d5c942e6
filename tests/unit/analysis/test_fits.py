"""Fits of exp(c beta): known lines are recovered, known curves give their known functionals."""

import itertools

import numpy as np
import pytest

from ntkpipe.analysis import fits
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.theory import limit

BETA = np.array([0.05, 0.125, 0.25, 0.5, 1.0])


def _exact(values, half=0.0):
    return [Estimate(float(v), float(v) - half, float(v) + half) for v in values]


def _fit(method, y, half=0.0, exact=None, curve=None):
    return fits.fit("s2", method, BETA, _exact(y, half), exact, curve)


def test_lines_are_recovered():
    assert _fit("origin", 3 * BETA).estimate == pytest.approx(3, rel=1e-14)
    assert _fit("prefactor", 0.7 + 3 * BETA).estimate == pytest.approx(3, rel=1e-13)
    exact = 5 * BETA + np.log(limit.prefactor_limit(BETA))
    row = _fit("exact_prefactor", exact, exact=exact)
    assert (row.estimate, row.reference, row.limit) == pytest.approx((5, 5, 5), rel=1e-13)


@pytest.mark.parametrize("method", ["origin", "prefactor"])
def test_estimates_are_least_squares(method):
    y = np.random.default_rng(0).normal(size=5)
    design = BETA[:, None] if method == "origin" else np.stack([BETA, np.ones(5)], axis=1)
    expected = np.linalg.lstsq(design, y, rcond=None)[0][0]
    assert _fit(method, y).estimate == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", ["origin", "prefactor"])
def test_interval_is_that_of_independent_cells(method):
    row = _fit(method, 3 * BETA, half=0.1)
    a = fits.slope_coefficients(BETA, method == "prefactor")
    assert row.high - row.estimate == pytest.approx(0.1 * np.linalg.norm(a), rel=1e-12)
    assert row.estimate - row.low == pytest.approx(0.1 * np.linalg.norm(a), rel=1e-12)


def test_reference_is_the_same_functional_of_the_exact_values():
    exact = np.log(limit.s2_limit(BETA)) - 0.01
    curve = np.log(limit.s2_limit(BETA))
    row = _fit("prefactor", exact, exact=exact, curve=curve)
    assert row.reference == pytest.approx(row.estimate, rel=1e-13)
    assert row.limit == pytest.approx(_fit("prefactor", curve).estimate, rel=1e-13)
    assert np.isnan(_fit("prefactor", exact).reference) and np.isnan(_fit("prefactor", exact).limit)


@pytest.mark.parametrize(("method", "expected"), [("prefactor", 4.40), ("origin", 4.23)])
def test_straight_lines_through_the_limit_curve(method, expected):
    """docs/theory.md, section 2: on beta in [0.05, 1] log S2 fits 4.40 with an intercept, 4.23 without."""
    beta = np.linspace(0.05, 1, 2000)
    y = np.log(limit.s2_limit(beta))
    assert fits.fit("s2", method, beta, _exact(y), None, None).estimate == pytest.approx(expected, abs=0.005)


def test_too_few_betas():
    one = np.array([0.5, 0.5])
    assert fits.fit("s2", "prefactor", one, _exact([1, 2]), None, None) is None
    assert fits.fit("s2", "origin", one, _exact([1, 2]), None, None) is None
    two = np.array([0.5, 1.0])
    assert fits.fit("s2", "prefactor", two, _exact([1, 2]), None, None) is None  # a line through two points fits itself
    assert fits.fit("s2", "origin", two, _exact([1, 2]), None, None).estimate == pytest.approx(2)
    assert _fit("exact_prefactor", BETA) is None  # no exact values


def test_local_slopes_take_neighbours_in_order_of_beta():
    order = np.array([3, 0, 4, 1, 2])
    y = np.log(limit.s2_limit(BETA))
    rows = fits.local_slopes("s2", BETA[order], _exact(y[order], 0.01), y[order], None)
    assert [(r.beta_min, r.beta_max) for r in rows] == list(itertools.pairwise(BETA))
    np.testing.assert_allclose([r.estimate for r in rows], np.diff(y) / np.diff(BETA), rtol=1e-10)
    np.testing.assert_allclose([r.reference for r in rows], np.diff(y) / np.diff(BETA), rtol=1e-10)
    np.testing.assert_allclose([r.high - r.estimate for r in rows], 0.01 * 2**0.5 / np.diff(BETA), rtol=1e-10)
    assert {r.method for r in rows} == {"local_slope"} and {r.n_cells for r in rows} == {2}


def test_local_slopes_converge_to_the_derivative():
    for step in (0.1, 0.01):
        beta = np.array([0.5 - step / 2, 0.5 + step / 2])
        (row,) = fits.local_slopes("s2", beta, _exact(np.log(limit.s2_limit(beta))), None, None)
        # central difference: step^2/24 times the third derivative of log S2, which is below 3 there
        assert abs(row.estimate - limit.local_slope_limit(0.5)) < step**2 / 8


def test_equal_betas_have_no_local_slope():
    assert fits.local_slopes("s2", np.array([0.5, 0.5]), _exact([1, 2]), None, None) == []


def test_all_fits_use_the_cells_in_range():
    y = np.log(limit.s2_limit(BETA))
    rows = fits.all_fits("s2", BETA, _exact(y, 0.1), y, y, (0.125, 0.5))
    by_method = {r.method: r for r in rows if r.method != "local_slope"}
    assert by_method.keys() == {"origin", "prefactor", "exact_prefactor"}
    for row in by_method.values():
        assert (row.beta_min, row.beta_max, row.n_cells) == (0.125, 0.5, 3)
    assert sum(r.method == "local_slope" for r in rows) == 4
    assert by_method.keys() | {"local_slope"} == fits.METHODS.keys()


def test_all_fits_without_cells_in_range_are_local_slopes():
    rows = fits.all_fits("s2", BETA, _exact(BETA), None, None, (2.0, 3.0))
    assert [r.method for r in rows] == ["local_slope"] * 4
