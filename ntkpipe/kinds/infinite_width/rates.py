"""The ``fits`` dataset: how the distances from the limit fall with width, rise with depth, and whether beta decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.activations import KINKED
from ntkpipe.analysis import collapse
from ntkpipe.analysis.infinite_width import power
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.kinds.trajectory.scaling import GROUP
from ntkpipe.plan import Study

SIZES = {
    "kernel distance": ("distance", ("start", "end")),
    "kernel movement": ("movement", ("end",)),
    "function error": ("function_error", ("end",)),
    "function error by K_0": ("start_error", ("end",)),
    "function error by movement": ("moved_error", ("end",)),
}
"""Sizes of one network, positive: quantity -> (variable, where it is read); functions at the evaluation points."""
ALONG = ("kernel movement", "function error", "function error by movement")
"""Sizes whose width exponents are read at every snapshot too, "step k"."""
MEANS = {
    "mean kernel": ("excess", ("start", "end")),
    "mean function": ("shift", ("end",)),
    "mean function by K_0": ("start_shift", ("end",)),
    "mean function by movement": ("moved_shift", ("end",)),
}
"""Means over networks of either sign: deviations of E K_t and E f_t from the limit, along the limit's."""
BY_MOVEMENT = ("kernel movement", "function error by movement", "mean function by movement")
METHODS = {
    "width_exponent": "p of log size = a + p log width + q log depth; where depth is set, of that depth alone",
    "last_exponent": "p between the two largest widths, of one depth",
    "depth_exponent": "q of the same; where width is set, of that width alone",
    "total_exponent": "p + q: 0 where the size depends on beta = depth/width alone",
    "beta_power": "c of log size = a + c log beta",
    "mean_exponent": "p of mean = a width^p by weighted least squares, at one depth; NaN where no deviation is seen",
}
MEANINGS = {
    "estimate": "exponent",
    "low": "lower end of its interval; -inf where noise allows any steeper power",
    "high": "upper end of its interval; inf where noise allows any power",
    "expected": "exponent to leading order in 1/width; NaN where none is known",
    "scale": "size at width, depth (or beta) 1 on the fitted law",
    "width": "hidden width; NaN where all are used",
    "depth": "number of hidden layers; NaN where all are used",
    "eta": "step size",
    "scatter": "root mean square residual in units of the seeds' error: 1 where the law is right",
    "n_cells": "cells used",
    "n_runs": "runs used",
    "n_all": "runs there",
}


def expected(quantity: str, method: str, activation: str, at: str) -> float:
    """The exponent to leading order in 1/width: -1/2 of one network, -1 of means, and of what moves a smooth network.

    NaN where none is claimed: gates of kinked activations flip, and what moves them, also in the mean, is measured.
    """
    kinked = activation in KINKED
    if method == "total_exponent":
        return 0.0
    if method == "mean_exponent":
        return np.nan if kinked and (at == "end" and not quantity.endswith("by K_0")) else -1.0
    if method not in ("width_exponent", "last_exponent"):
        return np.nan
    if quantity in BY_MOVEMENT:
        return np.nan if kinked else -1.0
    return -0.5


def dataset(study: Study, found: xr.Dataset) -> xr.Dataset:
    """The ``fits`` dataset of the study, from its ``infinite_width``."""
    confidence, rows = study.config.tolerances.confidence, []
    runs = frame(found)
    runs = runs[(runs.width > 0) & (runs.depth > 0)]
    for key, curve in runs.groupby([*GROUP, "eta", "eta_unit"], sort=True):
        head = dict(zip((*GROUP, "eta", "eta_unit"), key, strict=True))
        for row in (*_of_sizes(curve, confidence), *_of_means(curve, confidence)):
            known = expected(row["quantity"], row["method"], head["activation"], row["at"])
            rows.append(head | row | {"expected": known})
    texts = [*GROUP, "eta_unit", "quantity", "at", "method"]
    return labels.fits(study, pd.DataFrame(rows, columns=[*texts, *MEANINGS]), MEANINGS, METHODS)


def frame(found: xr.Dataset) -> pd.DataFrame:
    """One row a run: coordinates of its cell, and its sizes ``{variable}_{at}``, functions at the evaluation points."""
    coords = [str(name) for name, c in found.coords.items() if c.dims == ("cell",)]
    cells = pd.DataFrame({name: found[name].values for name in coords})
    parts = []
    for i, row in cells.iterrows():
        columns: dict[str, Any] = {"cell": i, "seed": np.arange(found.sizes["seed"])}
        columns |= dict(row)
        for quantity, (variable, places) in (SIZES | MEANS).items():
            values = found[variable].values[i]
            values = values[..., -1] if values.ndim == 3 else values
            for at in places:
                columns[f"{variable}_{at}"] = values[:, 0 if at == "start" else -1]
            if quantity in ALONG:
                columns |= {f"{variable}_step {k}": values[:, n] for n, k in enumerate(found["step"].values) if k}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _curves(curve: pd.DataFrame) -> Iterator[tuple[dict[str, float], pd.DataFrame]]:
    """All shapes together where both width and depth vary, each depth by itself, each width by itself."""
    if curve.width.nunique() > 1 and curve.depth.nunique() > 1:
        yield {}, curve
    for name, other in (("depth", "width"), ("width", "depth")):
        for value, part in curve.groupby(name):
            if part[other].nunique() > 1:
                yield {name: float(value)}, part


def _of_sizes(curve: pd.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    for where, part in _curves(curve):
        shape = [part[name].to_numpy(float) for name in ("width", "depth", "beta")]
        for quantity, (variable, places) in SIZES.items():
            along = [name.split("_")[-1] for name in part if name.startswith(f"{variable}_step ")]
            for at in (*places, *(along if "depth" in where else ())):
                size = part[f"{variable}_{at}"].to_numpy(float)
                log = collapse.known_log(size, np.zeros(len(part), bool))
                means = collapse.cell_means(log, part.cell.to_numpy(int))
                if len({tuple(s[k] for s in shape) for k in means.first}) < (2 if where else 4):
                    continue
                found = collapse.collapse(*shape, means, confidence)
                rows = {"width": found.width, "depth": found.depth, "total": found.total}
                for name, estimate in rows.items():
                    if np.isfinite(estimate.value):
                        yield _row(quantity, at, f"{name}_exponent", estimate, means, part, found.scatter.ratio, where)
                widths = shape[0][means.first]
                if "depth" in where and at in places and len(widths) > 2:
                    two = means.of(widths >= np.sort(widths)[-2])
                    estimate = collapse.collapse(*shape, two, confidence).width
                    yield _row(quantity, at, "last_exponent", estimate, two, part, np.nan, where)
                if not where:
                    line, scale = found.power, {"scale": float(np.exp(found.power.intercept))}
                    yield _row(quantity, at, "beta_power", line.slope, means, part, line.scatter.ratio, scale)


def _row(
    quantity: str, at: str, method: str, estimate: Estimate, means: collapse.Means, part: pd.DataFrame,
    scatter: float, more: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    ends = dict(zip(("estimate", "low", "high"), map(float, estimate), strict=True))
    used = {"n_cells": len(means.mean), "n_runs": means.runs, "n_all": len(part), "scatter": scatter}
    if method == "width_exponent" and "depth" in more:
        log = np.log(part.width.to_numpy(float))[means.first]
        more = more | {"scale": float(np.exp(means.mean.mean() - estimate.value * log.mean()))}
    return {"quantity": quantity, "at": at, "method": method} | ends | used | more


def _of_means(curve: pd.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    """Exponents of the mean deviations at each depth, from cells in which at least half of the runs have the number."""
    for depth, part in curve.groupby("depth"):
        if part.width.nunique() < 2:
            continue
        for quantity, (variable, places) in MEANS.items():
            for at in places:
                known = part.groupby("cell")[f"{variable}_{at}"].agg(["mean", "std", "count", "size"])
                known["width"] = part.groupby("cell").width.first()
                known = known[(known["count"] > 1) & (2 * known["count"] >= known["size"])]
                error = (known["std"] / np.sqrt(known["count"])).to_numpy()
                columns = (known[name].to_numpy(float) for name in ("width", "mean"))
                found = power(*columns, error, known["count"].to_numpy(float) - 1, confidence)
                yield {
                    "quantity": quantity, "at": at, "method": "mean_exponent", "depth": float(depth),
                    "scatter": found.scatter, "scale": found.amplitude, "n_cells": len(known),
                    "n_runs": int(known["count"].sum()), "n_all": len(part),
                } | dict(zip(("estimate", "low", "high"), found.exponent, strict=True))  # fmt: skip
