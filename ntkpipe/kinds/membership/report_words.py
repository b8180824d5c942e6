"""Words that the sentences and tables of a membership study share: cells, verdicts, extremes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.networks import SETTINGS
from ntkpipe.tables import estimate

OWN = ("train_points", "steps")
"""Settings of the training that a grid may vary."""
UNTRAINED = ("start", "redrawn in start")
"""Kernels that know nothing of the training: cells that differ in it alone have the same."""


def varying(frame: pd.DataFrame) -> list[str]:
    """Settings, depth and width that differ between the rows."""
    return tables.varying(frame, ("depth", "width", "widths", *SETTINGS, *OWN))


def setting(row: Any, names: list[str], usual: dict[str, int] | None = None) -> str:
    """A cell in words, by what varies in the study; sigma_b is said with the biases, training where not as usual."""
    said = [
        f"{name.replace('_', ' ')} {tables.number(getattr(row, name))}"
        for name in names
        if name not in ("widths", "bias_init", "sigma_b") and (usual or {}).get(name) != getattr(row, name)
    ]
    if {"bias_init", "sigma_b"} & set(names):
        scale = f"sigma_b {row.sigma_b:g}"
        said.append({"none": "no biases", "zero": scale, "normal": f"random biases, {scale}"}[row.bias_init])
    return ", ".join(said) or "the one cell"


def own(rows: pd.DataFrame, kernel: str, names: list[str]) -> pd.DataFrame:
    """Rows of a kernel, one where cells have the same: before training, and at infinite width."""
    without = (*OWN, "width", "widths") if kernel == "limit" else OWN if kernel in UNTRAINED else ()
    names = [name for name in names if name not in without]
    rows = rows[rows.kernel == kernel]
    if not without:
        return rows
    rows = rows.drop_duplicates(names) if names else rows.iloc[:1]
    return rows.assign(cell=[setting(row, names) for row in rows.itertuples()])


def verdicts(rows: pd.DataFrame, singular: str) -> str:
    """The cells by verdict, with the smallest and the largest exponent of each; ``singular``: that verdict in words."""
    said = []
    for found, group in rows.groupby("verdict", sort=False):
        cells = "every cell" if len(group) == len(rows) else f"{len(group)} of {len(rows)} cells"
        if found == "singular":
            said.append(f"{singular} for {cells if len(group) == len(rows) else '; '.join(group.cell)}")
            continue
        text = f"{found} for {cells}, gamma {extremes(group)}"
        if lost := int(group.n_singular.sum()):
            text += f" (without {lost} of {int(group.n_all.sum())} networks, singular, so a lower bound)"
        if (group.kernel == "limit").all() and np.isfinite(group.asymptotic).any():
            text += f", {_range(group.asymptotic)} as N grows by the decay of the spectrum"
        said.append(text)
    return "; ".join(said)


def extremes(rows: pd.DataFrame, digits: str = ".2f") -> str:
    """The smallest and the largest estimate, with intervals and cells."""
    rows = rows[np.isfinite(rows.estimate)].sort_values("estimate", kind="stable")
    if rows.empty:
        return "not known"
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    return " to ".join(f"{estimate(end, digits)} ({end.cell})" for end in ends)


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def along(rows: pd.DataFrame, axis: str, names: list[str]) -> Iterator[pd.DataFrame]:
    """Groups of cells that differ in this setting alone, at least two, in its order."""
    rest = [name for name in names if name not in (axis, "widths")]
    for _, group in rows.groupby(rest, sort=False) if rest else [((), rows)]:
        if group[axis].nunique() > 1:
            yield group.sort_values(axis)


def rest_of(rows: pd.DataFrame, axis: str, names: list[str]) -> str:
    return setting(next(rows.itertuples()), [name for name in names if name != axis])


def above_and_below(rows: pd.DataFrame) -> tuple[int, int]:
    """How many quotients lie above and below 1 with their whole interval."""
    return int((rows.low > 1).sum()), int((rows.high < 1).sum())


def sides(rows: pd.DataFrame) -> str:
    """These numbers in words, and the extremes."""
    above, below = above_and_below(rows)
    return f"above 1 in {above} of {len(rows)} cells and below in {below}, {extremes(rows, '.3g')}"
