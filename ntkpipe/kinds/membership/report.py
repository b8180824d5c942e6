"""What the report says of a membership study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import store, tables
from ntkpipe.kinds.membership import report_answers
from ntkpipe.kinds.membership.report_words import OWN, own, varying
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.tables import estimate, interval, interval_of

METHODS = """
Functions are placed inside or outside an RKHS by the growth of y^T K_N^{-1} y with the number N of nested equal angles
of the circle, and one space inside another by the growth of the smallest c with K_N <= c K'_N (Aronszajn, 1950):
exponents are least squares of logs, their intervals Student's t over networks; a verdict asks the same of the exponent
between the two largest N. Where K_N is singular on the function to rounding, no number is given.
"""
PINNED_BY = "tests/unit/kinds/membership/test_analyse.py"
AGREES = 1e-6
"""Relative difference up to which the limit kernel's norm is that of its Fourier sum."""


def section(study: Study) -> dict[str, Any]:
    """A membership study."""
    norms = store.read_rows(Path(study.folder) / "membership.zarr").isel(diag_reg=0).load()
    growth = tables.load(study, "growth")
    first = growth[growth.diag_reg == study.config.settings.diag_reg[0]]
    return {
        "methods": methods(study),
        "question": report_answers.reading(growth, study.config.settings),
        "topics": report_answers.topics(growth, study.config.settings, norms),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "norm with the limit kernel on the finest points, by linear algebra, against a Fourier sum of the "
        "same kernel (the kernel itself, against closed forms: tests/unit/theory/test_circle.py)",
        "verification": verification(study, norms),
        "coverage": coverage(norms),
        "tables": [
            ("Growth exponents gamma of norm ~ N^gamma", gamma_table(first, "norm")),
            ("Norm after training over norm at the start", value_table(first, "norm", "trained / start")),
            ("Growth exponents of the inclusion constants", gamma_table(first, "inclusion")),
            ("Learning the function from N points, mean squared error between them", error_table(first)),
            ("What training does, and the decay of the limit kernel's spectrum", cell_table(study)),
        ],
    }


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings = study.config.settings
    steps, train = (
        ", ".join(str(n) for n in sorted({getattr(cell.settings, key) for cell in study.cells}))
        for key in ("steps", "train")
    )
    return (
        f"Each network was trained from the same weights on each function ({', '.join(settings.targets)}), "
        f"by {steps} steps of full-batch gradient descent on (1/2) sum (f - y)^2 over {train} equal angles, none of "
        f"them a point of a norm, with {settings.eta:g} of the critical step size 2/lambda_max(K_0)."
    )


def gamma_table(growth: pd.DataFrame, of: str) -> list[dict[str, str]]:
    """Exponents as the report prints them."""
    rows = growth[(growth.quantity == "gamma") & (growth.of == of)]
    rows = rows if of == "norm" else rows[rows.points_min == rows.points_min.max()]
    names = varying(rows)
    return [
        cell_names(row, names)
        | {"target": row.target, "kernel": row.kernel, "N": f"{row.points_min} to {row.points_max}"}
        | {"gamma [interval]": estimate(row, ".2f"), "last two N": interval_of(row, "last", ".2f")}
        | {"bend": interval_of(row, "bend", ".2f"), "verdict": row.verdict}
        | (
            {"partial sums": _two(row.predicted), "as N grows": _two(row.asymptotic), "limit kernel": _two(row.limit)}
            if of == "norm"
            else {}
        )
        | {"networks": f"{row.n_runs} of {row.n_all}", "singular at the finest": str(row.n_singular)}
        for row in rows.itertuples()
    ]


def cell_names(row: Any, names: list[str]) -> dict[str, str]:
    """Columns that say which cell it is."""
    more = [name for name in names if name in (*SETTINGS, *OWN)]
    head = {"depth": str(row.depth), "width": str(row.width or row.widths)}
    return head | {name.replace("_", " "): tables.number(getattr(row, name)) for name in more}


def _two(value: float) -> str:
    return interval(value, np.nan, np.nan, ".2f")


def _by_cell(rows: pd.DataFrame) -> Any:
    """(names of the cell, target included; its rows) for each cell and target."""
    names = varying(rows)
    for _, part in rows.groupby(list(dict.fromkeys(["target", "depth", "width", "widths", *names])), sort=False):
        first = next(part.itertuples())
        yield {"target": first.target} | cell_names(first, names), part


def value_table(growth: pd.DataFrame, of: str, kernel: str) -> list[dict[str, str]]:
    """Values, a column for each N."""
    rows = growth[(growth.quantity == "value") & (growth.of == of) & (growth.kernel == kernel)]
    return [
        names | {f"N = {row.points_max}": estimate(row) for row in part.itertuples()} for names, part in _by_cell(rows)
    ]


def error_table(growth: pd.DataFrame) -> list[dict[str, str]]:
    """Errors of the interpolants from half of the finest points, and of the networks from their train points."""
    rows = report_answers.errors(growth[growth.quantity == "value"])
    heads = {kernel: "network" if kernel == "network" else f"{kernel}, N = {n}" for kernel, n in
             zip(rows.kernel, rows.points_max, strict=True)}  # fmt: skip
    return [
        names
        | dict.fromkeys(heads.values(), "")
        | {heads[row.kernel]: estimate(row, ".2g") for row in part.itertuples()}
        for names, part in _by_cell(rows)
    ]


def cell_table(study: Study) -> list[dict[str, str]]:
    """Each cell: decay of the limit spectrum, drift of the kernel, and where K_N is singular."""
    cells = tables.load(study, "membership")
    names = varying(cells)
    return [
        cell_names(row, names)
        | {"alpha of the limit, even q": _two(row.decay_even), "odd q": _two(row.decay_odd)}
        | {"drift": interval_of(row, "drift")}
        | {"singular at the finest, start": f"{100 * row.start_singular:.0f} %"}
        | {"singular at the finest, trained": f"{100 * row.trained_singular:.0f} %"}
        for row in cells.itertuples()
    ]


def coverage(norms: xr.Dataset) -> str:
    """How many runs finished, and how well they learned."""
    error = norms["network_mse"]
    done = np.isfinite(error.values)
    middle = error.median(dim=("cell", "seed"), skipna=True).values if done.any() else ()
    said = ", ".join(f"{t} {value:.2g}" for t, value in zip(norms.target.values, middle, strict=False)) or "none"
    return f"{done.sum()} of {done.size} trainings finished; median error of the networks at the finest points: {said}"


def verification(study: Study, norms: xr.Dataset) -> list[dict[str, Any]]:
    """The limit kernel's norm on the finest points by an eigendecomposition and by a Fourier sum of its first row."""
    if study.config.settings.diag_reg[0]:
        return []
    cells, rows = tables.load(study, "membership"), []
    names = varying(cells)
    for row in own(cells.assign(kernel="limit", place=np.arange(len(cells))), "limit", names).itertuples():
        for target in norms.target.values:
            part = norms.isel(cell=row.place, points=-1).sel(target=target)
            solved, exact = float(part["norm_limit"]), float(part["norm_fourier"])
            same = abs(solved - exact) <= AGREES * exact if np.isfinite(exact) else np.isnan(solved)
            rows.append(
                {
                    "cell": f"{row.cell}, {target}",
                    "sampler": "limit kernel",
                    "estimate": "singular" if np.isnan(solved) else f"{solved:.8g}",
                    "exact": "singular" if np.isnan(exact) else f"{exact:.8g}",
                    "inside": "yes" if same else "no",
                    "z": "",
                    "undersampled": False,
                    "other": "",
                    "test": PINNED_BY,
                }
            )
    return rows
