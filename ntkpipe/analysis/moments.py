"""Moments of K at initialization, cell by cell, from mergeable sums; exact theory beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis import intervals
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.config import TolerancesConfig
from ntkpipe.drawing import LOG_EDGES, N_LARGEST
from ntkpipe.kinds.initialization.statistics import STATISTICS
from ntkpipe.networks import Network
from ntkpipe.theory import limit
from ntkpipe.theory import moments as exact

VARIABLES = {
    "ntk_mean": ("E[K(x, x)]", "docs/theory.md section 2"),
    "ntk_mean_low": ("lower end of the interval of ntk_mean", ""),
    "ntk_mean_high": ("upper end of the interval of ntk_mean", ""),
    "ntk_mean_exact": ("exact E[K(x, x)]", "docs/theory.md section 2"),
    "ntk_second_moment": ("E[K(x, x)^2]", "docs/theory.md section 2"),
    "s2": ("S2 = E[K^2]/E[K]^2", "Hanin & Nica 2019, Theorem 1"),
    "s2_low": ("lower end of the interval of s2", ""),
    "s2_high": ("upper end of the interval of s2", ""),
    "s2_exact": ("exact finite-width S2", "docs/theory.md section 2"),
    "s2_limit": ("double-scaling limit of S2 at this beta", "docs/theory.md section 2"),
    "s2_relative_error_exact": (
        "exact relative standard error of s2 (of one input, an upper bound for their mean)",
        "delta method",
    ),
    "s2_z": ("(s2/s2_exact - 1) over its relative standard error", ""),
    "log_ntk_mean": ("E[log K | K > 0]", ""),
    "log_ntk_mean_low": ("lower end of the interval of log_ntk_mean", ""),
    "log_ntk_mean_high": ("upper end of the interval of log_ntk_mean", ""),
    "log_ntk_variance": ("Var[log K | K > 0]", ""),
    "log_ntk_median": ("median of log K", ""),
    "log_ntk_median_low": ("lower end of the interval of log_ntk_median", ""),
    "log_ntk_median_high": ("upper end of the interval of log_ntk_median", ""),
    "dead_fraction": ("fraction of networks with f = 0 (a dead layer)", "docs/theory.md section 2"),
    "dead_fraction_exact": ("exact P(dead layer) = 1 - prod(1 - 2^-n)", "docs/theory.md section 2"),
    "n_samples": ("independent networks drawn", ""),
    "ess": ("effective sample size of E[K^2]: (sum w K^2)^2/sum (w K^2)^2", ""),
    "tail_share": ("share of sum w K^2 held by the 16 largest draws", ""),
    "undersampled": ("1 where the interval of s2 is not to be trusted", ""),
}


def moments(
    network: Network,
    norms_squared: Float[np.ndarray, " input"],
    sums: Float[np.ndarray, "block statistic"] | None,
    largest: Float[np.ndarray, " rank"] | None,
    histogram: Float[np.ndarray, " bin"] | None,
    guided: bool,
    tolerances: TolerancesConfig,
) -> dict[str, Any]:
    """All of :data:`VARIABLES` for one cell.

    ``sums`` is None for the engine ``exact``: then the estimates are the exact values. Guided
    draws serve the functionals that the tail decides: their S2 is the weighted E[K^2] over the
    exact E[K]^2, and bulk values (mean, median, E[log K]) are NaN.
    """
    row: dict[str, Any] = dict.fromkeys(VARIABLES, np.nan)
    theory = exact_moments(network, norms_squared)
    if theory is not None:
        first, second, relative_sd = theory
        row["ntk_mean_exact"], row["s2_exact"] = first, second
        if network.activation == "relu":
            row["dead_fraction_exact"] = exact.dead_fraction(network)
        if network.bias_init == "none" and len(set(network.widths)) == 1:
            row["s2_limit"] = float(limit.s2_limit(network.beta))
    if sums is None:
        first, second, _ = theory
        row |= {"ntk_mean": first, "ntk_mean_low": first, "ntk_mean_high": first}
        row |= {"s2": second, "s2_low": second, "s2_high": second, "ntk_second_moment": second * first**2}
        return row | {"dead_fraction": row["dead_fraction_exact"], "n_samples": 0, "undersampled": 0, "s2_z": 0.0}

    column = {name: sums[:, i] for i, name in enumerate(STATISTICS)}
    n, confidence = column["count"].sum(), tolerances.confidence
    row["n_samples"] = int(n)
    row["dead_fraction"] = column["dead"].sum() / n
    row["ntk_second_moment"] = column["ntk_2"].sum() / n
    square_sum = column["ntk_2_square"].sum()
    row["ess"] = column["ntk_2"].sum() ** 2 / square_sum if square_sum > 0 else 0.0
    row["tail_share"] = largest.sum() / column["ntk_2"].sum() if column["ntk_2"].sum() > 0 else 1.0
    if guided:
        second_moment = _log_linear(sums, ("ntk_2", "count"), (1.0, -1.0), confidence)
        s2 = Estimate(*(np.array(second_moment) / theory[0] ** 2))
        row["dead_fraction"] = np.nan
        relative = np.sqrt(max(n / row["ess"] - 1, 0.0) / n)
    else:
        s2 = _log_linear(sums, ("ntk_2", "ntk_1", "count"), (1.0, -2.0, 1.0), confidence)
        _bulk(row, column, histogram, n, confidence)
        relative = np.nan
        if theory is not None:  # for several inputs of one norm: of one of them, which bounds that of their mean
            relative = relative_sd / np.sqrt(n)
            row["s2_relative_error_exact"] = relative
    row["s2"], row["s2_low"], row["s2_high"] = s2
    if theory is not None and relative > 0 and len(norms_squared) == 1:
        row["s2_z"] = (s2.value / row["s2_exact"] - 1) / relative
    row["undersampled"] = int(_undersampled(row, relative, guided, tolerances))
    return row


def exact_moments(network: Network, norms_squared: Float[np.ndarray, " input"]) -> tuple[float, float, float] | None:
    """(E[K], S2, relative sd of one draw in S2) averaged over the inputs; None where not solvable.

    The sd is that of a single input, NaN if the inputs' norms differ.
    """
    if exact.refuse(network) is not None:
        return None
    scale = float(np.max(norms_squared))
    norms, counts = np.unique(np.round(norms_squared / scale, 12), return_counts=True)
    norms = norms * scale
    logs = np.stack([exact.log_moments(network, float(norm), 2) for norm in norms])
    share = counts / counts.sum()
    first, second = share @ np.exp(logs[:, 0]), share @ np.exp(logs[:, 1])
    sd = exact.s2_relative_sd(network, float(norms[0])) if len(norms) == 1 else np.nan
    return float(first), float(second / first**2), sd


def _log_linear(sums, names: tuple[str, ...], exponents: tuple[float, ...], confidence: float) -> Estimate:
    columns = sums[:, [STATISTICS.index(name) for name in names]]
    return intervals.log_linear(columns, exponents, confidence)


def _bulk(row: dict[str, Any], column, histogram, n: float, confidence: float) -> None:
    mean = intervals.ratio(column["ntk_1"], column["count"], confidence)
    row["ntk_mean"], row["ntk_mean_low"], row["ntk_mean_high"] = mean
    log = intervals.ratio(column["log_ntk"], column["alive"], confidence)
    row["log_ntk_mean"], row["log_ntk_mean_low"], row["log_ntk_mean_high"] = log
    alive = column["alive"].sum()
    if alive > 0:
        row["log_ntk_variance"] = column["log_ntk_square"].sum() / alive - log.value**2
    median = intervals.quantile(histogram, LOG_EDGES, 0.5, confidence, draws=n)
    row["log_ntk_median"], row["log_ntk_median_low"], row["log_ntk_median_high"] = median


def _undersampled(row: dict[str, Any], relative: float, guided: bool, tolerances: TolerancesConfig) -> bool:
    """Decided by the exact standard error where there is one.

    A flag read off the sample alone selects the samples that missed the tail: they look well
    sampled *because* they missed it, and cover far less than nominal.
    """
    if np.isfinite(relative) and not guided:
        return bool(relative > tolerances.relative_error)
    spread_thin = row["ess"] < tolerances.ess and row["n_samples"] > row["ess"] * tolerances.tail_weight
    return bool(spread_thin or row["tail_share"] > max(tolerances.tail_share, 2 * N_LARGEST / row["n_samples"]))
