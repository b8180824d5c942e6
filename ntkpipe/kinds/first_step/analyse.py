"""sums -> ``first_step``, ``scaling`` and ``fits``: labels at the border, maths in ``analysis``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels, store
from ntkpipe.analysis import first_step
from ntkpipe.analysis.fits import Fit, slope_coefficients
from ntkpipe.analysis.intervals import Estimate, linear_combination
from ntkpipe.analysis.linear_regime import equal_width
from ntkpipe.kinds.first_step import scaling
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.theory.first_step import hanin_nica_ratio_limit

GROUP = ("eta", "eta_unit", "label", *SETTINGS, "engine")

METHODS = {
    "prefactor": "log(-dE[K]/d eta / E[K] / (d beta |x|^2/n_0)) = a + c beta at one width, gates held; 5 to order",
    "width_exponent": "log of the size against log width: over E[K] at one depth; flips over derivative at one beta",
    "equal_width": "width at which flips equal the derivative, on the line of width_exponent at one beta",
}


def run(study: Study) -> None:
    """Write ``first_step.zarr``, ``scaling.zarr`` and ``fits.zarr``."""
    folder = Path(study.folder)
    sums = store.read_rows(folder / "sums.zarr") if study.shards else None
    x = study.points
    table = dataset(study, sums, x)
    store.write_dataset(folder / "first_step.zarr", table)
    store.write_dataset(folder / "scaling.zarr", scaling.dataset(study, table, sums))
    store.write_dataset(folder / "fits.zarr", fits_dataset(study, table, x))


def dataset(study: Study, sums: xr.Dataset | None, x: np.ndarray) -> xr.Dataset:
    """The ``first_step`` dataset: one row a cell."""
    tolerances = study.config.tolerances
    rows, grams = [], []
    for cell, part in scaling.drawn_rows(study, sums):
        norms = np.sum(x[: cell.settings.train] ** 2, axis=1)
        norm = float(norms[0]) if np.allclose(norms, norms[0]) else np.nan
        values = None if part is None else part["sums"].values
        rows.append(first_step.first_step(cell.network, norm, cell.settings, values, tolerances))
        if study.is_gram:
            blocks = (part[name].values for name in ("gram_sum", "delta_gram_sum", "gram_count"))
            grams.append(first_step.gram_change(*blocks, tolerances.confidence))
    frame = pd.DataFrame(rows)
    variables = {
        name: ("cell", frame[name].to_numpy(), variable_attrs(text, source))
        for name, (text, source) in first_step.VARIABLES.items()
    }
    for name, meaning in first_step.GRAM.items() if grams else ():
        values = np.stack([gram[name] for gram in grams])
        variables[name] = (("cell", "input", "input_"), values, variable_attrs(*meaning))
    return labels.dataset(study, variables, cell_coords(list(study.cells)))


def fits_dataset(study: Study, table: xr.Dataset, x: np.ndarray) -> xr.Dataset:
    """The ``fits`` dataset: scaling of the derivative with beta, of derivative and flips with width."""
    frame = table.to_dataframe().reset_index(drop=True)
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    n_0, norm = x.shape[1], float(np.sum(x[0] ** 2))
    rows = []
    for group, part in frame.groupby(list(GROUP), sort=True):
        head = dict(zip(GROUP, group, strict=True))
        rows += [head | {"width": w, "depth": 0} | f._asdict() for w, f in _beta_fits(study, part, norm, n_0)]
        rows += [head | {"width": 0, "depth": d} | f._asdict() for d, f in _width_fits(part)]
        rows += [head | {"width": 0, "depth": 0} | f._asdict() for f in _balance_fits(part)]
    result = pd.DataFrame(rows, columns=[*GROUP, "width", "depth", *Fit._fields])
    meaning = {
        "estimate": "c in exp(c beta), exponent of the width, or a width",
        "low": "lower end of the interval",
        "high": "upper end of the interval",
        "reference": "the same functional of the exact (or, for flips, predicted) values",
        "limit": "the same functional of the double-scaling limit",
        "beta_min": "smallest beta used",
        "beta_max": "largest beta used",
        "n_cells": "cells used",
    }
    variables = {
        name: ("fit", result[name].to_numpy(float), variable_attrs(text, "")) for name, text in meaning.items()
    }
    variables["n_cells"] = ("fit", result["n_cells"].to_numpy(int), variable_attrs(meaning["n_cells"], ""))
    coords = {
        name: ("fit", result[name].to_numpy(object if result[name].dtype.kind not in "fi" else None))
        for name in (*GROUP, "width", "depth", "quantity", "method")
    }
    fits = labels.dataset(study, variables, coords)
    fits.attrs["methods"] = METHODS
    return fits


def _beta_fits(study: Study, part: pd.DataFrame, norm: float, n_0: int):
    """c of exp(c beta) in the derivative over d beta |x|^2/n_0, at each width."""
    low, high = study.config.fits.beta_min, study.config.fits.beta_max
    trusted = part[(part.undersampled == 0) & (part.beta >= low - 1e-12) & (part.beta <= high + 1e-12)]
    for width, curve in trusted.groupby("width"):
        if curve.beta.nunique() < 3:
            continue
        curve = curve.sort_values("beta")
        scale = curve.eta * curve.ntk_mean * curve.depth * curve.beta * norm / n_0
        logs = _log_sizes(curve, "linear", scale)
        if logs is None:
            continue
        a, beta = slope_coefficients(curve.beta.to_numpy(), free_prefactor=True), curve.beta.to_numpy()
        estimate = linear_combination(a, logs)
        exact_scale = curve.eta * curve.ntk_mean_exact * curve.depth * curve.beta * norm / n_0
        reference = float(a @ np.log(-curve.delta_ntk_exact / exact_scale))
        limit = (
            float(a @ (np.log(hanin_nica_ratio_limit(beta)) + 5 * beta))
            if curve.delta_ntk_limit.notna().all()
            else np.nan
        )
        yield width, Fit("derivative", "prefactor", *estimate, reference, limit, beta.min(), beta.max(), len(curve))


def _width_fits(part: pd.DataFrame):
    """Exponents of the width in derivative and flip part over E[K], at each depth."""
    for depth, curve in part[part.undersampled == 0].groupby("depth"):
        if curve.width.nunique() < 2:
            continue
        a = slope_coefficients(np.log(curve.width.to_numpy(float)), free_prefactor=True)
        for quantity, exact in (("linear", "delta_ntk_exact"), ("flip", "flip_predicted")):
            logs = _log_sizes(curve, quantity, curve.ntk_mean)
            if logs is None:
                continue
            known = -curve[exact] / curve.ntk_mean_exact
            sharp = exact != "flip_predicted" or _sharp(curve)
            reference = float(a @ np.log(known)) if sharp and (known > 0).all() else np.nan
            name = {"linear": "derivative", "flip": "flip part"}[quantity]
            yield depth, Fit(
                name, "width_exponent", *linear_combination(a, logs), reference, np.nan,
                curve.beta.min(), curve.beta.max(), len(curve),
            )  # fmt: skip


def _balance_fits(part: pd.DataFrame):
    """At each beta: exponent of the width in flips over derivative, and the width at which they are equal."""
    for beta, curve in part[(part.undersampled == 0) & part.delta_ntk_exact.notna()].groupby("beta"):
        if curve.width.nunique() < 2:
            continue
        logs = _log_sizes(curve, "flip", -curve.delta_ntk_exact)
        if logs is None:
            continue
        widths = curve.width.to_numpy(float)
        a = slope_coefficients(np.log(widths), free_prefactor=True)
        balance = curve.flip_predicted / curve.delta_ntk_exact
        known = _sharp(curve) and (balance > 0).all()
        exact = [Estimate(y, y, y) for y in np.log(balance)] if known else None
        reference = (float(a @ np.log(balance)), equal_width(widths, exact).value) if known else (np.nan, np.nan)
        ends = (beta, beta, len(curve))
        name = "flips over derivative"
        yield Fit(name, "width_exponent", *linear_combination(a, logs), reference[0], np.nan, *ends)
        yield Fit(name, "equal_width", *equal_width(widths, logs), reference[1], np.nan, *ends)


def _sharp(curve: pd.DataFrame) -> bool:
    """Whether the sampled prediction of the flips is known within a half everywhere."""
    return bool((curve.flip_predicted_high - curve.flip_predicted_low < curve.flip_predicted.abs()).all())


def _log_sizes(curve: pd.DataFrame, quantity: str, scale: pd.Series) -> list[Estimate] | None:
    """log of -quantity/scale with intervals; None where an interval reaches 0."""
    value, low, high = (-curve[f"{quantity}_{end}"] / scale for end in ("mean", "high", "low"))
    if not (low > 0).all():
        return None
    return [Estimate(*map(float, row)) for row in np.log(np.stack([value, low, high], axis=1))]
