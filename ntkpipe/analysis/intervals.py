r"""Confidence intervals from block sums: arrays in, numbers out.

The law of K is heavy-tailed (log K has variance of order 5 beta), so a plain error bar of a
second moment lies. The studentized bootstrap over blocks covers best among the intervals tried
(delta method, percentile, BCa, studentized; ``benchmarks/coverage.py`` compares them), and even
it fails when the tail is not sampled: that is what the ``undersampled`` flag is for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

MAX_BLOCKS = 512
RESAMPLES = 999


class Estimate(NamedTuple):
    """An estimate with its interval."""

    value: float
    low: float
    high: float


NOTHING = Estimate(np.nan, np.nan, np.nan)


def coarsen(columns: Float[np.ndarray, "block column"], blocks: int = MAX_BLOCKS) -> Float[np.ndarray, "coarse column"]:
    """Add neighbouring blocks until at most ``blocks`` are left."""
    step = -(-len(columns) // blocks)
    return np.add.reduceat(columns, np.arange(0, len(columns), step), axis=0)


def log_linear(
    sums: Float[np.ndarray, "block column"],
    exponents: tuple[float, ...],
    confidence: float,
) -> Estimate:
    r"""prod_c mean_c^{e_c} with a studentized bootstrap interval on the log scale.

    theta = sum_c e_c log mean(column c), from block sums. One resample multiplies the
    blocks by multinomial weights; its standard error is the delta method's, from the same weights.

    Parameters
    ----------
    sums: block sums. To have means per draw, give the draws' count as a column too: S2 has
        the columns (K^2, K, count) and the exponents (1, -2, 1).
    exponents: e_c, one a column.
    confidence: nominal coverage.
    """
    blocks = coarsen(np.asarray(sums, dtype=float))
    count, e = len(blocks), np.asarray(exponents, dtype=float)
    mean = blocks.mean(axis=0)
    if not (np.isfinite(mean).all() and (mean > 0).all()):
        return NOTHING
    blocks = blocks / mean  # no overflow below, and means of 1
    centre = float(e @ np.log(mean))
    if count < 3:
        return Estimate(_exp(centre), np.nan, np.nan)
    error = np.std(blocks @ e, ddof=1) / np.sqrt(count)
    if error <= 1e-14:  # a constant
        return Estimate(_exp(centre), _exp(centre), _exp(centre))
    rng = np.random.default_rng(np.random.SeedSequence([count, RESAMPLES]))
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    means = weights @ blocks
    usable = (means > 0).all(axis=1)
    weights, means = weights[usable], means[usable]
    products = np.einsum("gi,gj->gij", blocks, blocks).reshape(count, -1)
    second = (weights @ products).reshape(-1, len(e), len(e))
    influence = e / means
    variance = np.einsum("bi,bij,bj->b", influence, second, influence) - e.sum() ** 2
    good = variance > 0
    shift = np.log(means[good]) @ e
    t = shift / np.sqrt(variance[good] / count)
    tail = (1 - confidence) / 2
    t_low, t_high = np.quantile(t, [tail, 1 - tail])
    return Estimate(_exp(centre), _exp(centre - t_high * error), _exp(centre - t_low * error))


def ratio(
    numerator: Float[np.ndarray, " block"], denominator: Float[np.ndarray, " block"], confidence: float
) -> Estimate:
    """mean(numerator)/mean(denominator) with Student's t over blocks; for light tails (log K, fractions)."""
    both = coarsen(np.stack([numerator, denominator], axis=1))
    total = both.sum(axis=0)
    if not total[1] > 0:
        return NOTHING
    value = total[0] / total[1]
    if len(both) < 3:
        return Estimate(value, np.nan, np.nan)
    residual = (both[:, 0] - value * both[:, 1]) / both[:, 1].mean()
    half = stats.t.ppf((1 + confidence) / 2, len(both) - 1) * residual.std(ddof=1) / np.sqrt(len(both))
    return Estimate(value, value - half, value + half)


def mean(values: Float[np.ndarray, " seed"], confidence: float) -> Estimate:
    """Mean with Student's t of independent values, of those that are known; the interval needs two of them."""
    known = values[np.isfinite(values)]
    if not len(known):
        return NOTHING
    centre = float(known.mean())
    if len(known) < 2:
        return Estimate(centre, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return Estimate(centre, float(centre - half), float(centre + half))


def quantile(
    counts: Float[np.ndarray, " bin"],
    edges: Float[np.ndarray, " edge"],
    p: float,
    confidence: float,
    draws: float | None = None,
) -> Estimate:
    """The p-quantile of a histogram of independent draws, with its order-statistics interval.

    The interval is free of assumptions on the law: the number of draws below the true quantile
    is Binomial(n, p). ``draws``: number of independent draws where counts hold several values
    of each (then conservative). Values in the outer bins are reported as -inf and inf.
    """
    total = counts.sum()
    if not total > 0:
        return NOTHING
    n = total if draws is None else draws
    tail = (1 - confidence) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], round(n), p)
    ranks = np.clip([p, (low - 1) / n, (high + 1) / n], 0.0, 1.0)
    unbounded = np.array([False, low < 1, high + 1 > n])  # no order statistic reaches that far
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / total
    values = np.interp(ranks, cumulative, edges)
    outer_low, outer_high = cumulative[1], cumulative[-2]
    below = (ranks < outer_low) | (unbounded & [False, True, False])
    values = np.where(below, -np.inf, np.where((ranks > outer_high) | unbounded, np.inf, values))
    return Estimate(*map(float, values))


def linear_combination(coefficients: Float[np.ndarray, " n"], estimates: list[Estimate]) -> Estimate:
    """sum_i a_i theta_i of independent estimates whose intervals may be lopsided (MOVER, Zou & Donner 2008)."""
    value, low, high = (np.array([e[part] for e in estimates]) for part in range(3))
    down, up = value - low, high - value
    towards_low = np.where(coefficients > 0, down, up)
    towards_high = np.where(coefficients > 0, up, down)
    centre = float(coefficients @ value)
    return Estimate(
        centre,
        centre - float(np.sqrt(np.sum((coefficients * towards_low) ** 2))),
        centre + float(np.sqrt(np.sum((coefficients * towards_high) ** 2))),
    )


def _exp(value: float) -> float:
    return float(np.exp(min(value, 709.0)))
