"""Shards of spectral_bias: values against plain loops over Jacobians, perturbations, divergence, prefixes."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.config.spectral_bias import SpectralBiasConfig
from ntkpipe.engines import dense
from ntkpipe.kinds.spectral_bias import draw, perturbations, targets
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

STREAM = Stream(3, "a cell")
CONFIG = SpectralBiasConfig(
    frequencies=[1, 3], points=8, steps=7, at=[2, 7], loss="mean", radii=[0.1, 0.4], directions=3
)
NETWORK = Network(1, (5,), bias_init="normal", sigma_b=0.5)


def train(network=NETWORK, n=2, **keys) -> dict[str, np.ndarray]:
    arrays = draw.train(network, CONFIG.model_copy(update=keys), STREAM, 0, n)
    assert {name: dims for name, (dims, _) in arrays.items()} == draw.DIMS
    return {name: array for name, (_, array) in arrays.items()}


def output(theta, z):
    """f of one network (1, 5, 1) in the trained variables: standard normal, scales in the forward pass."""
    w, b, v, c = theta[:5], theta[5:10], theta[10:15], theta[15]
    h = jnp.maximum(2**0.5 * w[:, None] * z + 0.5 * b[:, None], 0)
    return v @ h / jnp.sqrt(5.0) + 0.5 * c


def start(seed: int) -> np.ndarray:
    return variables(dense.init(jax.random.split(STREAM.key(0), 8)[seed], NETWORK))


def variables(params) -> np.ndarray:
    parts = []
    for (w, b), (first, _) in zip(params, dense.runs(NETWORK), strict=True):
        parts += [np.ravel(w) / NETWORK.weight_gain[first] ** 0.5, np.ravel(b) / NETWORK.bias_gain[first] ** 0.5]
    return np.concatenate(parts)


def test_trainings_and_perturbations_are_those_of_plain_loops():
    found, z = train(), np.arange(8) / 8
    phases = targets.phases(CONFIG, 3)
    y = [
        sum(a * np.sin(2 * np.pi * k * z + p) for a, k, p in zip(law, (1, 3), phases, strict=True))
        for law in ((1.0, 1.0), (0.5, 1.0))
    ]
    jacobian = jax.jacrev(output)
    for seed in range(2):
        generator = STREAM.generator(0, seed)
        deltas = [variables(perturbations.direction(generator, NETWORK)) for _ in range(3)]
        j = np.asarray(jacobian(start(seed), z))
        np.testing.assert_allclose(found["ntk_start"][seed], j @ j.T, atol=1e-12)
        eta = 0.25 * 2 * 8 / np.linalg.eigvalsh(j @ j.T)[-1]
        assert found["eta_used"][seed] == pytest.approx(eta, rel=1e-12)
        for t in range(2):
            p, path = start(seed), [np.asarray(output(start(seed), z))]
            for _ in range(7):
                p = p - eta / 8 * np.asarray(jacobian(p, z)).T @ (np.asarray(output(p, z)) - y[t])
                path.append(np.asarray(output(p, z)))
            np.testing.assert_allclose(found["f"][seed, t], [path[i] for i in (0, 2, 7)], atol=1e-11)
            j = np.asarray(jacobian(p, z))
            np.testing.assert_allclose(found["ntk_end"][seed, t], j @ j.T, atol=1e-11)
            assert found["norm"][seed, t] == pytest.approx(np.linalg.norm(p), rel=1e-12)
            assert found["distance"][seed, t] == pytest.approx(np.linalg.norm(p - start(seed)), rel=1e-9)
            for r, radius in enumerate((0.1, 0.4)):
                for d, delta in enumerate(deltas):
                    moved = output(p + radius * np.linalg.norm(p) * delta, z)
                    np.testing.assert_allclose(found["f_perturbed"][seed, t, r, d], moved, atol=1e-11)
    assert np.isnan(found["diverged_step"]).all()


@pytest.mark.parametrize("readout", ["trained", "frozen"])
def test_directions_are_uniform_on_the_sphere_of_the_trained_variables(readout):
    network = Network(1, (4, 3), bias_init="normal", sigma_b=0.3, readout=readout, parametrization="standard")
    p, rng, drawn = perturbations.trained(network), np.random.default_rng(0), []
    assert p == 4 + 4 + 12 + 3 + (3 + 1 if readout == "trained" else 0)
    for _ in range(2000):
        parts = perturbations.direction(rng, network)
        drawn.append(np.concatenate([np.ravel(leaf) for pair in parts for leaf in pair]))
    drawn = np.array(drawn)[:, : p if readout == "frozen" else None]
    np.testing.assert_allclose(np.sum(drawn**2, axis=1), 1.0, rtol=1e-12)  # gains are 1: stored = trained
    error = np.sqrt(2 / (p * p * 2000))  # of a mean of squares with mean 1/p
    assert np.abs(np.mean(drawn**2, axis=0) - 1 / p).max() < 4.5 * error
    off = drawn.T @ drawn / 2000 - np.eye(p) / p
    assert np.abs(off - np.diag(np.diag(off))).max() < 5 / p / np.sqrt(2000)


def test_fewer_networks_are_a_prefix_and_targets_do_not_see_each_other():
    more, fewer, one = train(), train(n=1), train(targets=("rising",))
    for name, array in fewer.items():
        np.testing.assert_allclose(array, more[name][:1], rtol=1e-11, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(one["f"][:, 0], more["f"][:, 1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(one["f_perturbed"][:, 0], more["f_perturbed"][:, 1], rtol=1e-11, atol=1e-12)
    assert np.abs(more["ntk_start"][0] - more["ntk_start"][1]).max() > 0.01


def test_a_diverged_run_is_nan_from_there_on_and_the_start_is_kept():
    found = train(eta=30.0, at=None, snapshots=12, steps=200)
    gone = np.isfinite(found["diverged_step"])
    assert gone.any()
    for name in ("ntk_end", "f_perturbed", "distance", "norm"):
        array = found[name].reshape(*gone.shape, -1)
        np.testing.assert_array_equal(np.isnan(array).all(axis=-1), gone)
    np.testing.assert_array_equal(np.isnan(found["f"][:, :, -1]).all(axis=-1), gone)
    assert np.isfinite(found["f"][:, :, 0]).all() and np.isfinite(found["ntk_start"]).all()


def test_targets_by_law_and_phases_by_the_seed_alone():
    config = CONFIG.model_copy(update={"targets": ("rising", "given"), "amplitudes": (2.0, 0.5)})
    np.testing.assert_array_equal(targets.amplitudes(config), [[0.5, 1.0], [2.0, 0.5]])
    np.testing.assert_array_equal(targets.phases(config, 3), targets.phases(CONFIG, 3))
    assert (targets.phases(config, 3) != targets.phases(config, 4)).all()
    fixed = config.model_copy(update={"phases": (0.0, np.pi / 2)})
    z = np.arange(8) / 8
    expected = 2 * np.sin(2 * np.pi * z) + 0.5 * np.cos(6 * np.pi * z)
    np.testing.assert_allclose(targets.values(fixed, 3)[1], expected, atol=1e-14)


def test_a_shard_is_its_quanta():
    cell = SimpleNamespace(network=NETWORK, settings=CONFIG)
    study = SimpleNamespace(stream=lambda cell: STREAM)
    whole = draw.draw(study, SimpleNamespace(cell=cell, start=0, stop=10))
    second = draw.train(NETWORK, CONFIG, STREAM, 1, 2)
    for name, (dims, array) in second.items():
        assert whole[name][0] == dims and len(whole[name][1]) == 10
        np.testing.assert_array_equal(whole[name][1][8:], array)
