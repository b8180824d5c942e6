"""trajectories -> the datasets of ``KIND.tables``: labels at the border, maths in ``analysis``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from ntkpipe import angles, labels, parallel, store
from ntkpipe.analysis import drift, frozen, trajectory
from ntkpipe.analysis.drift import Eigen, eigenpairs
from ntkpipe.kinds.trajectory import rkhs, scaling
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study

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

BY_RUN = ("cell", "seed")
PATH = (*BY_RUN, "snapshot")
REGRESSION = (*PATH, "start", "diag_reg")
FOUND = {
    "order_error": ((*PATH, "order"), "|r - r_p|/|r(0)| of Dyson order p"),
    "eigenvalues": ((*PATH, "mode"), "eigenvalues of K_t, descending"),
    "train_mse": (REGRESSION, "train error of regression with K_t frozen"),
    "eval_mse": (REGRESSION, "eval error of regression with K_t frozen"),
    "loo_mse": (REGRESSION, "leave-one-out train error of it: exact for start zero, too small for network"),
    "network_eval_mse": (PATH, "eval error of the network"),
    "eval_mse_frequency": (
        (*REGRESSION, "frequency"),
        "part of a frequency in the eval error of regression with K_t frozen",
    ),
    "network_eval_mse_frequency": ((*PATH, "frequency"), "part of a frequency in the eval error of the network"),
    "freeze_time": (BY_RUN, "flow time from which the kernel no longer moves; inf: not in the run"),
    "rotation_time": (BY_RUN, "flow time from which the leading eigenspace no longer turns; inf: not in the run"),
    "plateau_time": (BY_RUN, "flow time from which the loss no longer falls; inf: not in the run"),
    "kernel_moved": (BY_RUN, "did the kernel ever move faster than regimes.velocity? If not its freeze_time is 0"),
    "rotation_moved": (BY_RUN, "did the leading eigenspace ever turn faster? If not its rotation_time is 0"),
    "loss_moved": (BY_RUN, "did the loss ever fall faster? If not its plateau_time is 0"),
    "dead": (BY_RUN, "is tr K at the end at most 1e-12 tr K_0?"),
    "training_on_flops": (("cell", "snapshot"), "floating-point operations of training from the snapshot to the end"),
}
"""Variables beside ``trajectory.PATHS``: name -> (dims, meaning)."""


class Runs(NamedTuple):
    """A cell of ``trajectories``: its arrays, leading dim seed, those that all cells share, and K_t decomposed.

    ``eigen`` is of K_t on the train points; whatever a dataset asks of their spectrum is answered from it.
    """

    cell: Cell
    arrays: dict[str, np.ndarray]
    eigen: Eigen


def run(study: Study) -> None:
    """Write the datasets of ``KIND.tables``; as many cells of ``trajectories`` in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "trajectories.zarr")

    def of_cell(i: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        runs = runs_of(study, data, i)
        return paths(study, runs), rkhs.of_cell(study, runs)

    found = parallel.each(of_cell, range(len(study.cells)))
    perturbation = dataset(study, data, [one for one, _ in found])
    store.write_dataset(folder / "perturbation.zarr", perturbation)
    spaces = rkhs.dataset(study, data, [one for _, one in found])
    store.write_dataset(folder / "rkhs.zarr", spaces)
    store.write_dataset(folder / "norms.zarr", rkhs.norms(study, spaces))
    runs = scaling.runs(study, data, perturbation)
    store.write_dataset(folder / "regimes.zarr", scaling.regimes_dataset(study, runs))
    store.write_dataset(folder / "fits.zarr", scaling.fits_dataset(study, runs))


def runs_of(study: Study, data: xr.Dataset, number: int) -> Runs:
    """The runs of a cell, each K_t decomposed once."""
    part = data.isel(cell=number).load()
    arrays = {name: part[name].values for name in part.data_vars}
    return Runs(study.cells[number], arrays, eigenpairs(arrays["ntk_train"]))


def paths(study: Study, runs: Runs) -> dict[str, np.ndarray]:
    """What ``perturbation`` holds of a cell: name -> array without the dim cell."""
    regimes, confidence = study.config.reading, study.config.tolerances.confidence
    diag_reg = np.array(regimes.diag_reg, dtype=float)
    (cell, run, eigen), settings = runs, runs.cell.settings
    y, y_eval, step = (run[name] for name in ("y_train", "y_eval", "step"))
    scale = 1.0 if settings.loss == "half_sum" else 1.0 / len(y)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found = trajectory.paths(step, run["eta_used"] * scale, y, run, eigen, settings.method)
        found |= trajectory.frozen_errors(y, y_eval, run, eigen, diag_reg, *_modes(study, run["x_eval"]))
        found |= trajectory.times(run["time"], found["kernel_rate"], found["rotation"], run["loss"], regimes.velocity)
    found["network_eval_mse"] = np.mean((run["f_eval"] - y_eval) ** 2, axis=-1)
    found["dead"] = drift.dead(run["ntk_train"])
    ends = {name: found[name][:, -1] for name in ("drift", "forcing", "linearization_error")}
    ends |= {f"order_{p}": found["order_error"][:, -1, p] for p in range(3)}
    ends["distance"] = run["distance"][:, -1]
    for name in ENDS:
        estimate = trajectory.geometric_mean(ends[name], confidence)
        found |= dict(zip((f"{name}_end", f"{name}_end_low", f"{name}_end_high"), estimate, strict=True))
    sizes, (n, m) = (cell.network.input_dim, *cell.network.widths, 1), (len(y), len(y_eval))
    points = frozen.points_a_step(settings.method, n, settings.batch)
    found["regression_flops"] = frozen.regression_flops(n, m)
    found["kernel_flops"] = frozen.kernel_flops(sizes, n, m)
    found["training_on_flops"] = frozen.training_flops(sizes, points, m, step[-1] - step)
    found["training_flops"] = found["training_on_flops"][0]
    return found


def dataset(study: Study, data: xr.Dataset, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    """The ``perturbation`` dataset: paths by cell, seed and snapshot, and their ends by cell."""
    frequencies = _modes(study, data["x_eval"].values)[1]
    variables: dict[str, Any] = {}
    for name in found[0]:
        if name in trajectory.PATHS:
            dims, attrs = PATH, variable_attrs(*trajectory.PATHS[name])
        elif name in FOUND:
            dims, attrs = FOUND[name][0], variable_attrs(FOUND[name][1], trajectory.SECTION)
        else:
            dims, attrs = ("cell",), variable_attrs(_said(name))
        variables[name] = dims, np.stack([cell[name] for cell in found]), attrs
    for name in ("time", "loss", "flow_error"):
        if name in data:
            variables[name] = data[name].variable.load()
    coords = cell_coords(list(study.cells)) | {
        "step": ("snapshot", data["step"].values),
        "order": ("order", np.arange(3)),
        "start": ("start", np.array(["network", "zero"], dtype=object)),
        "diag_reg": ("diag_reg", np.array(study.config.reading.diag_reg, dtype=float)),
    }
    if frequencies is not None:
        coords["frequency"] = "frequency", np.unique(frequencies)
    return labels.dataset(study, variables, coords)


MAX_FREQUENCY = 8


def _modes(study: Study, x_eval: Float[np.ndarray, "eval coordinate"]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Fourier modes on the evaluation points of the circle, and their frequencies; None elsewhere."""
    config = study.config.data
    highest = min(MAX_FREQUENCY, (config.eval - 1) // 2)
    if config.kind != "circle" or highest < 1:
        return None, None
    return angles.fourier_modes(angles.of(x_eval), highest), angles.mode_frequencies(highest)


def _said(name: str) -> str:
    stem, _, end = name.partition("_end")
    if name.endswith("_flops"):
        kind = {"regression": "kernel regression", "kernel": "one kernel", "training": "training"}[name[:-6]]
        return f"floating-point operations of {kind}"
    bound = {"_low": "lower end of the interval of ", "_high": "upper end of the interval of "}.get(end, "")
    return f"{bound}geometric mean over seeds: {ENDS[stem]}"
