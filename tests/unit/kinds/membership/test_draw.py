"""Shards of membership: values against plain loops over Jacobians, parity, divergence, prefixes."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe import angles
from ntkpipe.config.membership import MembershipConfig
from ntkpipe.engines import dense
from ntkpipe.kinds.membership import draw, targets
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

STREAM = Stream(3, "a cell")
CONFIG = MembershipConfig(points=[8, 16, 32], train=8, steps=7)
NETWORK = Network(2, (5,), bias_init="normal", sigma_b=0.5)
PLAIN = Network(2, (6,))


def train(network=NETWORK, n=3, config=CONFIG, **keys) -> dict[str, np.ndarray]:
    arrays = draw.train(network, config.model_copy(update=keys), STREAM, 0, n)
    assert {name: dims for name, (dims, _) in arrays.items()} == draw.DIMS
    return {name: array for name, (_, array) in arrays.items()}


# --- the same by plain loops ------------------------------------------------------------------------


def output(theta, x):
    """f of one network (2, 5, 1) in the trained variables: standard normal, scales in the forward pass."""
    w, b, v, c = theta[:10].reshape(5, 2), theta[10:15], theta[15:20], theta[20]
    h = jnp.maximum(w @ x.T + 0.5 * b[:, None], 0)  # c_1/n_0 = 1
    return v @ h / jnp.sqrt(5.0) + 0.5 * c


def start(seed: int) -> np.ndarray:
    params = dense.init(jax.random.split(STREAM.key(0), 8)[seed], NETWORK)
    parts = []
    for (w, b), (first, _) in zip(params, dense.runs(NETWORK), strict=True):
        parts += [w.ravel() / NETWORK.weight_gain[first] ** 0.5, b.ravel() / NETWORK.bias_gain[first] ** 0.5]
    return np.concatenate(parts)


def test_kernels_are_those_of_plain_loops():
    found = train()
    theta, theta_train = angles.equal(32), angles.between(8, 32)
    probes, x = angles.on_circle(theta), angles.on_circle(theta_train)
    jacobian = jax.jacrev(output)
    for seed in range(3):
        first = start(seed)
        j = np.asarray(jacobian(first, probes))
        np.testing.assert_allclose(found["ntk_start"][seed], j @ j.T, atol=1e-12)
        at_train = np.asarray(jacobian(first, x))
        eta = 2 * 0.5 / np.linalg.eigvalsh(at_train @ at_train.T)[-1]
        assert found["eta_used"][seed] == pytest.approx(eta, rel=1e-12)
        for t, target in enumerate(CONFIG.targets):
            y, p = targets.values(target, theta_train), first
            loss = [0.5 * np.sum((np.asarray(output(p, x)) - y) ** 2)]
            for _ in range(CONFIG.steps):
                p = p - eta * np.asarray(jacobian(p, x)).T @ (np.asarray(output(p, x)) - y)
            loss.append(0.5 * np.sum((np.asarray(output(p, x)) - y) ** 2))
            j = np.asarray(jacobian(p, probes))
            np.testing.assert_allclose(found["ntk_trained"][seed, t], j @ j.T, atol=1e-11)
            np.testing.assert_allclose(found["f_trained"][seed, t], output(p, probes), atol=1e-11)
            np.testing.assert_allclose([found[f"loss_{end}"][seed, t] for end in ("start", "end")], loss, rtol=1e-11)
            assert loss[1] < 0.9 * loss[0]


def test_train_points_are_no_points_of_norms():
    for n, probes in ((8, 32), (12, 32), (64, 128), (32, 8)):
        gap = np.abs(angles.between(n, probes)[:, None] - angles.equal(probes))
        assert np.minimum(gap, 2 * np.pi - gap).min() == pytest.approx(np.pi / np.lcm(n, probes), rel=1e-9)


def test_one_layer_without_biases_never_learns_an_odd_mode():
    """ReLU is even plus linear: f and every row of K are, at any width and time."""
    found = train(PLAIN, steps=50)
    modes = [np.cos(3 * angles.equal(32)), np.sin(5 * angles.equal(32))]
    moved = np.linalg.norm(found["ntk_trained"] - found["ntk_start"][:, None], axis=(2, 3))
    assert (moved > 1e-3).all()
    for mode in modes:
        for name in ("ntk_start", "ntk_trained", "f_trained"):
            assert np.abs(found[name] @ mode).max() < 1e-12
    assert (found["loss_end"][:, 1] > 0.999 * 8 / 4).all()  # (1/2) sum cos^2 over the train points


def test_fewer_networks_are_a_prefix_and_targets_do_not_see_each_other():
    more, fewer, one = train(), train(n=1), train(targets=("step",))
    for name, array in fewer.items():
        np.testing.assert_allclose(array, more[name][:1], rtol=1e-12, atol=1e-14, err_msg=name)
    np.testing.assert_allclose(one["ntk_trained"][:, 0], more["ntk_trained"][:, 2], rtol=1e-12, atol=1e-14)
    assert np.abs(more["ntk_start"][0] - more["ntk_start"][1]).max() > 0.01


def test_a_diverged_run_is_nan_and_the_start_is_kept():
    found = train(eta=40.0, steps=60)
    gone = np.isnan(found["loss_end"])
    assert gone.any()
    np.testing.assert_array_equal(np.isnan(found["ntk_trained"]).all(axis=(2, 3)), gone)
    np.testing.assert_array_equal(np.isnan(found["f_trained"]).any(axis=2), gone)
    assert np.isfinite(found["ntk_start"]).all() and np.isfinite(found["loss_start"]).all()


def test_a_shard_is_its_quanta():
    cell = SimpleNamespace(network=PLAIN, settings=CONFIG)
    study = SimpleNamespace(stream=lambda cell: STREAM)
    whole = draw.draw(study, SimpleNamespace(cell=cell, start=0, stop=10))
    second = draw.train(PLAIN, CONFIG, STREAM, 1, 2)
    for name, (dims, array) in second.items():
        assert whole[name][0] == dims and len(whole[name][1]) == 10
        np.testing.assert_array_equal(whole[name][1][8:], array)
