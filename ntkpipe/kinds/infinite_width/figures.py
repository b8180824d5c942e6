"""Figures of the limit: distances of kernels and functions against width and beta, predictions, profiles."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.infinite_width.figures_functions import limit_functions, limit_predictions
from ntkpipe.kinds.infinite_width.figures_parts import MARKERS, bars, cells_of, guide, law, powers, widths_on
from ntkpipe.kinds.infinite_width.report_words import groups, setting, settings

MOST = 4
"""Widths shown in a profile."""


def limit_distance(data: Data):
    """|K - Theta| and |K_t - K_0| against width, and |K - Theta| against beta, for each depth and setting."""
    cells, fits = cells_of(data["infinite_width"]), data["fits"].to_dataframe()
    depths = sorted(set(cells.depth))
    colours = style.palette(depths)
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.4))
    handles = [Line2D([], [], color=colours[d], linewidth=3, label=f"depth {d}") for d in depths]
    handles += [Line2D([], [], color="0.3", marker="o", linestyle="", label="at the start (left, right)"),
                Line2D([], [], color="0.3", marker="o", linestyle="", markerfacecolor="white",
                       label="after training")]  # fmt: skip
    for k, (said, part) in enumerate(groups(cells)):
        marker = MARKERS[k % len(MARKERS)]
        if said:
            handles.append(Line2D([], [], color="0.3", marker=marker, linestyle="", label=said))
        for depth, same in part.groupby("depth"):
            same, shift = same.sort_values("width"), 1.03 ** (2 * k - 1)
            look = {"color": colours[depth], "marker": marker}
            bars(axes[0], same.width * shift, same, "distance_start", **look)
            bars(axes[0], same.width * shift * 1.05, same, "distance_end", **look, markerfacecolor="white")
            bars(axes[1], same.width * shift, same, "movement_end", **look)
            bars(axes[2], same.beta * shift, same, "distance_start", **look)
            bars(axes[2], same.beta * shift * 1.05, same, "distance_end", **look, markerfacecolor="white")
            for axis, quantity, at in ((axes[0], "kernel distance", "start"), (axes[1], "kernel movement", "end")):
                law(
                    axis,
                    powers(fits, part.iloc[0], quantity, at, "width_exponent", float(depth)),
                    same.width,
                    colours[depth],
                )
        law(axes[2], powers(fits, part.iloc[0], "kernel distance", "start", "beta_power"), part.beta, "0.2")
    guide(axes[0], cells, "distance_start", (-0.5,))
    guide(axes[1], cells, "movement_end", (-0.5, -1.0))
    for axis, x, y in zip(
        axes,
        ("width", "width", "beta = sum of 1/width"),
        (r"$|K-\Theta|_F\,/\,|\Theta|_F$", r"$|K_t-K_0|_F\,/\,|\Theta|_F$", r"$|K-\Theta|_F\,/\,|\Theta|_F$"),
        strict=True,
    ):
        style.log(axis)
        axis.set(xlabel=x, ylabel=y)
    for axis in axes[:2]:
        widths_on(axis, cells.width)
    for axis, title in zip(axes, ("distance from the limit", "movement by training", "against beta"), strict=True):
        axis.set_title(title, fontsize=9)
    handles.append(Line2D([], [], color="0.3", linewidth=1, label="least squares"))
    handles.append(Line2D([], [], **style.LIMIT, label=r"slope $-1/2$"))
    handles.append(Line2D([], [], color="black", linewidth=1.3, linestyle=":", label=r"slope $-1$"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def limit_profile(data: Data):
    """K(x_0, x) on the circle over Theta(x_0, x_0), before and after training and the change, by width; the limit."""
    found = data["infinite_width"]
    part = profile_cells(cells_of(found))
    angle = found.angle.values
    order = np.argsort(angle)
    colours = style.palette(sorted(part.width))
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.0))
    titles = ("at the start", "after training", "change by training, paired by network")
    for axis, name, title in zip(axes, ("profile_start", "profile_end", "profile_change"), titles, strict=True):
        for row in part.sort_values("width").itertuples():
            value, low, high = (found[f"{name}{end}"].values[row.place][order] for end in ("", "_low", "_high"))
            axis.plot(angle[order], value, color=colours[row.width], linewidth=1.2, label=f"width {row.width}")
            axis.fill_between(angle[order], low, high, color=colours[row.width], alpha=0.2, linewidth=0)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(r"angle from $x_0$ (rad)")
        axis.set_xticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"])
    limit = found["profile_limit"].values[part.place.iloc[0]][order]
    for axis in axes[:2]:
        axis.plot(angle[order], limit, **style.LIMIT, label="infinite width")
    axes[2].axhline(0, **style.LIMIT)
    low, high = (f([a.get_ylim() for a in axes[:2]]) for f in (np.min, np.max))
    for axis in axes[:2]:
        axis.set_ylim(low, high)
    axes[0].set_ylabel(r"$K_0(x_0,x)\,/\,\Theta(x_0,x_0)$")
    axes[1].set_ylabel(r"$K_t(x_0,x)\,/\,\Theta(x_0,x_0)$")
    axes[2].set_ylabel(r"$[K_t-K_0](x_0,x)\,/\,\Theta(x_0,x_0)$")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8)
    row = next(part.itertuples())
    said = setting(row, settings(cells_of(found)))
    figure.suptitle(f"{f'{said}, ' if said else ''}depth {row.depth}; step {int(found.step.values[-1])}", fontsize=9)
    return figure


def profile_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The setting with most cells, the depth with most widths (the deepest of these): up to ``MOST`` widths of it."""
    _, part = next(iter(groups(cells)))
    counts = part.groupby("depth").width.nunique()
    part = part[part.depth == counts[counts == counts.max()].index.max()].sort_values("width")
    return part.iloc[np.unique(np.linspace(0, len(part) - 1, min(MOST, len(part))).round().astype(int))]


FIGURES = {
    "limit_distance": limit_distance,
    "limit_functions": limit_functions,
    "limit_predictions": limit_predictions,
    "limit_profile": limit_profile,
}
