"""Where regimes end: beta* along training by tolerance, and the load beyond which runs diverge, by depth."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ntkpipe.analysis import regimes
from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import MARKERS, base, cells_of, one_setting, step_said
from ntkpipe.kinds.trajectory.scaling import GROUP

TOLERANCES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def thresholds(data: Data):
    """Left: beta* at each snapshot, a colour a tolerance. Right: fractions of diverged runs against load, by depth."""
    curve = base(data)
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 4.3))
    _along_training(axes[0], data, curve)
    _stability(axes[1], data, curve)
    return figure


def _along_training(axis, data: Data, curve: pd.DataFrame) -> None:
    """beta* against the step; beyond the betas drawn: arrows at the edge that it lies beyond."""
    head, fits = curve.iloc[0], data["fits"].to_dataframe()
    keys = [*GROUP, "eta", "eta_unit"]
    fits = fits[(fits[keys] == head[keys]).all(axis=1) & (fits.method == "beta_star") & fits.width.isna()]
    fits = fits[fits["at"].str.startswith("step ")]
    low_edge, high_edge = curve.beta.min(), curve.beta.max()
    for colour, (tolerance, part) in zip(TOLERANCES, fits.groupby("tolerance"), strict=False):
        step = part["at"].str.removeprefix("step ").astype(int).to_numpy()
        order = np.argsort(step)
        step, value, low, high = (v[order] for v in (step, *(part[c].to_numpy() for c in ("estimate", "low", "high"))))
        inside = (value > 0) & np.isfinite(value)
        axis.fill_between(step, np.clip(low, low_edge, high_edge), np.clip(high, low_edge, high_edge), color=colour,
                          alpha=0.15, linewidth=0)  # fmt: skip
        axis.plot(step[inside], value[inside], "-o", color=colour, markersize=3.5, linewidth=1.1,
                  label=rf"drift = {tolerance:g}")  # fmt: skip
        axis.plot(step[np.isinf(value)], np.full(np.isinf(value).sum(), high_edge), "^", color=colour, clip_on=False)
        axis.plot(step[value == 0], np.full((value == 0).sum(), low_edge), "v", color=colour, clip_on=False)
    for edge in (low_edge, high_edge):
        axis.axhline(edge, color="0.5", linewidth=0.8, linestyle=":")
    style.log(axis)
    axis.set(xlabel="training step $k$")
    axis.set_ylabel(r"$\beta^*$: drift reaches the tolerance")
    axis.set_title(f"the lazy regime ends beyond\n{step_said(head)}", fontsize=9)
    handles, _ = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.5", linestyle=":", label="smallest and largest beta drawn"))
    handles.append(Line2D([], [], color="0.4", linestyle="", marker="^", label="beyond them"))
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, ncols=2)


def _stability(axis, data: Data, curve: pd.DataFrame) -> None:
    """Share of diverged runs of all widths of a depth, with exact intervals; the load where half diverge, shaded."""
    frame = one_setting(cells_of(data), curve.iloc[0], eta=False)
    flow = curve.training.iloc[0] == "flow"
    if flow or curve.eta_unit.iloc[0] != "critical" or frame.eta.nunique() < 2:
        why = (
            "the flow has no step that could be too large"
            if flow
            else "stability needs several step sizes\nin critical units"
        )
        axis.set_axis_off()
        axis.text(0.5, 0.5, why, ha="center", va="center")
        return
    depths = sorted(set(frame.depth))
    colours, loads = style.palette(depths), sorted(set(frame.eta))
    confidence = float(data["fits"].attrs.get("config", {}).get("tolerances", {}).get("confidence", 0.95))
    for k, depth in enumerate(depths):
        part = frame[frame.depth == depth].groupby("eta")[["runs", "finished"]].sum()
        shares = [regimes.fraction(int(r.runs - r.finished), int(r.runs), confidence) for r in part.itertuples()]
        value, low, high = np.array(shares).T
        x = part.index.to_numpy() * 1.03 ** (k - (len(depths) - 1) / 2)
        axis.errorbar(x, value, yerr=[value - low, high - value], fmt=MARKERS[k % 6], color=colours[depth],
                      markersize=4.5, linewidth=1, label=f"depth {depth}")  # fmt: skip
        axis.plot(x, value, color=colours[depth], linewidth=0.8)
    axis.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    axis.axvline(1, color="0.4", linewidth=0.9, linestyle="--")
    style.log(axis, "x")
    axis.set(xlabel=r"nominal load $\eta s\lambda_{max}(K_0)/2$", ylabel="share of runs that diverge")
    axis.set_xticks(loads, [f"{load:g}" for load in loads], fontsize=7.5)
    axis.minorticks_off()
    axis.set_title(
        f"the unstable regime, all widths of a depth\n{curve.activation.iloc[0]}, {curve.training.iloc[0]}", fontsize=9
    )
    handles, _ = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.4", linestyle="--", label="a frozen kernel diverges beyond"))
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=7, ncols=2)
