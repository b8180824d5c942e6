"""Predictions in function space against solves, an integrated flow, samples of f_0 and trained wide networks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.theory import function_space as fs
from ntkpipe.theory.infinite_width import Kernels, kernels
from ntkpipe.training import descent

NET = Network(3, (1,), "erf", bias_init="normal", sigma_b=0.6)
RNG = np.random.default_rng(0)
POINTS, Y = RNG.standard_normal((7, 3)), RNG.standard_normal(4)
N = len(Y)
BOTH = kernels(NET, POINTS)
"""Kernels between all points; the first N are the train points."""
TIMES = np.array([0.0, 1e-3, 0.1, 1.0, 30.0])


def of(both, n=N):
    """Modes from the kernels between all points."""
    return fs.modes(Kernels(both.nngp[:, :n], both.ntk[:, :n]))


MODES = of(BOTH)


def linear(gain, both=BOTH, y=Y):
    """Mean and covariance of f_0 + Theta(., X) gain (y - f_0(X)), gain a matrix (Lee et al. 2019)."""
    n = len(y)
    a = both.ntk[:, :n] @ gain
    rest = np.eye(len(a)) - np.pad(a, ((0, 0), (0, len(a) - n)))
    return a @ y, rest @ both.nngp @ rest.T


def test_the_kernels_of_points_and_train_points_are_what_is_decomposed():
    direct = fs.modes(kernels(NET, POINTS, POINTS[:N]))
    np.testing.assert_allclose(direct.values, MODES.values, rtol=1e-12)
    np.testing.assert_allclose(direct.vectors * direct.values @ direct.vectors.T, BOTH.ntk[:N, :N], rtol=1e-12)
    np.testing.assert_allclose(direct.reach @ direct.vectors.T, BOTH.ntk[:, :N], rtol=1e-12)


@pytest.mark.parametrize("learned", [fs.flow(MODES, np.zeros(1)), fs.descent(MODES, 0.3, np.zeros(1, int))])
def test_at_the_start_it_is_the_prior(learned):
    assert np.all(fs.mean(MODES, learned, Y) == 0)
    np.testing.assert_allclose(fs.covariance(MODES, learned, BOTH.nngp)[0], BOTH.nngp, rtol=1e-13)
    np.testing.assert_allclose(fs.variance(MODES, learned, np.diag(BOTH.nngp))[0], np.diag(BOTH.nngp), rtol=1e-13)


@pytest.mark.parametrize("steps", [None, np.inf])
def test_in_the_end_it_is_kernel_regression(steps):
    eta = 1.9 / MODES.values[-1]
    learned = fs.flow(MODES, np.array([np.inf])) if steps is None else fs.descent(MODES, eta, np.array([steps]))
    mean, covariance = linear(np.linalg.inv(BOTH.ntk[:N, :N]))
    np.testing.assert_allclose(fs.mean(MODES, learned, Y)[0], mean, rtol=1e-10)
    np.testing.assert_allclose(fs.mean(MODES, learned, Y)[0, :N], Y, rtol=1e-12)
    found = fs.covariance(MODES, learned, BOTH.nngp)[0]
    np.testing.assert_allclose(found, covariance, atol=1e-11)
    assert np.all(found[:N] == 0) and np.diag(found)[N:].min() > 1e-3


def test_one_train_point_by_hand():
    theta, c, sigma, b, v, y = 0.7, 0.4, 1.3, -0.5, 0.9, np.array([2.0])
    both = Kernels(np.array([[sigma, b], [b, v]]), np.array([[theta, c], [c, 1.0]]))
    one = of(both, 1)
    for t, g, learned in (
        (0.8, np.exp(-0.56), fs.flow(one, np.array([0.8]))),
        (6.0, (1 - 1.4) ** 3, fs.descent(one, 2.0, np.array([3]))),
        (6.0, (1 - 0.7) ** 6, fs.descent(one, 1.0, np.array([6]))),
    ):
        share = c / theta * (1 - g)
        np.testing.assert_allclose(fs.mean(one, learned, y), [[(1 - g) * 2.0, share * 2.0]], rtol=1e-14, err_msg=str(t))
        between = g * (b - share * sigma)
        expected = [[g**2 * sigma, between], [between, v - 2 * share * b + share**2 * sigma]]
        np.testing.assert_allclose(fs.covariance(one, learned, both.nngp)[0], expected, rtol=1e-13)
        np.testing.assert_allclose(fs.variance(one, learned, np.array([sigma, v]))[0], np.diag(expected), rtol=1e-13)


def test_a_step_of_one_over_an_eigenvalue_learns_it_at_once():
    one = fs.modes(Kernels(np.eye(2)[:, :1], np.array([[0.5], [0.25]])))
    learned = fs.descent(one, 2.0, np.array([0.0, 1.0, 2.0, np.inf]))
    np.testing.assert_array_equal(fs.mean(one, learned, np.ones(1)), [[0, 0], [1, 0.5], [1, 0.5], [1, 0.5]])
    np.testing.assert_array_equal(learned.kept, [[1], [0], [0], [0]])


def test_the_flow_is_the_solution_of_its_equation():
    """df(P)/dt = Theta(P, X) (y - f(X)) from f_0 = 0 and from the columns of a root of Sigma, integrated."""
    root = np.linalg.cholesky(BOTH.nngp + 1e-12 * np.eye(7))
    start = np.column_stack([np.zeros(7), root])
    labels = np.column_stack([Y, np.zeros((N, 7))])  # the columns of the root evolve without labels

    def slope(_, f):
        return (BOTH.ntk[:, :N] @ (labels - f.reshape(7, 8)[:N])).ravel()

    solved = integrate.solve_ivp(slope, (0, 30), start.ravel(), "DOP853", TIMES, rtol=1e-12, atol=1e-13)
    learned = fs.flow(MODES, TIMES)
    mean, covariance = fs.mean(MODES, learned, Y), fs.covariance(MODES, learned, BOTH.nngp)
    for i, f in enumerate(solved.y.T.reshape(-1, 7, 8)):
        np.testing.assert_allclose(mean[i], f[:, 0], atol=1e-8)
        np.testing.assert_allclose(covariance[i], f[:, 1:] @ f[:, 1:].T, atol=1e-8)
    assert np.abs(mean[3] - mean[4]).max() > 1e-2  # it still moves


@pytest.mark.parametrize("relative", [0.4, 1.0, 1.7, 2.3])
def test_descent_is_its_own_recursion(relative):
    """f^{k+1} = f^k + eta Theta (y - f^k), from 0 and on the whole of Sigma; also where the first mode diverges."""
    eta = relative / MODES.values[-1]
    steps = np.array([0, 1, 2, 7, 12])
    step = np.eye(7) - eta * np.pad(BOTH.ntk[:, :N], ((0, 0), (0, 3)))
    learned = fs.descent(MODES, eta, steps)
    mean, covariance = fs.mean(MODES, learned, Y), fs.covariance(MODES, learned, BOTH.nngp)
    f, cov = np.zeros(7), BOTH.nngp
    for k in range(13):
        if k in steps:
            i = list(steps).index(k)
            np.testing.assert_allclose(mean[i], f, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(covariance[i], cov, rtol=1e-10, atol=1e-13)
        f = f + eta * BOTH.ntk[:, :N] @ (Y - f[:N])
        cov = step @ cov @ step.T


def test_descent_tends_to_the_flow_at_first_order():
    flow = fs.flow(MODES, np.ones(1))
    gaps = []
    for steps in (64, 128, 256, 512):
        learned = fs.descent(MODES, 1 / steps, np.array([steps]))
        gaps.append(
            [
                np.abs(fs.mean(MODES, learned, Y) - fs.mean(MODES, flow, Y)).max(),
                np.abs(fs.covariance(MODES, learned, BOTH.nngp) - fs.covariance(MODES, flow, BOTH.nngp)).max(),
            ]
        )
    gaps = np.array(gaps)
    ratios = gaps[:-1] / gaps[1:]
    assert np.all(np.abs(ratios - 2) < 0.2) and np.all(np.abs(ratios[-1] - 2) < 0.03)


def test_variance_is_the_diagonal_and_the_covariance_is_one():
    learned = fs.flow(MODES, np.array([*TIMES, 300.0]))
    covariance = fs.covariance(MODES, learned, BOTH.nngp)
    variance = fs.variance(MODES, learned, np.diag(BOTH.nngp))
    np.testing.assert_allclose(variance, np.diagonal(covariance, axis1=1, axis2=2), rtol=1e-9, atol=1e-15)
    assert np.linalg.eigvalsh(covariance).min() > -1e-13
    # train variances keep their digits as they decay: U g T g U^T
    g = np.exp(-MODES.values * 300.0)
    inner = MODES.vectors.T @ BOTH.nngp[:N, :N] @ MODES.vectors
    assert variance[-1, :N].max() < 1e-6
    np.testing.assert_allclose(
        variance[-1, :N], np.diag(MODES.vectors * g @ inner @ (MODES.vectors * g).T), rtol=1e-9, atol=0
    )


def test_it_is_the_law_of_f_t_over_draws_of_f_0():
    """Moments of 20000 draws of f_0, each trained by matrix products, within 4 standard errors; and the errors."""
    draws = 20_000
    rng = np.random.default_rng(3)
    f_0 = rng.standard_normal((draws, 7)) @ np.linalg.cholesky(BOTH.nngp + 1e-12 * np.eye(7)).T
    target = rng.standard_normal(7)
    learned = fs.flow(MODES, TIMES)
    mean, covariance = fs.mean(MODES, learned, Y), fs.covariance(MODES, learned, BOTH.nngp)
    variance = fs.variance(MODES, learned, np.diag(BOTH.nngp))
    for i, t in enumerate(TIMES):
        values, vectors = np.linalg.eigh(BOTH.ntk[:N, :N])
        gain = vectors * ((1 - np.exp(-values * t)) / values) @ vectors.T
        f = f_0 + (Y - f_0[:, :N]) @ (BOTH.ntk[:, :N] @ gain).T
        sd = np.sqrt(variance[i])
        assert np.all(np.abs(f.mean(axis=0) - mean[i]) <= 4 * sd / np.sqrt(draws) + 1e-12)
        centred = f - mean[i]
        error = np.sqrt((np.outer(variance[i], variance[i]) + covariance[i] ** 2) / draws)
        assert np.all(np.abs(centred.T @ centred / draws - covariance[i]) <= 4 * error + 1e-12)
        for part in (slice(0, N), slice(N, None)):
            errors = np.mean((f[:, part] - target[part]) ** 2, axis=1)
            found = fs.expected_error(mean[:, part], variance[:, part], target[part])[i]
            assert abs(errors.mean() - found) <= 4 * errors.std() / np.sqrt(draws) + 1e-12


def test_repeated_inputs_keep_their_residual():
    """Theta is singular: of two labels at one point half the difference stays, in the mean and in no covariance."""
    points = POINTS[[0, 1, 2, 1, 4, 5]]
    y = np.array([0.3, 1.0, -0.5, -2.0])
    both = kernels(NET, points)
    singular = of(both)
    time = np.array([0.0, 1e-6, 1.0, 1e4, 1e9, 1e15, np.inf])
    for learned in (
        fs.flow(singular, time),
        fs.descent(singular, 0.01, np.array([0, 1, 100, 1e6, 1e11, 1e17, np.inf])),
    ):
        mean, covariance = fs.mean(singular, learned, y), fs.covariance(singular, learned, both.nngp)
        np.testing.assert_allclose(mean[:, 1], mean[:, 3], atol=1e-12)
        np.testing.assert_allclose(mean[-3:, [0, 1, 2, 3]], np.tile([0.3, -0.5, -0.5, -0.5], (3, 1)), atol=1e-11)
        # the same as training on the mean of the two labels, both of them at the point
        pair = np.array([0.3, -0.5, -0.5, -0.5])
        np.testing.assert_allclose(fs.mean(singular, learned, pair), mean, atol=1e-11)
        once = linear(
            np.linalg.inv(both.ntk[:3, :3]), Kernels(*(np.delete(np.delete(k, 3, 0), 3, 1) for k in both)), pair[:3]
        )
        np.testing.assert_allclose(mean[-1, 4:], once[0][3:], atol=1e-10)
        np.testing.assert_allclose(covariance[-1, 4:, 4:], once[1][3:, 3:], atol=1e-10)
        assert np.abs(covariance[-1, :N]).max() < 1e-10  # both copies start and stay equal: nothing is left there


def test_small_eigenvalues_are_learned_at_their_own_pace_until_rounding_decides():
    """A mode far below rounding acts off the train points as lambda -> 0, phi -> t; then there is no number."""
    tiny = 1e-24
    ntk = np.array([[1.0, 0.0], [0.0, tiny], [0.5, np.sqrt(tiny)]])  # Theta(x, X) u up to sqrt(Theta(x, x) lambda)
    both = Kernels(np.eye(3)[:, :2], ntk)
    small = fs.modes(both)
    time = np.array([0.0, 1e-3, 10.0, 1e6, 1e14, np.inf])
    mean = fs.mean(small, fs.flow(small, time), np.array([0.0, 3.0]))
    np.testing.assert_allclose(mean[:4, 2], 3e-12 * time[:4], rtol=1e-12)
    assert np.all(np.isnan(mean[4:, 2])) and np.all(mean[:, :2] == 0)
    above = fs.modes(Kernels(both.nngp, np.array([[1.0, 0.0], [0.0, 1e-14], [0.5, 1e-7]])))
    mean = fs.mean(above, fs.flow(above, time), np.array([0.0, 3.0]))
    np.testing.assert_allclose(mean[:, 1], -3 * np.expm1(-1e-14 * time), rtol=1e-12)
    np.testing.assert_allclose(mean[:, 2], -3e7 * np.expm1(-1e-14 * time), rtol=1e-12)


def test_a_network_that_nothing_is_trained_in_stays():
    none = fs.modes(Kernels(BOTH.nngp[:, :N], np.zeros((7, N))))
    learned = fs.flow(none, np.array([1.0, np.inf]))
    assert np.all(fs.mean(none, learned, Y) == 0)
    np.testing.assert_allclose(fs.covariance(none, learned, BOTH.nngp), [BOTH.nngp] * 2, rtol=1e-13)


def test_wide_networks_train_as_predicted():
    """512 networks of width 512 after 20 steps: mean and variance within 5 standard errors plus O(1/width).

    And, far sharper, each network against f_0 + Theta(., X) phi (y - f_0(X)) with its own f_0: the fluctuations of
    its kernel are O(width^-1/2), their mean is O(1/width).
    """
    width, seeds, steps, eta = 512, 512, 20, 0.12
    net = Network(3, (width,), "erf", bias_init="normal", sigma_b=0.6)
    params = jax.vmap(lambda key: dense.init(key, net))(jax.random.split(jax.random.key(5), seeds))
    x, points = jnp.asarray(POINTS[:N]), jnp.asarray(POINTS)

    @jax.jit
    @jax.vmap
    def train(params):
        state = descent.State(params, jnp.asarray(0), jnp.asarray(-1))
        step = partial(descent.descend, network=net)
        end = step(state, jnp.asarray(steps), x, jnp.asarray(Y), jnp.asarray(eta), jnp.asarray(jnp.inf))
        return dense.forward(params, points, net), dense.forward(end.params, points, net)

    before, after = (np.asarray(f) for f in train(params))
    learned = fs.descent(MODES, eta, np.array([steps]))
    (mean,), (variance,) = fs.mean(MODES, learned, Y), fs.variance(MODES, learned, np.diag(BOTH.nngp))
    size = np.sqrt(np.diag(BOTH.nngp)) + np.abs(Y).max()
    slack = size / width

    def agree(mean, variance):
        near = np.abs(after.mean(axis=0) - mean) < 5 * np.sqrt(variance / seeds) + slack
        error = np.abs(after.var(axis=0, ddof=1) - variance)
        return near & (error < 5 * np.sqrt(2 / seeds) * variance + slack * size)

    assert np.all(agree(mean, variance))
    for other in (np.zeros(1), np.array([np.inf])):  # neither the start nor the end would do
        wrong = fs.flow(MODES, other)
        assert not np.all(agree(fs.mean(MODES, wrong, Y)[0], fs.variance(MODES, wrong, np.diag(BOTH.nngp))[0]))

    gain = MODES.vectors * learned.gain[0] @ MODES.vectors.T
    gap = after - before - (Y - before[:, :N]) @ (BOTH.ntk[:, :N] @ gain).T
    spread = gap.std(axis=0)
    assert np.all(np.abs(gap.mean(axis=0)) < 5 * spread / np.sqrt(seeds) + slack)
    assert np.all(spread < size / np.sqrt(width)) and spread.max() > 0.1 / np.sqrt(width)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fs.modes(Kernels(BOTH.nngp[:, :N], BOTH.ntk[:, : N - 1])), "ntk and nngp must both be"),
        (lambda: fs.modes(Kernels(BOTH.nngp[:2, :N], BOTH.ntk[:2, :N])), "1 <= N <= p"),
        (lambda: fs.modes(Kernels(BOTH.nngp[::-1, :N], BOTH.ntk[:, :N])), "nngp must be symmetric"),
        (lambda: fs.modes(Kernels(BOTH.nngp[:, :N], BOTH.ntk[::-1, :N])), "ntk must be symmetric"),
        (lambda: fs.modes(Kernels(BOTH.nngp[:, :N], -BOTH.ntk[:, :N])), "positive semi-definite"),
        (lambda: fs.modes(Kernels(BOTH.nngp[:, :N], BOTH.ntk[:, :N] * np.nan)), "ntk must be finite"),
        (lambda: fs.flow(MODES, np.array([1.0, -1.0])), "time must be"),
        (lambda: fs.flow(MODES, np.array([np.nan])), "time must be"),
        (lambda: fs.descent(MODES, 0.1, np.array([3, -1])), "steps must be a vector of integers"),
        (lambda: fs.descent(MODES, 0.1, np.array([1.5])), "steps must be a vector of integers"),
        (lambda: fs.descent(MODES, 0.1, np.array([np.nan])), "steps must be a vector of integers"),
        (lambda: fs.descent(MODES, 0.0, np.array([1])), "eta must be positive"),
        (lambda: fs.descent(MODES, 2.001 / MODES.values[-1], np.array([np.inf])), "steps must be finite"),
        (lambda: fs.mean(MODES, fs.flow(MODES, TIMES), np.zeros(N + 1)), "one label a train point"),
        (lambda: fs.variance(MODES, fs.flow(MODES, TIMES), np.ones(N)), "one variance a point"),
        (lambda: fs.covariance(MODES, fs.flow(MODES, TIMES), np.eye(N)), "one row and column a point"),
        (lambda: fs.expected_error(np.ones((2, 0)), np.ones((2, 0)), np.ones(0)), "mean, variance and target must"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
