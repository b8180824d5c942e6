"""A snapshot against Jacobians of the stored weights, gain by gain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent, observe

NETWORKS = {
    "relu with biases": Network(3, (4, 4), bias_init="normal", sigma_b=0.5),
    "frozen readout": Network(3, (4,), activation="tanh", readout="frozen"),
    "standard, no hidden layer": Network(3, (), parametrization="standard", bias_init="zero"),
}


def jacobian(params, x, network) -> np.ndarray:
    """df/d(trained variables): each column of df/dW and df/db times the root of its gain."""
    slope = jax.jacrev(lambda p: dense.forward(p, x, network))(params)
    parts = []
    for (w, b), (g, t) in zip(slope, descent.gains(network), strict=True):
        parts += [np.sqrt(g) * w.reshape(len(x), -1), np.sqrt(t) * b.reshape(len(x), -1)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_snapshot_is_what_jacobians_say(name):
    network, eta = NETWORKS[name], 0.2
    rng = np.random.default_rng(1)
    x, y, x_eval = (jnp.asarray(rng.standard_normal(shape)) for shape in ((4, 3), 4, (2, 3)))
    limit, eta = jnp.asarray(jnp.inf), jnp.asarray(eta)
    start = dense.init(jax.random.key(0), network)
    state = descent.State(start, jnp.asarray(0), jnp.asarray(-1))
    params = descent.descend(state, jnp.asarray(5), x, y, jnp.asarray(0.05), limit, network).params
    seen = observe.snapshot(params, start, x, y, x_eval, eta, network)
    j, j_0, j_eval = (jacobian(p, at, network) for p, at in ((params, x), (start, x), (params, x_eval)))
    f, f_eval = (np.asarray(dense.forward(params, at, network)) for at in (x, x_eval))
    np.testing.assert_allclose(seen.f_train, f, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(seen.f_eval, f_eval, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(seen.ntk_train, j @ j.T, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(seen.ntk_eval_train, j_eval @ j.T, rtol=1e-11, atol=1e-13)
    change = []
    for (w, b), (w_0, b_0), (g, t) in zip(params, start, descent.gains(network), strict=True):
        change += [np.ravel(w - w_0) / np.sqrt(g) if g else 0 * np.ravel(w)]
        change += [np.ravel(b - b_0) / np.sqrt(t) if t else 0 * np.ravel(b)]
    change = np.concatenate(change)
    f_0 = np.asarray(dense.forward(start, x, network))
    np.testing.assert_allclose(seen.f_linear_train, f_0 + j_0 @ change, rtol=1e-11, atol=1e-13)
    assert seen.distance == pytest.approx(np.linalg.norm(change), rel=1e-12) and seen.distance > 0.01
    after = descent.descend(state._replace(params=params), jnp.asarray(1), x, y, eta, limit, network)
    moved = np.asarray(dense.forward(after.params, x, network))
    rest = np.linalg.norm(moved - f + eta * j @ j.T @ (f - y))
    assert seen.remainder == pytest.approx(rest, abs=1e-12)
    assert (seen.remainder < 1e-13) == (not network.widths)


def test_initialization_is_its_own_linearization():
    network = NETWORKS["frozen readout"]
    start, x = dense.init(jax.random.key(0), network), jnp.ones((2, 3))
    seen = observe.snapshot(start, start, x, jnp.zeros(2), x[:1], jnp.asarray(0.0), network)
    np.testing.assert_array_equal(seen.f_linear_train, dense.forward(start, x, network))
    assert seen.distance == 0 and seen.remainder < 1e-15
    np.testing.assert_allclose(seen.ntk_eval_train, seen.ntk_train[:1], rtol=1e-13)
