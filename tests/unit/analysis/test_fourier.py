"""Fourier modes of functions on [0, 1): pure modes, Parseval, crossings, orders, against NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.analysis import fourier

RNG = np.random.default_rng(5)
KS = np.array([1, 2, 5])


def sine(k: int, amplitude: float, phase: float, n: int) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * k * np.arange(n) / n + phase)


@pytest.mark.parametrize("n", [11, 12, 40])
def test_a_pure_mode_has_its_amplitude_its_phase_and_nothing_else(n):
    f = sine(2, 1.7, 0.4, n)
    found = fourier.coefficients(f, KS)
    np.testing.assert_allclose(found, [0, -1j * 1.7 * np.exp(0.4j), 0], atol=1e-13)
    every = fourier.amplitudes(f)
    assert every[2] == pytest.approx(1.7, abs=1e-13) and np.delete(every, 2).max() < 1e-13
    assert fourier.off_target(f, KS) < 1e-26


@pytest.mark.parametrize("n", [9, 16])
def test_energies_add_up_to_the_mean_square(n):
    f = RNG.standard_normal((3, n))
    np.testing.assert_allclose(fourier.energies(f).sum(axis=-1), np.mean(f**2, axis=-1), rtol=1e-13)
    off = fourier.off_target(f, np.array([1, 3]))
    modes = np.abs(np.fft.fft(f, axis=-1)) ** 2 / n**2
    expected = np.mean(f**2, axis=-1) - 2 * modes[:, [1, 3]].sum(axis=-1)
    np.testing.assert_allclose(off, expected, rtol=1e-12)
    ends = fourier.amplitudes(np.stack([np.full(8, 2.0), 3.0 * (-1.0) ** np.arange(8)]))
    np.testing.assert_allclose(ends[[0, 1], [0, 4]], [2.0, 3.0], rtol=1e-14)  # no partner: their own amplitude


@pytest.mark.parametrize("frequencies", [[0, 1], [1, 4], [1, 9]])
def test_frequencies_that_the_points_do_not_tell_apart_are_refused(frequencies):
    with pytest.raises(ValueError, match="at least 1 and below n/2 = 4"):
        fourier.coefficients(np.zeros(8), np.array(frequencies))


def test_quotients_of_a_circulant_kernel_are_its_eigenvalues():
    n = 12
    row = RNG.standard_normal(n)
    row = row + np.roll(row[::-1], 1)  # symmetric: row[j] = row[-j]
    ntk = row[(np.arange(n)[:, None] - np.arange(n)) % n]
    np.testing.assert_allclose(fourier.quotients(ntk[None], KS), [np.fft.fft(row).real[KS]], atol=1e-13)
    jacobian = RNG.standard_normal((n, 4))
    loops = [np.linalg.norm(np.exp(2j * np.pi * k * np.arange(n) / n).conj() @ jacobian) ** 2 / n for k in KS]
    np.testing.assert_allclose(fourier.quotients(jacobian @ jacobian.T, KS), loops, rtol=1e-12)


def test_lasting_is_the_last_crossing():
    step = np.array([0, 1, 2, 4, 8])
    rows = np.array(
        [
            [9, 3, 1, 1, 1],  # crosses 2 between 1 and 2
            [9, 1, 9, 1, 0],  # comes back: the last crossing counts, 2 + 2 * 7/8
            [1, 1, 1, 1, 1],  # always below
            [9, 1, 1, 1, 3],  # above at the end
            [9, 1, 1, np.nan, 1],
        ],
        float,
    )
    np.testing.assert_allclose(fourier.lasting(step, rows, 2.0), [1.5, 3.75, 0.0, np.inf, np.nan])


def test_exponents_are_least_squares_of_logs_over_known_steps():
    k = np.array([1, 2, 3, 5])
    step = np.array([3.0 * k**1.5, [10, 0, 40, np.inf], [np.inf] * 3 + [4.0]])
    expected = np.polyfit(np.log([1, 3]), np.log([10, 40]), 1)[0]
    np.testing.assert_allclose(fourier.exponents(k, step), [1.5, expected, np.nan], rtol=1e-12)
    noisy = np.exp(RNG.standard_normal(4))
    fit = np.polyfit(np.log(k), np.log(noisy), 1)[0]
    np.testing.assert_allclose(fourier.exponents(k, noisy[None]), [fit], rtol=1e-12)


def test_rank_correlations_are_spearmans():
    k = np.array([1, 2, 3, 5])
    rows = np.array([[4.0, 1, 2, 9], [1, 2, 2, 3], [1, 2, np.inf, np.inf], [5, 5, 5, 5]])
    finite = np.where(np.isinf(rows), 99, rows)
    expected = [*(stats.spearmanr(k, row).statistic for row in finite[:3]), np.nan]
    np.testing.assert_allclose(fourier.rank_correlations(k, rows), expected, rtol=1e-12)
    assert np.isnan(fourier.rank_correlations(k, np.array([1, 2, np.nan, 3])))


def test_ordered_asks_for_a_strict_order_and_lets_the_last_be_unfitted():
    rows = np.array([[1, 2, 3], [1, 2, np.inf], [1, np.inf, np.inf], [1, 1, 2], [2, 1, 3], [1, np.nan, 3]], float)
    np.testing.assert_array_equal(fourier.ordered(rows), [1, 1, 0, 0, 0, np.nan])
