"""Words that the sentences and tables of an eigenmodes study share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.networks import SETTINGS

OWN = ("density", "train_points", "scale")
"""Coordinates of this kind."""
ROUNDING = 1e-9
"""Size relative to what it is measured in below which a difference is rounding."""
BIASES = {"none": "no biases", "zero": "biases from 0", "normal": "random biases"}


def varying(frame: pd.DataFrame) -> list[str]:
    """Settings, depth and width that differ between the cells."""
    return tables.varying(frame, ("depth", "width", *SETTINGS, *OWN))


def setting(row: Any, names: list[str]) -> str:
    """A cell in words, by what varies in the study; of a fit over cells, by what they share."""
    said = []
    for name in names:
        value = getattr(row, name)
        if (isinstance(value, float) and np.isnan(value)) or value in ("", 0):
            continue
        if name == "bias_init":
            said.append(BIASES[value])
        elif name == "density":
            said.append(str(value))
        else:
            said.append(f"{name.replace('train_points', 'N').replace('_', ' ')} {tables.number(value)}")
    return ", ".join(said) or ("the one cell" if row.width else "all cells")


def modes_of(rows: Any) -> list[str]:
    """q of the targets of rates, with the number of the mode where several modes have one target."""
    many = rows.frequency.duplicated(keep=False)
    return [
        f"{q} (mode {mode})" if several else str(q)
        for q, mode, several in zip(rows.frequency, rows["mode"], many, strict=True)
    ]


def share_inside(rows: pd.DataFrame, of: str = "predicted") -> tuple[int, int]:
    """How many intervals hold the prediction, to rounding, of how many that have both."""
    known = rows[np.isfinite(rows.low) & np.isfinite(rows[of])]
    slack = ROUNDING * known[of].abs()
    return int(((known.low <= known[of] + slack) & (known[of] <= known.high + slack)).sum()), len(known)
