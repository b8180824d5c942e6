"""The ``regimes`` and ``fits`` datasets: how sizes scale with width, depth and beta, and where regimes end.

Every fit says how many runs it used (``n_runs``) of how many there are (``n_all``). Runs that diverged or died enter no
size, nor do sizes beyond ``UNREASONABLE``; cells in which they, or runs that do not come to the fixed loss, leave fewer
than half of the runs are left out of the fit (``analysis.collapse``). A fit with n_runs < n_all is one of survivors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import collapse, regimes, trajectory
from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory import predictors
from ntkpipe.kinds.trajectory.fit_rows import MEANINGS, METHODS, UNREASONABLE, Rows, fit_row
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

SIZES = {
    "drift": "drift",
    "order_0": "error of the frozen kernel",
    "order_1": "error of order 1",
    "forcing": "forcing",
    "linearization_error": "linearization error",
    "third_error": "relative error of K3",
    "fourth_error": "relative error of K3 and K4",
}
CLOCKS = ("end", "loss", "time")
"""Where sizes are read: at the last step, at fixed loss, at a fixed flow time."""

GROUP = (*SETTINGS, "training", "loss_kind")
"""Cells that share these differ in width, depth and step size alone."""


def runs(study: Study, data: xr.Dataset, perturbation: xr.Dataset) -> pd.DataFrame:
    """One row a run (cell and seed): its sizes at the end, at fixed loss and at a fixed flow time, some at every step.

    Columns are named ``{size}_{clock}`` and ``{size}_step {step}`` (drift, forcing, and ``left1``, ``left2``: what an
    order leaves of the error of the one below). The fixed flow time is the longest that all runs of one step size
    reach. ``diverged``: its loss did; ``dead``: its kernel at the end is 0.
    """
    share = study.config.reading.loss
    sizes = [name for name in SIZES if name in perturbation]
    paths = perturbation[[*sizes, "order_error", "loss", "time", "load"]].load()
    status = data["status"].values
    ends = paths["time"].values[:, :, -1].min(axis=1)
    etas = np.array([cell.settings.eta for cell in study.cells])
    frames = []
    for i, cell in enumerate(study.cells):
        part = paths.isel(cell=i)
        time, loss = part["time"].values, part["loss"].values
        values = {name: part[name].values for name in sizes}
        values |= {f"order_{p}": part["order_error"].values[..., p] for p in range(3)}
        columns = {"cell": i, "seed": np.arange(len(loss)), "diverged": status[i] == 1}
        columns["dead"] = perturbation["dead"].values[i]
        columns["initial_load"] = part["load"].values[:, 0]
        for name, value in values.items():
            columns[f"{name}_end"] = value[:, -1]
            columns[f"{name}_loss"] = trajectory.at_loss(loss, value, share)
            columns[f"{name}_time"] = trajectory.at_time(time, value, ends[etas == etas[i]].min())
        for k, step in enumerate(perturbation["step"].values[1:], start=1):
            columns[f"drift_step {step}"] = values["drift"][:, k]
            columns[f"forcing_step {step}"] = values["forcing"][:, k]
            with np.errstate(divide="ignore", invalid="ignore"):
                for p in (1, 2):
                    columns[f"left{p}_step {step}"] = values[f"order_{p}"][:, k] / values[f"order_{p - 1}"][:, k]
        frames.append(pd.DataFrame(cell.coords | columns))
    return pd.concat(frames, ignore_index=True)


def regimes_dataset(study: Study, frame: pd.DataFrame) -> xr.Dataset:
    """The ``regimes`` dataset: fractions of the runs of each cell in each regime."""
    config, confidence = study.config.reading, study.config.tolerances.confidence
    regime = _regime(frame, config.lazy[0], config)
    found = regimes.fractions(regime, frame.cell.to_numpy(), confidence)
    said = {
        "lazy": f"drift below regimes.lazy = {config.lazy[0]:g} at the end",
        "weak": "drift from there to regimes.strong: weak feature learning",
        "strong": f"drift of at least regimes.strong = {config.strong:g}: the kernel is no perturbation of K_0",
        "dead": "died: the kernel at the end is 0",
        "unstable": "diverged",
        "unknown": "of unknown drift",
    }
    variables: dict[str, Any] = {}
    for name in regimes.REGIMES:
        columns = np.array([found[i][name] for i in range(len(study.cells))], dtype=float).T
        for end, values in zip(("", "_low", "_high"), columns, strict=True):
            meaning = f"fraction of runs {said[name]}" if not end else f"{end[1:]} end of the interval of {name}"
            variables[f"{name}{end}"] = "cell", values, variable_attrs(meaning, trajectory.SECTION)
    by_cell = frame.groupby("cell")
    load = by_cell.initial_load.median().to_numpy()
    variables["load"] = "cell", load, variable_attrs("median of eta s lambda_max(K_0)/2", trajectory.SECTION)
    variables["n_runs"] = "cell", by_cell.size().to_numpy(), variable_attrs("runs")
    return labels.dataset(study, variables, cell_coords(list(study.cells)))


def fits_dataset(study: Study, frame: pd.DataFrame) -> xr.Dataset:
    """The ``fits`` dataset: exponents, collapse on beta, thresholds, when corrections help and what predicts it."""
    config, confidence = study.config.reading, study.config.tolerances.confidence
    rows: Rows = []
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    for key, group in frame.groupby(list(GROUP), sort=True):
        found: Rows = []
        for (eta, unit), curve in group.groupby(["eta", "eta_unit"]):
            of_curve = [*_exponents(curve, confidence), *_thresholds(curve, config, confidence)]
            of_curve += [*predictors.comparisons(curve, confidence), *predictors.improvements(curve, confidence)]
            found += [{"eta": eta, "eta_unit": unit, "n_all": max(len(curve), row["n_runs"])} | row for row in of_curve]
        found += _stable_loads(group[group.eta_unit == "critical"], confidence)
        rows += [dict(zip(GROUP, key, strict=True)) | row for row in found]
    texts = [*GROUP, "eta_unit", "quantity", "at", "method"]
    result = pd.DataFrame(rows, columns=[*texts, *MEANINGS])
    return labels.fits(study, result, MEANINGS, METHODS)


def _regime(frame: pd.DataFrame, lazy: float, config: RegimesConfig) -> np.ndarray:
    columns = (frame[name].to_numpy() for name in ("drift_end", "diverged", "dead"))
    return regimes.classify(*columns, lazy, config.strong)


def _means(curve: pd.DataFrame, column: str) -> collapse.Means:
    size = curve[column].to_numpy(float)
    excluded = (curve.diverged | curve.dead).to_numpy(bool) | (size >= UNREASONABLE)
    return collapse.cell_means(collapse.known_log(size, excluded), curve.cell.to_numpy(int))


def _exponents(curve: pd.DataFrame, confidence: float) -> Rows:
    """Exponents in width and depth, their sum and the two laws in beta alone, of every size by every clock.

    Where one of width and depth varies, its exponent alone; nothing where too few cells know the size.
    """
    shape = [curve[name].to_numpy(float) for name in ("width", "depth", "beta")]
    rows: Rows = []
    for name, quantity in SIZES.items():
        for at in CLOCKS if f"{name}_end" in curve else ():
            means = _means(curve, f"{name}_{at}")
            width, depth, beta = (len(np.unique(values[means.first])) for values in shape)
            if beta < (3 if width > 1 and depth > 1 else 2):
                continue
            found = collapse.collapse(*shape, means, confidence)
            used = {"cells": len(means.mean), "runs": means.runs}
            full = {"r2": found.r2.value, "scatter": found.scatter.ratio} | used
            three = {"width": found.width, "depth": found.depth, "total": found.total}
            rows += [
                fit_row(quantity, at, f"{of}_exponent", estimate, **full)
                for of, estimate in three.items()
                if not np.isnan(estimate.value)
            ]
            if width > 1 and depth > 1:
                for law, line in (("beta_power", found.power), ("beta_exponential", found.exponential)):
                    alone = {"r2": line.r2.value, "scatter": line.scatter.ratio} | used
                    rows.append(fit_row(quantity, at, law, line.slope, **alone))
    return rows


def _thresholds(curve: pd.DataFrame, config: RegimesConfig, confidence: float) -> Rows:
    """beta* by the line at every snapshot and clock, over all widths and for each; by the fraction at the end.

    A run that diverges or dies later is left out at all snapshots, so that all of them speak of the same runs. By the
    fraction such runs have left the lazy regime.
    """
    if curve.beta.nunique() < 2:
        return []
    rows: Rows = []
    places = [name.removeprefix("drift_") for name in curve.columns if name.startswith("drift_")]
    one_width = [(float(w), part) for w, part in curve.groupby("width") if part.beta.nunique() > 1]
    for width, part in [(np.nan, curve), *one_width]:
        beta, there = part.beta.to_numpy(float), {"width": width, "n_all": len(part)}
        for at in places:
            means = _means(part, f"drift_{at}")
            for tolerance in config.lazy:
                found = regimes.size_threshold(beta, means, tolerance, confidence)
                more = there | {"tolerance": tolerance}
                rows.append(fit_row("drift", at, "beta_star", found, len(means.mean), means.runs, **more))
    seen = curve[curve.drift_end.notna() | curve.diverged]
    for tolerance in config.lazy:
        left = _regime(seen, tolerance, config) != "lazy"
        found = regimes.fraction_threshold(seen.beta.to_numpy(float), left, confidence)
        used = {"cells": seen.cell.nunique(), "runs": len(seen), "tolerance": tolerance}
        rows.append(fit_row("drift", "end", "beta_star_fraction", found, **used))
    return rows


def _stable_loads(group: pd.DataFrame, confidence: float) -> Rows:
    """The load beyond which half of the runs diverge, over all depths and for each."""
    if group.eta.nunique() < 2:
        return []
    rows: Rows = []
    one_depth = [(float(d), part) for d, part in group.groupby("depth") if part.eta.nunique() > 1]
    for depth, part in [(np.nan, group), *one_depth]:
        found = regimes.fraction_threshold(part.eta.to_numpy(float), part.diverged.to_numpy(bool), confidence)
        more = {"eta_unit": "critical", "depth": depth, "n_all": len(part)}
        rows.append(fit_row("load", "end", "stable_load", found, part.cell.nunique(), len(part), **more))
    return rows
