"""Shards of eigenmodes: values against plain loops over Jacobians, parity, centring, divergence, prefixes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe import angles
from ntkpipe.config.eigenmodes import EigenmodesConfig
from ntkpipe.engines import dense
from ntkpipe.kinds.eigenmodes import draw
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import density_points

STREAM = Stream(3, "a cell")
CONFIG = EigenmodesConfig(
    frequencies=[1, 3], modes=3, train=8, evaluate=16, steps=6, at=[2, 6], kernels=3, density="halves:3"
)
NETWORK = Network(2, (5,), bias_init="normal", sigma_b=0.5)
PLAIN = Network(2, (6,))


def train(network=NETWORK, n=2, **keys):
    arrays = draw.train(network, CONFIG.model_copy(update=keys), STREAM, 0, n)
    assert {name: dims for name, (dims, _) in arrays.items()} == draw.DIMS
    return {name: array for name, (_, array) in arrays.items()}


def output(theta, x):
    """f of one network (2, 5, 1) in the trained variables, scales in the forward pass."""
    w, b, v, c = theta[:10].reshape(5, 2), theta[10:15], theta[15:20], theta[20]
    return v @ jnp.maximum(w @ x.T + 0.5 * b[:, None], 0) / jnp.sqrt(5.0) + 0.5 * c


def start(seed):
    params = dense.init(jax.random.split(STREAM.key(0), 8)[seed], NETWORK)
    parts = []
    for (w, b), (first, _) in zip(params, dense.runs(NETWORK), strict=True):
        parts += [w.ravel() / NETWORK.weight_gain[first] ** 0.5, b.ravel() / NETWORK.bias_gain[first] ** 0.5]
    return np.concatenate(parts)


@pytest.mark.parametrize(("loss", "centred"), [("half_sum", True), ("mean", False)])
def test_outputs_and_kernels_are_those_of_plain_loops(loss, centred):
    found = train(loss=loss, centred=centred, scale=0.7)
    theta = density_points.quantiles(density_points.named("halves:3"), 8)
    x, apart = angles.on_circle(theta), angles.on_circle(draw.held_out(16))
    jacobian, scale = jax.jacrev(output), 1.0 if loss == "half_sum" else 1 / 8
    for seed in range(2):
        first = start(seed)
        j, held = np.asarray(jacobian(first, x)), np.asarray(jacobian(first, apart))
        np.testing.assert_allclose(found["ntk_held_out"][seed], held @ j.T, atol=1e-12)
        rate = 2 * 0.5 / np.linalg.eigvalsh(j @ j.T)[-1]  # eta s, whatever s
        assert found["rate"][seed] == pytest.approx(rate, rel=1e-12)
        f0, g0 = (np.asarray(output(first, points)) * centred for points in (x, apart))
        for t, q in enumerate((1, 3)):
            y, p = 0.7 * np.cos(q * theta) + f0, first
            for step in range(7):
                if step in (0, 2, 6):
                    i = (0, 2, 6).index(step)
                    np.testing.assert_allclose(found["f_train"][seed, t, i], output(p, x) - f0, atol=1e-11)
                    np.testing.assert_allclose(found["f_held_out"][seed, t, i], output(p, apart) - g0, atol=1e-11)
                    j = np.asarray(jacobian(p, x))
                    np.testing.assert_allclose(found["ntk_path"][seed, t, i], j @ j.T, atol=1e-11)
                p = p - rate * np.asarray(jacobian(p, x)).T @ (np.asarray(output(p, x)) - y)
    assert (found["diverged"] == -1).all() and scale > 0


def test_fewer_networks_are_a_prefix_and_targets_do_not_see_each_other():
    more, fewer, one = train(), train(n=1), train(frequencies=(3,))
    for name, array in fewer.items():
        np.testing.assert_allclose(array, more[name][:1], rtol=1e-10, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(one["f_train"][:, 0], more["f_train"][:, 1], rtol=1e-10, atol=1e-12)
    assert np.abs(more["f_train"][0] - more["f_train"][1]).max() > 0.01


def test_a_diverged_run_is_nan_from_there_on():
    found = train(eta=60.0, steps=60, at=[1, 60], divergence=1e3)
    gone = found["diverged"] >= 0
    assert gone.any() and np.isfinite(found["f_train"][:, :, 0]).all()
    np.testing.assert_array_equal(np.isnan(found["f_train"][:, :, -1]).all(axis=-1), gone)
    np.testing.assert_array_equal(np.isnan(found["ntk_path"][:, :, -1]).all(axis=(-2, -1)), gone)


def test_a_shard_is_its_quanta():
    cell = SimpleNamespace(network=PLAIN, settings=CONFIG)
    study = SimpleNamespace(stream=lambda cell: STREAM)
    whole = draw.draw(study, SimpleNamespace(cell=cell, start=0, stop=10))
    for name, (dims, array) in draw.train(PLAIN, CONFIG, STREAM, 1, 2).items():
        assert whole[name][0] == dims and len(whole[name][1]) == 10
        np.testing.assert_array_equal(whole[name][1][8:], array)
