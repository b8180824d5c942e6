"""When the kernel freezes, and what kernel regression with the kernel frozen then would have given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import (
    base,
    chosen_ridge,
    colours_of,
    few,
    finished,
    quartiles,
    read_as,
    said,
    step_said,
)

REGRESSIONS = (
    ("zero", 0, "from 0, K at the start", "#0072B2", "o", False),
    ("network", 0, "from the network, K at the start", "#0072B2", "s", False),
    ("zero", -1, "from 0, K at the end", "#D55E00", "o", True),
    ("network", -1, "from the network, K at the end", "#D55E00", "s", True),
)
"""start, snapshot, words, colour, marker, filled"""

TIMES = {
    "freeze_time": ("kernel freezes", "#0072B2", "o", "kernel_moved"),
    "rotation_time": ("leading eigenspace stops rotating", "#009E73", "D", "rotation_moved"),
    "plateau_time": ("loss at its plateau", "#D55E00", "s", None),
}
"""variable: words, colour, marker, whether a run ever had it to stop (None: all did)"""
FATES = {
    "never moved": "#CCCCCC",
    "frozen before the plateau": "#56B4E9",
    "frozen at the plateau or later": "#0072B2",
    "still moving at the end": "#D55E00",
}


def freeze(data: Data):
    """Times from which kernel, eigenspace and loss rest, by beta; and what became of the runs of each beta."""
    curve = base(data)
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.5))
    _times(axes[0], data, curve)
    _fates(axes[1], data["perturbation"], curve)
    return figure


def _times(axis, data: Data, curve: pd.DataFrame) -> None:
    """Medians with quartiles over the runs of a beta that ever moved; not in the run: hollow, above its end."""
    dataset = data["perturbation"]
    ends, pooled, counts = {}, {}, {}
    for beta, part in curve.groupby("beta"):
        found: dict[str, list] = {name: [] for name in (*TIMES, "end")}
        for _, row in part.iterrows():
            scale = finished(dataset, row, "eigenvalues")[:, 0, 0]
            found["end"].append(finished(dataset, row, "time")[:, -1] * scale)
            for name, (*_, moved) in TIMES.items():
                values = finished(dataset, row, name) * scale
                some = finished(dataset, row, moved).astype(bool) if moved else np.ones(len(values), bool)
                found[name].append(np.where(some, values, np.nan))
        pooled[beta] = {name: np.concatenate(values) for name, values in found.items()}
        ends[beta] = np.median(pooled[beta]["end"])
    beyond = 2.2 * max(ends.values())
    for (name, (_, colour, marker, _)), shift in zip(TIMES.items(), (0.93, 1.0, 1.07), strict=True):
        for beta, values in pooled.items():
            known = values[name][~np.isnan(values[name])]
            if not len(known):
                continue
            low, middle, high = np.clip(quartiles(known), None, beyond)
            full = middle < beyond
            if middle > 0:
                axis.plot([beta * shift] * 2, [max(low, beyond * 1e-6), high], color=colour, linewidth=1)
                axis.plot(beta * shift, middle, marker if full else "^", color=colour, markersize=4.5,
                          markerfacecolor=colour if full else "white")  # fmt: skip
        every = np.concatenate([values[name] for values in pooled.values()])
        every = every[~np.isnan(every)]
        counts[name] = f"{np.isfinite(every).sum()} of {len(every)}"
    axis.plot(list(ends), list(ends.values()), "--", marker="_", color="0.4", linewidth=1)
    style.log(axis)
    axis.set(xlabel=r"$\beta$ = depth/width")
    axis.set_ylabel(r"flow time $\times\ \lambda_{max}(K_0)$")
    axis.set_title(step_said(curve.iloc[0]), fontsize=9)
    axis.set_xlim(min(pooled) / 1.5, max(pooled) * 1.5)
    axis.set_ylim(None, 1.6 * beyond)
    handles = [
        Line2D([], [], color=colour, marker=marker, label=f"{words}: {counts[name]} runs")
        for name, (words, colour, marker, _) in TIMES.items()
    ]
    handles += [
        Line2D([], [], color="0.4", linestyle="--", label="end of the run"),
        Line2D([], [], color="0.4", marker="^", linestyle="", markerfacecolor="white", label="not within the run"),
    ]
    velocity = read_as(data).velocity
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, title_fontsize=7,
                title=f"change below {velocity:g} an e-fold of time from then on")  # fmt: skip


def _fates(axis, dataset, curve: pd.DataFrame) -> None:
    """Stacked shares of runs by what their kernel did."""
    betas = sorted(set(curve.beta))
    bottom = np.zeros(len(betas))
    counts = {name: np.zeros(len(betas)) for name in FATES}
    for k, beta in enumerate(betas):
        for _, row in curve[curve.beta == beta].iterrows():
            moved = finished(dataset, row, "kernel_moved").astype(bool)
            frozen, plateau = finished(dataset, row, "freeze_time"), finished(dataset, row, "plateau_time")
            known = ~np.isnan(frozen)
            stopped = known & moved & np.isfinite(frozen)
            counts["never moved"][k] += np.sum(known & ~moved)
            counts["frozen before the plateau"][k] += np.sum(stopped & (frozen < plateau))
            counts["frozen at the plateau or later"][k] += np.sum(stopped & ~(frozen < plateau))
            counts["still moving at the end"][k] += np.sum(known & moved & ~np.isfinite(frozen))
    total = np.sum(list(counts.values()), axis=0)
    for name, colour in FATES.items():
        share = counts[name] / np.where(total == 0, np.nan, total)
        axis.bar(range(len(betas)), share, bottom=bottom, color=colour, width=0.8,
                 label=f"{name}: {int(counts[name].sum())} runs")  # fmt: skip
        bottom = bottom + share
    axis.set_xticks(range(len(betas)), [f"{b:.3g}" for b in betas], rotation=90, fontsize=7.5)
    axis.set(xlabel=r"$\beta$ = depth/width", ylabel="share of runs", ylim=(0, 1))
    axis.set_title("what the kernels did", fontsize=9)
    axis.grid(False)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=7, ncols=2)


def regression(data: Data):
    """Eval error of kernel regression with the kernel at the start and at the end, by ridge; the network in black."""
    curve, dataset = base(data), data["perturbation"]
    regs = dataset.diag_reg.values[:4]
    figure, axes = plt.subplots(1, len(regs), figsize=(1.4 + 3.0 * len(regs), 4.2), sharey=True, squeeze=False)
    for number, (axis, reg) in enumerate(zip(axes[0], regs, strict=True)):
        _regressions(axis, dataset, curve, number)
        axis.set_title(rf"ridge $\lambda$ = {_power(reg)} tr$K/N$", fontsize=9)
    axes[0][0].set_ylabel("eval error, mean square")
    figure.suptitle(step_said(curve.iloc[0]), fontsize=9)
    handles = [Line2D([], [], color="black", marker="_", markersize=9, label="network at the end")]
    handles += [
        Line2D([], [], color=c, marker=m, markerfacecolor=c if full else "white", markersize=4, label=words)
        for _, _, words, c, m, full in REGRESSIONS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5)
    return figure


def _power(value: float) -> str:
    exponent = np.log10(value)
    return f"$10^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-9 else f"{value:g}"


def _regressions(axis, dataset, curve: pd.DataFrame, reg: int) -> None:
    """Medians with quartiles over the runs of a beta, series side by side."""
    for beta, part in curve.groupby("beta"):
        rows = [row for _, row in part.iterrows()]
        network = np.concatenate([finished(dataset, row, "network_eval_mse")[:, -1] for row in rows])
        low, middle, high = quartiles(network)
        axis.fill_between([beta / 1.25, beta * 1.25], low, high, color="black", alpha=0.15, linewidth=0)
        axis.plot([beta / 1.25, beta * 1.25], [middle] * 2, color="black", linewidth=1.4)
        for k, (start, snapshot, _, colour, marker, full) in enumerate(REGRESSIONS):
            at = list(dataset.start.values).index(start)
            errors = [finished(dataset, row, "eval_mse", start=at, diag_reg=reg)[:, snapshot] for row in rows]
            low, middle, high = quartiles(np.concatenate(errors))
            x = beta * 1.1 ** (k - 1.5)
            axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
            axis.plot(x, middle, marker, color=colour, markersize=3.5, markerfacecolor=colour if full else "white")
    style.log(axis)
    axis.set(xlabel=r"$\beta$", xlim=(curve.beta.min() / 1.5, curve.beta.max() * 1.5))


def stop(data: Data):
    """Eval error of stopping at t* and regressing with K_t*, over that of training on to the end, along training."""
    rows, dataset = few(base(data)), data["perturbation"]
    colours, steps = colours_of(rows), dataset.step.values
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 4.1), sharey=True)
    for _, row in rows.iterrows():
        ridge = chosen_ridge(dataset, row)
        errors = finished(dataset, row, "eval_mse", diag_reg=ridge)
        end = finished(dataset, row, "network_eval_mse")[:, -1:]
        share = np.broadcast_to(steps / steps[-1], end.shape[:1] + steps.shape)
        for axis, start in zip(axes, ("network", "zero"), strict=True):
            ratio = errors[..., list(dataset.start.values).index(start)] / end
            low, middle, high = quartiles(ratio)
            x = np.where(share[0] > 0, share[0], np.min(share[0][1:]) / 3)  # the start, left of the first step
            axis.fill_between(x, low, high, color=colours[row.beta], alpha=0.15, linewidth=0)
            axis.plot(x, middle, "-o", color=colours[row.beta], markersize=3, linewidth=1.1)
    for axis, words in zip(
        axes, ("from the network at $t^*$: fits what is left", "from zero: the kernel alone"), strict=True
    ):
        axis.axhline(1, color="0.4", linewidth=0.9, linestyle=":")
        style.log(axis)
        axis.set(xlabel="share of the training spent at $t^*$ (leftmost: 0)")
        axis.set_title(words, fontsize=9)
    axes[0].set_ylabel("eval error: regression with $K_{t^*}$ / training on")
    figure.suptitle(f"{step_said(rows.iloc[0])}; ridge by leave-one-out error", fontsize=9)
    handles = [Line2D([], [], color=colours[row.beta], label=_with_cost(dataset, row)) for _, row in rows.iterrows()]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label="as good as training on"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


def _with_cost(dataset, row: pd.Series) -> str:
    """The cell, with the flops of one kernel and regression as a share of those of the training."""
    one = float(row.regression_flops + row.kernel_flops)
    cost = one / float(row.training_flops) if np.isfinite(row.training_flops) else np.nan
    return said(row) + (f"; regression costs {100 * cost:.2g} % of the training" if np.isfinite(cost) else "")
