"""Figures of linear networks: every measured curve beside its exact one."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data

EXACT = {"color": "black", "linewidth": 1.1, "linestyle": "--", "zorder": 3}
NAMES = {"standard": "W trained", "ntk": "ntk"}


def cells_of(data: Data) -> tuple[xr.Dataset, pd.DataFrame]:
    """``linear`` and its cells as rows, with their place as ``cell``."""
    dataset = data["linear"]
    names = ["depth", "width", "parametrization", "scale", "eta"]
    return dataset, dataset[names].to_dataframe()[names].reset_index(drop=True).assign(
        cell=np.arange(dataset.sizes["cell"])
    )


def small(dataset: xr.Dataset, rows: pd.DataFrame) -> pd.DataFrame:
    """One cell of each depth in which everything was computed: that of the usual scale nearest to 1.

    Raises
    ------
    NothingToDraw: there is none.
    """
    rows = rows[np.isfinite(dataset["balance_flow"].values[rows.cell])]
    if rows.empty:
        raise style.NothingToDraw("it shows deep networks up to linear.flow_width; this study has none")
    rows = rows.assign(far=np.abs(np.log(rows.scale)), ntk=rows.parametrization == "ntk")
    return rows.sort_values(["depth", "ntk", "far", "width"], kind="stable").drop_duplicates("depth")


def known(dataset: xr.Dataset, groups: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Groups of rows in some of which not all networks diverged.

    Raises
    ------
    NothingToDraw: there is none.
    """
    groups = [group for group in groups if np.isfinite(dataset["drift_end"].values[group.cell]).any()]
    if not groups:
        raise style.NothingToDraw("it shows networks that did not diverge; in this study all did")
    return groups


def legend(figure, handles: list[Line2D], most: int) -> None:
    """A legend below, of as many columns as fit."""
    columns = max(2, min(most, int(figure.get_figwidth() / 1.5)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)


def modes(data: Data):
    """Singular values from balanced weights against time, by depth: descent (points), exact flow (lines)."""
    dataset, rows = cells_of(data)
    rows = small(dataset, rows)
    figure, axes = plt.subplots(1, len(rows), figsize=(1.0 + 3.4 * len(rows), 3.3), squeeze=False, sharey=True)
    values = dataset.singular_value.values
    colours = sns.color_palette("colorblind", len(values))
    for axis, (_, row) in zip(axes[0], rows.iterrows(), strict=True):
        part = dataset.isel(cell=row.cell)
        time = part["mode_time"].values
        for k, value in enumerate(values):
            axis.plot(time, part["mode_path"].values[:, k], "o", markersize=3.5, color=colours[k])
            axis.plot(part["curve_time"].values, part["mode_curve"].values[:, k], color=colours[k], linewidth=1.1)
            axis.axhline(value, color="0.8", linewidth=0.7, zorder=0)
        axis.set_xscale("log")
        style.readable_log(axis.xaxis)
        axis.set(title=f"{hidden(row.depth)}", xlabel="flow time $t$")
    axes[0][0].set_ylabel("singular value $s$ of $A$")
    handles = [
        Line2D([], [], color=colour, linewidth=3, label=f"$s^*$ = {value:g}")
        for colour, value in zip(colours, values, strict=True)
    ]
    handles += [Line2D([], [], color="0.3", marker="o", linestyle="", markersize=4, label="gradient descent"),
                Line2D([], [], color="0.3", label="exact, gradient flow")]  # fmt: skip
    legend(figure, handles, 5)
    return figure


def hidden(depth: int | np.integer) -> str:
    return f"{depth} hidden layer{'s' if depth != 1 else ''}"


def decay(data: Data):
    """Linear model: components of the error along eigenvectors against steps, by number of points."""
    dataset, rows = cells_of(data)
    rows = rows[rows.depth == 0]
    if rows.empty:
        raise style.NothingToDraw("it shows linear models (depth 0); this study has none")
    part = dataset.isel(cell=rows.cell.iloc[0])
    sizes, steps, dim = part.points.values, part.step.values, part.sizes["direction"]
    figure, axes = plt.subplots(1, len(sizes), figsize=(1.0 + 3.6 * len(sizes), 3.4), squeeze=False, sharey=True)
    colours = style.palette(range(dim))
    floor = 1e-12
    for axis, p in zip(axes[0], range(len(sizes)), strict=True):
        for k in range(dim):
            measured, exact = (np.abs(part[name].values[p, :, k]) for name in ("factor", "factor_exact"))
            if not np.isfinite(exact).all():
                continue
            shown = measured > floor
            axis.plot(steps[shown], measured[shown], "o", markersize=3, color=colours[k])
            axis.plot(steps, np.where(exact > floor / 10, exact, np.nan), color=colours[k], linewidth=1)
        axis.set(yscale="log", ylim=(floor, 3), xlim=(0, steps[-1] * 1.02), xlabel="step $k$")
        axis.set_title(f"{sizes[p]} points in {dim} dimensions", fontsize=9)
    axes[0][0].set_ylabel(r"$|q_i\cdot(w_k-w_\infty)|$ over its first value")
    handles = [
        Line2D([], [], color="0.3", marker="o", linestyle="", markersize=4, label="gradient descent"),
        Line2D([], [], color="0.3", label=r"exact, $|1-\eta\lambda_i|^k$"),
        Line2D([], [], color=colours[0], linewidth=3, label=r"largest $\lambda_i$"),
        Line2D([], [], color=colours[dim - 1], linewidth=3, label=rf"direction {dim}"),
    ]
    legend(figure, handles, 4)
    return figure


def orders(data: Data):
    """Change of the conserved matrices, and distance of descent from flow, against the step size."""
    dataset, rows = cells_of(data)
    known = np.isfinite(dataset["balance_flow"].values[rows.cell])
    rows = rows[known & (rows.parametrization == small(dataset, rows).parametrization.iloc[0])]
    figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.7))
    scales = sorted(set(rows.scale))
    colours, marks = style.palette(scales), dict(zip(sorted(set(rows.depth)), "osD^v", strict=False))
    rows = rows.drop_duplicates(["depth", "scale"])
    found = [np.isfinite(dataset[f"{name}_mean"].values[rows.cell]).any() for name in ("balance", "flow_gap")]
    if not all(found):
        raise style.NothingToDraw("it shows networks that did not diverge; in this study all did")
    for axis, name in zip(axes, ("balance", "flow_gap"), strict=True):
        for _, row in rows.iterrows():
            part = dataset.isel(cell=row.cell)
            middle, low, high = (part[f"{name}_{end}"].values for end in ("mean", "low", "high"))
            axis.errorbar(part["step_size"].values, middle, style.bars(middle, low, high), color=colours[row.scale],
                          marker=marks.get(row.depth, "o"), markersize=4, linewidth=1)  # fmt: skip
        style.log(axis)
        axis.set_xlabel(r"step size $\eta$")
    ends = np.array(axes[0].get_xlim())
    for axis in axes:
        lines = [line.get_xydata() for line in axis.lines if len(line.get_xydata()) > 2]
        top = max(line[:, 1].max() / line[:, 0].max() for line in lines)
        axis.plot(ends, 1.5 * top * ends, **EXACT)
        axis.set_xlim(ends)
    axes[0].set_ylabel(r"change of $W_{l+1}^TW_{l+1}-W_lW_l^T$, relative")
    axes[1].set_ylabel(r"$|A_{\rm descent}-A_{\rm flow}|_F/|A^*|_F$")
    worst = float(np.nanmax(dataset["balance_flow"].values))
    axes[0].set_title(f"the flow conserves it to {worst:.0e}", fontsize=9)
    handles = [Line2D([], [], color=c, linewidth=3, label=f"scale {s:g}") for s, c in colours.items()]
    handles += [Line2D([], [], color="0.3", marker=m, linestyle="", label=hidden(d)) for d, m in marks.items()]
    handles.append(Line2D([], [], label=r"slope 1", **EXACT))
    legend(figure, handles, 4)
    return figure


def linear_drift(data: Data):
    """Drift of the kernel at the end against the initial scale, by width, with that of infinite width."""
    dataset, rows = cells_of(data)
    rows = rows[(rows.depth > 0) & (rows.parametrization == "standard")]
    groups = [g for _, g in rows.groupby("depth") if g.scale.nunique() > 1]
    if not groups:
        raise style.NothingToDraw(
            "it shows drift against the initial scale where W is trained; this study has one scale"
        )
    groups = known(dataset, groups)
    figure, axes = plt.subplots(1, len(groups), figsize=(1.0 + 3.6 * len(groups), 3.6), squeeze=False)
    widths = sorted({w for g in groups for w in g.width})
    colours = style.palette(widths)
    for axis, group in zip(axes[0], groups, strict=True):
        for n, (width, part) in enumerate(group.groupby("width")):
            part = part.sort_values("scale")
            at = part.scale.to_numpy() * 1.01 ** (2 * n - group.width.nunique() + 1)
            middle, low, high = (dataset[f"drift_end{end}"].values[part.cell] for end in ("", "_low", "_high"))
            axis.errorbar(at, middle, style.bars(middle, low, high), color=colours[width], marker="o", markersize=4,
                          linewidth=1)  # fmt: skip
        limit = group.sort_values("scale").drop_duplicates("scale")
        axis.plot(limit.scale, dataset["drift_limit"].values[limit.cell], **style.LIMIT)
        style.log(axis)
        axis.set(title=hidden(group.depth.iloc[0]), xlabel="scale of the initial weights")
    axes[0][0].set_ylabel("$|K_t-K_0|_F/|K_0|_F$ at the end")
    handles = [Line2D([], [], color=c, marker="o", label=f"width {w}") for w, c in colours.items()]
    handles.append(Line2D([], [], label="infinite width", **style.LIMIT))
    legend(figure, handles, 5)
    return figure


def linear_width(data: Data):
    """Distance of the learned map from infinite width, and of the drift, against width."""
    dataset, rows = cells_of(data)
    rows = rows[(rows.depth > 0) & (rows.width > 0)]
    groups = [g for _, g in rows.groupby(["depth", "parametrization", "scale"], sort=False) if g.width.nunique() > 1]
    if not groups:
        raise style.NothingToDraw("it shows distances from infinite width; this study has one width")
    groups = known(dataset, groups)
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.1))
    scales = sorted({g.scale.iloc[0] for g in groups})
    colours, depths = style.palette(scales), sorted({g.depth.iloc[0] for g in groups})
    marks = dict(zip(depths, "osD^v", strict=False))
    for group in groups:
        row = group.iloc[0]
        ntk = row.parametrization == "ntk"
        look = {"color": colours[row.scale], "marker": marks.get(row.depth, "o"), "markersize": 4.5,
                "linewidth": 1, "linestyle": ":" if ntk else "-",
                "markerfacecolor": "white" if ntk else colours[row.scale]}  # fmt: skip
        group = group.sort_values("width")
        for axis, stem, mean in ((axes[0], "limit_error", "limit_error"), (axes[1], "drift_end", "drift_end")):
            middle, low, high = (dataset[name].values[group.cell] for name in (mean, f"{stem}_low", f"{stem}_high"))
            axis.errorbar(group.width, middle, style.bars(middle, low, high), **look)
        limit = dataset["drift_limit"].values[group.cell]
        if (limit > 0).all():
            axes[1].plot(group.width, limit, color=colours[row.scale], linestyle="--", linewidth=1)
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(sorted(set(rows.width)), [str(w) for w in sorted(set(rows.width))])
        axis.minorticks_off()
        style.readable_log(axis.yaxis)
        axis.set_xlabel("width $n$")
    ends = np.array([rows.width.min(), rows.width.max()], dtype=float)
    top = np.nanmax([dataset["limit_error"].values[g.cell[g.width.idxmin()]] for g in groups] + [1e-12])
    axes[0].plot(ends, 1.6 * top * (ends / ends[0]) ** -0.5, **EXACT)
    axes[0].set_ylabel(r"largest $|A_t-A_t^\infty|_F/|A^*|_F$")
    axes[1].set_ylabel("$|K_t-K_0|_F/|K_0|_F$ at the end")
    handles = [Line2D([], [], color=c, linewidth=3, label=f"scale {s:g}") for s, c in colours.items()]
    handles += [Line2D([], [], color="0.3", marker=m, linestyle="", label=hidden(d)) for d, m in marks.items()]
    if (rows.parametrization == "ntk").any():
        handles.append(Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linestyle=":", label="ntk"))
    handles += [Line2D([], [], label="$n^{-1/2}$ (left); infinite width (right)", **EXACT)]
    legend(figure, handles, 4)
    return figure


def label_noise(data: Data):
    """Linear model: distance from the teacher against steps, by number of points and start, with its expectation."""
    dataset, rows = cells_of(data)
    rows = rows[rows.depth == 0]
    if rows.empty:
        raise style.NothingToDraw("it shows linear models (depth 0); this study has none")
    part = dataset.isel(cell=rows.cell.iloc[0])
    sizes, steps, dim = part.points.values, part.step.values, part.sizes["direction"]
    figure, axes = plt.subplots(1, len(sizes), figsize=(1.0 + 3.5 * len(sizes), 3.4), squeeze=False, sharey=True)
    colours = dict(zip(part.start.values, sns.color_palette("colorblind"), strict=False))
    for axis, p in zip(axes[0], range(len(sizes)), strict=True):
        for s, (start, colour) in enumerate(colours.items()):
            at = np.where(steps > 0, steps, 0.7) * 1.02 ** (2 * s - 1)
            middle, low, high = (part[f"teacher_error{end}"].values[p, s] for end in ("", "_low", "_high"))
            axis.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(at, middle, color=colour, marker="o", markersize=3, linewidth=1, label=f"from {start}")
            axis.plot(at, part["teacher_error_exact"].values[p, s], **EXACT)
        axis.set(xlabel="step $k$ (leftmost: 0)")
        axis.set_title(f"{sizes[p]} points in {dim} dimensions", fontsize=9)
        style.log(axis)
    axes[0][0].set_ylabel(r"$|w_k-w^*|^2$, $w^*$ the teacher")
    handles = [Line2D([], [], color=c, marker="o", label=f"from {start}") for start, c in colours.items()]
    handles.append(Line2D([], [], label="exact expectation", **EXACT))
    legend(figure, handles, 3)
    return figure


FIGURES = {
    "modes": modes,
    "decay": decay,
    "orders": orders,
    "linear_drift": linear_drift,
    "linear_width": linear_width,
    "label_noise": label_noise,
}
