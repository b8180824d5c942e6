"""Spectra known by hand: ranks, dimensions, decay exponents with their range, and where rounding takes over."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ntkpipe.analysis import frozen, spectrum
from ntkpipe.analysis.drift import ACCURACY, EPS

K = np.arange(1, 129)


def test_equal_eigenvalues_fill_the_space_and_one_is_one():
    values = np.array([[2.0, 2.0, 2.0, 2.0], [5.0, 0.0, 0.0, 0.0]])
    for rank in (spectrum.effective_rank(values), spectrum.participation_ratio(values)):
        np.testing.assert_allclose(rank, [4.0, 1.0], rtol=1e-14)
    assert np.isnan(spectrum.effective_rank(np.zeros(3))) and np.isnan(spectrum.participation_ratio(np.zeros(3)))
    # 2/3, 1/3: entropy log 3 - (2/3) log 2; (3/3)^2/(4/9 + 1/9).
    assert spectrum.effective_rank(np.array([2.0, 1.0])) == pytest.approx(3 / 2 ** (2 / 3), rel=1e-14)
    assert spectrum.participation_ratio(np.array([2.0, 1.0])) == pytest.approx(9 / 5, rel=1e-14)


def test_effective_dimension_and_condition_by_hand():
    values = np.array([3.0, 1.0, 0.5])  # mean 1.5
    found = spectrum.effective_dimension(values, np.array([0.0, 2 / 3, 1e12]))
    np.testing.assert_allclose(found, [3.0, 3 / 4 + 1 / 2 + 1 / 3, 4.5 / 1.5e12], rtol=1e-11)
    assert spectrum.condition(values) == pytest.approx(6.0, rel=1e-14)


def test_what_rounding_decides_is_not_given():
    flat, steep = ACCURACY / (3 * EPS), 1e15  # the condition number at the floor, and beyond it
    values = np.array([[1.0, 0.5, 1.01 / flat], [1.0, 0.5, 0.99 / flat], [1.0, 0.5, 1 / steep], [1.0, 0.5, -1e-17]])
    np.testing.assert_array_equal(np.isnan(spectrum.condition(values)), [False, True, True, True])
    dimension = spectrum.effective_dimension(values, np.array([0.0, 1e-6]))
    np.testing.assert_array_equal(np.isnan(dimension), [[False, False], [True, False], [True, False], [True, False]])
    assert np.isnan(spectrum.condition(values[:1], eps=1e-7)).all()
    assert np.isnan(spectrum.effective_dimension(np.full(3, np.nan), np.array([1.0]))).all()
    # One direction and 127 that are 0: each is given by the ridge to 1e-3, their sum is not; with 150 times it is.
    alone = np.array([1.0] + [0.0] * 127)
    reg = 128**2 * EPS / ACCURACY * np.array([1.1, 150.0])
    np.testing.assert_array_equal(np.isnan(spectrum.effective_dimension(alone, reg)), [True, False])
    with pytest.raises(ValueError, match=r"diag_reg must be >= 0; it was \[0.1, -1.0\]"):
        frozen.ridge(values, np.array([0.1, -1.0]))


@pytest.mark.parametrize("a", [0.5, 1.0, 2.0, 3.5])
def test_decay_of_a_power_law_is_exact_over_its_range(a):
    values = np.stack([7.0 * K**-a, np.where(K > 40, 1e-3, 1.0) * K**-a])
    found = spectrum.decay(values, first=3, last=40)
    np.testing.assert_allclose(found.exponent, a, rtol=1e-12)
    np.testing.assert_allclose(found.scatter, 0.0, atol=1e-12)
    np.testing.assert_array_equal([found.first, found.last], [[3, 3], [40, 40]])
    whole = spectrum.decay(values)
    assert whole.exponent[1] > a + 0.5 and whole.scatter[1] > 0.1  # no power law over 2 .. 128
    np.testing.assert_array_equal(whole.last, [128, 128])


def test_decay_against_polyfit():
    values = np.sort(np.random.default_rng(0).gamma(1.0, size=(2, 3, 12)), axis=-1)[..., ::-1]
    found = spectrum.decay(values, first=2, last=9)
    for at in np.ndindex(2, 3):
        slope, offset = np.polyfit(np.log(K[1:9]), np.log(values[at][1:9]), 1)
        residual = np.log(values[at][1:9]) - slope * np.log(K[1:9]) - offset
        assert found.exponent[at] == pytest.approx(-slope, rel=1e-10)
        assert found.scatter[at] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-10)


def test_decay_ends_at_the_precision_floor():
    """exp(-k) falls below 128 eps/1e-3 at k = 25; what rounding left behind it is no part of the fit."""
    values = np.exp(-(K - 1.0))
    values[60:] = 1e-16 * np.random.default_rng(0).uniform(-1, 1, 68)
    last = int(1 + np.floor(-np.log(128 * EPS / ACCURACY)))
    assert spectrum.decay(values).last == last == 25
    coarse = spectrum.decay(values, eps=1e-7)
    assert coarse.last == int(1 + np.floor(-np.log(128 * 1e-7 / ACCURACY)))
    few = spectrum.decay(np.array([[1.0, 0.5, 0.4, 0.0], [1.0, 0.5, 0.0, 0.0], [np.nan] * 4, [0.0] * 4]))
    assert np.isnan(few.exponent).all() and np.isnan(few.scatter).all()  # two points, one, none
    np.testing.assert_array_equal(few.last, [3, 2, 1, 1])


def test_kernels_are_compared_over_the_range_that_all_have():
    """k^-2, then k^-2 with a kink at 10; the second run's kernel has 9 eigenvalues at its last snapshot."""
    k = np.arange(1, 31)
    bent = np.where(k <= 10, k**-2.0, k**-4.0 * 100)
    values = np.array([[k**-2.0, bent], [bent, np.where(k <= 9, k**-2.0, 0.0)]])
    apart, found = spectrum.decay(values), spectrum.decay(values, together=True)
    np.testing.assert_array_equal(found.last, [[30, 30], [9, 9]])
    np.testing.assert_array_equal(apart.last, [[30, 30], [30, 9]])
    np.testing.assert_allclose(found.exponent[1], 2.0)
    np.testing.assert_allclose(found.exponent[0], apart.exponent[0])
    assert apart.exponent[1, 0] > 2.5 and found.scatter[1, 0] < 1e-12


def test_pairs_of_equal_eigenvalues_make_the_fit_steeper_by_what_is_said():
    q = np.maximum(K // 2, 1)
    for a in (1.0, 2.0, 3.0):
        found = [spectrum.decay(1.0 * q**-a, first, last).exponent / a for first, last in ((2, 128), (10, 63))]
        np.testing.assert_allclose(found, [1.027, 1.018], atol=5e-4)
        assert spectrum.power_law(q, 1.0 * q**-a, K > 1).exponent == pytest.approx(-a, rel=1e-12)


def test_the_circle_aliases_by_what_is_said():
    q = np.arange(-12800, 12800)
    sampled = np.zeros(128)
    np.add.at(sampled, q % 128, np.where(q == 0, 2.0, np.maximum(np.abs(q), 1.0) ** -2.0))
    values = np.sort(sampled)[::-1]
    np.testing.assert_allclose(spectrum.decay(values).exponent, 1.82, atol=5e-3)
    np.testing.assert_allclose(spectrum.decay(values, last=64).exponent, 2.015, atol=5e-3)


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 5), (2, 13)])
def test_decay_rejects_ranges(first, last):
    with pytest.raises(ValueError, match=f"1 <= first < last <= 12, the points; they were {first} and {last}"):
        spectrum.decay(np.ones(12), first, last)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-8, 1e8))
def test_nothing_depends_on_the_scale_of_the_kernel(seed, scale):
    values = np.sort(np.random.default_rng(seed).gamma(0.5, size=(2, 9)), axis=-1)[:, ::-1]
    reg = np.array([1e-3, 1.0])
    for of in (spectrum.effective_rank, spectrum.participation_ratio, lambda v: spectrum.effective_dimension(v, reg)):
        np.testing.assert_allclose(of(scale * values), of(values), rtol=1e-10)
    for part in ("exponent", "last"):
        same = getattr(spectrum.decay(values, last=5), part), getattr(spectrum.decay(scale * values, last=5), part)
        np.testing.assert_allclose(*same, rtol=1e-8)
    rank, participation = spectrum.effective_rank(values), spectrum.participation_ratio(values)
    assert (
        (participation <= rank * (1 + 1e-12)).all() and (participation >= 1).all() and (rank <= 9 * (1 + 1e-12)).all()
    )


def _spectra(rng, seeds: int, smooth: bool):
    """c_s k^{-2} times noise over seeds: of each eigenvalue alone, or of a whole stretch of them together."""
    if smooth:
        noise = 0.1 * rng.standard_normal((seeds, 3)) @ np.cos(np.outer(np.arange(3), np.log(K)))
    else:
        noise = 0.02 * rng.standard_normal((seeds, 128))
    values = np.exp(rng.standard_normal((seeds, 1)) + noise) * K**-2.0
    return np.sort(values, axis=-1)[:, ::-1]


@pytest.mark.parametrize("smooth", [False, True], ids=["noise of each eigenvalue", "noise of stretches"])
def test_the_interval_over_seeds_covers(smooth):
    """95 % intervals over eight seeds hold a = 2 at least as often as one of 90 % coverage would at the 1 % quantile.

    An interval from a fit's own residuals does not where eigenvalues deviate together.
    """
    rng, replications = np.random.default_rng(3), 300
    needed = stats.binom.ppf(0.01, replications, 0.90)
    hits = naive = 0
    for _ in range(replications):
        values = _spectra(rng, 8, smooth)
        found = spectrum.over_seeds(spectrum.decay(values).exponent, 0.95)
        hits += found.low <= 2.0 <= found.high
        line = stats.linregress(np.log(K[1:]), np.log(values[0, 1:]))
        naive += abs(line.slope + 2.0) <= stats.t.ppf(0.975, 125) * line.stderr
    assert hits >= needed, f"{hits} of {replications}; {needed:.0f} needed"
    assert not smooth or naive < 0.5 * replications


def test_over_seeds_leaves_out_what_is_not_known():
    known = np.array([1.0, 1.5, 2.5])
    found = spectrum.over_seeds(np.array([1.0, np.nan, 1.5, 2.5]), 0.9)
    half = stats.t.ppf(0.95, 2) * known.std(ddof=1) / 3**0.5
    np.testing.assert_allclose(found, [known.mean(), known.mean() - half, known.mean() + half], rtol=1e-12)
    assert np.isnan(spectrum.over_seeds(np.full(3, np.nan), 0.9)).all()
