"""The ``fits`` dataset: how errors fall with the number N of points and with width n, apart and together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import collapse, intervals
from ntkpipe.analysis.collapse import Means
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.analysis.spectrum import FEWEST
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

METHODS = {
    "points": "exponent in N of an error at one width: least squares of the log root mean square over draws, draws "
    "resampled; with the cells' scatter around the law in the interval where no exact value is known",
    "N": "exponent in N of log error = a + p log N + q log n over all cells, error the root mean square over draws",
    "n": "exponent in n of the same fit",
    "balance": "width over number of points at which the error of width is as large as that of points, if both fall "
    "like a power -1/2: geometric mean over draws and cells of width_error^2 n/(sampling error^2 N)",
}
MEANINGS = {
    "estimate": "exponent, or ratio; see methods",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "expected": "-1/2, or 0 where this size does not matter, as N and n grow; NaN where both do",
    "exact": "the same least squares of the exact root mean squares on the same cells",
    "n_cells": "cells used",
    "n_runs": "draws used",
    "n_all": "draws of these cells",
}
ENDS = ("estimate", "low", "high")
OF = ("sampling", "width", "total")
"""|C_limit - diag lambda|_F, |C_network - C_limit|_F, |C_network - diag lambda|_F."""


def labels_of(qmax: int) -> list[str]:
    """Names of the errors, as :func:`ntkpipe.analysis.sampling.errors` and the bounds have them."""
    return ["gram entry", "gram", "operator", *(f"{of} {q}" for of in ("action", "leakage") for q in range(qmax + 1))]


def dataset(study: Study, found: xr.Dataset) -> xr.Dataset:
    """Rows of exponents; without any where no cell differs from another in N or in width alone."""
    confidence, rows = study.config.tolerances.confidence, []
    cells = found.drop_dims([dim for dim in found.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    cells = cells.assign(place=np.arange(len(cells)))
    same = ["depth", *SETTINGS]
    for _, group in cells[cells.width > 0].groupby(same, sort=False):
        group = group.drop_duplicates(["train_points", "width"])  # cells of other noise have the same draws
        head = {name: group[name].iloc[0] for name in same} | {"noise": group.noise.iloc[0]}
        for width, part in group.groupby("width"):
            rows += [head | {"width": int(width)} | row for row in _by_points(found, part, confidence)]
        rows += [head | {"width": 0} | row for row in _both(found, group, confidence)]
    frame = pd.DataFrame(rows, columns=[*same, "noise", "width", "of", "kernel", "error", "quantity", *MEANINGS])
    return labels.fits(study, frame, MEANINGS, METHODS)


def _by_points(found: xr.Dataset, cells: pd.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    """Exponents in N of every error at one width."""
    if len(cells) < FEWEST:
        return
    part = found.isel(cell=cells.place.to_numpy())
    columns = np.log(cells[["train_points"]].to_numpy(float))
    for error in part.error.values:
        for kernel in part.kernel.values[: 1 if str(error).startswith("gram") else None]:
            values = part["error_value"].sel(error=error, kernel=kernel).values
            exact = part["rms_exact"].sel(error=error).values if kernel == "limit" else np.full(len(cells), np.nan)
            row = {"of": "error", "kernel": kernel, "error": error, "quantity": "points"}
            row["expected"] = -0.5 if kernel == "limit" else np.nan
            yield row | _slopes(columns, values, exact, confidence)[0]


def _both(found: xr.Dataset, cells: pd.DataFrame, confidence: float) -> Iterator[dict[str, Any]]:
    """Exponents in N and n, where both vary, of the error of points, of width and of both; and where they balance."""
    if cells.train_points.nunique() < 2 or cells.width.nunique() < 2:
        return
    part = found.isel(cell=cells.place.to_numpy())
    columns = np.log(cells[["train_points", "width"]].to_numpy(float))
    operator = part["error_value"].sel(error="operator")
    sizes = {"sampling": operator.sel(kernel="limit"), "width": part["width_error"], "total": operator[:, :, 1]}
    exact = part["rms_exact"].sel(error="operator").values
    for of, values in sizes.items():
        slopes = _slopes(columns, values.values, exact if of == "sampling" else exact * np.nan, confidence)
        expected = {"sampling": (-0.5, 0.0), "width": (0.0, -0.5), "total": (np.nan, np.nan)}[of]
        for quantity, slope, value in zip(("N", "n"), slopes, expected, strict=False):
            row = {"of": of, "kernel": "network" if of == "total" else "", "error": "operator", "quantity": quantity}
            yield row | {"expected": value} | slope
    per_point = sizes["width"].values ** 2 / sizes["sampling"].values ** 2
    per_point = per_point * (cells.width / cells.train_points).to_numpy()[:, None]
    means = _means(per_point)
    ratio = intervals.mean(means.mean, confidence)  # cells as units: what no power law explains is in the interval
    row = {"of": "balance", "kernel": "", "error": "operator", "quantity": "balance", "expected": np.nan}
    yield row | _counts(means, per_point) | dict(zip(ENDS, np.exp(ratio), strict=True)) | {"exact": np.nan}


def _means(values: np.ndarray) -> Means:
    """Means of log values over the draws of each cell; (cell, seed)."""
    cell = np.repeat(np.arange(len(values)), values.shape[1])
    return collapse.cell_means(collapse.known_log(values.ravel(), np.zeros(values.size, bool)), cell)


def _sizes(values: np.ndarray) -> Means:
    """Log root mean squares over the draws of each cell, which have exact values; (cell, seed)."""
    cell = np.repeat(np.arange(len(values)), values.shape[1])
    squares = collapse.cell_means(np.where(values > 0, values, np.nan).ravel() ** 2, cell)
    return squares._replace(
        mean=np.log(squares.mean) / 2,
        variance=squares.variance / (2 * squares.mean) ** 2,
        replicas=np.log(squares.replicas) / 2,
    )


def _counts(means: Means, values: np.ndarray) -> dict[str, int]:
    return {"n_cells": len(means.mean), "n_runs": means.runs, "n_all": values.size}


def _slopes(columns: np.ndarray, values: np.ndarray, exact: np.ndarray, confidence: float) -> list[dict[str, Any]]:
    """Slopes of the log of values (cell, seed), and of the exact values.

    Where those are known on every cell the slope's own mean is: intervals are of the draws. Else they hold the cells'
    scatter around a power law too.
    """
    means = _sizes(values)
    cells, counts = means.first // values.shape[1], _counts(means, values)
    here = columns[cells]
    solve = collapse.least_squares(here)
    if solve is None:
        nothing = dict.fromkeys(("estimate", "low", "high", "exact"), np.nan)
        return [nothing | counts] * columns.shape[1]
    wide = means if np.isfinite(exact[cells]).all() else collapse.with_lack_of_fit(here, means)
    estimates: list[Estimate] = [collapse.estimate(row, wide, confidence) for row in solve[1:]]
    with np.errstate(divide="ignore", invalid="ignore"):
        known = solve[1:] @ np.log(exact[cells])
    return [
        dict(zip(ENDS, e, strict=True)) | counts | {"exact": float(x)} for e, x in zip(estimates, known, strict=True)
    ]
