"""eta* and the width at which flips equal the derivative: exact curves, ends of the grid, coverage."""

import numpy as np
import pytest

from ntkpipe.analysis.intervals import Estimate
from ntkpipe.analysis.linear_regime import crossing, departure, equal_width, eta_star

ETAS = np.array([0.01, 0.1, 0.3, 1.0, 3.0])


def test_departure_of_a_linear_step_is_zero():
    np.testing.assert_allclose(departure(ETAS, -0.3 * ETAS, None), 0.0, atol=1e-15)


def test_crossing_is_linear_between_grid_points():
    assert crossing(ETAS, np.array([0.0, 0.02, 0.06, 0.2, 0.6]), 0.1) == pytest.approx(0.3 + 0.7 * 0.04 / 0.14)
    assert crossing(ETAS, np.array([0.0, -0.02, -0.06, -0.2, -5.0]), 0.2) == pytest.approx(1.0)


def test_crossing_takes_the_last_of_several():
    """Noise of the smallest steps is no end of the linear regime."""
    assert crossing(ETAS, np.array([0.3, 0.2, 0.0, 0.2, 0.6]), 0.1) == pytest.approx(0.65)
    assert crossing(ETAS, np.array([0.3, 0.2, 0.0, 0.2, 0.05]), 0.1) == np.inf
    assert crossing(ETAS, np.array([0.3, 0.2, 0.0, -0.2, -0.6]), 0.1) == pytest.approx(0.65)


def test_no_crossing_is_beyond_the_grid():
    assert crossing(ETAS, np.zeros(5), 0.1) == np.inf


def _blocks(rng, count: int, noise: float) -> np.ndarray:
    """Steps with E[DeltaK] = -eta (1 + 0.5 eta), the same networks at all eta: c = eta/2, eta* = 0.2 at 10 %."""
    scale = rng.lognormal(-(noise**2) / 8, noise / 2, size=(count, 1))
    bend = 0.5 * rng.gamma(1 / noise**2, noise**2, size=(count, 1))
    return -ETAS * scale * (1 + bend * ETAS)


def test_eta_star_of_an_exact_curve():
    assert crossing(ETAS, departure(ETAS, -ETAS * (1 + 0.5 * ETAS), -1.0), 0.1) == pytest.approx(0.2)
    value, low, high = eta_star(ETAS, _blocks(np.random.default_rng(0), 400, 1e-6), -np.ones(400), 0.1, 0.95)
    exact = crossing(ETAS, departure(ETAS, -ETAS * (1 + 0.5 * ETAS), -1.0), 0.1)
    assert value == pytest.approx(exact, rel=1e-4)
    assert low <= value <= high


def test_eta_star_interval_covers():
    """90 % intervals over 200 repetitions: between 84 % and 96 % hold eta* (4 binomial standard errors are 8.5 %)."""
    rng = np.random.default_rng(1)
    exact = crossing(ETAS, departure(ETAS, -ETAS * (1 + 0.5 * ETAS), -1.0), 0.1)
    held = 0
    for _ in range(200):
        _, low, high = eta_star(ETAS, _blocks(rng, 200, 1.0), -rng.lognormal(-0.02, 0.2, 200), 0.1, 0.9)
        held += low <= exact <= high
    assert 0.815 < held / 200 < 0.985


def test_eta_star_beyond_the_grid_is_infinite_and_nan_is_nothing():
    linear = np.outer(np.ones(64), -ETAS)
    assert eta_star(ETAS, linear, None, 0.1, 0.95) == (np.inf, np.inf, np.inf)
    assert eta_star(ETAS, linear, linear[:, 0] / ETAS[0], 0.1, 0.95) == (np.inf, np.inf, np.inf)
    assert np.isnan(eta_star(ETAS, linear * np.nan, None, 0.1, 0.95).value)
    assert np.isnan(eta_star(ETAS[:1], linear[:, :1], None, 0.1, 0.95).value)


def test_without_a_slope_the_smallest_step_stands_for_it():
    blocks = _blocks(np.random.default_rng(2), 64, 1e-6)
    slope = blocks[:, 0] / ETAS[0]
    assert eta_star(ETAS, blocks, None, 0.1, 0.95) == pytest.approx(eta_star(ETAS, blocks, slope, 0.1, 0.95))


def test_a_smallest_step_that_departs_already_is_the_bound():
    assert crossing(ETAS, np.array([0.3, 0.4, 0.5, 0.6, 0.7]), 0.1) == ETAS[0]


def test_equal_width_of_an_exact_line():
    widths = np.array([16.0, 64.0, 256.0])
    ratios = [Estimate(y, y, y) for y in -0.5 * np.log(widths / 100)]
    value, low, high = equal_width(widths, ratios)
    assert value == pytest.approx(100.0, rel=1e-9)
    assert low <= 100.0 * 1.02 and high >= 100.0 * 0.98  # the grid's spacing


def test_equal_width_interval_opens_where_the_slope_is_uncertain():
    widths = np.array([16.0, 32.0])
    value, _, high = equal_width(widths, [Estimate(1.0, 0.5, 1.5), Estimate(0.8, 0.3, 1.3)])
    assert value > 32 and high == np.inf
