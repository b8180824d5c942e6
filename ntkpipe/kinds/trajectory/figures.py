"""Figures of training: the answer on one page, paths, predictions, freezing and kernel regression, the hierarchy."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_answer import regimes_answer
from ntkpipe.kinds.trajectory.figures_cells import base, cells_of, finished, quartiles, read_as, step_said
from ntkpipe.kinds.trajectory.figures_paths import paths, predicted

REGRESSIONS = (
    ("zero", 0, "from 0, K at the start", "#0072B2", "o", False),
    ("network", 0, "from the network, K at the start", "#0072B2", "s", False),
    ("zero", -1, "from 0, K at the end", "#D55E00", "o", True),
    ("network", -1, "from the network, K at the end", "#D55E00", "s", True),
)
"""start, snapshot, words, colour, marker, filled"""


def freeze(data: Data):
    """Freeze and plateau times in units of 1/lambda_max(K_0); eval error of the network and of kernel regression."""
    curve, dataset = base(data), data["perturbation"]
    regs = dataset.diag_reg.values[:3]
    figure, axes = plt.subplots(1, 1 + len(regs), figsize=(4.2 + 2.5 * len(regs), 4.0),
                                width_ratios=[1.5, *[1] * len(regs)])  # fmt: skip
    _times(axes[0], data, curve)
    for number, (axis, reg) in enumerate(zip(axes[1:], regs, strict=True)):
        if number:
            axis.sharey(axes[1])
            axis.tick_params(labelleft=False)
        _regressions(axis, dataset, curve, number)
        axis.set_title(rf"$\lambda$ = {_power(reg)} tr$K/N$", fontsize=9)
    axes[1].set_ylabel("eval error, mean square")
    handles = [Line2D([], [], color="black", marker="_", markersize=9, label="network at the end")]
    handles += [
        Line2D([], [], color=c, marker=m, markerfacecolor=c if full else "white", markersize=4, label=words)
        for _, _, words, c, m, full in REGRESSIONS
    ]
    middle = axes[1 + len(regs) // 2]
    below = middle.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7,
                          title_fontsize=7, ncols=1 if len(regs) == 1 else 2, title="kernel regression")  # fmt: skip
    below.set_in_layout(len(regs) == 1)  # wider than its panel; the legend on the left makes room below
    return figure


def _power(value: float) -> str:
    exponent = np.log10(value)
    return f"$10^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-9 else f"{value:g}"


def _times(axis, data: Data, curve: pd.DataFrame) -> None:
    """Medians with quartiles over the runs of a beta; not in the run: hollow, above its end."""
    dataset = data["perturbation"]
    ends, firsts, counts = [], [], []
    looks = {"freeze_time": ("kernel freezes", "#0072B2", "o"), "plateau_time": ("loss at its plateau", "#D55E00", "s")}
    pooled = {}
    for beta, part in curve.groupby("beta"):
        rows = [row for _, row in part.iterrows()]
        scale = [finished(dataset, row, "eigenvalues")[:, 0, 0] for row in rows]
        ends.append(np.concatenate([finished(dataset, r, "time")[:, -1] * s for r, s in zip(rows, scale, strict=True)]))
        firsts += [np.median(finished(dataset, r, "time")[:, 1] * s) for r, s in zip(rows, scale, strict=True)]
        pooled[beta] = {
            name: np.concatenate([finished(dataset, r, name) * s for r, s in zip(rows, scale, strict=True)])
            for name in looks
        }
    beyond = 2.2 * max(map(np.max, ends))
    first = min(firsts)
    for (name, (_, colour, marker)), shift in zip(looks.items(), (0.95, 1.05), strict=True):
        for beta, values in pooled.items():
            known = values[name][~np.isnan(values[name])]
            if not len(known):
                continue
            low, middle, high = np.clip(quartiles(known), first / 2, beyond)  # from the start on: below the first step
            full = middle < beyond
            axis.plot([beta * shift] * 2, [low, high], color=colour, linewidth=1)
            axis.plot(beta * shift, middle, marker if full else "^", color=colour, markersize=5,
                      markerfacecolor=colour if full else "white")  # fmt: skip
        every = np.concatenate([values[name] for values in pooled.values()])
        every = every[~np.isnan(every)]
        counts.append(f"{np.isfinite(every).sum()} of {len(every)} runs")
    axis.plot(list(pooled), [np.median(e) for e in ends], "--", marker="_", color="0.4", linewidth=1)
    axis.set(xscale="log", yscale="log", xlabel=r"$\beta$ = depth/width")
    axis.set_ylabel(r"flow time $\times\ \lambda_{max}(K_0)$")
    axis.set_title(step_said(curve.iloc[0]), fontsize=9)
    axis.set_xlim(min(pooled) / 1.5, max(pooled) * 1.5)
    axis.set_ylim(None, 1.6 * beyond)
    style.readable_log(axis.xaxis)
    style.readable_log(axis.yaxis)
    handles = [
        Line2D([], [], color=colour, marker=marker, label=f"{word}: {count}")
        for (word, colour, marker), count in zip(looks.values(), counts, strict=True)
    ]
    handles += [
        Line2D([], [], color="0.4", linestyle="--", label="end of the run"),
        Line2D([], [], color="0.4", marker="^", linestyle="", markerfacecolor="white", label="not within the run"),
    ]
    velocity = read_as(data).velocity
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, title_fontsize=7,
                title=f"change below {velocity:g} an e-fold of time")  # fmt: skip


def _regressions(axis, dataset, curve: pd.DataFrame, reg: int) -> None:
    """Medians with quartiles over the runs of a beta, series side by side."""
    for beta, part in curve.groupby("beta"):
        rows = [row for _, row in part.iterrows()]
        network = np.concatenate([finished(dataset, row, "network_eval_mse")[:, -1] for row in rows])
        low, middle, high = quartiles(network)
        axis.fill_between([beta / 1.25, beta * 1.25], low, high, color="black", alpha=0.15, linewidth=0)
        axis.plot([beta / 1.25, beta * 1.25], [middle] * 2, color="black", linewidth=1.4)
        for k, (start, snapshot, _, colour, marker, full) in enumerate(REGRESSIONS):
            at = ["network", "zero"].index(start)
            values = np.concatenate([finished(dataset, row, "eval_mse")[:, snapshot, at, reg] for row in rows])
            low, middle, high = quartiles(values)
            x = beta * 1.1 ** (k - 1.5)
            axis.plot([x, x], [low, high], color=colour, linewidth=0.8)
            axis.plot(x, middle, marker, color=colour, markersize=3.5, markerfacecolor=colour if full else "white")
    axis.set(xscale="log", yscale="log", xlabel=r"$\beta$", xlim=(curve.beta.min() / 1.5, curve.beta.max() * 1.5))
    style.readable_log(axis.xaxis)
    style.readable_log(axis.yaxis)


def hierarchy(data: Data):
    """Relative error of DeltaK predicted from initialization by K3, and by K3 and K4, against width."""
    dataset = data["perturbation"]
    if "third_error" not in dataset:
        raise style.NothingToDraw("it shows K_t predicted by K3 and K4; train.tensors is off in this study")
    frame = cells_of(data)
    frame = frame[frame.finished > 0]
    steps = (frame.eta == frame.eta.mode().iloc[0]) & (frame.depth == frame.depth.mode().iloc[0])
    frame = frame[steps].sort_values("width")
    last = dataset.sizes["snapshot"] - 1
    shown = sorted({max(1, last // 4), max(1, last // 2), last})
    activations = list(dict.fromkeys(frame.activation))
    colours = dict(zip(activations, sns.color_palette("colorblind", len(activations)), strict=True))
    figure, axes = plt.subplots(1, len(shown), figsize=(1.0 + 3.1 * len(shown), 3.7), sharey=True, squeeze=False)
    for axis, snapshot in zip(axes[0], shown, strict=True):
        times = []
        for activation, part in frame.groupby("activation", sort=False):
            for k, (name, line, full) in enumerate((("third_error", "--", False), ("fourth_error", "-", True))):
                shift = 1.06 ** (2 * activations.index(activation) + k - len(activations) + 0.5)  # side by side
                found = [quartiles(finished(dataset, row, name)[:, snapshot]) for _, row in part.iterrows()]
                low, middle, high = np.array(found).T
                look = {"color": colours[activation], "markerfacecolor": colours[activation] if full else "white"}
                axis.errorbar(part.width * shift, middle, yerr=[middle - low, high - middle], fmt=line, marker="o",
                              markersize=4, linewidth=1.1, **look)  # fmt: skip
            times += [float(np.median(finished(dataset, row, "time")[:, snapshot])) for _, row in part.iterrows()]
        between = f"{min(times):.2g}" if max(times) < 1.01 * min(times) else f"{min(times):.2g} to {max(times):.2g}"
        axis.set_title(f"step {int(dataset.step[snapshot])}, flow time {between}", fontsize=9)
        axis.axhline(1, color="0.4", linewidth=0.9, linestyle=":")
        axis.set(xscale="log", yscale="log", xlabel="width")
        widths = sorted(set(frame.width))
        style.readable_log(axis.yaxis)
        axis.set_xticks(widths, [str(w) for w in widths])
        axis.minorticks_off()
    axes[0][0].set_ylabel(r"$|K_t^{pred}-K_t|_F\,/\,|K_t-K_0|_F$")
    handles = [Line2D([], [], color=c, linewidth=3, label=a) for a, c in colours.items()]
    handles += [
        Line2D([], [], color="0.3", linestyle="--", marker="o", markerfacecolor="white", label="K3"),
        Line2D([], [], color="0.3", marker="o", label="K3 and K4"),
        Line2D([], [], color="0.4", linestyle=":", label="no better than $K_0$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7.5)
    return figure


FIGURES = {
    "regimes_answer": regimes_answer,
    "paths": paths,
    "predicted": predicted,
    "freeze": freeze,
    "hierarchy": hierarchy,
}
