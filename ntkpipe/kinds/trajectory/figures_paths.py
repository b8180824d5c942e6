"""Figures over time: loss and drift; the frozen kernel's error with its bound; orders for a weak and a strong cell."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import (
    ORDERS,
    band,
    base,
    colours_of,
    few,
    finished,
    quartiles,
    read_as,
    said,
    step_said,
    tolerance_lines,
)

TIME = r"flow time $t=\eta s k$"


def _log(axis) -> None:
    style.log(axis)
    axis.set(xlabel=TIME)


def paths(data: Data):
    """Loss and drift against flow time, median and quartiles over seeds, for up to four beta."""
    rows = few(base(data))
    colours, dataset = colours_of(rows), data["perturbation"]
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.9))
    for _, row in rows.iterrows():
        time = finished(dataset, row, "time")
        for axis, name in zip(axes, ("loss", "drift"), strict=True):
            band(axis, time, finished(dataset, row, name), colours[row.beta])
    for axis in axes:
        _log(axis)
    axes[0].set_ylabel("training loss")
    axes[1].set_ylabel(r"drift $|K_t-K_0|_F\,/\,|K_0|_F$")
    figure.suptitle(step_said(rows.iloc[0]), fontsize=9)
    handles = [Line2D([], [], color=colours[row.beta], label=said(row)) for _, row in rows.iterrows()]
    handles.append(tolerance_lines(axes[1], read_as(data).lazy))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


def predicted(data: Data):
    """|r - r_0| and its bound over time by beta; errors of orders 0, 1, 2 of the weakest and the strongest cell."""
    curve = base(data)
    rows = few(curve)
    colours, dataset = colours_of(rows), data["perturbation"]
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 3.9))
    medians = []
    for _, row in rows.iterrows():
        time = finished(dataset, row, "time")
        error = finished(dataset, row, "order_error")[..., 0]
        medians.append(quartiles(error)[1][1:])  # from the first step on
        band(axes[0], time, error, colours[row.beta])
        limit = quartiles(finished(dataset, row, "bound"))[1]
        at = np.median(time, axis=0)
        axes[0].plot(at[limit > 0], limit[limit > 0], "--", color=colours[row.beta], linewidth=1)
    axes[0].set_title(f"frozen kernel and its bound\n{step_said(rows.iloc[0])}", fontsize=9)
    axes[0].set_ylabel(r"$|r-r_0|\,/\,|r(0)|$")
    handles = [
        Line2D([], [], color=colours[row.beta], label=_with_tightness(dataset, row)) for _, row in rows.iterrows()
    ]
    handles += [Line2D([], [], color="0.3", label="measured"),
                Line2D([], [], color="0.3", linestyle="--", label="Groenwall bound, upper sum")]  # fmt: skip
    _log(axes[0])
    _cut(axes[0], medians)
    axes[0].legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.19), fontsize=6.8)
    known = curve[curve.forcing_end.notna()].sort_values("forcing_end")
    ends = [("weakest", known.iloc[0])] + ([("strongest", known.iloc[-1])] if len(known) > 1 else [])
    for axis, (word, row) in zip(axes[1:], ends, strict=False):
        time, errors = finished(dataset, row, "time"), finished(dataset, row, "order_error")
        for order, colour in ORDERS.items():
            band(axis, time, errors[..., order], colour)
        crossing = _forcing_one(time, finished(dataset, row, "forcing"))
        handles = [Line2D([], [], color=c, label=f"order {order}") for order, c in ORDERS.items()]
        if crossing is not None:
            axis.axvline(crossing, color="0.4", linestyle=":", linewidth=1)
            handles.append(Line2D([], [], color="0.4", linestyle=":", label="forcing = 1"))
        _log(axis)
        _cut(axis, [quartiles(errors)[1][1:]], above=4.0)
        axis.set_ylabel(r"error of order $p$: $|r-r_p|\,/\,|r(0)|$")
        axis.set_title(f"{word} perturbation: width {row.width}, depth {row.depth}\n"
                       f"forcing {row.forcing_end:.2g} at the end", fontsize=9)  # fmt: skip
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.19), fontsize=6.8, ncols=2)
    if len(ends) < 2:
        axes[2].set_axis_off()
    return figure


def _with_tightness(dataset, row: pd.Series) -> str:
    """The cell with the share of its bound that its error takes, after the first step and at the end."""
    middle = quartiles(finished(dataset, row, "tightness"))[1]
    first, last = middle[1], middle[-1]
    return f"{said(row)}, error/bound {first:.1g} to {last:.1g}"


def _forcing_one(time: np.ndarray, forcing: np.ndarray) -> float | None:
    """Median flow time at the first snapshot where the median forcing exceeds 1; None where it does not."""
    above = np.flatnonzero(quartiles(forcing)[1] > 1)
    return float(np.median(time[:, above[0]])) if len(above) else None


def _cut(axis, medians: list[np.ndarray], above: float = 100.0) -> None:
    """Cut the axis ``above`` times the largest median: a bound or an order that has diverged has no size to read."""
    known = np.concatenate([np.ravel(m) for m in medians])
    known = known[np.isfinite(known) & (known > 0)]
    if len(known):
        axis.set_ylim(known.min() / 3, min(above * known.max(), 1e4))
