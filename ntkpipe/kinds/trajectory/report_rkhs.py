"""What the report says of the spaces H_t: numbers of the tables ``rkhs`` (a row a cell) and ``norms`` (by ridge)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import tables
from ntkpipe.config.train import RegimesConfig
from ntkpipe.kinds.trajectory.report_words import FEWEST, HEAD, step
from ntkpipe.kinds.trajectory.rkhs import inside

CELL = tuple(dict.fromkeys((*HEAD, "width", "widths", "depth", "eta")))
"""Columns that tell cells apart."""


def rkhs_said(cells: pd.DataFrame, norms: pd.DataFrame, config: RegimesConfig, varying: list[str]) -> list[str]:
    """Does the space grow, does the target become cheaper, how do spectra change, and who generalizes better?

    ``cells``: rows of the table ``rkhs`` of one setting; the step size that most of them share is said. Each sentence
    names its cells, those of :func:`_ends`, then gives their numbers in this order. ``varying``: settings that differ
    in the study, so that each sentence says which it is of.
    """
    known = cells[np.isfinite(cells.inclusion) & (cells.width > 0) & (cells.depth > 0)]
    if len(known) < FEWEST:
        return []
    known = known[known.eta == known.eta.mode().iloc[0]].sort_values(["beta", "width"])
    name = ", ".join(str(known[column].iloc[0]) for column in varying)
    runs = sorted(set(known.n_runs))
    head = f"({name}) " if name else ""
    head += f"At {step(known.eta.iloc[0], known.eta_unit.iloc[0])}"
    head += f" ({runs[0] if len(runs) == 1 else f'{runs[0]} to {runs[-1]}'} runs a cell)"
    ridge = f"{head} and the ridge {config.diag_reg[len(config.diag_reg) // 2]:g} tr K/N"
    return [
        f"{ridge}, {_cells(known)}: K_T <= c (K_0 + lambda) on the train points with c = {_at(known, 'inclusion')}, "
        f"and K_0 <= c (K_T + lambda) with c = {_at(known, 'inclusion_back')}"
        f"{_by_ridge(known, norms, ('pencil_largest', 'pencil_back'))}. On finitely many points both are finite; "
        "whether they stay so as points are added, so whether the space grows, is asked by studies of kind membership.",
        _norm_said(known, norms, ridge),
        _decay_said(known, head),
        f"{head}, {_cells(known)}: the eval error of the interpolant from zero (each kernel's ridge by its "
        "leave-one-out error on the train labels) is, over that of the network at the end, with K_0 "
        f"{_at(known, 'kernel_error_start')} ({_sides(known, 'kernel_error_start')}), and with K_T "
        f"{_at(known, 'kernel_error_end')} "
        f"({_sides(known, 'kernel_error_end')}). The networks stop with {_at(known, 'loss_left')} of their first "
        "training loss: they have not ended as the interpolants have.",
    ]


def _norm_said(known: pd.DataFrame, norms: pd.DataFrame, ridge: str) -> str:
    """The norm of the labels where it is theirs: in H_T over that in H_0."""
    kept = known[inside(known.target_singular)]
    norm = "the norm of the labels in H_T, over that in H_0, is"
    if len(kept):
        said = (
            f"{ridge}, {_cells(kept)}: {norm} {_at(kept, 'target_norm_change')} ({_sides(kept, 'target_norm_change')})"
        )
        said += _by_ridge(kept, norms, ("target_norm / start",))
    else:
        said = f"{ridge} {norm} that of the ridge in every cell"
    left = known[~inside(known.target_singular)]
    if len(left):
        depths = ", ".join(str(depth) for depth in sorted(set(left.depth)))
        said += (
            f"; left out {len(left)} of {len(known)} cells (depth {depths}) whose labels lie, in some run, partly "
            "in ker K_0 or ker K_T, to rounding: their norm is the ridge's"
        )
    return f"{said}."


def _decay_said(known: pd.DataFrame, head: str) -> str:
    """Decay of the eigenvalues at both ends, where it changes most, and the effective rank."""
    rank = f"the effective rank is, over its first value, {_at(known, 'rank_change')} ({_sides(known, 'rank_change')})."
    change = (known.decay_end - known.decay_start).abs()
    if not change.notna().any():  # too few points for a power
        return f"{head}, {_cells(known)}: {rank}"
    most = known.loc[change.idxmax()]
    low, high = (f"{known.decay_to.agg(end):g}" for end in ("min", "max"))
    return (
        f"{head}, {_cells(known)}: the eigenvalues decay like k^-a, from k = 2 to the last k (at most N/2) that K_0 "
        "and K_T both have, "
        f"{low if low == high else f'{low} to {high}'}; a of K_0 is {_at(known, 'decay_start')}, of K_T "
        f"{_at(known, 'decay_end')} (residuals of log lambda_k of K_T up to {known.decay_misfit.max():.2g}, so a power "
        f"only so far). It changes most at {_cell(most)}, from {tables.interval_of(most, 'decay_start')} to "
        f"{tables.interval_of(most, 'decay_end')}; {rank}"
    )


def _ends(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Smallest and largest beta within the depth that has most cells (the smaller of equals); largest beta of all."""
    ordered = cells.sort_values(["beta", "width"], kind="stable")
    part = ordered[ordered.depth == ordered.depth.mode().iloc[0]]
    return part.iloc[sorted({0, len(part) - 1})], ordered.iloc[-1]


def _cells(cells: pd.DataFrame) -> str:
    """Which cells the numbers of :func:`_at` are of."""
    ends, last = _ends(cells)
    said = " to ".join(f"{row.beta:.3g} (width {row.width})" for row in ends.itertuples())
    text = f"{'from' if len(ends) > 1 else 'at'} beta {said} at depth {ends.depth.iloc[0]}"
    return text if last.depth == ends.depth.iloc[0] else f"{text}, then at {_cell(last)}"


def _at(cells: pd.DataFrame, name: str) -> str:
    """A quantity with its interval at both ends of beta at one depth, then at the largest beta if of another depth."""
    ends, last = _ends(cells)
    text = " to ".join(_number(row, name) for _, row in ends.iterrows())
    return text if last.depth == ends.depth.iloc[0] else f"{text}, then {_number(last, name)}"


def _number(row: pd.Series, name: str) -> str:
    return tables.interval_of(row, name) or "not resolved"


def _cell(row: pd.Series) -> str:
    return f"beta {row.beta:.3g} (width {row.width}, depth {row.depth})"


def _by_ridge(cells: pd.DataFrame, norms: pd.DataFrame, names: tuple[str, ...]) -> str:
    """Quantities of ``norms`` at the largest beta of all, at every ridge and the last step."""
    cell = _ends(cells)[1]
    same = (norms[list(CELL)] == cell[list(CELL)]).all(axis=1) & (norms.step == norms.step.max())
    said: list[Any] = []
    for reg, rows in norms[same].dropna(subset="diag_reg").groupby("diag_reg"):
        each = [
            tables.interval(row.estimate, row.low, row.high) or "not resolved"
            for name in names
            for row in rows[rows.quantity == name].itertuples()
        ]
        said.append(f"{reg:g}: {' and '.join(each)}")
    return f"; at {_cell(cell)} by ridge, {', '.join(said)}" if len(said) > 1 else ""


def _sides(rows: pd.DataFrame, name: str) -> str:
    """How many cells of each depth lie below and above 1 with their whole interval."""
    said = [
        f"depth {depth}: {(part[f'{name}_high'] < 1).sum()} and {(part[f'{name}_low'] > 1).sum()} of {len(part)}"
        for depth, part in rows.groupby("depth")
    ]
    return f"cells below and above 1 by whole intervals, {', '.join(said)}"
