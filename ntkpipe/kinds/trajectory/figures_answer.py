"""The main figure of training: does drift collapse on beta, which regime is where, and when do corrections help."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from ntkpipe.config.train import RegimesConfig
from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import (
    MARKERS,
    ORDERS,
    base,
    cells_of,
    finished,
    interval,
    one_setting,
    quartiles,
    read_as,
    step_said,
    tolerance_lines,
)
from ntkpipe.kinds.trajectory.scaling import GROUP

REGIMES = {
    "lazy": "#56B4E9",
    "weak": "#F0C870",
    "strong": "#C65D00",
    "dead": "#999999",
    "unstable": "#222222",
    "unknown": "#E5E5E5",
}
CEILING = 1e3
"""Errors beyond this are drawn as arrows at the upper edge: a series that diverges has no size to read."""
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.19), "fontsize": 6.8}


def regimes_answer(data: Data):
    """Drift over beta with its power law; fractions of regimes over beta and load; errors of orders over forcing."""
    curve = base(data)
    regimes = one_setting(cells_of(data, "regimes"), curve.iloc[0], eta=False)
    rows = regimes.eta.nunique()
    figure, axes = plt.subplots(1, 3, figsize=(11.6, max(4.3, 2.9 + 0.3 * rows)))
    _collapse(axes[0], data, curve)
    _map(axes[1], regimes, read_as(data))
    _orders(axes[2], data, curve)
    return figure


def _collapse(axis, data: Data, curve: pd.DataFrame) -> None:
    """Drift at the end against beta: colour by width, marker by depth."""
    colours, depths = style.palette(set(curve.width)), sorted(set(curve.depth))
    widths = list(colours)
    known = curve[curve.drift_end > 0]
    for _, row in known.iterrows():
        value, bars = interval(row, "drift_end")
        shift = 1.05 ** (widths.index(row.width) - (len(widths) - 1) / 2)  # cells of one beta side by side
        axis.errorbar(row.beta * shift, value, yerr=bars, fmt=MARKERS[depths.index(row.depth) % 6], markersize=4.5,
                      color=colours[row.width], linewidth=1)  # fmt: skip
    handles = [Line2D([], [], color=c, linewidth=3, label=f"width {w}") for w, c in colours.items()]
    handles += [
        Line2D([], [], color="0.3", marker=MARKERS[i % 6], linestyle="", markersize=4.5, label=f"depth {d}")
        for i, d in enumerate(depths)
    ]
    handles += _law(axis, data["fits"].to_dataframe(), known)
    handles.append(tolerance_lines(axis, read_as(data).lazy))
    style.log(axis)
    axis.set(xlabel=r"$\beta$ = depth/width")
    axis.set_xlim(curve.beta.min() / 1.5, curve.beta.max() * 1.5)
    axis.set_ylabel(r"drift $|K_t-K_0|_F\,/\,|K_0|_F$ at the end")
    axis.set_title(f"collapse on beta\n{step_said(curve.iloc[0])}", fontsize=9)
    axis.legend(handles=handles, ncols=2, **BELOW)


def _law(axis, fits: pd.DataFrame, known: pd.DataFrame) -> list[Line2D]:
    """The fitted power of beta through the cells' means, with the exponents of width and depth in the legend."""
    head = known.iloc[0]
    keys = [*GROUP, "eta", "eta_unit"]
    fits = fits[(fits[keys] == head[keys]).all(axis=1) & (fits.quantity == "drift") & (fits["at"] == "end")]
    fits = fits.set_index("method")
    if "beta_power" not in fits.index:
        return []

    def value(name: str) -> str:
        row = fits.loc[name]
        return f"{row.estimate:.2f} [{row.low:.2f}, {row.high:.2f}]"

    grid = np.array([known.beta.min(), known.beta.max()])
    level = np.mean(np.log(known.drift_end) - fits.estimate["beta_power"] * np.log(known.beta))
    axis.plot(grid, np.exp(level) * grid ** fits.estimate["beta_power"], **style.LIMIT)
    texts = [
        (rf"$\beta^c$, c = {value('beta_power')}", style.LIMIT),
        (f"width: p = {value('width_exponent')}", {"linestyle": ""}),
        (f"depth: q = {value('depth_exponent')}", {"linestyle": ""}),
        (f"p + q = {value('total_exponent')}", {"linestyle": ""}),
    ]
    return [Line2D([], [], **look, label=text) for text, look in texts]


def _map(axis, regimes: pd.DataFrame, config: RegimesConfig) -> None:
    """Each cell a stacked bar of the fractions of its runs; cells of one beta one under the other, narrow first."""
    betas, steps = sorted(set(regimes.beta)), sorted(set(regimes.eta))
    shown = [name for name in REGIMES if regimes[name].max() > 0]
    for (beta, eta), part in regimes.groupby(["beta", "eta"]):
        left, bottom = betas.index(beta) - 0.42, steps.index(eta) - 0.4
        height = 0.8 / len(part)
        for k, (_, row) in enumerate(part.sort_values("width", ascending=False).iterrows()):
            start = left
            for name in shown:
                axis.add_patch(
                    Rectangle((start, bottom + k * height), 0.84 * row[name], 0.86 * height, color=REGIMES[name], lw=0)
                )
                start += 0.84 * row[name]
            axis.add_patch(
                Rectangle((left, bottom + k * height), 0.84, 0.86 * height, fill=False, edgecolor="0.35", linewidth=0.5)
            )
    axis.set(xlim=(-0.6, len(betas) - 0.4), ylim=(-0.6, len(steps) - 0.4), xlabel=r"$\beta$ = depth/width")
    many = len(betas) > 6
    axis.set_xticks(range(len(betas)), [f"{b:.3g}" for b in betas], fontsize=7 if many else 8, rotation=90 * many)
    if regimes.eta_unit.iloc[0] == "critical":
        axis.set_yticks(range(len(steps)), [f"{eta:g}" for eta in steps])
        axis.set_ylabel(r"nominal load $\eta s\lambda_{max}(K_0)/2$")
    else:
        loads = [regimes.load[regimes.eta == eta] for eta in steps]
        ticks = [f"{eta:g}\n({a.min():.2g} to {a.max():.2g})" for eta, a in zip(steps, loads, strict=True)]
        axis.set_yticks(range(len(steps)), ticks)
        axis.set_ylabel(r"$\eta$ (load $\eta s\lambda_{max}(K_0)/2$)")
    axis.grid(False)
    runs = sorted(set(regimes.n_runs))
    axis.set_title(f"regimes, fractions of {'/'.join(map(str, runs))} runs a cell", fontsize=9)
    words = {
        "lazy": f"lazy: drift < {config.lazy[0]:g}",
        "weak": "weak feature learning",
        "strong": f"strong: drift >= {config.strong:g}",
        "dead": "dead: K = 0 at the end",
        "unstable": "unstable: diverged",
    }
    axis.legend(
        handles=[Patch(color=REGIMES[name], label=words.get(name, name)) for name in shown],
        **(BELOW | {"bbox_to_anchor": (0.5, -0.27 if many else -0.19)}),
    )


def _orders(axis, data: Data, curve: pd.DataFrame) -> None:
    """|r - r_p|/|r(0)| against the forcing: paths of the medians in time, and the ends of all cells."""
    dataset = data["perturbation"]
    others = one_setting(cells_of(data), curve.iloc[0], eta=False)
    others = others[~others.cell.isin(curve.cell) & (others.finished > 0)]
    for _, row in curve.iterrows():
        forcing = quartiles(finished(dataset, row, "forcing"))[1]
        errors = quartiles(finished(dataset, row, "order_error"))[1]
        for order, colour in ORDERS.items():
            y = errors[:, order]
            good = (forcing > 0) & (y > 0) & (y < CEILING)
            axis.plot(forcing[good], y[good], color=colour, linewidth=0.6, alpha=0.4)
    beyond = hidden = 0
    for rows, face in ((curve, True), (others, False)):
        for order, colour in ORDERS.items():
            x, y = rows.forcing_end.to_numpy(), rows[f"order_{order}_end"].to_numpy()
            off, gone = (y > CEILING) | np.isinf(y), x > CEILING  # gone: the frozen kernel's own descent diverges
            y, off, x = (part[~gone] for part in (y, off, x))
            beyond, hidden = beyond + int(off.sum()), hidden + int(gone.sum())
            look = {"color": colour, "markerfacecolor": colour if face else "white", "linestyle": "", "markersize": 3.5}
            axis.plot(x[~off], y[~off], "o", **look)
            if off.any():
                axis.plot(x[off], np.full(off.sum(), CEILING), "^", **look, clip_on=False)
    handles = [Line2D([], [], color=c, marker="o", markersize=3.5, label=f"order {p}") for p, c in ORDERS.items()]
    handles += _failing(axis, data["fits"].to_dataframe(), curve.iloc[0])
    style.log(axis)
    axis.set(xlabel=r"forcing $\int|\Delta K_s\,r_0(s)|\,ds\,/\,|r(0)|$")
    axis.set_ylabel(r"error of order $p$: $|r-r_p|\,/\,|r(0)|$")
    axis.set_title("when corrections help", fontsize=9)
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, 1e-9), min(high, CEILING))
    look = {"linestyle": "", "color": "0.3", "markersize": 3.5}
    handles.append(Line2D([], [], marker="o", **look, label="end of a run, this step size"))
    if len(others):
        handles.append(Line2D([], [], marker="o", **look, markerfacecolor="white", label="end, other step sizes"))
    if beyond:
        handles.append(Line2D([], [], marker="^", **look, label=f"beyond {CEILING:g} ({beyond} points)"))
    if hidden:
        handles.append(Line2D([], [], linestyle="", label=f"({hidden} points beyond {CEILING:g} on both axes)"))
    axis.legend(handles=handles, ncols=2, **BELOW)


def _failing(axis, fits: pd.DataFrame, head: pd.Series) -> list[Line2D]:
    """The forcing beyond which half of the snapshots fail, by order, with its interval shaded."""
    keys = [*GROUP, "eta", "eta_unit"]
    stars = fits[(fits[keys] == head[keys]).all(axis=1) & (fits.method == "forcing_star") & (fits.estimate > 0)]
    handles = []
    for row in stars[np.isfinite(stars.estimate)].itertuples():
        order = int(row.quantity.removeprefix("order "))
        axis.axvline(row.estimate, color=ORDERS[order], linewidth=0.9, linestyle="--")
        if np.isfinite(row.high):
            axis.axvspan(max(row.low, 1e-12), row.high, color=ORDERS[order], alpha=0.12, linewidth=0)
        high = f"{row.high:.2g}" if np.isfinite(row.high) else r"$\infty$"
        text = f"order {order} fails beyond {row.estimate:.2g} [{row.low:.2g}, {high}]"
        handles.append(Line2D([], [], color=ORDERS[order], linestyle="--", label=text))
    return handles
