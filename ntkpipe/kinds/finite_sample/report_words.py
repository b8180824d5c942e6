"""Numbers with their intervals, as the sentences of a finite_sample study say them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ntkpipe.tables import interval

ENDS = ("", "_low", "_high")


def ends(part: xr.Dataset, name: str, digits: str = ".3g") -> str:
    """A variable without dims and its interval."""
    return interval(*(float(part[f"{name}{end}"]) for end in ENDS), digits)


def sizes(part: xr.Dataset) -> list[int]:
    """Places of the smallest and the largest N."""
    return list(dict.fromkeys((0, part.sizes["cell"] - 1)))


def exponent(row: Any) -> str:
    """A row of ``fits``, with what theory says of it."""
    text = interval(row.estimate, row.low, row.high, ".2f")
    beside = [f"exact on these N {row.exact:.2f}"] if np.isfinite(row.exact) else []
    beside += [f"{row.expected:g} as N grows"] if np.isfinite(row.expected) else []
    return f"{text} ({', '.join(beside)})" if beside else text
