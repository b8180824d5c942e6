"""What the report says of an eigenmodes study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ntkpipe import store, tables
from ntkpipe.kinds.eigenmodes import population, report_answers
from ntkpipe.kinds.eigenmodes.report_words import modes_of, setting, varying
from ntkpipe.plan import Study
from ntkpipe.tables import interval

METHODS = """
Eigenfunctions of the limit kernel's operator T_p under the density p are those of Fourier for the uniform density, else
by Nystroem; the rate of a mode is read from the network trained on the cosine that holds most of it, and compared with
T_p, with the limit kernel on the same points, with the frozen K_0 and with the evolving K_t of the same network.
Intervals are Student's t over networks of logs. The limit kernel and K_0 take the steps of each network: where these
are in units of its critical step size, their times depend on the width too.
"""
PINNED_BY = "tests/unit/kinds/eigenmodes/test_analyse.py"
AGREES = 1e-9
DISTANCES = {
    "deviation_train": "train",
    "deviation_held_out": "held out",
    "rest_train": "outside the modes, train",
    "rest_held_out": "outside the modes, held out",
}
"""Distances from T_p in words."""


def section(study: Study) -> dict[str, Any]:
    """An eigenmodes study."""
    fits, cells, density = (tables.load(study, name) for name in ("fits", "modes", "density"))
    names = varying(cells)
    fits = fits.assign(cell=[setting(row, names) for row in fits.itertuples()])
    density = density.assign(cell=[setting(row, names) for row in density.itertuples()])
    cells = cells.assign(cell=[setting(row, names) for row in cells.itertuples()])
    first = store.read_rows(Path(study.folder) / "modes.zarr")
    return {
        "methods": methods(study),
        "question": report_answers.reading(study.config.settings),
        "topics": report_answers.topics(fits, cells, density, first, study.config.settings),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "u^T K_0 u/N^2 over networks of one hidden layer, whose mean is exactly that of the limit kernel, "
        "and the limit kernel's eigenvalues on N points, by linear algebra, against a Fourier sum",
        "verification": verification(study, fits, cells),
        "coverage": coverage(cells),
        "tables": [
            ("Effective eigenvalues at which modes are learned", rate_table(fits)),
            ("Measured over predicted rates", ratio_table(fits)),
            ("Times to fit a frequency, eta s N k", time_table(fits)),
            ("Distance from the dynamics of T_p, over the norm of the target", deviation_table(fits)),
            ("Exponents", exponent_table(fits)),
        ],
    }


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings = study.config.settings
    kinds = ", ".join(dict.fromkeys(cell.settings.density for cell in study.cells))
    centred = "f - f_0" if settings.centred else "f"
    unit = "2/(s lambda_max(K_0))" if settings.eta_unit == "critical" else "absolute units"
    return (
        f"{centred} of each network was trained on cos(q theta), q = {', '.join(map(str, settings.frequencies))}, one "
        f"frequency at a time from the same weights, by {settings.steps} steps of full-batch gradient descent of size "
        f"{settings.eta:g} in units of {unit}, on the quantiles of the densities {kinds}; held-out points were "
        f"{settings.evaluate} equal angles at half steps."
    )


def _rows(fits: pd.DataFrame, quantity: str) -> pd.DataFrame:
    rows = fits[fits.quantity == quantity]
    return rows[np.isfinite(rows.estimate) | np.isfinite(rows.predicted)]


def _number(value: float) -> str:
    return interval(value, np.nan, np.nan)


def rate_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Effective eigenvalues by mode."""
    rows = _rows(fits, "rate")
    return [
        {"cell": row.cell, "q": q, "over": row.of.replace("_", " ")}
        | {"measured [interval]": interval(row.estimate, row.low, row.high), "T_p": _number(row.predicted)}
        | {"limit kernel on N points": _number(row.points), "K_0": _number(row.frozen), "K_t": _number(row.evolving)}
        | {"networks": f"{row.n_runs} of {row.n_all}"}
        for q, row in zip(_labels(rows, ["cell", "of"]), rows.itertuples(), strict=True)
    ]


def _labels(rows: pd.DataFrame, within: list[str]) -> pd.Series:
    """Labels of the modes in each group of rows; see ``modes_of``."""
    found = pd.Series("", index=rows.index)
    for _, part in rows.groupby(within, sort=False):
        found[part.index] = modes_of(part)
    return found


def ratio_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Ratios, a column each."""
    found = []
    rows = _rows(fits, "ratio")
    rows = rows.assign(q=_labels(rows, ["cell", "of"]))
    for (cell, q), part in rows.groupby(["cell", "q"], sort=False):
        row = {"cell": cell, "q": q}
        found.append(row | {r.of: interval(r.estimate, r.low, r.high) for r in part.itertuples()})
    return found


def time_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Times to fit, and sparse over dense."""
    return [
        {"cell": row.cell, "q": str(row.frequency), "region": row.region}
        | {"measured [interval]": interval(row.estimate, row.low, row.high) or "not reached"}
        | {"limit kernel, same points and steps": _number(row.predicted), "K_0": _number(row.frozen)}
        | {"by the local density": _number(row.local)}
        for quantity in ("fit_time", "fit_ratio")
        for row in _rows(fits, quantity).itertuples()
    ]


def deviation_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Train and held-out, within and outside the modes."""
    rows = fits[fits.quantity.isin(list(DISTANCES)) & (fits.of == "all")]
    found = []
    for cell, part in rows.groupby("cell", sort=False):
        by = {row.quantity: row for row in part.itertuples()}
        row = {"cell": cell} | {
            words: interval(by[n].estimate, by[n].low, by[n].high) for n, words in DISTANCES.items()
        }
        found.append(row | {"held out, limit kernel on the N points": _number(by["deviation_held_out"].predicted)})
    return found


def exponent_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Powers over cells, and slopes of log time in log q."""
    rows = fits[
        fits.quantity.str.match("(bend|deviation)_(width|beta|train_points)$") | (fits.quantity == "fit_exponent")
    ]
    return [
        {"of": DISTANCES.get(row.of, row.of) if row.quantity != "fit_exponent" else f"time to fit, {row.region}"}
        | {"cells": row.cell}
        | {"power of": "q" if row.quantity == "fit_exponent" else row.quantity.split("_", 1)[1].replace("_", " ")}
        | {
            "estimate [interval]": interval(row.estimate, row.low, row.high, ".2f"),
            "predicted": interval(row.predicted, np.nan, np.nan, ".2f"),
        }
        for row in rows[np.isfinite(rows.estimate)].itertuples()
    ]


def coverage(cells: pd.DataFrame) -> str:
    """How many trainings finished."""
    done, gone = int(cells.n_runs.sum()), int(cells.n_diverged.sum())
    return f"{done} of {done + gone} trainings finished"


def verification(study: Study, fits: pd.DataFrame, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Quadratic forms of K_0 against their exact mean (one hidden layer), and the aliased spectrum."""
    rows: list[dict[str, Any]] = []
    blank = {"undersampled": False, "other": "", "test": PINNED_BY}
    seen = set()
    for row in fits[(fits.quantity == "quadratic") & (fits.depth == 1)].itertuples():
        key = (row.cell.split(", scale")[0], row.frequency, row.estimate)
        if key in seen or abs(row.predicted) < 1e-12 or not row.high > row.low:
            continue
        seen.add(key)
        tail = stats.t.ppf((1 + study.config.tolerances.confidence) / 2, max(row.n_runs - 1, 1))
        inside = row.low <= row.predicted <= row.high
        rows.append(
            {"cell": f"{row.cell}, mode {row.mode} of cos({row.frequency} theta)", "sampler": "networks"}
            | {"estimate": interval(row.estimate, row.low, row.high), "exact": f"{row.predicted:.4g}"}
            | {"inside": "yes" if inside else "no"}
            | {"z": f"{(row.estimate - row.predicted) / ((row.high - row.estimate) / tail):.1f}"}
            | blank
        )
    done = set()
    for cell, words in zip(study.cells, cells.cell, strict=True):
        settings = cell.settings
        key = (population.limit_of(cell.network), settings.train)
        if settings.density != "uniform" or key in done:
            continue
        done.add(key)
        eigen, _ = population.on_points(cell.network, "uniform", settings.train, settings.evaluate)
        exact = population.aliased(cell.network, settings.train, settings.train // 2)
        whole = np.sort(np.concatenate([exact, exact[1 : (settings.train + 1) // 2]]))[::-1]
        q = len(whole) // 2
        solved = eigen.values[0, q] / settings.train
        same = np.abs(eigen.values[0] / settings.train - whole).max() <= AGREES * whole[0]
        rows.append(
            {"cell": f"{words}, eigenvalue number {q} of Theta/N", "sampler": "limit kernel"}
            | {"estimate": f"{solved:.8g}", "exact": f"{whole[q]:.8g}", "inside": "yes" if same else "no", "z": ""}
            | blank
        )
    return rows
