"""trajectories -> ``perturbation``, ``regimes`` and ``fits``: labels at the border, maths in ``analysis``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels, store
from ntkpipe.analysis import frozen, trajectory
from ntkpipe.config.train import RegimesConfig
from ntkpipe.data import angles, fourier_modes, mode_frequencies
from ntkpipe.kinds.trajectory import scaling
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Study

ENDS = {
    "drift": "drift at the end",
    "order_0": "error of the frozen kernel, |r - r_0|/|r(0)|, at the end",
    "order_1": "error of order 1 at the end",
    "order_2": "error of order 2 at the end",
    "forcing": "int |DeltaK_s r_0(s)| ds/|r(0)| to the end",
    "linearization_error": "|f - f_lin|/|r(0)| at the end",
    "distance": "|theta_t - theta_0| at the end",
}
"""Sizes that scale with beta: name -> meaning; geometric means over seeds stand in ``perturbation`` per cell."""


def run(study: Study) -> None:
    """Write ``perturbation.zarr``, ``regimes.zarr`` and ``fits.zarr``; one cell in memory at a time."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "trajectories.zarr")
    perturbation = dataset(study, data)
    store.write_dataset(folder / "perturbation.zarr", perturbation)
    runs = scaling.runs(study, data, perturbation)
    store.write_dataset(folder / "regimes.zarr", scaling.regimes_dataset(study, runs))
    store.write_dataset(folder / "fits.zarr", scaling.fits_dataset(study, runs))


def dataset(study: Study, data: xr.Dataset) -> xr.Dataset:
    """The ``perturbation`` dataset: paths by cell, seed and snapshot, and their ends by cell."""
    regimes, confidence = study.config.regimes or RegimesConfig(), study.config.tolerances.confidence
    y, y_eval, step = (data[name].values for name in ("y_train", "y_eval", "step"))
    scale = 1.0 if study.config.settings.loss == "half_sum" else 1.0 / len(y)
    reg = np.array(regimes.diag_reg, dtype=float)
    modes, frequencies = _modes(study)
    parts: dict[str, list[np.ndarray]] = {}
    rows = []
    for i, cell in enumerate(study.cells):
        part = data.isel(cell=i).load()
        run = {name: part[name].values for name in part.data_vars if part[name].dims[:1] == ("seed",)}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = trajectory.paths(step, run["eta_used"] * scale, y, run, cell.settings.method)
            found |= trajectory.frozen_errors(y, y_eval, run, reg, modes, frequencies)
            found |= trajectory.times(run["time"], run["ntk_train"], run["loss"], regimes.velocity)
        found["network_eval_mse"] = np.mean((run["f_eval"] - y_eval) ** 2, axis=-1)
        for name, value in found.items():
            parts.setdefault(name, []).append(value)
        ends = {name: found[name][:, -1] for name in ("drift", "forcing", "linearization_error")}
        ends |= {f"order_{p}": found["order_error"][:, -1, p] for p in range(3)}
        ends["distance"] = run["distance"][:, -1]
        row = {}
        for name in ENDS:
            estimate = trajectory.geometric_mean(ends[name], confidence)
            row |= dict(zip((f"{name}_end", f"{name}_end_low", f"{name}_end_high"), estimate, strict=True))
        sizes = (cell.network.input_dim, *cell.network.widths, 1)
        row["regression_flops"] = frozen.regression_flops(len(y), len(y_eval))
        row["kernel_flops"] = frozen.kernel_flops(sizes, len(y), len(y_eval))
        row["training_flops"] = frozen.training_flops(sizes, len(y), len(y_eval), int(step[-1]))
        rows.append(row)
    variables = {
        name: (("cell", "seed", "snapshot"), np.stack(parts[name]), variable_attrs(*meaning))
        for name, meaning in trajectory.PATHS.items()
        if name in parts
    }
    stacked = {
        "order_error": (("cell", "seed", "snapshot", "order"), "|r - r_p|/|r(0)| of Dyson order p"),
        "eigenvalues": (("cell", "seed", "snapshot", "mode"), "eigenvalues of K_t, descending"),
        "train_mse": (("cell", "seed", "snapshot", "start", "diag_reg"), "train error of regression with K_t frozen"),
        "eval_mse": (("cell", "seed", "snapshot", "start", "diag_reg"), "eval error of regression with K_t frozen"),
        "network_eval_mse": (("cell", "seed", "snapshot"), "eval error of the network"),
        "eval_mse_frequency": (
            ("cell", "seed", "snapshot", "start", "diag_reg", "frequency"),
            "part of a frequency in the eval error of regression with K_t frozen",
        ),
        "network_eval_mse_frequency": (
            ("cell", "seed", "snapshot", "frequency"),
            "part of a frequency in the eval error of the network",
        ),
        "freeze_time": (("cell", "seed"), "flow time from which the kernel no longer moves; inf: not in the run"),
        "plateau_time": (("cell", "seed"), "flow time from which the loss no longer falls; inf: not in the run"),
    }
    for name, (dims, meaning) in stacked.items():
        if name not in parts:
            continue
        variables[name] = dims, np.stack(parts[name]), variable_attrs(meaning, trajectory.SECTION)
    frame = pd.DataFrame(rows)
    for name in frame.columns:
        variables[name] = "cell", frame[name].to_numpy(), variable_attrs(_said(name))
    for name in ("time", "loss"):
        variables[name] = data[name].variable.load()
    coords = cell_coords(list(study.cells)) | {
        "step": ("snapshot", step),
        "order": ("order", np.arange(3)),
        "start": ("start", np.array(["network", "zero"], dtype=object)),
        "diag_reg": ("diag_reg", reg),
    }
    if frequencies is not None:
        coords["frequency"] = "frequency", np.unique(frequencies)
    return labels.dataset(study, variables, coords)


MAX_FREQUENCY = 8


def _modes(study: Study) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Fourier modes on the evaluation points of the circle, and their frequencies; None elsewhere."""
    config = study.config.data
    highest = min(MAX_FREQUENCY, (config.eval - 1) // 2)
    if config.kind != "circle" or highest < 1:
        return None, None
    return fourier_modes(angles(study.data.x_eval), highest), mode_frequencies(highest)


def _said(name: str) -> str:
    stem, _, end = name.partition("_end")
    if name.endswith("_flops"):
        kind = {"regression": "kernel regression", "kernel": "one kernel", "training": "training"}[name[:-6]]
        return f"floating-point operations of {kind}"
    bound = {"_low": "lower end of the interval of ", "_high": "upper end of the interval of "}.get(end, "")
    return f"{bound}geometric mean over seeds: {ENDS[stem]}"
