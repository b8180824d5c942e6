"""The path of RKHSs: spectra, norms and inclusion by beta, who generalizes better, and the spaces along training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import band, base, colours_of, few, finished, quartiles, said, step_said
from ntkpipe.kinds.trajectory.figures_paths import TIME
from ntkpipe.kinds.trajectory.rkhs import inside

BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.19), "fontsize": 6.8}
PREDICTORS = (
    ("network", "network at the end", "#000000", "D"),
    (0, "interpolant of K at the start", "#0072B2", "o"),
    (-1, "interpolant of K at the end", "#D55E00", "s"),
)
NORMS = (
    ("interpolant_norm", r"$|g_t|^2_{H_t}$ of the interpolant, over its start", True, True),
    ("learned_norm_initial", r"$|f_t-f_0|^2_{H_0}$, learned function", True, False),
    ("learned_norm", r"$|f_t-f_0|^2_{H_t}$, learned function", True, False),
)
"""variable, axis label, logarithmic, over its first value; of cells whose labels lie in the space"""
SPECTRA = (
    ("effective_dimension", r"effective dimension tr$K(K+\lambda)^{-1}$", False, False),
    ("decay_exponent", r"decay exponent of the eigenvalues", False, False),
    ("principal_angle", "angle of leading eigenspaces, $K_t$ and $K_0$ (rad)", True, False),
)
"""The same, of any cell."""
OUTSIDE = "no cell: the labels lie\npartly in ker$K_0$ or ker$K_T$,\ntheir norm is the ridge's"


def middle_ridge(dataset) -> int:
    """The ridge shown where one stands for all: the middle of ``regimes.diag_reg``."""
    return dataset.sizes["diag_reg"] // 2


def in_the_space(curve: pd.DataFrame, dataset) -> pd.DataFrame:
    """Up to four of the cells whose labels have a norm that is theirs (:func:`inside`); none if there is none."""
    kept = curve[inside(dataset["target_singular"].values[curve.cell.to_numpy(int)])]
    return few(kept) if len(kept) else kept


def rkhs(data: Data):
    """Spectra at start and end, norm of the target along training, inclusion constants and eval errors by beta."""
    curve, dataset = base(data), data["rkhs"]
    rows, kept = few(curve), in_the_space(curve, dataset)
    colours, reg = colours_of(pd.concat([rows, kept])), middle_ridge(dataset)
    figure, axes = plt.subplots(1, 4, figsize=(15.2, 4.6))
    for _, row in rows.iterrows():
        colour, values = colours[row.beta], finished(dataset, row, "eigenvalues")
        for snapshot, line in ((0, "--"), (-1, "-")):
            share = values[:, snapshot] / values[:, snapshot].sum(axis=-1, keepdims=True)
            at = np.arange(1, values.shape[-1] + 1)
            middle = quartiles(share)[1]
            good = middle > 1e-16
            axes[0].plot(at[good], middle[good], line, color=colour, linewidth=1.1)
    for _, row in kept.iterrows():
        norms = finished(dataset, row, "target_norm", diag_reg=reg)
        band(axes[1], finished(dataset, row, "time"), norms / norms[:, :1], colours[row.beta])
    _axes(axes[0], "k", r"eigenvalue $\lambda_k\,/\,\mathrm{tr}K_t$", "spectra: dashed start, solid end")
    _axes(axes[1], TIME, r"$|y|^2_{H_t}\,/\,|y|^2_{H_0}$", f"norm of the target\n{_ridge(dataset, reg)}")
    axes[1].axhline(1, color="0.4", linewidth=0.9, linestyle=":")
    _none(axes[1], kept)
    _inclusion(axes[2], dataset, curve)
    _errors(axes[3], dataset, curve)
    for axis, drawn in ((axes[0], rows), (axes[1], kept)):
        axis.legend(handles=_handles(drawn, colours), **BELOW)
    figure.suptitle(step_said(curve.iloc[0]), fontsize=9)
    return figure


def _handles(rows: pd.DataFrame, colours: dict) -> list[Line2D]:
    return [Line2D([], [], color=colours[row.beta], label=said(row)) for _, row in rows.iterrows()]


def _none(axis, kept: pd.DataFrame) -> None:
    """Say why a panel of norms is empty."""
    if kept.empty:
        axis.set(xticks=[], yticks=[])
        axis.text(0.5, 0.6, OUTSIDE, transform=axis.transAxes, ha="center", va="center", fontsize=8)


def _axes(axis, x: str, y: str, title: str) -> None:
    style.log(axis)
    axis.set(xlabel=x, ylabel=y)
    axis.set_title(title, fontsize=9)


def _ridge(dataset, reg: int) -> str:
    return rf"ridge $\lambda$ = {dataset.diag_reg.values[reg]:g} tr$K/N$"


def _inclusion(axis, dataset, curve: pd.DataFrame) -> None:
    """Smallest c with K_T <= c (K_0 + lambda), and with K_0 <= c (K_T + lambda), by ridge, against beta."""
    shades = plt.get_cmap("viridis")(np.linspace(0.1, 0.8, dataset.sizes["diag_reg"]))
    for number, colour in enumerate(shades):
        for name, marker, full in (("pencil_largest", "o", True), ("pencil_back", "v", False)):
            for _, row in curve.iterrows():
                low, middle, high = quartiles(finished(dataset, row, name, diag_reg=number)[:, -1])
                if np.isfinite(middle):
                    x = row.beta * 1.07 ** (number - 1)
                    axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
                    axis.plot(
                        x, middle, marker, color=colour, markersize=4, markerfacecolor=colour if full else "white"
                    )
    axis.axhline(1, color="0.4", linewidth=0.9, linestyle=":")
    _axes(axis, r"$\beta$ = depth/width", "smallest c", "does the space grow, or shrink?")
    handles = [
        Line2D([], [], color=c, linewidth=3, label=rf"$\lambda$ = {reg:g} tr$K/N$")
        for c, reg in zip(shades, dataset.diag_reg.values, strict=True)
    ]
    look = {"color": "0.3", "linestyle": "", "markersize": 4}
    handles.append(Line2D([], [], marker="o", **look, label=r"$K_T\leq c\,(K_0+\lambda)$"))
    handles.append(Line2D([], [], marker="v", **look, markerfacecolor="white", label=r"$K_0\leq c\,(K_T+\lambda)$"))
    axis.legend(handles=handles, **BELOW)


def _errors(axis, dataset, curve: pd.DataFrame) -> None:
    """Eval errors of the network and of the interpolants of K_0 and K_T, medians with quartiles, against beta.

    Each kernel of each run takes the ridge of least leave-one-out error.
    """
    for k, (which, _, colour, marker) in enumerate(PREDICTORS):
        for _, row in curve.iterrows():
            if which == "network":
                values = finished(dataset, row, "network_mse")[:, -1]
            else:
                values = finished(dataset, row, "kernel_mse")[:, which]
            low, middle, high = quartiles(values)
            x = row.beta * 1.08 ** (k - 1)
            axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
            axis.plot(x, middle, marker, color=colour, markersize=4)
    _axes(
        axis,
        r"$\beta$ = depth/width",
        "eval error, mean square",
        "who generalizes better?\nridges by leave-one-out error",
    )
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=words) for _, words, c, m in PREDICTORS]
    axis.legend(handles=handles, **BELOW)


def spaces(data: Data):
    """Norms of interpolant and learned function, effective dimension, decay and principal angle along training."""
    curve, dataset = base(data), data["rkhs"]
    rows, kept = few(curve), in_the_space(curve, dataset)
    colours, reg = colours_of(pd.concat([rows, kept])), middle_ridge(dataset)
    figure = plt.figure(figsize=(11.4, 7.6))
    parts = figure.subfigures(2, 1)
    titles = "norms: cells whose labels lie in the spaces", None
    for part, panels, drawn, title in zip(parts, (NORMS, SPECTRA), (kept, rows), titles, strict=True):
        for axis, (name, label, log, relative) in zip(part.subplots(1, 3), panels, strict=True):
            for _, row in drawn.iterrows():
                values = finished(dataset, row, name, diag_reg=reg)
                values = values / values[:, :1] if relative else values
                band(axis, finished(dataset, row, "time"), values, colours[row.beta], positive=log)
            _none(axis, drawn)
            style.log(axis, "xy" if log else "x")
            axis.set(xlabel=TIME, ylabel=label)
        look = {"loc": "outside lower center", "ncols": 2, "fontsize": 7.5, "title_fontsize": 7.5}
        part.legend(handles=_handles(drawn, colours), title=title, **look)
    figure.suptitle(f"{step_said(curve.iloc[0])}; {_ridge(dataset, reg)}", fontsize=9)
    return figure
