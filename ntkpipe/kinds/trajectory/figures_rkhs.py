"""The path of RKHSs: spectra, norms and inclusion by beta, who generalizes better, and the spaces along training."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.analysis.rkhs import STARTS
from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import band, base, colours_of, few, finished, quartiles, said, step_said
from ntkpipe.kinds.trajectory.figures_paths import TIME

ZERO = STARTS.index("zero")
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.19), "fontsize": 6.8}
PREDICTORS = (
    ("network", "network at the end", "#000000", "D"),
    (0, "interpolant of K at the start", "#0072B2", "o"),
    (-1, "interpolant of K at the end", "#D55E00", "s"),
)
SPACES = (
    ("interpolant_norm", r"$|g_t|^2_{H_t}$ of the interpolant, over its start", True, True),
    ("learned_norm_initial", r"$|f_t-f_0|^2_{H_0}$, learned function", True, False),
    ("learned_norm", r"$|f_t-f_0|^2_{H_t}$, learned function", True, False),
    ("effective_dimension", r"effective dimension tr$K(K+\lambda)^{-1}$", False, False),
    ("decay_exponent", r"decay exponent of the eigenvalues", False, False),
    ("principal_angle", "angle of leading eigenspaces, $K_t$ and $K_0$ (rad)", True, False),
)
"""variable, axis label, logarithmic, over its first value"""


def middle_ridge(dataset) -> int:
    """The ridge shown where one stands for all: the middle of ``regimes.diag_reg``."""
    return dataset.sizes["diag_reg"] // 2


def rkhs(data: Data):
    """Spectra at start and end, norm of the target along training, inclusion constants and eval errors by beta."""
    curve, dataset = base(data), data["rkhs"]
    rows = few(curve)
    colours, reg = colours_of(rows), middle_ridge(dataset)
    figure, axes = plt.subplots(1, 4, figsize=(15.2, 4.6))
    for _, row in rows.iterrows():
        colour, values = colours[row.beta], finished(dataset, row, "eigenvalues")
        for snapshot, line in ((0, "--"), (-1, "-")):
            share = values[:, snapshot] / values[:, snapshot].sum(axis=-1, keepdims=True)
            at = np.arange(1, values.shape[-1] + 1)
            middle = quartiles(share)[1]
            good = middle > 1e-16
            axes[0].plot(at[good], middle[good], line, color=colour, linewidth=1.1)
        norms = finished(dataset, row, "target_norm", diag_reg=reg)
        band(axes[1], finished(dataset, row, "time"), norms / norms[:, :1], colour)
    _axes(axes[0], "k", r"eigenvalue $\lambda_k\,/\,\mathrm{tr}K_t$", "spectra: dashed start, solid end")
    _axes(axes[1], TIME, r"$|y|^2_{H_t}\,/\,|y|^2_{H_0}$", f"norm of the target\n{_ridge(dataset, reg)}")
    axes[1].axhline(1, color="0.4", linewidth=0.9, linestyle=":")
    _inclusion(axes[2], dataset, curve)
    _errors(axes[3], dataset, curve, reg)
    handles = [Line2D([], [], color=colours[row.beta], label=said(row)) for _, row in rows.iterrows()]
    axes[0].legend(handles=handles, **BELOW)
    figure.suptitle(step_said(curve.iloc[0]), fontsize=9)
    return figure


def _axes(axis, x: str, y: str, title: str) -> None:
    style.log(axis)
    axis.set(xlabel=x, ylabel=y)
    axis.set_title(title, fontsize=9)


def _ridge(dataset, reg: int) -> str:
    return rf"ridge $\lambda$ = {dataset.diag_reg.values[reg]:g} tr$K/N$"


def _inclusion(axis, dataset, curve: pd.DataFrame) -> None:
    """Smallest c with K_T <= c (K_0 + lambda), and 1/c with c (K_0 + lambda) <= K_T, by ridge, against beta."""
    shades = plt.get_cmap("viridis")(np.linspace(0.1, 0.8, dataset.sizes["diag_reg"]))
    for number, colour in enumerate(shades):
        for name, marker, full in (("pencil_largest", "o", True), ("pencil_smallest", "v", False)):
            for _, row in curve.iterrows():
                low, middle, high = quartiles(finished(dataset, row, name, diag_reg=number)[:, -1])
                if np.isfinite(middle):
                    x = row.beta * 1.07 ** (number - 1)
                    axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
                    axis.plot(
                        x, middle, marker, color=colour, markersize=4, markerfacecolor=colour if full else "white"
                    )
    axis.axhline(1, color="0.4", linewidth=0.9, linestyle=":")
    _axes(axis, r"$\beta$ = depth/width", r"extreme eigenvalues of $(K_T,\ K_0+\lambda)$", "does the space grow?")
    handles = [
        Line2D([], [], color=c, linewidth=3, label=rf"$\lambda$ = {reg:g} tr$K/N$")
        for c, reg in zip(shades, dataset.diag_reg.values, strict=True)
    ]
    look = {"color": "0.3", "linestyle": "", "markersize": 4}
    handles.append(Line2D([], [], marker="o", **look, label=r"largest: $K_T\leq c\,(K_0+\lambda)$"))
    handles.append(
        Line2D([], [], marker="v", **look, markerfacecolor="white", label=r"smallest: $c\,(K_0+\lambda)\leq K_T$")
    )
    axis.legend(handles=handles, **BELOW)


def _errors(axis, dataset, curve: pd.DataFrame, reg: int) -> None:
    """Eval errors of the network and of the interpolants of K_0 and K_T, medians with quartiles, against beta."""
    for k, (which, _, colour, marker) in enumerate(PREDICTORS):
        for _, row in curve.iterrows():
            if which == "network":
                values = finished(dataset, row, "network_mse")[:, -1]
            else:
                values = finished(dataset, row, "interpolant_mse", start=ZERO, diag_reg=reg)[:, which]
            low, middle, high = quartiles(values)
            x = row.beta * 1.08 ** (k - 1)
            axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
            axis.plot(x, middle, marker, color=colour, markersize=4)
    _axes(axis, r"$\beta$ = depth/width", "eval error, mean square", f"who generalizes better?\n{_ridge(dataset, reg)}")
    handles = [Line2D([], [], color=c, marker=m, linestyle="", label=words) for _, words, c, m in PREDICTORS]
    axis.legend(handles=handles, **BELOW)


def spaces(data: Data):
    """Norms of interpolant and learned function, effective dimension, decay and principal angle along training."""
    rows, dataset = few(base(data)), data["rkhs"]
    colours, reg = colours_of(rows), middle_ridge(dataset)
    figure, axes = plt.subplots(2, 3, figsize=(11.4, 6.6))
    for axis, (name, label, log, relative) in zip(axes.flat, SPACES, strict=True):
        for _, row in rows.iterrows():
            values = finished(dataset, row, name, diag_reg=reg)
            values = values / values[:, :1] if relative else values
            band(axis, finished(dataset, row, "time"), values, colours[row.beta], positive=log)
        style.log(axis, "x")
        axis.set(xlabel=TIME, ylabel=label)
        if log:
            style.log(axis, "y")
    figure.suptitle(f"{step_said(rows.iloc[0])}; {_ridge(dataset, reg)}", fontsize=9)
    handles = [Line2D([], [], color=colours[row.beta], label=said(row)) for _, row in rows.iterrows()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure
