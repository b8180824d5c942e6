"""Exact variances against enumeration and quadrature; bounds against their formulas; aliasing against closed sums."""

import itertools
import math

import numpy as np
import pytest

from ntkpipe import angles
from ntkpipe.theory import circle, concentration

QMAX = 2
MODES = 2 * QMAX + 1


def kernel(t):
    """A trigonometric polynomial: known eigenvalues, and exact averages on few equal angles."""
    return 0.7 + np.cos(t) + 0.4 * np.cos(2 * t) + 0.1 * np.cos(3 * t)


EIGENVALUES = np.array([0.7, 0.5, 0.2])
KAPPA = 2.2


def squared(qmax):
    theta = angles.equal(64)
    modes = np.fft.rfft(kernel(theta) ** 2).real / 64
    return modes[: qmax + 1]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_mean_and_variance_are_those_of_all_samples(n):
    """n points on a grid that averages every product exactly: all samples of them are enumerated."""
    grid = angles.equal(13)  # products of four modes and two kernels have frequencies up to 4 * 2 + 2 * 3 - 2 < 13
    modes, table = angles.fourier_modes(grid, QMAX), kernel(grid[:, None] - grid)
    found = []
    for index in itertools.product(range(len(grid)), repeat=n):
        phi, rows = modes[list(index)], table[np.ix_(index, index)]
        found.append(phi.T @ rows @ phi / n**2)
    every = np.array(found)
    mean = np.diag(concentration.compressed_mean(EIGENVALUES, KAPPA, n))
    np.testing.assert_allclose(every.mean(axis=0), mean, atol=1e-13)
    variance = concentration.compressed_variance(EIGENVALUES, squared(2 * QMAX), KAPPA, n)
    np.testing.assert_allclose(every.var(axis=0), variance, atol=1e-12)
    off = every - np.diag(concentration.on_modes(EIGENVALUES))
    rms = concentration.error_rms(EIGENVALUES, squared(2 * QMAX), KAPPA, n)
    assert rms["operator"] == pytest.approx(math.sqrt(np.mean(np.sum(off**2, axis=(1, 2)))), rel=1e-12)
    assert rms["leakage 1"] == pytest.approx(math.sqrt(np.mean(np.sum(every[:, [0, 3, 4], 1] ** 2, axis=1))), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_action_and_gram_are_those_of_all_samples(n):
    grid = angles.equal(13)
    modes, table = angles.fourier_modes(grid, QMAX), kernel(grid[:, None] - grid)
    values = concentration.on_modes(EIGENVALUES)
    action, gram = [], []
    for index in itertools.product(range(len(grid)), repeat=n):
        phi = modes[list(index)]
        error = table[np.ix_(index, index)] @ phi / n - phi * values
        action.append(np.mean(error**2, axis=0))
        gram.append(np.sum((phi.T @ phi / n - np.eye(MODES)) ** 2))
    exact = concentration.action_mean_square(EIGENVALUES, float(squared(0)[0]), KAPPA, n)
    np.testing.assert_allclose(np.mean(action, axis=0), concentration.on_modes(exact), rtol=1e-11)
    rms = concentration.error_rms(EIGENVALUES, squared(2 * QMAX), KAPPA, n)
    assert rms["gram"] == pytest.approx(math.sqrt(np.mean(gram)), rel=1e-12)


def test_no_point_moves_an_error_by_more_than_the_bounds_say():
    """McDiarmid's c, by its deviation at delta: against moves of one point of many samples."""
    n, delta, rng = 6, math.exp(-2), np.random.default_rng(0)  # log 1/delta = 2: deviation = c sqrt(n)
    rms = concentration.error_rms(EIGENVALUES, squared(2 * QMAX), KAPPA, n)
    bound = concentration.bounds(EIGENVALUES, squared(2 * QMAX), KAPPA, n, delta)
    c = {name: (bound[name] - rms[name]) / math.sqrt(n) for name in rms}
    most = dict.fromkeys(c, 0.0)
    for _ in range(3000):
        theta = rng.choice(angles.equal(24), n)
        moved = np.append(rng.choice(angles.equal(24)), theta[1:])
        matrices = []
        for points in (theta, moved):
            phi = angles.fourier_modes(points, QMAX)
            matrices.append((phi.T @ phi / n, phi.T @ kernel(points[:, None] - points) @ phi / n**2))
        gram, operator = (after - before for before, after in zip(*matrices, strict=True))
        most["gram"] = max(most["gram"], np.linalg.norm(gram))
        most["operator"] = max(most["operator"], np.linalg.norm(operator))
        most["leakage 0"] = max(most["leakage 0"], np.linalg.norm(operator[1:, 0]))
        most["leakage 1"] = max(most["leakage 1"], np.linalg.norm(operator[[0, 3, 4], 1]))
    assert all(most[name] <= c[name] for name in most)
    assert all(most[name] > 0.2 * c[name] for name in ("gram", "operator", "leakage 0", "leakage 1"))  # nor far less


def test_bounds_by_hand():
    n, delta = 50, 0.1
    found = concentration.bounds(EIGENVALUES, squared(2 * QMAX), KAPPA, n, delta)
    assert found["gram entry"] == pytest.approx(4 * math.sqrt(math.log(2 * 14 / 0.1) / 100))
    assert found["gram"] == pytest.approx(math.sqrt(20 / 50) + 5 * math.sqrt(math.log(10) / 50))
    one = 2.2 * math.sqrt(2) * (math.sqrt(2 * 49 * math.log(1000)) + (2.2 - 0.5) / 2.2) / 50
    assert found["action 1"] == pytest.approx(one)
    with pytest.raises(ValueError, match=r"delta must lie between 0 and 1; it was 1.5"):
        concentration.bounds(EIGENVALUES, squared(2 * QMAX), KAPPA, n, 1.5)
    with pytest.raises(ValueError, match=r"2 qmax = 4; it has 3"):
        concentration.compressed_variance(EIGENVALUES, squared(2), KAPPA, n)


@pytest.mark.parametrize("n", [16, 8, 5])
def test_equal_angles_alias(n):
    """Against the matrices themselves, and below Nyquist against sums over closed-form eigenvalues."""
    qmax, theta = 3, angles.equal(n)
    apart = np.abs(theta[:, None] - theta)
    table = circle.relu_kernel(np.minimum(apart, 2 * np.pi - apart))
    gram, operator = concentration.on_equal_angles(table[0], qmax)
    phi = angles.fourier_modes(theta, qmax)
    np.testing.assert_allclose(gram, phi.T @ phi / n, atol=1e-14)
    np.testing.assert_allclose(operator, phi.T @ table @ phi / n**2, atol=1e-14)
    if 2 * qmax < n:
        np.testing.assert_allclose(operator, np.diag(np.diag(operator)), atol=1e-14)
        m = np.arange(-20000, 20001)
        sums = [circle.relu_eigenvalues(np.abs(q + m * n)).sum() for q in angles.mode_frequencies(qmax)]
        tail = 2 / (np.pi**2 * n**2 * 20000)  # of 1/(pi m n)^2 beyond the last
        np.testing.assert_allclose(np.diag(operator), sums, atol=2 * tail)


def test_a_frequency_between_modes():
    """Coefficients and deviations by quadrature on a fine grid; the pole of the formula as written is met."""
    omega, theta = np.array([0.5, 1.5, 2.25, 2.999]), (np.arange(200001) + 0.5) * 2 * np.pi / 200001 - np.pi
    mean, sd = concentration.incommensurate(omega, 3)
    for row, (a, s) in enumerate(zip(mean, sd, strict=True)):
        products = angles.fourier_modes(theta, 3) * np.cos(omega[row] * theta)[:, None]
        np.testing.assert_allclose(a, products.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(s, products.std(axis=0), atol=1e-9)
    written = math.sqrt(2) * omega * np.sin(np.pi * omega) / (np.pi * (omega**2 - 4))
    np.testing.assert_allclose(mean[:, 3], written, rtol=1e-12)
