"""What moves in the kernel, and which frequencies of the target profit."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import (
    band,
    base,
    chosen_ridge,
    colours_of,
    few,
    finished,
    quartiles,
    said,
    step_said,
)
from ntkpipe.kinds.trajectory.figures_paths import TIME

PANELS = (
    ("cosine", r"cosine $\langle K_t,K_0\rangle\,/\,|K_t||K_0|$", False),
    ("target_alignment", r"alignment $y^\top K_t\,y\,/\,(|K_t||y|^2)$", False),
    ("drift_trace", r"$(\mathrm{tr}K_t-\mathrm{tr}K_0)\,/\,\mathrm{tr}K_0$", False),
    ("load", r"load $\eta s\lambda_{max}(K_t)/2$", True),
    ("rotation", "rotation to the next snapshot (rad)", True),
)
"""variable, axis label, logarithmic"""
MODES = 4
ROUNDING = 1e-9
"""Parts of the eval error below this share of the axis are rounding, and not shown."""
REGRESSIONS = ((0, "kernel at the start", "#0072B2", "o"), (-1, "kernel at the end", "#D55E00", "s"))
"""snapshot of the frozen kernel, words, colour, marker"""


def kernel(data: Data):
    """Direction, alignment, trace, load and rotation of K_t along training, and the eigenvalues of one cell."""
    rows = few(base(data))
    colours, dataset = colours_of(rows), data["perturbation"]
    figure, axes = plt.subplots(2, 3, figsize=(11.4, 6.6))
    for axis, (name, label, log) in zip(axes.flat, PANELS, strict=False):
        for _, row in rows.iterrows():
            values = finished(dataset, row, name)
            band(axis, finished(dataset, row, "time"), values, colours[row.beta], positive=log)
        style.log(axis, "x")
        axis.set(xlabel=TIME, ylabel=label)
        if log:
            style.log(axis, "y")
    axes[1][0].axhline(1, color="0.4", linewidth=0.9, linestyle=":")
    axes[0][2].axhline(0, color="0.4", linewidth=0.9, linestyle=":")
    _eigenvalues(axes[1][2], dataset, rows.iloc[-1])
    figure.suptitle(step_said(rows.iloc[0]), fontsize=9)
    handles = [Line2D([], [], color=colours[row.beta], label=said(row)) for _, row in rows.iterrows()]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label="load 1: a frozen kernel diverges beyond"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


def _eigenvalues(axis, dataset, row: pd.Series) -> None:
    """Leading eigenvalues of the cell over their first values, and the median of the rest."""
    time, values = finished(dataset, row, "time"), finished(dataset, row, "eigenvalues")
    with np.errstate(divide="ignore", invalid="ignore"):
        growth = values / values[:, :1]
    count = min(MODES, values.shape[-1])
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.85, count))
    for mode in range(count):
        band(axis, time, growth[..., mode], shades[mode], label=rf"$\lambda_{{{mode + 1}}}$")
    if values.shape[-1] > count:
        band(axis, time, np.median(growth[..., count:], axis=-1), "0.45", line="--", label="median of the rest")
    style.log(axis)
    axis.set(xlabel=TIME, ylabel=r"eigenvalues $\lambda_k(t)\,/\,\lambda_k(0)$")
    axis.set_title(f"width {row.width}, depth {row.depth}", fontsize=9)
    axis.legend(fontsize=7)


def frequencies(data: Data):
    """Eval error by frequency: the network along training, and kernel regression from zero; weak and strong cell."""
    dataset = data["perturbation"]
    if "eval_mse_frequency" not in dataset:
        raise style.NothingToDraw("it shows frequencies on the circle; this study has other points")
    known = base(data)
    known = known[known.drift_end.notna()].sort_values("drift_end")
    ends = [("smallest", known.iloc[0])] + ([("largest", known.iloc[-1])] if len(known) > 1 else [])
    figure, axes = plt.subplots(1, len(ends), figsize=(1.2 + 4.4 * len(ends), 4.2), sharey=True, squeeze=False)
    number, zero = dataset.frequency.values, list(dataset.start.values).index("zero")
    for axis, (word, row) in zip(axes[0], ends, strict=True):
        network = finished(dataset, row, "network_eval_mse_frequency")
        last = network.shape[1] - 1
        for snapshot, shade in zip(_spread(last), ("0.75", "0.5", "0.0"), strict=True):
            low, middle, high = quartiles(network[:, snapshot])
            axis.plot(number, middle, color=shade, linewidth=1.3, label=f"network, step {int(dataset.step[snapshot])}")
            axis.fill_between(number, low, high, color=shade, alpha=0.15, linewidth=0)
        ridge = chosen_ridge(dataset, row)
        for snapshot, words, colour, marker in REGRESSIONS:
            values = finished(dataset, row, "eval_mse_frequency")[:, snapshot, zero, ridge]
            low, middle, high = quartiles(values)
            shift = 0.12 if marker == "s" else -0.12
            axis.errorbar(number + shift, middle, yerr=[middle - low, high - middle], fmt=marker, color=colour,
                          markersize=4, linewidth=0.9, label=f"regression, {words}")  # fmt: skip
        style.log(axis, "y")
        axis.set(xlabel="frequency on the circle", xticks=number)
        axis.set_title(
            f"{word} drift {row.drift_end:.2g}: width {row.width}, depth {row.depth}\n"
            rf"ridge {dataset.diag_reg.values[ridge]:g} tr$K/N$",
            fontsize=9,
        )
    low, high = axes[0][0].get_ylim()
    axes[0][0].set_ylim(max(low, ROUNDING * high), high)
    axes[0][0].set_ylabel("part of the eval error, mean square")
    figure.suptitle(step_said(known.iloc[0]), fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7.5)
    return figure


def _spread(last: int) -> list[int]:
    """Three snapshots: a third of the way, two thirds, the last."""
    return [max(1, last // 3), max(1, 2 * last // 3), last]
