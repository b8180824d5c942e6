"""What a row of the table ``fits`` is: a quantity, where it is read, a method, the estimate and what it rests on."""

from __future__ import annotations

from typing import Any

from ntkpipe.analysis.intervals import Estimate

Rows = list[dict[str, Any]]

UNREASONABLE = 1e3
"""Sizes beyond are no sizes: where a step is larger than K_0 allows, the frozen kernel's own descent diverges."""

METHODS = {
    "width_exponent": "p of log size = a + p log width + q log depth; of log size = a + p log width where depth is one",
    "depth_exponent": "q of the same; of log size = a + q log depth where width is one",
    "total_exponent": "p + q: 0 where the size depends on beta = depth/width alone",
    "beta_power": "c of log size = a + c log beta",
    "beta_exponential": "c of log size = a + c beta",
    "beta_star": "beta at which the size reaches the tolerance, on the line in log beta; where width is set, of that "
    "width alone. Intervals hold the seeds' errors and the cells' scatter around the line",
    "beta_star_fraction": "beta beyond which half of the runs are not lazy, at the tolerance",
    "stable_load": "nominal eta s lambda_max(K_0)/2 beyond which half of the runs diverge (dead runs do not), of one "
    "depth, or of all; all widths pooled",
    "rank_correlation": "Spearman's, of a predictor with |r - r_1|/|r - r_0|; differences are of absolute values",
    "roc_area": "how often a run's snapshot at which order 1 fails to help has a larger predictor than one at which it "
    "helps; 1/2 by chance; n_runs: snapshots",
    "forcing_star": "forcing beyond which the order fails to help in half of the snapshots; n_runs: snapshots",
    "improves": "share of the runs in which this order ends nearer to the residual than the one before it; exact "
    "interval, as if the runs of a cell and the cells were independent draws of one kind",
}

MEANINGS = {
    "estimate": "exponent, rate, threshold, correlation or share; see methods",
    "low": "lower end of the interval",
    "high": "upper end of the interval",
    "tolerance": "drift at which beta* is read; NaN where none is",
    "width": "hidden width; NaN where all are used",
    "depth": "number of hidden layers; NaN where all are used",
    "eta": "step size; NaN where several are used",
    "r2": "share of the variance of the cells' log size that the fit explains",
    "scatter": "root mean square residual in units of the seeds' error: 1 where the curve is right",
    "n_cells": "cells used",
    "n_runs": "runs used",
    "n_all": "runs there, with those that diverged, died or have no size",
}


def fit_row(
    quantity: str, at: str, method: str, estimate: Estimate, cells: int, runs: int, **more: Any
) -> dict[str, Any]:
    """One fit: its estimate with interval, the cells and runs that it used, and ``more`` of :data:`MEANINGS`."""
    ends = dict(zip(("estimate", "low", "high"), map(float, estimate), strict=True))
    return {"quantity": quantity, "at": at, "method": method, "n_cells": cells, "n_runs": runs} | ends | more
