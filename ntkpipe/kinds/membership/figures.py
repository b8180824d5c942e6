"""Figures of membership: norms against the number of points, and what becomes of them as the biases go to zero."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.networks import SETTINGS

SAID = {
    "smooth": r"smooth: $\cos\theta+\cos 2\theta$",
    "odd": r"odd: $\cos 3\theta$",
    "step": "step: 1 on an arc, -1 elsewhere",
}
COLOURS = {"start": "#0072B2", "trained": "#D55E00"}
NAMES = {"start": "$K_0$", "trained": "$K_t$, trained on the target"}
ENDS = ("estimate", "low", "high")
SPACES = {
    "trained in start": "$H_t$ in $H_0$: $K_t \\leq c\\,K_0$",
    "start in trained": "$H_0$ in $H_t$: $K_0 \\leq c\\,K_t$",
    "redrawn in start": "redrawn $H_0'$ in $H_0$: $K_0' \\leq c\\,K_0$",
}
MOST = 5
"""Cells shown at once."""


def cells_of(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a cell of equal hidden widths, with its place as ``cell``, of the setting that most cells share.

    Cells then differ in depth, width and biases alone, their training being the usual one too.

    Raises
    ------
    NothingToDraw: there is none.
    """
    frame = dataset.drop_dims([dim for dim in dataset.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    frame = frame.assign(cell=np.arange(len(frame)))
    frame = frame[(frame.width > 0) & (frame.depth > 0)]
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    same = [*(name for name in SETTINGS if name not in ("bias_init", "sigma_b")), "train_points", "steps"]
    groups = frame.groupby(same, sort=False)
    return groups.get_group(groups.size().idxmax())


def few(frame: pd.DataFrame) -> pd.DataFrame:
    """Up to ``MOST`` cells: of the usual width those of each depth with the weakest and the strongest biases.

    And the widest cell, where another width has more cells: how far the usual one is from the limit.
    """
    usual = usual_width(frame)
    usual = usual.assign(strength=np.where(usual.bias_init == "none", 0.0, usual.sigma_b))
    usual = usual.sort_values(["depth", "strength"], kind="stable")
    ends = usual.groupby("depth").nth([0, -1])
    wider = frame[frame.width > usual.width.max()].nlargest(1, "width")
    most = min(MOST - len(wider), len(ends))
    ends = ends.iloc[np.unique(np.linspace(0, len(ends) - 1, most).round().astype(int))]
    return pd.concat([ends, wider])


def usual_width(frame: pd.DataFrame) -> pd.DataFrame:
    """The cells of the width that most cells have, of several the widest."""
    counts = frame.groupby("width").size()
    return frame[frame.width == counts[counts == counts.max()].index.max()]


def training(dataset: xr.Dataset, rows: pd.DataFrame) -> str:
    """How the networks shown were trained, and the ridge of what is shown of them."""
    ridge = float(dataset.diag_reg)
    said = f"{rows.steps.iloc[0]} steps of gradient descent on {rows.train_points.iloc[0]} points"
    return said + (rf"; with the ridge $\lambda$ = {ridge:g} tr$K_N/N$" if ridge else "")


def biases(row: pd.Series) -> str:
    """The biases of a cell in words."""
    scale = rf"$\sigma_b$ = {row.sigma_b:g}"
    return {"none": "no biases", "zero": scale, "normal": f"random biases, {scale}"}[row.bias_init]


def norm_growth(data: Data):
    """Norm against N for each target (columns) and up to five cells (rows): K_0, K_t and the limit kernel."""
    dataset = data["membership"].isel(diag_reg=0)
    rows, names, sizes = few(cells_of(dataset)), list(dataset.target.values), dataset.points.values
    figure, axes = plt.subplots(
        len(rows), len(names), figsize=(1.2 + 3.0 * len(names), 0.9 + 2.3 * len(rows)), squeeze=False, sharex=True
    )
    for line, (_, row) in zip(axes, rows.iterrows(), strict=True):
        for axis, name in zip(line, names, strict=True):
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            _norms(axis, dataset.isel(cell=row.cell).sel(target=name))
            axis.set_xticks(sizes, [str(n) for n in sizes])
            style.readable_log(axis.yaxis)
        line[0].set_ylabel(f"depth {row.depth}, width {row.width}\n{biases(row)}\n" + r"$y^T K_N^{-1} y$")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(SAID[name], fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("number of points N")
    handles = [Line2D([], [], color=COLOURS[k], marker="o", label=NAMES[k]) for k in COLOURS]
    handles.append(Line2D([], [], label="infinite width", **style.LIMIT))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(training(dataset, rows), fontsize=9)
    return figure


def _norms(axis, part: xr.Dataset) -> None:
    """Norms of one cell and target; in words where K_N is singular on it."""
    sizes, notes = part.points.values, []
    axis.plot(sizes, part["norm_limit"].values, **style.LIMIT)
    if part["singular_limit"].values.any():
        notes.append(f"limit: singular from N = {sizes[part['singular_limit'].values.argmax()]} on")
    for k, kernel in enumerate(COLOURS):
        here = part.sel(kernel=kernel)
        middle, low, high = (here[f"norm_{end}"].values for end in ("mean", "low", "high"))
        gone = here["singular"].values.sum(axis=0)
        axis.errorbar(
            sizes * 1.03 ** (2 * k - 1),
            middle,
            style.bars(middle, low, high),
            color=COLOURS[kernel],
            marker="o",
            markersize=4,
            linewidth=1.1,
        )
        if gone.any():
            first = int(np.argmax(gone > 0))
            later = f", {gone[-1]} at {sizes[-1]}" if gone[-1] != gone[first] else " on"
            name, runs = NAMES[kernel].split(",")[0], len(here.seed)
            notes.append(f"{name}: singular in {gone[first]} of {runs} from N = {sizes[first]}{later}")
    axis.text(0.03, 0.97, "\n".join(notes), transform=axis.transAxes, va="top", fontsize=6.2)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** (0.12 * len(notes)))


def membership_sigma_b(data: Data):
    """Norm on the finest points against sigma_b, for each target; biases that start at zero, and none."""
    dataset = data["membership"].isel(diag_reg=0, points=-1)
    frame = cells_of(dataset)
    frame = usual_width(frame)
    frame = frame[frame.bias_init != "normal"]
    scales = sorted(set(frame.sigma_b[frame.bias_init == "zero"]))
    if len(scales) < 2:
        raise style.NothingToDraw("it shows norms against sigma_b; this study has fewer than two of biases from zero")
    none = scales[0] ** 2 / scales[1]
    frame = frame.assign(at=np.where(frame.bias_init == "none", none, frame.sigma_b)).sort_values("at")
    names, depths = list(dataset.target.values), sorted(set(frame.depth))
    colours = style.palette(depths)
    figure, axes = plt.subplots(1, len(names), figsize=(1.2 + 3.1 * len(names), 3.6), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        notes = []
        for depth, rows in frame.groupby("depth"):
            part = dataset.isel(cell=rows.cell.to_numpy()).sel(target=name)
            for k, (kernel, filled) in enumerate((("start", True), ("trained", False))):
                here = part.sel(kernel=kernel)
                middle, low, high = (here[f"norm_{end}"].values for end in ("mean", "low", "high"))
                axis.errorbar(
                    rows["at"] * 1.04 ** (2 * k - 1),
                    middle,
                    style.bars(middle, low, high),
                    color=colours[depth],
                    marker="o",
                    markersize=5,
                    linewidth=1,
                    linestyle="-" if filled else ":",
                    markerfacecolor=colours[depth] if filled else "white",
                )
            axis.plot(rows["at"], part["norm_limit"].values, color=colours[depth], linestyle="--", linewidth=1.3)
            singular = part["singular_limit"].values.astype(bool)
            notes += [f"depth {depth}, {biases(row)}: singular" for _, row in rows[singular].iterrows()]
        axis.set(xscale="log", yscale="log", xlabel=r"$\sigma_b$")
        axis.set_title(SAID[name], fontsize=9)
        ticks = sorted(set(frame["at"]))
        axis.set_xticks(ticks, ["none" if (t == none and none not in scales) else f"{t:g}" for t in ticks])
        axis.minorticks_off()
        style.readable_log(axis.yaxis)
        axis.text(0.97, 0.97, "\n".join(notes), transform=axis.transAxes, va="top", ha="right", fontsize=6.5)
    axes[0][0].set_ylabel(rf"$y^T K_N^{{-1}} y$, N = {int(dataset.points)}")
    handles = [Line2D([], [], color=c, linewidth=3, label=f"depth {d}") for d, c in colours.items()]
    handles += [Line2D([], [], color="0.3", marker="o", label="$K_0$"),
                Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linestyle=":", label="$K_t$"),
                Line2D([], [], color="0.3", linestyle="--", label="infinite width")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(f"width {frame.width.iloc[0]}, {training(dataset, frame)}", fontsize=9)
    return figure


def inclusion(data: Data):
    """Inclusion constants against N, after training on the last target: K_t in K_0, K_0 in K_t, and K_0 redrawn."""
    dataset, growth = data["membership"].isel(diag_reg=0), data["growth"]
    target = dataset.target.values[-1]
    cells = cells_of(dataset)
    regular = np.isfinite(dataset["inclusion"].sel(target=target)).any(dim=("seed", "space", "points")).values
    rows = few(cells[regular[cells.cell]])
    known = ["depth", "width", "bias_init", "sigma_b", "train_points", "steps"]
    values = growth[["of", "quantity", "target", "diag_reg", "kernel", "points_max", *known, *ENDS]].to_dataframe()
    values = values[(values.of == "inclusion") & (values.quantity == "value") & (values.target == target)]
    values = values[values.diag_reg == float(dataset.diag_reg)]
    figure, axes = plt.subplots(1, len(SPACES), figsize=(10.0, 3.9), sharey=True)
    colours = sns.color_palette("colorblind", len(rows))
    for axis, (space, title) in zip(axes, SPACES.items(), strict=True):
        for k, (_, cell) in enumerate(rows.iterrows()):
            here = values[(values[known] == cell[known]).all(axis=1) & (values.kernel == space)]
            here = here[np.isfinite(here.estimate)].sort_values("points_max")
            at = here.points_max.to_numpy() * 1.02 ** (2 * k - len(rows) + 1)
            axis.errorbar(at, here.estimate, style.bars(*(here[end].to_numpy() for end in ENDS)), color=colours[k],
                          marker="o", markersize=4, linewidth=1.2)  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(dataset.points.values, [str(n) for n in dataset.points.values])
        axis.axhline(1.0, color="0.7", linewidth=0.8, zorder=0)
        axis.set_xlabel("number of points N")
        axis.set_title(title, fontsize=9)
    style.readable_log(axes[0].yaxis)
    axes[0].set_ylabel(f"smallest $c$, after training on the {target} target")
    handles = [
        Line2D([], [], color=colours[k], marker="o", label=f"depth {cell.depth}, width {cell.width}, {biases(cell)}")
        for k, (_, cell) in enumerate(rows.iterrows())
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(training(dataset, rows), fontsize=9)
    return figure


FIGURES = {"norm_growth": norm_growth, "inclusion": inclusion, "membership_sigma_b": membership_sigma_b}
