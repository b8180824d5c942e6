"""Finite networks approach the kernels of infinite width, and those have the known spectra on the circle."""

import numpy as np
import pytest
from scipy import integrate

from ntkpipe.engines import dense, matrix_free
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream
from ntkpipe.theory import circle
from ntkpipe.theory.infinite_width import kernels

pytestmark = pytest.mark.law

X = np.array([[1.0, 0.4, -0.2], [0.3, -0.8, 0.9], [-0.7, 0.5, 0.6]])


def draws(engine, network, quanta, n=QUANTUM):
    """(K, f) of the first n draws of each quantum."""
    parts = [engine.sample(network, X, Stream(0, engine.__name__), q, n) for q in range(quanta)]
    return np.concatenate([p.ntk for p in parts]), np.concatenate([p.output for p in parts])


@pytest.mark.parametrize(
    ("engine", "activation", "bias_init", "parametrization"),
    [
        (matrix_free, "relu", "none", "ntk"),
        (matrix_free, "relu", "normal", "standard"),
        (matrix_free, "tanh", "zero", "ntk"),
        (dense, "relu", "normal", "ntk"),
    ],
)
def test_a_network_is_off_by_width_to_the_minus_one_half(engine, activation, bias_init, parametrization, quick_compile):
    widths, seeds = ((32, 64, 128, 256), 64) if engine is dense else ((64, 128, 256, 512, 1024), 256)
    keys = {"bias_init": bias_init, "sigma_b": 0.5, "parametrization": parametrization, "sigma_w": 1.4}
    logs = []
    for n in widths:
        net = Network(3, (n,) * 3, activation, **keys)
        limit = kernels(net, X).ntk
        ntk, _ = draws(engine, net, 1, seeds)
        logs.append(np.log(np.linalg.norm(ntk - limit, axis=(1, 2)) / np.linalg.norm(limit)))
    centred = np.log(widths) - np.log(widths).mean()
    slope = centred @ np.mean(logs, axis=1) / np.sum(centred**2)
    error = np.sqrt(np.sum(centred**2 * np.var(logs, axis=1, ddof=1) / seeds)) / np.sum(centred**2)
    assert error < 0.05
    # 0.05: the n^-1 of the mean and of higher orders beside the n^-1/2 of the fluctuation
    assert abs(slope + 0.5) < 4 * error + 0.05


@pytest.mark.parametrize(
    ("activation", "bias_init", "parametrization"),
    [("relu", "zero", "standard"), ("erf", "none", "ntk"), ("tanh", "zero", "ntk")],
)
def test_the_mean_is_off_by_one_over_width(activation, bias_init, parametrization):
    """(8 m_4n - 6 m_2n + m_n)/3, m_n = E K_n - Theta, has no terms in 1/n and 1/n^2: 0 within 4 standard errors.

    Were Theta off by as much as m_n, the combination would be off as much; and m_n is seen.
    """
    bias, error = [], []
    for n in (16, 32, 64):
        net = Network(3, (n,) * 6, activation, bias_init=bias_init, sigma_b=0.5, parametrization=parametrization)
        ntk, _ = draws(matrix_free, net, 24)
        scale = n if parametrization == "standard" else 1  # K/n has a limit
        bias.append((ntk.mean(axis=0) - kernels(net, X).ntk) / scale)
        error.append(ntk.std(axis=0) / np.sqrt(len(ntk)) / scale)
    assert np.max(np.abs(bias[0]) / error[0]) > 4
    combined = 8 * bias[2] - 6 * bias[1] + bias[0]
    assert np.all(np.abs(combined) < 4 * np.sqrt(64 * error[2] ** 2 + 36 * error[1] ** 2 + error[0] ** 2))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_outputs_have_the_nngp_covariance(activation):
    """E[f f'] is the NNGP up to 1/n; the standard error of a product of Gaussians from the limit itself."""
    net = Network(3, (1024,) * 2, activation, bias_init="normal", sigma_b=0.4)
    _, f = draws(matrix_free, net, 4)
    nngp = kernels(net, X).nngp
    variances = np.diag(nngp)
    error = np.sqrt((np.outer(variances, variances) + nngp**2) / len(f))
    assert np.all(np.abs(f.T @ f / len(f) - nngp) < 4 * error)


@pytest.mark.parametrize("order", [0, 1])
def test_arc_cosine_kernels_of_cho_and_saul(order):
    """One hidden layer against E[phi(w.x) phi(w.x')], w ~ N(0, I), integrated in the plane of x and x'."""
    net = Network(2, (1,), "relu", readout="frozen" if order == 0 else "trained")
    for t in (0.0, 0.4, 1.5, 3.0):
        points = np.array([[1.0, 0.0], [np.cos(t), np.sin(t)]])

        def both(psi, t=t):
            return np.cos(psi) * np.cos(psi - t)

        low, high = t - np.pi / 2, np.pi / 2  # where both gates are open
        if order == 1:  # E r^2 = 2 of the Rayleigh radius
            expected = 2 * integrate.quad(both, low, high, epsabs=1e-13)[0] / (2 * np.pi)
            found = kernels(net, points).nngp[0, 1]
        else:  # the frozen readout leaves x.x' E[gates]
            expected = np.cos(t) * (high - low) / (2 * np.pi)
            found = kernels(net, points).ntk[0, 1]
        assert found == pytest.approx(expected, abs=1e-13)


def eigenvalues(depth, modes, norm, **keys):
    """NTK eigenvalues of a deep ReLU network on the circle."""
    net = Network(2, (1,) * depth, **keys)
    return circle.spectrum(lambda t: circle.profile(net, t, norm).ntk[0], np.asarray(modes)).eigenvalues


def test_odd_modes_are_missing_with_one_hidden_layer_alone():
    odd = [3, 5, 7, 9, 21]
    assert np.max(np.abs(eigenvalues(1, odd, 1.0))) < 1e-15
    assert np.min(eigenvalues(1, odd, 1.0, bias_init="zero")) > 1e-4
    # theory.md, section 6: 0.049 and 0.30, on the circle |x|^2 = n_0; a kernel without biases scales like |x|^2
    for depth, stated, digits in ((2, 0.049, 5e-4), (8, 0.30, 5e-3)):
        assert eigenvalues(depth, [3], np.sqrt(2))[0] == pytest.approx(stated, abs=digits)
        assert eigenvalues(depth, [3], 1.0)[0] == pytest.approx(eigenvalues(depth, [3], np.sqrt(2))[0] / 2, rel=1e-12)
        assert np.min(eigenvalues(depth, odd, 1.0)) > 1e-4


@pytest.mark.parametrize("depth", [2, 4])
def test_eigenvalues_decay_like_the_kink(depth):
    """Theta has a kink -|t| at t = 0 (Bietti & Bach 2021): lambda_q q^2 -> its strength (and at pi, of sign (-1)^q)."""
    modes = np.array([200, 201, 400, 401, 800, 801])
    scaled = eigenvalues(depth, modes, np.sqrt(2)) * modes**2
    # K(0) - K(t) = t/(2 pi) sum_l 2 l: one side's slope s gives lambda_q = s/(pi q^2)
    expected = sum(2 * layer for layer in range(1, depth + 1)) / (2 * np.pi) / np.pi
    pairs = scaled.reshape(3, 2).mean(axis=1)
    errors = np.abs(pairs / expected - 1)
    assert errors[-1] < 0.01
    assert np.all(errors[1:] < 0.7 * errors[:-1])
