r"""How far finite networks are from the limit: kernels, what they learn, and how this falls with the width.

Theta is the limit of the kernel, f_0 + A_t (y - f_0(X)) what the limit makes of a network that starts at f_0
(:mod:`ntkpipe.theory.function_space`). Its mean over initializations is A_t y exactly, at any width, as f_0 is
symmetric about 0: so the difference of each network from *its own* limit has the mean E f_t - A_t y, with the
fluctuation of the kernel, O(n^{-1/2}), as its noise instead of that of f_0, O(1).

Rows are independent networks; NaN (a diverged run) in a row leaves it out. Source: docs/theory.md section 7.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from ntkpipe.analysis.drift import frobenius
from ntkpipe.analysis.intervals import NOTHING, Estimate
from ntkpipe.theory import function_space
from ntkpipe.theory.function_space import Learned, Modes
from ntkpipe.theory.infinite_width import Kernels

STEEPEST, GRID = 4.0, 2401
"""Powers are looked for between -STEEPEST and STEEPEST, on this many values."""


def distance(
    ntk: Float[np.ndarray, "*batch n n"], other: Float[np.ndarray, "*batch2 n n"], limit: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, "*batch3"]:
    """|K - K'|_F/|Theta|_F."""
    return np.asarray(frobenius(ntk - other) / frobenius(limit))


def excess(ntk: Float[np.ndarray, "*batch n n"], limit: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "*batch"]:
    """<K, Theta>/|Theta|^2 - 1: how much larger than the limit the kernel is along the limit, with its sign."""
    return np.asarray(np.einsum("...ij,ij->...", ntk, limit) / np.sum(limit**2) - 1)


class Parts(NamedTuple):
    """E|v|^2 = |E v|^2 + E|v - E v|^2: bias and fluctuation, both estimated without bias."""

    bias: Estimate
    fluctuation: Estimate


def parts(values: Float[np.ndarray, "seed k"], confidence: float) -> Parts:
    r"""Squared norm of the mean, and total variance, of independent rows v_i in R^k.

    .. math:: |E v|^2 \approx \frac{1}{S(S-1)} \sum_{i \ne j} v_i \cdot v_j, \qquad
              E|v - E v|^2 \approx \frac{1}{S-1} \sum_i |v_i - \bar v|^2 .

    Intervals are jackknives with Student's t. That of the bias is not valid where it holds 0 (the statistic is
    degenerate there): it then says no more than that no bias is seen. Nothing of fewer than three rows.
    """
    known = values[np.isfinite(values).all(axis=1)]
    count = len(known)
    if count < 3:
        return Parts(NOTHING, NOTHING)
    gram = known @ known.T
    rows, own, total = gram.sum(axis=1), np.diag(gram), gram.sum()

    def bias(total, own, n):
        return (total - own) / (n * (n - 1))

    def fluctuation(total, own, n):
        return (own - total / n) / (n - 1)

    found = []
    for statistic in (bias, fluctuation):
        value = statistic(total, own.sum(), count)
        without = statistic(total - 2 * rows + own, own.sum() - own, count - 1)
        error = np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
        half = stats.t.ppf((1 + confidence) / 2, count - 1) * error
        found.append(Estimate(float(value), float(value - half), float(value + half)))
    return Parts(*found)


def learned(
    modes: Modes, method: str, rate: float, step: Int[np.ndarray, " time"], time: Float[np.ndarray, " time"]
) -> Learned:
    """What each mode has learned, by ``gd`` after these steps of size rate = eta s, or by ``flow`` at these times."""
    if method == "flow":
        return function_space.flow(modes, time)
    return function_space.descent(modes, rate, step)


def linear(
    modes: Modes, learned: Learned, f_start: Float[np.ndarray, " p"], y: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "time p"]:
    """f_0 + A_t (y - f_0(X)) of one network, at all points, train points first."""
    return f_start + function_space.mean(modes, learned, y - f_start[: len(y)])


def allows(modes: Modes, method: str, rate: float) -> bool:
    """Does descent with this kernel, frozen, come down at this rate = eta s? The flow always does."""
    return method == "flow" or bool(rate * modes.values[-1] < 2)


def own_modes(ntk: Float[np.ndarray, "p n"]) -> Modes:
    """Modes of a network's own kernel between all points (train points first) and the train points."""
    n = ntk.shape[1]
    ntk = np.concatenate([(ntk[:n] + ntk[:n].T) / 2, ntk[n:]])
    return function_space.modes(Kernels(ntk, ntk))  # its prior plays no part in ``linear``


def rms(values: Float[np.ndarray, "*batch p"], scale: float) -> Float[np.ndarray, "*batch"]:
    """Root mean square over the points, in units of ``scale``."""
    return np.asarray(np.sqrt(np.mean(values**2, axis=-1)) / scale)


def shift(gaps: Float[np.ndarray, "*batch p"], mean: Float[np.ndarray, "*batch2 p"]) -> Float[np.ndarray, "*batch3"]:
    """<gap, m>/<m, m>: of what the limit's mean m has learned, how much more is there; NaN where m = 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(gaps * mean, axis=-1) / np.sum(mean * mean, axis=-1))


def variance_ratio(
    residuals: Float[np.ndarray, "seed p"],
    variance: Float[np.ndarray, " p"],
    covariance: Float[np.ndarray, "p p"],
    confidence: float,
) -> Estimate:
    r"""Sample variance over networks, summed over points, over the limit's; 1 in the limit.

    residuals: f_t less the limit's mean at each network's own time. For Gaussian rows of covariance C the sum of
    sample variances is, to second moments, tr C chi^2_nu/nu with nu = (S - 1) (tr C)^2/tr C^2 (Satterthwaite), of one
    point exactly; the interval is that of this chi-square, valid as far as the outputs are Gaussian. None of fewer
    than two rows, or where the limit has no variance.
    """
    known = residuals[np.isfinite(residuals).all(axis=1)]
    trace = float(np.trace(covariance))
    if len(known) < 2 or not trace > 0 or not np.sum(variance) > 0:
        return NOTHING
    value = float(known.var(axis=0, ddof=1).sum() / np.sum(variance))
    freedom = (len(known) - 1) * trace**2 / float(np.sum(covariance**2))
    tail = (1 - confidence) / 2
    high, low = stats.chi2.ppf([tail, 1 - tail], freedom) / freedom
    return Estimate(value, value / float(low), value / float(high))


def columns(values: Float[np.ndarray, "seed *rest"], confidence: float) -> Float[np.ndarray, "three *rest"]:
    """Means over networks with Student's intervals, entry by entry, as :func:`ntkpipe.analysis.intervals.mean`."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(known, values, 0.0).sum(axis=0) / count
        squares = np.where(known, values - centre, 0.0) ** 2
        error = np.sqrt(squares.sum(axis=0) / np.where(count > 1, count - 1, np.nan) / count)
        half = stats.t.ppf((1 + confidence) / 2, np.maximum(count - 1, 1)) * error
    return np.stack([centre, centre - half, centre + half])


class Power(NamedTuple):
    """m = amplitude width^exponent; scatter: root of chi^2 over cells less two, 1 where the law is right."""

    exponent: Estimate
    amplitude: float
    scatter: float


def power(
    width: Float[np.ndarray, " cell"],
    value: Float[np.ndarray, " cell"],
    error: Float[np.ndarray, " cell"],
    freedom: Float[np.ndarray, " cell"],
    confidence: float,
) -> Power:
    r"""Fit value = a width^p by weighted least squares, for values of either sign that noise may hide.

    Cells in which nothing is seen keep their weight (no logarithm is taken). The interval of p is where the profile
    chi^2(p) = min_a sum ((value - a width^p)/error)^2 exceeds its least value by at most t^2, Student's with the
    cells' freedom put together, times the squared scatter where that is above 1; infinite ends say that the noise
    allows any power. Nothing of fewer than two widths, or where no amplitude is seen.
    """
    known = np.isfinite(value) & (error > 0)
    width, value, error = width[known], value[known], error[known]
    if len(np.unique(width)) < 2:
        return Power(NOTHING, np.nan, np.nan)
    powers = np.linspace(-STEEPEST, STEEPEST, GRID)
    shape = np.exp(powers[:, None] * np.log(width / np.exp(np.log(width).mean()))) / error
    target = value / error
    amplitude = shape @ target / np.sum(shape**2, axis=1)
    chi = np.sum((target - amplitude[:, None] * shape) ** 2, axis=1)
    best, left = int(chi.argmin()), len(value) - 2
    scatter = float(np.sqrt(chi[best] / left)) if left else np.nan
    limit = stats.t.ppf((1 + confidence) / 2, freedom[known].sum()) ** 2 * max(1.0, np.nan_to_num(scatter) ** 2)
    if np.sum(target**2) - chi[best] <= limit or best in (0, GRID - 1):
        return Power(NOTHING, np.nan, scatter)
    inside = np.flatnonzero(chi <= chi[best] + limit)
    low = -np.inf if inside[0] == 0 else float(powers[inside[0]])
    high = np.inf if inside[-1] == GRID - 1 else float(powers[inside[-1]])
    scale = float(amplitude[best] / np.exp(powers[best] * np.log(width).mean()))
    return Power(Estimate(float(powers[best]), low, high), scale, scatter)
