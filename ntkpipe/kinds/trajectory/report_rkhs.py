"""What the report says of the spaces H_t: every number is one of the table ``rkhs`` (a row a cell)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.report_words import FEWEST, step


def rkhs_said(cells: pd.DataFrame, config: RegimesConfig, varying: list[str]) -> list[str]:
    """Does the space grow, does the target become cheaper, how do spectra change, and who generalizes better?

    ``cells``: rows of the table ``rkhs`` of one setting; the step size that most of them share is said. ``varying``:
    settings that differ in the study, so that each sentence says which it is of.
    """
    known = cells[np.isfinite(cells.inclusion) & (cells.width > 0) & (cells.depth > 0)]
    if len(known) < FEWEST:
        return []
    known = known[known.eta == known.eta.mode().iloc[0]].sort_values(["beta", "width"])
    ridge = config.diag_reg[len(config.diag_reg) // 2]
    name = ", ".join(str(known[column].iloc[0]) for column in varying)
    at = f"At {step(known.eta.iloc[0], known.eta_unit.iloc[0])} and the ridge {ridge:g} tr K/N"
    head = f"({name}) {at}" if name else at
    ends = known.iloc[[0, -1]] if len(known) > 1 else known
    found = [
        f"{head} K_T <= c (K_0 + lambda) on the train points with c = {_at(ends, 'inclusion')}, and c (K_0 + lambda) "
        f"<= K_T with c = {_at(ends, 'inclusion_back')} (how both grow with points decides inclusion); "
        f"the norm of the labels in H_T is {_at(ends, 'target_norm_change')} of that in H_0 "
        f"({_sides(known, 'target_norm_change')})."
    ]
    found.append(
        f"{head} the eigenvalues decay like k^-a with a from {_at(ends, 'decay_start')} at the start to "
        f"{_at(ends, 'decay_end')} at the end; the effective rank is {_at(ends, 'rank_change')} of its first value "
        f"({_sides(known, 'rank_change')})."
    )
    found.append(
        f"{head} the eval error of the interpolant from zero is, over that of the network at the end, "
        f"{_at(ends, 'kernel_error_start')} with K_0 ({_sides(known, 'kernel_error_start')}) and "
        f"{_at(ends, 'kernel_error_end')} with K_T ({_sides(known, 'kernel_error_end')})."
    )
    return found


def _at(rows: pd.DataFrame, name: str) -> str:
    """A quantity with its interval at the smallest and the largest beta."""
    return " and ".join(
        f"{tables.interval_of(row, name) or 'not known'} at beta {row.beta:.3g} (width {row.width}, depth {row.depth})"
        for row in rows.itertuples()
    )


def _sides(rows: pd.DataFrame, name: str) -> str:
    """How many cells of each depth lie below and above 1 with their whole interval."""
    said = [
        f"depth {depth}: {(part[f'{name}_high'] < 1).sum()} and {(part[f'{name}_low'] > 1).sum()} of {len(part)}"
        for depth, part in rows.groupby("depth")
    ]
    return f"cells below and above 1 by whole intervals, {', '.join(said)}"
