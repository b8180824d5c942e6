"""The rows of ``fits``: each number of a linear study that has an exact or limiting value, with that value beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.analysis import linear as found
from ntkpipe.analysis.intervals import Estimate, mean
from ntkpipe.kinds.linear.settings import STARTS
from ntkpipe.plan import Study

MEANINGS = {
    "estimate": "estimate",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "expected": "exact value, or that of infinite width; NaN where there is none",
    "n_runs": "runs that the estimate holds",
    "n_all": "runs of these cells",
}
METHODS = {
    "decay_factor": "factor of a component of w_k - w_inf in a step, from the start to the last step above rounding; "
    "expected 1 - eta lambda_i",
    "threshold": "largest step size at which descent converges, by bisection, over 2/lambda_max; expected 1",
    "teacher_error": "mean |w_k - teacher|^2 at the end, Student's t over networks; expected in closed form",
    "balance_order": "order in the step of the change of the conserved matrices, extrapolated to a step of 0, "
    "its interval wider by what the last halving and the extrapolation changed, the larger; expected 1",
    "flow_order": "order in the step of |A of descent - A of the flow|, extrapolated; expected 1",
    "mode_order": "the same of each singular value from balanced weights against Saxe's curve; expected 1",
    "limit_width_exponent": "slope in log width of log distance from infinite width, the largest since that has "
    "learned half; expected -1/2",
    "drift_width_exponent": "slope in log width of log |K_t - K_0|/|K_0| at the end in the ntk parametrization; "
    "expected -1",
    "drift_scale_exponent": "slope in log scale of log |K_t - K_0|/|K_0| at the end, of the same networks; expected: "
    "that of infinite width over the same scales",
    "lazy_scale": "scale of the initial weights beyond which |K_t - K_0|/|K_0| stays below linear.lazy, by lines of "
    "logs, of the same networks; expected: that of infinite width by the same lines",
}
KEYS = ("depth", "width", "parametrization", "scale", "eta")


def rows(study: Study, data: xr.Dataset, linear: xr.Dataset) -> pd.DataFrame:
    """All rows; at least one, of NaN, so that the table has its columns."""
    confidence = study.config.tolerances.confidence
    cells = pd.DataFrame([{key: cell.coords[key] for key in KEYS} for cell in study.cells])
    made = [*of_models(cells, data, linear, confidence), *of_networks(cells, data, confidence)]
    made += [
        *over_widths(cells, linear, confidence),
        *over_scales(cells, linear, study.config.settings.lazy, confidence),
    ]
    empty = dict.fromkeys(KEYS, np.nan) | {"parametrization": "", "quantity": "none", "of": ""}
    empty |= dict.fromkeys(MEANINGS, np.nan) | {"n_runs": 0, "n_all": 0}
    frame = pd.DataFrame(made or [empty])
    return frame.astype(dict.fromkeys(("depth", "width", "scale", "eta"), float))


def row(keys: Any, quantity: str, of: str, estimate: Estimate, expected: float, runs: np.ndarray) -> dict[str, Any]:
    """One row; ``runs``: the values of the runs, known or not."""
    held = {"estimate": estimate.value, "low": estimate.low, "high": estimate.high, "expected": float(expected)}
    known = {"n_runs": int(np.isfinite(runs).sum()), "n_all": int(np.size(runs))}
    return {key: keys[key] for key in KEYS} | {"quantity": quantity, "of": of} | held | known


def of_models(cells: pd.DataFrame, data: xr.Dataset, linear: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Decay factors, threshold and error of the linear model."""
    steps = data["step"].values
    for i in np.flatnonzero(cells.depth == 0):
        keys, part, exact = cells.iloc[i], data.isel(cell=i), linear.isel(cell=i)
        for p, points in enumerate(exact.points.values):
            name = f"{points} points"
            runs = part["threshold"].values[:, p]
            yield row(keys, "threshold", name, mean(runs, confidence), 1.0, runs)
            for s, start in enumerate(STARTS):
                runs = part["teacher_error"].values[:, p, s, -1]
                expected = exact["teacher_error_exact"].values[p, s, -1]
                yield row(keys, "teacher_error", f"{name}, from {start}", mean(runs, confidence), expected, runs)
            factors = exact["factor_exact"].values[p]
            for k, path in enumerate(factors.T):
                diverges = np.nanmax(np.abs(factors[-1])) > 1  # then others drown in its rounding errors
                if np.isfinite(path).all() and (not diverges or np.abs(path[-1]) > 1):
                    runs = found.decay_factor(part["component"].values[:, p, 0, :, k], steps)
                    first = np.flatnonzero(steps > 0)[0]
                    known = found.decay_factor(path[None], steps)[0] if steps[first] > 1 else path[first]
                    yield row(keys, "decay_factor", f"{name}, direction {k + 1}", mean(runs, confidence), known, runs)


def of_networks(cells: pd.DataFrame, data: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Orders of convergence in the step."""
    for i in np.flatnonzero(cells.depth > 0):
        keys, part = cells.iloc[i], data.isel(cell=i)
        for quantity, name in (("balance_order", "balance"), ("flow_order", "flow_gap")):
            estimate, runs = found.order(part[name].values, confidence)
            if np.isfinite(runs).any():
                yield row(keys, quantity, "", estimate, 1.0, runs)
        for k, value in enumerate(data["singular_value"].values):
            estimate, runs = found.order(part["mode_gap"].values[:, k], confidence, random=False)
            if np.isfinite(runs).any():
                yield row(keys, "mode_order", f"singular value {value:g}", estimate, 1.0, runs)


def over_widths(cells: pd.DataFrame, linear: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Exponents in width, of cells that differ in nothing else."""
    wide = cells[(cells.depth > 0) & (cells.width > 0)]
    for _, group in wide.groupby(["depth", "parametrization", "scale", "eta"], sort=False):
        if group.width.nunique() < 2:
            continue
        keys = group.iloc[0].to_dict() | {"width": 0}
        chosen = [("limit_width_exponent", linear["distance"].values[group.index], -0.5)]
        if group.parametrization.iloc[0] == "ntk":
            chosen.append(("drift_width_exponent", linear["drift"].values[group.index, :, -1], -1.0))
        for quantity, sizes, expected in chosen:
            estimate = found.exponent_over_cells(list(group.width), list(sizes), confidence)
            yield row(keys, quantity, "", estimate, expected, sizes)


def over_scales(cells: pd.DataFrame, linear: xr.Dataset, lazy: float, confidence: float) -> Iterator[dict[str, Any]]:
    """How drift falls with the scale, and where networks become lazy; cells of one depth and width share networks."""
    deep = cells[cells.depth > 0]
    for _, group in deep.groupby(["depth", "width", "parametrization", "eta"], sort=False):
        if group.scale.nunique() < 2 or group.scale.duplicated().any():
            continue
        group = group.sort_values("scale")
        keys, x = group.iloc[0].to_dict() | {"scale": np.nan}, group.scale.to_numpy(float)
        drift = linear["drift"].values[group.index, :, -1]
        limit = linear["drift_limit"].values[group.index][:, None]
        moves = np.isfinite(limit).all() and (limit > 0).all()
        runs = found.exponents_of_runs(x, drift)
        expected = found.exponents_of_runs(x, limit)[0] if moves else np.nan
        yield row(keys, "drift_scale_exponent", "", mean(runs, confidence), expected, runs)
        runs = found.crossing(x, drift, lazy)
        expected = found.crossing(x, limit, lazy)[0] if moves else np.nan
        yield row(keys, "lazy_scale", f"drift {lazy:g}", found.geometric(runs, confidence), expected, runs)
