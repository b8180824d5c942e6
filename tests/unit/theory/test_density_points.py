"""Densities by name and from files, their quantiles and arcs, and eigenfunctions between the angles of their grid."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from ntkpipe.theory import circle, density
from ntkpipe.theory import density_points as points


def test_quantiles_are_those_of_scipy():
    n = 37
    share = (np.arange(n) + 0.5) / n
    expected = stats.vonmises(2.0).ppf(share) + np.pi  # von Mises about pi, so that both start at its minimum
    turned = points.quantiles(lambda t: density.von_mises(2.0)(t - np.pi), n)
    np.testing.assert_allclose(turned, expected, atol=1e-6)
    np.testing.assert_allclose(points.quantiles(density.uniform(), n), 2 * np.pi * share, atol=1e-12)


def test_quantiles_of_halves_are_equal_angles_on_each():
    found = points.quantiles(points.named("halves:4"), 10)
    np.testing.assert_allclose(found[:8], np.pi * (np.arange(8) + 0.5) / 8, atol=1e-12)
    np.testing.assert_allclose(found[8:], np.pi * (1 + np.array([0.25, 0.75])), atol=1e-12)


def test_each_quantile_has_the_same_mass():
    p = points.named("cosine:0.8")
    theta = points.quantiles(p, 9)
    masses = [integrate.quad(p, a, b)[0] for a, b in itertools.pairwise(theta)]
    np.testing.assert_allclose(masses, 1 / 9, atol=1e-7)


@pytest.mark.parametrize(
    "text", ["halves", "halves:0", "halves:1e300", "cosine:2", "von_mises:x", "uniform:1", "normal:3", ""]
)
def test_what_names_no_density_is_refused(text):
    with pytest.raises(ValueError):
        points.named(text)


def test_a_file_is_its_table(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("theta,weight\n0,1\n1.5,3\n4,2\n")
    p = points.of(str(path))
    assert integrate.quad(p, 0, 2 * np.pi, points=[1.5, 4], limit=200)[0] == pytest.approx(1.0, rel=1e-8)
    assert p(np.array([1.5]))[0] / p(np.array([0.0]))[0] == pytest.approx(3.0)
    path.write_text("theta,weight,more\n0,1,1\n")
    with pytest.raises(ValueError, match="columns theta and weight"):
        points.of(str(path))


def test_columns_of_a_file_are_read_by_name(tmp_path):
    path, rows = tmp_path / "p.csv", [(0.0, 1.0), (1.5, 3.0), (4.0, 2.0)]
    path.write_text("weight,theta\n" + "".join(f"{weight},{theta}\n" for theta, weight in rows))
    np.testing.assert_array_equal(points.table(path), rows)
    path.write_text("".join(f"{theta},{weight}\n" for theta, weight in rows))
    np.testing.assert_array_equal(points.table(path), rows)
    path.write_text("angle,w\n0,1\n1,2\n")
    with pytest.raises(ValueError, match="columns theta and weight; its header has angle, w"):
        points.table(path)


def test_arcs_of_dense_and_sparse():
    found = points.regions(points.named("halves:4"))
    np.testing.assert_allclose(found.dense, (0, np.pi), atol=1e-12)
    np.testing.assert_allclose(found.sparse, (np.pi, 2 * np.pi), atol=1e-12)
    wrapped = points.regions(points.named("cosine:0.8"))  # dense where cos > 0: around 0
    step = 2 * np.pi / points.GRID
    np.testing.assert_allclose(wrapped.dense, (1.5 * np.pi, 2.5 * np.pi), atol=step)
    np.testing.assert_allclose(wrapped.sparse, (np.pi / 2, 1.5 * np.pi), atol=step)
    assert np.isnan(points.regions(points.named("uniform")).dense).all()


def kernel(t):
    return circle.relu_kernel(t, hidden_bias=1.0)


def test_extended_eigenfunctions_agree_with_their_grid_and_are_orthonormal_on_quantiles():
    p = points.named("von_mises:1")
    found = density.eigenfunctions(kernel, p, 7)
    np.testing.assert_allclose(points.extend(found, kernel, found.theta), found.functions, atol=1e-6)
    n = 400
    u = points.extend(found, kernel, points.quantiles(p, n))
    np.testing.assert_allclose(u.T @ u / n, np.eye(7), atol=20 / n**2)  # midpoints in mass: O(n^-2)


def test_extended_eigenfunctions_solve_the_integral_equation():
    """lambda u(x) = int k u p by adaptive quadrature, u between the angles by its own extension."""
    p = points.named("cosine:0.5")
    found = density.eigenfunctions(kernel, p, 4)

    def integrand(phi, x, i):
        gap = np.abs((x - phi + np.pi) % (2 * np.pi) - np.pi)
        u = points.extend(found, kernel, np.array([phi]))[0, i]
        return float(kernel(np.array([gap]))[0] * u * p(np.array([phi]))[0])

    x, i = 1.234, 3
    whole = sum(
        integrate.quad(integrand, a, b, (x, i), epsabs=1e-7)[0]
        for a, b in ((0, x), (x, x + np.pi), (x + np.pi, 2 * np.pi))
    )
    assert whole / found.eigenvalues[i] == pytest.approx(points.extend(found, kernel, np.array([x]))[0, i], rel=1e-3)
