"""What the report says of a membership study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import store, tables
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

METHODS = ""
STUDY_METHODS = """
Functions are placed inside or outside an RKHS by the growth of y^T K_N^{-1} y with the number N of nested equal angles
(Aronszajn, 1950): of the kernel at initialization, after full-batch gradient descent on the function, and of infinite
width. Exponents are least squares of logs, their intervals Student's t over networks. Where K_N is singular on the
function to rounding, no number is given.
"""
NAMES = {
    "smooth": "cos(theta) + cos(2 theta)",
    "odd": "cos(3 theta)",
    "step": "the step",
}
PINNED_BY = "tests/unit/kinds/membership/test_analyse.py"
AGREES = 1e-6
"""Relative difference up to which the limit kernel's norm is that of its Fourier sum."""


def section(study: Study) -> dict[str, Any]:
    """A membership study."""
    norms = store.read_rows(Path(study.folder) / "membership.zarr").isel(diag_reg=0).load()
    growth = tables.load(study, "growth")
    growth = growth[growth.diag_reg == study.config.settings.diag_reg[0]]
    return {
        "methods": STUDY_METHODS,
        "question": "Is a function in the RKHS of the kernel: at initialization, after training, at infinite width?",
        "answers": [*answers(growth, study.config.settings.bounded), *biases_said(norms)],
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "norm with the limit kernel on the finest points, by linear algebra, against its Fourier sum",
        "verification": verification(study, norms),
        "coverage": coverage(norms),
        "tables": [
            ("Growth exponents gamma of norm ~ N^gamma", gamma_table(growth)),
            ("Norm after training over norm at the start", ratio_table(growth)),
            ("What training does, and the decay of the limit kernel's spectrum", cell_table(study)),
        ],
    }


def varying(frame: pd.DataFrame) -> list[str]:
    """Settings, depth and width that differ between the rows; sigma_b is said with the biases."""
    return [name for name in ("depth", "width", "widths", *SETTINGS) if frame[name].nunique() > 1]


def setting(row: Any, names: list[str]) -> str:
    """A cell in words, by what varies in the study."""
    said = [f"{name} {tables.number(getattr(row, name))}" for name in names if not name.endswith(("_b", "_init", "hs"))]
    if {"bias_init", "sigma_b"} & set(names):
        scale = f"sigma_b {row.sigma_b:g}"
        said.append({"none": "no biases", "zero": scale, "normal": f"random biases, {scale}"}[row.bias_init])
    return ", ".join(said) or "the one cell"


def verdict(row: Any, bounded: float) -> str:
    """What an exponent says: bounded, grows, open; singular where most networks have no norm at the finest points."""
    if 2 * row.n_singular > row.n_all:
        return "singular"
    low, high = (row.estimate, row.estimate) if row.kernel == "limit" else (row.low, row.high)
    return "bounded" if high < bounded else "grows" if low > bounded else "open"


def number(row: Any) -> str:
    """An exponent with its interval."""
    if np.isnan(row.estimate):
        return f"none (K_N singular on it in {row.n_singular} of {row.n_all})"
    return f"{row.estimate:.2f}" + ("" if np.isnan(row.low) else f" [{row.low:.2f}, {row.high:.2f}]")


def answers(growth: pd.DataFrame, bounded: float) -> list[str]:
    """Over the largest N, for each target: is it inside at infinite width, for K_0, for K_t; what does training do?"""
    rows = growth[growth.quantity == "gamma"]
    rows = rows[rows.points_min == rows.points_min.max()]
    names = varying(rows)
    reach = f"over N = {rows.points_min.iloc[0]} to {rows.points_max.iloc[0]}"
    found = []
    for target, part in rows.groupby("target", sort=False):
        found.append(f"{NAMES[target]}, infinite width: {_kernel_said(part, 'limit', names, bounded)}.")
        for kernel, word in NETWORKS.items():
            found.append(f"{NAMES[target]}, networks {word}: {_kernel_said(part, kernel, names, bounded)}.")
        found += _trained_said(target, part, names)
        found += _ratios_said(target, growth[(growth.quantity == "ratio") & (growth.target == target)])
    said = f"Exponents gamma of norm ~ N^gamma are {reach}; bounded where the interval lies below {bounded:g}."
    return [said, *found]


NETWORKS = {"start": "at the start", "trained": "after training on it"}
WORDS = {
    "bounded": "bounded",
    "grows": "grows",
    "open": "open",
    "singular": "outside, K_N being singular on it,",
}


def _kernel_said(part: pd.DataFrame, kernel: str, names: list[str], bounded: float) -> str:
    """The cells by verdict, with the smallest and the largest exponent of each."""
    rows, said = part[part.kernel == kernel], []
    rows = rows.assign(verdict=[verdict(row, bounded) for row in rows.itertuples()])
    for found, group in rows.groupby("verdict", sort=False):
        cells = "every cell" if len(group) == len(rows) else f"{len(group)} of {len(rows)} cells"
        if found == "singular" and len(group) < len(rows):
            cells = "; ".join(setting(row, names) for row in group.itertuples())
        text = f"{WORDS[found]} for {cells}"
        if found != "singular":
            text += f", {_extremes(group, names)}"
            if kernel == "limit" and np.isfinite(group.asymptotic).any():
                text += f", {_range(group.asymptotic)} as N grows by the decay of the spectrum"
        said.append(text)
    return "; ".join(said)


def _extremes(rows: pd.DataFrame, names: list[str]) -> str:
    """The smallest and the largest exponent, with intervals and cells."""
    rows = rows[np.isfinite(rows.estimate)].sort_values("estimate", kind="stable")
    if rows.empty:
        return "no exponent"
    low, high = (next(rows.iloc[[i]].itertuples()) for i in (0, -1))
    if len(rows) == 1:
        return f"gamma {number(low)} ({setting(low, names)})"
    return f"gamma {number(low)} ({setting(low, names)}) to {number(high)} ({setting(high, names)})"


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _trained_said(target: str, part: pd.DataFrame, names: list[str]) -> list[str]:
    """Does training bound a norm that grew? By the difference of the same networks' exponents, where K_0's grew."""
    cell = list(dict.fromkeys(["depth", "width", "widths", *names]))
    grew = part[(part.kernel == "start") & (part.low > 0)][cell]
    rows = part[(part.kernel == "trained - start") & np.isfinite(part.low)].merge(grew, on=cell)
    rows["word"] = np.select([rows.high < 0, rows.low > 0], ["falls", "rises"], "does not change beyond its interval")
    said = [
        f"{word} for {len(group)} of {len(rows)} cells, {_extremes(group, names).replace('gamma', 'by')}"
        for word, group in rows.groupby("word", sort=False)
    ]
    return (
        [f"Does training on {NAMES[target]} bound its norm? Where it grew, its exponent {'; '.join(said)}."]
        if said
        else []
    )


def _ratios_said(target: str, rows: pd.DataFrame) -> list[str]:
    """By what training multiplies the norm on the fewest and the most points, from the smallest cell to the largest."""
    rows = rows[np.isfinite(rows.estimate)]
    said = []
    for n in dict.fromkeys((rows.points_max.min(), rows.points_max.max())) if len(rows) else ():
        ordered = rows[rows.points_max == n].sort_values("estimate", kind="stable")
        ends = [next(ordered.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(ordered) - 1))]
        said.append(" to ".join(_ratio(row) for row in ends) + f" on {n} points")
    return [f"Training on {NAMES[target]} multiplies its norm by {', by '.join(said)}."] if said else []


def _ratio(row: Any) -> str:
    return f"{row.estimate:.3g}" + ("" if np.isnan(row.low) else f" [{row.low:.3g}, {row.high:.3g}]")


def biases_said(norms: xr.Dataset) -> list[str]:
    """What becomes of the norms on the finest points as the biases, which start at zero, vanish."""
    part, found = norms.isel(points=-1), []
    cells = part[["depth", "width", "bias_init", "sigma_b"]].to_dataframe().assign(cell=np.arange(part.sizes["cell"]))
    cells = cells[(cells.bias_init == "zero") & (cells.width == cells.width.max())]
    for target in part.target.values:
        said = []
        for depth, rows in cells.groupby("depth"):
            rows = rows.sort_values("sigma_b").drop_duplicates("sigma_b")
            if len(rows) < 2:
                continue
            low, high = (part.isel(cell=rows.cell.iloc[i]).sel(target=target) for i in (-1, 0))
            ends = [_norm_said(end) for end in (low, high)]
            said.append(
                f"depth {depth}: {ends[0]} to {ends[1]} at the start (infinite width {_short(low['norm_limit'])} to "
                f"{_short(high['norm_limit'])}) from sigma_b = {rows.sigma_b.iloc[-1]:g} to {rows.sigma_b.iloc[0]:g}"
            )
        if said:
            found.append(f"{NAMES[target]}, norm on {int(part.points)} points as biases vanish: {'; '.join(said)}.")
    return found


def _norm_said(part: xr.Dataset) -> str:
    middle, low, high = (float(part[f"norm_{end}"].sel(kernel="start")) for end in ("mean", "low", "high"))
    return "none" if np.isnan(middle) else f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _short(value: xr.DataArray) -> str:
    return "none" if np.isnan(value) else f"{float(value):.3g}"


def gamma_table(growth: pd.DataFrame) -> list[dict[str, str]]:
    """Exponents as the report prints them."""
    rows = growth[growth.quantity == "gamma"]
    names = varying(rows)
    return [
        {"depth": str(row.depth), "width": str(row.width or row.widths)}
        | {name.replace("_", " "): tables.number(getattr(row, name)) for name in names if name in SETTINGS}
        | {"target": row.target, "kernel": row.kernel}
        | {"N": f"{row.points_min} to {row.points_max}", "gamma [interval]": number(row)}
        | {"partial sums": _two(row.predicted), "as N grows": _two(row.asymptotic), "limit kernel": _two(row.limit)}
        | {"networks": f"{row.n_runs} of {row.n_all}", "singular at the finest": str(row.n_singular)}
        for row in rows.itertuples()
    ]


def _two(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def ratio_table(growth: pd.DataFrame) -> list[dict[str, str]]:
    """Norms after training over norms at the start, a column for each N."""
    rows = growth[growth.quantity == "ratio"]
    names = varying(rows)
    table = []
    for _, part in rows.groupby(list(dict.fromkeys(["target", "depth", "width", "widths", *names])), sort=False):
        first = next(part.itertuples())
        cell = {"target": first.target, "depth": str(first.depth), "width": str(first.width or first.widths)}
        cell |= {name.replace("_", " "): tables.number(getattr(first, name)) for name in names if name in SETTINGS}
        for row in part.itertuples():
            cell[f"N = {row.points_max}"] = "" if np.isnan(row.estimate) else _ratio(row)
        table.append(cell)
    return table


def cell_table(study: Study) -> list[dict[str, str]]:
    """Each cell: decay of the limit spectrum, drift of the kernel, and where K_N is singular."""
    cells = tables.load(study, "membership")
    names = varying(cells)
    return [
        {"depth": str(row.depth), "width": str(row.width or row.widths)}
        | {name.replace("_", " "): tables.number(getattr(row, name)) for name in names if name in SETTINGS}
        | {"alpha of the limit": f"{row.decay:.2f} (scatter {row.decay_scatter:.2g})"}
        | {"drift": f"{row.drift:.3g} [{row.drift_low:.3g}, {row.drift_high:.3g}]"}
        | {"singular at the finest, start": f"{100 * row.start_singular:.0f} %"}
        | {"singular at the finest, trained": f"{100 * row.trained_singular:.0f} %"}
        for row in cells.itertuples()
    ]


def coverage(norms: xr.Dataset) -> str:
    """How many runs finished, and how well they learned."""
    error = norms["network_mse"]
    done = np.isfinite(error.values)
    said = ", ".join(f"{t} {np.nanmedian(error.sel(target=t).values):.2g}" for t in norms.target.values)
    return f"{done.sum()} of {done.size} trainings finished; median error of the networks at the finest points: {said}"


def verification(study: Study, norms: xr.Dataset) -> list[dict[str, Any]]:
    """The limit kernel's norm on the finest points by an eigendecomposition and by a Fourier sum of its first row."""
    if study.config.settings.diag_reg[0]:
        return []
    rows = []
    for i, cell in enumerate(study.cells):
        for target in norms.target.values:
            part = norms.isel(cell=i, points=-1).sel(target=target)
            solved, exact = float(part["norm_limit"]), float(part["norm_fourier"])
            same = abs(solved - exact) <= AGREES * exact if np.isfinite(exact) else np.isnan(solved)
            widths = cell.coords["width"] or cell.coords["widths"]
            biases = "no biases" if cell.network.bias_init == "none" else f"sigma_b {cell.network.sigma_b:g}"
            rows.append(
                {
                    "cell": f"depth {cell.network.depth}, width {widths}, {biases}, {target}",
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
