"""The ``rkhs`` dataset (norms and spaces of every run) and ``norms`` (one row a cell, time and quantity)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import drift, rkhs, spectrum, trajectory
from ntkpipe.analysis.drift import Eigen
from ntkpipe.analysis.intervals import NOTHING, Estimate, mean
from ntkpipe.analysis.membership import on_range
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

POSITIVE = (
    "target_norm", "target_norm_free", "interpolant_norm", "learned_norm_initial", "learned_norm", "pencil_largest",
    "pencil_back", "distance_network", "distance_initial", "distance_moved", "decay_exponent", "effective_rank",
    "participation_ratio", "effective_dimension", "condition", "interpolant_mse", "kernel_mse", "network_mse",
)  # fmt: skip
"""Quantities whose mean over runs is geometric; that of :data:`ANY` (a logarithm, an angle from 0 on) is arithmetic."""
ANY = ("log_det_ratio", "principal_angle")
RELATIVE = ("target_norm", "interpolant_norm", "decay_exponent", "effective_rank", "effective_dimension")
"""Quantities whose ratio to their first value is given too, run by run (the seeds' own spread drops out)."""
QUANTITIES = (*POSITIVE, *ANY)
ENDS = {
    "target_norm_change": "|y|^2 in H_T over that in H_0",
    "inclusion": "smallest c with K_T <= c (K_0 + lambda)",
    "inclusion_back": "smallest c with K_0 <= c (K_T + lambda)",
    "decay_start": "decay exponent of the eigenvalues of K_0, over the k that K_T has too",
    "decay_end": "decay exponent of the eigenvalues of K_T, over the k that K_0 has too",
    "decay_misfit": "root mean square residual of log lambda_k of K_T from that power law",
    "rank_change": "effective rank of K_T over that of K_0",
    "network_error": "eval error of the network at the end",
    "kernel_error_start": "eval error of the interpolant of K_0 over that of the network, ridge by leave-one-out error",
    "kernel_error_end": "eval error of the interpolant of K_T over that of the network, ridge by leave-one-out error",
    "loss_left": "training loss at the end over the first",
}
"""Summary of a cell: geometric means over runs, at the middle ridge; with ``_low`` and ``_high``.

The interpolants (from zero) take, run by run and kernel by kernel, the ridge of least leave-one-out error.
None where fewer than half of the runs that finished have the number: the others are no sample of them.
"""
COUNTS = {
    "n_runs": "runs that finished",
    "target_singular": "share of these whose labels lie outside the range of K_0 or of K_T, to rounding: their norm is "
    "the ridge's",
    "decay_to": "last k of the fits of the decay, smallest over runs; the first is 2",
}


def of_cell(study: Study, runs: Any) -> dict[str, np.ndarray]:
    """What ``rkhs`` holds of a cell: name -> array without the dim cell; ``runs`` as :class:`analyse.Runs`."""
    diag_reg = np.array(study.config.reading.diag_reg, dtype=float)
    run, eigen = runs.arrays, runs.eigen
    names = ("ntk_train", "ntk_eval_train", "f_train", "f_eval", "y_train", "y_eval")
    rank = drift.leading_rank(eigen.values[:, 0], trajectory.RANK)
    half = spectrum.FIRST, max(spectrum.FIRST + 1, eigen.values.shape[-1] // 2)  # beyond, it is not the kernel's
    found = rkhs.paths(*(run[name] for name in names), diag_reg, rank=rank, decay_range=half, eigen=eigen)
    angles = found.pop("principal_angle")
    found["principal_angle"] = angles[..., -1]
    found["eigenspace_rank"] = np.array(rank)
    found["eigenvalues"] = eigen.values
    found["network_mse"] = np.mean((run["f_eval"] - run["y_eval"]) ** 2, axis=-1)
    done, confidence = np.isfinite(run["loss"][:, -1]), study.config.tolerances.confidence
    ends = _ends(found, run["loss"], len(diag_reg) // 2) | _decays(eigen.values[:, [0, -1]], half)
    last = ends.pop("decay_to")[done & np.isfinite(ends["decay_end"])]
    for name in ENDS:
        estimate = summary(ends[name][done], confidence)
        found |= dict(zip((name, f"{name}_low", f"{name}_high"), map(np.array, estimate), strict=True))
    outside = _outside(Eigen(*(part[:, [0, -1]] for part in eigen)), run["y_train"])[done]
    return found | {
        "n_runs": np.array(done.sum()),
        "target_singular": np.array(outside.mean() if len(outside) else np.nan),
        "decay_to": np.array(last.min() if len(last) else np.nan),
    }


def inside(target_singular: Any) -> Any:
    """Cells whose norms are of the labels: in every run they lie in the range of K_0 and of K_T."""
    return target_singular == 0


def _outside(eigen: Eigen, y: np.ndarray) -> np.ndarray:
    """Whether y lies outside the range of any of the kernels of a run, (seed, kernel)."""
    nowhere = np.zeros((*eigen.values.shape[:2], 0, len(y)))
    return on_range(eigen, nowhere, y, np.zeros(0), np.zeros(1)).singular[..., 0].any(axis=1)


def _decays(values: np.ndarray, between: tuple[int, int]) -> dict[str, np.ndarray]:
    """Exponents of K_0 and K_T, (seed, 2, mode), over the k that both have; NaN where N has no range to fit."""
    if values.shape[-1] <= between[0]:
        gone = np.full(len(values), np.nan)
        return dict.fromkeys(("decay_start", "decay_end", "decay_misfit", "decay_to"), gone)
    law = spectrum.decay(values, *between, together=True)
    start, end = law.exponent.T
    return {"decay_start": start, "decay_end": end, "decay_misfit": law.scatter[:, 1], "decay_to": law.last[:, 1]}


def _ends(found: dict[str, np.ndarray], loss: np.ndarray, reg: int) -> dict[str, np.ndarray]:
    """:data:`ENDS` of each run, but for the decay."""
    first, last = ({name: values[:, k] for name, values in found.items() if values.ndim > 1} for k in (0, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "target_norm_change": last["target_norm"][:, reg] / first["target_norm"][:, reg],
            "inclusion": last["pencil_largest"][:, reg],
            "inclusion_back": last["pencil_back"][:, reg],
            "rank_change": last["effective_rank"] / first["effective_rank"],
            "network_error": last["network_mse"],
            "kernel_error_start": first["kernel_mse"] / last["network_mse"],
            "kernel_error_end": last["kernel_mse"] / last["network_mse"],
            "loss_left": loss[:, -1] / loss[:, 0],
        }


def dataset(study: Study, data: xr.Dataset, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    """The ``rkhs`` dataset: every run at every snapshot."""
    path = ("cell", "seed", "snapshot")
    meaning = rkhs.PATHS | {
        "principal_angle": (path, "largest angle of the leading eigenspaces of K_t and K_0 (rad)", rkhs.SECTION),
        "eigenspace_rank": (("cell",), "dimension of that eigenspace: up to the widest gap of K_0", rkhs.SECTION),
        "eigenvalues": ((*path, "mode"), "eigenvalues of K_t, descending", rkhs.SECTION),
        "network_mse": (path, "eval error of the network", rkhs.SECTION),
    }  # fmt: skip
    for name, said in ENDS.items():
        for end, words in (("", ""), ("_low", "lower end of the interval of "), ("_high", "upper end of it: ")):
            meaning[f"{name}{end}"] = ("cell",), f"{words}{said} (geometric mean over runs)", rkhs.SECTION
    for name, said in COUNTS.items():
        meaning[name] = ("cell",), said, rkhs.SECTION
    variables: dict[str, Any] = {
        name: (meaning[name][0], np.stack([cell[name] for cell in found]), variable_attrs(*meaning[name][1:]))
        for name in found[0]
    }
    for name in ("time", "loss"):
        variables[name] = data[name].variable.load()
    coords = cell_coords(list(study.cells)) | {
        "step": ("snapshot", data["step"].values),
        "start": ("start", np.array(rkhs.STARTS, dtype=object)),
        "diag_reg": ("diag_reg", np.array(study.config.reading.diag_reg, dtype=float)),
    }
    return labels.dataset(study, variables, coords)


def norms(study: Study, spaces: xr.Dataset) -> xr.Dataset:
    """The ``norms`` dataset: means over the runs that did not diverge, with intervals, at four times; a row each.

    Geometric means with Student's interval of the logarithm; quantity ``x / start``: of the ratio to the run's own
    first value. No estimate where fewer than half of the runs have the number: n_runs of n_all.
    """
    confidence, step = study.config.tolerances.confidence, spaces["step"].values
    rows: list[dict[str, Any]] = []
    for i, cell in enumerate(study.cells):
        part = spaces.isel(cell=i).load()
        done = np.isfinite(part["loss"].values[:, -1])
        time = np.median(part["time"].values, axis=0)
        for name in QUANTITIES:
            for diag_reg, start, values in _columns(part, name):
                head = cell.coords | {"quantity": name if not start else f"{name} ({start})", "diag_reg": diag_reg}
                pairs = [(head, values[done])]
                if name in RELATIVE:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        ratio = values[done] / values[done, :1]
                    pairs.append((head | {"quantity": f"{head['quantity']} / start"}, ratio))
                for labelled, of_runs in pairs:
                    for k in shown(len(step)):
                        estimate = summary(of_runs[:, k], confidence, name in POSITIVE)
                        where = {"step": int(step[k]), "time": float(time[k])}
                        count = {"n_runs": int(np.isfinite(of_runs[:, k]).sum()), "n_all": int(done.sum())}
                        rows.append(labelled | where | estimate._asdict() | count)
    frame = pd.DataFrame(rows).rename(columns={"value": "estimate"})
    meaning = {
        "time": "flow time, median over runs",
        "estimate": f"mean over runs, geometric but for {' and '.join(ANY)}",
        "low": "lower end of its interval",
        "high": "upper end of its interval",
        "n_runs": "runs that have the number",
        "n_all": "runs that finished",
    }
    keys = [*SETTINGS, "training", "loss_kind", "width", "widths", "depth", "beta", "eta", "eta_unit"]
    keys = [name for name in keys if name in frame]
    frame = frame[[*keys, "step", "quantity", "diag_reg", *meaning]]
    return labels.fits(study, frame, meaning, {name: rkhs.PATHS.get(name, ("", name))[1] for name in QUANTITIES})


def shown(snapshots: int) -> list[int]:
    """Up to four snapshots of a table: the first, two between, the last."""
    return sorted({round(k) for k in np.linspace(0, snapshots - 1, 4)})


def _columns(part: xr.Dataset, name: str) -> list[tuple[float, str, np.ndarray]]:
    """(diag_reg, start, values by seed and snapshot) of a quantity; NaN and '' where it has no such dim."""
    variable = part[name]
    regs = variable["diag_reg"].values if "diag_reg" in variable.dims else [None]
    starts = variable["start"].values if "start" in variable.dims else [None]
    found = []
    for r, reg in enumerate(regs):
        for s, start in enumerate(starts):
            at = ({} if reg is None else {"diag_reg": r}) | ({} if start is None else {"start": s})
            found.append((np.nan if reg is None else float(reg), start or "", variable.isel(at).values))
    return found


def summary(values: np.ndarray, confidence: float, positive: bool = True) -> Estimate:
    """Mean over the runs that have the number, geometric where ``positive``; none where fewer than half have it."""
    known = values[np.isfinite(values) & ((values > 0) | (not positive))]
    if 2 * len(known) < max(1, len(values)):
        return NOTHING
    return (trajectory.geometric_mean if positive else mean)(known, confidence)
