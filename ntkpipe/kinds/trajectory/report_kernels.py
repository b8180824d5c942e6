"""What the report says of kernels along runs: when they freeze, what regression with them gives, their prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.report_words import step


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
