"""Physics of finite samples: the self-term, the spread of modes, bounds that hold, and equal angles."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import stats

from ntkpipe import angles
from ntkpipe.analysis import sampling
from ntkpipe.kinds.finite_sample import draw, limits
from ntkpipe.networks import Network
from ntkpipe.theory import concentration, infinite_width

pytestmark = pytest.mark.law

QMAX, DRAWS = 3, 1200
RELU = Network(input_dim=2, widths=(16,), bias_init="zero", output_bias=False)
DEEP = Network(input_dim=2, widths=(16, 16))


@cache
def seen(network, n):
    """(errors by name, C) of many draws of n uniform points, limit kernel."""
    limit, rng = limits.spectrum(network), np.random.default_rng(n)
    values = limit.eigenvalues[: QMAX + 1]
    gram, coupling, action = [], [], []
    for _ in range(DRAWS):
        theta = rng.uniform(0, 2 * np.pi, n)
        phi = angles.fourier_modes(theta, QMAX)
        kernel = infinite_width.kernels(network, angles.on_circle(theta)).ntk
        part = sampling.through_modes(kernel, phi, concentration.on_modes(values))
        gram.append(phi.T @ phi / n)
        coupling.append(part.coupling)
        action.append(part.action_max)
    gram, coupling, action = np.array(gram), np.array(coupling), np.array(action)
    return sampling.errors(gram, coupling, action, values), coupling


@pytest.mark.parametrize(("network", "n"), [(RELU, 12), (DEEP, 30)])
def test_the_self_term_and_the_spread_of_every_entry_are_exact(network, n):
    limit = limits.spectrum(network)
    errors, coupling = seen(network, n)
    mean = np.diag(concentration.compressed_mean(limit.eigenvalues[: QMAX + 1], limit.kappa, n))
    variance = concentration.compressed_variance(
        limit.eigenvalues[: QMAX + 1], limit.squared[: 2 * QMAX + 1], limit.kappa, n
    )
    z = (coupling.mean(axis=0) - mean) / np.sqrt(variance / DRAWS)
    entries = np.triu_indices(2 * QMAX + 1)
    assert np.abs(z[entries]).max() < stats.norm.isf(1e-3 / (2 * len(entries[0])))
    assert (
        abs(z[np.diag_indices(2 * QMAX + 1)]).max()
        < abs(  # without the self-term it would be far off
            (np.diag(mean) - concentration.on_modes(limit.eigenvalues[: QMAX + 1])) / np.sqrt(np.diag(variance) / DRAWS)
        ).min()
    )
    squares = (coupling - coupling.mean(axis=0)) ** 2
    error = squares.std(axis=0) / math.sqrt(DRAWS)
    assert np.abs((squares.mean(axis=0) - variance) / error)[entries].max() < 5
    rms = concentration.error_rms(limit.eigenvalues[: QMAX + 1], limit.squared[: 2 * QMAX + 1], limit.kappa, n)
    for name, exact in rms.items():
        square = errors[name] ** 2
        assert abs(square.mean() - exact**2) < 4 * square.std() / math.sqrt(DRAWS), name


@pytest.mark.parametrize("delta", [0.5, 0.1])
def test_bounds_are_not_passed_more_often_than_they_allow(delta):
    """Binomial: that many draws or more beyond a sharp bound have a probability above 1 in 1000, of each error."""
    limit = limits.spectrum(RELU)
    errors, _ = seen(RELU, 12)
    bounds = concentration.bounds(limit.eigenvalues[: QMAX + 1], limit.squared[: 2 * QMAX + 1], limit.kappa, 12, delta)
    for name, bound in bounds.items():
        passed = int((errors[name] > bound).sum())
        assert stats.binom.sf(passed - 1, DRAWS, delta) > 1e-3, name
        assert bound < 40 * np.quantile(errors[name], 1 - delta), name  # nor is it idle


def test_errors_fall_like_a_power_minus_one_half():
    """From the exact root mean squares, which the test above pins: the slope tends to -1/2, and begins steeper."""
    limit = limits.spectrum(RELU)
    sizes = np.array([2**8, 2**12, 2**16, 2**20])
    rms = [
        concentration.error_rms(limit.eigenvalues[: QMAX + 1], limit.squared[: 2 * QMAX + 1], limit.kappa, int(n))
        for n in sizes
    ]
    for name in rms[0]:
        slopes = np.diff(np.log([part[name] for part in rms])) / np.diff(np.log(sizes))
        assert slopes[-1] == pytest.approx(-0.5, abs=1e-3), name
        assert (np.diff(slopes) > -1e-12).all(), name


def test_equal_angles_do_not_couple_below_nyquist():
    """To rounding; at N = 2 q they do: q aliases with itself, and its sine vanishes."""
    limit = limits.spectrum(RELU)
    for n in (2 * QMAX + 1, 16):
        theta = angles.equal(n)
        kernel = limits.between(RELU, theta, theta)
        found = sampling.through_modes(kernel, angles.fourier_modes(theta, QMAX), np.zeros(2 * QMAX + 1)).coupling
        off = found - np.diag(np.diag(found))
        assert np.abs(off).max() < 50 * np.finfo(float).eps * limit.kappa
        aliased = [limit.eigenvalues[np.abs(q + n * np.arange(-10, 11))].sum() for q in angles.mode_frequencies(QMAX)]
        beyond = 2 * (1 + 1) / (np.pi**2 * n**2 * 9.5)  # both kinks, terms beyond 10 n
        assert (np.abs(np.diag(found) - aliased) < beyond).all()
    theta = angles.equal(2 * QMAX)
    kernel = limits.between(RELU, theta, theta)
    found = sampling.through_modes(kernel, angles.fourier_modes(theta, QMAX), np.zeros(2 * QMAX + 1)).coupling
    assert abs(found[-1, -1]) < 1e-14 and found[-2, -2] > 1.9 * limit.eigenvalues[QMAX]


def test_a_network_of_one_layer_has_the_same_mean(make_study, quickly):
    """E K = Theta at any width, so points and width add in square: E|C_n - diag|^2 = E|C - diag|^2 + E|C_n - C|^2."""
    study = make_study(
        kind="finite_sample",
        grid={"width": 16, "depth": 1},
        seeds=256,
        network={"bias_init": "zero", "output_bias": False},
        finite_sample={"train": 12, "modes": QMAX, "omega": [1.5], "eval": 8, "most_steps": 1},
    )
    cell = study.cells[0]
    with quickly():
        parts = [draw.sample(cell.network, cell.settings, study.stream(cell), q, 8) for q in range(32)]
    coupling = np.concatenate([part["coupling"][1] for part in parts])
    limit = limits.spectrum(cell.network)
    mean = concentration.compressed_mean(limit.eigenvalues[: QMAX + 1], limit.kappa, 12)
    diagonal = np.diagonal(coupling[:, 1], axis1=1, axis2=2)
    z = (diagonal.mean(axis=0) - mean) / (diagonal.std(axis=0, ddof=1) / 16)
    assert np.abs(z).max() < 4
    sampled = coupling[:, 0] - np.diag(concentration.on_modes(limit.eigenvalues[: QMAX + 1]))
    cross = np.sum(sampled * (coupling[:, 1] - coupling[:, 0]), axis=(1, 2))
    assert abs(cross.mean()) < 4 * cross.std(ddof=1) / 16
