r"""Measures of particles: how far apart two are, how independent their particles are, and when a mode is learned.

Arrays in, arrays out. Source: docs/theory.md section 12.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import integrate, stats

from ntkpipe.analysis.intervals import NOTHING, Estimate

SEED = 12
"""Of the random directions."""


def directions(count: int, dim: int) -> Float[np.ndarray, "count dim"]:
    """Fixed directions, uniform on the sphere; the first ones of a larger count."""
    normal = np.random.default_rng(SEED).standard_normal((count, dim))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def sliced(
    one: Float[np.ndarray, "m dim"], other: Float[np.ndarray, "n dim"], along: Float[np.ndarray, "count dim"]
) -> float:
    """Mean over the directions of the Wasserstein-1 distance of the projections (sliced distance); NaN if not finite.

    O((m + n) log(m + n)) a direction; the transport between the measures themselves would cost (m + n)^3.
    """
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return np.nan
    return float(np.mean([stats.wasserstein_distance(one @ u, other @ u) for u in along]))


def sliced_of_normals(m: int, n: int) -> float:
    r"""Mean of :func:`sliced` of m and n independent draws of N(0, I), up to relative O(1/m + 1/n).

    E W_1 = int E|F_m - F_n| ds = sqrt(2/pi) sqrt(1/m + 1/n) int sqrt(Phi (1 - Phi)) ds, as F_m - F_n is near Gaussian.
    """
    spread, _ = integrate.quad(lambda s: math.sqrt(stats.norm.cdf(s) * stats.norm.sf(s)), -np.inf, np.inf)
    return math.sqrt(2 / math.pi) * math.sqrt(1 / m + 1 / n) * spread


class Dependence(NamedTuple):
    """(m - 1) rho of two particles, and of a mean of m independent ones: 0."""

    excess: Estimate
    correlation: Estimate


def dependence(
    means: Float[np.ndarray, " seed"], variance: Float[np.ndarray, " seed"], m: int, confidence: float
) -> Dependence:
    r"""Correlation rho of psi between two particles, from the variance over networks of the mean of psi over m.

    By exchangeability Var(mean psi) = (Var psi/m) [1 + (m - 1) rho], so (m - 1) rho = m Var(mean psi)/Var psi - 1. Its
    interval is that of a variance of normal numbers (chi-squared over networks; means over many particles are
    normal), Var psi being known far better: ``variance``, of the particles of a network, is averaged over networks.
    """
    known = np.isfinite(means)
    n, within = int(known.sum()), float(variance[known].mean()) if known.any() else 0.0
    if n < 2 or m < 2 or not within > 0:
        return Dependence(NOTHING, NOTHING)
    within *= m / (m - 1)  # of m draws, their own mean taken off
    ratio = m * float(np.var(means[known], ddof=1)) / within
    tails = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], n - 1)
    ends = [ratio - 1, *((n - 1) * ratio / tails - 1)]
    return Dependence(Estimate(*map(float, ends)), Estimate(*(float(end / (m - 1)) for end in ends)))


def first_below(
    time: Float[np.ndarray, " snapshot"], values: Float[np.ndarray, "*batch snapshot"], level: float
) -> Float[np.ndarray, "*batch"]:
    """Time at which positive values first are at most ``level``, linear in their logarithm between snapshots.

    inf where they never are; NaN where they are not known before that.
    """
    flat = values.reshape(-1, values.shape[-1])
    out = np.full(len(flat), np.inf)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(flat, 1e-300)) - math.log(level)
    for i, (path, raw) in enumerate(zip(logs, flat, strict=True)):
        path = np.where(np.isnan(raw), np.nan, path)
        at = np.flatnonzero(~(path > 0))
        if not len(at):
            continue
        k = at[0]
        if np.isnan(path[k]):
            out[i] = np.nan
        elif k == 0:
            out[i] = time[0]
        else:
            part = path[k - 1] / (path[k - 1] - path[k])
            out[i] = time[k - 1] + part * (time[k] - time[k - 1])
    return out.reshape(values.shape[:-1])


def root_mean_square(
    z: Float[np.ndarray, "seed *batch"], confidence: float
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Root mean square over networks of normal numbers of mean 0, with its chi-squared interval."""
    n, squares = len(z), np.sum(z**2, axis=0)
    tails = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], n)
    return np.sqrt(squares / n), np.sqrt(squares / tails[0]), np.sqrt(squares / tails[1])
