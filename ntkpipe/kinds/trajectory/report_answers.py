"""The questions of a training study and their answers; every number is one of a table or dataset row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import tables
from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.report_kernels import freeze_said, hierarchy_said, regression_said
from ntkpipe.kinds.trajectory.report_words import FEWEST, HEAD, bracket, step, threshold
from ntkpipe.kinds.trajectory.scaling import GROUP
from ntkpipe.topics import Topic

SAID = ("drift", "error of the frozen kernel")
"""Sizes whose exponents are said; all stand in the table."""
SERIES_DIVERGED = 1e3
"""A geometric mean of the order-0 error beyond this: the frozen kernel's own steps do not converge (load above 1)."""


SCALING = "How far does the kernel move in training, and does that depend on beta alone?"
REGIMES = "Where do runs leave the lazy regime, and where do they diverge?"
ORDERS = "When is the frozen kernel, or its perturbation theory, enough?"
FREEZING = "When does the kernel freeze, and is regression with it then as good as training?"
HIERARCHY = "Do tensors at initialization predict how the kernel changes?"
METHODS = "Does the way of training matter?"
FIGURES = {
    SCALING: ("paths", "kernel"),
    REGIMES: ("regimes_answer", "thresholds"),
    ORDERS: ("predicted",),
    FREEZING: ("freeze", "regression", "stop", "frequencies"),
    HIERARCHY: ("hierarchy",),
    METHODS: ("methods",),
}
"""Figures beside each question."""


def topics(cells: pd.DataFrame, fits: pd.DataFrame, paths: xr.Dataset, config: RegimesConfig) -> list[Topic]:
    """Setting by setting (activation and so on) in each, step sizes within; ``cells`` carry their place as ``cell``."""
    found: dict[str, list[str]] = {question: [] for question in FIGURES}
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    for key, part in cells.groupby(list(HEAD), sort=False):
        of_setting = fits[(fits[list(HEAD)] == list(key)).all(axis=1)]
        converging = set(part.eta[part.order_0_end <= SERIES_DIVERGED])
        inside, fitted = part[part.eta.isin(converging)], of_setting[of_setting.eta.isin(converging)]
        name = ", ".join(str(part[c].iloc[0]) for c in tables.varying(cells, GROUP))
        if len(part) < FEWEST:
            continue
        said = {
            SCALING: [text for size in SAID for text in scaling_said(fitted[fitted.quantity == size])],
            REGIMES: thresholds_said(inside, fitted, config) + stability_said(part, of_setting),
            ORDERS: predictors_said(fitted) + orders_said(part, fitted),
            FREEZING: freeze_said(inside, paths, config) + regression_said(inside, paths),
            HIERARCHY: hierarchy_said(inside, paths),
        }
        for question, texts in said.items():
            found[question] += [f"({name}) {text}" for text in texts] if name else texts
    found[METHODS] = methods_said(cells)
    return [Topic(question, texts, FIGURES[question]) for question, texts in found.items()]


def methods_said(cells: pd.DataFrame) -> list[str]:
    """Drift at the end by another method over that by gradient descent, of the same networks."""
    keys = [*(name for name in HEAD if name != "training"), "eta", "width", "depth"]
    found = []
    cells = cells.assign(drift=[tables.interval_of(row, "drift_end") or "not known" for row in cells.itertuples()])
    for name, part in cells[cells.training != "gd"].groupby("training"):
        both = part.merge(cells[cells.training == "gd"], on=keys, suffixes=("", "_gd"))
        said = [
            f"{row.drift} against {row.drift_gd} (width {row.width}, depth {row.depth})"
            for row in both.sort_values("beta").itertuples()
        ]
        if said:
            found.append(f"The same networks by {name} and by gradient descent, drift at the end: {'; '.join(said)}.")
    return found


def scaling_said(fits: pd.DataFrame) -> list[str]:
    """Exponents in width and depth, and whether they add up to 0."""
    found = []
    for (quantity, eta), part in fits[fits["at"] == "end"].groupby(["quantity", "eta"], sort=False):
        row = {r.method: r for r in part.itertuples()}
        if "total_exponent" not in row:
            found += _one_axis(quantity, part)
            continue
        p, q, total, power = (row[f"{n}"] for n in ("width_exponent", "depth_exponent", "total_exponent", "beta_power"))
        found.append(
            f"{quantity[0].upper()}{quantity[1:]} at the end, {step(eta, part.eta_unit.iloc[0])}: width^p depth^q with "
            f"p = {bracket(p)}, q = {bracket(q)}; R^2 is {p.r2:.2f} with width and depth, {power.r2:.2f} with a power "
            f"of beta alone, exponent {bracket(power)} ({int(p.n_cells)} cells). {_clocks(fits, quantity, eta, total)}"
        )
    return found


def _one_axis(quantity: str, part: pd.DataFrame) -> list[str]:
    """Exponent in width or in depth, where a study varies one of them."""
    return [
        f"{quantity[0].upper()}{quantity[1:]} at the end, {step(row.eta, row.eta_unit)}: {name}^p with p = "
        f"{bracket(row)} ({int(row.n_cells)} cells)."
        for name in ("width", "depth")
        for row in part[part.method == f"{name}_exponent"].itertuples()
    ]


def _clocks(fits: pd.DataFrame, quantity: str, eta: float, end) -> str:
    """p + q, 0 on beta alone, by the three clocks: last step, flow time, loss; a verdict only where they agree."""
    said, sides = [f"{bracket(end)} at the last step"], [_side(end)]
    for at, words in (("time", "at a fixed flow time"), ("loss", "at a fixed loss")):
        same = fits[(fits.quantity == quantity) & (fits.eta == eta) & (fits["at"] == at)]
        for row in same[same.method == "total_exponent"].itertuples():
            said.append(f"{bracket(row)} {words}")
            sides.append(_side(row))
    verdict = {
        (0,): "0 is in all of them: beta alone is not ruled out",
        (-1,): "below 0 by every clock: width counts beyond beta",
        (1,): "above 0 by every clock: depth counts beyond beta",
    }.get(tuple(sorted(set(sides))), "the clocks disagree, so no power of beta alone describes it")
    return f"p + q is {', '.join(said)}; {verdict}."


def _side(row) -> int:
    """Where an interval lies: below 0, above, or across."""
    return 1 if row.low > 0 else -1 if row.high < 0 else 0


def thresholds_said(cells: pd.DataFrame, fits: pd.DataFrame, config: RegimesConfig) -> list[str]:
    """beta* by tolerance and length of training at each step size."""
    found: list[str] = []
    lazy = fits[fits.method.isin(["beta_star", "beta_star_fraction"])]
    for (eta, unit), part in lazy.groupby(["eta", "eta_unit"]):
        beta = cells.beta[cells.eta == eta]
        limits = beta.min(), beta.max()
        said = []
        for tolerance, of_tolerance in part[part.width.isna()].groupby("tolerance"):
            if (of_tolerance.estimate == np.inf).all():
                said.append(f"drift {tolerance:g} is reached at no beta drawn")
                continue
            text = _along_training(of_tolerance, limits)
            each = part[(part.tolerance == tolerance) & part.width.notna() & (part["at"] == "end")]
            if len(each):
                widths = [f"{threshold(row, *_betas(cells, eta, row.width))} at width {row.width:g}"
                          for row in each.itertuples()]  # fmt: skip
                text += f"; as width counts beyond beta, by width: {', '.join(widths)}"
            said.append(f"drift {tolerance:g} beyond beta* = {text}")
        found.append(
            f"At {step(eta, unit)} (betas drawn: {limits[0]:.3g} to {limits[1]:.3g}) {'; '.join(said)}; intervals hold "
            "the scatter of cells around the line in log beta."
        )
    return found


def _betas(cells: pd.DataFrame, eta: float, width: float) -> tuple[float, float]:
    beta = cells.beta[(cells.eta == eta) & (cells.width == width)]
    return beta.min(), beta.max()


def _along_training(part: pd.DataFrame, limits: tuple[float, float]) -> str:
    """beta* early, in the middle and at the end of training, and by the fraction of runs at the end."""
    line = part[part.method == "beta_star"]
    steps = line[line["at"].str.startswith("step ")]
    steps = steps.assign(step=steps["at"].str.removeprefix("step ").astype(int)).sort_values("step")
    chosen = steps.iloc[sorted({len(steps) // 3, 2 * len(steps) // 3, len(steps) - 1})] if len(steps) else steps
    said = [f"{threshold(row, *limits)} after {row.step} steps" for row in chosen.itertuples()]
    said += [
        f"{threshold(row, *limits)} by the fraction of runs at the end"
        for row in part[(part.method == "beta_star_fraction") & (part["at"] == "end")].itertuples()
    ]
    return ", ".join(said) if said else "not known"


def stability_said(cells: pd.DataFrame, fits: pd.DataFrame) -> list[str]:
    """The load beyond which half of the runs diverge, by depth and of all."""
    fits = fits[fits.method == "stable_load"]
    if fits.empty:
        return []
    limits = cells.eta.min(), cells.eta.max()
    each = [f"{threshold(row, *limits)} at depth {row.depth:g}" for row in fits[fits.depth.notna()].itertuples()]
    pooled = [f"{threshold(row, *limits)} all depths together" for row in fits[fits.depth.isna()].itertuples()]
    return [
        f"Half of the runs diverge beyond a load eta s lambda_max(K_0)/2 of {', '.join(each + pooled)} (loads drawn: "
        f"{limits[0]:g} to {limits[1]:g}; a frozen kernel diverges beyond 1)."
    ]


def predictors_said(fits: pd.DataFrame) -> list[str]:
    """What tells when order 1 helps: forcing, beta, beta x steps or drift? From which forcing on do orders fail?"""
    found = []
    for (eta, unit), part in fits.groupby(["eta", "eta_unit"], sort=False):
        head = f"At {step(eta, unit)}"
        area = {r.quantity: r for r in part[part.method == "roc_area"].itertuples()}
        if "forcing" in area:
            rivals = [name for name in area if name != "forcing" and not name.startswith("forcing less")]
            said = [
                f"{name} {bracket(area[name], '.3f')} (difference {bracket(area[f'forcing less {name}'], '.3f')})"
                for name in rivals
            ]
            worse = [name for name in rivals if area[f"forcing less {name}"].low > 0]
            verdict = f"better than {', '.join(worse)}" if worse else "none is shown to be better"
            forcing = area["forcing"]
            found.append(
                f"{head}, over {int(forcing.n_runs)} snapshots of runs in {int(forcing.n_cells)} cells, the forcing "
                "tells those at which order 1 fails to help from those at which it helps with an area under the ROC "
                f"curve of {bracket(forcing, '.3f')}, against {'; '.join(said)}: {verdict} (whole cells resampled)."
            )
        stars = part[part.method == "forcing_star"]
        if np.isfinite(stars.estimate).any():
            said = [f"{bracket(r, '.2g')} for {r.quantity}" for r in stars.itertuples()]
            found.append(
                f"{head} half of the snapshots fail from a forcing of {', '.join(said)} on: beyond it an order is no "
                "nearer to the residual than the one below."
            )
        end = {r.quantity: r for r in part[part.method == "rank_correlation"].itertuples()}
        if "forcing" in end:
            found.append(
                f"{head} what order 1 leaves of the error at the end, |r - r_1|/|r - r_0|, has a rank correlation of "
                f"{bracket(end['forcing'])} with the forcing and {bracket(end['beta'])} with beta (difference "
                f"{bracket(end['forcing less beta'])})."
            )
    return found


def orders_said(cells: pd.DataFrame, fits: pd.DataFrame) -> list[str]:
    """How often order 1 and order 2 improve on the order below, each side of forcing 1; where no order has a size."""
    found = []
    for (eta, unit), part in fits[fits.method == "improves"].groupby(["eta", "eta_unit"]):
        said = []
        for at, rows in part.groupby("at", sort=True):
            each = [f"{100 * r.estimate:.0f} % [{100 * r.low:.0f}, {100 * r.high:.0f}] for {r.quantity}"
                    for r in rows.itertuples() if r.n_runs > 0]  # fmt: skip
            if each:
                said.append(f"{', '.join(each)} where the {at} ({int(rows.n_runs.max())} runs)")
        if said:
            found.append(
                f"At {step(eta, unit)} an order ends nearer to the residual than the order below it in "
                f"{'; '.join(said)}."
            )
    lost = cells[(cells.finished > 0) & ~(cells.order_0_end <= SERIES_DIVERGED)]
    if len(lost):
        steps = ", ".join(f"{eta:g}" for eta in sorted(set(lost.eta)))
        found.append(
            f"In {len(lost)} cells in which runs finish (eta = {steps}) descent with the frozen kernel diverges all "
            "the same: no order predicts them, and these sentences leave them out."
        )
    return found
