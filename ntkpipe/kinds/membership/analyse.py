"""kernels -> ``membership`` (norms by number of points) and ``growth`` (their exponents): labels at the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from ntkpipe import angles, labels, parallel, store
from ntkpipe.analysis import drift, growth, membership, spectrum
from ntkpipe.analysis.drift import Eigen
from ntkpipe.analysis.growth import Subsets
from ntkpipe.analysis.membership import OnRange
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.membership import SECTION, exponents, targets
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import circle, infinite_width

KERNELS = ("start", "trained", "other")
SPACES = ("trained in start", "start in trained")
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
    "inclusion": (
        ("cell", "seed", "space", "target", "points", "diag_reg"),
        "smallest c with K <= c (K' + lambda), K in K' as space says; NaN where K' is singular",
    ),
    "redrawn": (
        ("cell", "seed", "seed_", "points", "diag_reg"),
        "the same of the K_0 of network seed_ in that of network seed; 1 of a network in itself without a ridge",
    ),
    "norm_mean": ((*RUN[:1], *RUN[2:]), "geometric mean of the norm over the networks that have one"),
    "norm_low": ((*RUN[:1], *RUN[2:]), "lower end of its interval"),
    "norm_high": ((*RUN[:1], *RUN[2:]), "upper end of its interval"),
    "norm_fourier": (("cell", "target", "points"), "norm with the limit kernel as an aliased Fourier sum"),
    "norm_partial": (("cell", "target", "points"), "sum of |y_q|^2/lambda_q over q < N/2, limit kernel"),
    "eigenvalue": (("cell", "mode"), "lambda_q of the limit kernel under dtheta/(2 pi)"),
    "network_mse": (("cell", "seed", "target"), "mean squared error of the trained network at the finest points"),
    "moved": (("cell", "seed", "target"), "|K_t - K_0|_F/|K_0|_F on the finest points, after training"),
    "decay_even": (("cell",), "alpha of lambda_q ~ q^-alpha over even q, largest N/4 to largest N, limit kernel"),
    "decay_odd": (("cell",), "the same over odd q; NaN where they have no eigenvalue, or fall by no power"),
    "drift": (("cell",), "geometric mean of |K_t - K_0|_F/|K_0|_F over networks and targets"),
    "drift_low": (("cell",), "lower end of its interval, networks being independent"),
    "drift_high": (("cell",), "upper end of its interval"),
    "start_singular": (("cell",), "share of networks and targets with K_0 singular on the target at the finest points"),
    "trained_singular": (("cell",), "the same of K_t"),
}
"""Variables of ``membership``: name -> (dims, meaning)."""
KNOWN = 1e-10
"""Share of the largest eigenvalue from which on one of the limit kernel is known: beyond its quadrature's error."""
POWER = 0.02
"""Scatter of log lambda_q up to which a spectrum falls by a power."""


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
    nested = subsets(settings.points)
    at_start, at_end = growth.decompositions(start, nested), growth.decompositions(trained, nested)
    by_target = []
    for t, row in enumerate(y):
        ends = [growth.norms(at_start, start, nested, row, reg)]
        for after in (t, (t + 1) % len(y))[: len(y)]:  # trained on it, and on the next target
            eigens = [Eigen(*(part[:, after] for part in eigen)) for eigen in at_end]
            ends.append(growth.norms(eigens, trained[:, after], nested, row, reg))
        by_target.append(OnRange(*(np.stack(parts, axis=1) for parts in zip(*ends, strict=True))))
    found = {name: np.stack([getattr(part, name) for part in by_target], axis=2) for name in OnRange._fields}
    base = [Eigen(*(part[:, None] for part in eigen)) for eigen in at_start]
    found["inclusion"] = np.stack(
        [
            growth.inclusion(trained, base, nested, reg).largest,
            growth.inclusion(start[:, None], at_end, nested, reg).largest,
        ],
        axis=1,
    )
    found["redrawn"] = growth.inclusion(start[None], base, nested, reg).largest
    found |= limit(cell, settings, y, reg)
    mean = np.apply_along_axis(lambda values: np.array(geometric_mean(values, confidence)), 0, found["norm"])
    found |= dict(zip(("norm_mean", "norm_low", "norm_high"), mean, strict=True))
    found["network_mse"] = np.mean((data["f_trained"].values - y) ** 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found["moved"] = drift.frobenius(trained - start[:, None]) / drift.frobenius(start)[:, None]
        logs = np.exp(np.mean(np.log(found["moved"]), axis=1))  # targets share networks: one number a network
    found |= dict(zip(("drift", "drift_low", "drift_high"), geometric_mean(logs, confidence), strict=True))
    for k, kernel in enumerate(KERNELS[:2]):
        found[f"{kernel}_singular"] = found["singular"][:, k, :, -1, 0].mean()
    return found


def limit(cell: Cell, settings: Any, y: np.ndarray, reg: np.ndarray) -> dict[str, np.ndarray]:
    """The same with the kernel of infinite width: by linear algebra, by its spectrum, and by Fourier sums."""
    network, sizes = cell.network, settings.points
    ntk = infinite_width.kernels(network, angles.on_circle(angles.equal(sizes[-1]))).ntk
    nested = subsets(sizes)
    eigens = growth.decompositions(ntk[None], nested)
    parts = [growth.norms(eigens, ntk[None], nested, row, reg) for row in y]
    found = {f"{name}_limit": np.stack([getattr(part, name)[0] for part in parts]) for name in parts[0]._fields}
    modes = np.arange(sizes[-1] // 2)
    values = circle.spectrum(lambda t: circle.profile(network, t).ntk[0], np.arange(sizes[-1] + 1)).eigenvalues
    eigenvalues = values[modes]
    every = [index[1] - index[0] for index in nested]
    return found | {
        "eigenvalue": eigenvalues,
        "decay_even": decay(values, 0),
        "decay_odd": decay(values, 1),
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


def decay(eigenvalues: Float[np.ndarray, " q"], parity: int) -> float:
    """alpha of lambda_q ~ q^-alpha over the q of one parity, from a quarter of the largest on; NaN if it is no power.

    The parities apart: one may be far below the other, and fall alike.
    """
    q = np.arange(len(eigenvalues))
    inside = (q % 2 == parity) & (q >= q[-1] // 4) & (eigenvalues > KNOWN * eigenvalues.max())
    law = spectrum.power_law(np.maximum(q, 1), np.where(inside, eigenvalues, 1.0), inside)
    return float(-law.exponent) if law.scatter < POWER else np.nan


def dataset(study: Study, found: list[dict[str, np.ndarray]]) -> xr.Dataset:
    """The ``membership`` dataset."""
    settings = study.config.settings
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in FOUND.items()
    }
    coords = cell_coords(list(study.cells)) | {
        "kernel": ("kernel", np.array(KERNELS[: 1 + len(settings.targets)], dtype=object)),
        "target": ("target", np.array(settings.targets, dtype=object)),
        "points": ("points", np.array(settings.points)),
        "space": ("space", np.array(SPACES, dtype=object)),
        "diag_reg": ("diag_reg", np.array(settings.diag_reg)),
        "mode": ("mode", np.arange(len(found[0]["eigenvalue"]))),
    }
    return labels.dataset(study, variables, coords)
