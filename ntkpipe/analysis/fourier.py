r"""Fourier modes of functions on N equally spaced points z = j/N of [0, 1), and when each is fitted.

With the coefficient of frequency k

.. math:: \tilde f(k) = \frac{2}{N} \sum_j f(z_j)\, e^{-2\pi i k z_j},

A sin(2 pi k z + phi) has :math:`\tilde f(k) = -i A e^{i\phi}` for 0 < k < N/2 and no other coefficient there:
|f~(k)| is its amplitude. Frequencies k and N - k look alike. Arrays in, arrays out: ``*batch`` are dims such as seeds
and snapshots. NaN in (a diverged run) gives NaN out. Source: docs/theory.md section 8.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float, Int, Num


def waves(n: int, frequencies: Int[np.ndarray, " mode"]) -> Complex[np.ndarray, "mode n"]:
    """exp(-2 pi i k j/n).

    Raises
    ------
    ValueError: a frequency is not in 1 .. (n - 1)/2, where a mode is its own and not half of a pair.
    """
    if not np.all((frequencies >= 1) & (2 * frequencies < n)):
        raise ValueError(f"frequencies must be at least 1 and below n/2 = {n / 2:g}; they were {frequencies.tolist()}")
    return np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n)) / n)


def coefficients(f: Float[np.ndarray, "*batch n"], frequencies: Int[np.ndarray, " mode"]) -> Complex[np.ndarray, "..."]:
    """f~(k), (*batch, mode).

    Raises
    ------
    ValueError: a frequency that n points do not tell from another.
    """
    n = f.shape[-1]
    return 2 / n * f @ waves(n, frequencies).T


def amplitudes(f: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch q"]:
    """|f~(q)| of all q = 0 .. N/2; at q = 0 and N/2, which have no partner, the amplitude of that cosine itself."""
    n = f.shape[-1]
    found = 2 / n * np.abs(np.fft.rfft(f, axis=-1))
    found[..., 0] /= 2
    if n % 2 == 0:
        found[..., -1] /= 2
    return found


def energies(f: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch q"]:
    """Parts of the mean square of f by frequency: they add up to it (Parseval)."""
    squares = amplitudes(f) ** 2
    last = squares.shape[-1] - 1 if f.shape[-1] % 2 == 0 else squares.shape[-1]
    squares[..., 1:last] /= 2
    return squares


def off_target(f: Float[np.ndarray, "*batch n"], frequencies: Int[np.ndarray, " mode"]) -> Float[np.ndarray, "*batch"]:
    """Mean square of what f has at frequencies other than these (the constant included)."""
    rest = energies(f)
    rest[..., frequencies] = 0.0
    return np.asarray(rest.sum(axis=-1))


def quotients(ntk: Float[np.ndarray, "*batch n n"], frequencies: Int[np.ndarray, " mode"]) -> Float[np.ndarray, "..."]:
    """Rayleigh quotients u* K u of the unit vectors u_j = exp(2 pi i k j/N)/sqrt(N), (*batch, mode).

    Mean over phases of the rate at which gradient flow begins to move that mode; an eigenvalue where K is circulant.
    """
    u = waves(ntk.shape[-1], frequencies).conj() / np.sqrt(ntk.shape[-1])
    return np.einsum("mi,...ij,mj->...m", u.conj(), ntk, u, optimize=True).real


def lasting(
    step: Num[np.ndarray, " snapshot"], value: Float[np.ndarray, "*batch snapshot"], level: float
) -> Float[np.ndarray, "*batch"]:
    """First step from which on the value stays at or below the level, linear between snapshots.

    0 where it always is; inf where it is not at the last snapshot; NaN where a value is not known.
    """
    above = value > level
    last = above.shape[-1] - 1 - np.flip(above, axis=-1).argmax(axis=-1)  # the last snapshot above
    ends = np.minimum(last + 1, above.shape[-1] - 1)
    before, after = (np.take_along_axis(value, i[..., None], axis=-1)[..., 0] for i in (last, ends))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (before - level) / (before - after)
        found = step[last] + part * (step[ends] - step[last])
    found = np.where(above.any(axis=-1), np.where(above[..., -1], np.inf, found), 0.0)
    return np.where(np.isnan(value).any(axis=-1), np.nan, found)


def exponents(
    frequencies: Int[np.ndarray, " mode"], size: Float[np.ndarray, "*batch mode"]
) -> Float[np.ndarray, "*batch"]:
    """a of size ~ k^a by least squares of logs, of each run over the modes whose size is positive and finite.

    NaN where there are fewer than two.
    """
    known = np.isfinite(size) & (size > 0)
    return slopes(np.log(frequencies), np.where(known, np.log(np.where(known, size, 1.0)), np.nan))


def slopes(x: Float[np.ndarray, " mode"], y: Float[np.ndarray, "*batch mode"]) -> Float[np.ndarray, "*batch"]:
    """b of y = a + b x by least squares, of each run over the finite y; NaN where there are fewer than two."""
    known = np.isfinite(y)
    x, y = x * known, np.where(known, y, 0.0)
    count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    centred = (x - x.sum(axis=-1, keepdims=True) / count) * known
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.sum(centred * y, axis=-1) / np.sum(centred**2, axis=-1)
    return np.where(known.sum(axis=-1) > 1, slope, np.nan)


def rank_correlations(
    frequencies: Int[np.ndarray, " mode"], step: Float[np.ndarray, "*batch mode"]
) -> Float[np.ndarray, "*batch"]:
    """Spearman's rank correlation of steps with frequency, of each run; what is not fitted yet (inf) comes last.

    NaN where a step is not known, or all are equal.
    """
    from scipy import stats

    ranks = stats.rankdata(step, axis=-1)  # ties share their mean rank, infinite steps too
    order = stats.rankdata(frequencies)
    ranks, order = ranks - ranks.mean(axis=-1, keepdims=True), order - order.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        found = ranks @ order / np.sqrt(np.sum(ranks**2, axis=-1) * np.sum(order**2))
    return np.where(np.isnan(step).any(axis=-1), np.nan, found)


def ordered(step: Float[np.ndarray, "*batch mode"]) -> Float[np.ndarray, "*batch"]:
    """1 where each mode is fitted strictly before the next, else 0; one that is not fitted may only be the last.

    NaN where a step is not known.
    """
    with np.errstate(invalid="ignore"):
        rises = (step[..., 1:] > step[..., :-1]).all(axis=-1)
    return np.where(np.isnan(step).any(axis=-1), np.nan, rises)
