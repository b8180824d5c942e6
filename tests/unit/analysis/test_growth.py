"""Growth of norms with the number of points: circulant kernels on the circle, where every number is a Fourier sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe.analysis import growth
from ntkpipe.analysis.drift import eigenpairs
from ntkpipe.analysis.spectrum import over_seeds

N = 128
ANGLES = 2 * np.pi * np.arange(N) / N
SUBSETS = [np.arange(0, N, step) for step in (16, 8, 4, 2, 1)]
SIZES = np.array([len(s) for s in SUBSETS])
FREE = np.zeros(1)


def kernel(rows, columns, scale=1.0):
    """One hidden ReLU layer, infinitely wide, with hidden biases that start at zero: every lambda_q falls as q^{-2}."""
    t = np.abs((rows[:, None] - columns + np.pi) % (2 * np.pi) - np.pi)
    return scale * (np.sin(t) + (2 * np.cos(t) + 1) * (np.pi - t)) / (2 * np.pi)


def step(angles):
    return np.where(np.sin(angles + 0.1) > 0, 1.0, -1.0)


def smooth(angles):
    return np.cos(2 * angles)


def grown(target, ntk=None, reg=FREE):
    ntk = kernel(ANGLES, ANGLES)[None] if ntk is None else ntk
    return growth.norms(growth.decompositions(ntk, SUBSETS), ntk, SUBSETS, target(ANGLES), reg)


def test_norms_on_the_circle_are_fourier_sums():
    for target in (smooth, step):
        found = grown(target)
        assert not found.singular.any()
        for i, index in enumerate(SUBSETS):
            n = len(index)
            spectrum = np.fft.fft(kernel(ANGLES[index], ANGLES[:1])[:, 0]).real
            power = np.abs(np.fft.fft(target(ANGLES[index]))) ** 2
            assert found.norm[0, i, 0] == pytest.approx(np.sum(power / spectrum) / n, rel=1e-9)


def test_a_smooth_target_is_inside_and_a_step_is_not():
    """|cos 2 theta|^2 = 1/(2 lambda_2), lambda_2 = 7/(9 pi^2); |step|^2 ~ sum_{odd q <= N/2} q^{-2}/lambda_q ~ N."""
    inside, outside = grown(smooth), grown(step)
    assert inside.norm[0, -1, 0] == pytest.approx(9 * np.pi**2 / 14, rel=1e-3)
    gamma = [growth.exponent(SIZES, part.norm[..., 0], smallest=32) for part in (inside, outside)]
    assert 0 < gamma[0].exponent[0] < 0.005 and gamma[1].exponent[0] == pytest.approx(1, abs=0.06)
    np.testing.assert_array_equal([g.count[0] for g in gamma], 3)
    # The interpolant of the smooth one converges off its points, of the step only between the jumps.
    assert inside.eval_mse[0, -2, 0] < 2e-6 < 1e-2 < outside.eval_mse[0, -2, 0]
    assert np.isnan(inside.eval_mse[0, -1, 0])  # nothing is held out from the finest


def test_errors_are_those_of_regression():
    reg = np.array([0.0, 1e-3, 0.1])
    found = grown(step, reg=reg)
    seen, held_out = ANGLES[::4], ANGLES[1::2]
    for r, shift in enumerate(reg * kernel(ANGLES, ANGLES)[0, 0]):
        alpha = np.linalg.solve(kernel(seen, seen) + shift * np.eye(32), step(seen))
        expected = np.mean((kernel(held_out, seen) @ alpha - step(held_out)) ** 2)
        assert found.eval_mse[0, 2, r] == pytest.approx(expected, rel=1e-9)
    assert (np.diff(found.norm, axis=-1) < 0).all()  # a ridge lowers the norm
    assert (found.norm[..., 2] <= N / (reg[2] * kernel(ANGLES, ANGLES)[0, 0])).all()  # |y|^2/lambda at most


def test_beyond_its_rank_a_kernel_is_singular():
    """20 features: y has a norm on 8 and 16 points, on more only with a ridge."""
    features = np.random.default_rng(0).normal(size=(2, N, 20))
    found = grown(step, features @ np.swapaxes(features, -2, -1), np.array([0.0, 1e-4]))
    np.testing.assert_array_equal(found.singular[:, :, 0], [[False, False, True, True, True]] * 2)
    np.testing.assert_array_equal(np.isfinite(found.norm), ~found.singular)
    np.testing.assert_array_equal(found.rank[0, :, 0], [8, 16, 20, 20, 20])
    assert not found.singular[:, :, 1].any()
    assert np.isnan(growth.exponent(SIZES, found.norm[..., 0]).exponent).all()  # two points make no exponent


def test_inclusion_constants_grow_with_the_points():
    """sum cos(q t)/q^2 in sum cos(q t)/q^4 (Bernoulli polynomials): c ~ N^2, and no c at all. The other way c = 1."""
    t = np.abs(ANGLES[:, None] - ANGLES)
    second = 1 + np.pi**2 / 6 - np.pi * t / 2 + t**2 / 4
    fourth = 1 + np.pi**4 / 90 - np.pi**2 * t**2 / 12 + np.pi * t**3 / 12 - t**4 / 48
    inner, outer = (growth.decompositions(ntk[None], SUBSETS) for ntk in (fourth, second))
    found = growth.inclusion(second[None], inner, SUBSETS, FREE)
    gamma = growth.exponent(SIZES, found.largest[..., 0])
    assert gamma.exponent[0] == pytest.approx(2, abs=1e-3) and gamma.scatter[0] < 1e-3
    back = growth.inclusion(fourth[None], outer, SUBSETS, FREE)
    np.testing.assert_allclose(back.largest, 1, atol=0.03)
    np.testing.assert_allclose(back.smallest * found.largest, 1, rtol=1e-6)
    np.testing.assert_allclose(growth.inclusion(3 * second[None], outer, SUBSETS, FREE), 3.0, rtol=1e-8)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_norms_never_fall_as_points_are_added(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(2, 12, 30))
    ntk, y = features @ np.swapaxes(features, -2, -1), rng.normal(size=12)
    order = rng.permutation(12)
    subsets = [np.sort(order[:n]) for n in (1, 3, 7, 12)]
    found = growth.norms(growth.decompositions(ntk, subsets), ntk, subsets, y, FREE)
    assert (np.diff(found.norm, axis=1) >= -1e-9 * found.norm[:, 1:]).all()
    base = rng.normal(size=(2, 12, 30))
    eigens = growth.decompositions(base @ np.swapaxes(base, -2, -1), subsets)
    pencil = growth.inclusion(ntk, eigens, subsets, FREE)
    assert (np.diff(pencil.largest, axis=1) >= 0).all() and (np.diff(pencil.smallest, axis=1) <= 0).all()


def test_exponents_by_seed_have_their_interval_over_seeds():
    rng = np.random.default_rng(1)
    norms = np.exp(rng.normal(size=(400, 8, 1)) + 0.05 * rng.normal(size=(400, 8, 5))) * SIZES**0.7
    fitted = growth.exponent(SIZES, norms).exponent
    assert fitted.shape == (400, 8)
    found = [over_seeds(seeds, 0.95) for seeds in fitted]
    hits = sum(e.low <= 0.7 <= e.high for e in found)
    assert hits >= 366, hits  # the 0.1 % quantile of Binomial(400, 0.95) is 366


def test_exponents_keep_to_their_range_and_to_what_is_known():
    values = np.ones((2, 1)) * SIZES**2.0
    values[:, 0] *= 100
    values[1, 3] = np.nan
    found = growth.exponent(SIZES, values, smallest=16)
    np.testing.assert_allclose(found.exponent, 2, rtol=1e-12)
    np.testing.assert_array_equal(found.count, [4, 3])
    assert (growth.exponent(SIZES, values).exponent < 1).all()
    local = growth.local_exponents(SIZES, values)
    np.testing.assert_allclose(local, [[2 - np.log2(100), 2, 2, 2], [2 - np.log2(100), 2, np.nan, np.nan]])


@pytest.mark.parametrize("subsets", [[[0, 1], [0, 2, 3]], [[0, 1], [1, 0]], [[0, 1, 2], [0, 1]]])
def test_subsets_must_be_nested(subsets):
    with pytest.raises(ValueError, match="subsets must be nested and grow; subset 1 does not hold subset 0 and more"):
        growth.decompositions(np.eye(5)[None], [np.array(s) for s in subsets])


def test_decompositions_are_of_the_kernel_on_each_subset():
    ntk = kernel(ANGLES, ANGLES)[None]
    for eigen, index in zip(growth.decompositions(ntk, SUBSETS), SUBSETS, strict=True):
        np.testing.assert_array_equal(eigen.values, eigenpairs(ntk[:, index][:, :, index]).values)
