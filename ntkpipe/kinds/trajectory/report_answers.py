"""The answers of a training study as sentences; every number is one of a table or dataset row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.scaling import GROUP

HEAD = (*GROUP, "eta_unit")
SAID = ("drift", "error of the frozen kernel")
"""Sizes whose exponents are said; all stand in the table."""
FEWEST = 3
"""Cells of a setting below which it is only compared, not described on its own."""
SERIES_DIVERGED = 1e3
"""A geometric mean of the order-0 error beyond this: the frozen kernel's own steps do not converge (load above 1)."""


def answers(cells: pd.DataFrame, fits: pd.DataFrame, paths: xr.Dataset, config: RegimesConfig) -> list[str]:
    """One block a setting (activation and so on), step sizes within it; ``cells`` carry their place as ``cell``."""
    found = []
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    for key, part in cells.groupby(list(HEAD), sort=False):
        of_setting = fits[(fits[list(HEAD)] == list(key)).all(axis=1)]
        converging = set(part.eta[part.order_0_end <= SERIES_DIVERGED])
        inside, fitted = part[part.eta.isin(converging)], of_setting[of_setting.eta.isin(converging)]
        name = ", ".join(str(part[c].iloc[0]) for c in GROUP if cells[c].nunique() > 1)
        if len(part) < FEWEST:
            continue
        said = []
        for quantity in SAID:
            said += scaling_said(fitted[fitted.quantity == quantity])
        said += [*thresholds_said(inside, fitted, config), *stability_said(part, of_setting)]
        said += [*predictors_said(fitted), *orders_said(part, fitted), *freeze_said(inside, paths, config)]
        said += [*regression_said(inside, paths), *hierarchy_said(inside, paths)]
        found += [f"({name}) {text}" for text in said] if name else said
    return found + methods_said(cells)


def methods_said(cells: pd.DataFrame) -> list[str]:
    """Drift at the end by another method over that by gradient descent, of the same networks."""
    keys = [*(name for name in HEAD if name != "training"), "eta", "width", "depth"]
    found = []
    for name, part in cells[cells.training != "gd"].groupby("training"):
        both = part.merge(cells[cells.training == "gd"], on=keys, suffixes=("", "_gd"))
        said = [
            f"{_interval(row, 'drift_end')} against {_interval(row, 'drift_end', '_gd')} (width {row.width}, depth "
            f"{row.depth})"
            for row in both.sort_values("beta").itertuples()
        ]
        if said:
            found.append(f"The same networks by {name} and by gradient descent, drift at the end: {'; '.join(said)}.")
    return found


def _interval(row, name: str, suffix: str = "") -> str:
    value, low, high = (getattr(row, f"{name}{end}{suffix}") for end in ("", "_low", "_high"))
    return f"{value:.3g}" + ("" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]")


def step(eta: float, unit: str) -> str:
    """A step size with its unit."""
    return f"eta = {eta:g}" + (" x 2/(s lambda_max(K_0))" if unit == "critical" else "")


def bracket(row, digits: str = ".2f") -> str:
    """An estimate with its interval."""
    if np.isnan(row.low):
        return f"{row.estimate:{digits}}"
    return f"{row.estimate:{digits}} [{row.low:{digits}}, {row.high:{digits}}]"


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


def threshold(row, smallest: float, largest: float) -> str:
    """A threshold; 0 and inf say that it lies beyond the grid, and are bounds."""

    def end(value: float) -> str:
        if value == 0:
            return f"< {smallest:.3g}"
        return f"> {largest:.3g}" if np.isinf(value) else f"{value:.3g}"

    if np.isnan(row.estimate):
        return "not known"
    said = end(row.estimate)
    return said if end(row.low) == end(row.high) == said else f"{said} [{end(row.low)}, {end(row.high)}]"


def thresholds_said(cells: pd.DataFrame, fits: pd.DataFrame, config: RegimesConfig) -> list[str]:
    """beta* by tolerance and length of training at each step size."""
    found: list[str] = []
    lazy = fits[fits.method.isin(["beta_star", "beta_star_fraction"])]
    for (eta, unit), part in lazy.groupby(["eta", "eta_unit"]):
        beta = cells.beta[cells.eta == eta]
        limits = beta.min(), beta.max()
        said = []
        for tolerance, of_tolerance in part[part.width.isna()].groupby("tolerance"):
            text = _along_training(of_tolerance, limits)
            each = part[(part.tolerance == tolerance) & part.width.notna() & (part["at"] == "end")]
            if len(each):
                widths = [f"{threshold(row, *_betas(cells, eta, row.width))} at width {row.width:g}"
                          for row in each.itertuples()]  # fmt: skip
                text += f"; as width counts beyond beta, by width: {', '.join(widths)}"
            said.append(f"drift {tolerance:g} beyond beta* = {text}")
        found.append(
            f"At {step(eta, unit)} runs leave the lazy regime (betas drawn: {limits[0]:.3g} to {limits[1]:.3g}), "
            f"{'; '.join(said)}. Intervals hold the scatter of cells around the line in log beta."
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


def _runs(part: pd.DataFrame, paths: xr.Dataset, name: str) -> np.ndarray:
    """A variable of all runs of these cells that did not diverge."""
    at = part.cell.to_numpy()
    return paths[name].values[at][np.isfinite(paths["loss"].values[at, :, -1])]


def spread(values: np.ndarray) -> str:
    """Median and quartiles of the known values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "not known"
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    return f"{middle:.2g} [{low:.2g}, {high:.2g}]"


def freeze_said(cells: pd.DataFrame, paths: xr.Dataset, config: RegimesConfig) -> list[str]:
    """How many kernels ever move, freeze within their run, and when; eigenspace and loss beside."""
    found = []
    for (eta, unit), part in cells.groupby(["eta", "eta_unit"]):
        times = {n: _runs(part, paths, n) for n in ("freeze_time", "rotation_time", "plateau_time")}
        turned = _runs(part, paths, "rotation_moved").astype(bool)
        if not len(times["freeze_time"]):
            continue
        end, moved = _runs(part, paths, "time")[:, -1], _runs(part, paths, "kernel_moved").astype(bool)

        def said(values: np.ndarray, of: np.ndarray, end: np.ndarray = end) -> str:
            known = np.isfinite(values) & of
            when = f", at {np.median(values[known] / end[known]):.2g} of the run (median)" if known.any() else ""
            return f"{known.sum()} of {(~np.isnan(values) & of).sum()} runs{when}"

        every = np.ones_like(moved)
        found.append(
            f"At {step(eta, unit)} {np.sum(moved)} of {len(moved)} kernels ever change by more than "
            f"{config.velocity:g} an e-fold of time; of these the kernel freezes in "
            f"{said(times['freeze_time'], moved)}; its leading eigenspace stops rotating in "
            f"{said(times['rotation_time'], turned)} that turned; the loss comes to its plateau in "
            f"{said(times['plateau_time'], every)} of all."
        )
    return found


def regression_said(cells: pd.DataFrame, paths: xr.Dataset) -> list[str]:
    """Kernel regression with K_0 and with K_t* against training on: errors and cost, a step size at a time.

    The ridge is that of the smallest leave-one-out error (from zero, last kernel; median over runs).
    """
    found, regs = [], paths["diag_reg"].values
    for (eta, unit), part in cells.groupby(["eta", "eta_unit"]):
        network = _runs(part, paths, "network_eval_mse")[:, -1:]
        if not len(network):
            continue
        errors, left_out = _runs(part, paths, "eval_mse"), _runs(part, paths, "loo_mse")
        zero, onward = (list(paths["start"].values).index(name) for name in ("zero", "network"))
        last = left_out[:, -1, zero]
        if not np.isfinite(last).any():
            continue
        at = int(np.nanargmin(np.nanmedian(np.where(np.isfinite(last), last, np.inf), axis=0)))
        half = paths.sizes["snapshot"] // 2
        ratio = {name: errors[:, k, s, at] / network[:, 0]
                 for name, k, s in (("start", 0, zero), ("half", half, onward), ("end", -1, zero))}  # fmt: skip
        onward_flops = part.cell.map(dict(enumerate(paths["training_on_flops"].values[:, half])))
        price = onward_flops / (part.regression_flops + part.kernel_flops)
        cost = ""
        if price.notna().any():
            cost = f", which costs {price.min():.2g} to {price.max():.2g} times as many flops"
        found.append(
            f"At {step(eta, unit)} kernel regression has, over the eval error of the network at the end "
            f"({spread(network)} mean square), {spread(ratio['start'])} with K_0 and {spread(ratio['end'])} with the "
            f"last K from zero, and {spread(ratio['half'])} from the network at step "
            f"{int(paths['step'].values[half])}, against training on from there{cost} (medians and quartiles over "
            f"runs; ridge {regs[at]:g} by leave-one-out error)."
        )
    return found


def hierarchy_said(cells: pd.DataFrame, paths: xr.Dataset) -> list[str]:
    """How far K3, and K3 and K4, predict the change of the kernel at the end of the run."""
    if "fourth_error" not in paths:
        return []
    last, found = paths.sizes["snapshot"] - 1, []
    for eta, part in cells.groupby("eta"):
        rows = []
        for row in part.sort_values("width").itertuples():
            one = part[part.cell == row.cell]
            third, fourth = (_runs(one, paths, name)[:, last] for name in ("third_error", "fourth_error"))
            if len(third):
                where = f"width {row.width}, depth {row.depth}"
                rows.append(f"{spread(third)} and {spread(fourth)} at {where}")
        if rows:
            found.append(
                f"At {step(eta, part.eta_unit.iloc[0])} DeltaK at the end, predicted from initialization by K3, and by "
                f"K3 and K4, has a relative error of {'; '.join(rows)} (medians, quartiles; 1 is no better than K_0)."
            )
    return found
