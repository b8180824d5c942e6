"""Thesis (1.9)-(1.13) and deep linear networks: conservation, Saxe's curves, orders in the step, infinite width.

(1.9) defines the network, (1.11) the residual: they claim nothing by themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.analysis import linear as analysis
from ntkpipe.theory import deep_linear as exact
from ntkpipe.training import deep_linear

pytestmark = pytest.mark.law
RNG = np.random.default_rng(5)
D, M, N = 4, 6, 9
X, Y = RNG.standard_normal((D, N)), RNG.standard_normal(N)
V, W = RNG.standard_normal(M), RNG.standard_normal((M, D)) / 2
TARGET = np.eye(2, 4) * np.array([[1.5], [0.6]])


def loss(v, w):
    """Thesis (1.10) of f = v^T W x (1.9)."""
    return 0.5 * jnp.sum((X.T @ w.T @ v - Y) ** 2)


def test_thesis_1_10_is_not_convex():
    """(v, W) and (-v, -W) are the same function; between them lies f = 0."""
    values = (loss(V, W), loss(-V, -W))
    start = np.linalg.lstsq(X.T, Y)[0]  # a pair that fits best: v = e_1, W = e_1 w*^T
    v, w = np.eye(M)[0], np.outer(np.eye(M)[0], start)
    assert values[0] == values[1]
    assert loss(0 * v, 0 * w) > (loss(v, w) + loss(-v, -w)) / 2


def test_thesis_1_12_gradients_by_autodiff():
    r = X.T @ W.T @ V - Y  # (1.11)
    by_v, by_w = jax.grad(loss, argnums=(0, 1))(V, W)
    np.testing.assert_allclose(by_v, W @ X @ r, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(by_w, np.outer(V, X @ r), rtol=1e-11, atol=1e-12)


def test_thesis_1_13_flow_obeys_its_equations_and_conserves_the_balance():
    """By diffrax on general inputs: time derivatives of v and W, and W W^T - v v^T to the integrator's tolerance."""
    import diffrax

    def field(_, state, __):
        v, w = state
        r = X.T @ w.T @ v - Y
        return -(w @ X @ r), -jnp.outer(v, X @ r)

    h = 1e-4
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, 0.5 + h, None, (V, W),
        stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-12),
        saveat=diffrax.SaveAt(ts=jnp.array([0.5 - h, 0.5, 0.5 + h])),
    )  # fmt: skip
    v, w = (np.asarray(part) for part in solution.ys)
    by_v, by_w = jax.grad(loss, argnums=(0, 1))(v[1], w[1])
    np.testing.assert_allclose((v[2] - v[0]) / (2 * h), -by_v, atol=1e-5)
    np.testing.assert_allclose((w[2] - w[0]) / (2 * h), -by_w, atol=1e-5)
    np.testing.assert_allclose(w[1] @ w[1].T - np.outer(v[1], v[1]), W @ W.T - np.outer(V, V), atol=1e-8)


def networks(depth: int, parametrization: str = "standard", n: int = 2, width: int = 7):
    law = deep_linear.law(4, (width,) * depth, 2, 0.9, parametrization)
    rng = np.random.default_rng(depth)
    return law, deep_linear.stacked([deep_linear.init(rng, law) for _ in range(n)]), np.array([law.gains] * n)


@pytest.mark.parametrize(("depth", "parametrization"), [(1, "standard"), (2, "ntk")])
def test_flow_conserves_the_balance_and_descent_leaves_both_at_first_order(depth, parametrization, quick_compile):
    """Orders of the change of the balance and of the distance from the flow, extrapolated to a step of 0: 1."""
    _, start, gains = networks(depth, parametrization)
    eta, steps = (0.06 if parametrization == "standard" else 0.3), [0, 10, 40]
    flow = deep_linear.flow(start, gains, TARGET, np.full((2, 1), eta) * steps, 1e-10, 1e-12)
    assert np.max(flow.imbalance) < 1e-9
    balance, gap = [], []
    for h in range(6):
        run = deep_linear.descend(start, gains, TARGET, np.full(2, eta / 2**h), [s * 2**h for s in steps])
        balance.append(run.imbalance)
        gap.append(np.linalg.norm(np.asarray(run.maps[:, 1:] - flow.maps[:, 1:]), axis=(2, 3)).max(axis=1))
    for gaps in (balance, gap):
        assert analysis.order(np.stack(gaps, axis=1), 0.95)[1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("depth", [2])
def test_kernel_of_products_is_that_of_autodiff(depth, quick_compile):
    law, start, _ = networks(depth, "ntk")
    one = [np.asarray(w[0]) for w in start]
    by_autodiff = deep_linear.kernel_by_autodiff(tuple(map(jnp.asarray, one)), jnp.asarray(law.gains))
    np.testing.assert_allclose(by_autodiff, exact.kernel(one, law.gains), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(by_autodiff, deep_linear.kernel(start_of(start), law.gains), rtol=1e-12, atol=1e-13)


def start_of(start):
    return [w[0] for w in start]


def test_flow_from_balanced_weights_follows_saxes_curves(quick_compile):
    depth = 2
    weights = deep_linear.balanced(np.random.default_rng(0), (4, *[5] * depth, 2), 2, 0.05)
    times, gains = np.linspace(0, 8, 9)[None], np.ones((1, depth + 1))
    flow = deep_linear.flow(deep_linear.stacked([weights]), gains, TARGET, times, 1e-10, 1e-12)
    maps = np.array(flow.maps[0])
    for k, value in enumerate((1.5, 0.6)):
        np.testing.assert_allclose(maps[:, k, k], exact.mode(times[0], 0.05, value, depth + 1), atol=1e-7)
    maps[:, [0, 1], [0, 1]] = 0
    assert np.abs(maps).max() < 1e-8  # modes stay apart


def test_jax_and_numpy_train_the_same(quick_compile):
    law, start, gains = networks(2)
    run = deep_linear.descend(start, gains, TARGET, np.full(2, 0.05), [0, 3, 20])
    for i in range(2):
        plain = exact.descend([np.asarray(w[i]) for w in start], law.gains, TARGET, 0.05, [0, 3, 20])
        np.testing.assert_allclose(run.maps[i], plain.maps, atol=1e-13)
        np.testing.assert_allclose(run.drift[i], plain.drift, atol=1e-12)
