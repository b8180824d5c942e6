"""What the report says of a first-step study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.topics import Topic

METHODS = ""
STUDY_METHODS = """
Each network takes one gradient step of the loss (1/2) sum (f - y)^2; its kernel change is split into the derivative
at fixed gates, whose exact mean stands beside where it is known, and the rest, which is compared with a first-order
jump sum over gate flips.
"""

PINNED_BY = {
    "exact": "tests/unit/theory/test_step_recursion.py",
    "scalar": "tests/laws/test_first_step.py::test_scalar_agrees_with_matrix_free",
    "matrix_free": "tests/laws/test_first_step.py::test_derivative_agrees_with_exact",
    "dense": "tests/laws/test_first_step.py::test_engines_agree_on_the_change",
}
YES = {1: "yes", 0: "no", -1: ""}


QUESTION = "How does the kernel's change in one step grow with beta, and how much of it is gate flips?"


def section(study: Study) -> dict[str, Any]:
    """A first-step study."""
    cells, scaling, fits = (tables.load(study, name) for name in ("first_step", "scaling", "fits"))
    names = ["depth", "width", *tables.varying(cells, (*SETTINGS, "engine")), "beta", "eta", "label", "ess"]
    drawn = cells[cells.n_samples > 0]
    return {
        "methods": STUDY_METHODS,
        "topics": [Topic(QUESTION, answers(scaling, fits), ("step_answer",))],
        "fits_title": "Scaling of derivative, whole step and flips with beta and width",
        "fits": [_fit_row(row) for row in fits.itertuples()],
        "undersampled": cells[cells.undersampled == 1][names].map(tables.number).to_dict("records"),
        "verified": "eta dE[K]/d eta, gates held",
        "verification": [_verify(row) for row in drawn.itertuples()],
        "coverage": agreement(drawn, study.config.tolerances.confidence),
        "lead_tables": [("Derivative, whole step and flips, and how far a step is linear", scaling_table(scaling))],
    }


def _one_setting(scaling: pd.DataFrame) -> pd.DataFrame:
    """Rows of the setting that most rows share, apart from the engine: what the answer speaks of."""
    groups = scaling[scaling.depth > 0].groupby(list(SETTINGS), sort=False)
    return groups.get_group(groups.size().idxmax()) if len(groups) else scaling[:0]


def answers(scaling: pd.DataFrame, fits: pd.DataFrame) -> list[str]:
    """Constants of the derivative, the flips' weight by width and label, and eta*: each from a row of a table."""
    rows, found = _one_setting(scaling), []
    if rows.empty:
        return found
    head = rows.iloc[0]
    rows = rows[rows.width > 0]
    exact = rows[rows.scaling_ratio_exact.notna()]
    if exact.beta.nunique() > 1:
        widest = exact[exact.width == exact.width.max()].sort_values("beta")
        low, high = widest.iloc[0], widest.iloc[-1]
        found.append(
            "With the gates held, -dE[K]/d eta / E[K] is (d beta |x|^2/n_0) exp(5 beta), the published order, times "
            f"{low.scaling_ratio_exact:.3g} at beta = {low.beta:.3g} and {high.scaling_ratio_exact:.3g} at beta = "
            f"{high.beta:.3g} (width {high.width}, exact; limit 4/3 to 2/(3 beta): the order holds up to "
            "a factor of about beta, and overstates deep networks)."
        )
    shares = rows[rows.flip_share.notna() & (rows.undersampled == 0)]
    for label, part in shares.groupby("label"):
        beta = part.groupby("beta").width.nunique().idxmax()
        said = ", ".join(
            f"{100 * row.flip_share:.0f} % [{100 * row.flip_share_low:.0f}, {100 * row.flip_share_high:.0f}] at width "
            f"{row.width}"
            for row in part[part.beta == beta].drop_duplicates("width").sort_values("width").itertuples()
        )
        found.append(f"Label {label}, beta = {beta:.3g}, eta to 0: gate flips make up {said} of the step's change.")
    for row in fits[fits.method == "equal_width"].itertuples():
        narrowest = shares[(shares.label == row.label) & (shares.beta == row.beta_min)].width.min()
        if not narrowest <= row.estimate:
            continue
        found.append(
            f"Label {row.label}, beta = {row.beta_min:.3g}: flips equal the derivative at width {row.estimate:.0f} "
            f"[{row.low:.0f}, {row.high:.0f}] and outweigh it beyond."
        )
    for row in rows[rows.eta_star.notna()].itertuples():
        flipped = "" if np.isnan(row.flipped_at_eta_star) else (
            f", where {100 * row.flipped_at_eta_star:.1f} % of the gates flip"
        )  # fmt: skip
        flagged = " (undersampled)" if row.eta_undersampled else ""
        found.append(
            f"Width {row.width}, depth {row.depth}, label {row.label}: the slope in eta departs for good at eta* = "
            f"{eta_star(row)}{flipped}{flagged}."
        )
    return found if head.activation == "relu" else [f"({head.activation}) {said}" for said in found]


def eta_star(row: Any) -> str:
    """eta* with its interval; ends of the grid are bounds."""
    if np.isnan(row.eta_star):
        return ""

    def end(value: float) -> str:
        if np.isinf(value):
            return f"> {row.eta_max:g}"
        return f"<= {row.eta_min:g}" if value <= row.eta_min else f"{value:.2g}"

    return f"{end(row.eta_star)} [{end(row.eta_star_low)}, {end(row.eta_star_high)}]"


def scaling_table(scaling: pd.DataFrame) -> list[dict[str, str]]:
    """Rows with a whole step, as the report prints them."""
    rows = scaling[scaling.rest_share.notna()].sort_values(["eta_unit", *SETTINGS, "label", "beta", "width"])
    settings = tables.varying(rows, (*SETTINGS, "engine"))
    return [
        {
            "beta": tables.number(row.beta),
            "width": str(row.width or row.widths),
            "label": row.label,
        }
        | {name.replace("_", " "): tables.number(getattr(row, name)) for name in settings}
        | {
            "eta": f"{row.eta:g}" + ("" if row.eta_unit == "absolute" else " x 2/K_0"),
            "derivative/order, exact": tables.number(row.scaling_ratio_exact),
            "whole step/order": tables.interval_of(row, "scaling_ratio"),
            "within 2 x derivative": YES[row.within_two],
            "share of flips, eta to 0": tables.interval_of(row, "flip_share"),
            "share of all beyond the derivative": tables.interval_of(row, "rest_share"),
            "eta*": eta_star(row)
            + (" (undersampled)" if row.eta_undersampled and row.eta_star == row.eta_star else ""),
            "sign changes at eta*": tables.interval_of(row, "flipped_at_eta_star"),
            "flag": "undersampled" if row.undersampled else "",
        }
        for row in rows.itertuples()
    ]


def agreement(cells: pd.DataFrame, confidence: float) -> str:
    """How the measured derivative compares with the exact mean."""
    known = cells[(cells.undersampled == 0) & cells.delta_ntk_exact.notna()]
    known = known.drop_duplicates(["depth", "width", "widths", *SETTINGS, "label", "engine"])  # eta only rescales them
    if not len(known):
        return "no trusted cell has an exact derivative beside it"
    inside = ((known.linear_low <= known.delta_ntk_exact) & (known.delta_ntk_exact <= known.linear_high)).sum()
    return (
        f"{inside} of {len(known)} trusted {100 * confidence:g} % intervals of the derivative hold its exact mean "
        "(labels share networks)"
    )


def _fit_row(row) -> dict[str, Any]:
    return {
        "quantity": f"{row.quantity}, eta {row.eta:g}, label {row.label}"
        + ("" if row.activation == "relu" else f", {row.activation}"),
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
            f"rest {row.rest_mean:.3g} [{row.rest_low:.3g}, {row.rest_high:.3g}], flips to first order "
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
