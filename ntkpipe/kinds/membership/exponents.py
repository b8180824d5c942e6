"""The ``growth`` dataset: exponents gamma of norm ~ N^gamma, and what training does to the norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from ntkpipe import labels
from ntkpipe.analysis import growth
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.analysis.spectrum import FEWEST, over_seeds
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.plan import Study

METHODS = {
    "gamma": "exponent of norm ~ N^gamma over points_min <= N <= points_max, least squares of logs, mean over networks "
    "with a norm on at least three N; trained - start: of the same network, over the N where both have a norm",
    "ratio": "norm after training over norm at the start on points_max points, geometric mean over networks",
}
MEANINGS = {
    "estimate": "exponent, difference of exponents, or ratio; see methods",
    "low": "lower end of the interval over networks",
    "high": "upper end of the interval over networks",
    "predicted": "gamma of the partial sums of |y_q|^2/lambda_q, limit kernel; NaN where a mode has no eigenvalue",
    "asymptotic": "gamma as N -> infinity by the decay of the limit kernel: alpha - 1 of a step, else 0",
    "limit": "the same quantity with the limit kernel; NaN where that is singular",
    "n_runs": "networks used",
    "n_singular": "networks whose K_N is singular on the target at points_max (limit: 1 where it is)",
    "n_all": "networks",
}


def dataset(study: Study, found: xr.Dataset) -> xr.Dataset:
    """One row a cell, ridge, target, kernel and quantity."""
    rows = [
        row
        for i, cell in enumerate(study.cells)
        for row in _of_cell(found.isel(cell=i), cell.coords, study.config.tolerances.confidence)
    ]
    return labels.fits(study, pd.DataFrame(rows), MEANINGS, METHODS)


def _of_cell(found: xr.Dataset, coords: dict[str, Any], confidence: float) -> list[dict[str, Any]]:
    sizes, rows = found.points.values, []
    for target in found.target.values:
        for reg in found.diag_reg.values:
            part = found.sel(target=target, diag_reg=reg)
            head = coords | {"target": target, "diag_reg": reg}
            for smallest in sorted({int(sizes[0]), int(sizes[-FEWEST])}):
                reach = {"quantity": "gamma", "points_min": smallest, "points_max": int(sizes[-1])}
                rows += [head | reach | row for row in _gammas(part, smallest, confidence)]
            rows += [head | row for row in _ratios(part, confidence)]
    return rows


def _gammas(part: xr.Dataset, smallest: int, confidence: float) -> list[dict[str, Any]]:
    """Rows of start, trained, their difference, and the limit kernel."""
    sizes = part.points.values
    start, trained = (part["norm"].sel(kernel=k).values for k in ("start", "trained"))
    singular = part["singular"].values[:, :, -1]  # (seed, kernel), at the finest points
    of_limit = gamma(sizes, part["norm_limit"].values[None], smallest)[0]
    known = {
        "limit": of_limit,
        "predicted": gamma(sizes, part["norm_partial"].values[None], smallest)[0],
        "asymptotic": _asymptotic(part),
        "n_all": len(start),
    }
    both = np.isfinite(start) & np.isfinite(trained)
    difference = gamma(sizes, np.where(both, trained, np.nan), smallest) - gamma(
        sizes, np.where(both, start, np.nan), smallest
    )
    rows = []
    for kernel, values, gone in (
        ("start", gamma(sizes, start, smallest), singular[:, 0].sum()),
        ("trained", gamma(sizes, trained, smallest), singular[:, 1].sum()),
        ("trained - start", difference, singular.any(axis=1).sum()),
    ):
        counts = {"n_runs": int(np.isfinite(values).sum()), "n_singular": int(gone)}
        none = dict.fromkeys(("limit", "predicted", "asymptotic"), np.nan) if kernel == "trained - start" else {}
        rows.append({"kernel": kernel} | _estimate(over_seeds(values, confidence)) | known | none | counts)
    gone = int(part["singular_limit"].values[-1])
    limit = _estimate(Estimate(of_limit, np.nan, np.nan))
    return [*rows, {"kernel": "limit"} | limit | known | {"n_runs": 1 - gone, "n_singular": gone, "n_all": 1}]


def _ratios(part: xr.Dataset, confidence: float) -> list[dict[str, Any]]:
    """Norm after training over norm at the start, by number of points."""
    start, trained = (part["norm"].sel(kernel=k).values for k in ("start", "trained"))
    singular = part["singular"].values.any(axis=1)
    unknown = dict.fromkeys(("limit", "predicted", "asymptotic"), np.nan)
    rows = []
    for i, n in enumerate(part.points.values):
        ratio = trained[:, i] / start[:, i]
        counts = {"n_runs": int(np.isfinite(ratio).sum()), "n_singular": int(singular[:, i].sum()), "n_all": len(ratio)}
        where = {"kernel": "trained / start", "quantity": "ratio", "points_min": int(n), "points_max": int(n)}
        rows.append(where | _estimate(geometric_mean(ratio, confidence)) | unknown | counts)
    return rows


def gamma(sizes: np.ndarray, norms: Float[np.ndarray, "seed size"], smallest: int) -> Float[np.ndarray, " seed"]:
    """:func:`ntkpipe.analysis.growth.exponent` of each network."""
    return growth.exponent(sizes, norms[..., None], smallest).exponent[:, 0]


def _asymptotic(part: xr.Dataset) -> float:
    if not np.isfinite(part["norm_partial"].values).all():
        return np.nan
    return max(float(part["decay"]) - 1, 0.0) if part.target.item() == "step" else 0.0


def _estimate(estimate: Estimate) -> dict[str, float]:
    return dict(zip(("estimate", "low", "high"), estimate, strict=True))
