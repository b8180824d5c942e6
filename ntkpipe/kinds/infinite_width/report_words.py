"""Words that sentences, tables and figures of a study of the limit share: settings, cells, exponents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.kinds.trajectory.scaling import GROUP
from ntkpipe.tables import interval

HEAD = (*GROUP, "eta", "eta_unit")
"""Cells that share these differ in width and depth alone."""


def settings(frame: pd.DataFrame) -> list[str]:
    """Those of :data:`HEAD` in which rows differ."""
    return tables.varying(frame, HEAD)


def setting(row: Any, names: list[str]) -> str:
    """A setting in words, by what varies; empty where nothing does."""
    said = []
    for name in names:
        value = getattr(row, name)
        plain = name in ("activation", "training", "parametrization")
        said.append(str(value) if plain else f"{name.replace('_', ' ')} {tables.number(value)}")
    return ", ".join(said)


def groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(setting in words, its rows), the one with most rows first."""
    names = settings(frame)
    parts = [part for _, part in frame.groupby(list(HEAD), sort=False)]
    for part in sorted(parts, key=len, reverse=True):
        yield setting(next(part.itertuples()), names), part


def shape(row: Any) -> str:
    """Depth and width of a cell."""
    return f"depth {row.depth}, width {row.width or row.widths}"


def ends_of_widths(part: pd.DataFrame, name: str) -> Iterator[tuple[Any, Any]]:
    """For each depth the narrowest and the widest cell in which the estimate is known, where they differ."""
    for _, same in part[(part.width > 0) & np.isfinite(part[name])].groupby("depth"):
        same = same.sort_values("width")
        if same.width.nunique() > 1:
            first, *_, last = same.itertuples()
            yield first, last


def exponent(row: Any) -> str:
    """A fit's exponent with its interval."""
    return interval(row.estimate, row.low, row.high, ".2f")


def verdict(row: Any) -> str:
    """Where the expected exponent lies: inside the interval, or on which side; of one wider than itself, that."""
    if not np.isfinite(row.expected) or not np.isfinite(row.low):
        return ""
    if row.high - row.low > abs(row.expected):
        return f"too wide to judge the expected {row.expected:g}"
    if row.low <= row.expected <= row.high:
        return f"holds the expected {row.expected:g}"
    side = "flatter" if row.low > row.expected else "steeper"
    return f"{side} than the expected {row.expected:g}"


def known(fits: pd.DataFrame, quantity: str, at: str, method: str) -> pd.DataFrame:
    """Fits of these that have an estimate and an interval."""
    rows = fits[(fits.quantity == quantity) & (fits["at"] == at) & (fits.method == method)]
    return rows[np.isfinite(rows.estimate) & np.isfinite(rows.low) & np.isfinite(rows.high)]
