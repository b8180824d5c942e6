"""Figures of K(x, x) at initialization against beta."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.initialization import figures_gram
from ntkpipe.theory import limit


def _curves(data: Data) -> pd.DataFrame:
    """Cells with layers of one width, drawn or exact, with the panel that each belongs to."""
    frame = data["moments"].to_dataframe().reset_index()
    frame["panel"] = style.panels(frame)
    return frame[(frame.width > 0) & (frame.depth > 0)].sort_values("beta")


def _panels(frame: pd.DataFrame, data: Data):
    """One subplot for each panel, three in a row, common axes; says how many cells no panel can show."""
    if frame.empty:
        raise style.NothingToDraw("it shows cells with layers of one width; this study has none to show")
    values = list(dict.fromkeys(frame.sort_index().panel))
    columns, rows = min(len(values), 3), -(-len(values) // 3)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.0 + 3.1 * columns, 3.7 * rows), sharey=True, sharex=True, squeeze=False
    )
    for spare in axes.flat[len(values) :]:
        spare.set_visible(False)
    varying = int((data["moments"].width.values == 0).sum() - (data["moments"].depth.values == 0).sum())
    if varying > 0:
        figure.suptitle(f"{varying} cells whose widths vary by layer are in the tables only", fontsize=8)
    return figure, list(zip(values, axes.flat, strict=False))


def _points(axis, part: pd.DataFrame, colours: dict, scale) -> None:
    """Estimates with intervals: filled where trusted, hollow and pale where undersampled, diamonds where guided."""
    part = part[(part.n_samples > 0) & np.isfinite(part.s2)]
    for (width, sampling, flagged), cells in part.groupby(["width", "sampling", "undersampled"]):
        factor = scale(cells.beta)
        y, low, high = cells.s2 * factor, cells.s2_low * factor, cells.s2_high * factor
        colour = colours[width]
        axis.vlines(cells.beta, low, high, color=colour, linewidth=1.1, alpha=0.2 if flagged else 1.0, zorder=3)
        axis.plot(
            cells.beta,
            y,
            "D" if sampling == "guided" else "o",
            color=colour,
            markerfacecolor="white" if flagged else colour,
            markersize=4.2,
            linestyle="",
            zorder=4,
        )


def _legend(figure, colours: dict, frame: pd.DataFrame, lines: list[Line2D]) -> None:
    handles = [
        Line2D([], [], color=c, marker="o", markersize=4, linewidth=1.1, label=f"width {w}") for w, c in colours.items()
    ]
    if len(colours) > 0:
        kinds = [("o", "0.3", "0.3", "Monte Carlo, 95 % interval")]
        if (frame.undersampled == 1).any():
            kinds.append(("o", "0.3", "white", "undersampled: interval not to be trusted"))
        if (frame.sampling == "guided").any():
            kinds.append(("D", "0.3", "0.3", "importance-sampled"))
        handles += [
            Line2D([], [], linestyle="", marker=m, color=c, markerfacecolor=f, markersize=4, label=t)
            for m, c, f, t in kinds
        ]
    figure.legend(handles=[*handles, *lines], loc="outside right center", fontsize=7.5)


def _exact_lines(axis, part: pd.DataFrame, colours: dict, transform) -> None:
    for width, curve in part.dropna(subset=["s2_exact"]).groupby("width"):
        curve = curve.drop_duplicates("beta").sort_values("beta")
        axis.plot(curve.beta, transform(curve), color=colours[width], linewidth=1.0, alpha=0.9, zorder=2)


def s2(data: Data):
    """S2 against beta: estimates, exact finite width, limit, exp(5 beta)."""
    return _s2_figure(data, ratio=False)


def s2_ratio(data: Data):
    """S2 over exp(5 beta): the constants that 'up to universal constants' hides."""
    return _s2_figure(data, ratio=True)


def _s2_figure(data: Data, ratio: bool):
    frame = _curves(data)
    colours = style.palette(set(frame.width))
    figure, panels = _panels(frame, data)

    def scale(beta):
        return np.exp(-limit.HANIN_NICA_EXPONENT * np.asarray(beta)) if ratio else np.ones_like(beta)

    grid = np.linspace(frame.beta.min(), frame.beta.max(), 200)
    for panel, axis in panels:
        part = frame[frame.panel == panel]
        if part.s2_limit.notna().any():
            axis.plot(grid, limit.s2_limit(grid) * scale(grid), **style.LIMIT, zorder=1)
        if part.s2_exact.notna().any():
            axis.plot(grid, np.exp(limit.HANIN_NICA_EXPONENT * grid) * scale(grid), **style.HANIN_NICA, zorder=1)
        _exact_lines(axis, part, colours, lambda c: c.s2_exact * scale(c.beta))
        _points(axis, part, colours, scale)
        axis.set(yscale="log", xlabel=r"$\beta$ = depth/width", title=panel)
        style.readable_log(axis.yaxis)
        if ratio:
            axis.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=20))
    name = r"$E[K^2]/E[K]^2$"
    panels[0][1].set_ylabel(name + r" $\div\; e^{5\beta}$" if ratio else name)
    shown = frame[(frame.undersampled == 0)]
    known = [v for v in (shown.s2 * scale(shown.beta), frame.s2_exact * scale(frame.beta)) if v.notna().any()]
    if known:  # undersampled points may run out of the picture
        low, high = min(v.min() for v in known), max(v.max() for v in known)
        panels[0][1].set_ylim(low / 2, 2.0 if ratio else 4 * high)
    lines = []
    if frame.s2_exact.notna().any():
        lines.append(Line2D([], [], color="0.3", linewidth=1.0, label="exact, finite width"))
        lines.append(Line2D([], [], **style.HANIN_NICA, label=r"$e^{5\beta}$ (Hanin & Nica, ReLU)"))
    if frame.s2_limit.notna().any():
        lines.append(Line2D([], [], **style.LIMIT, label=r"exact limit $n\to\infty$ (no biases)"))
    _legend(figure, colours, frame, lines)
    return figure


def slopes(data: Data):
    """Local slope d log S2/d beta, measured and exact, against 5."""
    rows = data["fits"].to_dataframe().reset_index()
    frame = _curves(data)
    rows["panel"] = style.panels(rows, like=data["moments"].to_dataframe())
    rows = rows[(rows.method == "local_slope") & (rows.quantity == "s2")]
    if rows.empty:
        raise style.NothingToDraw("it shows pairs of neighbouring trusted cells; this study has none")
    colours = style.palette(set(frame.width))
    figure, panels = _panels(frame, data)
    for panel, axis in panels:
        part = rows[rows.panel == panel]
        for width, curve in part.groupby("width"):
            middle = (curve.beta_min + curve.beta_max) / 2
            axis.plot(middle, curve.reference, color=colours[width], linewidth=1.0)
            axis.errorbar(
                middle,
                curve.estimate,
                yerr=[np.maximum(curve.estimate - curve.low, 0), np.maximum(curve.high - curve.estimate, 0)],
                fmt="o",
                color=colours[width],
                markersize=3.8,
                linewidth=1.0,
            )
        axis.axhline(limit.HANIN_NICA_EXPONENT, **style.HANIN_NICA)
        if frame[frame.panel == panel].s2_limit.notna().any():
            grid = np.linspace(frame.beta.min(), frame.beta.max(), 200)
            axis.plot(grid, limit.local_slope_limit(grid), **style.LIMIT)
        axis.set(xlabel=r"$\beta$ (midpoint of neighbouring cells)", title=panel)
    panels[0][1].set_ylabel(r"local slope $d\,\log S_2/d\beta$")
    panels[0][1].set_ylim(0, 6.5)
    lines = [
        Line2D([], [], color="0.3", linewidth=1.0, label="exact, finite width"),
        Line2D([], [], **style.LIMIT, label=r"limit: 11/3 to 5 (no biases)"),
        Line2D([], [], **style.HANIN_NICA, label="5 (Hanin & Nica)"),
    ]
    plain = frame.assign(undersampled=0, sampling="plain")
    _legend(figure, colours, plain, lines)
    return figure


def typical(data: Data):
    """Typical values: the median and exp(E[log K]) over E[K] fall while S2 explodes."""
    frame = _curves(data)
    frame = frame[(frame.sampling == "plain") & frame.ntk_mean_exact.notna()]
    colours = style.palette(set(frame.width))
    figure, panels = _panels(frame, data)
    for panel, axis in panels:
        part = frame[frame.panel == panel]
        for width, curve in part.groupby("width"):
            curve = curve.drop_duplicates("beta")
            for name, marker, dash in (("log_ntk_median", "o", "-"), ("log_ntk_mean", "s", "--")):
                y, low, high = (np.exp(curve[f"{name}{end}"]) / curve.ntk_mean_exact for end in ("", "_low", "_high"))
                axis.plot(curve.beta, y, dash, color=colours[width], linewidth=0.9)
                axis.errorbar(
                    curve.beta,
                    y,
                    yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)],
                    fmt=marker,
                    color=colours[width],
                    markersize=3.2,
                    linewidth=0.9,
                )
        axis.set(yscale="log", xlabel=r"$\beta$ = depth/width", title=panel)
        style.readable_log(axis.yaxis)
    panels[0][1].set_ylabel(r"typical $K$ over $E[K]$")
    lines = [
        Line2D([], [], color="0.3", marker="o", markersize=3.2, label=r"median$(K)/E[K]$"),
        Line2D([], [], color="0.3", marker="s", markersize=3.2, linestyle="--", label=r"$e^{E[\log K\,|\,K>0]}/E[K]$"),
    ]
    handles = [Line2D([], [], color=c, label=f"width {w}") for w, c in colours.items()]
    figure.legend(handles=[*handles, *lines], loc="outside right center", fontsize=7.5)
    return figure


def tails(data: Data):
    """The distribution of log K around its mean, by beta, for the largest width with several betas."""
    sums = data["sums"]
    drawn = data["moments"].isel(cell=np.flatnonzero(data["moments"].engine.values != "exact"))
    frame = drawn.to_dataframe().reset_index(drop=True)  # the rows of sums, in order
    frame["row"] = np.arange(len(frame))
    frame["panel"] = style.panels(frame)
    plain = frame[(frame.sampling == "plain") & (frame.depth > 0) & (frame.width > 0)]
    if plain.empty:
        raise style.NothingToDraw("it shows plain draws of layers of one width; this study has none")
    reach = plain.groupby("width").beta.max()
    width = reach[reach >= 0.5 * reach.max()].index.max()
    plain = plain[plain.width == width]
    figure, panels = _panels(plain, data)
    betas = sorted(set(plain.beta))
    betas = [betas[i] for i in np.unique(np.linspace(0, len(betas) - 1, 6).round().astype(int))]
    colours = dict(zip(betas, sns.color_palette("flare", len(betas)), strict=True))
    log_counts = sums["histogram"].sel(quantity="log_ntk")
    centre, step = sums["bin"].values, float(np.diff(sums["bin"].values[:2])[0])
    merge = 8  # bins of 0.2
    for panel, axis in panels:
        for row in plain[plain.panel == panel].itertuples():
            if row.beta not in colours:
                continue
            counts = log_counts.isel(cell=row.row).values
            mean = row.ntk_mean_exact if np.isfinite(row.ntk_mean_exact) else row.ntk_mean
            density = counts.reshape(-1, merge).sum(1) / (counts.sum() * step * merge)
            x = centre.reshape(-1, merge).mean(1) - np.log(mean)
            inside = np.abs(x + np.log(mean)) < 79
            axis.plot(x[inside], np.where(density > 0, density, np.nan)[inside], color=colours[row.beta], linewidth=1.2)
        axis.axvline(0, color="0.6", linewidth=0.8)
        axis.set(yscale="log", xlabel=r"$\log(K/E[K])$", title=panel)
        style.readable_log(axis.yaxis)
    panels[0][1].set_ylabel(f"probability density, width {width}")
    spread = 4.5 * np.sqrt(5 * max(betas)) + 1
    panels[0][1].set_xlim(-min(spread, 25), min(spread, 25) * 0.6)
    handles = [Line2D([], [], color=c, label=rf"$\beta$ = {b:g}") for b, c in colours.items()]
    figure.legend(handles=handles, loc="outside right center", fontsize=7.5)
    return figure


FIGURES = {
    "s2": s2, "s2_ratio": s2_ratio, "slopes": slopes, "typical": typical, "tails": tails, **figures_gram.FIGURES
}  # fmt: skip
