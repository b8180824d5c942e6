"""trajectories -> ``infinite_width`` (distances from the limit) and ``fits`` (their rates): labels at the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ntkpipe import angles, labels, parallel, store
from ntkpipe.analysis import infinite_width as analysis
from ntkpipe.analysis.intervals import NOTHING, Estimate, mean
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.data import Data
from ntkpipe.kinds.infinite_width import SECTION, rates
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import function_space
from ntkpipe.theory.function_space import Modes
from ntkpipe.theory.infinite_width import Kernels, kernels

ON = ("train", "eval")
SEEDS, TIMES, POINTS = ("cell", "seed", "snapshot"), ("cell", "snapshot"), ("cell", "snapshot", "point")
ENDS = ("", "_low", "_high")
FOUND = {
    "distance": (SEEDS, "|K_t - Theta|_F/|Theta|_F on the train points"),
    "movement": (SEEDS, "|K_t - K_0|_F/|Theta|_F on the train points"),
    "excess": (SEEDS, "<K_t, Theta>/|Theta|^2 - 1 on the train points"),
    "function_error": ((*SEEDS, "on"), "root mean square of f_t less f_0 + A_t (y - f_0(X)), over that of the labels"),
    "start_error": ((*SEEDS, "on"), "the same of f_0 + A_t (y - f_0(X)) with the network's K_0 for Theta"),
    "moved_error": (
        (*SEEDS, "on"),
        "root mean square of f_t less its frozen-K_0 prediction, over that of the labels; "
        "NaN where K_0 does not allow the step",
    ),
    "shift": ((*SEEDS, "on"), "<f_t - f_0 - A_t (y - f_0(X)), m>/|m|^2, m = A_t y the limit's mean"),
    "start_shift": ((*SEEDS, "on"), "what of shift K_0 - Theta does, the kernel frozen at K_0"),
    "moved_shift": ((*SEEDS, "on"), "what of shift the movement of the kernel does"),
}
"""Variables of one network: name -> (dims, meaning)."""
ESTIMATED = {
    "bias": (TIMES, "squared bias |E K_t - Theta|^2/|Theta|^2, estimated without bias"),
    "fluctuation": (TIMES, "total variance E|K_t - E K_t|^2/|Theta|^2"),
    "mean_shift": ((*TIMES, "on"), "mean of shift: E f_t against the limit's mean, f_0's noise taken out"),
    "mean_start_shift": ((*TIMES, "on"), "mean of start_shift"),
    "mean_moved_shift": ((*TIMES, "on"), "mean of moved_shift"),
    "plain_shift": ((*TIMES, "on"), "<f_t - m, m>/|m|^2, the mean over networks as it comes"),
    "variance_ratio": ((*TIMES, "on"), "variance over networks, summed over points, over the limit's; chi-square"),
    "error": ((*TIMES, "on"), "mean squared error of the networks against labels (train) and target (eval)"),
    "f_mean": (POINTS, "mean of f_t over networks"),
    "profile_start": (("cell", "point"), "mean of K_0(x_0, x)/Theta(x_0, x_0), x_0 the first train point"),
    "profile_end": (("cell", "point"), "mean of K_t(x_0, x)/Theta(x_0, x_0) at the end"),
    "profile_change": (("cell", "point"), "mean of [K_t - K_0](x_0, x)/Theta(x_0, x_0) at the end, paired"),
}
"""Estimates, each with ``_low`` and ``_high``."""
EXACT = {
    "error_limit": ((*TIMES, "on"), "expected squared error of the limit, bias^2 + variance"),
    "f_variance": (POINTS, "variance of f_t over networks"),
    "f_mean_limit": (POINTS, "mean of f_t in the limit, A_t y"),
    "f_variance_limit": (POINTS, "variance of f_t in the limit"),
    "profile_limit": (("cell", "point"), "Theta(x_0, x)/Theta(x_0, x_0)"),
}
CELLS = {
    "distance_start": "geometric mean of |K_0 - Theta|/|Theta|",
    "distance_end": "geometric mean of |K_t - Theta|/|Theta| at the end",
    "movement_end": "geometric mean of |K_t - K_0|/|Theta| at the end",
    "excess_start": "mean of <K_0, Theta>/|Theta|^2 - 1",
    "excess_end": "mean of <K_t, Theta>/|Theta|^2 - 1 at the end",
    "function_error_end": "geometric mean of function_error at the end, evaluation points",
    "start_error_end": "geometric mean of start_error at the end, evaluation points",
    "moved_error_end": "geometric mean of moved_error at the end, evaluation points",
    "mean_shift_end": "mean_shift at the end, evaluation points",
    "variance_ratio_end": "variance_ratio at the end, evaluation points",
    "error_end": "error at the end, evaluation points",
    "peak_start": "mean of K_0(x_0, x_0)/Theta(x_0, x_0)",
    "peak_end": "mean of K_t(x_0, x_0)/Theta(x_0, x_0) at the end",
    "peak_change": "mean of [K_t - K_0](x_0, x_0)/Theta(x_0, x_0) at the end, paired",
    "far_start": "mean of K_0(x_0, x)/Theta(x_0, x_0) at the point x farthest from x_0",
    "far_end": "mean of K_t(x_0, x)/Theta(x_0, x_0) at the end, at the point x farthest from x_0",
    "far_change": "mean of [K_t - K_0](x_0, x)/Theta(x_0, x_0) at the end, farthest point, paired",
}
"""Estimates of a cell, each with ``_low`` and ``_high``; none where fewer than half of the runs finished."""


def run(study: Study) -> None:
    """Write ``infinite_width.zarr`` and ``fits.zarr``; as many cells in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "trajectories.zarr")
    cells = parallel.each(
        lambda i: cell_found(study, study.cells[i], data.isel(cell=i).load()), range(len(study.cells))
    )
    found = dataset(study, data, cells)
    store.write_dataset(folder / "infinite_width.zarr", found)
    store.write_dataset(folder / "fits.zarr", rates.dataset(study, found))


def cell_found(study: Study, cell: Cell, data: xr.Dataset) -> dict[str, np.ndarray]:
    """What ``infinite_width`` holds of a cell: name -> array without the dim cell.

    Raises
    ------
    ValueError: the network has no limit kernel on these points.
    """
    confidence, given = study.config.tolerances.confidence, study.data
    both = kernels(cell.network, np.concatenate([given.x_train, given.x_eval]))
    run = {name: data[name].values for name in data.data_vars}
    found = _of_kernels(run["ntk_train"], both.ntk[: len(given.y_train), : len(given.y_train)], confidence)
    found |= _of_functions(study, cell, run, given, both, confidence)
    found |= _profiles(run, both.ntk[0], confidence)
    found["profile_limit"] = both.ntk[0] / both.ntk[0, 0]
    return found | _summary(found, both.ntk[0], confidence)


def _of_kernels(ntk: np.ndarray, theta: np.ndarray, confidence: float) -> dict[str, np.ndarray]:
    """Distances on the train points at every snapshot, and their parts: the bias of the mean, and the fluctuation."""
    found = {
        "distance": analysis.distance(ntk, theta, theta),
        "movement": analysis.distance(ntk, ntk[:, :1], theta),
        "excess": analysis.excess(ntk, theta),
    }
    off = (ntk - theta).reshape(*ntk.shape[:2], -1) / np.linalg.norm(theta)
    each = [analysis.parts(off[:, k], confidence) for k in range(off.shape[1])]
    for name in analysis.Parts._fields:
        found |= _ends(name, np.array([getattr(part, name) for part in each]).T)
    return found


def _of_functions(
    study: Study, cell: Cell, run: dict[str, np.ndarray], given: Data, both: Kernels, confidence: float
) -> dict[str, np.ndarray]:
    """Each network against its own limit, and the law over networks against the limit's, on both sets of points."""
    y, n, step = given.y_train, len(given.y_train), np.array(study.config.settings.snapshot_steps)
    settings, size = cell.settings, float(np.sqrt(np.mean(given.y_train**2))) or 1.0
    rates_ = run["eta_used"] * (1.0 if settings.loss == "half_sum" else 1.0 / n)
    limit = function_space.modes(Kernels(both.nngp[:, :n], both.ntk[:, :n]))
    f = np.concatenate([run["f_train"], run["f_eval"]], axis=-1)

    def learned(modes: Modes, i: int) -> function_space.Learned:
        return analysis.learned(modes, settings.method, float(rates_[i]), step, run["time"][i])

    with np.errstate(invalid="ignore", over="ignore"):
        of_limit = [learned(limit, i) for i in range(len(f))]
        theirs = np.stack(
            [analysis.linear(limit, seen, start, y) for seen, start in zip(of_limit, f[:, 0], strict=True)]
        )
        own = [_own(run, i) for i in range(len(f))]
        frozen = np.full(f.shape, np.nan)
        for i in range(len(f)):
            if analysis.allows(own[i], settings.method, float(rates_[i])):
                frozen[i] = analysis.linear(own[i], learned(own[i], i), f[i, 0], y)
        centre = np.stack([function_space.mean(limit, seen, y) for seen in of_limit])
        prior = np.diag(both.nngp).copy()
        spread = np.mean([function_space.variance(limit, seen, prior) for seen in of_limit], axis=0)
        median = int(np.argsort(rates_)[len(rates_) // 2])
        covariance = function_space.covariance(limit, of_limit[median], both.nngp)
    found: dict[str, Any] = {"f_mean_limit": centre.mean(axis=0), "f_variance_limit": spread}
    found |= _ends("f_mean", analysis.columns(f, confidence))
    known = np.isfinite(f).all(axis=-1).sum(axis=0) > 1
    found["f_variance"] = np.full(f.shape[1:], np.nan)
    found["f_variance"][known] = np.nanvar(f[:, known], axis=0, ddof=1)
    sides: dict[str, list[np.ndarray]] = {}
    for part, target in ((slice(0, n), y), (slice(n, None), given.y_eval)):
        here, m = {"function": f - theirs, "start": frozen - theirs, "moved": f - frozen}, centre[..., part]
        side = {f"{name}_error": analysis.rms(gap[..., part], size) for name, gap in here.items()}
        shifts = {name: analysis.shift(gap[..., part], m) for name, gap in here.items()}
        for name, word in (("function", "shift"), ("start", "start_shift"), ("moved", "moved_shift")):
            side[word] = shifts[name]
            side |= _ends(f"mean_{word}", analysis.columns(shifts[name], confidence))
        side |= _ends("plain_shift", analysis.columns(analysis.shift((f - centre)[..., part], m), confidence))
        ratios = [
            analysis.variance_ratio((f - centre)[:, k, part], spread[k, part], covariance[k][part, part], confidence)
            for k in range(len(step))
        ]
        side |= _ends("variance_ratio", np.array(ratios).T)
        side |= _ends("error", analysis.columns(np.mean((f[..., part] - target) ** 2, axis=-1), confidence))
        side["error_limit"] = function_space.expected_error(centre.mean(axis=0)[:, part], spread[:, part], target)
        for name, value in side.items():
            sides.setdefault(name, []).append(value)
    return found | {name: np.stack(values, axis=-1) for name, values in sides.items()}


def _own(run: dict[str, np.ndarray], i: int) -> Modes:
    """Modes of the K_0 of network i."""
    return analysis.own_modes(np.concatenate([run["ntk_train"][i, 0], run["ntk_eval_train"][i, 0]]))


def _profiles(run: dict[str, np.ndarray], row: Float[np.ndarray, " p"], confidence: float) -> dict[str, np.ndarray]:
    """K(x_0, x)/Theta(x_0, x_0) at all points, before, after, and the change of each network."""
    ends = (run["ntk_train"][:, [0, -1]][:, :, 0], run["ntk_eval_train"][:, [0, -1]][..., 0])
    rows = np.concatenate(ends, axis=-1) / row[0]
    found = _ends("profile_start", analysis.columns(rows[:, 0], confidence))
    found |= _ends("profile_end", analysis.columns(rows[:, 1], confidence))
    return found | _ends("profile_change", analysis.columns(rows[:, 1] - rows[:, 0], confidence))


def _summary(found: dict[str, np.ndarray], row: np.ndarray, confidence: float) -> dict[str, Any]:
    """Estimates of the cell at the start and at the end."""
    done = np.isfinite(found["distance"][:, -1])
    enough = 2 * done.sum() >= len(done)
    far = int(np.argmin(row))
    out: dict[str, Any] = {"n_runs": int(done.sum())}
    for name in CELLS:
        stem, _, end = name.rpartition("_")
        at = 0 if end == "start" else -1
        if stem in ("peak", "far"):
            place = 0 if stem == "peak" else far
            estimate = Estimate(*(float(found[f"profile_{end}{e}"][place]) for e in ENDS))
        elif stem in ("mean_shift", "variance_ratio", "error"):
            estimate = Estimate(*(float(found[f"{stem}{e}"][at, -1]) for e in ENDS))
        else:
            values = found[stem][:, at] if found[stem].ndim == 2 else found[stem][:, at, -1]
            estimate = mean(values, confidence) if stem == "excess" else geometric_mean(values, confidence)
        chosen = estimate if enough or end == "start" else NOTHING
        out |= {f"{name}{e}": value for e, value in zip(ENDS, chosen, strict=True)}
    return out


def _ends(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def dataset(study: Study, data: xr.Dataset, found: list[dict[str, Any]]) -> xr.Dataset:
    """The ``infinite_width`` dataset."""
    bounds = ("", "lower end of the interval of ", "upper end of the interval of ")
    meanings = dict(FOUND | EXACT)
    for name, (dims, text) in (ESTIMATED | {name: (("cell",), text) for name, text in CELLS.items()}).items():
        meanings |= {f"{name}{end}": (dims, f"{bound}{text}") for end, bound in zip(ENDS, bounds, strict=True)}
    meanings["n_runs"] = ("cell",), "runs that finished"
    variables: dict[str, Any] = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in meanings.items()
    }
    variables["time"] = data["time"].variable.load()
    given = study.data
    coords = cell_coords(list(study.cells)) | {
        "step": ("snapshot", data["step"].values),
        "on": ("on", np.array(ON, dtype=object)),
        "side": ("point", np.repeat(np.array(ON, dtype=object), [len(given.y_train), len(given.y_eval)])),
        "angle": ("point", _angle(study, np.concatenate([given.x_train, given.x_eval]))),
    }
    return labels.dataset(study, variables, coords)


def _angle(study: Study, x: Float[np.ndarray, "p n0"]) -> Float[np.ndarray, " p"]:
    """Angle from the first train point: on the circle with its sign, in (-pi, pi]; elsewhere in [0, pi]."""
    if study.config.data.kind == "circle":
        turn = angles.of(x) - angles.of(x[:1])
        return np.pi - (np.pi - turn) % (2 * np.pi)
    norm = np.linalg.norm(x, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arccos(np.clip(x @ x[0] / (norm * norm[0]), -1, 1))
