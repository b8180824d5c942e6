"""What the report says of the spaces H_t: numbers of the tables ``rkhs`` (a row a cell) and ``norms`` (by ridge)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.report_words import FEWEST, HEAD, step

CELL = tuple(dict.fromkeys((*HEAD, "width", "widths", "depth", "eta")))
"""Columns that tell cells apart."""


def rkhs_said(cells: pd.DataFrame, norms: pd.DataFrame, config: RegimesConfig, varying: list[str]) -> list[str]:
    """Does the space grow, does the target become cheaper, how do spectra change, and who generalizes better?

    ``cells``: rows of the table ``rkhs`` of one setting; the step size that most of them share is said. ``varying``:
    settings that differ in the study, so that each sentence says which it is of.
    """
    known = cells[np.isfinite(cells.inclusion) & (cells.width > 0) & (cells.depth > 0)]
    if len(known) < FEWEST:
        return []
    known = known[known.eta == known.eta.mode().iloc[0]].sort_values(["beta", "width"])
    middle = config.diag_reg[len(config.diag_reg) // 2]
    name = ", ".join(str(known[column].iloc[0]) for column in varying)
    at = f"At {step(known.eta.iloc[0], known.eta_unit.iloc[0])}"
    head = f"({name}) {at}" if name else at
    runs = sorted(set(known.n_runs))
    head += f" ({runs[0] if len(runs) == 1 else f'{runs[0]} to {runs[-1]}'} runs a cell)"
    ridge = f"{head} and the ridge {middle:g} tr K/N"
    ends = known.iloc[[0, -1]] if len(known) > 1 else known
    inside, outside = known[known.target_singular <= 0.5], known[known.target_singular > 0.5]
    found = [
        f"{ridge} K_T <= c (K_0 + lambda) on the train points with c = {_at(ends, 'inclusion')}, and c (K_0 + lambda) "
        f"<= K_T with c = {_at(ends, 'inclusion_back')}{_by_ridge(ends.iloc[-1], norms)}. On finitely many points both "
        "exist; whether they stay bounded as points are added, so whether the space grows, is asked by studies of kind "
        "membership."
    ]
    said = f"{ridge} the norm of the labels in H_T, over that in H_0, is "
    if len(inside):
        said += f"{_at(inside.iloc[sorted({0, len(inside) - 1})], 'target_norm_change')} "
        said += f"({_sides(inside, 'target_norm_change')})"
    else:
        said += "that of the ridge in every cell"
    if len(outside):
        depths = ", ".join(str(depth) for depth in sorted(set(outside.depth)))
        said += (
            f"; left out {len(outside)} of {len(known)} cells (depth {depths}) whose labels lie partly in ker K_0, to "
            "rounding: their norm is the ridge's"
        )
    found.append(f"{said}.")
    found.append(
        f"{head} the eigenvalues of K_0 and K_T decay like k^-a, over the k from 2 to at most N/2 that both have, with "
        f"a from {_at(ends, 'decay_start')} to {_at(ends, 'decay_end')} (to k = "
        f"{' and '.join(f'{k:g}' for k in ends.decay_to)}; residuals of log lambda_k "
        f"{' and '.join(tables.number(v) for v in ends.decay_misfit)}, so a power only so far); the effective rank is "
        f"{_at(ends, 'rank_change')} of its first value ({_sides(known, 'rank_change')})."
    )
    found.append(
        f"{ridge} the eval error of the interpolant from zero is, over that of the network at the end, "
        f"{_at(ends, 'kernel_error_start')} with K_0 ({_sides(known, 'kernel_error_start')}) and "
        f"{_at(ends, 'kernel_error_end')} with K_T ({_sides(known, 'kernel_error_end')}); the networks, which stop "
        f"with {_at(ends, 'loss_left')} of their first training loss, have not ended as the interpolants have."
    )
    return found


def _at(rows: pd.DataFrame, name: str) -> str:
    """A quantity with its interval at the smallest and the largest beta."""
    return " and ".join(
        f"{tables.interval_of(row, name) or 'not resolved'} at beta {row.beta:.3g} (width {row.width}, "
        f"depth {row.depth})"
        for row in rows.itertuples()
    )


def _by_ridge(cell: pd.Series, norms: pd.DataFrame) -> str:
    """Both inclusion constants of a cell at every ridge, at the last step."""
    same = (norms[list(CELL)] == cell[list(CELL)]).all(axis=1) & (norms.step == norms.step.max())
    said: list[Any] = []
    for reg, rows in norms[same].dropna(subset="diag_reg").groupby("diag_reg"):
        pair = [
            tables.interval(row.estimate, row.low, row.high) or "not resolved"
            for name in ("pencil_largest", "pencil_smallest")
            for row in rows[rows.quantity == name].itertuples()
        ]
        said.append(f"{reg:g}: {' and '.join(pair)}")
    return f"; at beta {cell.beta:.3g} by ridge, {', '.join(said)}" if len(said) > 1 else ""


def _sides(rows: pd.DataFrame, name: str) -> str:
    """How many cells of each depth lie below and above 1 with their whole interval."""
    said = [
        f"depth {depth}: {(part[f'{name}_high'] < 1).sum()} and {(part[f'{name}_low'] > 1).sum()} of {len(part)}"
        for depth, part in rows.groupby("depth")
    ]
    return f"cells below and above 1 by whole intervals, {', '.join(said)}"
