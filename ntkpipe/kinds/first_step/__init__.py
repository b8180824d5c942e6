"""Kind ``first_step``: how one gradient step moves the kernel."""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind
from ntkpipe.kinds.first_step.statistics import STATISTICS


def coords(step: Any) -> dict[str, Any]:
    """Coordinates that a step gives a cell."""
    return {"eta": step.eta, "eta_unit": step.eta_unit, "label": str(step.label), "n_train": step.train}


def check(config: Any) -> None:
    """The batch is among the points, and whole Gram matrices are drawn."""
    step, points = config.settings, config.inputs.points
    if config.inputs.kind != "file" and step.train > (points or 1):
        raise ValueError(f"given step.train of at most inputs.points = {points or 1}; it was {step.train}")
    if config.keep == "spectra":
        raise ValueError("given keep: full or moments where kind is 'first_step'; it was 'spectra'")
    for grid in config.grid:
        engines, units = grid.engine or (config.engine,), grid.eta_unit or (step.eta_unit,)
        if "exact" in engines and "critical" in units:
            raise ValueError("without engine exact where step.eta_unit is critical; it had both")
    if config.inputs.keep == "diagonal":
        raise ValueError("given inputs.keep: gram where kind is 'first_step'; it was 'diagonal'")


def figures(study: Any) -> list[str]:
    """Of Gram matrices their change; of one point the answer, and step sizes where there are several."""
    if study.is_gram:
        return ["step_gram"]
    several = len({cell.settings.eta for cell in study.cells}) > 1
    return ["step_answer", "step_change", *(["step_eta"] if several else [])]


KIND = Kind(
    name="first_step",
    statistics=STATISTICS,
    draws={
        "ntk": ("neural tangent kernel K(x, x') at initialization", "docs/theory.md section 1"),
        "output": ("network output f(x)", ""),
        "delta_ntk": ("K after one gradient step less K before", "docs/theory.md section 4"),
        "delta_ntk_linear": ("eta dK/d eta at eta = 0 with the gates held", "docs/theory.md section 4"),
        "eta_used": ("step size", ""),
        "flipped_fraction": ("fraction of gates whose pre-activation changes sign", ""),
    },
    sums={
        "sums": ("mergeable sums over a block of draws", ""),
        "gram_sum": ("sum of K_0(x, x') over a block of draws", ""),
        "delta_gram_sum": ("sum of DeltaK(x, x') over a block of draws", ""),
        "gram_count": ("draws in a block of Gram sums", ""),
    },
    columns={
        "first_step": [
            "depth", "width", "beta", "eta", "eta_unit", "label", "bias_init", "engine", "n_samples", "ntk_mean",
            "delta_ntk_mean", "delta_ntk_low", "delta_ntk_high", "linear_mean", "delta_ntk_exact", "linear_z",
            "rest_mean", "rest_low", "rest_high", "flip_predicted", "delta_ntk_relative", "delta_ntk_ratio_mean",
            "flipped_fraction", "undersampled",
        ],
        "scaling": [
            "depth", "width", "beta", "label", "eta_unit", "eta", "scaling_ratio_exact", "scaling_ratio_limit",
            "scaling_ratio", "scaling_ratio_low", "scaling_ratio_high", "flip_share", "flip_share_low",
            "flip_share_high", "within_two", "eta_star", "eta_star_low", "eta_star_high", "eta_star_critical",
            "flipped_at_eta_star", "undersampled",
        ],
        "fits": [
            "quantity", "method", "width", "depth", "eta", "label", "bias_init", "estimate", "low", "high",
            "reference", "reference_low", "reference_high", "limit", "beta_min", "beta_max", "n_cells",
        ],
    },
    tables=lambda study: ["first_step", "scaling", "fits"],
    figures=figures,
    settings="step",
    axes=("eta", "eta_unit", "label"),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/lambda_max(K_0)",
        "label": "label of the train points",
        "n_train": "points in the batch",
    },
    check=check,
)  # fmt: skip
