"""The linear model's closed forms against numpy's least squares and plain loops."""

import numpy as np
import pytest

from ntkpipe.theory import linear

RNG = np.random.default_rng(0)
SHAPES = {"over-determined": (3, 7), "under-determined": (6, 4)}


def problem(name: str):
    dim, points = SHAPES[name]
    return RNG.standard_normal((dim, points)), RNG.standard_normal(points), RNG.standard_normal(dim)


@pytest.mark.parametrize("name", SHAPES)
def test_minimum_norm_is_numpys_least_squares(name):
    x, y, _ = problem(name)
    np.testing.assert_allclose(linear.minimum_norm(x, y), np.linalg.lstsq(x.T, y)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_limit_is_the_nearest_minimizer(name):
    """Its gradient vanishes, and it differs from the start by vectors of range(X) alone."""
    x, y, start = problem(name)
    end = linear.limit(x, y, start)
    np.testing.assert_allclose(x @ (x.T @ end - y), 0, atol=1e-12)
    fitted = x @ np.linalg.lstsq(x, end - start)[0]
    np.testing.assert_allclose(fitted, end - start, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_after_is_a_plain_loop(name):
    x, y, start = problem(name)
    eta, w, seen = 0.4 * linear.critical(x), start, []
    for _ in range(13):
        seen.append(w)
        w = w - eta * x @ (x.T @ w - y)
    np.testing.assert_allclose(linear.after(x, y, start, eta, range(13)), seen, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("points", "zeros"), [(3, 5), (8, 0), (20, 0)])
def test_spectrum_is_geometric_on_its_range(points, zeros):
    values = linear.spectrum(points, 8, 10.0)
    rank = 8 - zeros
    assert values[0] == 1 and values[rank - 1] == pytest.approx(0.1) and np.sum(values == 0) == zeros
    np.testing.assert_allclose(np.diff(np.log(values[:rank])), -np.log(10) / (rank - 1))


def test_expected_error_is_a_mean_over_draws():
    """4000 draws of noise, teacher and start at one spectrum: within 4 standard errors at every step."""
    rng, dim, eta, steps = np.random.default_rng(1), 5, 0.8, [0, 1, 4, 30]
    values = linear.spectrum(3, dim, 5.0)
    draws = 4000
    x = np.eye(dim, 3) * np.sqrt(values[:3])
    errors = []
    for _ in range(draws):
        teacher, start = 0.6 * rng.standard_normal(dim), 0.9 * rng.standard_normal(dim)
        y = x.T @ teacher + 0.4 * rng.standard_normal(3)
        errors.append(np.sum((linear.after(x, y, start, eta, steps) - teacher) ** 2, axis=1))
    exact = linear.expected_error(values, eta, steps, 0.4, 0.6, 0.9)
    error = np.std(errors, axis=0) / draws**0.5
    assert (np.abs(np.mean(errors, axis=0) - exact) < 4 * error).all()
