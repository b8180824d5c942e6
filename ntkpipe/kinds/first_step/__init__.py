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
    if config.inputs.keep == "diagonal":
        raise ValueError("given inputs.keep: gram where kind is 'first_step'; it was 'diagonal'")


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
    sums={"sums": ("mergeable sums over a block of draws", "")},
    columns={
        "first_step": [
            "depth", "width", "beta", "eta", "eta_unit", "label", "bias_init", "engine", "n_samples", "ntk_mean",
            "delta_ntk_mean", "delta_ntk_low", "delta_ntk_high", "linear_mean", "delta_ntk_exact", "linear_z",
            "flip_mean", "flip_low", "flip_high", "flip_predicted", "delta_ntk_relative", "delta_ntk_ratio_mean",
            "flipped_fraction", "undersampled",
        ],
        "fits": [
            "quantity", "method", "width", "depth", "eta", "label", "bias_init", "estimate", "low", "high",
            "reference", "limit", "beta_min", "beta_max", "n_cells",
        ],
    },
    tables=lambda study: ["first_step", "fits"],
    figures=lambda study: ["step_change", "step_scaling", "step_flips", "step_eta"],
    settings="step",
    axes=("eta", "label"),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/lambda_max(K_0)",
        "label": "label of the train points",
        "n_train": "points in the batch",
    },
    check=check,
)  # fmt: skip
