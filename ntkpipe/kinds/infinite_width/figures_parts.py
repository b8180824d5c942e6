"""What the figures of a study of the limit share: cells, error bars, fitted laws and slopes to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.figures import style
from ntkpipe.kinds.infinite_width.report_words import HEAD

MARKERS = ("o", "s", "^", "D", "v", "P")


def cells_of(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a cell of equal hidden widths, with its ``place`` in the dataset.

    Raises
    ------
    NothingToDraw: there is none.
    """
    frame = dataset.drop_dims([dim for dim in dataset.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    frame = frame.assign(place=np.arange(len(frame)))
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    return frame


def bars(axis: Any, x: pd.Series, rows: pd.DataFrame, name: str, **look: Any) -> None:
    """Estimates with their intervals."""
    value, low, high = (rows[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    lengths = style.bars(value, low, high)
    axis.errorbar(x.to_numpy(float), value, lengths, linestyle="", markersize=4.5, linewidth=1, **look)


def powers(
    fits: pd.DataFrame, head: pd.Series, quantity: str, at: str, method: str, depth: float | None = None
) -> pd.DataFrame:
    """The fits of this quantity of one setting; of one depth where it is given."""
    same = (fits[list(HEAD)] == head[list(HEAD)]).all(axis=1)
    rows = fits[same & (fits.quantity == quantity) & (fits["at"] == at) & (fits.method == method)]
    return rows[np.isfinite(rows.estimate) & (rows.depth.isna() if depth is None else rows.depth == depth)]


def law(axis: Any, rows: pd.DataFrame, x: pd.Series, colour: Any) -> None:
    """The fitted power over the range of x."""
    for row in rows.itertuples():
        ends = np.array([x.min(), x.max()], float)
        axis.plot(ends, row.scale * ends**row.estimate, color=colour, linewidth=1)


def widths_on(axis: Any, widths: pd.Series) -> None:
    """The widths that are there as ticks, and readable numbers on a logarithmic y axis."""
    at = sorted(set(widths))
    axis.set_xticks(at, [str(w) for w in at])
    axis.minorticks_off()
    if axis.get_yscale() == "log":
        style.readable_log(axis.yaxis)


def guide(axis: Any, cells: pd.DataFrame, name: str, slopes: tuple[float, ...]) -> None:
    """Slopes to compare with, above the largest estimate at the narrowest width."""
    widths = np.array([cells.width.min(), cells.width.max()], float)
    top = cells.loc[cells.width == widths[0], name].max()
    if widths[0] == widths[1] or not np.isfinite(top):
        return
    for slope in slopes:
        line = style.LIMIT if slope == -0.5 else style.LIMIT | {"linestyle": ":"}
        axis.plot(widths, 1.6 * top * (widths / widths[0]) ** slope, **line)
