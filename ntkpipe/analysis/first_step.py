"""Means of a first step's kernel change, cell by cell, from mergeable sums; exact theory beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis import intervals
from ntkpipe.config import StepConfig, TolerancesConfig
from ntkpipe.kinds.first_step.statistics import STATISTICS
from ntkpipe.networks import Network
from ntkpipe.theory import first_step as theory
from ntkpipe.theory import moments as exact

VARIABLES = {
    "ntk_mean": ("E[K_0(x, x)]", "docs/theory.md section 2"),
    "ntk_mean_exact": ("exact E[K_0(x, x)]", "docs/theory.md section 2"),
    "delta_ntk_mean": ("E[DeltaK(x, x)] of one gradient step, on the train points", "docs/theory.md section 4"),
    "delta_ntk_low": ("lower end of the interval of delta_ntk_mean", ""),
    "delta_ntk_high": ("upper end of the interval of delta_ntk_mean", ""),
    "linear_mean": (
        "eta E[dK/d eta] with the gates held: the almost-everywhere derivative",
        "docs/theory.md section 4",
    ),
    "linear_low": ("lower end of the interval of linear_mean", ""),
    "linear_high": ("upper end of the interval of linear_mean", ""),
    "delta_ntk_exact": (
        "exact -eta E[f Kdot]: the mean of linear_mean, without gate flips",
        "docs/theory.md section 4",
    ),
    "delta_ntk_limit": ("double-scaling limit of delta_ntk_exact, without gate flips", "docs/theory.md section 4"),
    "linear_z": ("(linear_mean - delta_ntk_exact) over its standard error", ""),
    "flip_mean": ("E[DeltaK] - linear_mean: gate flips and higher orders in eta", "docs/theory.md section 4"),
    "flip_share": ("flip_mean/E[DeltaK]", "docs/theory.md section 4"),
    "flip_share_low": ("lower end of the interval of flip_share", ""),
    "flip_share_high": ("upper end of the interval of flip_share", ""),
    "flip_low": ("lower end of the interval of flip_mean", ""),
    "flip_high": ("upper end of the interval of flip_mean", ""),
    "flip_predicted": ("first-order prediction of flip_mean by the jump sum", "docs/theory.md section 4"),
    "flip_predicted_low": ("lower end of the interval of flip_predicted", ""),
    "flip_predicted_high": ("upper end of the interval of flip_predicted", ""),
    "delta_ntk_relative": ("E[DeltaK]/E[K_0]", "Hanin & Nica 2019, Theorem 2"),
    "delta_ntk_relative_low": ("lower end of the interval of delta_ntk_relative", ""),
    "delta_ntk_relative_high": ("upper end of the interval of delta_ntk_relative", ""),
    "delta_ntk_ratio_mean": ("E[DeltaK/K_0 | K_0 > 0]", ""),
    "delta_ntk_ratio_low": ("lower end of the interval of delta_ntk_ratio_mean", ""),
    "delta_ntk_ratio_high": ("upper end of the interval of delta_ntk_ratio_mean", ""),
    "delta_ntk_frobenius": ("E[|DeltaK(X, X)|_F/|K_0(X, X)|_F] on the train points", ""),
    "delta_ntk_eval_mean": ("E[DeltaK(x', x')] on the points outside the batch", ""),
    "flipped_fraction": ("mean fraction of gates whose pre-activation changes sign", ""),
    "grown_fraction": ("fraction of networks whose kernel grows", ""),
    "n_samples": ("independent networks drawn", ""),
    "ess": ("(sum DeltaK)^2/sum DeltaK^2", ""),
    "undersampled": ("1 where the interval of delta_ntk_mean is not to be trusted", ""),
}


def first_step(
    network: Network,
    norm_squared: float,
    step: StepConfig,
    sums: Float[np.ndarray, "block statistic"],
    tolerances: TolerancesConfig,
) -> dict[str, Any]:
    """All of :data:`VARIABLES` for one cell. ``norm_squared`` is NaN where the train points' norms differ."""
    row: dict[str, Any] = dict.fromkeys(VARIABLES, np.nan)
    column = {name: sums[:, i] for i, name in enumerate(STATISTICS)}
    n, confidence = column["count"].sum(), tolerances.confidence
    row["n_samples"] = int(n)

    def mean(name: str, over: str = "count") -> intervals.Estimate:
        return intervals.ratio(column[name], column[over], confidence)

    row["ntk_mean"] = mean("ntk_0").value
    row["delta_ntk_mean"], row["delta_ntk_low"], row["delta_ntk_high"] = mean("delta")
    row["linear_mean"], row["linear_low"], row["linear_high"] = mean("linear")
    row["flip_mean"], row["flip_low"], row["flip_high"] = mean("flip")
    sign = np.sign(row["delta_ntk_mean"]) or 1.0  # the interval wants a positive denominator
    share = intervals.ratio(sign * column["flip"], sign * column["delta"], confidence)
    row["flip_share"], row["flip_share_low"], row["flip_share_high"] = share
    row["delta_ntk_ratio_mean"], row["delta_ntk_ratio_low"], row["delta_ntk_ratio_high"] = mean("ratio", "alive")
    relative = mean("delta", "ntk_0")
    row["delta_ntk_relative"], row["delta_ntk_relative_low"], row["delta_ntk_relative_high"] = relative
    for name, source in (
        ("delta_ntk_frobenius", "delta_frobenius"),
        ("flipped_fraction", "flipped"),
        ("grown_fraction", "grown"),
        ("delta_ntk_eval_mean", "delta_eval"),
    ):
        row[name] = column[source].sum() / n
    if np.isfinite(column["jump"]).all():
        scaled = intervals.ratio(step.eta * column["jump"], column["count"], confidence)
        row["flip_predicted"], row["flip_predicted_low"], row["flip_predicted_high"] = scaled
    row["ess"] = column["delta"].sum() ** 2 / column["delta_square"].sum() if column["delta_square"].any() else 0.0
    _theory(row, network, norm_squared, step, column, n)
    row["undersampled"] = int(not _resolved(network, norm_squared, column, n, tolerances))
    return row


def _theory(row, network: Network, norm_squared: float, step: StepConfig, column, n: float) -> None:
    if not np.isfinite(norm_squared) or exact.refuse(network) is not None:
        return
    row["ntk_mean_exact"] = exact.mean(network, norm_squared)
    if theory.refuse(network) is not None or step.eta_unit != "absolute" or step.train > 1:
        return
    row["delta_ntk_exact"] = -step.eta * theory.mean_f_kdot(network, norm_squared)
    he = np.isclose(network.sigma_w**2, 2.0) and np.isclose(network.sigma_v, 1.0)
    if len(set(network.widths)) == 1 and network.parametrization == "ntk" and he:
        limit = theory.mean_f_kdot_limit(network.beta, network.widths[0], network.input_dim, norm_squared)
        row["delta_ntk_limit"] = -step.eta * float(limit)
    variance = column["linear_square"].sum() / n - row["linear_mean"] ** 2
    if variance > 0:
        row["linear_z"] = (row["linear_mean"] - row["delta_ntk_exact"]) / np.sqrt(variance / n)


def _resolved(network: Network, norm_squared: float, column, n: float, tolerances: TolerancesConfig) -> bool:
    """Whether Student's t is to be trusted for E[DeltaK], whose tail is that of K^2.

    By the exact relative standard error of E[K^2] where the law is solvable: a flag read off the sample would
    pick the samples that missed the tail. Else by the number of blocks that hold the squares of DeltaK.
    """
    if np.isfinite(norm_squared) and exact.refuse(network) is None:
        logs = exact.log_moments(network, norm_squared, 4)
        relative_variance = np.exp(min(logs[3] - 2 * logs[1], 700.0)) - 1
        return bool(np.sqrt(max(relative_variance, 0.0) / n) <= tolerances.step_relative_error)
    squares = intervals.coarsen(column["delta_square"][:, None])[:, 0]
    if not squares.sum() > 0:
        return True
    return bool(squares.sum() ** 2 / np.sum(squares**2) >= tolerances.block_ess)
