"""sampled_modes -> ``finite_sample`` (errors, couplings and noise of every cell) and ``fits``: labels at the border."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ntkpipe import angles, labels, parallel, store
from ntkpipe.analysis import intervals, sampling
from ntkpipe.kinds.finite_sample import SECTION, draw, exponents, limits
from ntkpipe.kinds.finite_sample.draw import DYNAMICS, KERNELS
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import concentration

FOUND = {
    "kappa": (("cell",), "k(0) of the limit kernel"),
    "eigenvalue": (("cell", "frequency"), "lambda_q of the limit kernel under dtheta/(2 pi)"),
    "eta": (("cell",), "step size in flow time"),
    "steps": (("cell",), "steps until the signal is fitted on infinitely many points; 0: not trained on"),
    "error_value": (("cell", "seed", "kernel", "error"), "errors of each draw"),
    "width_error": (("cell", "seed"), "|C of the network - C of the limit kernel|_F on the same points"),
    "points_rms": (("cell",), "root mean square of |C_limit - diag lambda|_F"),
    "width_rms": (("cell",), "root mean square of width_error"),
    "quantile": (("cell", "kernel", "error"), "quantile of the error at the probability asked for"),
    "rms": (("cell", "kernel", "error"), "root mean square of the error"),
    "rms_exact": (("cell", "error"), "the same with the limit kernel, exact; NaN where no closed form is known"),
    "bound": (("cell", "error"), "what the error exceeds at most with one minus that probability, limit kernel"),
    "exceeded": (("cell", "kernel", "error"), "draws beyond the bound"),
    "diagonal": (("cell", "kernel", "mode"), "mean of C_qq"),
    "diagonal_exact": (("cell", "mode"), "the same with the limit kernel, exact: with the self-term, or aliased"),
    "entry_rms": (("cell", "kernel", "mode", "mode_"), "root mean square of the entries of C - diag lambda"),
    "entry_exact": (("cell", "mode", "mode_"), "the same with the limit kernel, exact"),
    "picture": (("cell", "kernel", "mode", "mode_"), "|C| of the first draw"),
    "action_square": (("cell", "kernel", "mode"), "mean over draws and points of ((K/N) phi - lambda phi)^2"),
    "action_exact": (("cell", "mode"), "the same with the limit kernel, exact"),
    "cross": (("cell",), "mean of 2 <C_limit - diag lambda, C_network - C_limit> over the mean of both squares"),
    "omega_mean": (("cell", "omega", "mode"), "mean coefficient of cos(omega theta)"),
    "omega_sd": (("cell", "omega", "mode"), "standard deviation of the coefficient over draws"),
    "omega_exact": (("omega", "mode"), "coefficient on the circle, closed form"),
    "omega_sd_exact": (("cell", "omega", "mode"), "exact standard deviation on N points; 0 on equal angles"),
    "noise_square": (("cell", "mode"), "mean square of phi^T noise/N over phi^T phi/N"),
    "noise_exact": (("cell",), "noise^2/N, exact"),
    "noise_fit_square": (("cell", "dynamics", "mode"), "mean square of what noise adds to the fitted coefficient"),
    "noise_fit_predicted": (("cell", "mode"), "the same if modes were learned as on infinitely many points"),
    "signal_left": (("cell", "dynamics"), "share of the signal's mode that is not yet learned, without noise"),
    "signal_left_predicted": (("cell",), "(1 - eta N lambda)^steps"),
    "excess": (("cell", "dynamics"), "mean squared error between the points with noise less that without"),
    "excess_predicted": (("cell",), "noise^2/N times the sum over all modes of (1 - (1 - eta N lambda)^steps)^2"),
    "added": (("cell",), "excess of the trained networks"),
    "clean_mse": (("cell", "dynamics"), "mean squared error between the points without noise"),
    "diverged": (("cell",), "networks whose training diverged, or was not asked for"),
    "operator": (("cell",), "quantile of |C - diag lambda|_F with the limit kernel"),
    "operator_exact": (("cell",), "exact root mean square of it"),
    "operator_bound": (("cell",), "bound at the same probability"),
}
"""Variables of ``finite_sample``: name -> (dims, meaning)."""
ENDED = (
    "quantile", "points_rms", "width_rms", "diagonal", "action_square", "cross", "omega_mean", "noise_square",
    "noise_fit_square", "signal_left", "excess", "added", "clean_mse", "operator",
)  # fmt: skip
"""Those with ``_low`` and ``_high``, the ends of their intervals."""


def run(study: Study) -> None:
    """Write ``finite_sample.zarr`` and ``fits.zarr``; as many cells in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "sampled_modes.zarr")
    cells = parallel.each(lambda i: of_cell(study, study.cells[i], data.isel(cell=i).load()), range(len(study.cells)))
    found = dataset(study, cells)
    store.write_dataset(folder / "finite_sample.zarr", found)
    store.write_dataset(folder / "fits.zarr", exponents.dataset(study, found))


def of_cell(study: Study, cell: Cell, data: xr.Dataset) -> dict[str, Any]:
    """What ``finite_sample`` holds of a cell: name -> array without the dim cell."""
    settings, confidence = cell.settings, study.config.tolerances.confidence
    values = {str(name): data[name].values for name in data.data_vars}
    limit = limits.spectrum(cell.network)
    plan = limits.schedule(
        limit, settings.signal, settings.train, eta=settings.eta, fitted=settings.fitted, most_steps=settings.most_steps
    )
    eigenvalues = limit.eigenvalues[: settings.modes + 1]
    found: dict[str, Any] = {"kappa": limit.kappa, "eigenvalue": eigenvalues, "eta": plan.eta, "steps": plan.steps}
    found |= _exact(cell, limit, settings.probability)
    found |= _errors(values, eigenvalues, settings.probability, confidence, found["bound"])
    found |= _couplings(values, concentration.on_modes(eigenvalues), confidence)
    found |= _cross(values["coupling"], concentration.on_modes(eigenvalues), confidence)
    found |= _ended("omega_mean", values["omega_modes"], confidence)
    few = len(values["omega_modes"]) < 2
    found["omega_sd"] = values["omega_modes"].std(axis=0, ddof=0 if few else 1) * (np.nan if few else 1.0)
    found |= _noise(cell, values, limit, plan, confidence)
    place = exponents.labels_of(settings.modes).index("operator")
    found |= {f"added{end}": found[f"excess{end}"][DYNAMICS.index("trained")] for end in ("", "_low", "_high")}
    for end in ("", "_low", "_high"):
        found[f"operator{end}"] = found[f"quantile{end}"][0, place]
    return found | {"operator_exact": found["rms_exact"][place], "operator_bound": found["bound"][place]}


def _exact(cell: Cell, limit: limits.Limit, probability: float) -> dict[str, Any]:
    """What theory says of the limit kernel on N points of these; equal angles are no draw and have no bounds."""
    settings, names = cell.settings, exponents.labels_of(cell.settings.modes)
    n, q = settings.train, settings.modes
    eigenvalues, squared = limit.eigenvalues[: q + 1], limit.squared[: 2 * q + 1]
    on_modes = concentration.on_modes(eigenvalues)
    exact, sd = concentration.incommensurate(np.array(settings.omega), q)
    if settings.points == "equal":
        theta = angles.equal(n)
        gram, coupling = concentration.on_equal_angles(limits.between(cell.network, theta[:1], theta)[0], q)
        action = np.diag(gram) * (np.diag(coupling) / np.diag(gram) - on_modes) ** 2
        errors = sampling.errors(gram, coupling, np.full(2 * q + 1, np.nan), eigenvalues)
        return {
            "rms_exact": np.array([float(errors[name]) for name in names]),
            "bound": np.full(len(names), np.nan),
            "diagonal_exact": np.diag(coupling),
            "entry_exact": np.abs(coupling - np.diag(on_modes)),
            "action_exact": action,
            "omega_exact": exact,
            "omega_sd_exact": np.zeros_like(sd),
        }
    errors = concentration.error_rms(eigenvalues, squared, limit.kappa, n)
    bounds = concentration.bounds(eigenvalues, squared, limit.kappa, n, 1 - probability)
    mean = concentration.compressed_mean(eigenvalues, limit.kappa, n)
    variance = concentration.compressed_variance(eigenvalues, squared, limit.kappa, n)
    action = concentration.action_mean_square(eigenvalues, float(squared[0]), limit.kappa, n)
    return {
        "rms_exact": np.array([errors.get(name, np.nan) for name in names]),
        "bound": np.array([bounds[name] for name in names]),
        "diagonal_exact": mean,
        "entry_exact": np.sqrt(variance + np.diag((mean - on_modes) ** 2)),
        "action_exact": concentration.on_modes(action),
        "omega_exact": exact,
        "omega_sd_exact": sd / math.sqrt(n),
    }


def _errors(
    values: dict[str, np.ndarray],
    eigenvalues: np.ndarray,
    probability: float,
    confidence: float,
    bound: Float[np.ndarray, " error"],
) -> dict[str, Any]:
    """Errors of every draw, their quantiles and how often they pass the bound."""
    names = exponents.labels_of(len(eigenvalues) - 1)
    errors = sampling.errors(values["gram"][:, None], values["coupling"], values["action_max"], eigenvalues)
    every = np.stack([np.broadcast_to(errors[name], values["action_max"].shape[:2]) for name in names], axis=-1)
    ends = np.apply_along_axis(lambda v: np.array(sampling.quantile(v, probability, confidence)), 0, every)
    return {
        "error_value": every,
        "quantile": ends[0],
        "quantile_low": ends[1],
        "quantile_high": ends[2],
        "rms": np.sqrt(np.mean(every**2, axis=0)),
        "exceeded": np.where(np.isnan(bound), np.nan, np.sum(every > bound, axis=0)),
    }


def _couplings(values: dict[str, np.ndarray], on_modes: Float[np.ndarray, " m"], confidence: float) -> dict[str, Any]:
    """Means of C_qq, mean squares of all entries of C - diag lambda, and the first draw."""
    coupling = values["coupling"]
    off = coupling - np.diag(on_modes)
    found = _ended("diagonal", np.diagonal(coupling, axis1=-2, axis2=-1), confidence)
    found |= _ended("action_square", values["action_square"], confidence)
    return found | {"entry_rms": np.sqrt(np.mean(off**2, axis=0)), "picture": np.abs(coupling[0])}


def _cross(coupling: np.ndarray, on_modes: Float[np.ndarray, " m"], confidence: float) -> dict[str, Any]:
    """|C_network - C_limit|_F, and whether the errors of points and of width add in square."""
    sampled, width = coupling[:, 0] - np.diag(on_modes), coupling[:, 1] - coupling[:, 0]
    squares = np.sum(sampled**2 + width**2, axis=(-2, -1))
    product = 2 * np.sum(sampled * width, axis=(-2, -1))
    found = _ended("cross", product / squares.mean(), confidence)
    for name, error in (("points_rms", sampled), ("width_rms", width)):
        mean = intervals.mean(np.sum(error**2, axis=(-2, -1)), confidence)
        found |= _named(name, sampling.root_mean_square(mean))
    return found | {"width_error": np.linalg.norm(width, axis=(-2, -1))}


def _noise(
    cell: Cell, values: dict[str, np.ndarray], limit: limits.Limit, plan: limits.Schedule, confidence: float
) -> dict[str, Any]:
    """Where noise goes: into the modes at the points, into what is fitted, and between the points."""
    settings = cell.settings
    share = settings.noise**2 / settings.train
    learned = limits.learned(limit, plan, settings.train) if plan.steps else np.full(len(limit.eigenvalues), np.nan)
    size = np.diagonal(values["gram"], axis1=-2, axis2=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(size > 1e-9, values["noise_modes"] / np.sqrt(size), np.nan)  # given the points, N(0, noise^2/N)
    ends = np.apply_along_axis(lambda v: np.array(sampling.normal_variance(v, confidence)), 0, unit)
    found = _named("noise_square", ends)
    found |= _ended("noise_fit_square", values["noise_fit"] ** 2, confidence)
    found |= _ended("excess", values["error_noisy"] - values["error_clean"], confidence)
    found |= _ended("clean_mse", values["error_clean"], confidence)
    signal = values["signal_fit"][..., concentration.cosine(settings.signal)]
    found |= _ended("signal_left", 1 - math.sqrt(2) * signal, confidence)
    return found | {
        "noise_exact": share,
        "noise_fit_predicted": share * concentration.on_modes(learned[: settings.modes + 1] ** 2),
        "signal_left_predicted": 1 - learned[settings.signal],
        "excess_predicted": share * float(concentration.on_modes(learned**2).sum()),
        "diverged": int(np.isnan(values["error_noisy"][:, DYNAMICS.index("trained")]).sum()),
    }


def _ended(name: str, values: Float[np.ndarray, "seed *dims"], confidence: float) -> dict[str, Any]:
    """Means over draws with Student's t, by name; of fewer than half of the draws none."""
    few = np.isfinite(values).sum(axis=0) * 2 < len(values)

    def mean(column: np.ndarray) -> np.ndarray:
        return np.array(intervals.mean(column, confidence))

    ends = np.where(few, np.nan, np.apply_along_axis(mean, 0, values))
    return _named(name, ends)


def _named(name: str, ends: Any) -> dict[str, Any]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def dataset(study: Study, found: list[dict[str, Any]]) -> xr.Dataset:
    """The ``finite_sample`` dataset."""
    settings = study.config.settings
    meanings = dict(FOUND)
    for name in ENDED:
        dims, text = FOUND[name]
        meanings |= {
            f"{name}_{end}": (dims, f"{word} end of the interval: {text}")
            for end, word in (("low", "lower"), ("high", "upper"))
        }
    variables = {
        name: (
            dims,
            np.stack([np.asarray(cell[name]) for cell in found]) if dims[0] == "cell" else found[0][name],
            variable_attrs(text, SECTION),
        )
        for name, (dims, text) in meanings.items()
    }
    modes = draw.mode_names(settings.modes)
    coords = cell_coords(list(study.cells)) | {
        "kernel": ("kernel", np.array(KERNELS, dtype=object)),
        "dynamics": ("dynamics", np.array(DYNAMICS, dtype=object)),
        "error": ("error", np.array(exponents.labels_of(settings.modes), dtype=object)),
        "mode": ("mode", np.array(modes, dtype=object)),
        "mode_": ("mode_", np.array(modes, dtype=object)),
        "frequency": ("frequency", np.arange(settings.modes + 1)),
        "omega": ("omega", np.array(settings.omega)),
    }
    return labels.dataset(study, variables, coords)
