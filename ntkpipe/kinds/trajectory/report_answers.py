"""The answers of a training study as sentences; every number is one of a table or dataset row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.scaling import GROUP

HEAD = (*GROUP, "eta_unit")
SERIES_DIVERGED = 1e3
"""A geometric mean of the order-0 error beyond this: the frozen kernel's own steps do not converge (load above 1)."""


def answers(cells: pd.DataFrame, fits: pd.DataFrame, paths: xr.Dataset, config: RegimesConfig) -> list[str]:
    """One block a setting (activation and so on), step sizes within it; ``cells`` carry their place as ``cell``."""
    found = []
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    for key, part in cells.groupby(list(HEAD), sort=False):
        of_setting = fits[(fits[list(HEAD)] == list(key)).all(axis=1)]
        converge = of_setting[~of_setting.eta.isin(part.eta[part.order_0_end > SERIES_DIVERGED])]
        drift = of_setting[of_setting.quantity == "drift"]
        frozen = converge[converge.quantity == "error of the frozen kernel"]
        said = [*scaling_said(drift), *scaling_said(frozen), *thresholds_said(part, of_setting, config)]
        said += [*predictors_said(converge), *orders_said(part), *freeze_said(part, paths, config)]
        said += [*regression_said(part, paths), *hierarchy_said(part, paths)]
        name = ", ".join(str(part[c].iloc[0]) for c in GROUP if cells[c].nunique() > 1)
        found += [f"({name}) {text}" for text in said] if name else said
    return found


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
            continue
        p, q, total, power = (row[f"{n}"] for n in ("width_exponent", "depth_exponent", "total_exponent", "beta_power"))
        found.append(
            f"{quantity[0].upper()}{quantity[1:]} at the end, {step(eta, part.eta_unit.iloc[0])}: width^p depth^q with "
            f"p = {bracket(p)}, q = {bracket(q)}; R^2 is {p.r2:.2f} with width and depth, {power.r2:.2f} with a power "
            f"of beta alone, exponent {bracket(power)} ({int(p.n_cells)} cells). {_clocks(fits, quantity, eta, total)}"
        )
    return found


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
    """beta* by both methods at each step size, and the load beyond which runs diverge."""
    found: list[str] = []
    said: dict[str, list[str]] = {}
    for eta, part in fits[fits.method.isin(["beta_star", "beta_star_fraction"])].groupby("eta"):
        beta = cells.beta[cells.eta == eta]
        row = {r.method: threshold(r, beta.min(), beta.max()) for r in part.itertuples()}
        text = (
            f"runs have left the lazy regime (drift {config.lazy:g}) by the end, beyond a beta* that is "
            f"{row['beta_star']} by the line in log beta, {row['beta_star_fraction']} by the fraction of runs; betas "
            f"drawn are {beta.min():.3g} to {beta.max():.3g}."
        )
        said.setdefault(text, []).append(step(eta, part.eta_unit.iloc[0]))
    found += [f"At {', '.join(steps)} {text}" for text, steps in said.items()]
    for row in fits[fits.method == "stable_load"].itertuples():
        found.append(
            "The load eta s lambda_max(K_0)/2 beyond which half of the runs diverge is "
            f"{threshold(row, cells.eta.min(), cells.eta.max())}, all cells pooled; loads drawn are "
            f"{cells.eta.min():g} to {cells.eta.max():g}."
        )
    return found


def predictors_said(fits: pd.DataFrame) -> list[str]:
    """Rank correlations of beta and of the forcing with what order 1 leaves of the error, and which is larger."""
    found = []
    for eta, part in fits[fits.method == "rank_correlation"].groupby("eta"):
        row = {r.quantity: r for r in part.itertuples()}
        more = row["difference"]
        if np.isnan(more.low):
            verdict = "too few cells for intervals"
        elif more.low > 0:
            verdict = "the forcing predicts better"
        elif more.high < 0:
            verdict = "beta predicts better"
        else:
            verdict = "which predicts better is open"
        found.append(
            f"At {step(eta, part.eta_unit.iloc[0])} the rank correlation over runs with |r - r_1|/|r - r_0|, what "
            f"order 1 leaves of the error, is {bracket(row['forcing'])} for the forcing and {bracket(row['beta'])} for "
            f"beta, larger by {bracket(more)}: {verdict}."
        )
    return found


def orders_said(cells: pd.DataFrame) -> list[str]:
    """In which cells order 1 ends nearer than order 0, and where it fails."""
    known = cells[cells.order_0_end.notna() & cells.order_1_end.notna()]
    lost = known[known.order_0_end > SERIES_DIVERGED]
    known = known.drop(lost.index)
    found = []
    if len(known):
        better = known[known.order_1_end < known.order_0_end]
        worse = known.drop(better.index)
        text = f"Order 1 ends nearer to the residual than order 0 in {len(better)} of {len(known)} cells"
        text += f" ({_forcings(better)})" if len(better) else ""
        if len(worse):
            row = worse.loc[worse.forcing_end.idxmin()]
            text += (
                f", and farther in {len(worse)} ({_forcings(worse)}; of these the weakest is width {row.width}, depth "
                f"{row.depth}, {step(row.eta, row.eta_unit)}: {row.order_0_end:.2g} at order 0, {row.order_1_end:.2g} "
                "at order 1)"
            )
        found.append(f"{text}; geometric means over seeds of |r - r_p|/|r(0)|.")
    if len(lost):
        steps = ", ".join(f"{eta:g}" for eta in sorted(set(lost.eta)))
        found.append(
            f"In {len(lost)} cells (eta = {steps}) descent with the frozen kernel diverges while the networks do not: "
            "no order predicts them, and no exponent of these errors is given."
        )
    return found


def _forcings(part: pd.DataFrame) -> str:
    low, high = part.forcing_end.min(), part.forcing_end.max()
    return f"forcing {low:.2g} to {high:.2g}" if len(part) > 1 else f"forcing {low:.2g}"


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
    """How many kernels freeze within their run, and when."""
    found = []
    for (eta, unit), part in cells.groupby(["eta", "eta_unit"]):
        freeze, plateau = (_runs(part, paths, name) for name in ("freeze_time", "plateau_time"))
        if not len(freeze):
            continue
        end = _runs(part, paths, "time")[:, -1]

        def said(times: np.ndarray, end: np.ndarray = end) -> str:
            known = np.isfinite(times)
            when = f", at {np.median(times[known] / end[known]):.2g} of the run (median)" if known.any() else ""
            return f"in {known.sum()} of {(~np.isnan(times)).sum()} runs{when}"

        found.append(
            f"At {step(eta, unit)} the kernel freezes (changes by less than "
            f"{config.velocity:g} an e-fold of time) {said(freeze)}; the loss comes to its plateau {said(plateau)}."
        )
    return found


def regression_said(cells: pd.DataFrame, paths: xr.Dataset) -> list[str]:
    """Kernel regression with K_0 and with the last K against training on: errors and cost, a step size at a time."""
    found, regs = [], paths["diag_reg"].values
    for (eta, unit), part in cells.groupby(["eta", "eta_unit"]):
        network = _runs(part, paths, "network_eval_mse")[:, -1:]
        if not len(network):
            continue
        errors = _runs(part, paths, "eval_mse")
        from_zero = list(paths["start"].values).index("zero")
        last = np.nanmedian(errors[:, -1, from_zero], axis=0)
        at = int(np.nanargmin(last)) if np.isfinite(last).any() else 0
        cost = ""
        if part.training.iloc[0] == "gd":  # the count is of full batches
            times = part.training_flops / (part.regression_flops + part.kernel_flops)
            cost = (
                f"; training costs {times.min():.3g} to {times.max():.3g} times the flops of one kernel and regression"
            )
        found.append(
            f"At {step(eta, unit)} the mean square error on eval points is {spread(network)} for the network at the "
            f"end, {spread(errors[:, 0, from_zero, at])} for regression with K_0 and "
            f"{spread(errors[:, -1, from_zero, at])} with the last K (medians and quartiles over runs), both from 0 at "
            f"diag_reg {regs[at]:g} (of those tried the best for the last K){cost}."
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
