"""Thesis (1.1)-(1.8): the linear model, each equation a test; (1.1) defines the risk and claims nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.theory import linear
from ntkpipe.training import linear_model

pytestmark = pytest.mark.law
SHAPES = {"over-determined": (5, 12), "under-determined": (9, 4)}


@pytest.fixture(params=SHAPES)
def problem(request):
    dim, points = SHAPES[request.param]
    rng = np.random.default_rng(points)
    x = linear_model.data(rng, points, dim, 8.0)
    return x, rng.standard_normal(points), rng.standard_normal(dim)


def loss(w, x, y):
    """Thesis (1.2)."""
    return 0.5 * jnp.sum((x.T @ w - y) ** 2)


def test_thesis_1_3_the_gradient_of_1_2_by_autodiff(problem):
    x, y, w = problem
    np.testing.assert_allclose(jax.grad(loss)(w, x, y), x @ x.T @ w - x @ y, rtol=1e-12, atol=1e-13)


def test_thesis_1_4_stationary_points_solve_the_normal_equations_and_are_minimizers(problem):
    x, y, w = problem
    best = linear.minimum_norm(x, y)
    np.testing.assert_allclose(x @ x.T @ best, x @ y, atol=1e-13)
    rng = np.random.default_rng(0)
    assert all(loss(best + 0.1 * rng.standard_normal(len(w)), x, y) >= loss(best, x, y) for _ in range(50))
    null = linear.modes(x).vectors[:, linear.modes(x).eigenvalues == 0]
    assert np.abs(null.T @ best).max(initial=0.0) < 1e-13  # of all minimizers the shortest


def test_thesis_1_5_a_step_is_affine(problem):
    x, y, w = problem
    stepped = linear_model.descend(x, y, w[None], 0.3, [0, 1])[1, 0]
    np.testing.assert_allclose(stepped, (np.eye(len(w)) - 0.3 * x @ x.T) @ w + 0.3 * x @ y, rtol=1e-12, atol=1e-14)


def test_thesis_1_6_from_zero_descent_is_the_geometric_sum(problem):
    x, y, _ = problem
    step, total, power = np.eye(len(x)) - 0.7 * x @ x.T, np.zeros(len(x)), np.eye(len(x))
    path = linear_model.descend(x, y, np.zeros((1, len(x))), 0.7, range(20))[:, 0]
    for w in path:
        np.testing.assert_allclose(w, 0.7 * total, atol=1e-13)
        total, power = total + power @ x @ y, power @ step


def test_thesis_1_7_errors_of_any_minimizer_follow_the_linear_map(problem):
    x, y, w = problem
    null = linear.modes(x).vectors[:, linear.modes(x).eigenvalues == 0]
    minimizer = linear.minimum_norm(x, y) + null @ np.ones(null.shape[1])
    path = linear_model.descend(x, y, w[None], 0.9, range(10))[:, 0] - minimizer
    np.testing.assert_allclose(path[1:], path[:-1] @ (np.eye(len(w)) - 0.9 * x @ x.T), atol=1e-13)


def test_thesis_1_8_every_direction_decays_at_its_own_rate(problem):
    x, y, w = problem
    values, vectors = linear.modes(x)
    path = linear_model.descend(x, y, w[None], 1.1, range(15))[:, 0] - linear.limit(x, y, w)
    factors = (1 - 1.1 * values) ** np.arange(15)[:, None]
    np.testing.assert_allclose(path @ vectors, factors * (path[0] @ vectors), atol=1e-13)


def test_thesis_1_8_descent_ends_at_the_minimizer_nearest_to_its_start(problem):
    x, y, w = problem
    for start in (np.zeros(len(w)), w):
        end = linear_model.descend(x, y, start[None], 1.0, [0, 2000])[1, 0]
        np.testing.assert_allclose(end, linear.limit(x, y, start), atol=1e-12)
    best = linear_model.descend(x, y, np.zeros((1, len(w))), 1.0, [0, 2000])[1, 0]
    np.testing.assert_allclose(best, np.linalg.pinv(x @ x.T, rcond=1e-10) @ x @ y, atol=1e-10)


def test_thesis_1_8_descent_diverges_from_two_over_the_largest_eigenvalue_on(problem):
    """Measured by bisection, to its resolution of 2^-26 of a bracket no wider than 4 dim/lambda_max."""
    x, y, _ = problem
    resolution = 4 * len(x) * 2.0**-linear_model.BISECTIONS
    assert linear_model.largest_stable(x, y) == pytest.approx(linear.critical(x), rel=max(resolution, 1e-6))


def test_the_error_of_a_noisy_teacher_has_its_exact_mean():
    """20 data sets of one spectrum: within 4.5 standard errors at every snapshot, from zero and from random weights."""
    from ntkpipe.config.linear import LinearConfig

    config = LinearConfig(dim=6, points=[3, 15], steps=40, at=[1, 5, 40], noise=0.5, scale=0.7)
    runs = [linear_model.run(np.random.default_rng((9, i)), config, ("zero", "random")) for i in range(20)]
    found = np.stack([run["teacher_error"] for run in runs])
    for p, points in enumerate(config.points):
        for s, scale in enumerate((0.0, 0.7)):
            values = linear.spectrum(points, 6, config.condition)
            exact = linear.expected_error(values, 0.5, config.snapshot_steps, 0.5, 6**-0.5, scale * 6**-0.5)
            part = found[:, p, s]
            assert (np.abs(part.mean(axis=0) - exact) < 4.5 * part.std(axis=0, ddof=1) / 20**0.5).all()
