"""Laws of training: exact linear models, conserved balances of the flow, orders of convergence, the wide limit."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.analysis import descent as analysis_of_descent
from ntkpipe.analysis import drift, perturbation
from ntkpipe.config.train import TrainConfig
from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.training import descent
from ntkpipe.training import trajectories as draw

pytestmark = pytest.mark.law

NO_LIMIT = jnp.asarray(jnp.inf)


def problem(n_0: int = 3, n: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_0))
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True)), jnp.asarray(rng.standard_normal(n))


def begin(network: Network, seed: int = 0) -> descent.State:
    return descent.State(dense.init(jax.random.key(seed), network), jnp.asarray(0), jnp.asarray(-1))


def kernel(params, x, network):
    return np.asarray(dense.ntk_and_output(params, x, network)[0])


def gd(network, state, steps, x, y, eta):
    run = jax.jit(partial(descent.descend, network=network))
    return run(state, steps, x, y, jnp.asarray(eta), NO_LIMIT)


def flow(network, state, time, x, y, rtol=1e-10, floor=None):
    """``floor`` None: at kinks too the tolerances are kept, where gates do not chatter for long."""
    run = jax.jit(partial(descent.flow, network=network, rtol=rtol, atol=1e-12, floor=floor))
    return run(state, 1, x, y, jnp.asarray(time), NO_LIMIT)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize(("n_0", "n"), [(3, 6), (8, 4)])
def test_linear_model_follows_the_closed_form(parametrization, n_0, n):
    """Thesis (1.5)-(1.8), over- and under-determined: r_k = (I - eta K)^k r_0 to rounding, K = g X X^T."""
    network = Network(n_0, (), parametrization=parametrization)
    x, y = problem(n_0, n)
    state = begin(network)
    ntk = kernel(state.params, x, network)
    np.testing.assert_allclose(ntk, network.weight_gain[0] * np.asarray(x @ x.T), rtol=1e-12)
    eta = 1.0 / np.linalg.eigvalsh(ntk)[-1]
    residual = np.asarray(dense.forward(state.params, x, network) - y)
    values, vectors = np.linalg.eigh(ntk)
    for steps in (1, 7, 50):
        after = np.asarray(dense.forward(gd(network, state, steps, x, y, eta).params, x, network) - y)
        expected = vectors @ ((1 - eta * values) ** steps * (vectors.T @ residual))
        np.testing.assert_allclose(after, expected, atol=1e-12)


def test_linear_model_diverges_beyond_two_over_the_largest_eigenvalue():
    network = Network(3, ())
    x, y = problem()
    state = begin(network)
    largest = np.linalg.eigvalsh(kernel(state.params, x, network))[-1]
    sizes = [
        float(jnp.linalg.norm(dense.forward(gd(network, state, 400, x, y, c * 2 / largest).params, x, network) - y))
        for c in (0.98, 1.02)
    ]
    assert sizes[0] < 10 < 1e3 < sizes[1]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "linear"])
def test_flow_conserves_the_balance_of_each_hidden_unit(activation):
    """Homogeneous units without biases: |incoming|^2 - |outgoing|^2 is conserved by the flow."""
    network = Network(3, (5, 4), activation=activation)
    x, y = problem()
    state = begin(network)

    def balance(params):
        w = [
            w[i] / np.sqrt(g)
            for (w, _), (g, _) in zip(params, descent.gains(network), strict=True)
            for i in range(len(w))
        ]
        pairs = pairwise(w)
        return np.concatenate(
            [np.sum(np.asarray(a) ** 2, axis=1) - np.sum(np.asarray(b) ** 2, axis=0) for a, b in pairs]
        )

    after = flow(network, state, 5.0, x, y)
    before, then = balance(state.params), balance(after.params)
    moved = np.abs(np.asarray(after.params[0][0]) - np.asarray(state.params[0][0])).max()
    assert moved > 0.02
    np.testing.assert_allclose(then, before, atol=2e-7)  # kinks cost the integrator some digits
    step = gd(network, state, 50, x, y, 0.1)
    assert np.abs(balance(step.params) - before).max() > 1e-4  # descent does not conserve it


def test_flow_conserves_whole_balance_matrices_of_linear_networks():
    """W^{l+1,T} W^{l+1} - W^l W^{l,T} in the trained variables, equal gains (standard parametrization)."""
    network = Network(3, (5, 4), activation="linear", parametrization="standard")
    x, y = problem()
    state = begin(network)

    def balances(params):
        w = [np.asarray(w[i]) for w, _ in params for i in range(len(w))]
        return [b.T @ b - a @ a.T for a, b in pairwise(w)]

    after = flow(network, state, 2.0, x, y)
    for before, then in zip(balances(state.params), balances(after.params), strict=True):
        np.testing.assert_allclose(then, before, atol=1e-8)


def test_descent_converges_to_the_flow_at_first_order():
    """tanh: |f_GD - f_flow| at a fixed time halves with the step size; ratio 2 within 5 %."""
    network = Network(3, (8, 8), activation="tanh")
    x, y = problem()
    state = begin(network)
    exact = dense.forward(flow(network, state, 2.0, x, y).params, x, network)
    errors = [
        float(jnp.linalg.norm(dense.forward(gd(network, state, steps, x, y, 2.0 / steps).params, x, network) - exact))
        for steps in (200, 400, 800)
    ]
    assert 1.9 < errors[0] / errors[1] < 2.1
    assert 1.95 < errors[1] / errors[2] < 2.05


def test_flow_error_follows_its_tolerance():
    network = Network(3, (8, 8), activation="tanh")
    x, y = problem()
    state = begin(network)
    exact = dense.forward(flow(network, state, 2.0, x, y, rtol=1e-12).params, x, network)
    errors = [
        float(jnp.abs(dense.forward(flow(network, state, 2.0, x, y, rtol=r).params, x, network) - exact).max())
        for r in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[0] < 1e-3 and errors[1] < 1e-5 and errors[2] < 1e-7
    assert errors[0] > errors[1] > errors[2]


def test_wide_networks_follow_the_frozen_kernel_at_rate_one_over_width():
    """tanh: |r - r_0-order|/|r(0)| falls like 1/n, for DeltaK = O(1/n) is what bends the path; slope within 0.25."""
    x, y = problem()
    widths, errors = (32, 128, 512), []
    for width in widths:
        network = Network(3, (width,), activation="tanh")
        found = []
        for seed in range(6):
            state = begin(network, seed)
            ntk = kernel(state.params, x, network)
            residual = np.asarray(dense.forward(state.params, x, network) - y)
            eta, steps = 0.5 / np.linalg.eigvalsh(ntk)[-1], 40
            after = np.asarray(dense.forward(gd(network, state, steps, x, y, eta).params, x, network) - y)
            frozen = np.linalg.matrix_power(np.eye(len(y)) - eta * ntk, steps) @ residual
            found.append(np.linalg.norm(after - frozen) / np.linalg.norm(residual))
        errors.append(np.median(found))
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    assert abs(slope + 1.0) < 0.25, errors


def test_a_batch_of_all_points_is_full_descent():
    network = Network(3, (8, 8), bias_init="zero")
    x, y = problem()
    state = begin(network)
    one = gd(network, state, 20, x, y, 0.1)
    run = partial(descent.descend_stochastically, network=network, batch=len(y), key=jax.random.key(1))
    two = jax.jit(run)(state, 20, x, y, jnp.asarray(0.1), NO_LIMIT)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_mean_step_of_minibatches_is_the_full_step():
    """10 000 single steps on 2 of 6 points: their mean change of the weights within 5 standard errors, all entries."""
    network = Network(3, (4,))
    x, y = problem()
    state = begin(network)
    full = gd(network, state, 1, x, y, 0.01).params[0][0] - state.params[0][0]
    run = partial(descent.descend_stochastically, network=network, batch=2)
    many = jax.vmap(lambda key: run(state, jnp.asarray(1), x, y, jnp.asarray(0.01), NO_LIMIT, key=key).params[0][0])
    changes = np.asarray(many(jax.random.split(jax.random.key(0), 10_000)) - state.params[0][0])
    error = changes.std(axis=0) / 100
    assert (np.abs(changes.mean(axis=0) - np.asarray(full)) <= 5 * error + 1e-15).all()
    assert error.max() > 0


def test_frozen_readout_and_missing_biases_do_not_move():
    network = Network(3, (8,), readout="frozen")
    x, y = problem()
    state = begin(network)
    after = gd(network, state, 20, x, y, 0.1)
    np.testing.assert_array_equal(after.params[-1][0], state.params[-1][0])
    assert all((np.asarray(b) == 0).all() for _, b in after.params)
    assert np.abs(after.params[0][0] - state.params[0][0]).max() > 1e-3


def trained(tmp_path, width: int, quanta: int, steps: int, **settings) -> dict[str, np.ndarray]:
    """Eight tanh networks of one hidden layer for each quantum, as a shard trains them; a snapshot at each step."""
    x, y = (np.asarray(part) for part in problem())
    data = SimpleNamespace(x_train=x, y_train=y, x_eval=x[:1])
    network = Network(3, (width,), activation="tanh")
    config = TrainConfig(steps=steps, snapshots=steps + 1, spacing="linear", **settings)
    parts = [
        draw.train(network, data, config, Stream(0, f"{width}"), i, 8, tmp_path / f"{width}-{i}") for i in range(quanta)
    ]
    found = {name: np.concatenate([np.asarray(part[name][1]) for part in parts]) for name in parts[0]}
    assert (found["status"] == 0).all()
    return found | {"residual": found["f_train"] - y}


def test_orders_of_trained_networks_fall_at_their_rates(tmp_path):
    """tanh, flow: |r - r_p|/|r(0)| falls like n^-(p+1): slopes over widths doubled twice, within 3 standard errors.

    Those are of the seeds, 0.2 and 0.4 at most; every other snapshot would give the same.
    """
    widths, logs = (64, 128, 256), []
    for width in widths:
        run = trained(tmp_path, width, 2, 200, method="flow", eta=0.025)
        predicted = perturbation.orders(run["time"], run["ntk_train"], run["residual"][:, 0], 1)
        found = perturbation.relative_errors(run["residual"], predicted)[..., -1]
        half = [run["time"][:, ::2], run["ntk_train"][:, ::2], run["residual"][:, 0], 1, 16]
        coarse = perturbation.relative_errors(run["residual"][:, ::2], perturbation.orders(*half))[..., -1]
        assert np.abs(np.log(coarse / found)).mean(axis=-1).max() < 0.1  # three times what quadrature does
        logs.append(np.log(found))
    logs, at = np.stack(logs), np.log(widths) - np.mean(np.log(widths))  # (width, order, seed)
    weights = at / (at @ at)
    slope = np.einsum("w,wp->p", weights, logs.mean(axis=-1))
    error = np.sqrt(np.einsum("w,wp->p", weights**2, logs.var(axis=-1, ddof=1) / logs.shape[-1]))
    assert error[0] < 0.2 and error[1] < 0.4, error
    assert (np.abs(slope + np.array([1, 2])) < 3 * error).all(), (slope, error)


@pytest.mark.parametrize("method", ["flow", "gd"])
@pytest.mark.parametrize("width", [4, 16, 64])
def test_the_bound_holds_for_trained_networks(tmp_path, method, width):
    """Groenwall's, the discrete one for descent: never below the error of order 0, narrow networks too."""
    run = trained(tmp_path, width, 1, 100, method=method, eta=0.25)
    values, change = drift.eigenpairs(run["ntk_train"]).values, drift.change(run["ntk_train"])
    if method == "flow":
        frozen = perturbation.orders(run["time"], run["ntk_train"], run["residual"][:, 0], 0)[0]
        limit = perturbation.bound(run["time"], values, change, run["residual"][:, 0])
    else:
        step = np.arange(101)
        frozen = analysis_of_descent.walk(step, run["eta_used"], run["ntk_train"], run["residual"][:, 0], 0).orders[0]
        limit = analysis_of_descent.bound(
            step, run["eta_used"], values, change, run["residual"][:, 0], run["remainder"]
        )
    apart = np.linalg.norm(run["residual"] - frozen, axis=-1)
    assert (apart <= limit + 1e-6 * np.linalg.norm(run["residual"][:, :1], axis=-1)).all()  # the integrator's error
    assert apart[:, -1].min() > 1e-4 and (limit[:, -1] < 100 * apart[:, -1]).any()  # and says something
