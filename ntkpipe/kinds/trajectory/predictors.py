"""What tells when an order of perturbation theory helps, the forcing or something simpler: rows of ``fits``."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ntkpipe.analysis import regimes
from ntkpipe.kinds.trajectory.fit_rows import UNREASONABLE, Rows, fit_row

FEWEST = 4
"""Cells in which an order must fail, to say from which size on it does: whole cells are resampled."""
RIVALS = ("beta", "beta x steps", "drift")
"""What the forcing is compared with as a predictor, over runs and snapshots together."""


def _along_runs(curve: pd.DataFrame) -> pd.DataFrame:
    """One row a run and snapshot, of runs that did not diverge: the predictors, and what orders 1 and 2 leave."""
    steps = [name.removeprefix("left1_") for name in curve.columns if name.startswith("left1_step ")]
    parts = [
        curve[["cell", "beta"]].assign(
            step=int(at.removeprefix("step ")), last=at == steps[-1],
            **{name: curve[f"{name}_{at}"] for name in ("forcing", "drift", "left1", "left2")},
        )
        for at in steps
    ]  # fmt: skip
    long = pd.concat(parts)[np.tile(~curve.diverged.to_numpy(bool), len(steps))]
    long["beta x steps"] = long.beta * long.step
    return long[(long.forcing > 0) & (long.forcing < UNREASONABLE)]  # 0: one step, no change behind it


def comparisons(curve: pd.DataFrame, confidence: float) -> Rows:
    """What tells when order 1 helps, the forcing or something simpler, and from which forcing on orders fail.

    At the end rank correlations over runs with what order 1 leaves of the error; over runs and snapshots together
    (``run``) areas under the ROC curve for order 1 failing, and the forcing at which order p fails in half of them.
    """
    long = _along_runs(curve)
    rows: Rows = []
    last = long[long["last"] & np.isfinite(long.left1)]
    if last.cell.nunique() > 2:
        values = (last[name].to_numpy(float) for name in ("beta", "forcing", "left1"))
        found = regimes.predictors(*values, last.cell.to_numpy(int), confidence)
        rows += _compared("rank_correlation", "end", "beta", found, last)
    known = long[np.isfinite(long.left1)]
    if known.cell[known.left1 >= 1].nunique() >= FEWEST:
        fails, cell = (known.left1 >= 1).to_numpy(), known.cell.to_numpy(int)
        for rival in RIVALS:
            values = (known[name].to_numpy(float) for name in (rival, "forcing"))
            found = regimes.discrimination(*values, fails, cell, confidence)
            rows += _compared("roc_area", "run", rival, found, known)
    for p in (1, 2):
        known = long[np.isfinite(long[f"left{p}"])]
        if known.cell[known[f"left{p}"] >= 1].nunique() >= FEWEST:
            fails, cell = (known[f"left{p}"] >= 1).to_numpy(), known.cell.to_numpy(int)
            found = regimes.crossing(known.forcing.to_numpy(float), fails, cell, confidence)
            rows.append(fit_row(f"order {p}", "run", "forcing_star", found, known.cell.nunique(), len(known)))
    return rows


def _compared(method: str, at: str, rival: str, found: regimes.Prediction, known: pd.DataFrame) -> Rows:
    """Rows of a rival, of the forcing (beside beta, once) and of their difference."""
    if not np.isfinite(found.difference.value):
        return []
    names = [(rival, found.first), (f"forcing less {rival}", found.difference)]
    names += [("forcing", found.second)] if rival == "beta" else []
    return [fit_row(name, at, method, value, known.cell.nunique(), len(known)) for name, value in names]


def improvements(curve: pd.DataFrame, confidence: float) -> Rows:
    """In which share of the runs each order is better than the one before, where the forcing is small and large."""
    known = curve[~curve.diverged & curve[["forcing_end", *(f"order_{p}_end" for p in range(3))]].notna().all(axis=1)]
    rows: Rows = []
    for at, part in (("forcing < 1", known[known.forcing_end < 1]), ("forcing >= 1", known[known.forcing_end >= 1])):
        for order in (1, 2) if len(part) else ():
            better = int((part[f"order_{order}_end"] < part[f"order_{order - 1}_end"]).sum())
            found = regimes.fraction(better, len(part), confidence)
            rows.append(fit_row(f"order {order}", at, "improves", found, part.cell.nunique(), len(part)))
    return rows
