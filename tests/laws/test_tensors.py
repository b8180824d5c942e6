"""K_t predicted from initialization against K_t of a gradient flow that is integrated (docs/theory.md, section 5)."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import tensors

pytestmark = [pytest.mark.law, pytest.mark.usefixtures("quick_compile")]

N, N_0, SEEDS = 8, 4, 3


def inputs(n: int = N) -> jnp.ndarray:
    x = np.random.default_rng(0).standard_normal((n, N_0))
    return jnp.asarray(2 * x / np.linalg.norm(x, axis=1, keepdims=True))


def labels(n: int = N) -> jnp.ndarray:
    return jnp.asarray(np.random.default_rng(1).standard_normal(n))


def rk4(field, state, t, steps):
    """The state of state' = field(state) at t; the stages are a loop, so that the field is compiled once."""
    h = t / steps

    def add(p, c, k):
        return jax.tree.map(lambda a, b: a + c * b, p, k)

    def stage(carry, coefficients):
        at, slope, total = carry
        reach, weight = coefficients
        slope = field(add(at, reach * h, slope))
        return (at, slope, add(total, weight * h, slope)), None

    def step(_, state):
        rest = jax.tree.map(jnp.zeros_like, state)
        return jax.lax.scan(stage, (state, rest, state), (REACH, WEIGHT))[0][2]

    return jax.lax.fori_loop(0, steps, step, state)


REACH, WEIGHT = np.array([0, 1 / 2, 1 / 2, 1]), np.array([1, 2, 2, 1]) / 6


def trained(params, x, y, network, t, steps):
    """K at theta_t of theta' = -G[r]."""

    def field(p):
        return tensors.direction(p, x, network, y - dense.forward(p, x, network))

    return dense.ntk_and_output(rk4(field, params, t, steps), x, network)[0]


@cache
def experiment(activation: str, width: int):
    network, x = Network(N_0, (width,), activation), inputs()

    def one(key, residual, t, steps):
        params = dense.init(key, network)
        ntk, f = dense.ntk_and_output(params, x, network)
        y = f - residual * (f - labels())
        measured = trained(params, x, y, network, t, steps)
        third, fourth = (part[0] for part in tensors.predict(params, x, y, network, t[None]))
        size, *off = (jnp.linalg.norm(part) for part in (measured - ntk, third - measured, fourth - measured))
        return jnp.stack([size / jnp.linalg.norm(ntk), off[0] / size, off[1] / size])

    return jax.jit(jax.vmap(one, in_axes=(0, None, None, None)))


def errors(activation: str, width: int, residual: float, t: float = 1.0, steps: int = 60) -> np.ndarray:
    """Per seed: |DeltaK|/|K_0|, and the relative error of DeltaK by K3 and by K3 + K4."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return np.asarray(experiment(activation, width)(keys, residual, jnp.asarray(t), steps))


def typical(*args, **settings) -> np.ndarray:
    return np.exp(np.log(errors(*args, **settings)).mean(axis=0))


def test_rk4_is_accurate():
    """The measured K_t does not move with the steps: what follows is the prediction's error."""
    np.testing.assert_allclose(errors("tanh", 32, 1.0), errors("tanh", 32, 1.0, steps=120), rtol=1e-5)


def test_tanh_k4_is_needed_and_improves_with_width():
    """Full residual: K3 alone stays wrong by a constant factor, K3 + K4 becomes right as the width grows."""
    size, third, fourth = np.array([typical("tanh", n, 1.0) for n in (32, 128, 512)]).T
    assert size[0] > 5 * size[2]
    assert (third > 0.3).all()
    assert fourth[0] > fourth[1] > fourth[2]
    assert fourth[2] < 0.1
    assert (fourth < 0.5 * third).all()


def test_tanh_small_residual():
    """A tenth of the residual: K3 alone is good to ten percent, and K4 takes most of what is left."""
    _, third, fourth = np.array([typical("tanh", n, 0.1) for n in (32, 128, 512)]).T
    assert (third < 0.12).all()
    assert third[0] > third[2]
    assert (fourth < 0.2 * third).all()


def test_relu_is_missed():
    """Gate flips: most of DeltaK is not in K3 + K4, and it is not getting better with width."""
    _, third, fourth = np.array([typical("relu", n, 1.0) for n in (32, 512)]).T
    assert (third > 0.5).all()
    assert (fourth > 0.5).all()
    assert typical("relu", 512, 0.1)[2] > 0.5  # where K3 + K4 of tanh is wrong by a thousandth


def test_orders_in_time():
    """Error of K3 alone like t^2, of K3 + K4 like t^3: the terms left out."""
    times = (0.02, 0.01)
    off = [errors("tanh", 32, 1.0, t, 40) for t in times]
    third, fourth = (np.log2([part[:, 0] * part[:, i] for part in off]) for i in (1, 2))
    np.testing.assert_allclose(third[0] - third[1], 2.0, atol=0.1)
    np.testing.assert_allclose(fourth[0] - fourth[1], 3.0, atol=0.15)


def test_second_order_in_the_residual_is_complete():
    r"""All of K_t that is quadratic in r(0), which tells K4[r0, R] from K4[R, r0].

    With r(0) = eps q: (K_t(eps) + K_t(-eps))/2 - K_0 = eps^2 (int K4[r0, R] - K3[int r1]) + O(eps^4), where r1 is the
    residual's own correction, r1' = -K_0 r1 + K3[R] r0.
    """
    network, x, t, eps, steps = Network(N_0, (5, 5), "tanh"), inputs(3), 1.0, 0.02, 200
    q = jnp.asarray([1.0, -2.0, 0.5])
    params = jax.jit(lambda key: dense.init(key, network))(jax.random.key(5))
    ntk, f = jax.jit(lambda p: dense.ntk_and_output(p, x, network))(params)
    third = jax.jit(lambda v: tensors.third(params, x, network, v))
    measured = jax.jit(lambda size: trained(params, x, f - size * q, network, t, steps))

    def even(size):
        return ((measured(size) + measured(-size)) / 2 - ntk) / size**2

    full = (4 * even(eps / 2) - even(eps)) / 3
    ways = jnp.stack([third(unit) for unit in jnp.eye(3)])

    def field(state):  # r0, R, r1, int r1
        r0, total, r1, _ = state
        return jnp.stack([-ntk @ r0, r0, -ntk @ r1 + jnp.tensordot(total, ways, 1) @ r0, r1])

    state = jax.jit(lambda s: rk4(field, s, t, steps))(jnp.stack([q, 0 * q, 0 * q, 0 * q]))
    by_third, by_fourth = jax.jit(lambda y: tensors.predict(params, x, y, network, jnp.array([t])))(f - q)
    expected = (by_fourth - by_third)[0] - third(state[3])
    np.testing.assert_allclose(full, expected, rtol=0, atol=1e-5 * np.abs(full).max())
