"""Distances between particle measures, dependence of particles, times: against closed forms and simulations."""

import numpy as np
import pytest

from ntkpipe.analysis import particles


def test_sliced_distance_of_a_shift_is_its_mean_projection():
    rng = np.random.default_rng(0)
    one, shift, along = rng.normal(size=(50, 3)), np.array([0.3, -0.2, 1.0]), particles.directions(7, 3)
    np.testing.assert_allclose(np.linalg.norm(along, axis=1), 1.0, rtol=1e-14)
    assert particles.sliced(one, one + shift, along) == pytest.approx(np.abs(along @ shift).mean(), rel=1e-12)
    assert particles.sliced(one, rng.permutation(one), along) == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_array_equal(particles.directions(3, 3), along[:3])
    assert np.isnan(particles.sliced(np.full((4, 3), np.nan), one, along))


def test_mean_distance_of_normal_samples():
    rng, along = np.random.default_rng(1), particles.directions(4, 3)
    for m, n in ((64, 64), (128, 2048)):
        found = [particles.sliced(rng.normal(size=(m, 3)), rng.normal(size=(n, 3)), along) for _ in range(200)]
        error = np.std(found, ddof=1) / np.sqrt(200)
        exact = particles.sliced_of_normals(m, n)
        assert abs(np.mean(found) - exact) < 4 * error + exact / min(m, n)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 3.0])
def test_dependence_is_that_of_exchangeable_normals(rho):
    """psi_i = c g + e_i - k mean(e): (m - 1) rho by hand; the interval covers, the correlation is it over m - 1."""
    m, rng, hits = 40, np.random.default_rng(2), 0
    ratio = 1 + rho  # m Var(mean)/Var psi
    for _ in range(300):
        e = rng.normal(size=(8, m))
        centred = e - e.mean(axis=1, keepdims=True)  # variance 1 - 1/m, mean 0
        # mean with variance v/m, v/(1 - 1/m + v/m) = ratio
        v = ratio * (1 - 1 / m) / (1 - ratio / m)
        psi = centred + np.sqrt(v / m) * rng.normal(size=(8, 1))
        found = particles.dependence(psi.mean(axis=1), psi.var(axis=1), m, 0.95)
        hits += found.excess.low <= rho <= found.excess.high
        assert found.correlation.value == pytest.approx(found.excess.value / (m - 1), rel=1e-12)
    assert hits >= 272, hits  # the 0.1 % quantile of Binomial(300, 0.95)
    assert np.isnan(particles.dependence(np.array([1.0, np.nan]), np.ones(2), m, 0.95).excess.value)


def test_first_below_is_exact_on_exponentials():
    time = np.array([0.0, 1.0, 2.0, 4.0])
    values = np.exp(-np.array([[0.7], [0.1]]) * time)
    np.testing.assert_allclose(particles.first_below(time, values, np.exp(-1)), [1 / 0.7, np.inf], rtol=1e-12)
    gone = np.where(time > 0.5, np.nan, 1.0)
    assert np.isnan(particles.first_below(time, gone, 0.5))
    assert particles.first_below(time, np.full(4, 0.1), 0.5) == 0.0


def test_root_mean_square_covers():
    z = np.random.default_rng(3).normal(size=(8, 400))
    _, low, high = particles.root_mean_square(z, 0.95)
    assert ((low <= 1) & (high >= 1)).sum() >= 366  # the 0.1 % quantile of Binomial(400, 0.95)
