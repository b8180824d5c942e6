"""Laws of spectral bias: low before high, the frozen prediction where it is exact, mean rates, small perturbations."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.analysis import fourier
from ntkpipe.config.spectral_bias import SpectralBiasConfig
from ntkpipe.engines import dense
from ntkpipe.kinds.spectral_bias import draw, perturbations, predict, targets
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import infinite_width
from ntkpipe.training import descent, paths

pytestmark = pytest.mark.law

N = 16
X = targets.grid(N)[:, None]


def networks(network: Network, count: int, seed: int = 0):
    """(parameters, K_0, f_0) of some networks."""
    start = jax.vmap(partial(dense.init, network=network))(jax.random.split(jax.random.key(seed), count))
    look = jax.jit(jax.vmap(partial(dense.ntk_and_output, network=network), in_axes=(0, None)))
    return start, *map(np.asarray, look(start, jnp.asarray(X)))


def test_low_frequencies_are_fitted_before_high_ones():
    """A well-separated pair, in every network that comes to it; also where the high one has twice the amplitude."""
    config = SpectralBiasConfig(
        frequencies=[1, 4], targets=["equal", "given"], amplitudes=[0.5, 1.0], points=N, steps=1200, snapshots=50
    )
    arrays = draw.train(Network(1, (24, 24), bias_init="normal", sigma_b=0.3), config, Stream(0, "law"), 0, 8)
    f = arrays["f"][1]
    size = np.abs(fourier.coefficients(f, np.array([1, 4]))) / targets.amplitudes(config)[:, None]
    step = fourier.lasting(np.array(config.snapshot_steps), -np.moveaxis(size, 2, -1), -0.5)
    assert np.isfinite(step[..., 0]).all()
    np.testing.assert_array_equal(fourier.ordered(step), 1.0)


def test_the_frozen_prediction_is_exact_where_f_is_linear_in_what_is_trained():
    """No hidden layer: f = w z + b, whose kernel never moves."""
    network = Network(1, (), bias_init="normal", sigma_b=0.7)
    start, ntk, f = networks(network, 3)
    y = np.sin(2 * np.pi * X[:, 0] + 1.0)
    eta, steps = descent.critical_steps(ntk, 0.4), np.array([0, 1, 2, 10, 300])
    found = [
        np.asarray(jax.vmap(lambda p: dense.forward(p, jnp.asarray(X), network))(state.params))
        for state in paths.follow(
            network, start, steps.tolist(), jnp.asarray(X), jnp.asarray(np.tile(y, (3, 1))), jnp.asarray(eta), 1e4
        )
    ]
    for i in range(3):
        expected = predict.trained(ntk[i], float(eta[i]), steps, f[i], y[None])[0]
        np.testing.assert_allclose([row[i] for row in found], expected, atol=1e-12)
        loop = f[i] - y
        for _ in range(10):
            loop = loop - eta[i] * ntk[i] @ loop
        np.testing.assert_allclose(expected[3] - y, loop, atol=1e-12)


def test_the_frozen_prediction_is_the_limit_of_small_targets():
    """f_0 + eps s: relative departures are of first order in eps for a smooth network, and vanish."""
    network = Network(1, (24,), activation="tanh", bias_init="normal")
    start, ntk, f = networks(network, 2)
    s = np.sin(2 * np.pi * X[:, 0]) + np.sin(4 * np.pi * X[:, 0] + 0.5)
    eta, apart = descent.critical_steps(ntk, 0.25), []
    for eps in (1e-3, 1e-4):
        y = f + eps * s
        *_, last = paths.follow(network, start, [0, 400], jnp.asarray(X), jnp.asarray(y), jnp.asarray(eta), 1e4)
        end = np.asarray(jax.vmap(lambda p: dense.forward(p, jnp.asarray(X), network))(last.params))
        expected = [predict.trained(ntk[i], float(eta[i]), np.array([400]), f[i], y[i][None])[0, 0] for i in range(2)]
        apart.append(np.linalg.norm(end - expected, axis=1) / eps)
    assert (apart[1] < 1e-2).all()
    np.testing.assert_allclose(apart[0] / apart[1], 10.0, rtol=0.05)  # the next order is eps smaller


def test_the_mean_rate_of_one_hidden_layer_is_the_limits_at_any_width():
    network = Network(1, (6,), bias_init="normal", sigma_b=0.5)
    _, ntk, _ = networks(network, 4000)
    frequencies = np.array([1, 2, 5])
    found = fourier.quotients(ntk, frequencies)
    exact = fourier.quotients(infinite_width.kernels(network, X).ntk, frequencies)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - exact) < 4 * error).all()
    assert (error < 0.06 * exact).all()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_small_perturbations_move_modes_by_the_kernel(activation):
    """E |f~' - f~|^2 = r^2 |theta|^2 (4/N) u* K u/p over directions, to first order in r."""
    network = Network(1, (7, 5), activation=activation, bias_init="normal", sigma_b=0.5)
    start, ntk, f = networks(network, 1)
    params, rng, radius = jax.tree.map(lambda leaf: leaf[0], start), np.random.default_rng(1), 1e-6
    size = float(perturbations.norm(params, network))
    deltas = [perturbations.direction(rng, network) for _ in range(2000)]
    many = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *deltas)
    away = jax.jit(jax.vmap(lambda d: dense.forward(descent.moved(params, d, radius * size), jnp.asarray(X), network)))(
        many
    )
    frequencies = np.array([1, 3])
    moved = np.abs(fourier.coefficients(np.asarray(away) - f, frequencies)) ** 2 / (radius * size) ** 2
    exact = 4 / N * fourier.quotients(ntk[0], frequencies) / perturbations.trained(network)
    error = moved.std(axis=0, ddof=1) / np.sqrt(len(moved))
    assert (np.abs(moved.mean(axis=0) - exact) < 4 * error).all()
    assert (error < 0.06 * exact).all()
