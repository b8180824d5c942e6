"""The ``scaling`` dataset: one row a network and label, over which eta and width the published scaling holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.activations import KINKED
from ntkpipe.analysis import linear_regime
from ntkpipe.kinds.first_step.statistics import STATISTICS
from ntkpipe.labels import variable_attrs
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Cell, Study

COORDS = ("depth", "width", "widths", "beta", "eta_unit", "label", "n_train", *SETTINGS, "engine")
"""Cells that share these differ in eta alone; where drawn, they share their networks."""

COPIED = (
    "scaling_ratio_exact", "scaling_ratio_limit", "scaling_ratio", "scaling_ratio_low", "scaling_ratio_high",
    "flip_share", "flip_share_low", "flip_share_high", "rest_share", "rest_share_low", "rest_share_high",
)  # fmt: skip

VARIABLES = {
    "eta": ("step size that the ratios and shares are of: the one that most cells have, else the smallest", ""),
    "eta_min": ("smallest step size drawn", ""),
    "eta_max": ("largest step size drawn", ""),
    "eta_star": ("step size beyond which E[DeltaK]/eta departs by fits.linear_tolerance; inf: past eta_max", ""),
    "eta_star_low": ("lower end of the interval of eta_star; eta_min means: or less", ""),
    "eta_star_high": ("upper end of the interval of eta_star; inf: past eta_max", ""),
    "eta_star_critical": ("eta_star in units of 2/E[K_0]", ""),
    "eta_star_critical_low": ("lower end of the interval of eta_star_critical", ""),
    "eta_star_critical_high": ("upper end of the interval of eta_star_critical", ""),
    "flipped_at_eta_star": ("fraction of pre-activations that change sign in a step of eta_star, interpolated", ""),
    "flipped_at_eta_star_low": ("the same at eta_star_low", ""),
    "flipped_at_eta_star_high": ("the same at eta_star_high; NaN past eta_max", ""),
    "within_two": ("1: the whole step is within a factor 2 of the exact derivative; 0: not; -1: open or not known", ""),
    "undersampled": ("1 where ratios and shares are undersampled", ""),
    "eta_undersampled": ("1 where a step size that eta_star rests on is undersampled", ""),
}


def rows_of(table: xr.Dataset) -> pd.DataFrame:
    """One row a cell; variables of pairs of points are left out."""
    return table.drop_dims([dim for dim in table.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)


def drawn_rows(study: Study, sums: xr.Dataset | None) -> Iterator[tuple[Cell, xr.Dataset | None]]:
    """Every cell with its sums; None where the engine is exact."""
    at = 0
    for cell in study.cells:
        drawn = cell.engine != "exact"
        yield cell, sums.isel(cell=at).load() if drawn else None
        at += drawn


def dataset(study: Study, table: xr.Dataset, sums: xr.Dataset | None) -> xr.Dataset:
    """The ``scaling`` dataset from the ``first_step`` dataset and the sums behind it."""
    frame = rows_of(table)
    parts = [part for _, part in drawn_rows(study, sums)]
    common = frame.eta.mode().iloc[0]
    rows = [
        dict(zip(COORDS, key, strict=True)) | _row(study, group, [parts[i] for i in group.index], common)
        for key, group in frame.sort_values("eta").groupby(list(COORDS), sort=False)
    ]
    result = pd.DataFrame(rows)
    attrs = {name: variable_attrs(*meaning) for name, meaning in VARIABLES.items()}
    attrs |= {name: table[name].attrs for name in COPIED}
    variables = {name: ("row", result[name].to_numpy(), attrs[name]) for name in (*COPIED, *VARIABLES)}
    coords = {
        name: ("row", result[name].to_numpy(object if result[name].dtype.kind not in "fi" else None)) for name in COORDS
    }
    return labels.dataset(study, variables, coords)


def _row(study: Study, group: pd.DataFrame, parts: list[xr.Dataset | None], common: float) -> dict[str, Any]:
    etas = group.eta.to_numpy(float)
    first = group.iloc[int(np.argmax(etas == common))]  # the step size that most cells share, or the smallest
    row: dict[str, Any] = {name: first[name] for name in COPIED}
    row |= {"eta": first.eta, "eta_min": etas[0], "eta_max": etas[-1]}
    row |= {"undersampled": int(first.undersampled), "eta_undersampled": int(group.undersampled.any())}
    star = linear_regime.NOTHING
    if len(etas) > 1 and np.isfinite(group.delta_ntk_mean).all():
        star = _eta_star(study, group, parts, etas)
    unit = first.ntk_mean_exact / 2 if first.eta_unit == "absolute" else 1.0
    for end, value in zip(("", "_low", "_high"), star, strict=True):
        row[f"eta_star{end}"] = value
        row[f"eta_star_critical{end}"] = value * unit
        inside = np.isfinite(value)
        row[f"flipped_at_eta_star{end}"] = float(np.interp(value, etas, group.flipped_fraction)) if inside else np.nan
    row["within_two"] = _within_two(first)
    return row


def _within_two(cell: pd.Series) -> int:
    exact = cell.scaling_ratio_exact
    if cell.scaling_ratio_high < 2 * exact and cell.scaling_ratio_low > exact / 2:
        return 1
    return 0 if cell.scaling_ratio_low > 2 * exact or cell.scaling_ratio_high < exact / 2 else -1


def _eta_star(study: Study, group: pd.DataFrame, parts: list[xr.Dataset], etas: np.ndarray) -> linear_regime.Estimate:
    """eta* against the slope at 0: derivative plus jump sum, or for smooth activations the derivative of each network.

    Where neither is known (kinks in critical units, or with a batch) there is none: the slope of the smallest step
    would hide what it has lost already.
    """
    config = study.config
    sums = np.stack([part["sums"].values for part in parts])  # eta, block, statistic
    column = {name: sums[:, :, i] for i, name in enumerate(STATISTICS)}
    exact = group.delta_ntk_exact.iloc[0] / etas[0]
    if group.activation.iloc[0] not in KINKED:
        slope = column["linear"][0] / etas[0]
    elif np.isfinite(column["jump"]).all() and np.isfinite(exact):
        slope = column["jump"].mean(axis=0) + exact * column["count"][0]
    else:
        return linear_regime.NOTHING
    return linear_regime.eta_star(
        etas, column["delta"].T, slope, config.fits.linear_tolerance, config.tolerances.confidence
    )
