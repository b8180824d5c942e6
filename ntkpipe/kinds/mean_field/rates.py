"""The ``fits`` dataset: exponents in the width m of everything that has one, with what theory says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.activations import KINKED
from ntkpipe.analysis import collapse
from ntkpipe.analysis.intervals import NOTHING
from ntkpipe.networks import MEAN_FIELD, SETTINGS
from ntkpipe.plan import Study

OWN = ("eta", "eta_unit", "training", "steps")
"""Settings of the training that a grid may vary, or that a table says."""
METHODS = {
    "exponent": "p of size ~ m^p over these widths, least squares of the mean over networks of log size; the interval "
    "resamples networks; whether one power describes all widths, the scatter says"
}
MEANINGS = {
    "estimate": "exponent p",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "expected": "exponent that theory says, as m grows",
    "expected_before": "exponent of what is larger before, at smaller m; NaN where there is none",
    "intercept": "log size at m = 1",
    "r2": "share of the variance of the cells' log size that the line explains",
    "scatter": "root mean square residual in units of what networks explain; about 1 where one power describes all",
    "scatter_p": "probability of a scatter this large where one power describes all widths (F law)",
    "n_cells": "cells",
    "n_runs": "networks used",
    "n_all": "networks",
}
QUANTITIES = {
    ("drift", "end"): (0.0, np.nan),
    ("kernel_error", "start"): (-0.5, -0.5),
    ("kernel_error", "half"): (-0.5, -0.5),
    ("kernel_error", "end"): (-0.5, -0.5),
    ("output_error", "start"): (-0.5, 0.0),
    ("output_error", "half"): (-0.5, 0.0),
    ("output_error", "end"): (-0.5, 0.0),
    ("moved", "end"): (0.0, -0.5),
    ("distance", "start"): (-0.5, -0.5),
    ("distance", "end"): (-0.5, -0.5),
}
"""(variable, at) -> exponents expected in ``mean_field`` and in ``ntk`` (NaN: by the activation).

half: the first snapshot at which the loss of infinite width has fallen to half.
"""


def groups(study: Study) -> list[list[int]]:
    """Cells that differ in their width alone, by their places."""
    found: dict[tuple, list[int]] = {}
    for i, cell in enumerate(study.cells):
        found.setdefault(tuple(cell.coords[name] for name in (*SETTINGS, *OWN)), []).append(i)
    return list(found.values())


def expected(quantity: str, at: str, activation: str, parametrization: str) -> tuple[float, float]:
    """Exponents that theory says: as m grows, and before.

    In ``ntk`` particles move by m^{-1/2} and the kernel of a smooth phi by 1/m, as first-order changes average out over
    the sign of a. A part m^{-1/2} of ReLU gates flips, and flips do not average out: the gates of a point are moved by
    its own residual on one side of 0 alone, one residual of N, so that m must be large before this is seen.

    NaN, for no rate is known, late in ``mean_field`` where phi has a kink: velocities jump at the gates w.x = 0 of
    train points, particles gather there, and K, which jumps too, is no longer a smooth function of the measure.
    """
    of_particles, of_ntk = QUANTITIES[quantity, at]
    if parametrization == MEAN_FIELD:
        late = at == "end" and quantity in ("kernel_error", "output_error")
        return (np.nan if late and activation in KINKED else of_particles), np.nan
    if np.isfinite(of_ntk):
        return of_ntk, np.nan
    return (-0.5, -1.0) if activation in KINKED else (-1.0, np.nan)


def fits(study: Study, dataset: xr.Dataset) -> tuple[pd.DataFrame, dict[str, str], dict[str, str]]:
    """(rows, meanings, methods): a row for each group of cells of several widths and each quantity."""
    confidence, rows = study.config.tolerances.confidence, []
    for group in groups(study):
        if len(group) < 2:
            continue
        coords = study.cells[group[0]].coords
        head = {name: coords[name] for name in (*SETTINGS, *OWN)}
        widths = np.array([study.cells[i].network.widths[0] for i in group])
        for quantity, at in QUANTITIES:
            values = sizes(dataset.isel(cell=group), quantity, at)
            said = expected(quantity, at, coords["activation"], coords["parametrization"])
            theory = dict(zip(("expected", "expected_before"), said, strict=True))
            rows.append(head | {"quantity": quantity, "at": at} | theory | exponent(values, widths, confidence))
    columns = [*SETTINGS, *OWN, "quantity", "at", *MEANINGS]
    return pd.DataFrame(rows, columns=columns), MEANINGS, METHODS


def sizes(part: xr.Dataset, quantity: str, at: str) -> np.ndarray:
    """(cell, seed)."""
    if quantity == "distance":
        return part["distance"].sel(end=at).values
    loss = part["loss_limit"].values[0]
    known = bool((loss <= loss[0] / 2).any())
    snapshot = {"start": 0, "half": int(np.argmax(loss <= loss[0] / 2)), "end": -1}[at]
    values = part[quantity].isel(snapshot=snapshot).values
    return values if known or at != "half" else np.full_like(values, np.nan)


def exponent(values: np.ndarray, widths: np.ndarray, confidence: float) -> dict[str, float]:
    """p of size ~ m^p, from (cell, seed)."""
    cell = np.repeat(np.arange(len(values)), values.shape[1])
    flat = values.ravel()
    means = collapse.cell_means(collapse.known_log(flat, np.zeros(len(flat), bool)), cell)
    m = np.repeat(widths, values.shape[1]).astype(float)[means.first]
    line, solve = collapse.line(np.log(m), means, confidence), collapse.least_squares(np.log(m)[:, None])
    slope = NOTHING if solve is None else collapse.estimate(solve[1], means, confidence)
    found = dict(zip(("estimate", "low", "high"), slope, strict=True))
    more = {"intercept": line.intercept, "r2": line.r2.value}
    more |= {"scatter": line.scatter.ratio, "scatter_p": line.scatter.p_value}
    counts = {"n_cells": len(means.mean), "n_runs": means.runs if len(means.mean) else 0, "n_all": values.size}
    return found | more | counts
