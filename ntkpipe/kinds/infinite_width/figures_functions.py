"""Figures of what networks of finite width learn, beside what the limit says: errors by width, and along training."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.infinite_width.figures_parts import MARKERS, bars, cells_of, guide, law, powers, widths_on
from ntkpipe.kinds.infinite_width.report_words import groups, setting, settings

PARTS = (
    ("function_error_end", "function error", "whole error", "black", "o"),
    ("start_error_end", "function error by K_0", r"by $K_0-\Theta$", "#0072B2", "s"),
    ("moved_error_end", "function error by movement", r"by the movement $K_t-K_0$", "#D55E00", "^"),
)


def limit_functions(data: Data):
    """One network against its own limit, with its two parts; mean and variance over networks against the limit's."""
    found, fits = data["infinite_width"], data["fits"].to_dataframe()
    cells = cells_of(found)
    said, main = next(iter(groups(cells)))
    counts = main.groupby("depth").width.nunique()
    main = main[main.depth == counts.idxmax()].sort_values("width")
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.4))
    for k, (name, quantity, words, colour, marker) in enumerate(PARTS):
        bars(axes[0], main.width * 1.04 ** (k - 1), main, name, color=colour, marker=marker, label=words)
        fitted = powers(fits, main.iloc[0], quantity, "end", "width_exponent", float(main.depth.iloc[0]))
        law(axes[0], fitted, main.width, colour)
    guide(axes[0], main, "function_error_end", (-0.5, -1.0))
    style.log(axes[0])
    handles, names = axes[0].get_legend_handles_labels()
    handles += [Line2D([], [], **style.LIMIT), Line2D([], [], color="black", linewidth=1.3, linestyle=":")]
    axes[0].legend(handles, [*names, r"slope $-1/2$", r"slope $-1$"], fontsize=7, loc="upper center", ncols=2,
                   bbox_to_anchor=(0.5, -0.17))  # fmt: skip
    axes[0].set(xlabel="width", ylabel=r"$|f_t-f_0-A_t(y-f_0(X))|$ over that of the labels")
    axes[0].set_title(f"{said + ', ' if said else ''}depth {main.depth.iloc[0]}: one network", fontsize=9)
    shown = _by_width(axes[1:], cells)
    for axis, label, title, limit in (
        (axes[1], r"$\langle E f_t-m,\,m\rangle\,/\,|m|^2$", r"mean, $f_0$'s noise taken out", 0.0),
        (axes[2], r"$\mathrm{Var}\,f_t$ over the limit's", "variance over networks", 1.0),
    ):
        axis.axhline(limit, **style.LIMIT)
        axis.set(xlabel="width", ylabel=label)
        axis.set_title(f"{title}; evaluation points, end", fontsize=9)
    style.log(axes[1], "x")
    style.log(axes[2])
    for axis, rows in zip(axes, (main, cells, cells), strict=True):
        widths_on(axis, rows.width)
    shown.append(Line2D([], [], **style.LIMIT, label="infinite width"))
    axes[2].legend(handles=shown, fontsize=7, loc="upper right", bbox_to_anchor=(1.0, -0.17), ncols=4)
    return figure


def _by_width(axes: Any, cells: pd.DataFrame) -> list[Line2D]:
    """Mean and variance of every setting and depth; the legend's handles."""
    depths = sorted(set(cells.depth))
    colours = style.palette(depths)
    handles = [Line2D([], [], color=colours[d], linewidth=3, label=f"depth {d}") for d in depths]
    for k, (said, part) in enumerate(groups(cells)):
        marker = MARKERS[k % len(MARKERS)]
        if said:
            handles.append(Line2D([], [], color="0.3", marker=marker, linestyle="", label=said))
        for n, (depth, same) in enumerate(part.groupby("depth")):
            x = same.width * 1.05 ** (n + len(depths) * k - 1)
            for axis, name in zip(axes, ("mean_shift_end", "variance_ratio_end"), strict=True):
                bars(axis, x, same, name, color=colours[depth], marker=marker)
    return handles


def limit_predictions(data: Data):
    """Predictions at the end in the narrowest networks beside the limit's; error and variance along training."""
    found = data["infinite_width"]
    cells = cells_of(found)
    _, part = next(iter(groups(cells)))
    counts = part.groupby("depth").width.nunique()
    part = part[part.depth == counts.idxmax()].sort_values("width")
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.2))
    _at_the_end(axes[0], found, next(part.itertuples()))
    _along_training(axes[1:], found, part)
    said = setting(next(part.itertuples()), settings(cells))
    figure.suptitle(f"{said + ', ' if said else ''}depth {part.depth.iloc[0]}", fontsize=9)
    return figure


def _at_the_end(axis: Any, found: xr.Dataset, row: Any) -> None:
    """Mean and two standard deviations at the evaluation points, of networks and of the limit."""
    here = found.isel(cell=row.place, snapshot=-1)
    here = here.isel(point=np.flatnonzero(found.side.values == "eval"))
    circle = found.attrs.get("config", {}).get("data", {}).get("kind") == "circle"
    x = here.angle.values if circle else here["f_mean_limit"].values
    order = np.argsort(x)
    x, mean, limit = x[order], here["f_mean"].values[order], here["f_mean_limit"].values[order]
    spread, theirs = (2 * np.sqrt(here[name].values[order]) for name in ("f_variance", "f_variance_limit"))
    axis.fill_between(x, limit - theirs, limit + theirs, color="0.85", linewidth=0)
    axis.plot(x, limit, **style.LIMIT, label=r"infinite width, mean $\pm$ 2 sd")
    low, high = mean - here["f_mean_low"].values[order], here["f_mean_high"].values[order] - mean
    axis.errorbar(x, mean, [low, high], color="#0072B2", marker="o", markersize=3, linestyle="", linewidth=1,
                  label="networks: mean with its interval")  # fmt: skip
    axis.plot(x, mean + spread, color="#0072B2", linewidth=0.9, linestyle="-.", label=r"networks: mean $\pm$ 2 sd")
    axis.plot(x, mean - spread, color="#0072B2", linewidth=0.9, linestyle="-.")
    axis.set(xlabel=r"angle from $x_0$ (rad)" if circle else "mean in the limit", ylabel=r"$f_t$")
    axis.set_title(f"width {row.width}, step {int(found.step.values[-1])}, evaluation points", fontsize=9)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def _along_training(axes: Any, found: xr.Dataset, part: pd.DataFrame) -> None:
    """Error and variance at the evaluation points against flow time, by width, beside the limit's."""
    colours = style.palette(sorted(part.width))
    inner = found.side.values == "eval"
    for row in part.itertuples():
        here, colour = found.isel(cell=row.place), colours[row.width]
        time = np.median(here["time"].values, axis=0)[1:]
        for axis, side in zip(axes, ("error", "variance"), strict=True):
            if side == "error":
                value, low, high = (here[f"error{e}"].sel(on="eval").values[1:] for e in ("", "_low", "_high"))
                limit = here["error_limit"].sel(on="eval").values[1:]
            else:
                value, limit = (
                    here[name].values[1:][:, inner].mean(axis=1) for name in ("f_variance", "f_variance_limit")
                )
                ends = (here[f"variance_ratio{e}"].sel(on="eval").values[1:] for e in ("", "_low", "_high"))
                middle, low, high = ends
                low, high = value * low / middle, value * high / middle
            axis.errorbar(time * 1.02 ** list(colours).index(row.width), value, [value - low, high - value],
                          color=colour, marker="o", markersize=3.5, linewidth=1,
                          label=f"width {row.width}")  # fmt: skip
            axis.plot(time, limit, color="black", linewidth=1.3, linestyle="--")
    for axis, label in zip(axes, ("mean squared error at the evaluation points",
                                  "variance over networks, mean over points"), strict=True):  # fmt: skip
        style.log(axis)
        axis.set(xlabel=r"flow time $t=\eta s k$", ylabel=label)
    handles, names = axes[0].get_legend_handles_labels()
    axes[0].legend([*handles, Line2D([], [], **style.LIMIT)], [*names, "infinite width"], fontsize=7, ncols=3,
                   loc="upper center", bbox_to_anchor=(0.5, -0.17))  # fmt: skip
