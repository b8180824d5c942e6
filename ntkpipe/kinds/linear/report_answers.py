"""The sentences of a linear study, from its tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.tables import estimate, interval
from ntkpipe.topics import Topic


def topics(fits: pd.DataFrame, cells: pd.DataFrame, dataset: xr.Dataset, settings: Any) -> list[Topic]:
    """One question after the other; those without an answer in this study are left out by the report."""
    return [
        Topic("Does gradient descent follow the linear model's closed form, and where does it end?",
              model_said(fits, cells), ("decay",)),
        Topic("What does label noise do to the linear model?", noise_said(fits, dataset), ("label_noise",)),
        Topic("Do deep networks learn singular values as Saxe's curves say?", modes_said(fits, cells), ("modes",)),
        Topic("What does training conserve, and how far is descent from flow?", orders_said(fits, cells), ("orders",)),
        Topic("How does the initial scale decide between lazy and active training?",
              scale_said(fits, cells, settings), ("linear_drift",)),
        Topic("How fast is infinite width approached?", width_said(fits, cells), ("linear_width",)),
    ]  # fmt: skip


def cell_said(row: Any) -> str:
    """A cell, or cells that differ in one axis, in words."""
    if not row.depth:
        return f"linear model, scale {row.scale:g}"
    said = [f"depth {row.depth:g}"]
    if row.width:
        said.append(f"width {row.width:g}")
    if np.isfinite(row.scale):
        said.append(f"scale {row.scale:g}")
    return ", ".join([*said, *(["ntk"] if row.parametrization == "ntk" else [])])


def _named(fits: pd.DataFrame, quantity: str) -> pd.DataFrame:
    return fits[(fits.quantity == quantity) & np.isfinite(fits.estimate)]


def _inside(rows: pd.DataFrame) -> str:
    """For how many rows the interval holds the expected value."""
    known = rows[np.isfinite(rows.low) & np.isfinite(rows.expected)]
    inside = int(((known.low <= known.expected) & (known.expected <= known.high)).sum())
    return f"{inside} of {len(known)} intervals hold it" if len(known) else "no interval is known"


def model_said(fits: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Closed form, limit, decay factors and threshold of divergence."""
    models = cells[cells.depth == 0]
    if models.empty:
        return []
    gap, left, exact = (models[name].max() for name in ("closed_gap", "limit_gap", "limit_expected"))
    rows = _named(fits, "decay_factor")
    if not np.isfinite(gap) or (np.abs(rows.expected) > 1).any():
        text = "Some linear models diverged: their steps are beyond 2/lambda_max(A)"
        if np.isfinite(gap):
            text += f"; at the end they are up to {left:.1e} of |w_inf| off it (closed form {exact:.1e})"
        return [f"{text}."]
    found = [
        f"Descent differs from its closed form by at most {gap:.1e} of |w_inf|. It ends {left:.1e} of |w_inf| from the "
        f"minimizer nearest to its start, which from zero is that of least norm (closed form after as many steps: "
        f"{exact:.1e}); in ker A it moves by at most {models.kernel_moved.max():.1e}."
    ]
    if len(rows):
        off = np.abs(rows.estimate - rows.expected).max()
        found.append(
            f"Factors a step, {rows.expected.min():.3g} to {rows.expected.max():.3g} by 1 - eta lambda_i, are measured "
            f"to within {off:.1e}."
        )
    for of, rows in _named(fits, "threshold").groupby("of", sort=False):  # the data are the same at every scale
        off = np.abs(rows.estimate - rows.expected).max()
        found.append(f"Descent on {of} diverges from 2/lambda_max(A) on: by bisection, to within {off:.0e} of it.")
    return found


def noise_said(fits: pd.DataFrame, dataset: xr.Dataset) -> list[str]:
    """Error at the end and where it is smallest, by number of points and start."""
    found = []
    for row in _named(fits, "teacher_error").itertuples():
        found.append(f"{row.of}: |w - teacher|^2 ends at {estimate(row)} (exact mean {row.expected:.3g})")
    said = [f"{'; '.join(found)}."] if found else []
    for i in np.flatnonzero(dataset.depth.values == 0)[:1]:
        part, steps = dataset.isel(cell=i), dataset.step.values
        for p, points in enumerate(dataset.points.values):
            exact, path = (part[name].values[p, 0] for name in ("teacher_error_exact", "teacher_error"))
            if not np.isfinite(exact).all() or exact[-1] > 1e6 * exact[0]:
                continue  # diverged
            k, best = int(exact.argmin()), int(np.argmin(np.where(np.isfinite(path), path, np.inf)))
            if k < len(steps) - 1 and exact[-1] > exact[k] * (1 + 1e-9):
                said.append(
                    f"{points} points, from zero: stopping after {steps[k]} steps is best in the mean, {exact[k]:.3g} "
                    f"against {exact[-1]:.3g} at the end; the mean measured over networks is smallest after "
                    f"{steps[best]}, {path[best]:.3g}."
                )
            else:
                said.append(f"{points} points, from zero: the mean falls to the end, {exact[-1]:.3g}: no stop helps.")
    return said


def modes_said(fits: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Flow on Saxe's curves, descent on its recursion, and the order between them."""
    rows = _named(fits, "mode_order")
    if rows.empty:
        return []
    rows = rows.drop_duplicates(["depth", "of"])
    said = [f"depth {row.depth:g}, {row.of}: {estimate(row, '.4f')}" for row in rows.itertuples()]
    kernel = np.nanmax(cells.mode_kernel_gap)
    return [
        "From balanced weights singular values evolve apart, s' = L s^(2 - 2/L) (s* - s), and descent approaches these "
        f"curves with the order 1 in the step; measured, {'; '.join(said)} ({_inside(rows)}).",
        f"The eigenvalues of K_t then follow from those of A alone, the sum over l of s_i^(2(L-l)/L) s_j^(2(l-1)/L): "
        f"at the end of the flow they differ from it by at most {kernel:.1e} of |K|.",
    ]


def orders_said(fits: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Conservation by the flow, its violation by descent, and the distance of the two."""
    balance, flow = _named(fits, "balance_order"), _named(fits, "flow_order")
    if balance.empty:
        return []
    worst = np.nanmax(cells.balance_flow)
    return [
        f"Gradient flow conserves W_(l+1)^T W_(l+1) - W_l W_l^T (with gains in ntk) to {worst:.1e} of its parts, the "
        f"integrator's error. Descent changes it in proportion to the step: order {_range(balance)} (theory 1; "
        f"{_inside(balance)}).",
        f"Descent is off the flow by an amount of order {_range(flow)} in the step (theory 1; {_inside(flow)}).",
        f"K_t from products of weights equals that by autodiff to {np.nanmax(cells.autodiff_gap):.1e}.",
    ]


def _range(rows: pd.DataFrame) -> str:
    rows = rows.sort_values("estimate")
    ends = list(dict.fromkeys([rows.index[0], rows.index[-1]]))
    return " to ".join(f"{estimate(rows.loc[i], '.4f')} ({cell_said(rows.loc[i])})" for i in ends)


def scale_said(fits: pd.DataFrame, cells: pd.DataFrame, settings: Any) -> list[str]:
    """Drift against scale, its exponent, and the scale from which on networks are lazy; of the widest of each depth."""
    exponents, found = _named(fits, "drift_scale_exponent"), []
    lazy = fits[fits.quantity == "lazy_scale"]
    for keys, rows in exponents.groupby(["depth", "parametrization"], sort=False):
        row = rows.loc[rows.width.idxmax()]
        same = (cells.depth == keys[0]) & (cells.parametrization == keys[1]) & (cells.width == row.width)
        ends = cells[same & (cells.eta == row.eta)].sort_values("scale").iloc[[0, -1]]
        said = " to ".join(
            f"{interval(e.drift_end, e.drift_end_low, e.drift_end_high)} at scale {e.scale:g} (infinite width "
            f"{e.drift_limit:.3g})"
            for e in ends.itertuples()
        )
        text = f"{cell_said(row)[:1].upper()}{cell_said(row)[1:]}: K changes by {said}; "
        text += f"exponent in the scale {estimate(row)}"
        text += f", at infinite width over the same scales {row.expected:.3g}." if np.isfinite(row.expected) else "."
        found.append(text)
        here = lazy[(lazy.depth == keys[0]) & (lazy.parametrization == keys[1])].sort_values("width")
        known = np.isfinite(here.estimate)
        said = [
            f"{estimate(r)} at width {r.width:g} ({r.n_runs} of {r.n_all} networks)" for r in here[known].itertuples()
        ]
        if len(here) and np.isfinite(limit := here.expected.iloc[0]):
            said.append(f"{limit:.3g} at infinite width")
        if said:
            found.append(f"Networks are lazy (change below {settings.lazy:g}) beyond the scale {', '.join(said)}.")
        said = [f"{r.width:g} ({r.n_runs} of {r.n_all} networks cross it)" for r in here[~known].itertuples()]
        if said:
            found.append(
                f"At width {', '.join(said)} the scale at which the change passes {settings.lazy:g} is not known "
                "within the scales of the study."
            )
    return found


def width_said(fits: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Exponents of the distance from infinite width, and the drift of the widest beside its limit."""
    rows, found = _named(fits, "limit_width_exponent"), []
    if len(rows):
        said = [f"{estimate(row, '.2f')} ({cell_said(row)})" for row in rows.itertuples()]
        found.append(
            "Once half is learned, the distance of A from its limit falls with the width with the exponent "
            f"{'; '.join(said)}; theory -1/2, "
            f"{_inside(rows)}."
        )
    for row in _named(fits, "drift_width_exponent").itertuples():
        found.append(
            f"In the ntk parametrization the change of K falls with the exponent {estimate(row, '.2f')} "
            f"({cell_said(row)}; theory -1): wide networks are lazy there."
        )
    deep = cells[(cells.depth > 0) & (cells.parametrization == "standard") & np.isfinite(cells.drift_end)]
    for _, group in deep.groupby(["depth", "scale", "eta"], sort=False):
        if group.width.nunique() > 1:
            row = group.loc[group.width.idxmax()]
            found.append(
                f"Where W is trained the change of K has a limit: at {cell_said(row)} "
                f"{interval(row.drift_end, row.drift_end_low, row.drift_end_high)}, at infinite width "
                f"{row.drift_limit:.3g}."
            )
    return found
