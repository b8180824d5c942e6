"""Figures of a density: eigenfunctions of T_p and their local frequency, and times to fit by region."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.eigenmodes.report_words import setting, varying

COLOURS = {"dense": "#0072B2", "sparse": "#D55E00", "all": "0.35"}
SHOWN = (4, 10, 18)
"""Numbers of the eigenfunctions shown."""


def eigenfunctions(data: Data):
    """The density, some eigenfunctions of T_p, and local frequency by mode on the dense and the sparse arc."""
    dataset = data["density"]
    uneven = [i for i, p in enumerate(dataset["density"].values) if p != "uniform"]
    shown = list({dataset["density"].values[i]: i for i in reversed(uneven)}.values())[::-1][:3]
    if not shown:
        raise style.NothingToDraw("it shows eigenfunctions under densities that are not uniform; this study has none")
    figure, axes = plt.subplots(
        len(shown), 2, figsize=(9.4, 0.8 + 3.5 * len(shown)), squeeze=False, width_ratios=(3, 2)
    )
    theta = dataset["angle"].values
    for (left, right), i in zip(axes, shown, strict=True):
        part = dataset.isel(cell=i)
        p = part["density_at"].values
        left.fill_between(theta, 0, 2 * np.pi * p, color="0.88", linewidth=0)
        known = [n for n in SHOWN if n < part.sizes["mode"] and part["eigenvalue"].values[n] > 0]
        colours = style.palette(known)
        for k, n in enumerate(known):
            left.plot(theta, 3.2 * (k + 1) + part["function"].values[n], color=colours[n], linewidth=1.1)
            left.text(2 * np.pi + 0.1, 3.2 * (k + 1), f"$u_{{{n}}}$", color=colours[n], va="center")
        left.set_yticks([0, 1], ["0", "1"])
        left.set_xticks(np.pi * np.arange(5) / 2, ["0", r"$\pi/2$", r"$\pi$", r"$3\pi/2$", r"$2\pi$"])
        left.set(xlim=(0, 2 * np.pi), xlabel=r"$\theta$", ylabel=r"$2\pi p(\theta)$; $u_i(\theta)$, shifted")
        left.set_title(f"{part['density'].values!s}; depth {int(part['depth'])}", fontsize=9)
        for name in ("dense", "sparse"):
            colour = COLOURS[name]
            right.plot(part["mode"], np.pi * part[f"frequency_{name}"], "o", color=colour, markersize=4)
            if float(part["local"]):
                right.plot(part["mode"], np.pi * part[f"predicted_{name}"], color=colour, linestyle="--", linewidth=1.3)
        right.set(xlabel="mode i", ylabel=r"local wave number on the arc (rad$^{-1}$)")
        right.set_ylim(bottom=0)
    handles = [Line2D([], [], color=COLOURS[n], marker="o", linewidth=0, label=f"{n} arc") for n in ("dense", "sparse")]
    handles.append(Line2D([], [], color="0.3", linestyle="--", label=r"$(-2k'(0)\,p/\lambda_i)^{1/2}$"))
    handles.append(Line2D([], [], color="0.88", linewidth=7, label=r"density $2\pi p$"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def fit_times(data: Data):
    """Time to fit each frequency on dense and sparse regions, and everywhere under the uniform density."""
    fits = data["fits"].to_dataframe().reset_index(drop=True)
    rows = fits[(fits.quantity == "fit_time") & (fits.width > 0) & np.isfinite(fits.predicted)]
    cells = rows[rows.region == "dense"]
    if cells.empty:
        raise style.NothingToDraw("it shows times on dense and sparse regions; every density of this study is uniform")
    names = varying(fits[fits.quantity == "bend"])
    widest = cells[cells.scale == cells.scale.min()]
    widest = widest.sort_values("width", kind="stable").drop_duplicates("density", keep="last")
    shown = list(widest.itertuples())[:3]
    figure, axes = plt.subplots(
        1, len(shown), figsize=(max(6.8, 1.4 + 3.9 * len(shown)), 4.3), squeeze=False, sharey=True
    )
    for axis, cell in zip(axes[0], shown, strict=True):
        same = rows[(rows.depth == cell.depth) & (rows.width == cell.width) & (rows.scale == cell.scale)]
        same = same[(same.train_points == cell.train_points) & (same.bias_init == cell.bias_init)]
        uneven, even = same[same.density == cell.density], same[same.density == "uniform"]
        for k, name in enumerate(COLOURS):
            part = (even if name == "all" else uneven[uneven.region == name]).sort_values("frequency")
            part = part[part.region == name]
            if part.empty:
                continue
            at = part.frequency * 1.015 ** (k - 1)
            lengths = style.bars(part.estimate, part.low, part.high)
            axis.errorbar(at, part.estimate, lengths, color=COLOURS[name], marker="o", markersize=5, linewidth=0,
                          elinewidth=1)  # fmt: skip
            axis.plot(part.frequency, part.predicted, color=COLOURS[name], linewidth=1.2)
            axis.plot(part.frequency, part.local, color=COLOURS[name], linewidth=1.2, linestyle=":")
        style.log(axis)
        q = sorted(set(uneven.frequency))
        axis.set_xticks(q, [str(n) for n in q])
        axis.minorticks_off()
        axis.set_xlabel("frequency q of the target")
        words = setting(cell, names).split(", ")
        axis.set_title(", ".join(words[:3]) + "\n" + ", ".join(words[3:]), fontsize=8)
    axes[0][0].set_ylabel(r"time to fit, $\eta s N t$")
    said = {"dense": "dense region", "sparse": "sparse region", "all": "uniform density"}
    handles = [Line2D([], [], color=c, marker="o", linewidth=0, label=said[n]) for n, c in COLOURS.items()]
    handles += [Line2D([], [], color="0.3", label="limit kernel on the same points"),
                Line2D([], [], color="0.3", linestyle=":",
                       label=r"$\log(1/\mathrm{share})\,q^2/(-2k'(0)p)$")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure
