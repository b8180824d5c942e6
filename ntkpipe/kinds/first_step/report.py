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
    "matrix_free": "tests/laws/test_first_step.py::test_derivative_agrees_with_exact",
    "dense": "tests/laws/test_first_step.py::test_engines_agree_on_the_change",
}


def section(study: Study) -> dict[str, Any]:
    """A first-step study."""
    cells, fits = tables.load(study, "first_step"), tables.load(study, "fits")
    names = ["depth", "width", "beta", "eta", "label", "engine", "ess"]
    return {
        "methods": STUDY_METHODS,
        "question": "How much does one gradient step move the kernel? ",
        "answer": answer(cells),
        "fits_title": "Scaling of the derivative with beta, and of derivative and flips with width",
        "fits": [_fit_row(row) for row in fits.itertuples()],
        "undersampled": cells[cells.undersampled == 1][names].map(tables.number).to_dict("records"),
        "verified": "eta dE[K]/d eta, gates held",
        "verification": [_verify(row) for row in cells.itertuples()],
        "coverage": agreement(cells, study.config.tolerances.confidence),
    }


def answer(cells: pd.DataFrame) -> str:
    """Sign, size and share of flips, in words with numbers: trusted cells of the step size that most cells share."""
    trusted = cells[(cells.undersampled == 0) & (cells.depth > 0)]
    parts = []
    for label, part in trusted.groupby("label"):
        part = part[part.eta == part.eta.mode().iloc[0]].sort_values(["beta", "width"])
        for row in part.iloc[[0, -1]].drop_duplicates().itertuples():
            unit = "" if row.eta_unit == "absolute" else " x 2/K_0"
            parts.append(
                f"label {label}, width {row.width}, beta {row.beta:.3g}, eta {row.eta:g}{unit}: it "
                f"{'shrinks' if row.delta_ntk_mean < 0 else 'grows'}, E[DeltaK]/E[K] = {row.delta_ntk_relative:.3g} "
                f"[{row.delta_ntk_relative_low:.3g}, {row.delta_ntk_relative_high:.3g}], of which gate flips "
                f"{100 * row.flip_share:.0f} % [{100 * row.flip_share_low:.0f}, {100 * row.flip_share_high:.0f}]"
            )
    return "; ".join(parts)


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
        "width": row.width or f"depth {row.depth}",
        "bias_init": row.bias_init,
        "method": {"prefactor": "exp(c beta), free prefactor", "width_exponent": "power of the width"}[row.method],
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
