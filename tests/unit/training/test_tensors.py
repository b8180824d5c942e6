"""K3 and K4 against finite differences, their symmetries, and the closed time integral against quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad_vec

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import tensors

K = 4
X = jnp.asarray(np.random.default_rng(0).standard_normal((K, 3)))
Y, V, W = jnp.asarray(np.random.default_rng(1).standard_normal((3, K)))

NETWORKS = [
    Network(3, (6, 6, 5), "tanh"),
    Network(3, (6, 6, 5), "gelu", bias_init="normal", sigma_b=0.5),
    Network(3, (5,), "erf", parametrization="standard", bias_init="zero", output_bias=False),
    Network(3, (5, 5), "tanh", readout="frozen", bias_init="normal"),
]


def start(network):
    return dense.init(jax.random.key(3), network)


def moved(params, way, size):
    return jax.tree.map(lambda p, d: p + size * d, params, way)


def kernel(params, network):
    return dense.ntk_and_output(params, X, network)[0]


def difference(function, params, way, h=1e-3):
    """Central difference of order h^4 along a direction."""
    near, far = (function(moved(params, way, s)) - function(moved(params, way, -s)) for s in (h, 2 * h))
    return (8 * near - far) / (12 * h)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_direction_is_the_gradient_in_the_metric_of_the_trained_variables(network):
    """<grad f(x), G[v]> = (K v)(x): the metric of the kernel and of the direction is one."""
    params = start(network)
    way = tensors.direction(params, X, network, V)
    slope = jax.jvp(lambda p: dense.forward(p, X, network), (params,), (way,))[1]
    np.testing.assert_allclose(slope, kernel(params, network) @ V, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_third_is_the_derivative_of_the_kernel(network):
    params = start(network)
    expected = difference(lambda p: kernel(p, network), params, tensors.direction(params, X, network, V))
    np.testing.assert_allclose(tensors.third(params, X, network, V), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_fourth_is_the_derivative_of_third_with_its_gradients(network):
    """Along G[w], v held fixed while grad f(x_k) moves."""
    params = start(network)
    expected = difference(lambda p: tensors.third(p, X, network, V), params, tensors.direction(params, X, network, W))
    np.testing.assert_allclose(tensors.fourth(params, X, network, V, W), expected, rtol=1e-7, atol=1e-7)


def test_symmetries():
    """Symmetric in (x, x'), bilinear; what is not symmetric in (v, w) is DK along one Lie bracket of gradients."""
    network = NETWORKS[1]
    params = start(network)
    one, two = tensors.fourth(params, X, network, V, W), tensors.fourth(params, X, network, W, V)
    three = tensors.third(params, X, network, V)
    for part in (one, three):
        np.testing.assert_allclose(part, part.T, rtol=0, atol=1e-12 * np.abs(part).max())
    np.testing.assert_allclose(
        tensors.fourth(params, X, network, 2 * V + W, -3 * W),
        -6 * one - 3 * (tensors.fourth(params, X, network, W, W)),
        rtol=1e-11,
        atol=1e-11,
    )
    bracket = tensors.drift(params, X, network, jnp.outer(V, W) - jnp.outer(W, V))
    expected = jax.jvp(lambda p: kernel(p, network), (params,), (bracket,))[1]
    np.testing.assert_allclose(one - two, expected, rtol=1e-9, atol=1e-11)
    assert np.abs(one - two).max() > 0.01 * np.abs(one).max()  # the order of v and w matters


def test_drift_is_the_change_of_the_direction():
    """sum_kl v_k w_l DG[e_k] . G[e_l] = DG[v] . G[w]."""
    network = NETWORKS[1]
    params = start(network)
    way = tensors.direction(params, X, network, W)
    expected = jax.jvp(lambda p: tensors.direction(p, X, network, V), (params,), (way,))[1]
    got = tensors.drift(params, X, network, jnp.outer(V, W))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), got, expected)


def test_prediction_is_the_integral_of_third_and_fourth():
    """The closed form against quadrature over s of K4[r0(s), R(s)], which knows which argument is which."""
    network = NETWORKS[0]
    params = start(network)
    ntk, f = (np.asarray(part) for part in dense.ntk_and_output(params, X, network))
    values, vectors = np.linalg.eigh(ntk)
    modes = vectors.T @ (f - np.asarray(Y))
    residual = jax.jit(lambda s: vectors @ (jnp.exp(-values * s) * modes))
    integral = jax.jit(lambda s: vectors @ (-jnp.expm1(-values * s) / values * modes))
    fourth = jax.jit(lambda s: tensors.fourth(params, X, network, residual(s), integral(s)))
    times = jnp.array([0.0, 0.3, 2.0, 20.0])
    ntk_third, ntk_fourth = tensors.predict(params, X, Y, network, times)
    for t, three, four in zip(times, ntk_third, ntk_fourth, strict=True):
        first = -tensors.third(params, X, network, integral(t))
        second = quad_vec(lambda s: np.asarray(fourth(s)), 0.0, float(t), epsrel=1e-9)[0]
        np.testing.assert_allclose(three, ntk + first, rtol=0, atol=1e-10)
        np.testing.assert_allclose(four, ntk + first + second, rtol=0, atol=1e-7)


def test_slope_at_initialization():
    """dK/dt = -K3[r(0)] of both predictions, and K_0 itself at t = 0."""
    network, h = NETWORKS[1], 1e-6
    params = start(network)
    ntk, f = dense.ntk_and_output(params, X, network)
    for prediction in tensors.predict(params, X, Y, network, jnp.array([0.0, h])):
        np.testing.assert_array_equal(prediction[0], ntk)
        expected = -tensors.third(params, X, network, f - Y)
        np.testing.assert_allclose((prediction[1] - ntk) / h, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_linear_model_keeps_its_kernel(parametrization):
    """No hidden layer: K is constant, exactly."""
    network = Network(3, (), "linear", parametrization=parametrization, bias_init="zero")
    params = start(network)
    for prediction in tensors.predict(params, X, Y, network, jnp.array([0.5, 50.0])):
        np.testing.assert_array_equal(prediction, np.broadcast_to(kernel(params, network), (2, K, K)))
    np.testing.assert_array_equal(tensors.fourth(params, X, network, V, W), np.zeros((K, K)))


def test_two_linear_parameters_by_hand():
    """f = u w x, K = (u^2 + w^2) x^2: K3[v] = 4 u w x^3 v, and d(u w)/d(G[s]) = (u^2 + w^2) x s."""
    network = Network(1, (1,), "linear", parametrization="standard")
    params = start(network)
    (w, u), x, v, s = (float(p[0].ravel()[0]) for p in params), 1.5, 0.7, -0.4
    one = jnp.array([[x]])
    third = tensors.third(params, one, network, jnp.array([v]))
    fourth = tensors.fourth(params, one, network, jnp.array([v]), jnp.array([s]))
    np.testing.assert_allclose(third, [[4 * u * w * x**3 * v]], rtol=1e-12)
    np.testing.assert_allclose(fourth, [[4 * (u**2 + w**2) * x**4 * v * s]], rtol=1e-12)


@pytest.mark.parametrize(("nodes", "error"), [(3, 1e-5), (5, 1e-11), (tensors.NODES, 1e-14)])
def test_overlap(nodes, error):
    """Against 200 nodes, over both branches, with zero modes; and the error that the docstring states."""
    a = np.concatenate([[0.0, 1e-300, 1e-9], np.linspace(0.01, 30, 200)])
    at, weight = np.polynomial.legendre.leggauss(200)
    u = (1 + at[:, None]) / 2
    later = np.where(a > 1e-12, -np.expm1(-u * a) / np.where(a > 1e-12, a, 1.0), u)
    expected = (weight[:, None] / 2 * np.exp(-u * a)).T @ later
    np.testing.assert_allclose(tensors.overlap(jnp.asarray(a), nodes), expected, rtol=error, atol=0)


def test_repeated_inputs_late_times_and_nan():
    """A singular K_0 and t -> infinity are harmless, a NaN time spoils only itself, seeds are vmapped and jitted."""
    network, x = NETWORKS[0], jnp.concatenate([X, X[:1]])
    y = jnp.concatenate([Y, Y[:1]])
    seeds = jax.vmap(lambda key: dense.init(key, network))(jax.random.split(jax.random.key(0), 2))
    times = jnp.array([1e5, jnp.nan, 1e6, 0.5])
    run = jax.jit(jax.vmap(lambda p: tensors.predict(p, x, y, network, times)))
    for prediction in run(seeds):
        assert prediction.shape == (2, 4, K + 1, K + 1)
        assert np.isnan(prediction[:, 1]).all()
        assert np.isfinite(prediction[:, [0, 2, 3]]).all()
        np.testing.assert_allclose(prediction[:, 0], prediction[:, 2], rtol=1e-6)
    alone = tensors.predict(jax.tree.map(lambda p: p[1], seeds), x, y, network, times[3:])
    np.testing.assert_allclose(run(seeds)[1][1, 3], alone[1][0], rtol=1e-10)
