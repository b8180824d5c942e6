r"""The spectrum of a kernel on N points: how fast it decays, how many directions it has, what a ridge leaves of it.

Everything is a function of the eigenvalues, descending, of :func:`ntkpipe.analysis.drift.eigenpairs`. ``diag_reg`` is
a ridge in units of the mean eigenvalue, :math:`\lambda = \mathrm{diag\_reg} \cdot \mathrm{tr} K/N`, as in
:mod:`ntkpipe.analysis.frozen`; no quantity here then depends on the scale of K. Rounding moves an eigenvalue by
N eps lambda_1: what that decides (by more than :data:`ntkpipe.analysis.drift.ACCURACY`) is NaN.

Arrays in, arrays out: ``*batch`` are dims such as seed and snapshot. Source: docs/theory.md section 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.special import entr

from ntkpipe.analysis.drift import ACCURACY, EPS
from ntkpipe.analysis.frozen import ridge, shifted
from ntkpipe.analysis.intervals import NOTHING, Estimate, ratio

FIRST = 2
"""The first k of a fit of lambda_k ~ k^{-a} if not told: lambda_1 belongs to the constant function."""
FEWEST = 3
"""Fewest points of a power law: through two every line is straight."""


def condition(values: Float[np.ndarray, "*batch n"], eps: float = EPS) -> Float[np.ndarray, "*batch"]:
    """lambda_1/lambda_N; NaN below the precision floor."""
    found = shifted(values, np.zeros((*values.shape[:-1], 1)), eps)
    return np.asarray(np.where(found.resolved, found.error, np.nan)[..., 0] / (values.shape[-1] * eps))


def effective_rank(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """exp of the entropy of p_k = lambda_k/tr K, 1 .. N: N for K = c I, 1 for rank one (Roy & Vetterli 2007)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.maximum(values, 0.0)
        share = share / share.sum(axis=-1, keepdims=True)
    return np.asarray(np.exp(entr(share).sum(axis=-1)))


def participation_ratio(values: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch"]:
    """(tr K)^2/tr K^2, 1 .. N: as :func:`effective_rank`, with more weight on the largest eigenvalues."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(values.sum(axis=-1) ** 2 / np.sum(values**2, axis=-1))


def effective_dimension(
    values: Float[np.ndarray, "*batch n"], diag_reg: Float[np.ndarray, " reg"], eps: float = EPS
) -> Float[np.ndarray, "*batch reg"]:
    """tr K (K + lambda)^{-1}: degrees of freedom of regression with this ridge, falling in it from rank K to 0.

    Rounding moves it by up to N eps lambda_1 sum_k lambda/(lambda_k + lambda)^2; NaN where that decides.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    ridges = ridge(values, diag_reg)
    found = shifted(values, ridges, eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.sum(values[..., None, :] / found.values, axis=-1)
        rounding = values.shape[-1] * eps * values[..., :1] * ridges * np.sum(found.values**-2.0, axis=-1)
    return np.where(found.resolved & (rounding <= ACCURACY * total), total, np.nan)


class PowerLaw(NamedTuple):
    """y ~ x^exponent by least squares in log-log.

    scatter: root mean square of the residuals of log y, 0 for a power law; count: points used. NaN below ``FEWEST``.
    """

    exponent: Float[np.ndarray, "*batch"]
    scatter: Float[np.ndarray, "*batch"]
    count: Int[np.ndarray, "*batch"]


def power_law(
    x: Shaped[np.ndarray, " k"], y: Float[np.ndarray, "*batch k"], inside: Bool[np.ndarray, "*batch k"]
) -> PowerLaw:
    """The power law of y against x over the points ``inside``, all of them weighing the same; both positive there."""
    count = inside.sum(axis=-1)
    share = inside / np.maximum(count, 1)[..., None]
    log_x = np.broadcast_to(np.log(x), y.shape)
    log_y = np.log(np.where(inside, y, 1.0))
    log_x = log_x - np.sum(share * log_x, axis=-1, keepdims=True)
    log_y = log_y - np.sum(share * log_y, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.sum(share * log_x * log_y, axis=-1) / np.sum(share * log_x**2, axis=-1)
    scatter = np.sqrt(np.sum(share * (log_y - slope[..., None] * log_x) ** 2, axis=-1))
    enough = count >= FEWEST
    return PowerLaw(np.where(enough, slope, np.nan), np.where(enough, scatter, np.nan), count)


class Decay(NamedTuple):
    """lambda_k ~ k^{-exponent} over k = first .. last; scatter: root mean square of the residuals of log lambda_k."""

    exponent: Float[np.ndarray, "*batch"]
    scatter: Float[np.ndarray, "*batch"]
    first: Int[np.ndarray, "*batch"]
    last: Int[np.ndarray, "*batch"]


def decay(
    values: Float[np.ndarray, "*batch n"],
    first: int = FIRST,
    last: int | None = None,
    eps: float = EPS,
    together: bool = False,
) -> Decay:
    r"""Decay exponent by least squares of log lambda_k on log k, k = 1 being the largest eigenvalue.

    The range ends at ``last`` (N if not told), or before at the last eigenvalue above the precision floor N eps
    lambda_1/``ACCURACY``; with ``together``, over the k that all kernels along the last dim of the batch have (the
    snapshots of a run). It decides the exponent: near k = N the spectrum of a kernel sampled on N points is not its
    operator's (on a uniform circle it is lambda_q + lambda_{N-q} and more: q^{-2} on 128 points is read as 1.82 over
    k = 2 .. 128, 2.02 over 2 .. 64), so compare kernels over one range that ends well below N.

    Equal pairs, as of sine and cosine on the circle, stay two points, k = 2q and 2q + 1: the law q^{-a} is then
    (k - 1/2)^{-a} in the mean, read as a few percent too steep (2.7 over k = 2 .. 128, 1.8 over 10 .. 63). Where the
    frequencies are known, :func:`power_law` against them has no such bias.

    Residuals are no noise (neighbouring eigenvalues deviate together), so a kernel's exponent has no interval of its
    own: :func:`over_seeds` gives one.

    Raises
    ------
    ValueError: not 1 <= first < last <= N.
    """
    n = values.shape[-1]
    end = n if last is None else last
    if not 1 <= first < end <= n:
        raise ValueError(f"first and last must be 1 <= first < last <= {n}, the points; they were {first} and {end}")
    above = values > n * eps / ACCURACY * values[..., :1]
    if together:
        above = np.broadcast_to(above.all(axis=-2, keepdims=True), above.shape)
    k = np.arange(1, n + 1)
    inside = above & (k >= first) & (k <= end)
    exponent, scatter, count = power_law(k, values, inside)
    return Decay(-exponent, scatter, np.full_like(count, first), first + count - 1)


def over_seeds(exponents: Float[np.ndarray, " seed"], confidence: float) -> Estimate:
    """Mean exponent with Student's t over the seeds in which it is known; the interval needs three of them."""
    known = exponents[np.isfinite(exponents)]
    return ratio(known, np.ones_like(known), confidence) if len(known) else NOTHING
