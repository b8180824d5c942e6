r"""Does a size (drift, error, perturbation) depend on width and depth through beta = depth/width alone?

Least squares over cells of the mean over seeds of log size,

.. math::
    \log\text{size} = a + p \log\text{width} + q \log\text{depth}, \qquad
    \log\text{size} = a + c \log\beta, \qquad \log\text{size} = a + c\,\beta .

On beta alone p + q = 0. An interval of p + q around 0 says that the data allow a collapse; how well they would have
noticed its failure is the interval's length, and the scatter around the curve of beta says it in the seeds' errors.

Intervals are bootstraps over the seeds of each cell, the grid of cells held fixed: of n seeds n - 1 are drawn with
replacement, for then the variance of a drawn mean is s^2/n without bias (Rao & Wu 1988; n of n make it too small by
1/n, an eighth for 8 seeds), and the percentiles are stretched from the normal law's to Student's with Satterthwaite's
degrees of freedom (Hesterberg 2015), few where a few noisy cells decide.

Runs that are excluded (diverged, dead) and sizes that are not known (the run did not come to the loss at which sizes
are read) are left out, and with them whole cells in which fewer than half of all runs, or fewer than two, have a size:
what is left of such a cell is the biased sample of its survivors. Above a half the bias is there too, and smaller:
sizes near the edge of stability come out too small. How many runs a fit used is part of its result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from ntkpipe.analysis.intervals import NOTHING, RESAMPLES, Estimate


class Means(NamedTuple):
    """Means over the seeds of each cell in which half of the runs, and at least two, have known values."""

    first: Int[np.ndarray, " cell"]  # a run of the cell: width[first] are the cells' widths
    mean: Float[np.ndarray, " cell"]
    variance: Float[np.ndarray, " cell"]  # of the mean, s^2/n
    freedom: Int[np.ndarray, " cell"]  # n - 1
    replicas: Float[np.ndarray, "resample cell"]  # bootstrap draws of the means
    excess: float = 0.0  # variance of each mean beyond its seeds', where ``with_lack_of_fit`` put it in
    excess_freedom: float = np.inf
    left: float = np.inf  # cells less coefficients

    def of(self, cells: Bool[np.ndarray, " cell"]) -> Means:
        """Some of the cells."""
        first, mean, variance, freedom = (part[cells] for part in self[:4])
        return self._replace(
            first=first, mean=mean, variance=variance, freedom=freedom, replicas=self.replicas[:, cells]
        )

    @property
    def runs(self) -> int:
        """Runs in the means."""
        return int(self.freedom.sum()) + len(self.freedom)


class Scatter(NamedTuple):
    """Scatter of the cells' means around a curve, against what their seeds explain."""

    ratio: float  # root mean square residual in units of the seeds' error; 1 where the curve is right
    p_value: float  # of a ratio this large where the curve is right (F law)
    excess: float  # standard deviation of log size around the curve that the seeds do not explain


class Line(NamedTuple):
    """One curve in beta."""

    intercept: float
    slope: Estimate
    r2: Estimate
    scatter: Scatter


class Collapse(NamedTuple):
    """Scaling in width and depth, and in beta alone."""

    width: Estimate  # p
    depth: Estimate  # q
    total: Estimate  # p + q: 0 on beta alone
    r2: Estimate  # share of the variance of the cells' log size that width and depth explain
    scatter: Scatter  # around the power law in width and depth
    power: Line  # log size = a + c log beta
    exponential: Line  # log size = a + c beta


def known_log(size: Float[np.ndarray, " run"], excluded: Bool[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
    """log size; NaN where the run is excluded (diverged, dead) or the size is not known or not positive."""
    good = ~excluded & np.isfinite(size) & (size > 0)
    return np.log(size, out=np.full(len(size), np.nan), where=good)


def cell_means(values: Float[np.ndarray, " run"], cell: Int[np.ndarray, " run"]) -> Means:
    """Means over seeds with bootstrap replicas, cells in ascending order of their index; NaN values are left out.

    Pass all runs of a cell, also those without a value: cells are left out where fewer than half have one.
    """
    everyone = [np.flatnonzero(cell == c) for c in np.unique(cell)]
    known = [r[np.isfinite(values[r])] for r in everyone]
    runs = [some for some, r in zip(known, everyone, strict=True) if len(some) > 1 and 2 * len(some) >= len(r)]
    rng = np.random.default_rng(np.random.SeedSequence([len(runs), RESAMPLES]))
    replicas = [values[rng.choice(r, size=(RESAMPLES, len(r) - 1))].mean(axis=1) for r in runs]
    return Means(
        np.array([r[0] for r in runs], dtype=int),
        np.array([values[r].mean() for r in runs], dtype=float),
        np.array([values[r].var(ddof=1) / len(r) for r in runs], dtype=float),
        np.array([len(r) - 1 for r in runs], dtype=int),
        np.stack(replicas, axis=1) if runs else np.empty((RESAMPLES, 0)),
    )


def interval(
    value: Float[np.ndarray, "*shape"],
    replicas: Float[np.ndarray, "resample *shape"],
    freedom: Float[np.ndarray, "*shape"] | float,
    confidence: float,
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Low and high ends: the replicas' percentiles, stretched about the value by Student's over the normal quantile."""
    tail = (1 - confidence) / 2
    stretch = stats.t.ppf(tail, freedom) / stats.norm.ppf(tail)
    low, high = value + stretch * (np.quantile(replicas, [tail, 1 - tail], axis=0) - value)
    return low, high


def linear(
    weights: Float[np.ndarray, "row cell"], means: Means, confidence: float
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
    """sum over cells of weight times mean, one a row, and the ends of its interval."""
    parts, excess = weights**2 * means.variance, means.excess * np.sum(weights**2, axis=1)
    seeds, squares = np.sum(parts, axis=1), np.sum(parts**2 / means.freedom, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (seeds + excess) ** 2 / (squares + excess**2 / means.excess_freedom)
        freedom = np.fmax(freedom, np.fmin(seeds**2 / squares, means.left))  # no fewer than the poorer of both errors
    freedom = np.where(np.isfinite(freedom), freedom, means.freedom.sum())  # without noise
    value = weights @ means.mean
    return value, *interval(value, means.replicas @ weights.T, freedom, confidence)


def least_squares(columns: Float[np.ndarray, "cell column"]) -> Float[np.ndarray, "coefficient cell"] | None:
    """The matrix that takes the cells' values to (intercept, slopes); None if the columns do not determine them."""
    design = np.column_stack([np.ones(len(columns)), columns])
    centred = columns - columns.mean(axis=0) if len(columns) else columns
    if len(columns) == 0 or np.linalg.matrix_rank(centred) < columns.shape[1]:
        return None
    return np.linalg.pinv(design)


def estimate(weights: Float[np.ndarray, " cell"], means: Means, confidence: float) -> Estimate:
    """``linear`` of one row."""
    return Estimate(*(float(part[0]) for part in linear(weights[None], means, confidence)))


def r_squared(columns: Float[np.ndarray, "cell column"], means: Means, confidence: float) -> Estimate:
    r"""R^2 = 1 - sum residual^2 / sum (mean - grand mean)^2 over cells, for the cells' means without seeds' noise.

    Replicas carry the seeds' noise twice and the means once: the interval is the reflected one (2 R^2 - percentiles),
    which takes that bias off to first order, clipped to [0, 1]. The least exact of the intervals here: with 12 cells of
    8 seeds 90 % are 83 to 94 %, with 4 cells of 3 seeds 67 to 80 %.
    """
    solve = least_squares(columns)
    if solve is None:
        return NOTHING
    hat = np.column_stack([np.ones(len(columns)), columns]) @ solve

    y = np.concatenate([means.mean[None], means.replicas])
    tail = (1 - confidence) / 2
    with np.errstate(divide="ignore", invalid="ignore"):  # equal means have no share, nor an interval
        share = 1 - np.sum((y - y @ hat.T) ** 2, axis=1) / np.sum((y - y.mean(axis=1, keepdims=True)) ** 2, axis=1)
        low, high = 2 * share[0] - np.quantile(share[1:], [1 - tail, tail])
    return Estimate(float(share[0]), float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))


def scatter(columns: Float[np.ndarray, "cell column"], means: Means) -> Scatter:
    r"""Lack of fit: ratio^2 = sum_c residual_c^2 / sum_c (1 - h_cc) s_c^2/n_c, h the hat matrix.

    Where the curve is right the denominator is the numerator's expectation, also with unequal errors; for equal ones
    the ratio squared is the F statistic of lack of fit with (cells - coefficients, runs - cells) degrees of freedom.
    """
    solve = least_squares(columns)
    left = len(columns) - columns.shape[1] - 1
    if solve is None or left < 1:
        return Scatter(np.nan, np.nan, np.nan)
    hat = np.column_stack([np.ones(len(columns)), columns]) @ solve
    found = np.sum((means.mean - hat @ means.mean) ** 2)
    expected = np.sum((1 - np.diag(hat)) * means.variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = found / expected
    excess = np.sqrt(max(0.0, found - expected) / left)
    return Scatter(float(np.sqrt(squared)), float(stats.f.sf(squared, left, means.freedom.sum())), float(excess))


def with_lack_of_fit(columns: Float[np.ndarray, "cell column"], means: Means) -> Means:
    r"""Means with the scatter around the curve that their seeds do not explain as a normal error of each.

    The variance excess^2 of ``scatter`` is sum residual^2/left less what seeds explain, with left = cells -
    coefficients. The first part has a chi-squared law with left degrees of freedom, so the difference has by
    Satterthwaite's rule left (1 - 1/ratio^2)^2: few where the excess is small beside the seeds' errors. The means are
    as they came where there is no excess, or no cell left to see one.
    """
    ratio, _, excess = scatter(columns, means)
    if not excess > 0:
        return means
    left = len(columns) - columns.shape[1] - 1
    rng = np.random.default_rng(np.random.SeedSequence([len(means.mean), RESAMPLES, left]))
    replicas = means.replicas + excess * rng.standard_normal(means.replicas.shape)
    return means._replace(replicas=replicas, excess=excess**2, excess_freedom=left * (1 - ratio**-2) ** 2, left=left)


def line(x: Float[np.ndarray, " cell"], means: Means, confidence: float) -> Line:
    """mean = a + c x over cells, with the lack of fit in the interval; at least two different x, else nothing."""
    columns = x[:, None]
    solve = least_squares(columns)
    if solve is None:
        return Line(np.nan, NOTHING, NOTHING, scatter(columns, means))
    slope = estimate(solve[1], with_lack_of_fit(columns, means), confidence)
    return Line(float(solve[0] @ means.mean), slope, r_squared(columns, means, confidence), scatter(columns, means))


def collapse(
    width: Float[np.ndarray, " run"],
    depth: Float[np.ndarray, " run"],
    beta: Float[np.ndarray, " run"],
    means: Means,
    confidence: float,
) -> Collapse:
    """Scaling in width, depth and beta of a log size with these means. Pass runs of one load: it is no predictor.

    Where only the width varies between the cells p is its exponent alone, log size = a + p log width, and q and p + q
    are NaN; likewise q where only the depth varies. All are NaN where the grid does not separate them (one beta).
    """
    both = np.log(np.stack([width, depth], axis=1))[means.first]
    varies = (both != both[:1]).any(axis=0)
    both = both[:, varies]
    solve = least_squares(both) if varies.any() else None
    p = q = total = NOTHING
    if solve is not None:
        found, wide = iter(solve[1:]), with_lack_of_fit(both, means)
        p, q = (estimate(next(found), wide, confidence) if v else NOTHING for v in varies)
        total = estimate(solve[1] + solve[2], wide, confidence) if varies.all() else NOTHING
    betas = beta[means.first]
    return Collapse(
        p,
        q,
        total,
        r_squared(both, means, confidence),
        scatter(both, means),
        line(np.log(betas), means, confidence),
        line(betas, means, confidence),
    )
