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


def _with_ends(name: str, long_name: str, source: str = "", stem: str | None = None) -> dict[str, tuple[str, str]]:
    """A variable and the ends of its interval."""
    stem = stem or name
    return {
        name: (long_name, source),
        f"{stem}_low": (f"lower end of the interval of {name}", ""),
        f"{stem}_high": (f"upper end of the interval of {name}", ""),
    }


SECTION = "docs/theory.md section 4"
THEOREM = "Hanin & Nica 2019, Theorem 2"
VARIABLES = {
    "ntk_mean": ("E[K_0(x, x)]", "docs/theory.md section 2"),
    "ntk_mean_exact": ("exact E[K_0(x, x)]", "docs/theory.md section 2"),
    **_with_ends("delta_ntk_mean", "E[DeltaK(x, x)] of one gradient step, on the train points", SECTION, "delta_ntk"),
    **_with_ends(
        "linear_mean", "eta E[dK/d eta] with the gates held: the almost-everywhere derivative", SECTION, "linear"
    ),
    "delta_ntk_exact": ("exact -eta E[f Kdot]: the mean of linear_mean, without gate flips", SECTION),
    "delta_ntk_limit": ("double-scaling limit of delta_ntk_exact, without gate flips", SECTION),
    "linear_deviation_exact": ("exact standard deviation of eta dK/d eta over networks, gates held", SECTION),
    "linear_z": ("(linear_mean - delta_ntk_exact) over its exact standard error", SECTION),
    **_with_ends(
        "rest_mean",
        "E[DeltaK] - linear_mean: gate flips (kinked activations) and higher orders in eta",
        SECTION,
        "rest",
    ),
    **_with_ends("rest_share", "rest_mean/E[DeltaK]", SECTION),
    **_with_ends("flip_predicted", "gate flips to first order in eta: the jump sum, sampled apart", SECTION),
    **_with_ends(
        "flip_share", "flip_predicted/(flip_predicted + delta_ntk_exact): share of flips as eta -> 0", SECTION
    ),
    **_with_ends("delta_ntk_relative", "E[DeltaK]/E[K_0]", THEOREM),
    **_with_ends("delta_ntk_ratio_mean", "E[DeltaK/K_0 | K_0 > 0]", "", "delta_ntk_ratio"),
    **_with_ends(
        "scaling_ratio", "-E[DeltaK]/(eta E[K_0]) over the published order (d beta |x|^2/n_0) exp(5 beta)", THEOREM
    ),
    "scaling_ratio_exact": ("the same of the exact derivative, without gate flips", SECTION),
    "scaling_ratio_limit": ("the same in the double-scaling limit: 4/3 at beta = 0, 2/(3 beta) beyond", SECTION),
    **_with_ends("delta_ntk_frobenius", "E[|DeltaK(X, X)|_F/|K_0(X, X)|_F] on the train points"),
    **_with_ends("delta_ntk_eval_mean", "E[DeltaK(x', x')] on the points outside the batch", SECTION, "delta_ntk_eval"),
    **_with_ends("flipped_fraction", "mean fraction of gates whose pre-activation changes sign"),
    **_with_ends("grown_fraction", "fraction of networks whose kernel grows"),
    "n_samples": ("independent networks drawn", ""),
    "ess": ("(sum DeltaK)^2/sum DeltaK^2 (of the derivative where no finite step is drawn)", ""),
    "undersampled": ("1 where the interval of delta_ntk_mean is not to be trusted", ""),
}

GRAM = {
    "ntk_gram_mean": ("E[K_0(x, x')]", "docs/theory.md section 1"),
    **_with_ends("delta_ntk_gram_mean", "E[DeltaK(x, x')]; train points first", SECTION, "delta_ntk_gram"),
}
"""Variables with the dims input, input_, of studies with several points."""


def first_step(
    network: Network,
    norm_squared: float,
    step: StepConfig,
    sums: Float[np.ndarray, "block statistic"] | None,
    tolerances: TolerancesConfig,
) -> dict[str, Any]:
    """All of :data:`VARIABLES` for one cell.

    ``norm_squared`` is NaN where the train points' norms differ; ``sums`` is None where nothing is drawn.
    """
    row: dict[str, Any] = dict.fromkeys(VARIABLES, np.nan) | {"n_samples": 0, "undersampled": 0}
    _theory(row, network, norm_squared, step)
    if sums is None:
        return row
    column = {name: sums[:, i] for i, name in enumerate(STATISTICS)}
    n, confidence = column["count"].sum(), tolerances.confidence
    row["n_samples"], row["ntk_mean"] = int(n), column["ntk_0"].sum() / n

    def put(name: str, estimate: intervals.Estimate, stem: str | None = None) -> None:
        row[name], row[f"{stem or name}_low"], row[f"{stem or name}_high"] = estimate

    def mean(name: str, over: str = "count", scale: float = 1.0) -> intervals.Estimate:
        return intervals.ratio(scale * column[name], column[over], confidence)

    for name, source in (
        ("delta_ntk", "delta"),
        ("linear", "linear"),
        ("rest", "rest"),
        ("delta_ntk_eval", "delta_eval"),
    ):
        put(f"{name}_mean", mean(source), name)
    for name, source in (
        ("delta_ntk_frobenius", "delta_frobenius"),
        ("flipped_fraction", "flipped"),
        ("grown_fraction", "grown"),
    ):
        put(name, mean(source))
    put("delta_ntk_ratio_mean", mean("ratio", "alive"), "delta_ntk_ratio")
    put("delta_ntk_relative", mean("delta", "ntk_0"))
    put("scaling_ratio", mean("delta", "ntk_0", -1 / (step.eta * published_order(network, norm_squared, step))))
    sign = -1.0 if row["delta_ntk_mean"] < 0 else 1.0  # the interval wants a positive denominator
    put("rest_share", intervals.ratio(sign * column["rest"], sign * column["delta"], confidence))
    if np.isfinite(column["jump"]).all():
        predicted = mean("jump", scale=step.eta)
        put("flip_predicted", predicted)
        put("flip_share", _share(predicted, row["delta_ntk_exact"]))
    if row["linear_deviation_exact"] > 0:
        row["linear_z"] = (row["linear_mean"] - row["delta_ntk_exact"]) / (row["linear_deviation_exact"] / np.sqrt(n))
    which = "delta" if np.isfinite(column["delta"]).all() else "linear"
    squares = column[f"{which}_square"].sum()
    row["ess"] = column[which].sum() ** 2 / squares if squares > 0 else 0.0
    row["undersampled"] = int(not _resolved(network, norm_squared, column, which, tolerances))
    return row


def _share(flips: intervals.Estimate, exact: float) -> intervals.Estimate:
    """flips/(flips + exact) of negative numbers; it grows with the size of the flips. NaN where a sign is open."""
    if not (exact < 0 and flips.high < 0):
        return intervals.NOTHING
    return intervals.Estimate(*(part / (part + exact) for part in (flips.value, flips.high, flips.low)))


def published_order(network: Network, norm_squared: float, step: StepConfig) -> float:
    """(d beta |x|^2/n_0) exp(5 beta), the order of E[DeltaK]/(eta E[K]); NaN where the theorem does not speak."""
    he = np.isclose(network.sigma_w**2, 2.0) and np.isclose(network.sigma_v, 1.0)
    speaks = network.activation == "relu" and network.parametrization == "ntk" and he and network.bias_init != "normal"
    if not (speaks and network.depth and step.eta_unit == "absolute" and step.train == 1):
        return np.nan
    return network.depth * network.beta * norm_squared / network.input_dim * float(np.exp(5 * network.beta))


def _theory(row: dict[str, Any], network: Network, norm_squared: float, step: StepConfig) -> None:
    if not np.isfinite(norm_squared) or exact.refuse(network) is not None:
        return
    row["ntk_mean_exact"] = exact.mean(network, norm_squared)
    if step.eta_unit != "absolute" or step.train > 1:
        return
    derivative = theory.derivative(network, norm_squared, 1.0 if step.label == "normal" else float(step.label) ** 2)
    row["delta_ntk_exact"] = step.eta * derivative.mean
    row["linear_deviation_exact"] = step.eta * derivative.deviation
    order = published_order(network, norm_squared, step)
    row["scaling_ratio_exact"] = -derivative.mean / row["ntk_mean_exact"] / order
    if len(set(network.widths)) == 1 and np.isfinite(order) and network.bias_init == "none":
        limit = theory.mean_f_kdot_limit(network.beta, network.widths[0], network.input_dim, norm_squared)
        row["delta_ntk_limit"] = -step.eta * float(limit)
        row["scaling_ratio_limit"] = float(theory.hanin_nica_ratio_limit(network.beta))


def _resolved(network: Network, norm_squared: float, column, which: str, tolerances: TolerancesConfig) -> bool:
    """Whether Student's t is to be trusted for E[DeltaK], whose tail at small eta is that of K^2.

    By the exact relative standard error of E[K^2] where the law is solvable: a flag read off the sample would
    pick the samples that missed the tail. Else by the number of blocks that hold the squares of DeltaK.
    """
    if np.isfinite(norm_squared) and exact.refuse(network) is None:
        logs = exact.log_moments(network, norm_squared, 4)
        relative_variance = np.exp(min(logs[3] - 2 * logs[1], 700.0)) - 1
        return bool(np.sqrt(max(relative_variance, 0.0) / column["count"].sum()) <= tolerances.step_relative_error)
    squares = intervals.coarsen(column[f"{which}_square"][:, None])[:, 0]
    if not squares.sum() > 0:
        return True
    return bool(squares.sum() ** 2 / np.sum(squares**2) >= tolerances.block_ess)


def gram_change(
    ntk: Float[np.ndarray, "block k k"],
    delta: Float[np.ndarray, "block k k"],
    count: Float[np.ndarray, " block"],
    confidence: float,
) -> dict[str, Float[np.ndarray, "k k"]]:
    """:data:`GRAM` from block sums, with Student's t over blocks of draws."""
    value, low, high = (np.empty(delta.shape[1:]) for _ in range(3))
    for entry in np.ndindex(value.shape):
        at = (slice(None), *entry)
        value[entry], low[entry], high[entry] = intervals.ratio(delta[at], count, confidence)
    return dict(zip(GRAM, (ntk.sum(axis=0) / count.sum(), value, low, high), strict=True))
