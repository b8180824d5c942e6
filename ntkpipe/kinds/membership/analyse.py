"""kernels -> ``membership`` (norms by number of points) and ``growth`` (their exponents): labels at the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkpipe import labels, parallel, store
from ntkpipe.analysis import drift, growth, membership, spectrum
from ntkpipe.analysis.growth import Subsets
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.membership import SECTION, exponents, targets
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import circle, infinite_width

KERNELS = ("start", "trained")
RUN = ("cell", "seed", "kernel", "target", "points", "diag_reg")
LIMIT = ("cell", "target", "points", "diag_reg")
FOUND = {
    "norm": (RUN, "y^T K_N^{-1} y of the target; NaN where K_N is singular on it"),
    "outside": (RUN, "share of |y|^2 outside the range of K_N, to rounding"),
    "singular": (RUN, "is K_N singular on the target, to rounding?"),
    "rank": (RUN, "eigenvalues of K_N above the precision floor"),
    "eval_mse": (RUN, "mean squared error of the interpolant of N points at the points that only the finest have"),
    "norm_limit": (LIMIT, "y^T K_N^{-1} y with the kernel of infinite width"),
    "outside_limit": (LIMIT, "share of |y|^2 outside the range of the limit kernel"),
    "singular_limit": (LIMIT, "is the limit kernel singular on the target, to rounding?"),
    "rank_limit": (LIMIT, "eigenvalues of the limit kernel above the precision floor"),
    "eval_mse_limit": (LIMIT, "the same error with the kernel of infinite width"),
    "norm_mean": ((*RUN[:1], *RUN[2:]), "geometric mean of the norm over the networks that have one"),
    "norm_low": ((*RUN[:1], *RUN[2:]), "lower end of its interval"),
    "norm_high": ((*RUN[:1], *RUN[2:]), "upper end of its interval"),
    "norm_fourier": (("cell", "target", "points"), "norm with the limit kernel as an aliased Fourier sum"),
    "norm_partial": (("cell", "target", "points"), "sum of |y_q|^2/lambda_q over q < N/2, limit kernel"),
    "eigenvalue": (("cell", "mode"), "lambda_q of the limit kernel under dtheta/(2 pi)"),
    "network_mse": (("cell", "seed", "target"), "mean squared error of the trained network at the finest points"),
    "moved": (("cell", "seed", "target"), "|K_t - K_0|_F/|K_0|_F on the finest points, after training"),
    "decay": (("cell",), "alpha of lambda_q ~ q^-alpha, limit kernel, over half the smallest to half the largest N"),
    "decay_scatter": (("cell",), "root mean square residual of log lambda_q"),
    "drift": (("cell",), "geometric mean of |K_t - K_0|_F/|K_0|_F over networks and targets"),
    "drift_low": (("cell",), "lower end of its interval, networks being independent"),
    "drift_high": (("cell",), "upper end of its interval"),
    "start_singular": (("cell",), "share of networks and targets with K_0 singular on the target at the finest points"),
    "trained_singular": (("cell",), "the same of K_t"),
}
"""Variables of ``membership``: name -> (dims, meaning)."""
KNOWN = 1e-10
"""Share of the largest eigenvalue from which on one of the limit kernel is known: beyond its quadrature's error."""


def run(study: Study) -> None:
    """Write ``membership.zarr`` and ``growth.zarr``; as many cells in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "kernels.zarr")
    cells = parallel.each(lambda i: norms(study, study.cells[i], data.isel(cell=i).load()), range(len(study.cells)))
    found = dataset(study, cells)
    store.write_dataset(folder / "membership.zarr", found)
    store.write_dataset(folder / "growth.zarr", exponents.dataset(study, found))


def subsets(sizes: tuple[int, ...]) -> Subsets:
    """The nested equal angles among the finest."""
    return [np.arange(0, sizes[-1], sizes[-1] // n) for n in sizes]


def norms(study: Study, cell: Cell, data: xr.Dataset) -> dict[str, np.ndarray]:
    """What ``membership`` holds of a cell: name -> array without the dim cell."""
    settings, confidence = study.config.settings, study.config.tolerances.confidence
    reg, y, start, trained = np.array(settings.diag_reg), *(data[n].values for n in ("y", "ntk_start", "ntk_trained"))
    by_target = [
        _growth(np.stack([start, trained[:, t]], axis=1), settings.points, y[t], reg) for t in range(len(y))
    ]  # each (seed, kernel, points, reg)
    found = {name: np.stack([getattr(part, name) for part in by_target], axis=2) for name in by_target[0]._fields}
    found |= limit(cell, settings, y, reg)
    mean = np.apply_along_axis(lambda values: np.array(geometric_mean(values, confidence)), 0, found["norm"])
    found |= dict(zip(("norm_mean", "norm_low", "norm_high"), mean, strict=True))
    found["network_mse"] = np.mean((data["f_trained"].values - y) ** 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found["moved"] = drift.frobenius(trained - start[:, None]) / drift.frobenius(start)[:, None]
        logs = np.exp(np.mean(np.log(found["moved"]), axis=1))  # targets share networks: one number a network
    found |= dict(zip(("drift", "drift_low", "drift_high"), geometric_mean(logs, confidence), strict=True))
    for k, kernel in enumerate(KERNELS):
        found[f"{kernel}_singular"] = found["singular"][:, k, :, -1, 0].mean()
    return found


def limit(cell: Cell, settings: Any, y: np.ndarray, reg: np.ndarray) -> dict[str, np.ndarray]:
    """The same with the kernel of infinite width: by linear algebra, by its spectrum, and by Fourier sums."""
    network, sizes = cell.network, settings.points
    ntk = infinite_width.kernels(network, targets.on_circle(targets.probe_angles(sizes[-1]))).ntk
    parts = [_growth(ntk[None], sizes, row, reg) for row in y]
    found = {f"{name}_limit": np.stack([getattr(part, name)[0] for part in parts]) for name in parts[0]._fields}
    modes = np.arange(sizes[-1] // 2)
    eigenvalues = circle.spectrum(lambda t: circle.profile(network, t).ntk[0], modes).eigenvalues
    known = eigenvalues > KNOWN * eigenvalues.max()
    law = spectrum.power_law(np.maximum(modes, 1), eigenvalues, known & (modes >= sizes[0] // 2))
    every = [index[1] - index[0] for index in subsets(sizes)]
    return found | {
        "eigenvalue": eigenvalues,
        "decay": -law.exponent,
        "decay_scatter": law.scatter,
        "norm_fourier": np.array([[membership.fourier_norm(ntk[0, ::s], row[::s]) for s in every] for row in y]),
        "norm_partial": np.stack(
            [
                membership.partial_norms(
                    targets.power(t, modes), eigenvalues, np.array(sizes), KNOWN * eigenvalues.max()
                )
                for t in settings.targets
            ]
        ),
    }


def _growth(ntk: np.ndarray, sizes: tuple[int, ...], y: np.ndarray, reg: np.ndarray) -> membership.OnRange:
    """:func:`membership.on_range` on each of the nested points, (*batch, points, reg)."""
    nested = subsets(sizes)
    held_out = np.setdiff1d(nested[-1], nested[-2])
    parts = []
    for eigen, index in zip(growth.decompositions(ntk, nested), nested, strict=True):
        rest = np.setdiff1d(held_out, index)  # none for the finest
        cross = ntk[..., rest[:, None], index]
        parts.append(membership.on_range(eigen, cross, y[index], y[rest], reg))
    return membership.OnRange(*(np.stack(column, axis=-2) for column in zip(*parts, strict=True)))


def dataset(study: Study, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    """The ``membership`` dataset."""
    settings = study.config.settings
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in FOUND.items()
    }
    coords = cell_coords(list(study.cells)) | {
        "kernel": ("kernel", np.array(KERNELS, dtype=object)),
        "target": ("target", np.array(settings.targets, dtype=object)),
        "points": ("points", np.array(settings.points)),
        "diag_reg": ("diag_reg", np.array(settings.diag_reg)),
        "mode": ("mode", np.arange(len(found[0]["eigenvalue"]))),
    }
    return labels.dataset(study, variables, coords)
