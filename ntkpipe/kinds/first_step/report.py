"""What the report says of a first-step study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.plan import Study

METHODS = ""
STUDY_METHODS = """
Each network takes one gradient step of the loss (1/2) sum (f - y)^2; its kernel change is split into the derivative
at fixed gates, whose exact mean stands beside, and the rest, which is compared with a first-order jump sum over gate
flips.
"""

PINNED_BY = {
    "exact": "tests/unit/theory/test_step_recursion.py",
    "scalar": "tests/laws/test_first_step.py::test_scalar_agrees_with_matrix_free",
    "matrix_free": "tests/laws/test_first_step.py::test_derivative_agrees_with_exact",
    "dense": "tests/laws/test_first_step.py::test_engines_agree_on_the_change",
}
HOLDS = {1: "yes", 0: "no", -1: "open"}


def section(study: Study) -> dict[str, Any]:
    """A first-step study."""
    cells, scaling, fits = (tables.load(study, name) for name in ("first_step", "scaling", "fits"))
    names = ["depth", "width", "beta", "eta", "label", "engine", "ess"]
    drawn = cells[cells.n_samples > 0]
    return {
        "methods": STUDY_METHODS,
        "question": "How does the kernel's change in one step grow with beta, and how much of it is gate flips? ",
        "answer": answer(scaling, fits),
        "fits_title": "Exponents of derivative and flips, and the width at which they are equal",
        "fits": [_fit_row(row) for row in fits.itertuples()],
        "undersampled": cells[cells.undersampled == 1][names].map(tables.number).to_dict("records"),
        "verified": "eta dE[K]/d eta, gates held",
        "verification": [_verify(row) for row in drawn.itertuples()],
        "coverage": agreement(drawn, study.config.tolerances.confidence),
        "tables": [("Over which widths and step sizes the published order describes a step", scaling_table(scaling))],
    }


def answer(scaling: pd.DataFrame, fits: pd.DataFrame) -> str:
    """Constants of the derivative, the flips' weight by width and label, and eta*: each from a row of a table."""
    parts = []
    exact = scaling[scaling.scaling_ratio_exact.notna() & (scaling.depth > 0) & (scaling.bias_init == "none")]
    if len(exact):
        widest = exact[exact.width == exact.width.max()].sort_values("beta")
        low, high = widest.iloc[0], widest.iloc[-1]
        parts.append(
            "with the gates held it follows the published order (d beta |x|^2/n_0) exp(5 beta) times a constant that "
            f"falls from {low.scaling_ratio_exact:.3g} at beta = {low.beta:.3g} to {high.scaling_ratio_exact:.3g} at "
            f"beta = {high.beta:.3g} (width {high.width}, exact; limit 4/3 to 2/(3 beta))"
        )
    shares = scaling[scaling.flip_share.notna() & (scaling.undersampled == 0) & (scaling.eta_unit == "absolute")]
    for label, part in shares.groupby("label"):
        few, many = part.loc[part.flip_share.idxmin()], part.loc[part.flip_share.idxmax()]
        parts.append(
            f"for label {label} gate flips are "
            + " to ".join(
                f"{100 * row.flip_share:.0f} % [{100 * row.flip_share_low:.0f}, {100 * row.flip_share_high:.0f}] "
                f"(width {row.width}, beta {row.beta:.3g})"
                for row in ((few, many) if few.name != many.name else (few,))
            )
            + " of what a whole step changes"
        )
    for row in fits[fits.method == "equal_width"].itertuples():
        parts.append(
            f"at beta = {row.beta_min:.3g} and label {row.label} flips outweigh the derivative beyond width "
            f"{row.estimate:.0f} [{row.low:.0f}, {row.high:.0f}]"
        )
    stars = scaling[np.isfinite(scaling.eta_star)]
    for row in stars.itertuples():
        unit = "" if row.eta_unit == "absolute" else " x 2/K_0"
        parts.append(
            f"a step on width {row.width}, depth {row.depth}, label {row.label} is linear up to eta* = "
            f"{row.eta_star:.2g} [{row.eta_star_low:.2g}, {row.eta_star_high:.2g}]{unit}, where "
            f"{100 * row.flipped_at_eta_star:.1f} % of the gates flip"
        )
    return "; ".join(parts)


def scaling_table(scaling: pd.DataFrame) -> list[dict[str, str]]:
    """Rows with a whole step, as the report prints them."""
    rows = scaling[scaling.flip_share.notna()].sort_values(["eta_unit", "label", "beta", "width"])

    def interval(row, name: str) -> str:
        value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
        return "" if value != value else f"{value:.3g} [{low:.3g}, {high:.3g}]"

    return [
        {
            "beta": tables.number(row.beta),
            "width": str(row.width or row.widths),
            "label": row.label,
            "eta": f"{row.eta:g}" + ("" if row.eta_unit == "absolute" else " x 2/K_0"),
            "derivative/order, exact": tables.number(row.scaling_ratio_exact),
            "limit": tables.number(row.scaling_ratio_limit),
            "whole step/order": interval(row, "scaling_ratio"),
            "share of flips": interval(row, "flip_share"),
            "order holds within 2": HOLDS[row.holds] + (" (undersampled)" if row.undersampled else ""),
            "eta*": interval(row, "eta_star"),
            "gates flipped at eta*": tables.number(row.flipped_at_eta_star),
        }
        for row in rows.itertuples()
    ]


def agreement(cells: pd.DataFrame, confidence: float) -> str:
    """How the measured derivative compares with the exact mean."""
    known = cells[(cells.undersampled == 0) & cells.delta_ntk_exact.notna()]
    if not len(known):
        return "no trusted cell has an exact derivative beside it"
    inside = ((known.linear_low <= known.delta_ntk_exact) & (known.delta_ntk_exact <= known.linear_high)).sum()
    return f"{inside} of {len(known)} trusted {100 * confidence:g} % intervals of the derivative hold the exact mean"


def _fit_row(row) -> dict[str, Any]:
    return {
        "quantity": f"{row.quantity}, eta {row.eta:g}, label {row.label}",
        "width": row.width or (f"depth {row.depth}" if row.depth else f"beta {row.beta_min:g}"),
        "bias_init": row.bias_init,
        "method": {
            "prefactor": "exp(c beta), free prefactor",
            "width_exponent": "power of the width",
            "equal_width": "width where they are equal",
        }[row.method],
    } | tables.fit_numbers(row)


def _verify(row) -> dict[str, Any]:
    flips = ""
    if np.isfinite(row.flip_predicted):
        flips = (
            f"flips {row.flip_mean:.3g} [{row.flip_low:.3g}, {row.flip_high:.3g}], predicted to first order "
            f"{row.flip_predicted:.3g} [{row.flip_predicted_low:.3g}, {row.flip_predicted_high:.3g}]"
        )
    known = np.isfinite(row.delta_ntk_exact)
    return {
        "cell": f"depth {row.depth}, width {row.width or row.widths}, eta {row.eta:g}, label {row.label}",
        "sampler": row.engine,
        "estimate": f"{row.linear_mean:.4g} [{row.linear_low:.4g}, {row.linear_high:.4g}]",
        "exact": tables.number(float(row.delta_ntk_exact)),
        "inside": ("yes" if row.linear_low <= row.delta_ntk_exact <= row.linear_high else "no") if known else "",
        "z": tables.number(float(row.linear_z)),
        "undersampled": bool(row.undersampled),
        "other": flips,
        "test": PINNED_BY[row.engine],
    }
