"""Norms on the range of a kernel: the plain norm where it is regular, flags where it is singular, Fourier sums."""

import numpy as np
import pytest
from scipy.special import zeta

from ntkpipe import angles
from ntkpipe.analysis import frozen, growth, membership, rkhs
from ntkpipe.analysis.drift import eigenpairs
from ntkpipe.kinds.membership import targets
from ntkpipe.theory import circle

FREE = np.zeros(1)
SIZES = (8, 16, 32, 64, 128)


def kernel(n, hidden_bias=0.0):
    """One hidden ReLU layer of infinite width on n equal angles."""
    gap = np.abs((angles.equal(n)[:, None] - angles.equal(n) + np.pi) % (2 * np.pi) - np.pi)
    return circle.relu_kernel(gap, hidden_bias=hidden_bias)


def aliased(n, hidden_bias=0.0, terms=2000):
    """sum_m lambda_{|k + m N|} for k = 0 .. N - 1: closed form up to ``terms``, then its series in 1/q."""
    k = np.arange(n)
    q = np.abs(k[:, None] + n * np.arange(-terms, terms + 1))
    near = circle.relu_eigenvalues(q.ravel(), hidden_bias=hidden_bias).reshape(q.shape).sum(axis=1)
    far = {s: (zeta(s, terms + 1 + k / n) + zeta(s, terms + 1 - k / n)) / n**s for s in (2, 4)}
    plain = (far[2] + 5 * far[4]) / np.pi**2  # (q^2 + 3)/(q^2 - 1)^2 = q^{-2} + 5 q^{-4} + ...
    return near + np.where(k % 2 == 0, plain, hidden_bias * far[2] / np.pi**2)


def solved(ntk, y, reg=FREE, held_out=0):
    n = len(y) - held_out
    return membership.on_range(eigenpairs(ntk[:n, :n]), ntk[n:, :n], y[:n], y[n:], reg)


@pytest.mark.parametrize("hidden_bias", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("target", ["smooth", "odd", "step"])
def test_limit_norms_are_aliased_fourier_sums(target, hidden_bias):
    for n in (8, 32, 128):
        y, ntk = targets.values(target, angles.equal(n)), kernel(n, hidden_bias)
        found, fourier = solved(ntk, y), membership.fourier_norm(ntk[0], y)
        if hidden_bias == 0 and target != "smooth":
            assert found.singular.all() and np.isnan(found.norm).all() and np.isnan(fourier)
            continue
        values = aliased(n, hidden_bias)
        power = np.abs(np.fft.fft(y)) ** 2 / n**2
        expected = np.sum(np.where(power > 1e-25, power, 0) / np.where(values > 0, values, 1))
        assert found.norm[0] == pytest.approx(expected, rel=1e-9) and not found.singular.any()
        assert fourier == pytest.approx(expected, rel=1e-9)


def test_odd_modes_are_outside_one_layer_without_biases():
    for n in SIZES[1:]:
        found = solved(kernel(n), targets.values("odd", angles.equal(n)))
        assert found.outside[0] == pytest.approx(1, abs=1e-12) and found.rank[0] == n // 2 + 2  # even modes, q = 1
        inside = solved(kernel(n), targets.values("smooth", angles.equal(n)))
        assert inside.outside[0] < 1e-28 and np.isfinite(inside.norm).all()  # singular, but not on this


def test_regular_kernels_have_the_plain_norm_and_error():
    y, ntk, reg = targets.values("step", angles.equal(32)), kernel(32, 1.0), np.array([0.0, 1e-3])
    order = np.random.default_rng(0).permutation(32)
    y, ntk = y[order], ntk[np.ix_(order, order)]
    found, eigen = solved(ntk, y, reg, held_out=8), eigenpairs(ntk[:24, :24])
    np.testing.assert_allclose(found.norm, rkhs.squared_norm(eigen, y[:24], reg), rtol=1e-12)
    zero = np.zeros((1, 24)), np.zeros((1, 8))
    fit = frozen.regress(eigenpairs(ntk[None, :24, :24]), ntk[None, 24:, :24], *zero, y[:24], y[24:], reg)
    np.testing.assert_allclose(found.eval_mse, fit.eval_mse[0], rtol=1e-9)
    assert (found.rank == 24).all() and (found.outside == 0).all()


def test_on_the_range_of_a_singular_kernel():
    """K = F F^T of rank 5: y = F w has the smallest |w'|^2 with F w' = y; a part outside the range is flagged."""
    rng = np.random.default_rng(1)
    features, weights = rng.normal(size=(12, 5)), rng.normal(size=5)
    y, ntk = features @ weights, features @ features.T
    found = solved(ntk, y)
    assert found.norm[0] == pytest.approx(weights @ weights, rel=1e-9) and found.rank[0] == 5
    off = rng.normal(size=12)
    off -= features @ np.linalg.lstsq(features, off, rcond=None)[0]
    for size in (1.0, 1e-6):
        flagged = solved(ntk, y + size * off)
        assert flagged.singular[0] and np.isnan(flagged.norm[0])
        expected = size**2 * off @ off / np.sum((y + size * off) ** 2)
        assert flagged.outside[0] == pytest.approx(expected, rel=1e-6)
    assert solved(ntk, y + off, np.array([0.1])).norm[0] > weights @ weights / 10  # a ridge gives a number of its own


def test_a_kernel_that_is_not_finite_has_no_norm():
    ntk = np.stack([kernel(8, 1.0), np.full((8, 8), np.nan)])
    found = membership.on_range(eigenpairs(ntk), ntk[:, :2], np.ones(8), np.ones(2), FREE)
    np.testing.assert_array_equal(np.isnan(found.norm[:, 0]), [False, True])
    assert not found.singular.any() and np.isnan(found.eval_mse[1, 0]) and np.isnan(found.outside[1, 0])


def test_coefficients_of_the_targets():
    """Against discrete transforms; for the step these are off by a part of a spacing at each jump."""
    n, modes = 2**14, np.arange(20)
    for target, atol in (("smooth", 1e-12), ("odd", 1e-12), ("step", 4 / n)):
        power = np.abs(np.fft.fft(targets.values(target, angles.equal(n))) / n) ** 2
        power = np.where(modes == 0, power[modes], power[modes] + power[-modes])
        np.testing.assert_allclose(targets.power(target, modes), power, atol=atol)


def test_the_step_grows_by_alpha_less_one():
    """lambda_q ~ q^{-alpha}, |y_q|^2 ~ q^{-2}: N^{alpha - 1}. Kernels of one layer with biases: alpha = 2."""
    sizes = 2 ** np.arange(10, 17)
    modes = np.arange(sizes[-1] // 2)
    power = targets.power("step", modes)
    laws = {2.0: circle.relu_eigenvalues(modes, hidden_bias=1.0), 3.5: 1.0 / np.maximum(modes, 1) ** 3.5}
    for alpha, eigenvalues in laws.items():
        norms = membership.partial_norms(power, eigenvalues, sizes, 0.0)
        assert growth.exponent(sizes, norms).exponent == pytest.approx(alpha - 1, abs=2e-3)
    sizes = np.array([256, 512, 1024])
    norms = [solved(kernel(n, 1.0), targets.values("step", angles.equal(n))).norm for n in sizes.tolist()]
    assert growth.exponent(sizes, np.array(norms)[:, 0]).exponent == pytest.approx(1, abs=0.02)


def test_partial_norms_name_what_is_not_known():
    modes, sizes = np.arange(8), np.array([4, 8, 16])
    eigenvalues = circle.relu_eigenvalues(modes)
    inside = membership.partial_norms(targets.power("smooth", modes), eigenvalues, sizes, 1e-12)
    np.testing.assert_allclose(inside, [0.5 / 0.25, *[0.5 / 0.25 + 0.5 * 9 * np.pi**2 / 7] * 2], rtol=1e-12)
    outside = membership.partial_norms(targets.power("odd", modes), eigenvalues, sizes, 1e-12)
    np.testing.assert_array_equal(outside, [0.0, np.nan, np.nan])
