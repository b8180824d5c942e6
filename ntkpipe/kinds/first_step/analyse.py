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
    "prefactor": "log(-size/(eta E[K] d beta |x|^2/n_0)) = a + c beta at one width; 5 by the order of the theorem",
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
    frame = scaling.rows_of(table)
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    order = frame.eta * frame.depth * frame.beta * float(np.sum(x[0] ** 2)) / x.shape[1]
    frame = frame.assign(order=order, ntk=frame.ntk_mean_exact.fillna(frame.ntk_mean))
    rows = []
    for group, part in frame.groupby(list(GROUP), sort=True):
        head = dict(zip(GROUP, group, strict=True))
        rows += [head | {"width": w, "depth": 0} | f._asdict() for w, f in _beta_fits(study, part)]
        rows += [head | {"width": 0, "depth": d} | f._asdict() for d, f in _width_fits(part)]
        rows += [head | {"width": 0, "depth": 0} | f._asdict() for f in _balance_fits(part)]
    result = pd.DataFrame(rows, columns=[*GROUP, "width", "depth", *Fit._fields])
    meaning = {
        "estimate": "c in exp(c beta), exponent of the width, or a width",
        "low": "lower end of the interval",
        "high": "upper end of the interval",
        "reference": "the same functional of the exact values (of a whole step: derivative plus jump sum)",
        "reference_low": "lower end of the interval of reference, where it is sampled",
        "reference_high": "upper end of the interval of reference, where it is sampled",
        "limit": "the same functional of the double-scaling limit",
        "beta_min": "smallest beta used",
        "beta_max": "largest beta used",
        "n_cells": "cells used",
    }
    return labels.fits(study, result, meaning, METHODS)


QUANTITIES = {"derivative": "linear", "whole step": "delta_ntk", "flips": "flip_predicted"}


def _beta_fits(study: Study, part: pd.DataFrame):
    """c of exp(c beta) in derivative, whole step and flips over d beta |x|^2/n_0, at each width."""
    low, high = study.config.fits.beta_min, study.config.fits.beta_max
    trusted = part[(part.undersampled == 0) & (part.beta >= low - 1e-12) & (part.beta <= high + 1e-12)]
    for width, curve in trusted.groupby("width"):
        if curve.beta.nunique() < 3:
            continue
        beta = curve.beta.to_numpy()
        a = slope_coefficients(beta, free_prefactor=True)
        for quantity in QUANTITIES:
            limit = np.nan
            if quantity == "derivative" and curve.delta_ntk_limit.notna().all():
                limit = float(a @ (np.log(hanin_nica_ratio_limit(beta)) + 5 * beta))
            fit = _fit(quantity, "prefactor", a, curve, curve.order * curve.ntk, limit)
            if fit is not None:
                yield width, fit


def _width_fits(part: pd.DataFrame):
    """Exponents of the width in derivative, whole step and flips over E[K], at each depth."""
    for depth, curve in part[(part.undersampled == 0) & (part.engine != "exact")].groupby("depth"):
        if curve.width.nunique() < 2:
            continue
        a = slope_coefficients(np.log(curve.width.to_numpy(float)), free_prefactor=True)
        for quantity in QUANTITIES:
            fit = _fit(quantity, "width_exponent", a, curve, curve.ntk)
            if fit is not None:
                yield depth, fit


def _balance_fits(part: pd.DataFrame):
    """At each beta: exponent of the width in flips over derivative, and the width at which they are equal."""
    for beta, curve in part[(part.undersampled == 0) & (part.delta_ntk_exact < 0)].groupby("beta"):
        if curve.width.nunique() < 2:
            continue
        logs = _logs(curve, "flip_predicted", -curve.delta_ntk_exact)
        if logs is None:
            continue
        widths = curve.width.to_numpy(float)
        a = slope_coefficients(np.log(widths), free_prefactor=True)
        ends = (np.nan, np.nan, beta, beta, len(curve))
        yield Fit("flips over derivative", "width_exponent", *linear_combination(a, logs), *ends)
        yield Fit("flips over derivative", "equal_width", *equal_width(widths, logs), *ends)


def _fit(quantity: str, method: str, a: np.ndarray, curve: pd.DataFrame, scale: pd.Series, limit=np.nan) -> Fit | None:
    """sum a_i log(-size_i/scale_i) with the same of what theory says of the sizes; None where a size is open."""
    logs = _logs(curve, QUANTITIES[quantity], scale)
    if logs is None:
        return None
    reference = Estimate(np.nan, np.nan, np.nan)
    if quantity == "derivative" and (curve.delta_ntk_exact < 0).all():
        reference = reference._replace(value=float(a @ np.log(-curve.delta_ntk_exact / scale)))
    if quantity == "whole step":
        ends = [curve[f"flip_predicted{end}"] + curve.delta_ntk_exact for end in ("", "_low", "_high")]
        known = _log_estimates(*ends, scale)
        reference = reference if known is None else linear_combination(a, known)
    value, low, high = reference
    ends = (float(curve.beta.min()), float(curve.beta.max()), len(curve), low, high)
    return Fit(quantity, method, *linear_combination(a, logs), value, limit, *ends)


def _logs(curve: pd.DataFrame, name: str, scale: pd.Series) -> list[Estimate] | None:
    """log(-size/scale) with intervals; of exact cells the exact derivative stands for the estimate."""
    if name == "linear" and (curve.engine == "exact").all():
        return _log_estimates(*[curve.delta_ntk_exact] * 3, scale)
    mean = name if name == "flip_predicted" else f"{name}_mean"
    return _log_estimates(*(curve[column] for column in (mean, f"{name}_low", f"{name}_high")), scale)


def _log_estimates(value: pd.Series, low: pd.Series, high: pd.Series, scale: pd.Series) -> list[Estimate] | None:
    """log of -value/scale; None where an interval reaches 0."""
    if not (high < 0).all():
        return None
    return [
        Estimate(*map(float, row))
        for row in np.log(np.stack([-value, -high, -low], axis=1) / scale.to_numpy()[:, None])
    ]
