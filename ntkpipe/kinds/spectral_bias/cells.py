"""The cells of a study in words, and which of them the figures show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.kinds.spectral_bias.fits import GROUP

MOST = 3
"""Cells shown at once where each needs a panel of its own."""


def of_one_setting(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of equal hidden widths and of the setting that most of them share (the first such); empty: there is none.

    cells: one row a cell.
    """
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    if cells.empty:
        return cells
    groups = cells.groupby(list(GROUP), sort=False)
    return groups.get_group(groups.size().idxmax())


def few(cells: pd.DataFrame) -> pd.DataFrame:
    """Up to :data:`MOST` cells, from the smallest beta to the largest."""
    ordered = cells.sort_values(["beta", "depth"], kind="stable")
    return ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, min(MOST, len(ordered))).round().astype(int))]


def setting(row: pd.Series, cells: pd.DataFrame, without: tuple[str, ...] = ()) -> str:
    """Those settings of a cell that vary among all cells, in words."""
    names = [name for name in tables.varying(cells, GROUP) if name not in without]
    return ", ".join(f"{name.replace('_', ' ')} {tables.number(row[name])}" for name in names)


def left_out(cells: pd.DataFrame) -> list[str]:
    """A sentence on the cells that no figure shows; none where all are shown."""
    shown = of_one_setting(cells)
    if shown.empty or len(shown) == len(cells):
        return []
    which = " and ".join(filter(None, (setting(shown.iloc[0], cells), "hidden layers of one width")))
    panels = f" (up to {MOST} of them where each has a panel)" if len(shown) > MOST else ""
    return [
        f"The figures show {len(shown)} of {len(cells)} cells, those with {which}{panels}; sentences and tables are of "
        "all."
    ]


def named(rows: pd.DataFrame) -> list[str]:
    """Each row's cell in words, by what varies in the study."""
    single = rows[rows.beta.notna()]  # not those over cells
    deep = single[single.depth > 0]
    width = "widths" if (deep.width == 0).any() else "width"
    names = [
        *tables.varying(single, ["depth"]), *tables.varying(deep, [width]), *tables.varying(single, GROUP)
    ]  # fmt: skip
    return [
        ", ".join(
            f"{name.replace('_', ' ')} {tables.number(getattr(row, name))}"
            for name in names
            if row.depth or name != width  # without hidden layers there is no width
        )
        or "the one cell"
        for row in rows.itertuples()
    ]
