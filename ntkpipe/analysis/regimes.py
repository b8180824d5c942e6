r"""Which runs are lazy, learn features weakly or strongly, die or diverge; where lazy ends, and what predicts it.

The first that holds: unstable, diverged; dead, the kernel at the end is 0 (no unit of some layer is active); unknown,
no size; lazy, size < its tolerance; strong, size >= that of strong: the kernel is no perturbation of K_0 any more; weak
(weak feature learning), between. Runs of all six count in the fractions.

Two thresholds, for two kinds of data. ``fraction_threshold`` asks where half of the runs have a property (diverged; not
lazy, which is where the median size passes the tolerance, with diverged runs as the largest sizes). It assumes no
more than a fraction that grows. ``size_threshold`` asks where the line log size = a + c log beta passes the tolerance;
it is sharper and believes in the line, with an interval that is longer where the cells scatter around it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import optimize, special

from ntkpipe.analysis.collapse import Means, interval, least_squares, linear, with_lack_of_fit
from ntkpipe.analysis.intervals import NOTHING, RESAMPLES, Estimate

NEAR = 5.0
"""Cells within this factor of a tolerance draw the line by which it is passed."""
REGIMES = ("lazy", "weak", "strong", "dead", "unstable", "unknown")


class Prediction(NamedTuple):
    """Rank correlations of two predictors with an outcome."""

    first: Estimate
    second: Estimate
    difference: Estimate  # |second| - |first|: positive where the second predicts better


def classify(
    size: Float[np.ndarray, "*shape"],
    diverged: Bool[np.ndarray, "*shape"],
    dead: Bool[np.ndarray, "*shape"],
    lazy: float,
    strong: float,
) -> Shaped[np.ndarray, "*shape"]:
    """The regime of each run, one of ``REGIMES``; ValueError unless 0 < lazy < strong."""
    if not 0 < lazy < strong:
        raise ValueError(f"lazy must be positive and below strong, were {lazy} and {strong}")
    conditions = [diverged, dead, np.isnan(size), size < lazy, size >= strong]
    return np.select(conditions, ["unstable", "dead", "unknown", "lazy", "strong"], "weak")


def fraction(count: int, runs: int, confidence: float) -> Estimate:
    """count/runs with the exact (Clopper-Pearson) interval.

    Exact and not Wilson's: with 8 seeds Wilson's 95 % are 84 % at fractions near 0 and 1, where most cells of a map of
    regimes are. The exact one holds 95 % or more everywhere (97 % and more with 8 seeds) and is longer for it.
    """
    if runs == 0:
        return NOTHING
    tail = (1 - confidence) / 2
    low = special.betaincinv(count, runs - count + 1, tail) if count > 0 else 0.0
    high = special.betaincinv(count + 1, runs - count, 1 - tail) if count < runs else 1.0
    return Estimate(count / runs, float(low), float(high))


def fractions(
    regime: Shaped[np.ndarray, " run"], cell: Int[np.ndarray, " run"], confidence: float
) -> dict[int, dict[str, Estimate]]:
    """Fraction of the seeds of each cell in each regime, {cell: {regime: fraction}}; the six add up to 1."""
    found = {}
    for c in np.unique(cell):
        seeds = regime[cell == c]
        found[int(c)] = {name: fraction(int(np.sum(seeds == name)), len(seeds), confidence) for name in REGIMES}
    return found


def fraction_threshold(
    x: Float[np.ndarray, " run"], hit: Bool[np.ndarray, " run"], confidence: float, level: float = 0.5
) -> Estimate:
    r"""Where the probability of a hit, taken to grow with x, passes the level; 0 or inf where that is beyond the grid.

    Runs of equal x are pooled: x must be the nominal value of a cell, not one that varies with the seed. The value is
    linear in log x between the fractions' isotonic regression. The interval: that the threshold lies between
    neighbours x_{k-1} < x_k is ruled out if the exact interval of the fraction at x_k lies below the level, or that at
    x_{k-1} above it; the ends are those of all that is not ruled out. Only the true k must survive, and its two tests
    err with probability (1 - confidence)/2 each: coverage is at least the confidence for any number of x, any law that
    grows, and runs that share seeds across x. It does not break down where the hits separate, as logistic regression
    does, and it is open (0 or inf) where seeds are too few: a half at 95 % takes 6 seeds of an x that agree.
    """
    grid, at = np.unique(x, return_inverse=True)
    if len(grid) == 0:
        return NOTHING
    runs = np.bincount(at)
    counts = np.bincount(at, weights=hit)
    shares = [fraction(int(c), int(n), confidence) for c, n in zip(counts, runs, strict=True)]
    below, above = np.array([s.high < level for s in shares]), np.array([s.low > level for s in shares])
    # k = 0 .. len(grid) is the number of x below the threshold
    kept = np.flatnonzero(~np.append(below, False) & ~np.append(False, above))
    edges = np.concatenate([[0.0], grid, [np.inf]])
    monotone = optimize.isotonic_regression(counts / runs, weights=runs).x
    k = int(np.searchsorted(monotone, level - 1e-12))
    if 0 < k < len(grid):
        part = (level - monotone[k - 1]) / (monotone[k] - monotone[k - 1])
        value = grid[k - 1] * (grid[k] / grid[k - 1]) ** part
    else:
        value = 0.0 if k == 0 else np.inf
    return Estimate(float(value), float(edges[kept[0]]), float(edges[kept[-1] + 1]))


def size_threshold(beta: Float[np.ndarray, " run"], means: Means, tolerance: float, confidence: float) -> Estimate:
    """beta* where log size = a + c log beta, least squares over the cells' means, passes the tolerance.

    The line is local: of the cells whose size is within a factor ``NEAR`` of the tolerance, where these have three
    betas; sizes bend over where kernels move by their own size, and a line through all of them misses the threshold.
    The interval holds all betas at which the line's bootstrap interval holds the tolerance (inverse prediction). Its
    errors are the seeds' and, where the cells scatter more than seeds explain, that excess as an error of each cell:
    as if the lack of fit of a cell were drawn at random (``collapse.with_lack_of_fit``). With 6 cells of 8 seeds 90 %
    are 89 to 95 %; by the seeds alone they were 83 % at an excess of a third of the seeds' spread, 55 % at all of it.
    With two betas no excess can be seen, with three it opens the interval wide. Nothing is extrapolated: inf says above
    the largest beta (all sizes below the tolerance), 0 below the smallest, for the value and for the ends. The value is
    NaN where the line falls through the tolerance: sizes are taken to grow with beta. One beta gives nothing.
    """
    log_beta, target = np.log(beta[means.first]), np.log(tolerance)
    if not len(log_beta):
        return NOTHING
    ends = log_beta.min(), log_beta.max()
    near = np.abs(means.mean - target) <= np.log(NEAR)
    if len(np.unique(log_beta[near])) > 2:
        log_beta, means = log_beta[near], means.of(near)
    solve = least_squares(log_beta[:, None])
    if solve is None:
        return NOTHING
    means = with_lack_of_fit(log_beta[:, None], means)
    a, c = solve @ means.mean
    inner = ((target - a) / c,) if c and ends[0] < (target - a) / c < ends[1] else ()
    grid = np.unique([*np.linspace(*ends, 65), *inner])
    lines = np.stack([np.ones(len(grid)), grid], axis=1) @ solve
    _, lower, upper = linear(lines, means, confidence)
    outside = np.maximum(lower - target, target - upper)  # positive where the tolerance is ruled out
    value = 0.0 if a + c * ends[0] >= target else np.inf
    if inner:
        value = np.exp(inner[0]) if c > 0 else np.nan
    inside = np.flatnonzero(outside <= 1e-12)
    if not len(inside):
        return Estimate(float(value), float(value), float(value))
    first, last = inside[[0, -1]].tolist()
    low = 0.0 if first == 0 else np.exp(_zero(grid, outside, first - 1, first))
    high = np.inf if last == len(grid) - 1 else np.exp(_zero(grid, outside, last + 1, last))
    # with few degrees of freedom the betas inside may lie to one side of the value alone
    return Estimate(float(value), float(np.fmin(low, value)), float(np.fmax(high, value)))


def _zero(x: np.ndarray, y: np.ndarray, out: int, inside: int) -> float:
    """Where y, positive at index ``out`` and not at ``inside``, is 0 on the chord."""
    return x[inside] + (x[out] - x[inside]) * min(0.0, y[inside]) / (min(0.0, y[inside]) - y[out])


def predictors(
    first: Float[np.ndarray, " run"],
    second: Float[np.ndarray, " run"],
    outcome: Float[np.ndarray, " run"] | Bool[np.ndarray, " run"],
    cell: Int[np.ndarray, " run"],
    confidence: float,
) -> Prediction:
    """Spearman's correlations over runs of two predictors with an outcome, with a bootstrap over cells.

    Whole cells are drawn, m - 1 of m (see ``collapse``), as if the grid were a sample of settings; ends of correlations
    on Fisher's scale artanh. Runs with a value that is not known are left out of all three; a binary outcome and
    a predictor that is constant in a cell are ties (mid-ranks). Fewer than 4 cells give no interval, few a short one:
    for normal cells and seeds 90 % hold 82 % with 8 cells, 87 % with 12, 89 % with 24; the difference 92 to 96 %.
    """
    values = np.stack([first, second, outcome.astype(float)])
    good = np.isfinite(values).all(axis=0)
    values = values[:, good]
    cells, at = np.unique(cell[good], return_inverse=True)
    m = len(cells)
    if m == 0:
        return Prediction(NOTHING, NOTHING, NOTHING)
    weights = _weights(m)[:, at]
    ranks = [mid_ranks(v, weights) for v in values]
    one, two = (_correlation(r, ranks[2], weights) for r in ranks[:2])

    fisher_one, fisher_two = (np.arctanh(np.clip(r, -1 + 1e-14, 1 - 1e-14)) for r in (one, two))
    return Prediction(
        Estimate(float(one[0]), *np.tanh(_ends(fisher_one, m, confidence)).tolist()),
        Estimate(float(two[0]), *np.tanh(_ends(fisher_two, m, confidence)).tolist()),
        Estimate(float(abs(two[0]) - abs(one[0])), *_ends(np.abs(two) - np.abs(one), m, confidence).tolist()),
    )


def discrimination(
    first: Float[np.ndarray, " run"],
    second: Float[np.ndarray, " run"],
    hit: Bool[np.ndarray, " run"],
    cell: Int[np.ndarray, " run"],
    confidence: float,
) -> Prediction:
    """Areas under the ROC curve: how often a hit has a larger predictor than a miss, ties counted half; 1/2 by chance.

    ``difference``: second less first. Bootstrap over whole cells as in :func:`predictors`, so that the snapshots of a
    run, and the seeds of a cell, are no independent draws; few cells give short intervals. NaN without both outcomes.
    """
    good = np.isfinite(first) & np.isfinite(second)
    hit = hit[good]
    cells, at = np.unique(cell[good], return_inverse=True)
    if len(cells) == 0 or hit.all() or not hit.any():
        return Prediction(NOTHING, NOTHING, NOTHING)
    weights = _weights(len(cells))[:, at]
    hits, misses = np.sum(weights * hit, axis=1), np.sum(weights * ~hit, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a draw of cells with one outcome has no area
        one, two = (
            (np.sum(weights * hit * mid_ranks(v[good], weights), axis=1) / hits - hits / 2) / misses
            for v in (first, second)
        )

    def estimate(values: np.ndarray, low: float) -> Estimate:
        ends = np.clip(_ends(values, len(cells), confidence), low, 1.0)
        return Estimate(float(values[0]), float(min(ends[0], values[0])), float(max(ends[1], values[0])))

    return Prediction(estimate(one, 0.0), estimate(two, 0.0), estimate(two - one, -1.0))


def crossing(
    x: Float[np.ndarray, " run"],
    hit: Bool[np.ndarray, " run"],
    cell: Int[np.ndarray, " run"],
    confidence: float,
    draws: int = 400,
) -> Estimate:
    """Where the share of hits, isotonic in x, passes 1/2; x > 0 varies with the run, cells are resampled whole.

    Linear in log x between the steps of the isotonic regression. 0 or inf where it passes beyond the x there are, and
    for ends; fewer than 4 cells give no interval.
    """
    order = np.argsort(x, kind="stable")
    x, hit = x[order], hit[order]
    cells, at = np.unique(cell[order], return_inverse=True)
    if len(cells) == 0:
        return NOTHING
    found = np.array([_passes_half(x, hit, w) for w in _weights(len(cells))[: draws + 1, at]])
    if len(cells) < 4:
        return Estimate(float(found[0]), np.nan, np.nan)
    with np.errstate(divide="ignore"):
        logs = np.clip(np.log(found), -700.0, 700.0)  # 0 and inf are ends of the line
    low, high = (float(v[0]) for v in interval(logs[:1], logs[1:, None], len(cells) - 1, confidence))
    low, high = min(low, float(logs[0])), max(high, float(logs[0]))
    outer = np.log(x[[0, -1]])
    return Estimate(
        float(found[0]),
        0.0 if low < outer[0] else float(np.exp(low)),
        np.inf if high > outer[1] else float(np.exp(high)),
    )


def _passes_half(x: np.ndarray, hit: np.ndarray, weights: np.ndarray) -> float:
    """The x, of ascending ones, where the isotonic share of hits passes 1/2; 0 or inf where it does not."""
    kept = weights > 0
    share = optimize.isotonic_regression(hit[kept].astype(float), weights=weights[kept]).x
    logs, k = np.log(x[kept]), int(np.searchsorted(share, 0.5))
    if k in (0, len(share)):
        return 0.0 if k == 0 else np.inf
    part = (0.5 - share[k - 1]) / (share[k] - share[k - 1])
    return float(np.exp(logs[k - 1] + part * (logs[k] - logs[k - 1])))


def _weights(cells: int) -> Float[np.ndarray, "value_and_replicas cell"]:
    """How often each cell is drawn, m - 1 of m; row 0: each once, the data."""
    rng = np.random.default_rng(np.random.SeedSequence([cells, RESAMPLES]))
    drawn = rng.multinomial(max(cells - 1, 1), np.full(cells, 1 / cells), size=RESAMPLES)
    return np.concatenate([np.ones((1, cells)), drawn])


def _ends(values: Float[np.ndarray, " value_and_replicas"], cells: int, confidence: float) -> Float[np.ndarray, "2"]:
    """Low and high end; NaN for fewer than 4 cells or where the value is not defined."""
    replicas = values[1:][np.isfinite(values[1:])]
    if cells < 4 or not np.isfinite(values[0]) or not len(replicas):
        return np.full(2, np.nan)
    return np.concatenate(interval(values[:1], replicas[:, None], cells - 1, confidence))


def mid_ranks(
    values: Float[np.ndarray, " run"], weights: Float[np.ndarray, "resample run"]
) -> Float[np.ndarray, "resample run"]:
    """Ranks among runs repeated by their weights, equal values sharing the mean of theirs (less 1/2)."""
    _, at = np.unique(values, return_inverse=True)
    order = np.argsort(at, kind="stable")
    starts = np.flatnonzero(np.diff(at[order], prepend=-1))
    totals = np.add.reduceat(weights[:, order], starts, axis=1)
    return (np.cumsum(totals, axis=1) - totals / 2)[:, at]


def _correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the rows of a and b with weights; NaN where one is constant."""
    share = weights / weights.sum(axis=1, keepdims=True)
    a, b = (v - np.sum(share * v, axis=1, keepdims=True) for v in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        product = np.sqrt(np.sum(share * a**2, axis=1) * np.sum(share * b**2, axis=1))
        return np.clip(np.where(product > 0, np.sum(share * a * b, axis=1) / product, np.nan), -1, 1)
