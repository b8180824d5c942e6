"""Statistics of Gram matrices: K(x, x') against angle, smallest eigenvalue, condition number."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis.intervals import quantile, ratio
from ntkpipe.drawing import LOG_EDGES
from ntkpipe.kinds.initialization.statistics import HISTOGRAMS

BY_ANGLE = {
    "ntk_mean": ("E[K(x, x')] over pairs at this angle", ""),
    "ntk_mean_low": ("lower end of the interval of ntk_mean", ""),
    "ntk_mean_high": ("upper end of the interval of ntk_mean", ""),
    "ntk_variance": ("Var K(x, x') over networks, mean over pairs at this angle", ""),
    "ntk_variance_low": ("lower end of the interval of ntk_variance", ""),
    "ntk_variance_high": ("upper end of the interval of ntk_variance", ""),
}
SPECTRUM = {
    "min_eigenvalue_median": ("median of the smallest Gram eigenvalue", ""),
    "min_eigenvalue_median_low": ("lower end of its order-statistics interval", ""),
    "min_eigenvalue_median_high": ("upper end of its order-statistics interval", ""),
    "min_eigenvalue_p05": ("5 % quantile of the smallest eigenvalue", ""),
    "min_eigenvalue_p95": ("95 % quantile of the smallest eigenvalue", ""),
    "condition_median": ("median condition number", ""),
    "condition_median_low": ("lower end of its order-statistics interval", ""),
    "condition_median_high": ("upper end of its order-statistics interval", ""),
    "condition_p05": ("5 % quantile of the condition number", ""),
    "condition_p95": ("95 % quantile of the condition number", ""),
    "singular_fraction": ("fraction of Gram matrices whose smallest eigenvalue is below the precision floor", ""),
}


def angles(x: Float[np.ndarray, "k n0"]) -> tuple[Float[np.ndarray, " angle"], np.ndarray]:
    """Distinct angles between points, and for every pair (k, k) the index of its angle."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    half_chord = np.linalg.norm(unit[:, None] - unit[None], axis=-1) / 2  # stable near 0, unlike arccos
    values = np.round(2 * np.arcsin(np.clip(half_chord, 0, 1)), 9)
    distinct, index = np.unique(values, return_inverse=True)
    return distinct, index.reshape(values.shape)


def by_angle(
    x: Float[np.ndarray, "k n0"],
    gram_sum: Float[np.ndarray, "block k k"],
    gram_square_sum: Float[np.ndarray, "block k k"],
    count: Float[np.ndarray, " block"],
    confidence: float,
) -> dict[str, Float[np.ndarray, " angle"]]:
    """Mean and variance of K(x, x') by angle, with Student-t intervals over blocks of networks.

    The sampling unit is the network: pairs at one angle are averaged within it. The variance's
    interval is the delta method's; where the cell is flagged undersampled neither is to be trusted.
    """
    distinct, index = angles(x)
    rows: dict[str, list[float]] = {name: [] for name in BY_ANGLE}
    for a in range(len(distinct)):
        pairs = index == a
        first, second = gram_sum[:, pairs], gram_square_sum[:, pairs]
        mean = ratio(first.mean(axis=1), count, confidence)
        centre = first.sum(axis=0) / count.sum()  # each pair has its own mean
        spread = (second - 2 * centre * first).mean(axis=1) + np.mean(centre**2) * count
        variance = ratio(spread, count, confidence)
        for name, value in zip(BY_ANGLE, (*mean, *variance), strict=True):
            rows[name].append(value)
    return {name: np.array(values) for name, values in rows.items()}


def spectrum(histogram: Float[np.ndarray, "quantity bin"], confidence: float) -> dict[str, Any]:
    """Quantiles of the smallest eigenvalue and the condition number from their histograms."""
    row: dict[str, Any] = {}
    for name, quantity in (("min_eigenvalue", "log_min_eigenvalue"), ("condition", "log_condition")):
        counts = histogram[HISTOGRAMS.index(quantity)]
        median = quantile(counts, LOG_EDGES, 0.5, confidence)
        row[f"{name}_median"], row[f"{name}_median_low"], row[f"{name}_median_high"] = np.exp(median)
        for label, p in (("p05", 0.05), ("p95", 0.95)):
            row[f"{name}_{label}"] = float(np.exp(quantile(counts, LOG_EDGES, p, confidence).value))
    counts = histogram[HISTOGRAMS.index("log_min_eigenvalue")]
    row["singular_fraction"] = counts[0] / counts.sum()
    return row
