"""Which cells of a finite_sample study stand side by side in figures and sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.networks import SETTINGS


def alike(dataset: xr.Dataset, *, one_width: bool = True) -> pd.DataFrame:
    """One row a cell of the depth, settings and noise that most cells share, with its place as ``cell``, by rising N.

    ``one_width``: of the width with most N, of several the widest. Cells whose widths differ by layer are
    left out, so there may be none.
    """
    return _most(_all(dataset), one_width=one_width)


def noisy(dataset: xr.Dataset) -> list[pd.DataFrame]:
    """The same of cells with noise, by rising noise: all of the depth and settings that most of them share."""
    frame = _all(dataset)
    frame = frame[frame.noise > 0]
    if frame.empty:
        return []
    groups = frame.groupby(["depth", *SETTINGS], sort=False)
    return [_most(part) for _, part in groups.get_group(groups.size().idxmax()).groupby("noise")]


def _all(dataset: xr.Dataset) -> pd.DataFrame:
    frame = dataset.drop_dims([dim for dim in dataset.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    frame = frame.assign(cell=np.arange(len(frame)))
    return frame[frame.width > 0]


def _most(frame: pd.DataFrame, *, one_width: bool = True) -> pd.DataFrame:
    if frame.empty:
        return frame
    groups = frame.groupby(["depth", *SETTINGS, "noise"], sort=False)
    frame = groups.get_group(groups.size().idxmax())
    if one_width:
        counts = frame.groupby("width").size()
        frame = frame[frame.width == counts[counts == counts.max()].index.max()]
    return frame.sort_values(["train_points", "width"])
