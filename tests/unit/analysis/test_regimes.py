"""Regimes, thresholds and predictors: exact cases, coverage of the intervals, ends of the grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ntkpipe.analysis import regimes
from ntkpipe.analysis.collapse import cell_means, known_log
from ntkpipe.analysis.intervals import Estimate

REPETITIONS = 200
FOUR_ERRORS = 4 * np.sqrt(0.9 * 0.1 / REPETITIONS)  # 0.085


def test_classify():
    runs = [  # size, diverged, dead
        (0.01, False, False, "lazy"),
        (0.1, False, False, "weak"),
        (0.99, False, False, "weak"),
        (1.0, False, False, "strong"),
        (np.inf, False, False, "strong"),
        (np.nan, False, False, "unknown"),
        (0.01, True, False, "unstable"),
        (np.nan, True, True, "unstable"),
        (1.0, False, True, "dead"),
        (0.01, False, True, "dead"),
        (np.nan, False, True, "dead"),
    ]
    size, diverged, dead, expected = (np.array(column) for column in zip(*runs, strict=True))
    assert list(regimes.classify(size, diverged, dead, 0.1, 1.0)) == list(expected)
    assert set(expected) == set(regimes.REGIMES)
    for lazy in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"lazy must be positive and below strong, were {lazy} and 1.0"):
            regimes.classify(size, diverged, dead, lazy, 1.0)


def test_fractions_count_all_runs_of_a_cell():
    got = regimes.fractions(np.array([*regimes.REGIMES, "lazy", "lazy"]), np.array([4] * 6 + [2] * 2), 0.95)
    assert {name: e.value for name, e in got[4].items()} == pytest.approx(dict.fromkeys(regimes.REGIMES, 1 / 6))
    assert {name: e.value for name, e in got[2].items()} == {name: float(name == "lazy") for name in regimes.REGIMES}


def test_fraction_of_none_hit_is_the_known_bound():
    """0 of 8: high is 1 - (tail)^(1/8)."""
    exact = stats.binomtest(3, 8).proportion_ci(0.9, method="exact")
    assert regimes.fraction(3, 8, 0.9) == pytest.approx((3 / 8, exact.low, exact.high))
    assert regimes.fraction(0, 8, 0.95) == pytest.approx((0, 0, 1 - 0.025**0.125))
    assert np.isnan(regimes.fraction(0, 0, 0.95)).all()


def test_exact_intervals_of_8_seeds_cover_and_wilsons_do_not():
    """Coverage summed over the 9 outcomes, no simulation."""
    p = np.linspace(0.001, 0.999, 999)[:, None]
    k = np.arange(9)

    def least(ends):
        low, high = np.array(ends).T
        return np.min(np.sum(stats.binom.pmf(k, 8, p) * ((low <= p) & (p <= high)), axis=1))

    assert least([regimes.fraction(int(i), 8, 0.95)[1:] for i in k]) >= 0.95
    assert least([tuple(stats.binomtest(int(i), 8).proportion_ci(0.95, method="wilson")) for i in k]) < 0.85


def _hits(counts, seeds=8, x=None):
    grid = 2.0 ** np.arange(len(counts)) if x is None else x
    return np.repeat(grid, seeds), np.concatenate([np.arange(seeds) < c for c in counts])


def test_fraction_threshold_of_a_sharp_step():
    """Separation, where logistic regression has no solution: between the two loads, value in the (log) middle."""
    assert regimes.fraction_threshold(*_hits([0, 0, 8, 8]), 0.95) == pytest.approx((8**0.5, 2, 4))


def test_fraction_threshold_is_log_linear_between_neighbours():
    value, low, high = regimes.fraction_threshold(*_hits([0, 2, 6, 8]), 0.95)
    assert (value, low, high) == pytest.approx((8**0.5, 1, 8))
    assert regimes.fraction_threshold(*_hits([0, 3, 7, 8]), 0.95).value == pytest.approx(2 * 2**0.25)


def test_fraction_threshold_pools_what_does_not_grow():
    """2/8 then 0/8 are 1/8 each; the 2/8 is no evidence below 1/2, so the interval starts before it."""
    got = regimes.fraction_threshold(*_hits([0, 2, 0, 7]), 0.95)
    assert got == pytest.approx((4 * 2 ** ((4 - 1) / (7 - 1)), 1, np.inf))


def test_fraction_threshold_beyond_the_grid():
    assert regimes.fraction_threshold(*_hits([0, 0, 0]), 0.95) == (np.inf, 4, np.inf)
    assert regimes.fraction_threshold(*_hits([8, 8, 8]), 0.95) == (0, 0, 1)
    assert regimes.fraction_threshold(*_hits([0, 0, 8, 8], seeds=5), 0.95).low == 0  # all 5 of 5: too few
    assert regimes.fraction_threshold(*_hits([0, 0, 8, 8], seeds=5), 0.95).high == np.inf
    assert np.isnan(regimes.fraction_threshold(np.empty(0), np.empty(0, bool), 0.95)).all()


def test_equal_x_of_several_cells_are_pooled():
    x, hit = _hits([1, 7], seeds=8, x=np.array([1.0, 1.0]))
    assert regimes.fraction_threshold(x, hit, 0.95) == (0.0, 0.0, np.inf)  # half at the smallest x


@given(st.lists(st.integers(0, 8), min_size=1, max_size=7), st.sampled_from([0.5, 0.9, 0.99]))
def test_fraction_threshold_lies_in_its_interval(counts, confidence):
    """Whatever the counts, also where they fall with x; so the interval is never empty."""
    value, low, high = regimes.fraction_threshold(*_hits(counts), confidence)
    assert low <= value <= high and low < high


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("p", "bracket"),
    [
        ((0.02, 0.1, 0.3, 0.7, 0.9, 1.0), (2, 3)),
        ((0.45, 0.5, 0.5, 0.5, 0.5, 0.5), (0, 1)),  # many chances to be misled
    ],
)
def test_fraction_threshold_covers(p, bracket, shared):
    """At least 90 %, less 4 binomial errors, with seeds of their own at each x and with the same ones at all x."""
    rng = np.random.default_rng(0)
    x = np.arange(1.0, 7.0)
    held = 0
    for _ in range(REPETITIONS):
        u = np.tile(rng.uniform(size=8), (6, 1)) if shared else rng.uniform(size=(6, 8))
        hit = u < np.array(p)[:, None]
        _, low, high = regimes.fraction_threshold(np.repeat(x, 8), hit.ravel(), 0.9)
        held += low <= x[bracket[0]] and x[bracket[1]] <= high
    assert held / REPETITIONS > 0.9 - FOUR_ERRORS


def _runs(seeds=8, betas=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0)):
    return np.repeat(np.array(betas), seeds), np.repeat(np.arange(len(betas)), seeds)


def _size_threshold(log_size, beta, cell, tolerance, confidence=0.9):
    return regimes.size_threshold(beta, cell_means(log_size, cell), tolerance, confidence)


def test_size_threshold_of_an_exact_line():
    beta, cell = _runs(2)
    got = _size_threshold(0.5 + 0.7 * np.log(beta), beta, cell, np.exp(0.5) * 0.3**0.7)
    assert got == pytest.approx((0.3, 0.3, 0.3), rel=1e-6)


def test_size_threshold_beyond_the_grid():
    beta, cell = _runs(2)
    line = 0.7 * np.log(beta)
    assert _size_threshold(line, beta, cell, 1.1) == (np.inf,) * 3
    assert _size_threshold(line, beta, cell, 0.01) == (0,) * 3
    noise = 0.3 * np.random.default_rng(1).normal(size=len(beta))
    value, low, high = _size_threshold(line + noise, beta, cell, 0.98)
    assert 0.3 < low < 1 and value > low and high == np.inf
    value, low, high = _size_threshold(line + noise, beta, cell, 0.02**0.7 * 1.02)
    assert low == 0 and value < high and 0.02 < high < 0.07


def test_size_threshold_of_sizes_that_do_not_grow():
    beta, cell = _runs(4)
    assert np.isnan(_size_threshold(-0.7 * np.log(beta), beta, cell, 3.0).value)
    flat = np.random.default_rng(2).normal(size=len(beta))
    assert _size_threshold(flat, beta, cell, float(np.exp(flat.mean())))[1:] == (0, np.inf)
    assert np.isnan(_size_threshold(flat[:4], beta[:4], cell[:4], 1.0)).all()  # one beta


def test_size_threshold_lies_in_its_interval():
    """Also with three cells, where the few degrees of freedom of the lack of fit open the line's ends unequally."""
    rng = np.random.default_rng(2)
    beta, cell = _runs(8, (0.005, 0.02, 0.1))
    for tolerance in np.exp(rng.uniform(-3, 0, size=REPETITIONS)):
        log_size = 0.5 * np.log(beta) + (0.3 * rng.normal(size=3))[cell] + 0.2 * rng.normal(size=len(cell))
        value, low, high = _size_threshold(log_size, beta, cell, tolerance)
        assert low <= value <= high


@pytest.mark.parametrize(
    ("seeds", "truth", "excess"),
    [(8, 0.15, 0), (3, 0.15, 0), (8, 0.9, 0), (8, 0.15, 0.1), (8, 0.15, 0.3), (8, 0.9, 0.3)],
)
def test_size_threshold_covers(seeds, truth, excess):
    """90 % of 200, to 4 binomial errors; noise that grows with beta, close to the end of the grid, cells off the line.

    The excess is that of a cell's log size over the line, up to the seeds' own spread; the line is the truth.
    """
    rng = np.random.default_rng(3)
    beta, cell = _runs(seeds)
    held = 0
    for _ in range(REPETITIONS):
        log_size = 0.6 * np.log(beta) + 0.3 * (1 + beta) * rng.normal(size=len(beta))
        log_size += excess * rng.normal(size=len(np.unique(cell)))[cell]
        _, low, high = _size_threshold(log_size, beta, cell, truth**0.6)
        held += low <= truth <= high
    assert held / REPETITIONS == pytest.approx(0.9, abs=FOUR_ERRORS)


def test_mid_ranks_are_ranks_of_repeated_runs():
    rng = np.random.default_rng(4)
    values = np.round(rng.normal(size=20), 1)
    weights = rng.integers(0, 4, size=(3, 20))
    got = regimes.mid_ranks(values, weights.astype(float))
    for row, w in zip(got, weights, strict=True):
        expected = stats.rankdata(np.repeat(values, w))
        np.testing.assert_allclose(np.repeat(row, w) + 0.5, expected, rtol=1e-14)


def test_predictors_are_spearmans_correlations():
    rng = np.random.default_rng(5)
    cell = np.repeat(np.arange(6), 5)
    first, second, noise = cell * 0.1, rng.normal(size=30) + cell, rng.normal(size=30)
    for outcome in (second + noise, second + noise > 2):
        got = regimes.predictors(first, second, outcome, cell, 0.9)
        one, two = (stats.spearmanr(x, outcome).statistic for x in (first, second))
        assert (got.first.value, got.second.value, got.difference.value) == pytest.approx((one, two, two - one))
        for part in got:
            assert part.low < part.value < part.high
    spoiled = np.where(np.arange(30) == 7, np.nan, second)
    rest = np.arange(30) != 7
    with_nan, without = (
        regimes.predictors(first[r], s[r], noise[r], cell[r], 0.9) for r, s in ((slice(None), spoiled), (rest, second))
    )
    assert with_nan == without


def test_predictors_of_perfect_order_and_of_too_little():
    cell = np.repeat(np.arange(5), 2)
    x = np.arange(10.0)
    up, down, difference = regimes.predictors(x, -(x**3), np.exp(x), cell, 0.9)
    assert up == pytest.approx((1, 1, 1)) and down == pytest.approx((-1, -1, -1))
    assert difference == pytest.approx((0, 0, 0))
    constant = regimes.predictors(x, np.ones(10), x, cell, 0.9)
    assert constant.first.value == 1 and np.isnan([*constant.second, *constant.difference]).all()
    three = regimes.predictors(x[:6], x[:6], x[:6], cell[:6], 0.9)
    assert three.first.value == pytest.approx(1) and np.isnan(three.first.low)
    nothing = regimes.predictors(x * np.nan, x, x, cell, 0.9)
    assert nothing.first == pytest.approx(Estimate(np.nan, np.nan, np.nan), nan_ok=True)


def test_predictors_cover():
    """Normal cells and seeds, where Spearman's is (6/pi) asin(rho/2): rho = 0.72 and 0.9; 90 %, to 4 binomial errors.

    The difference holds more (94 % in 800 repetitions).
    """
    rng = np.random.default_rng(6)
    cells, seeds = 24, 3
    cell = np.repeat(np.arange(cells), seeds)
    one, two = (6 / np.pi * np.arcsin(rho / 2) for rho in (0.72, 0.9))
    held = np.zeros(3)
    for _ in range(REPETITIONS):
        first, own = rng.normal(size=(2, cells))[:, cell]
        second = 0.8 * first + 0.6 * (own + rng.normal(size=len(cell))) / 2**0.5
        outcome = 0.9 * second + 0.19**0.5 * rng.normal(size=len(cell))
        got = np.array(regimes.predictors(first, second, outcome, cell, 0.9))
        held += (got[:, 1] <= [one, two, two - one]) & ([one, two, two - one] <= got[:, 2])
    np.testing.assert_allclose(held / REPETITIONS, 0.9, rtol=0, atol=FOUR_ERRORS)


def test_discrimination_is_the_share_of_pairs_in_order():
    """Against all pairs counted one by one, ties half; and with whole cells as draws."""
    rng = np.random.default_rng(3)
    cell = np.repeat(np.arange(12), 20)
    hit = rng.random(240) < 0.4
    first, second = rng.integers(0, 6, 240).astype(float), hit + rng.normal(size=240)
    found = regimes.discrimination(first, second, hit, cell, 0.95)
    for values, area in ((first, found.first), (second, found.second)):
        pairs = np.subtract.outer(values[hit], values[~hit])
        assert area.value == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2, rel=1e-12)
        assert 0 <= area.low < area.value < area.high <= 1
    assert found.difference.value == pytest.approx(found.second.value - found.first.value)
    assert found.first.low < 0.5 < found.first.high and found.second.low > 0.6
    nothing = regimes.discrimination(first, second, np.ones(240, bool), cell, 0.95)
    assert np.isnan(nothing.first.value) and np.isnan(nothing.difference.low)


def test_cells_that_repeat_themselves_tell_no_more_than_cells():
    """Twenty copies of one run a cell: the interval is that of the single runs."""
    rng = np.random.default_rng(4)
    hit = np.arange(16) % 2 == 0
    values, other = hit + rng.normal(size=16), rng.normal(size=16)
    one = regimes.discrimination(other, values, hit, np.arange(16), 0.95)
    many = regimes.discrimination(*(np.repeat(v, 20) for v in (other, values, hit, np.arange(16))), 0.95)
    np.testing.assert_allclose(many.second, one.second, rtol=1e-12)


def test_crossing_is_where_half_fail():
    """Of a logistic law around 0.5 over 16 cells; beyond the x there are it is 0 or inf."""
    rng = np.random.default_rng(5)
    cell = np.repeat(np.arange(16), 50)
    x = np.exp(rng.normal(size=800))
    hit = rng.random(800) < 1 / (1 + (0.5 / x) ** 3)
    found = regimes.crossing(x, hit, cell, 0.95)
    assert found.low < 0.5 < found.high and found.value == pytest.approx(0.5, rel=0.2) and found.high / found.low < 2
    never = regimes.crossing(x, np.zeros(800, bool), cell, 0.95)
    assert never == (np.inf, np.inf, np.inf) or (never.value, never.high) == (np.inf, np.inf)
    assert regimes.crossing(x, np.ones(800, bool), cell, 0.95).value == 0.0
    assert np.isnan(regimes.crossing(x[:100], hit[:100], cell[:100], 0.95).low)  # two cells


def test_threshold_is_read_from_the_cells_near_it():
    """Sizes that bend over at 1: a line through all cells misses the tolerance, the local one does not."""
    beta = np.repeat(2.0 ** np.arange(-10, 0), 8)
    cell = np.repeat(np.arange(10), 8)
    true = np.minimum(20 * beta, 1 + 0.1 * np.log(1 + beta))
    size = true * np.exp(0.02 * np.random.default_rng(6).normal(size=80))
    means = cell_means(known_log(size, np.zeros(80, bool)), cell)
    found = regimes.size_threshold(beta, means, 0.05, 0.95)
    assert found.value == pytest.approx(0.0025, rel=0.05) and found.low <= 0.0025 <= found.high
