"""What runs of linear networks say beside their exact values: orders, exponents, thresholds. Arrays in, numbers out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.analysis import collapse
from ntkpipe.analysis.intervals import NOTHING, Estimate, mean

SEEN = 1e-10
"""A component below this share of its first value is near rounding: no rate is read from there on."""


def order(
    gaps: Float[np.ndarray, "seed halving"], confidence: float, random: bool = True
) -> tuple[Estimate, Float[np.ndarray, " seed"]]:
    """Order of convergence in the step, and that of each run; at least three halvings.

    log2 of the quotients of neighbouring gaps, extrapolated to a step of 0: with gap = c eta^p (1 + b eta + ...) it is
    p + O(eta), so 2 p_H - p_{H-1} is p + O(eta^2). The interval is Student's t over runs (nothing where they are not
    ``random`` but all alike), wider on both sides by what the last halving and the extrapolation changed, the larger.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log2(gaps[:, :-1] / gaps[:, 1:])
    runs = 2 * found[:, 1:] - found[:, :-1]
    value, low, high = mean(runs[:, -1], confidence)
    if not random:
        low = high = value
    known = np.isfinite(runs[:, -1])
    changes = (runs[known, -1] - runs[known, -2], runs[known, -1] - found[known, -1])
    left = max(abs(float(np.mean(change))) for change in changes) if known.any() else np.nan
    return Estimate(value, low - left, high + left), runs[:, -1]


def decay_factor(component: Float[np.ndarray, "seed snapshot"], steps: Int[np.ndarray, " snapshot"]) -> np.ndarray:
    """The factor by which a component falls in a step, of each run, between the start and the last step it is seen.

    Its size; its sign is that of the component after the smallest number of steps kept, where that is odd.
    """
    found = np.full(len(component), np.nan)
    for i, path in enumerate(component):
        with np.errstate(invalid="ignore"):
            seen = np.flatnonzero((np.abs(path) > SEEN) & (steps > 0))
        if len(seen):
            odd = seen[steps[seen] % 2 == 1]
            sign = np.sign(path[odd[0]]) if len(odd) else 1.0
            found[i] = sign * np.abs(path[seen[-1]]) ** (1.0 / steps[seen[-1]])
    return found


def largest_distance(
    maps: Float[np.ndarray, "seed snapshot output input"],
    other: Float[np.ndarray, "*seed snapshot output input"],
    target: Float[np.ndarray, "output input"],
) -> Float[np.ndarray, " seed"]:
    """Largest |A - A'|_F/|A*|_F from the snapshot on at which A' has come half of its way; NaN of a run that diverged.

    Before, it is the size of the random A at the start, whatever training does. At the end if A' never comes that far.
    """
    left = np.linalg.norm(other - target, axis=(-2, -1)).reshape(-1, maps.shape[1]).mean(axis=0)
    first = np.argmax(left <= left[0] / 2) if (left <= left[0] / 2).any() else maps.shape[1] - 1
    return np.max(np.linalg.norm(maps - other, axis=(2, 3))[:, first:], axis=1) / np.linalg.norm(target)


def exponent_over_cells(x: list[float], sizes: list[np.ndarray], confidence: float) -> Estimate:
    """Slope of mean log size in log x over cells of independent runs, their scatter in the interval."""
    values = np.concatenate([collapse.known_log(size, np.zeros(len(size), bool)) for size in sizes])
    cell = np.repeat(np.arange(len(sizes)), [len(size) for size in sizes])
    means = collapse.cell_means(values, cell)
    if len(means.first) < 2:
        return NOTHING
    return collapse.line(np.log(np.asarray(x, dtype=float))[cell[means.first]], means, confidence).slope


def exponents_of_runs(x: Float[np.ndarray, " cell"], sizes: Float[np.ndarray, "cell seed"]) -> np.ndarray:
    """Slope of log size in log x of each run, cells being the same networks."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(sizes)
    at = np.log(x) - np.mean(np.log(x))
    return at @ logs / np.sum(at**2)


def crossing(x: Float[np.ndarray, " cell"], sizes: Float[np.ndarray, "cell seed"], level: float) -> np.ndarray:
    """Where each run's size, as x rises, last falls below ``level``, by lines of logs; NaN if nowhere."""
    found = np.full(sizes.shape[1], np.nan)
    for i, size in enumerate(sizes.T):
        falls = np.flatnonzero((size[:-1] >= level) & (size[1:] < level)) if np.isfinite(size).all() else ()
        if len(falls):
            k = falls[-1]
            share = np.log(size[k] / level) / np.log(size[k] / size[k + 1])
            found[i] = x[k] * (x[k + 1] / x[k]) ** share
    return found


def geometric(values: np.ndarray, confidence: float) -> Estimate:
    """exp of the mean log with Student's t; of the values that are known, if they are at least half of all."""
    known = values[np.isfinite(values)]
    if 2 * len(known) < len(values):
        return NOTHING
    return Estimate(*(float(np.exp(end)) for end in mean(np.log(known), confidence)))


def along_seeds(
    values: Float[np.ndarray, "seed *rest"], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds with Student's t, entry by entry: value, low, high."""
    from scipy import stats

    n = len(values)
    middle = values.mean(axis=0)
    if n < 2:
        return middle, np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(axis=0, ddof=1) / n**0.5
    return middle, middle - half, middle + half
