"""spectra -> ``modes`` (each mode along training), ``robustness`` (under perturbations) and ``fits``: labels here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkpipe import labels, parallel, store
from ntkpipe.analysis import drift, fourier
from ntkpipe.analysis.intervals import mean
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.spectral_bias import SECTION, fits, perturbations, predict, targets
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import infinite_width
from ntkpipe.training import descent

KERNELS = ("network", "frozen", "limit")
MODE = ("cell", "seed", "kernel", "target", "frequency")
MODES = {
    "error": (("cell", "seed", "kernel", "target", "snapshot", "frequency"), "|f~(k) - y~(k)|/A of f_t"),
    "amplitude": (("cell", "seed", "kernel", "target", "snapshot", "frequency"), "|f~(k)|/A of f_t"),
    "off_target": (("cell", "seed", "target", "snapshot"), "mean square of f_t off the target's frequencies, over y's"),
    "spectrum": (("cell", "target", "snapshot", "mode"), "|f~(q)| at all frequencies, mean over networks"),
    "fit_step": (MODE, "step from which on the error stays below 1 - share; inf: later than is seen"),
    "reach_step": (MODE, "step from which on the amplitude stays above share; inf: later than is seen"),
    "quotient_start": (("cell", "seed", "frequency"), "u* K_0 u, u the mode as a unit vector on the points"),
    "quotient_end": (("cell", "seed", "target", "frequency"), "u* K_T u"),
    "quotient_limit": (("cell", "frequency"), "u* Theta u with the kernel of infinite width"),
    "load_start": (("cell", "seed"), "eta s lambda_max(K_0)/2; beyond 1 a frozen kernel descends without bound"),
    "load_end": (("cell", "seed", "target"), "eta s lambda_max(K_T)/2"),
    "kernel_drift": (("cell", "seed", "target"), "|K_T - K_0|_F/|K_0|_F"),
    "n_runs": (("cell",), "trainings that did not diverge"),
    "n_all": (("cell",), "trainings, networks times targets"),
    "drift": (("cell",), "geometric mean of |K_T - K_0|_F/|K_0|_F over networks, targets averaged"),
    "drift_low": (("cell",), "lower end of its interval"),
    "drift_high": (("cell",), "upper end of its interval"),
    "move": (("cell",), "geometric mean of |theta_T - theta_0|/|theta_T|, the same"),
    "move_low": (("cell",), "lower end of its interval"),
    "move_high": (("cell",), "upper end of its interval"),
}
"""Variables of ``modes``: name -> (dims, meaning)."""
RUN = ("cell", "seed", "target", "radius", "frequency")
ROBUSTNESS = {
    "kept": (RUN, "Re(f~'(k) f~(k)*)/|f~(k)|^2, mean over directions; f' perturbed; NaN of a mode that is not fitted"),
    "size": (RUN, "|f~'(k)|/|f~(k)|, mean over directions; the same"),
    "displacement": (RUN, "root mean square over directions of |f~'(k) - f~(k)|/A"),
    "displacement_linear": (RUN, "the same over all directions to first order in the radius, exact"),
    "kept_mean": (("cell", *RUN[2:]), "mean of kept over networks"),
    "kept_low": (("cell", *RUN[2:]), "lower end of its interval"),
    "kept_high": (("cell", *RUN[2:]), "upper end of its interval"),
    "displacement_mean": (("cell", *RUN[2:]), "geometric mean of displacement over networks"),
    "displacement_low": (("cell", *RUN[2:]), "lower end of its interval"),
    "displacement_high": (("cell", *RUN[2:]), "upper end of its interval"),
    "displacement_linear_mean": (("cell", *RUN[2:]), "geometric mean of displacement_linear over networks"),
    "n_trained": (("cell",), "number p of trained variables"),
    "moved": MODES["move"],
    "moved_low": MODES["move_low"],
    "moved_high": MODES["move_high"],
}
"""Variables of ``robustness``: name -> (dims, meaning)."""


def run(study: Study) -> None:
    """Write ``modes.zarr``, ``robustness.zarr`` and ``fits.zarr``; as many cells in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "spectra.zarr")

    def one(i: int) -> dict[str, np.ndarray]:
        part = {name: array.values for name, array in data.isel(cell=i).load().items()}
        found = modes(study, study.cells[i], part)
        return found | robustness(study, study.cells[i], part, found)

    found = parallel.each(one, range(len(study.cells)))
    along, firm = (dataset(study, found, meaning) for meaning in (MODES, ROBUSTNESS))
    store.write_dataset(folder / "modes.zarr", along)
    store.write_dataset(folder / "robustness.zarr", firm)
    store.write_dataset(folder / "fits.zarr", fits.dataset(study, along, firm))


def modes(study: Study, cell: Cell, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ``modes`` holds of a cell: name -> array without the dim cell."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    frequencies, step = np.array(settings.frequencies), np.array(settings.snapshot_steps)
    f, y, start = data["f"], data["y"], data["ntk_start"]
    longer = predict.steps(step)
    scale = 1.0 if settings.loss == "half_sum" else 1.0 / settings.points
    limit = infinite_width.kernels(cell.network, targets.grid(settings.points)[:, None]).ntk
    own = (
        settings.eta if settings.eta_unit == "absolute" else descent.critical_steps(limit[None], settings.eta, scale)[0]
    )
    rates = data["eta_used"] * scale, np.full(len(f), own * scale)
    outputs = [f] + [
        np.stack([predict.trained(k, r, longer, f0, y) for k, r, f0 in zip(ntk, rate, f[:, 0, 0], strict=True)])
        for ntk, rate in zip((start, np.broadcast_to(limit, start.shape)), rates, strict=True)
    ]
    known = [fourier.coefficients(part, frequencies) for part in outputs]
    amplitude = np.abs(data["amplitude"])[:, None]
    errors = [np.abs(part - fourier.coefficients(y, frequencies)[:, None]) / amplitude for part in known]
    sizes = [np.abs(part) / amplitude for part in known]
    seen, times = slice(len(step)), (step, longer, longer)
    moved = drift.frobenius(data["ntk_end"] - start[:, None]) / drift.frobenius(start)[:, None]
    found = {
        "error": np.stack([part[:, :, seen] for part in errors], axis=1),
        "amplitude": np.stack([part[:, :, seen] for part in sizes], axis=1),
        "off_target": fourier.off_target(f, frequencies) / np.mean(y**2, axis=-1)[:, None],
        "spectrum": _mean(fourier.amplitudes(f)),
        "fit_step": _times(times, errors, 1 - settings.share),
        "reach_step": _times(times, [-part for part in sizes], -settings.share),
        "quotient_start": fourier.quotients(start, frequencies),
        "quotient_end": fourier.quotients(data["ntk_end"], frequencies),
        "quotient_limit": fourier.quotients(limit, frequencies),
        "load_start": rates[0] * drift.eigenvalues(start)[..., 0] / 2,
        "load_end": rates[0][:, None] * drift.eigenvalues(data["ntk_end"])[..., 0] / 2,
        "kernel_drift": moved,
        "n_runs": np.array(np.isfinite(moved).sum()),
        "n_all": np.array(moved.size),
    }
    for name, size in (("drift", moved), ("move", data["distance"] / data["norm"])):
        with np.errstate(divide="ignore"):
            logs = np.exp(np.mean(np.log(size), axis=1))  # targets share networks: one number a network
        found |= _ends(name, geometric_mean(logs, confidence))
    return found


def _times(times: Any, values: list[np.ndarray], level: float) -> np.ndarray:
    """(seed, kernel, target, frequency): from which step on each stays at or below the level."""
    found = [fourier.lasting(t, np.moveaxis(v, 2, -1), level) for t, v in zip(times, values, strict=True)]
    return np.stack(found, axis=1)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the networks that are known; NaN where none is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)


def _ends(name: str, estimate: Any) -> dict[str, np.ndarray]:
    return {f"{name}{end}": np.array(part) for end, part in zip(("", "_low", "_high"), estimate, strict=True)}


def robustness(
    study: Study, cell: Cell, data: dict[str, np.ndarray], along: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What ``robustness`` holds of a cell: name -> array without the dim cell."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    frequencies, radii = np.array(settings.frequencies), np.array(settings.radii)
    end = fourier.coefficients(data["f"][:, :, -1], frequencies)[:, :, None, None]
    away = fourier.coefficients(data["f_perturbed"], frequencies)  # (seed, target, radius, direction, frequency)
    amplitude = data["amplitude"][:, None, :]
    fitted = np.isfinite(along["fit_step"][:, 0])[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.mean((away * end.conj()).real / np.abs(end) ** 2, axis=3)
        size = np.mean(np.abs(away) / np.abs(end), axis=3)
    p, n = perturbations.trained(cell.network), settings.points
    variance = data["norm"][:, :, None, None] ** 2 * 4 / n * along["quotient_end"][:, :, None] / p
    found = {
        "kept": np.where(fitted, kept, np.nan),
        "size": np.where(fitted, size, np.nan),
        "displacement": np.sqrt(np.mean(np.abs(away - end) ** 2, axis=3)) / amplitude,
        "displacement_linear": radii[:, None] * np.sqrt(variance) / amplitude,
        "n_trained": np.array(p),
    }
    means = {name: _over_seeds(geometric_mean, found[name], confidence) for name in list(found)[2:4]}
    found |= dict(
        zip(("displacement_mean", "displacement_low", "displacement_high"), means["displacement"], strict=True)
    )
    found["displacement_linear_mean"] = means["displacement_linear"][0]
    found |= dict(
        zip(("kept_mean", "kept_low", "kept_high"), _over_seeds(mean, found["kept"], confidence), strict=True)
    )
    return found | {name.replace("move", "moved"): along[name] for name in ("move", "move_low", "move_high")}


def _over_seeds(estimate: Any, values: np.ndarray, confidence: float) -> np.ndarray:
    """An estimate over networks and the ends of its interval, (3, ...)."""
    return np.apply_along_axis(lambda column: np.array(estimate(column, confidence)), 0, values)


def dataset(study: Study, found: list[dict[str, np.ndarray]], meaning: dict[str, Any]) -> xr.Dataset:
    """A dataset of these variables."""
    settings = study.config.settings
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in meaning.items()
    }
    coords = cell_coords(list(study.cells)) | {
        "kernel": ("kernel", np.array(KERNELS, dtype=object)),
        "target": ("target", np.array(settings.targets, dtype=object)),
        "frequency": ("frequency", np.array(settings.frequencies)),
        "step": ("snapshot", np.array(settings.snapshot_steps)),
        "mode": ("mode", np.arange(settings.points // 2 + 1)),
        "radius": ("radius", np.array(settings.radii)),
    }
    used = {dim for dims, _ in meaning.values() for dim in dims}
    return labels.dataset(study, variables, {name: at for name, at in coords.items() if at[0] in used})
