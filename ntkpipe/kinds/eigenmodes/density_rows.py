"""The ``density`` dataset: eigenfunctions of T_p, and their local frequency against sqrt(p)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ntkpipe import labels
from ntkpipe.kinds.eigenmodes import DENSITY, population
from ntkpipe.kinds.eigenmodes.draw import held_out
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import density, density_points

MODE = ("cell", "mode")
FOUND = {
    "density": (("cell", "angle"), "density p of the train points"),
    "eigenvalue": (MODE, "lambda_i of T_p, limit kernel; NaN: not told from 0"),
    "function": (("cell", "mode", "angle"), "eigenfunction u_i, of norm 1 under p"),
    "frequency_dense": (MODE, "sign changes per radian of u_i on the longest dense arc"),
    "frequency_sparse": (MODE, "sign changes per radian of u_i on the longest sparse arc"),
    "predicted_dense": (MODE, "mean over that arc of sqrt(-2 k'(0) p/lambda_i)/pi"),
    "predicted_sparse": (MODE, "mean over the longest sparse arc of sqrt(-2 k'(0) p/lambda_i)/pi"),
    "kink_0": (("cell",), "k'(0) of the limit kernel, one-sided"),
    "kink_pi": (("cell",), "k'(pi) of the limit kernel, one-sided: it ties opposite points"),
    "local": (("cell",), "is k'(pi) 0, so that eigenfunctions feel the density where they are?"),
    "mass_dense": (("cell",), "mass of the region where p > 1/(2 pi)"),
    "nystroem_error": (("cell",), "relative error of the eigenvalues; 0 of Fourier modes"),
    "frequency_ratio": (("cell",), "geometric mean of dense over sparse local frequency, over the modes with both"),
    "frequency_ratio_local": (("cell",), "dense over sparse local frequency, as frequency_ratio, predicted by sqrt(p)"),
    "frequency_exponent": (("cell",), "a in dense/sparse local frequency = (dense/sparse p)^a, p averaged on the arcs"),
    "frequency_exponent_local": (
        ("cell",),
        "frequency_exponent predicted by sqrt(p): 1/2 where p is constant on the arcs",
    ),
}


def dataset(study: Study) -> xr.Dataset:
    """One row a cell; cells that share kernel and density have the same."""
    found = [_of_cell(cell) for cell in study.cells]
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, DENSITY))
        for name, (dims, text) in FOUND.items()
        if name != "density"
    }
    p = np.stack([cell["density"] for cell in found])
    variables["density_at"] = (("cell", "angle"), p, variable_attrs(FOUND["density"][1], DENSITY))
    theta = held_out(study.cells[0].settings.evaluate)
    coords = cell_coords(list(study.cells)) | {
        "mode": ("mode", np.arange(len(found[0]["eigenvalue"]))),
        "angle": ("angle", theta),
    }
    return labels.dataset(study, variables, coords)


def _of_cell(cell: Cell) -> dict[str, Any]:
    settings, network = cell.settings, cell.network
    theta, p = held_out(settings.evaluate), density_points.of(settings.density)
    operator = population.operator(network, settings.density, settings.train, settings.evaluate, settings.modes)
    kinks, regions = population.kinks(network), population.regions(settings.density)
    found = {
        "density": p(theta),
        "eigenvalue": operator.eigenvalues,
        "function": operator.held_out.T,
        "kink_0": kinks.at_0,
        "kink_pi": kinks.at_pi,
        "local": float(kinks.local),
        "nystroem_error": operator.error,
    }
    fine = held_out(density_points.GRID)
    mass = p(fine) * (2 * np.pi / density_points.GRID)
    found["mass_dense"] = mass[density_points.dense(p, fine)[0]].sum()
    for name, arc in zip(("dense", "sparse"), regions, strict=True):
        there, predicted = (np.full(len(operator.eigenvalues), np.nan) for _ in range(2))
        if np.isfinite(arc[0]):
            on_arc = np.linspace(*arc, 2001)
            on_arc = p((on_arc[1:] + on_arc[:-1]) / 2)
            for i, (value, u) in enumerate(zip(operator.eigenvalues, operator.held_out.T, strict=True)):
                if value > 0:
                    there[i] = density.local_frequency(theta, u, arc)
                if value > 0 and kinks.at_0 < 0:
                    predicted[i] = density.predicted_frequency(on_arc, float(value), kinks.at_0).mean()
            found[f"p_{name}"] = on_arc.mean()
        found |= {f"frequency_{name}": there, f"predicted_{name}": predicted}
    contrast = np.log(found.get("p_dense", np.nan) / found.get("p_sparse", np.nan))
    both = np.isfinite(found["frequency_dense"]) & np.isfinite(found["frequency_sparse"])
    for end, names in (("", "frequency"), ("_local", "predicted")):
        logs = np.log(found[f"{names}_dense"][both] / found[f"{names}_sparse"][both])
        mean = logs.mean() if both.any() else np.nan
        found |= {f"frequency_ratio{end}": np.exp(mean), f"frequency_exponent{end}": mean / contrast}
    return found
