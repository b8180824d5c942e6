"""What the report says of a mean_field study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import store, tables
from ntkpipe.analysis import intervals
from ntkpipe.kinds.mean_field import report_answers
from ntkpipe.kinds.mean_field.rates import OWN
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.tables import interval, interval_of

METHODS = """
Networks of one hidden layer start from the same law of the kernel and take the same steps in either parametrization;
the mean-field limit is followed by weighted particles that start at the nodes of a quadrature of the normal law (Mei,
Montanari and Nguyen, 2018; Chizat and Bach, 2018), that of ntk is the frozen kernel of infinite width. Exponents in
the width are least squares of logs over cells, for the widths of the study; intervals resample networks.
"""
PINNED_BY = "tests/laws/test_mean_field.py"


def section(study: Study) -> dict[str, Any]:
    """A mean_field study."""
    dataset = store.read_rows(Path(study.folder) / "mean_field.zarr").load()
    cells, fits = tables.load(study, "mean_field"), tables.load(study, "fits")
    cells = cells.assign(cell=np.arange(len(cells)), runs=study.config.seeds)
    return {
        "methods": methods(study),
        "topics": report_answers.topics(cells, fits, dataset, study.config.tolerances.confidence),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "at the start, mean over networks of |K_0 - K_inf|_F^2/|K_inf|_F^2 against its exact mean, test "
        "functions of the particles against the normal law, and the sliced distance between measures",
        "verification": verification(cells, dataset, study.config.tolerances.confidence),
        "coverage": coverage(cells, dataset),
        "tables": [
            ("Exponents p of size ~ m^p", fit_table(fits)),
            ("Every cell at the end of training", cell_table(cells)),
            ("Flow time at which the residual in a mode falls to 1/e of the target", mode_table(cells, dataset)),
            ("(m - 1) correlation of two particles at the end; independent: 0", dependence_table(cells, dataset)),
        ],
    }  # fmt: skip


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings = study.config.settings
    target = " + ".join(f"{a:g} cos({q} theta)" for q, a in settings.target.items())
    unit = "of the critical step of the kernel of infinite width" if settings.eta_unit == "critical" else "in flow time"
    named = dict.fromkeys(cell.network.parametrization.replace("_", "-") for cell in study.cells)
    ways = " and ".join(sorted({cell.settings.method for cell in study.cells}))
    return (
        f"Networks in {' and in '.join(named)} parametrization; target {target} on "
        f"{settings.train} equal angles; {settings.steps} steps ({ways}) of "
        f"{', '.join(f'{eta:g}' for eta in sorted({cell.settings.eta for cell in study.cells}))} {unit}."
    )


def head(row: Any, names: list[str]) -> dict[str, str]:
    """Columns that say which cell it is."""
    return {name.replace("_", " "): tables.number(getattr(row, name)) for name in names}


def fit_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Exponents as the report prints them."""
    names = tables.varying(fits, (*SETTINGS, *OWN))
    return [
        head(row, names)
        | {"size": row.quantity.replace("_", " "), "at": row.at}
        | {"p [interval]": _interval(row)}
        | {"theory": said(row)}
        | {"scatter (p)": "" if np.isnan(row.scatter) else f"{row.scatter:.2g} ({row.scatter_p:.2g})"}
        | {"cells": str(row.n_cells)}
        | {"networks": f"{row.n_runs} of {row.n_all}"}
        for row in fits.itertuples()
    ]


def _interval(row: Any) -> str:
    return interval(*(round(v, 2) + 0.0 for v in (row.estimate, row.low, row.high)), ".2f")


def said(row: Any) -> str:
    """The exponent that theory says, in words."""
    before = row.expected_before
    if np.isnan(row.expected):
        return ""
    return f"{row.expected:g}" if np.isnan(before) else f"{before:g}, {row.expected:g} as m grows"


def cell_table(cells: pd.DataFrame) -> list[dict[str, str]]:
    """Each cell at the end."""
    names = tables.varying(cells, (*SETTINGS, *OWN))
    return [
        head(row, names)
        | {"m": str(row.width)}
        | {"drift of K": interval_of(row, "drift_end"), "at infinite width": f"{row.drift_end_limit:.3g}"}
        | {"distance of K from infinite width": interval_of(row, "kernel_error_end")}
        | {"of f from its mean there": interval_of(row, "output_error_end")}
        | {"f there": f"{row.output_error_end_limit:.3g}"}
        | {"a particle moved": interval_of(row, "moved_end"), "networks": f"{row.n_finished} of {row.runs}"}
        for row in cells.itertuples()
    ]


def mode_table(cells: pd.DataFrame, dataset: xr.Dataset) -> list[dict[str, str]]:
    """Learning times: medians over networks, and at infinite width."""
    names, rows = tables.varying(cells, (*SETTINGS, *OWN)), []
    for row in cells.itertuples():
        here = dataset.isel(cell=row.cell)
        found = head(row, names) | {"m": str(row.width)}
        for q in dataset.frequency.values:
            part = here.sel(frequency=q)
            found[f"q = {q}"] = report_answers.time_said(part["learning_time"].values)
            found[f"q = {q}, infinite width"] = report_answers.time_said(part["learning_time_limit"].values[None])
        rows.append(found)
    return rows


def dependence_table(cells: pd.DataFrame, dataset: xr.Dataset) -> list[dict[str, str]]:
    """(m - 1) rho of every test function."""
    names, rows = tables.varying(cells, (*SETTINGS, *OWN)), []
    for row in cells.itertuples():
        found = head(row, names) | {"m": str(row.width)}
        for test in dataset.test.values:
            here = dataset.isel(cell=row.cell, snapshot=-1).sel(test=test)
            ends = (float(here[f"dependence{end}"]) for end in ("", "_low", "_high"))
            found[str(test)] = interval(*ends, ".2f")
        rows.append(found)
    return rows


def coverage(cells: pd.DataFrame, dataset: xr.Dataset) -> str:
    """How many runs finished, and what holds to rounding."""
    done, every = int(cells.n_finished.sum()), int(cells.runs.sum())
    text = f"{done} of {every} networks finished; those that diverged are in no mean"
    pushed, moved = dataset["push_forward_error"].values, dataset["continuity_error"].values
    if np.isfinite(pushed).any():
        text += (
            f"; outputs are the particles' means of a phi(w.x) to {np.nanmax(pushed):.1g} (relative); d/dt of the "
            f"means of test functions is the mean of grad psi . velocity to {np.nanmedian(moved):.1g} (relative, "
            f"largest over {dataset.sizes['snapshot']} times, median over networks)"
        )
    limit = dataset["limit_error"].values
    if limit.any():
        text += f"; the limit's kernel moves by at most {limit.max():.1g} where its quadrature has half the directions"
    return text


def verification(cells: pd.DataFrame, dataset: xr.Dataset, confidence: float) -> list[dict[str, Any]]:
    """What is exact at the start, cell by cell."""
    names, rows = tables.varying(cells, (*SETTINGS, *OWN)), []
    for row in cells.itertuples():
        here = dataset.isel(cell=row.cell)
        cell = ", ".join([*(f"{k} {v}" for k, v in head(row, names).items()), f"m {row.width}"])
        squares = here["kernel_error"].isel(snapshot=0).values ** 2
        exact = float(here["kernel_error_start_exact"]) ** 2
        rows.append(_row(f"{cell}, |K_0 - K_inf|^2", *intervals.mean(squares, confidence), exact))
        for test in dataset.test.values:
            part = here.sel(test=test)
            found = (float(part[f"moment_z{end}"]) for end in ("", "_low", "_high"))
            rows.append(_row(f"{cell}, rms z of the mean of {test}", *found, 1.0))
        if np.isfinite(here["distance_start_exact"]):
            values = here["distance"].sel(end="start").values
            rows.append(
                _row(f"{cell}, distance", *intervals.mean(values, confidence), float(here["distance_start_exact"]))
            )
    return rows


def _row(cell: str, estimate: float, low: float, high: float, exact: float) -> dict[str, Any]:
    known = np.isfinite(low)
    return {
        "cell": cell,
        "sampler": "dense",
        "estimate": interval(estimate, low, high, ".4g"),
        "exact": f"{exact:.4g}",
        "inside": ("yes" if low <= exact <= high else "no") if known else "",
        "z": "",
        "undersampled": False,
        "other": "",
        "test": PINNED_BY,
    }
