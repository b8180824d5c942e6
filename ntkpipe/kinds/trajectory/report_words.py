"""Words that the sentences and tables of a training study share: step sizes, estimates, thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntkpipe import tables
from ntkpipe.kinds.trajectory.scaling import GROUP

HEAD = (*GROUP, "eta_unit")
FEWEST = 3
"""Cells of a setting below which it is only compared, not described on its own."""


def step(eta: float, unit: str) -> str:
    """A step size with its unit; eta_c = 2/(s lambda_max(K_0)), the critical one, stands in the glossary."""
    return f"eta = {eta:g}" + (" eta_c" if unit == "critical" else "")


def bracket(row: Any, digits: str = ".2f") -> str:
    """A fit's estimate with its interval."""
    return tables.interval(row.estimate, row.low, row.high, digits) or "not known"


def threshold(row: Any, smallest: float, largest: float) -> str:
    """A threshold; 0 and inf say that it lies beyond the grid, and are bounds."""

    def end(value: float) -> str:
        if value == 0:
            return f"< {smallest:.3g}"
        return f"> {largest:.3g}" if np.isinf(value) else f"{value:.3g}"

    if np.isnan(row.estimate):
        return "not known"
    said = end(row.estimate)
    return said if end(row.low) == end(row.high) == said else f"{said} [{end(row.low)}, {end(row.high)}]"
