"""particles -> ``mean_field`` (kernels, outputs, modes, measures against their limits) and ``fits`` (exponents)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ntkpipe import angles, labels, parallel, store
from ntkpipe.analysis import drift, particles
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.mean_field import SECTION, draw, limits, rates
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import MEAN_FIELD
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import mean_field

RUN, PATH = ("cell", "seed", "snapshot"), ("cell", "snapshot")
TEST, MODE = (*PATH, "test"), (*PATH, "frequency")
ENDS = ("", "_low", "_high")
LEARNED = float(np.exp(-1))
"""Share of a mode's amplitude in the target at which it counts as learned."""
SHOWN = 1024
"""Units of a network that a figure shows."""
FOUND = {
    "time": (PATH, "flow time t = eta s k"),
    "loss": (RUN, "training loss"),
    "loss_limit": (PATH, "the same at infinite width, in the mean over networks"),
    "drift": (RUN, "|K_t - K_0|_F/|K_0|_F"),
    "drift_limit": (PATH, "the same at infinite width: of the mean-field limit; 0 in ntk"),
    "kernel_error": (RUN, "|K_t - K_t^inf|_F/|K_t^inf|_F, K_t^inf of infinite width"),
    "kernel_error_start_exact": (("cell",), "root mean square of kernel_error at the start, exact"),
    "output_error": (RUN, "root mean square over train points of f_t less its mean at infinite width"),
    "output_error_limit": (PATH, "the same at infinite width: 0 in mean_field"),
    "moved": (RUN, "root mean square over particles of |theta_t - theta_0|"),
    "mode_left": ((*RUN, "frequency"), "amplitude of the residual in a mode over that of the target"),
    "mode_left_limit": (MODE, "the same at infinite width, root mean square over networks"),
    "learning_time": (("cell", "seed", "frequency"), "flow time at which mode_left falls to 1/e; inf: not in the run"),
    "learning_time_limit": (("cell", "frequency"), "the same at infinite width"),
    "moment": ((*RUN, "test"), "mean of a test function over the particles"),
    "moment_limit": (TEST, "the same at infinite width"),
    "moment_z": (("cell", "test"), "root mean square over networks of (mean - exact)/(sd/sqrt m) at the start"),
    "moment_z_low": (("cell", "test"), "lower end of its interval"),
    "moment_z_high": (("cell", "test"), "upper end of its interval"),
    "dependence": (TEST, "(m - 1) correlation of a test function between two particles; 0: independent"),
    "dependence_low": (TEST, "lower end of its interval"),
    "dependence_high": (TEST, "upper end of its interval"),
    "dependence_output": (PATH, "(m - 1) correlation of what two units add to f, over train points"),
    "continuity_error": (("cell", "seed"), "largest |d/dt mean psi - mean grad psi . velocity| over its largest size"),
    "push_forward_error": (("cell", "seed"), "largest |f_t - mean over particles of a phi(w.x)|, relative"),
    "distance": (("cell", "seed", "end"), "sliced Wasserstein-1 distance to all particles of the widest networks"),
    "distance_start_exact": (("cell",), "its mean at the start, for many particles"),
    "limit_error": (PATH, "how far half of the quadrature's directions are off in K at infinite width, relative"),
    "shown": (("cell", "end", "unit", "coordinate"), "a, w_1, w_2 of units of the first network that finished"),
    "n_finished": (("cell",), "networks that finished"),
}  # fmt: skip
"""Variables of ``mean_field``: name -> (dims, meaning)."""
AT_END = {
    "drift": "relative change of the kernel",
    "kernel_error": "relative distance of the kernel from that of infinite width",
    "output_error": "root mean square distance of the output from its mean at infinite width",
    "moved": "root mean square distance that a particle moved",
}


def run(study: Study) -> None:
    """Write ``mean_field.zarr`` and ``fits.zarr``."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "particles.zarr")
    reference, groups = references(study, data), rates.groups(study)
    beside = parallel.each(lambda group: limits.of(study.cells[group[0]]), groups)  # the same for all widths
    limit = {i: one for group, one in zip(groups, beside, strict=True) for i in group}
    found = parallel.each(
        lambda i: of_cell(study, study.cells[i], data.isel(cell=i).load(), limit[i], reference.get(i)),
        range(len(study.cells)),
    )
    dataset = assembled(study, found)
    store.write_dataset(folder / "mean_field.zarr", dataset)
    store.write_dataset(folder / "fits.zarr", labels.fits(study, *rates.fits(study, dataset)))


def references(study: Study, data: xr.Dataset) -> dict[int, Float[np.ndarray, "end particle coordinate"]]:
    """For each cell the particles of all networks of the widest cell of its settings; none for that cell itself."""
    found = {}
    for group in rates.groups(study):
        widest = max(group, key=lambda i: study.cells[i].network.widths[0])
        kept = data["particles"].isel(cell=widest).values
        kept = kept[np.isfinite(kept).all(axis=(1, 2, 3))]
        pooled = np.swapaxes(kept, 0, 1).reshape(kept.shape[1], -1, kept.shape[-1])
        found |= {i: pooled for i in group if i != widest and len(kept)}
    return found


def of_cell(
    study: Study, cell: Cell, data: xr.Dataset, limit: limits.Limit, reference: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What ``mean_field`` holds of a cell: name -> array without the dim cell."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    network, m = cell.network, cell.network.widths[0]
    theta, y = draw.data(settings)
    x = angles.on_circle(theta)
    ntk, f = data["ntk_train"].values, data["f_train"].values
    time = data["eta_used"].values[0] * np.array(settings.snapshot_steps, float)
    found = {"time": time, "loss": data["loss"].values, "loss_limit": limit.loss, "moved": data["moved"].values}
    found |= {"drift": drift.drift(ntk), "drift_limit": drift.drift(limit.ntk), "limit_error": limit.error}
    found["kernel_error"] = drift.frobenius(ntk - limit.ntk) / drift.frobenius(limit.ntk)
    nodes = mean_field.quadrature(network.activation, settings.limit_angles, settings.limit_amplitudes)
    variance = mean_field.kernel_variance(network, nodes, x)
    found["kernel_error_start_exact"] = np.sqrt(variance / m) / drift.frobenius(limit.ntk[0])
    found["output_error"] = np.sqrt(np.mean((f - limit.f) ** 2, axis=-1))
    found["output_error_limit"] = limit.spread
    columns = limits.mode_columns(settings)
    found["mode_left"] = np.stack([np.sqrt(np.sum(((f - y) @ c) ** 2, axis=-1)) for c in columns], axis=-1)
    found["mode_left_limit"] = limit.modes
    for end in ("", "_limit"):
        path = np.moveaxis(found[f"mode_left{end}"], -1, -2)
        found[f"learning_time{end}"] = particles.first_below(time, path, LEARNED)
    found |= moments(data, limit, m, network.input_dim, confidence)
    found["dependence_output"] = np.array(
        [units_dependence(f[:, k], data["unit_square"].values[:, k], network, confidence) for k in range(f.shape[1])]
    )
    kept = data["particles"].values[:, :, :m]
    found["push_forward_error"] = push_forward(kept[:, 1], f[:, -1], x, network)
    found["distance"], found["distance_start_exact"] = np.full(kept.shape[:2], np.nan), np.nan
    if reference is not None:
        along = particles.directions(settings.directions, kept.shape[-1])
        found["distance"] = np.array(
            [[particles.sliced(end, other, along) for end, other in zip(one, reference, strict=True)] for one in kept]
        )
        found["distance_start_exact"] = particles.sliced_of_normals(m, reference.shape[1])
    finished = np.flatnonzero(np.isfinite(f[:, -1]).all(axis=-1))
    found["n_finished"] = np.array(len(finished))
    found["shown"] = np.full((2, SHOWN, kept.shape[-1]), np.nan)
    found["shown"][:, : min(m, SHOWN)] = kept[finished[0] if len(finished) else 0, :, :SHOWN]
    for name in AT_END:
        ends = geometric_mean(found[name][:, -1], confidence)
        found |= {f"{name}_end{end}": value for end, value in zip(ENDS, ends, strict=True)}
    return found | {f"{name}_end_limit": found[f"{name}_limit"][-1] for name in ("drift", "output_error")}


def moments(data: xr.Dataset, limit: limits.Limit, m: int, d: int, confidence: float) -> dict[str, np.ndarray]:
    """Test functions: their means, exact at the start, and what two particles have to do with each other."""
    mean, square = data["moment"].values, data["moment_square"].values
    exact = np.array(list(mean_field.at_start(d).values()))
    z = np.sqrt(m / exact[:, 1]) * (mean[:, 0] - exact[:, 0])
    found = {"moment": mean, "moment_limit": limit.moments}
    found |= dict(zip((f"moment_z{end}" for end in ENDS), particles.root_mean_square(z, confidence), strict=True))
    shape = mean.shape[1:]
    ends = np.array(
        [
            particles.dependence(mean[:, i, j], (square - mean**2)[:, i, j], m, confidence).excess
            for i, j in np.ndindex(shape)
        ]
    ).reshape(*shape, 3)
    found |= {f"dependence{end}": ends[..., k] for k, end in enumerate(ENDS)}
    rate, step = data["moment_rate"].values, data["moment_step"].values
    size = np.maximum(np.abs(rate).max(axis=1, keepdims=True), np.abs(rate).max() * 1e-6)
    gone = ~np.isfinite(rate).all(axis=(1, 2))
    error = (np.abs(step - rate) / size)[..., :-1].max(axis=(1, 2))  # the last test function is conserved: rate 0
    return found | {"continuity_error": np.where(gone, np.nan, error)}


def units_dependence(f: np.ndarray, square: np.ndarray, network: Any, confidence: float) -> float:
    """The same of what a unit adds to f, variances averaged over train points."""
    m = network.widths[0]
    scale = 1.0 if network.parametrization == MEAN_FIELD else np.sqrt(m)
    means = f / scale  # of sigma_v a phi(z) over particles
    within = np.mean(square) - np.mean(means**2)
    if len(f) < 2 or m < 2 or not within > 0:
        return np.nan
    return float(m * np.mean(np.var(means, axis=0, ddof=1)) / (within * m / (m - 1)) - 1)


def push_forward(
    kept: Float[np.ndarray, "seed m 3"], f: Float[np.ndarray, "seed n"], x: np.ndarray, network: Any
) -> Float[np.ndarray, " seed"]:
    """f as the mean of an observable over the particles at the end, against the network's own."""
    scale, m = 1.0 if network.parametrization == MEAN_FIELD else np.sqrt(kept.shape[1]), kept.shape[1]
    uniform = np.full(m, 1 / m)
    means = [mean_field.look(network, mean_field.Particles(uniform, one[:, 0], one[:, 1:]), x)[0] for one in kept]
    return np.abs(scale * np.array(means) - f).max(axis=1) / np.abs(f).max(axis=1)


def assembled(study: Study, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    """The ``mean_field`` dataset."""
    settings = study.config.settings
    meanings = dict(FOUND)
    for name, text in AT_END.items():
        words = (f"{text} at the end, geometric mean over networks", "lower end of its interval", "upper end")
        meanings |= {f"{name}_end{end}": (("cell",), said) for end, said in zip(ENDS, words, strict=True)}
    for name in ("drift", "output_error"):
        meanings[f"{name}_end_limit"] = ("cell",), f"{AT_END[name]} at the end, infinite width"
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in meanings.items()
    }
    coords = cell_coords(list(study.cells)) | {
        "step": ("snapshot", np.array(settings.snapshot_steps)),
        "frequency": ("frequency", np.array(settings.frequencies)),
        "test": ("test", np.array(list(mean_field.TESTS), dtype=object)),
        "end": ("end", np.array(["start", "end"], dtype=object)),
        "coordinate": ("coordinate", np.array(draw.COORDINATES, dtype=object)),
    }
    return labels.dataset(study, variables, coords)
