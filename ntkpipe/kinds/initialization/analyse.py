"""sums -> moments, fits and Gram statistics: labels at the border, maths in ``analysis``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels, store
from ntkpipe.analysis import fits, gram, moments
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.theory import limit

GROUP = ("width", *SETTINGS, "engine")
"""Cells that share these are one curve over beta."""


def run(study: Study) -> None:
    """Write ``moments.zarr``, ``fits.zarr`` and, of Gram matrices, ``gram.zarr``."""
    folder, x = Path(study.folder), study.points
    sums = store.read_rows(folder / "sums.zarr") if study.shards else None
    table = moments_dataset(study, sums, x)
    store.write_dataset(folder / "moments.zarr", table)
    store.write_dataset(folder / "fits.zarr", fits_dataset(study, table))
    if study.is_gram:
        store.write_dataset(folder / "gram.zarr", gram_dataset(study, sums, x, table))


def moments_dataset(study: Study, sums: xr.Dataset | None, x: np.ndarray) -> xr.Dataset:
    """The ``moments`` dataset: one row a cell."""
    rows, at = [], 0
    norms = np.sum(x**2, axis=1)
    for cell in study.cells:
        drawn = cell.engine != "exact"
        part = sums.isel(cell=at).load() if drawn else None
        at += drawn
        rows.append(
            moments.moments(
                cell.network,
                norms,
                part["sums"].values if drawn else None,
                part["largest"].values if drawn else None,
                part["histogram"].values[0] if drawn else None,
                cell.sampling == "guided",
                study.config.tolerances,
            )
        )
    return _dataset(study, pd.DataFrame(rows), moments.VARIABLES)


def gram_dataset(study: Study, sums: xr.Dataset, x: np.ndarray, table: xr.Dataset) -> xr.Dataset:
    """The ``gram`` dataset: K(x, x') by angle and the spectrum's quantiles, one row a cell."""
    confidence = study.config.tolerances.confidence
    drawn = [i for i, cell in enumerate(study.cells) if cell.engine != "exact"]
    angle_rows, spectrum_rows = [], []
    for row in range(len(drawn)):
        part = sums.isel(cell=row).load()
        angle_rows.append(
            gram.by_angle(
                x, part["gram_sum"].values, part["gram_square_sum"].values, part["gram_count"].values, confidence
            )
        )
        spectrum_rows.append(gram.spectrum(part["histogram"].values, confidence))
    cells = [study.cells[i] for i in drawn]
    variables = {
        name: (("cell", "angle"), np.stack([row[name] for row in angle_rows]), variable_attrs(*gram.BY_ANGLE[name]))
        for name in gram.BY_ANGLE
    } | {
        name: ("cell", np.array([row[name] for row in spectrum_rows]), variable_attrs(*gram.SPECTRUM[name]))
        for name in gram.SPECTRUM
    }
    variables["undersampled"] = table["undersampled"].isel(cell=drawn).variable
    coords = cell_coords(cells) | {"angle": ("angle", gram.angles(x)[0])}
    return labels.dataset(study, variables, coords)


def fits_dataset(study: Study, table: xr.Dataset) -> xr.Dataset:
    """The ``fits`` dataset: one row a fit, grouped by curve."""
    frame = table.to_dataframe().reset_index()
    beta_range = (study.config.fits.beta_min, study.config.fits.beta_max)
    rows = []
    for group, part in frame.groupby(list(GROUP), sort=True):
        head = dict(zip(GROUP, group, strict=True))
        if head["width"] == 0:
            continue  # widths that vary by layer: beta alone does not order such cells
        for found in _group_fits(part, beta_range):
            rows.append(head | found._asdict())
    meaning = {
        "estimate": "c in exp(c beta), or local slope",
        "low": "lower end of the interval",
        "high": "upper end of the interval",
        "reference": "the same functional of the exact values of the same cells",
        "limit": "the same functional of the double-scaling limit",
        "beta_min": "smallest beta used",
        "beta_max": "largest beta used",
        "n_cells": "cells used",
    }
    result = pd.DataFrame(rows, columns=[*GROUP, "quantity", "method", *meaning])
    return labels.fits(study, result, meaning, fits.METHODS)


def _group_fits(part: pd.DataFrame, beta_range: tuple[float, float]) -> list[fits.Fit]:
    """Fits of one curve: S2 over trusted cells (guided where plain draws fail), typical values over plain ones."""
    found = []
    trusted = part[(part.undersampled == 0) & np.isfinite(part.s2_low) & (part.depth > 0)]
    trusted = trusted.sort_values(["beta", "sampling"], ascending=[True, False]).drop_duplicates("beta")
    if len(trusted):
        found += fits.all_fits(
            "s2",
            trusted.beta.to_numpy(),
            _estimates(np.log(trusted[["s2", "s2_low", "s2_high"]])),
            np.log(trusted.s2_exact.to_numpy()) if trusted.s2_exact.notna().all() else None,
            np.log(limit.s2_limit(trusted.beta.to_numpy())) if trusted.s2_limit.notna().all() else None,
            beta_range,
        )
    plain = part[(part.sampling == "plain") & np.isfinite(part.log_ntk_median_low) & (part.depth > 0)]
    plain = plain.drop_duplicates("beta")
    for quantity in ("log_ntk_median", "log_ntk_mean"):
        if len(plain) and plain.ntk_mean_exact.notna().all():
            columns = [quantity, f"{quantity}_low", f"{quantity}_high"]
            typical = plain[columns].sub(np.log(plain.ntk_mean_exact), axis=0)
            name = {"log_ntk_median": "median(K)/E[K]", "log_ntk_mean": "exp(E[log K])/E[K]"}[quantity]
            found += fits.all_fits(name, plain.beta.to_numpy(), _estimates(typical), None, None, beta_range)
    return found


def _estimates(frame: pd.DataFrame) -> list[Estimate]:
    return [Estimate(*map(float, row)) for row in frame.to_numpy()]


def _dataset(study: Study, frame: pd.DataFrame, meaning: dict[str, tuple[str, str]]) -> xr.Dataset:
    variables = {name: ("cell", frame[name].to_numpy(), variable_attrs(*meaning[name])) for name in meaning}
    return labels.dataset(study, variables, cell_coords(list(study.cells)))
