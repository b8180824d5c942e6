"""The ``regimes`` and ``fits`` datasets: how sizes scale with width, depth and beta, and where regimes end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import collapse, regimes, trajectory
from ntkpipe.config.train import RegimesConfig
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

SIZES = {
    "drift": "drift",
    "order_0": "error of the frozen kernel",
    "order_1": "error of order 1",
    "forcing": "forcing",
    "linearization_error": "linearization error",
}
GROUP = (*SETTINGS, "training", "loss_kind")
"""Cells that share these differ in width, depth and step size alone."""

UNREASONABLE = 1e3
"""Sizes beyond are no sizes: where a step is larger than K_0 allows, the frozen kernel's own descent diverges."""

METHODS = {
    "width_exponent": "p of log size = a + p log width + q log depth",
    "depth_exponent": "q of the same",
    "total_exponent": "p + q: 0 where the size depends on beta = depth/width alone",
    "beta_power": "c of log size = a + c log beta",
    "beta_exponential": "c of log size = a + c beta",
    "beta_star": "beta at which the size reaches regimes.lazy, on the line in log beta",
    "beta_star_fraction": "beta beyond which half of the runs are not lazy",
    "stable_load": "nominal eta s lambda_max(K_0)/2 beyond which half of the runs diverge",
    "rank_correlation": "Spearman's, of a predictor with |r - r_1|/|r - r_0|; difference: |forcing's| less |beta's|",
}


def runs(study: Study, data: xr.Dataset, perturbation: xr.Dataset) -> pd.DataFrame:
    """One row a run (cell and seed): its sizes at the end, at fixed loss and at a fixed flow time; did it diverge?

    The fixed flow time is the longest that all runs of one step size reach.
    """
    share = (study.config.regimes or RegimesConfig()).loss
    ends = data["time"].isel(snapshot=-1).values.min(axis=1)
    etas = [cell.settings.eta for cell in study.cells]
    common = {eta: min(end for end, other in zip(ends, etas, strict=True) if other == eta) for eta in set(etas)}
    rows = []
    for i, cell in enumerate(study.cells):
        part = perturbation.isel(cell=i).load()
        status, loss = data["status"].isel(cell=i).values, part["loss"].values
        values = {name: part[name].values for name in ("drift", "forcing", "linearization_error")}
        values |= {f"order_{p}": part["order_error"].values[..., p] for p in range(2)}
        at_loss = {name: trajectory.at_loss(loss, value, share) for name, value in values.items()}
        time = data["time"].isel(cell=i).values
        at_time = {name: trajectory.at_time(time, value, common[cell.settings.eta]) for name, value in values.items()}
        for seed in range(len(status)):
            row: dict[str, Any] = cell.coords | {"cell": i, "seed": seed, "diverged": bool(status[seed] == 1)}
            row |= {f"{name}_end": float(value[seed, -1]) for name, value in values.items()}
            row |= {f"{name}_loss": float(at_loss[name][seed]) for name in values}
            row |= {f"{name}_time": float(at_time[name][seed]) for name in values}
            row["initial_load"] = float(part["load"].values[seed, 0])
            rows.append(row)
    return pd.DataFrame(rows)


def regimes_dataset(study: Study, frame: pd.DataFrame) -> xr.Dataset:
    """The ``regimes`` dataset: fractions of the runs of each cell that are lazy, weakly learning, unstable."""
    config, confidence = study.config.regimes or RegimesConfig(), study.config.tolerances.confidence
    regime = regimes.classify(frame.drift_end.to_numpy(), frame.diverged.to_numpy(), config.lazy)
    found = regimes.fractions(regime, frame.cell.to_numpy(), confidence)
    said = {
        "lazy": f"drift below regimes.lazy = {config.lazy:g} at the end",
        "weak": "drift beyond it: weak feature learning",
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
    """The ``fits`` dataset: exponents, collapse on beta, thresholds and what predicts corrections."""
    rows: list[dict[str, Any]] = []
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    for key, part in frame.groupby(list(GROUP), sort=True):
        head = dict(zip(GROUP, key, strict=True))
        rows += [head | row for row in _group(study, part)]
    columns = [
        *GROUP,
        "eta",
        "eta_unit",
        "quantity",
        "at",
        "method",
        "estimate",
        "low",
        "high",
        "r2",
        "scatter",
        "n_cells",
    ]
    result = pd.DataFrame(rows, columns=columns)
    meaning = {
        "estimate": "exponent, rate, threshold or correlation; see methods",
        "low": "lower end of the interval",
        "high": "upper end of the interval",
        "r2": "share of the variance of the cells' log size that the fit explains",
        "scatter": "root mean square residual in units of the seeds' error: 1 where the curve is right",
        "n_cells": "cells used",
        "eta": "step size; NaN where several are used",
    }
    variables = {name: ("fit", result[name].to_numpy(float), variable_attrs(text)) for name, text in meaning.items()}
    coords = {
        name: ("fit", result[name].astype(object if result[name].dtype.kind not in "fi" else float).to_numpy())
        for name in columns
        if name not in meaning
    }
    fits = labels.dataset(study, variables, coords)
    fits.attrs["methods"] = METHODS
    return fits


def _group(study: Study, part: pd.DataFrame) -> list[dict[str, Any]]:
    config, confidence = study.config.regimes or RegimesConfig(), study.config.tolerances.confidence
    rows: list[dict[str, Any]] = []
    for (eta, unit), curve in part.groupby(["eta", "eta_unit"]):
        head = {"eta": eta, "eta_unit": unit}
        columns = (
            *(curve[name].to_numpy(float) for name in ("width", "depth", "beta")),
            curve.diverged.to_numpy(bool),
            curve.cell.to_numpy(int),
        )
        width, depth, beta, diverged, cell = columns
        for name, said in SIZES.items():
            for at in ("end", "loss", "time"):
                size = curve[f"{name}_{at}"].to_numpy(float)
                found = _collapse(width, depth, beta, size, diverged, cell, confidence)
                rows += [head | {"quantity": said, "at": at} | row for row in found]
        drift = curve.drift_end.to_numpy(float)
        if len(np.unique(beta)) > 1:
            by_size = regimes.size_threshold(beta, drift, diverged, cell, config.lazy, confidence)
            regime = regimes.classify(drift, diverged, config.lazy)
            seen = regime != "unknown"
            by_fraction = regimes.fraction_threshold(beta[seen], regime[seen] != "lazy", confidence)
            for method, estimate in (("beta_star", by_size), ("beta_star_fraction", by_fraction)):
                row = {"quantity": "drift", "at": "end", "method": method, "n_cells": curve.cell.nunique()}
                rows.append(head | row | _ends(estimate))
        gain = curve.order_1_end.to_numpy(float) / curve.order_0_end.to_numpy(float)
        forcing = curve.forcing_end.to_numpy(float)
        known = np.isfinite(gain) & (forcing < UNREASONABLE) & ~diverged
        if len(np.unique(cell[known])) > 2:
            predicted = regimes.predictors(beta[known], forcing[known], gain[known], cell[known], confidence)
            for predictor, estimate in zip(("beta", "forcing", "difference"), predicted, strict=True):
                row = {
                    "quantity": predictor,
                    "at": "end",
                    "method": "rank_correlation",
                    "n_cells": len(set(cell[known])),
                }
                rows.append(head | row | _ends(estimate))
    critical = part[part.eta_unit == "critical"]
    if critical.eta.nunique() > 1:
        estimate = regimes.fraction_threshold(
            critical.eta.to_numpy(float), critical.diverged.to_numpy(bool), confidence
        )
        row = {"eta": np.nan, "eta_unit": "critical", "quantity": "load", "at": "end", "method": "stable_load"}
        rows.append(row | {"n_cells": critical.cell.nunique()} | _ends(estimate))
    return rows


def _ends(estimate: Any) -> dict[str, float]:
    return dict(zip(("estimate", "low", "high"), map(float, estimate), strict=True))


def _collapse(width, depth, beta, size, diverged, cell, confidence) -> list[dict[str, Any]]:
    """Exponents in width and depth, their sum, the two laws in beta alone; none where too few cells know the size."""
    size = np.where(size < UNREASONABLE, size, np.nan)
    known = np.isfinite(size) & (size > 0) & ~diverged
    if len(np.unique(width[known])) < 2 or len(np.unique(depth[known])) < 2 or len(np.unique(beta[known])) < 3:
        return []
    found = collapse.collapse(width, depth, beta, size, diverged, cell, confidence)
    full = {"r2": found.r2.value, "scatter": found.scatter.ratio, "n_cells": found.cells}
    rows = [
        {"method": f"{name}_exponent"} | full | _ends(estimate)
        for name, estimate in (("width", found.width), ("depth", found.depth), ("total", found.total))
    ]
    for name, line in (("beta_power", found.power), ("beta_exponential", found.exponential)):
        alone = {"r2": line.r2.value, "scatter": line.scatter.ratio, "n_cells": found.cells}
        rows.append({"method": name} | alone | _ends(line.slope))
    return rows
