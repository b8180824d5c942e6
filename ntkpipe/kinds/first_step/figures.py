"""Figures of a first step: size, scaling with beta, gate flips by width, dependence on eta and label."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.theory.first_step import hanin_nica_ratio_limit


def _cells(data: Data) -> pd.DataFrame:
    frame = data["first_step"].to_dataframe().reset_index(drop=True)
    frame = frame[(frame.width > 0) & (frame.depth > 0)].sort_values("beta")
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    return frame


def _base(frame: pd.DataFrame) -> pd.DataFrame:
    """The curve over beta: the settings (without biases where there are such cells) that most cells share."""
    if "none" in set(frame.bias_init):
        frame = frame[frame.bias_init == "none"]
    settings = ["eta_unit", "eta", "label", "bias_init", "activation", "parametrization", "engine"]
    groups = frame.groupby(settings, sort=False)
    return groups.get_group(groups.size().idxmax()) if len(frame) else frame


def _say(frame: pd.DataFrame) -> str:
    row = frame.iloc[0]
    unit = "" if row.eta_unit == "absolute" else r" $\times\,2/K_0$"
    return rf"$\eta$ = {row.eta:g}{unit}, label {row.label}"


def _resolved(curve: pd.DataFrame, name: str) -> pd.Series:
    """Where a theory value is known: always if exact, if predicted by sampling where its interval is within a half."""
    if name != "flip_predicted":
        return curve[name].notna()
    return (curve.flip_predicted_high - curve.flip_predicted_low) < curve.flip_predicted.abs()


def _errors(value, low, high):
    return [np.maximum(value - low, 0), np.maximum(high - value, 0)]


def step_change(data: Data):
    """E[DeltaK]/E[K_0] per unit eta against beta: whole step, derivative, flips, with exact and predicted values."""
    frame = _base(_cells(data))
    colours = style.palette(set(frame.width))
    figure, axes = plt.subplots(1, 3, figsize=(10.6, 3.6), sharey=True)
    panels = (
        ("delta_ntk", "whole step", None),
        ("linear", "derivative, gates held", "delta_ntk_exact"),
        ("flip", "gate flips (and higher orders)", "flip_predicted"),
    )
    for axis, (name, title, exact) in zip(axes, panels, strict=True):
        for width, curve in frame.groupby("width"):
            scale = curve.eta * (curve.ntk_mean_exact if curve.ntk_mean_exact.notna().all() else curve.ntk_mean)
            mean = "delta_ntk_mean" if name == "delta_ntk" else f"{name}_mean"
            value, low, high = (-curve[c] / scale for c in (mean, f"{name}_high", f"{name}_low"))
            for flagged in (0, 1):
                part = (curve.undersampled == flagged) & (value > 0)
                axis.errorbar(
                    curve.beta[part],
                    value[part],
                    yerr=[
                        np.minimum(e[part], 0.999 * value[part]) if i == 0 else e[part]
                        for i, e in enumerate(_errors(value, low, high))
                    ],
                    fmt="o",
                    color=colours[width],
                    alpha=0.35 if flagged else 1.0,
                    markerfacecolor="white" if flagged else colours[width],
                    markersize=4,
                    linewidth=1,
                )
            if exact is not None:
                known = _resolved(curve, exact)
                axis.plot(curve.beta[known], -(curve[exact] / scale)[known], color=colours[width], linewidth=1.0)
        axis.set(yscale="log", xlabel=r"$\beta$ = depth/width", title=title)
        style.readable_log(axis.yaxis)
    axes[0].set_ylabel(r"$-E[\Delta K]\,/\,(\eta\,E[K_0])$")
    lines = [Line2D([], [], color="0.3", linewidth=1, label="exact (derivative),\npredicted jump sum (flips)")]
    if (frame.undersampled == 1).any():
        lines.append(
            Line2D(
                [], [], color="0.3", marker="o", linestyle="", markerfacecolor="white", alpha=0.5, label="undersampled"
            )
        )
    handles = [Line2D([], [], color=c, marker="o", markersize=4, label=f"width {w}") for w, c in colours.items()]
    figure.legend(handles=[*handles, *lines], loc="outside right center", fontsize=7.5, title=_say(frame))
    return figure


def step_scaling(data: Data):
    """The published scaling with its constant: derivative over (d beta |x|^2/n_0) exp(5 beta) E[K]."""
    frame = _base(_cells(data))
    he = (frame.parametrization == "ntk") & np.isclose(frame.sigma_w, 2**0.5) & np.isclose(frame.sigma_v, 1.0)
    frame = frame[he & frame.delta_ntk_exact.notna()]
    if frame.empty:
        raise style.NothingToDraw("it shows cells with an exact derivative and He scale; this study has none")
    colours = style.palette(set(frame.width))
    figure, axis = plt.subplots(figsize=(6.2, 3.6))
    for width, curve in frame.groupby("width"):
        # E[K] = (d + 1)|x|^2/n_0 without biases, so |x|^2/n_0 is read off it
        unit = curve.ntk_mean_exact / (curve.depth + 1)
        scale = curve.eta * curve.ntk_mean_exact * curve.depth * curve.beta * unit * np.exp(5 * curve.beta)
        value, low, high = (-curve[c] / scale for c in ("linear_mean", "linear_high", "linear_low"))
        trusted = curve.undersampled == 0
        for part, face, alpha in ((trusted, colours[width], 1.0), (~trusted, "white", 0.35)):
            axis.errorbar(
                curve.beta[part], value[part], yerr=[e[part] for e in _errors(value, low, high)], fmt="o",
                color=colours[width], markerfacecolor=face, alpha=alpha, markersize=4, linewidth=1,
            )  # fmt: skip
        axis.plot(curve.beta, -curve.delta_ntk_exact / scale, color=colours[width], linewidth=1)
    if len(frame):
        grid = np.linspace(max(frame.beta.min() / 2, 1e-3), frame.beta.max(), 200)
        axis.plot(grid, hanin_nica_ratio_limit(grid), **style.LIMIT)
    axis.set(
        xlabel=r"$\beta$ = depth/width",
        ylabel=r"$E[f\dot K]/E[K]\;\div\;(d\beta|x|^2/n_0)\,e^{5\beta}$",
        ylim=(0, None),
    )
    handles = [
        Line2D([], [], color=c, marker="o", markersize=4, label=f"width {w}, exact line") for w, c in colours.items()
    ]
    handles += [Line2D([], [], **style.LIMIT, label=r"limit: 4/3 at 0, $2/(3\beta)$ beyond")]
    figure.legend(handles=handles, loc="outside right center", fontsize=7.5)
    return figure


def step_flips(data: Data):
    """Share of the whole change that is gate flips, against width, by depth and label."""
    frame = _cells(data)
    base = _base(frame)
    for name in ("eta_unit", "eta", "bias_init", "activation", "parametrization", "engine"):
        frame = frame[frame[name] == base[name].iloc[0]]
    if (frame.undersampled == 1).all():
        raise style.NothingToDraw("it shows trusted cells; this study has none")
    labels = sorted(set(frame.label))
    betas = sorted(set(frame.beta))
    colours = dict(zip(betas, sns.color_palette("flare", len(betas)), strict=True))
    figure, axes = plt.subplots(1, len(labels), figsize=(1.8 + 3.0 * len(labels), 3.5), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], labels, strict=True):
        for beta, curve in frame[(frame.label == name) & (frame.undersampled == 0)].groupby("beta"):
            curve = curve.sort_values("width")
            share, low, high = (curve[f"flip_share{end}"] for end in ("", "_low", "_high"))
            axis.errorbar(
                curve.width, share, yerr=_errors(share, low, high), fmt="o-", color=colours[beta], markersize=4,
                linewidth=0.9,
            )  # fmt: skip
            whole = curve.flip_predicted + curve.delta_ntk_exact
            known = _resolved(curve, "flip_predicted")
            axis.plot(
                curve.width[known], (curve.flip_predicted / whole)[known], "--", color=colours[beta], linewidth=0.9
            )
        axis.set(xscale="log", xlabel="width", title=f"label {name}")
        axis.set_xticks(sorted(set(frame.width)), [str(w) for w in sorted(set(frame.width))])
        axis.minorticks_off()
    axes[0][0].set_ylabel(r"share of gate flips in $E[\Delta K]$")
    handles = [Line2D([], [], color=c, marker="o", markersize=4, label=rf"$\beta$ = {b:g}") for b, c in colours.items()]
    handles.append(Line2D([], [], color="0.3", linestyle="--", label="predicted to first order"))
    figure.legend(handles=handles, loc="outside right center", fontsize=7.5)
    return figure


def step_eta(data: Data):
    """E[DeltaK]/E[K_0] over eta and the fraction of gates flipped against eta: where the linear regime ends."""
    frame = _cells(data)
    base = _base(frame).iloc[0]
    for name in ("activation", "parametrization", "sigma_w", "sigma_v", "sigma_b", "engine"):  # one setting
        frame = frame[frame[name] == base[name]]
    cells = frame.groupby(["eta_unit", "width", "depth", "label", "bias_init"]).eta.nunique()
    chosen = cells[cells > 1].index
    if not len(chosen):
        chosen = cells.index[:1]
    colours = dict(zip(chosen, sns.color_palette("deep", max(len(chosen), 1)), strict=False))
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.6))
    for key, colour in colours.items():
        unit, width, depth, name, bias = key
        curve = frame[
            (frame.eta_unit == unit) & (frame.width == width) & (frame.depth == depth)
            & (frame.label == name) & (frame.bias_init == bias)
        ].sort_values("eta")  # fmt: skip
        value, low, high = (
            -curve[c] / (curve.eta * curve.ntk_mean) for c in ("delta_ntk_mean", "delta_ntk_high", "delta_ntk_low")
        )
        axes[0].errorbar(
            curve.eta, value, yerr=_errors(value, low, high), fmt="o-", color=colour, markersize=4, linewidth=0.9
        )
        first = -(curve.linear_mean + curve.flip_predicted) / (curve.eta * curve.ntk_mean)
        known = _resolved(curve, "flip_predicted")
        axes[0].plot(curve.eta[known], first[known], "--", color=colour, linewidth=0.9)
        axes[1].plot(curve.eta, curve.flipped_fraction, "o-", color=colour, markersize=4, linewidth=0.9)
    for axis in axes:
        axis.set(xscale="log", xlabel=r"step size $\eta$")
    axes[0].set_ylabel(r"$-E[\Delta K]\,/\,(\eta\,E[K_0])$")
    axes[0].axhline(0, color="0.6", linewidth=0.8)
    axes[1].set_ylabel("fraction of gates flipped")
    axes[1].set_yscale("log")
    style.readable_log(axes[1].yaxis)
    handles = [
        Line2D([], [], color=c, marker="o", markersize=4, label=f"width {k[1]}, depth {k[2]}, label {k[3]}")
        for k, c in colours.items()
    ]
    handles.append(Line2D([], [], color="0.3", linestyle="--", label="first order: derivative\n+ predicted flips"))
    figure.legend(handles=handles, loc="outside right center", fontsize=7.5)
    return figure


FIGURES = {"step_change": step_change, "step_scaling": step_scaling, "step_flips": step_flips, "step_eta": step_eta}
