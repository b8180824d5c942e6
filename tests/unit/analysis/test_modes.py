"""Linear dynamics and readings of modes, against plain loops and closed forms."""

import numpy as np
import pytest

from ntkpipe.analysis import modes
from ntkpipe.analysis.drift import eigenpairs

STEPS = np.array([0, 1, 3, 10, 40])
RATE = np.array([0.05, 0.1])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def kernels(rng, *batch, n=6):
    a = rng.normal(size=(*batch, n, 2 * n))
    return a @ np.swapaxes(a, -1, -2) / (2 * n)


def test_a_frozen_kernel_is_gradient_descent_step_by_step(rng):
    ntk, cross, r = kernels(rng, 2), rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 3, 6))
    found = modes.linear(eigenpairs(ntk), cross, r, RATE, STEPS)
    for s in range(2):
        for t in range(3):
            now, f = r[s, t].copy(), np.zeros(4)
            for k in range(41):
                if k in STEPS:
                    i = list(STEPS).index(k)
                    np.testing.assert_allclose(found.residual[s, t, i], now, atol=1e-12)
                    np.testing.assert_allclose(found.f_held_out[s, t, i], f, atol=1e-11)
                f, now = f - RATE[s] * cross[s] @ now, now - RATE[s] * ntk[s] @ now


def test_a_kernel_that_descends_without_bound_predicts_nothing(rng):
    """eta l_1 >= 2: such a seed is NaN from the first step on, the other is as it is alone."""
    ntk, r = kernels(rng, 1), rng.normal(size=(2, 1, 6))
    rate = np.array([1.0, 3.0]) / np.linalg.eigvalsh(ntk[0])[-1]
    found = modes.linear(eigenpairs(ntk), ntk, r, rate, STEPS)
    assert np.isnan(found.residual[1][:, 1:]).all() and np.isnan(found.f_held_out[1]).all()
    np.testing.assert_allclose(found.residual[1][:, 0], r[1], atol=1e-12)  # the start is known
    alone = modes.linear(eigenpairs(ntk), ntk, r[:1], rate[:1], STEPS)
    np.testing.assert_allclose(found.residual[0], alone.residual[0], atol=1e-12)
    x = np.array([[1.9, np.nan], [2.0, 0.1], [np.nan, np.nan]])
    np.testing.assert_array_equal(modes.descending(x), [x[0], [np.nan] * 2, x[2]])


def test_one_kernel_serves_all_seeds(rng):
    ntk, cross, r = kernels(rng, 1), rng.normal(size=(1, 4, 6)), rng.normal(size=(2, 3, 6))
    twice = [np.repeat(part, 2, axis=0) for part in (ntk, cross)]
    one, two = (modes.linear(eigenpairs(k), c, r, RATE, STEPS) for k, c in ((ntk, cross), twice))
    np.testing.assert_allclose(one.residual, two.residual, atol=1e-12)
    np.testing.assert_allclose(one.f_held_out, two.f_held_out, atol=1e-12)


def test_gain_has_no_cancellation():
    """At x k << 1 it is k (1 - (k - 1) x/2), at x = 0 it is k; beyond 1/2 the plain quotient."""
    x, k = np.array([0.0, 1e-15, 1e-9, 0.3, 0.7, 1.5]), np.array([0, 1, 2, 100])
    found = modes.gain(x, k)
    np.testing.assert_allclose(found[:3], k * (1 - (k - 1) * x[:3, None] / 2), rtol=1e-12)
    np.testing.assert_allclose(found[3:], (1 - (1 - x[3:, None]) ** k) / x[3:, None], rtol=1e-12)


def test_an_evolving_kernel_is_interpolated_between_the_looks(rng):
    looks = np.array([0, 10, 40])
    ntk, r = kernels(rng, 2, 3, 3), rng.normal(size=(2, 3, 6))
    found = modes.evolving(ntk, looks, r, RATE, STEPS)
    now = r[1, 2].copy()
    for k in range(41):
        if k in STEPS:
            np.testing.assert_allclose(found[1, 2, list(STEPS).index(k)], now, atol=1e-12)
        here = np.array([np.interp(k, looks, ntk[1, 2, :, i, j]) for i in range(6) for j in range(6)]).reshape(6, 6)
        now = now - RATE[1] * here @ now


def test_a_constant_kernel_decays_along_its_eigenvectors(rng):
    ntk, r = kernels(rng, 2), rng.normal(size=(2, 3, 6))
    path = modes.linear(eigenpairs(ntk), np.zeros((2, 1, 6)), r, RATE, STEPS).residual
    looks = np.array([0, 2, 4])
    found = modes.at_kernels(np.broadcast_to(ntk[:, None, None], (2, 3, 3, 6, 6)), looks, path, RATE, STEPS)
    np.testing.assert_allclose(found.ratio[..., :2], 1.0, rtol=1e-6)
    assert np.isnan(found.ratio[..., 2]).all()  # no next snapshot
    later = np.concatenate([path[:, :, :2], 9 * path[:, :, 2:]], axis=2)  # only the next one counts
    first = modes.at_kernels(np.broadcast_to(ntk[:, None, None], (2, 3, 3, 6, 6)), looks, later, RATE, STEPS)
    np.testing.assert_allclose(first.ratio[..., 0], 1.0, rtol=1e-6)
    assert (found.share > 1 / 6 - 1e-12).all() and (found.share <= 1 + 1e-12).all()
    values = np.linalg.eigvalsh(ntk) / 6
    assert np.abs(found.eigenvalue[:, :, 0, None] - values[:, None]).min(axis=-1).max() < 1e-12


def test_effective_eigenvalue_inverts_the_decay():
    lam, eta, k = np.array([0.1, 0.01]), 0.7, np.array([5, 300])
    np.testing.assert_allclose(modes.effective((1 - eta * lam) ** k, k, np.full(2, eta)), lam, rtol=1e-10)
    assert np.isnan(modes.effective(np.array([-0.1]), np.array([5]), np.array([eta]))).all()


def test_log_ratio_only_of_decays():
    got = modes.log_ratio(np.array([0.25, 0.5, 1.1, 0.5, -0.2]), np.array([0.5, 0.25, 0.5, 1.0, 0.5]))
    np.testing.assert_allclose(got[:2], [2.0, 0.5])
    assert np.isnan(got[2:]).all()


def test_the_window_ends_before_the_share_is_reached():
    left = np.array([[1.0, 0.9, 0.3, 0.1], [1.0, 0.1, 0.0, 0.0], [1.0, 0.9, 0.8, 0.7]])
    np.testing.assert_array_equal(modes.window(left, 0.2), [2, 1, 3])
    np.testing.assert_array_equal(modes.at(left, modes.window(left, 0.2)), [0.3, 0.1, 0.7])


def test_fit_steps_of_an_exponential_are_exact():
    """Whatever the snapshots: log size is linear between them."""
    for decay in (0.3, 0.01):
        size = 2.0 * np.exp(-decay * STEPS)[None]
        expected = np.log(5) / decay if np.log(5) / decay <= 40 else np.inf
        assert modes.fit_steps(size, STEPS, 0.2)[0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(modes.fit_steps(np.array([[1.0, 0.9, 0.8, np.nan, np.nan]]), STEPS, 0.2)).all()
    assert modes.fit_steps(np.array([[1.0, 0.5, 0.0, 0.0, 0.0]]), STEPS, 0.2)[0] == 3.0


def test_deviation_apart_inside_and_outside_the_modes(rng):
    """A residual of two modes and one function outside, of known coefficients."""
    n = 16
    theta = 2 * np.pi * np.arange(n) / n
    basis = np.sqrt(2) * np.cos(np.outer(theta, [1, 2, 3]))
    weights = np.full(n, 1 / n)
    c = np.array([[3.0, 0.0, 4.0], [1.0, 0.5, 4.0], [0.0, 0.0, 4.5]])
    found = modes.deviation((c @ basis.T)[None, None], basis[:, :2], weights, np.array([[[[3, 0], [1, 0], [0, 0.0]]]]))
    assert found.inside == pytest.approx(0.5 / 5) and found.outside == pytest.approx(0.5 / 5)
    np.testing.assert_allclose(modes.coefficients(c @ basis.T, basis, weights), c, atol=1e-14)


def test_root_mean_square_of_a_region():
    r = np.array([[3.0, 4.0, 100.0]])
    assert modes.root_mean_square(r, np.array([True, True, False])) == pytest.approx(np.sqrt(12.5))
    assert np.isnan(modes.root_mean_square(r, np.zeros(3, bool))).all()
