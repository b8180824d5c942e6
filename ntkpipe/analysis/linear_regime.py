r"""Where a first step stops being linear in eta, and at which width gate flips weigh as much as the derivative.

The slope of a step, E[DeltaK(eta)]/eta, is constant while the step is small. eta* is the step size
beyond which its relative departure from the slope at 0 (derivative plus flips to first order, where both are
known; else the slope of the smallest step) exceeds a tolerance,

.. math::
    c(\eta) = \frac{E[\Delta K(\eta)]/\eta}{\text{slope}_0} - 1, \qquad |c(\eta^*)| = \text{tolerance},

linear between grid points. All step sizes are taken on the same networks: the bootstrap is paired over blocks of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis.intervals import NOTHING, RESAMPLES, Estimate, coarsen, linear_combination


def departure(
    etas: Float[np.ndarray, " eta"], means: Float[np.ndarray, "... eta"], slope: Float[np.ndarray, "..."] | float | None
) -> Float[np.ndarray, "... eta"]:
    """c(eta) of the means of DeltaK, from a slope at 0 (None: the slope of the smallest eta)."""
    slopes = means / etas
    return slopes / (slopes[..., :1] if slope is None else np.asarray(slope)[..., None]) - 1.0


def crossing(
    etas: Float[np.ndarray, " eta"], departures: Float[np.ndarray, "... eta"], tolerance: float
) -> Float[np.ndarray, ...]:
    """The eta beyond which all departures have the tolerance's size, linear between grid points; inf if there is none.

    Beyond, not first, and to the side of the largest step: at the smallest steps flips are rare and the noise of a
    slope is largest. Where all depart it is the smallest eta: eta* is not larger.
    """
    size = departures * np.sign(departures[..., -1:])
    within = size < tolerance
    last = size.shape[-1] - 1 - np.where(within.any(axis=-1), within[..., ::-1].argmax(axis=-1), size.shape[-1])
    below, above = np.maximum(last, 0), np.clip(last + 1, 0, size.shape[-1] - 1)
    low, high = (np.take_along_axis(size, at[..., None], -1)[..., 0] for at in (below, above))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where((last >= 0) & (above > below), (tolerance - low) / (high - low), 0.0)
    return np.where(within[..., -1], np.inf, etas[below] + (etas[above] - etas[below]) * part)


def eta_star(
    etas: Float[np.ndarray, " eta"],
    deltas: Float[np.ndarray, "block eta"],
    slope: Float[np.ndarray, " block"] | None,
    tolerance: float,
    confidence: float,
) -> Estimate:
    """eta* with a percentile bootstrap interval over blocks of networks; inf where it lies beyond the grid.

    Parameters
    ----------
    etas: ascending. deltas: block sums of DeltaK, one column an eta, all of the same networks.
    slope: block sums of the slope at eta = 0; None: the slope of the smallest eta stands for it.
    """
    columns = np.asarray(deltas, dtype=float)
    blocks = coarsen(columns if slope is None else np.column_stack([columns, slope]))
    count = len(blocks)
    if len(etas) < (2 if slope is None else 1) or not np.isfinite(blocks).all() or not blocks[:, -1].sum():
        return NOTHING

    def find(means: np.ndarray) -> np.ndarray:
        reference = None if slope is None else means[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return crossing(etas, departure(etas, means[..., : len(etas)], reference), tolerance)

    value = float(find(blocks.mean(axis=0)))
    if count < 3:
        return Estimate(value, np.nan, np.nan)
    rng = np.random.default_rng(np.random.SeedSequence([count, RESAMPLES]))
    weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) / count
    tail = (1 - confidence) / 2
    low, high = np.quantile(find(weights @ blocks), [tail, 1 - tail], method="closest_observation")
    return Estimate(value, float(low), float(high))


def equal_width(widths: Float[np.ndarray, " cell"], log_ratios: list[Estimate], reach: float = 64.0) -> Estimate:
    """Width at which the line log(flips/derivative) = a + b log(width) is 0, with its interval.

    All widths at which the line's interval holds 0, over ``reach`` times the range of the widths on either side
    (inverse prediction); 0 or inf where it holds 0 up to that end.
    """
    log = np.log(np.asarray(widths, dtype=float))
    if len(np.unique(log)) < 2:
        return NOTHING
    centred = log - log.mean()
    intercept_and_slope = np.stack([np.full(len(log), 1 / len(log)), centred / np.sum(centred**2)])
    mean, slope = intercept_and_slope @ np.array([e.value for e in log_ratios])
    if slope == 0:
        return NOTHING
    root = log.mean() - mean / slope
    grid = np.linspace(log.min() - np.log(reach), log.max() + np.log(reach), 2001)
    grid = np.sort(np.append(grid, root)) if grid[0] < root < grid[-1] else grid
    lines = [linear_combination(np.array([1.0, at - log.mean()]) @ intercept_and_slope, log_ratios) for at in grid]
    _, low, high = np.array(lines).T
    inside = (low <= 1e-12) & (high >= -1e-12)
    if not inside.any():  # beyond reach, and surely so
        return Estimate(float(np.exp(min(root, 700.0))), np.nan, np.nan)
    ends = np.exp(grid[inside][[0, -1]])
    return Estimate(
        float(np.exp(min(root, 700.0))),
        0.0 if inside[0] else float(ends[0]),
        np.inf if inside[-1] else float(ends[1]),
    )
