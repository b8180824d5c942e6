"""Modes on the circle: wide networks learn them at their eigenvalues; what has no eigenvalue stays; densities count."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.analysis import modes
from ntkpipe.config.eigenmodes import EigenmodesConfig
from ntkpipe.kinds.eigenmodes import draw, population
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import circle, density_points

pytestmark = pytest.mark.law

STREAM = Stream(0, "eigenmodes")
SMALL = 1e-3
"""Scale of targets at which training is lazy: the kernel moves by about as much of itself."""


def train(network, n=8, **keys):
    defaults = {"frequencies": [1, 2, 3], "modes": 3, "train": 16, "evaluate": 64, "scale": SMALL, "kernels": 2}
    config = EigenmodesConfig(**(defaults | keys))
    arrays = draw.train(network, config, STREAM, 0, n)
    theta = density_points.quantiles(density_points.of(config.density), config.train)
    y = config.scale * draw.targets(config.frequencies, theta)
    found = {name: array for name, (_, array) in arrays.items()}
    return found, theta, (found["f_train"] - y[:, None]) / config.scale


def test_wide_networks_learn_modes_at_the_closed_form_rates(quick_compile):
    """E[K_0] is the limit, so the first step's mean change is exact: within 4 standard errors, and 5 % of it."""
    network = Network(2, (2048,), bias_init="zero", output_bias=False)
    _, theta, r = train(network, eta=0.02, eta_unit="absolute", steps=1, snapshots=2)
    m = np.arange(-2000, 2001)
    for t, q in enumerate((1, 2, 3)):
        lam = circle.relu_eigenvalues(np.abs(q + 16 * m), hidden_bias=1.0).sum()
        left = r[:, t, 1] @ np.cos(q * theta) / (r[:, t, 0] @ np.cos(q * theta))
        rate = (1 - left) / (0.02 * 16)
        error = rate.std(ddof=1) / np.sqrt(len(rate))
        assert error < 0.05 * lam
        assert abs(rate.mean() - lam) < stats.t.ppf(1 - 3e-5, 7) * error


def test_the_distance_to_the_limit_falls_like_the_root_of_the_width(quick_compile):
    """Of the residual's whole path from linear dynamics with the limit kernel, under an uneven density."""
    logs, widths = [], (64, 256, 1024)
    for n in widths:
        network = Network(2, (n,), bias_init="zero", output_bias=False)
        found, _, r = train(network, density="halves:4", eta=0.05, eta_unit="absolute", steps=60, snapshots=5)
        eigen, cross = population.on_points(network, "halves:4", 16, 64)
        limit = modes.linear(eigen, cross, r[:, :, 0], found["rate"], np.array([0, 1, 4, 15, 60])).residual
        logs.append(np.log(np.linalg.norm((r - limit).reshape(8, -1), axis=1)))
    x = np.log(widths) - np.mean(np.log(widths))
    slope = x @ np.mean(logs, axis=1) / (x @ x)
    error = np.sqrt(np.sum(x**2 * np.var(logs, axis=1, ddof=1) / 8)) / (x @ x)
    assert error < 0.12
    assert abs(slope + 0.5) < 4 * error + 0.05  # n^-1 beside n^-1/2
    assert logs[-1].max() < np.log(0.25 * np.sqrt(r[0, :, 0].size))


def test_without_biases_odd_modes_are_never_learned(quick_compile):
    """One hidden ReLU layer: at width 8, targets of full size, trained long."""
    found, theta, r = train(Network(2, (8,)), frequencies=[3, 5], modes=5, scale=1.0, steps=300)
    for t, q in enumerate((3, 5)):
        np.testing.assert_allclose(r[:, t] @ np.cos(q * theta) / 8, -1.0, atol=1e-11)
    assert np.abs(found["f_train"]).max() < 1e-9  # nothing else is in the residual
