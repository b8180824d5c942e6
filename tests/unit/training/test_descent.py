"""One network in training: single steps against autodiff, divergence, steps that add up, minibatches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent

NETWORK = Network(2, (3,), bias_init="zero", sigma_b=0.7)
OPEN = jnp.asarray(jnp.inf)


def problem():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((4, 2))), jnp.asarray(rng.standard_normal(4))


def begin(network: Network = NETWORK) -> descent.State:
    return descent.State(dense.init(jax.random.key(1), network), jnp.asarray(0), jnp.asarray(-1))


def same(one, two) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def test_critical_steps_are_two_over_the_largest_eigenvalue_and_0_of_the_dead():
    ntk = np.array([np.diag([1.0, 4.0]), np.diag([3.0, 0.5]), np.zeros((2, 2))])
    np.testing.assert_allclose(descent.critical_steps(ntk, 0.5), [0.25, 1 / 3, 0.0])
    np.testing.assert_allclose(descent.critical_steps(ntk, 0.5, 0.5), [0.5, 2 / 3, 0.0])


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_a_step_is_minus_eta_times_gain_times_gradient(parametrization):
    network = Network(2, (3,), bias_init="zero", sigma_b=0.7, parametrization=parametrization)
    (x, y), state = problem(), begin(network)
    slope = jax.grad(lambda p: 0.5 * jnp.sum((dense.forward(p, x, network) - y) ** 2))(state.params)
    after = descent.descend(state, jnp.asarray(1), x, y, jnp.asarray(0.1), OPEN, network)
    gains = [(1.0, 1.0), (1.0, 1.0)] if parametrization == "standard" else [(1.0, 0.49), (1 / 3, 0.49)]
    np.testing.assert_allclose(descent.gains(network), gains)
    for layer, ((w, b), (dw, db), (v, c)) in enumerate(zip(state.params, slope, after.params, strict=True)):
        weight, bias = gains[layer]
        np.testing.assert_allclose(v, w - 0.1 * weight * dw, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(c, b - 0.1 * bias * db, rtol=1e-13, atol=1e-15)
    assert (int(after.step), int(after.diverged)) == (1, -1)


def test_distance_is_in_the_trained_variables():
    """|dW|^2/g + |db|^2/t; what is not trained does not count."""
    frozen = Network(2, (3,), bias_init="none", readout="frozen")
    start = begin().params
    moved = [(w + 1.0, b + 2.0) for w, b in start]
    # 6 weights of gain 2/2, 3 of gain 1/3, 4 biases of gain 0.49
    assert descent.distance(moved, start, NETWORK) == pytest.approx((6 / 1 + 3 * 3 + 4 * 4 / 0.49) ** 0.5)
    assert descent.distance(moved, start, frozen) == pytest.approx(6**0.5)
    assert descent.distance(start, start, NETWORK) == 0


@pytest.mark.parametrize("method", ["gd", "sgd"])
def test_steps_add_up_to_the_same_bits(method):
    """7 steps are 3 and 4: minibatches are drawn by the number of the step, wherever a snapshot falls."""
    (x, y), state = problem(), begin()
    run = partial(descent.descend, network=NETWORK)
    if method == "sgd":
        run = partial(descent.descend_stochastically, network=NETWORK, batch=2, key=jax.random.key(5))
    run = jax.jit(run)
    whole = run(state, 7, x, y, jnp.asarray(0.1), OPEN)
    assert same(run(run(state, 3, x, y, jnp.asarray(0.1), OPEN), 4, x, y, jnp.asarray(0.1), OPEN), whole)
    assert int(whole.step) == 7
    assert same(run(state, 0, x, y, jnp.asarray(0.1), OPEN), state)


def test_minibatches_differ_by_step_and_key():
    (x, y), state = problem(), begin()
    run = jax.jit(partial(descent.descend_stochastically, network=NETWORK, batch=1))
    ends = [
        np.asarray(run(state._replace(step=jnp.asarray(step)), 1, x, y, jnp.asarray(0.1), OPEN, key=key).params[0][0])
        for key in jax.random.split(jax.random.key(0), 4)
        for step in range(6)
    ]
    assert len({end.tobytes() for end in ends}) == 4  # four points, four single steps: each is drawn
    alone = [
        descent.descend(state, jnp.asarray(1), x[i : i + 1], y[i : i + 1], jnp.asarray(0.4), OPEN, NETWORK).params[0][0]
        for i in range(4)
    ]  # a batch of one of four points has four times its gradient
    assert all(min(np.abs(end - one).max() for one in alone) < 1e-14 for end in ends)


def test_divergence_is_noted_at_its_first_step_and_kept():
    """|r|^2 of a linear model in one point grows by (1 - eta K)^2 a step; a limit of 10 is passed by the third."""
    network = Network(1, ())
    x, y = jnp.ones((1, 1)), jnp.zeros(1)
    state = descent.State([(jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1)))], jnp.asarray(0), jnp.asarray(-1))
    run = jax.jit(partial(descent.descend, network=network))

    def growth(steps, limit):
        return run(state, steps, x, y, jnp.asarray(2.5), jnp.asarray(limit))

    np.testing.assert_allclose(growth(3, 10.0).params[0][0], (-1.5) ** 3)
    assert int(growth(3, 10.0).diverged) == -1  # 1.5^6 = 11.4 is seen by the snapshot, or before the next step
    assert int(growth(4, 10.0).diverged) == 3
    assert int(growth(9, 10.0).diverged) == 3
    assert int(growth(4, 1.5**6).diverged) == -1  # a loss equal to the limit is within it
    assert int(growth(2000, np.inf).diverged) > 800  # inf - inf


def test_flow_notes_divergence_at_its_end():
    (x, y), state = problem(), begin()
    run = jax.jit(partial(descent.flow, network=NETWORK, rtol=1e-6, atol=1e-8))
    fine = run(state, 3, x, y, jnp.asarray(0.1), OPEN)
    assert (int(fine.step), int(fine.diverged)) == (3, -1)
    residual = dense.forward(fine.params, x, NETWORK) - y
    limit = jnp.sum(residual**2) * 0.9
    assert int(run(state, 3, x, y, jnp.asarray(0.1), limit).diverged) == 3
    assert int(run(state._replace(diverged=jnp.asarray(2)), 3, x, y, jnp.asarray(0.1), limit).diverged) == 2
    still = run(state, 3, x, y, jnp.asarray(0.0), OPEN)  # a dead network has no critical step
    assert int(still.diverged) == -1
    for a, b in zip(jax.tree.leaves(still.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_flow_goes_through_kinks():
    """relu on the circle: it ends, and a quarter of the smallest step moves the end by less than 1e-3 of |r(0)|."""
    angle = 2 * np.pi * np.arange(16) / 16
    x, y = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1)), jnp.asarray(np.cos(2 * angle))
    network = Network(2, (16, 16))
    state = begin(network)
    ntk, output = dense.ntk_and_output(state.params, x, network)
    time = 10 / np.linalg.eigvalsh(np.asarray(ntk))[-1]
    ends = []
    for floor in (1.0, 0.25):
        run = jax.jit(partial(descent.flow, network=network, rtol=1e-7, atol=1e-9, floor=floor))
        after = run(state, 1, x, y, jnp.asarray(time), OPEN)
        assert not after.gave_up and after.diverged == -1
        ends.append(np.asarray(dense.forward(after.params, x, network)))
    assert np.linalg.norm(ends[0] - ends[1]) < 1e-3 * np.linalg.norm(output - y)
    assert np.linalg.norm(ends[0] - output) > 0.1


def test_flow_of_a_dead_relu_network_stays():
    """K = 0: no smallest step is known, and none is needed."""
    network = Network(2, (3,), sigma_v=0.0, readout="frozen")
    (x, y), state = problem(), begin(network)
    run = jax.jit(partial(descent.flow, network=network, rtol=1e-6, atol=1e-8))
    for eta in (0.0, 0.5):
        after = run(state, 3, x, y, jnp.asarray(eta), OPEN)
        assert same(after.params, state.params) and not after.gave_up and after.diverged == -1
