"""The main figure of a first step: the published order and its constant, gate flips by width, the linear regime."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.networks import SETTINGS
from ntkpipe.theory.first_step import hanin_nica_ratio_limit

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Labels of the train point."""


def _rows(dataset) -> pd.DataFrame:
    dims = [dim for dim in dataset.dims if dim not in ("cell", "row")]
    return dataset.drop_dims(dims).to_dataframe().reset_index(drop=True)


def cells_of(data: Data, name: str = "first_step") -> pd.DataFrame:
    frame = _rows(data[name])
    frame = frame[(frame.width > 0) & (frame.depth > 0)].sort_values("beta")
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    return frame


def base_curve(frame: pd.DataFrame) -> pd.DataFrame:
    """The curve over beta: the settings (without biases where there are such cells) that most drawn cells share."""
    if "none" in set(frame.bias_init):
        frame = frame[frame.bias_init == "none"]
    settings = ["eta_unit", "eta", "label", *SETTINGS]
    drawn = frame[frame.delta_ntk_mean.notna()] if "delta_ntk_mean" in frame else frame
    groups = (drawn if len(drawn) else frame).groupby(settings, sort=False)
    chosen = groups.get_group(groups.size().idxmax()).iloc[0]
    return frame[(frame[settings] == chosen[settings]).all(axis=1)]


def resolved(curve: pd.DataFrame, name: str) -> pd.Series:
    """Where a theory value is known: always if exact, if predicted by sampling where its interval is within a half."""
    if name != "flip_predicted":
        return curve[name].notna()
    return (curve.flip_predicted_high - curve.flip_predicted_low) < curve.flip_predicted.abs()


def errors(value, low, high):
    return [np.maximum(value - low, 0), np.maximum(high - value, 0)]


def points(axis, x, value, low, high, flagged, colour, marker="o", line=""):
    """Estimates with intervals; hollow and pale where flagged."""
    if line:
        axis.plot(x, value, line, color=colour, linewidth=0.9)
    for part, face, alpha in ((~flagged, colour, 1.0), (flagged, "white", 0.4)):
        axis.errorbar(
            x[part], value[part], yerr=[e[part] for e in errors(value, low, high)], fmt=marker, color=colour,
            markerfacecolor=face, alpha=alpha, markersize=4, linewidth=1,
        )  # fmt: skip


def step_answer(data: Data):
    """The answer: the published order with its constant, share of flips by width, and where linearity ends."""
    cells = cells_of(data)
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.2))
    with_order = _published(axes[0], cells)
    with_share = _shares(axes[1], cells)
    with_eta = _departures(axes[2], cells, cells_of(data, "scaling"))
    if not (with_order or with_share or with_eta):
        plt.close(figure)
        raise style.NothingToDraw("it shows ReLU networks without random biases, at absolute step sizes")
    for axis, drawn in zip(axes, (with_order, with_share, with_eta), strict=True):
        if not drawn:
            axis.text(0.5, 0.5, "no such cells in this study", ha="center", transform=axis.transAxes, color="0.4")
    return figure


def _published(axis, cells: pd.DataFrame) -> bool:
    """-E[DeltaK]/(eta E[K]) over (d beta |x|^2/n_0) exp(5 beta): derivative as lines, whole step as points."""
    axis.set(xlabel=r"$\beta$ = depth/width", title="published order, with its constant")
    axis.set_ylabel(r"$-E[\Delta K]/(\eta\,E[K_0])\;\div\;(d\beta|x|^2/n_0)\,e^{5\beta}$")
    cells = cells[cells.scaling_ratio_exact.notna() & (cells.bias_init == "none") & (cells.readout == "trained")]
    if cells.empty:
        return False
    colours = style.palette(set(cells.width))
    for width, curve in cells.groupby("width"):
        line = curve.drop_duplicates("beta")
        axis.plot(line.beta, line.scaling_ratio_exact, color=colours[width], linewidth=1)
    drawn = cells[cells.scaling_ratio.notna()]
    drawn = drawn[drawn.eta == drawn.eta.mode().iloc[0]] if len(drawn) else drawn
    labels = sorted(set(drawn.label))
    for (width, label), part in drawn.groupby(["width", "label"]):
        ends = (part[f"scaling_ratio{end}"] for end in ("", "_low", "_high"))
        points(axis, part.beta, *ends, part.undersampled == 1, colours[width], MARKERS[labels.index(label) % 6])
    grid = np.geomspace(cells.beta.min() / 1.3, cells.beta.max(), 200)
    axis.plot(grid, hanin_nica_ratio_limit(grid), **style.LIMIT)
    axis.set(xscale="log", yscale="log")
    style.readable_log(axis.xaxis)
    style.readable_log(axis.yaxis)
    handles = [Line2D([], [], color=c, label=f"width {w}") for w, c in colours.items()]
    handles += [Line2D([], [], **style.LIMIT, label=r"limit, 4/3 to $2/(3\beta)$")]
    handles += [
        Line2D(
            [],
            [],
            color="0.3",
            marker=MARKERS[i % 6],
            linestyle="",
            markersize=4,
            label=rf"step of $\eta$ = {drawn.eta.iloc[0]:g}, y = {label}",
        )
        for i, label in enumerate(labels)
    ]
    handles += [Line2D([], [], color="0.3", label="derivative, exact")]
    axis.legend(handles=handles, fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return True


def _shares(axis, cells: pd.DataFrame) -> bool:
    """Share of gate flips against width, by beta and label; dashed: all beyond the derivative in a finite step."""
    axis.set(xlabel="width", title="share of gate flips in the change", ylabel=r"share of $E[\Delta K]$")
    cells = cells[cells.flip_share.notna()]
    if cells.empty:
        return False
    base = base_curve(cells).iloc[0]
    for name in ("eta", *SETTINGS, "engine"):
        cells = cells[cells[name] == base[name]]
    counts = cells.groupby("beta").width.nunique()
    betas, labels = sorted(counts[counts >= min(2, counts.max())].index), sorted(set(cells.label))
    colours = dict(zip(betas, sns.color_palette("flare", len(betas)), strict=True))
    for (beta, label), part in cells[cells.beta.isin(betas)].groupby(["beta", "label"]):
        part, marker = part.sort_values("width"), MARKERS[labels.index(label) % 6]
        ends = (part[f"flip_share{end}"] for end in ("", "_low", "_high"))
        points(axis, part.width, *ends, part.undersampled == 1, colours[beta], marker, "-")
        trusted = part.undersampled == 0
        axis.plot(part.width[trusted], part.rest_share[trusted], "--", color=colours[beta], linewidth=0.9)
    axis.axhline(0.5, color="0.6", linewidth=0.8)
    widths = sorted(set(cells.width))
    axis.set(xscale="log", ylim=(0, 1))
    axis.set_xticks(widths, [str(w) for w in widths])
    axis.minorticks_off()
    handles = [Line2D([], [], color=c, label=rf"$\beta$ = {b:g}") for b, c in colours.items()]
    handles += [
        Line2D([], [], color="0.3", marker=MARKERS[i % 6], linestyle="", markersize=4, label=f"y = {label}")
        for i, label in enumerate(labels)
    ]
    handles += [Line2D([], [], color="0.3", marker=".", label=r"jump sum, $\eta \to 0$")]
    handles += [Line2D([], [], color="0.3", linestyle="--", label=rf"beyond derivative, $\eta$ = {base.eta:g}")]
    axis.legend(handles=handles, fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return True


def _departures(axis, cells: pd.DataFrame, scaling: pd.DataFrame) -> bool:
    """E[DeltaK]/eta over its first-order value against eta, with the interval of eta*."""
    axis.set(xlabel=r"step size $\eta$", title=r"where a step stops being linear in $\eta$")
    axis.set_ylabel(r"$E[\Delta K]/\eta\;\div$ first order")
    scaling = scaling[(scaling.eta_unit == "absolute") & scaling.eta_star.notna()]
    scaling = scaling.drop_duplicates(["width", "depth", "label"]).head(4)
    if scaling.empty:
        return False
    colours = sns.color_palette("deep", len(scaling))
    settings = ["width", "depth", "label", "eta_unit", *SETTINGS, "engine"]
    handles = []
    for colour, (_, row), marker in zip(colours, scaling.iterrows(), MARKERS, strict=False):
        part = cells[(cells[settings] == row[settings]).all(axis=1)].sort_values("eta")
        first = (part.delta_ntk_exact + part.flip_predicted) / part.eta
        slope = first.mean() if first.notna().all() else (part.linear_mean / part.eta).mean()
        value, low, high = (part[c] / part.eta / slope for c in ("delta_ntk_mean", "delta_ntk_high", "delta_ntk_low"))
        points(axis, part.eta, value, low, high, part.undersampled == 1, colour, marker, "-")
        ends = np.minimum([row.eta_star_low, row.eta_star, row.eta_star_high], part.eta.max())
        height = 0.04 + 0.05 * len(handles)
        axis.plot(ends[[0, 2]], [height] * 2, color=colour, linewidth=2, transform=axis.get_xaxis_transform())
        axis.plot(ends[1], height, "|", color=colour, markersize=9, transform=axis.get_xaxis_transform())
        star = f"$\\eta^*$ = {row.eta_star:.2g}" if np.isfinite(row.eta_star) else f"$\\eta^*$ > {row.eta_max:g}"
        handles.append(
            Line2D([], [], color=colour, marker=marker, markersize=4,
                   label=f"width {row.width}, depth {row.depth}, y = {row.label}: {star}")
        )  # fmt: skip
    axis.axhline(1, color="0.4", linewidth=0.8)
    axis.set(xscale="log", ylim=(min(axis.get_ylim()[0], 0), None))
    style.readable_log(axis.xaxis)
    axis.legend(
        handles=handles,
        fontsize=6.5,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        title=r"bars below: $\eta^*$ with its interval",
        title_fontsize=6.5,
    )
    return True
