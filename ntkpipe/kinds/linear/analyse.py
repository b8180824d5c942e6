"""linear_runs -> ``linear`` (each cell beside its exact values) and ``fits``: labels at the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkpipe import labels, parallel, store
from ntkpipe.analysis import linear as found
from ntkpipe.kinds.linear import SECTION, fit_rows
from ntkpipe.kinds.linear.settings import STARTS, step_size, target
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import deep_linear as exact
from ntkpipe.theory import linear
from ntkpipe.training import deep_linear

SNAP = ("cell", "snapshot")
FOUND = {
    "time": (SNAP, "flow time t = eta s k of the snapshots"),
    "mode_time": (SNAP, "the same of balanced networks"),
    "drift": (("cell", "seed", "snapshot"), "|K_t - K_0|_F/|K_0|_F"),
    "drift_mean": (SNAP, "its geometric mean over networks"),
    "drift_low": (SNAP, "lower end of its interval"),
    "drift_high": (SNAP, "upper end of its interval"),
    "drift_path_limit": (SNAP, "the same at infinite width (standard)"),
    "drift_end": (("cell",), "geometric mean of |K_t - K_0|_F/|K_0|_F at the end"),
    "drift_end_low": (("cell",), "lower end of its interval"),
    "drift_end_high": (("cell",), "upper end of its interval"),
    "drift_limit": (("cell",), "the same at infinite width: of the limit network (standard), 0 (ntk)"),
    "distance": (("cell", "seed"), "largest |A - A_inf|_F/|A*|_F since A_inf, of infinite width, came half way"),
    "limit_error": (("cell",), "its geometric mean over networks"),
    "limit_error_low": (("cell",), "lower end of its interval"),
    "limit_error_high": (("cell",), "upper end of its interval"),
    "map_limit": (
        ("cell", "snapshot", "output", "feature"),
        "A in training at infinite width (standard); ntk: A* + (1 - eta k)^t (A_0 - A*) of each network, not kept",
    ),
    "diverged": (("cell",), "networks that diverged"),
    "final_error": (("cell",), "median |A - A*|_F/|A*|_F at the end, of those that did not"),
    "balance_mean": (("cell", "halving"), "geometric mean of the change of the conserved matrices, by step size"),
    "balance_low": (("cell", "halving"), "lower end of its interval"),
    "balance_high": (("cell", "halving"), "upper end of its interval"),
    "flow_gap_mean": (("cell", "halving"), "geometric mean of the distance from the flow, by step size"),
    "flow_gap_low": (("cell", "halving"), "lower end of its interval"),
    "flow_gap_high": (("cell", "halving"), "upper end of its interval"),
    "step_size": (("cell", "halving"), "step size in flow time"),
    "balance_flow": (("cell",), "largest change of the conserved matrices by the flow"),
    "autodiff_gap": (("cell",), "largest relative difference of K by products and by autodiff"),
    "mode_path": (("cell", "snapshot", "mode"), "mean singular value from balanced weights, descent"),
    "mode_flow_gap": (("cell", "mode"), "largest |s - exact|/s* of the flow at a snapshot"),
    "mode_exact": (("cell", "snapshot", "mode"), "exact singular value of the flow"),
    "curve_time": (("cell", "fine"), "times of mode_curve"),
    "mode_curve": (("cell", "fine", "mode"), "exact singular value of the flow, at many times"),
    "mode_descent_gap": (("cell", "mode"), "largest |s - exact|/s* of descent, exact by its scalar recursion"),
    "mode_kernel_gap": (("cell",), "largest relative difference of K_t's eigenvalues from their closed form, balanced"),
    "factor": (("cell", "points", "snapshot", "direction"), "mean component of w_k - w_inf over the first, from zero"),
    "factor_exact": (("cell", "points", "snapshot", "direction"), "(1 - eta lambda_i)^k"),
    "teacher_error": (("cell", "points", "start", "snapshot"), "mean |w_k - teacher|^2"),
    "teacher_error_low": (("cell", "points", "start", "snapshot"), "lower end of its interval"),
    "teacher_error_high": (("cell", "points", "start", "snapshot"), "upper end of its interval"),
    "teacher_error_exact": (("cell", "points", "start", "snapshot"), "its expectation over noise, teacher and start"),
    "closed_gap": (("cell",), "largest |w_k - closed form|/|w_inf|"),
    "limit_gap": (("cell",), "largest |w_k - w_inf|/|w_inf| at the end"),
    "limit_expected": (("cell",), "the same by the closed form"),
    "kernel_moved": (("cell",), "largest part of w_k - w_0 in ker A at the end, over |w_inf|"),
}
"""Variables of ``linear``: name -> (dims, meaning)."""


FINE = 200
"""Times at which exact curves are kept."""


def run(study: Study) -> None:
    """Write ``linear.zarr`` and ``fits.zarr``."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "linear_runs.zarr").load()
    rows = parallel.each(lambda i: of_cell(study, study.cells[i], data.isel(cell=i)), range(len(study.cells)))
    sizes = dict(data.sizes) | {"fine": FINE}
    variables = {}
    for name, (dims, text) in FOUND.items():
        shape = tuple(sizes[dim] for dim in dims[1:])
        values = np.stack([np.broadcast_to(row.get(name, np.nan), shape) for row in rows])
        variables[name] = (dims, values, variable_attrs(text, SECTION))
    coords = cell_coords(list(study.cells)) | {
        "points": ("points", np.array(study.config.settings.points)),
        "start": ("start", np.array(STARTS, dtype=object)),
        "halving": ("halving", np.arange(sizes["halving"])),
        "singular_value": ("mode", np.array(study.config.settings.singular_values)),
        "step": ("snapshot", np.array(study.config.settings.snapshot_steps)),
    }
    dataset = labels.dataset(study, variables, coords)
    store.write_dataset(folder / "linear.zarr", dataset)
    frame = fit_rows.rows(study, data, dataset)
    store.write_dataset(folder / "fits.zarr", labels.fits(study, frame, fit_rows.MEANINGS, fit_rows.METHODS))


def of_cell(study: Study, cell: Cell, data: xr.Dataset) -> dict[str, Any]:
    """What ``linear`` holds of a cell."""
    read = {name: data[name].values for name in data.data_vars}
    part = of_networks if cell.network.depth else of_models
    return part(study, cell, read)


def of_models(study: Study, cell: Cell, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """The linear model."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    steps, found_here = np.array(settings.snapshot_steps), {}
    spectra = [linear.spectrum(n, settings.dim, settings.condition) for n in settings.points]
    etas = [model_step(settings, n) for n in settings.points]
    factors, errors = [], []
    for values, eta in zip(spectra, etas, strict=True):
        factors.append(np.where(values > 0, (1 - eta * values) ** steps[:, None], np.nan))
        unit = settings.dim**-0.5
        errors.append(
            [
                linear.expected_error(
                    values, eta, steps, settings.noise, unit, 0.0 if s == "zero" else unit * settings.scale
                )
                for s in STARTS
            ]
        )
    zero = STARTS.index("zero")
    found_here = {"factor": data["component"][:, :, zero].mean(axis=0), "factor_exact": np.array(factors)}
    ends = found.along_seeds(data["teacher_error"], confidence)
    found_here |= dict(zip(("teacher_error", "teacher_error_low", "teacher_error_high"), ends, strict=True))
    found_here["teacher_error_exact"] = np.array(errors)
    return found_here | {
        name: data[name].max() for name in ("closed_gap", "limit_gap", "limit_expected", "kernel_moved")
    }


def model_step(settings: Any, points: int) -> float:
    """Step size of the linear model in flow time; the largest eigenvalue of its data is 1."""
    if settings.eta_unit == "critical":
        return 2.0 * settings.eta
    return settings.eta / (1 if settings.loss == "half_sum" else points)


def of_networks(study: Study, cell: Cell, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Deep linear networks."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    net = cell.network
    law = deep_linear.law(settings.dim, net.widths, settings.outputs, settings.scale, net.parametrization)
    goal, steps, eta = target(settings), np.array(settings.snapshot_steps), float(data["eta_used"][0])
    maps = data["map"]
    gone = ~np.isfinite(maps[:, -1]).all(axis=(1, 2))
    left = np.linalg.norm(maps[:, -1] - goal, axis=(1, 2))[~gone] / np.linalg.norm(goal)
    result: dict[str, Any] = {"time": eta * steps, "drift": data["drift"], "diverged": gone.sum()}
    result["final_error"] = np.median(left) if len(left) else np.nan
    _put(result, "drift_end", found.geometric(data["drift"][:, -1], confidence), "drift_end")
    with np.errstate(divide="ignore"):
        path = np.array([found.geometric(data["drift"][:, k], confidence) for k in range(len(steps))])
    result |= dict(zip(("drift_mean", "drift_low", "drift_high"), path.T, strict=True))
    if net.parametrization == "ntk":
        rate = eta * exact.limit_eigenvalue(net.depth + 1, settings.dim, settings.scale, "ntk")
        other, result["drift_limit"] = exact.lazy(maps[:, 0], goal, rate, steps), 0.0
    else:
        sizes = (net.depth, settings.dim, settings.outputs, settings.scale)
        limit = exact.descend(exact.limit_network(*sizes), (1.0,) * (net.depth + 1), goal, eta, steps)
        other = result["map_limit"] = limit.maps
        result |= {"drift_path_limit": limit.drift, "drift_limit": limit.drift[-1]}
    if len(set(net.widths)) == 1:
        result["distance"] = found.largest_distance(maps, other, goal)
        _put(result, "limit_error", found.geometric(result["distance"], confidence), "limit_error")
    if np.isfinite(data["balance_flow"]).any():
        result |= of_small(data, settings, law, confidence, eta)
    return result


def of_small(data: dict[str, np.ndarray], settings: Any, law: Any, confidence: float, eta: float) -> dict[str, Any]:
    """What is computed up to ``flow_width``."""
    layers, steps = len(law.gains), np.array(settings.snapshot_steps)
    modes_eta = step_size(settings, law._replace(gains=(1.0,) * layers), modes=True)
    values = np.array(settings.singular_values)
    fine = np.geomspace(modes_eta / 2, modes_eta * steps[-1], FINE)
    curves, many = (
        np.stack([exact.mode(times, settings.mode_start, s, layers) for s in values], axis=1)
        for times in (modes_eta * steps, fine)
    )
    descent = np.stack([exact.mode_descent(settings.mode_start, s, layers, modes_eta, steps) for s in values], axis=1)
    result = {
        "step_size": eta / 2.0 ** np.arange(settings.halvings + 1),
        "balance_flow": data["balance_flow"].max(),
        "autodiff_gap": data["autodiff_gap"].max(),
        "mode_time": modes_eta * steps,
        "mode_path": np.nanmean(data["mode_path"], axis=0),
        "mode_exact": curves,
        "curve_time": fine,
        "mode_curve": many,
        "mode_flow_gap": np.nanmax(np.abs(data["mode_flow"] - curves), axis=(0, 1)) / values,
        "mode_descent_gap": np.nanmax(np.abs(data["mode_path"] - descent), axis=(0, 1)) / values,
        "mode_kernel_gap": np.nanmax(data["mode_kernel_gap"]),
    }
    for name in ("balance", "flow_gap"):
        ends = np.array([found.geometric(column, confidence) for column in data[name].T])
        result |= dict(zip((f"{name}_mean", f"{name}_low", f"{name}_high"), ends.T, strict=True))
    return result


def _put(result: dict[str, Any], name: str, estimate: Any, stem: str) -> None:
    result |= {name: estimate.value, f"{stem}_low": estimate.low, f"{stem}_high": estimate.high}
