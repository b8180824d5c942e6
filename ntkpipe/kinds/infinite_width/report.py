"""What the report says of a study of the limit; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ntkpipe import store, tables
from ntkpipe.kinds.infinite_width import report_answers
from ntkpipe.kinds.infinite_width.report_words import exponent, setting, settings, shape
from ntkpipe.plan import Study
from ntkpipe.tables import interval, interval_of

METHODS = """
Finite networks are compared with the kernels of infinite width (Jacot et al., 2018) and with what these predict of
trained networks (Lee et al., 2019), each network from its own f_0 and step size. Exponents are least squares over the
cells' mean logs, intervals a bootstrap over seeds; of means of either sign weighted least squares, intervals by the
profile of chi-square. Intervals of means are Student's t over networks, of variances chi-square.
"""
PINNED_BY = "tests/laws/test_limit_rates.py"
METHOD_NAMES = {
    "width_exponent": "p, power of the width",
    "last_exponent": "p between the two largest widths",
    "depth_exponent": "q, power of the depth",
    "total_exponent": "p + q: 0 on beta alone",
    "beta_power": "power of beta alone",
    "mean_exponent": "p of the mean",
}
CHECKED = (
    ("excess", 0, None, 0.0, "<E K_0, Theta>/|Theta|^2 - 1"),
    ("mean_shift", -1, "eval", 0.0, "<E f_t - m, m>/|m|^2, evaluation points, end"),
    ("variance_ratio", -1, "eval", 1.0, "variance of f_t over the limit's, evaluation points, end"),
)


def section(study: Study) -> dict[str, Any]:
    """A study of the limit."""
    found = store.read_rows(Path(study.folder) / "infinite_width.zarr").load()
    cells, fits = (tables.load(study, name) for name in ("infinite_width", "fits"))
    along = np.array([str(at).startswith("step") for at in fits["at"]], dtype=bool)
    return {
        "methods": methods(study),
        "question": "",
        "topics": report_answers.topics(cells, fits, found),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "deviations from the limit: of E K_0 with one hidden layer exactly 0 at any width; else in the "
        "widest networks of each depth, where the limit's value is called exact and finite width leaves O(1/width)",
        "verification": verification(study, cells, found),
        "coverage": coverage(cells, found),
        "tables": [
            ("Exponents of the distances from the limit", fit_table(fits[~along])),
            ("Exponents in the width along training", fit_table(fits[along])),
            ("Every cell: kernels", cell_table(cells, KERNEL_COLUMNS)),
            ("Every cell: what is learned, at the evaluation points at the end", cell_table(cells, FUNCTION_COLUMNS)),
        ],
    }


KERNEL_COLUMNS = {
    "distance_start": "|K_0 - Theta|/|Theta|",
    "distance_end": "|K_t - Theta|/|Theta|",
    "movement_end": "|K_t - K_0|/|Theta|",
    "excess_start": "<K_0, Theta>/|Theta|^2 - 1",
    "excess_end": "<K_t, Theta>/|Theta|^2 - 1",
    "peak_change": "change of K(x_0, x_0)/Theta",
    "far_change": "change at the farthest x",
}
FUNCTION_COLUMNS = {
    "function_error_end": "f_t against its own limit",
    "start_error_end": "part by K_0 - Theta",
    "moved_error_end": "part by K_t - K_0",
    "mean_shift_end": "<E f_t - m, m>/|m|^2",
    "variance_ratio_end": "variance over the limit's",
    "error_end": "mean squared error",
}


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    train, data = study.config.settings, study.config.data
    how = ", ".join(sorted({cell.settings.method for cell in study.cells}))
    return (
        f"Networks were trained on {data.train} points ({data.kind}) by {how} to step {train.steps} and compared with "
        f"the limit there and on {data.eval} other points."
    )


def fit_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Exponents as the report prints them, beside those expected."""
    names = settings(fits)
    return [
        ({"setting": setting(row, names)} if names else {})
        | {"quantity": row.quantity, "at": row.at, "fit": METHOD_NAMES[row.method]}
        | {"depth": "all" if np.isnan(row.depth) else f"{row.depth:.0f}"}
        | {"width": "all" if np.isnan(row.width) else f"{row.width:.0f}"}
        | {"estimate [interval]": exponent(row) or "not seen", "expected": tables.number(row.expected)}
        | {"scatter": interval(row.scatter, np.nan, np.nan, ".2g")}
        | {"cells": str(int(row.n_cells)), "runs": f"{int(row.n_runs)} of {int(row.n_all)}"}
        for row in fits.itertuples()
    ]


def cell_table(cells: pd.DataFrame, columns: dict[str, str]) -> list[dict[str, str]]:
    """Each cell with some of its estimates."""
    names = settings(cells)
    return [
        {name.replace("_", " "): tables.number(getattr(row, name)) for name in names}
        | {"depth": str(row.depth), "width": str(row.width or row.widths), "beta": tables.number(row.beta)}
        | {words: interval_of(row, name) for name, words in columns.items()}
        | {"runs": str(int(row.n_runs))}
        for row in cells.itertuples()
    ]


def coverage(cells: pd.DataFrame, found: xr.Dataset) -> str:
    """How many runs finished, and for how many a frozen K_0 has no prediction."""
    total = found.sizes["cell"] * found.sizes["seed"]
    lost = int((~np.isfinite(found["start_error"].values[:, :, 0, 0])).sum())
    text = f"{int(cells.n_runs.sum())} of {total} runs finished"
    return text + (f"; for {lost} the step is too large for their own frozen K_0" if lost else "")


def verification(study: Study, cells: pd.DataFrame, found: xr.Dataset) -> list[dict[str, Any]]:
    """The widest cell of each setting and depth: mean kernel, mean and variance of what is learned."""
    names, confidence = settings(cells), study.config.tolerances.confidence
    keys = [*names, "depth"]
    numbered = cells.assign(place=np.arange(len(cells)))
    widest = numbered.width == numbered.groupby(keys).width.transform("max")
    exact_at_any = numbered.depth == 1  # K_0 is a sum over independent units
    quantile = stats.t.ppf((1 + confidence) / 2, found.sizes["seed"] - 1)
    rows = []
    for row in numbered[widest | exact_at_any].itertuples():
        for name, at, on, exact, words in CHECKED if widest[row.place] else CHECKED[:1]:
            if name == "excess":
                ends = [getattr(row, f"excess_start{end}") for end in ("", "_low", "_high")]
            else:
                part = found.isel(cell=row.place, snapshot=at).sel(on=on)
                ends = [float(part[f"{name}{end}"]) for end in ("", "_low", "_high")]
            value, low, high = ends
            if not np.isfinite(low):
                continue
            cell = ", ".join(filter(None, [setting(row, names), shape(row)]))
            z = "" if name == "variance_ratio" else f"{(value - exact) / ((high - low) / 2 / quantile):.2f}"
            rows.append(
                {
                    "cell": f"{cell}: {words}",
                    "sampler": f"{row.engine}, {row.training}",
                    "estimate": interval(value, low, high, ".4g"),
                    "exact": f"{exact:g}",
                    "inside": "yes" if low <= exact <= high else "no",
                    "z": z,
                    "undersampled": False,
                    "other": "",
                    "test": PINNED_BY,
                }
            )
    return rows
