"""Figures of a first step: the answer on one page, sizes against beta, dependence on eta and label, Gram changes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.first_step.figures_answer import base_curve, cells_of, errors, points, resolved, step_answer
from ntkpipe.networks import SETTINGS


def _say(frame: pd.DataFrame) -> str:
    row = frame.iloc[0]
    unit = "" if row.eta_unit == "absolute" else r" $\times\,2/K_0$"
    return rf"$\eta$ = {row.eta:g}{unit}, label {row.label}"


def step_change(data: Data):
    """E[DeltaK]/E[K_0] per unit eta against beta: whole step, derivative, flips, with exact and predicted values."""
    frame = base_curve(cells_of(data))
    frame = frame[frame.linear_mean.notna()]
    if frame.empty:
        raise style.NothingToDraw("it shows cells that are drawn; this study has none")
    colours = style.palette(set(frame.width))
    figure, axes = plt.subplots(1, 3, figsize=(10.6, 3.6), sharey=True)
    panels = (
        ("delta_ntk", "whole step", None),
        ("linear", "derivative, gates held", "delta_ntk_exact"),
        ("rest", "the rest: gate flips, higher orders", "flip_predicted"),
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
                        for i, e in enumerate(errors(value, low, high))
                    ],
                    fmt="o",
                    color=colours[width],
                    alpha=0.35 if flagged else 1.0,
                    markerfacecolor="white" if flagged else colours[width],
                    markersize=4,
                    linewidth=1,
                )
            if exact is not None:
                known = resolved(curve, exact)
                axis.plot(curve.beta[known], -(curve[exact] / scale)[known], color=colours[width], linewidth=1.0)
        axis.set(yscale="log", xlabel=r"$\beta$ = depth/width", title=title)
        style.readable_log(axis.yaxis)
    axes[0].set_ylabel(r"$-E[\Delta K]\,/\,(\eta\,E[K_0])$")
    lines = [Line2D([], [], color="0.3", linewidth=1, label="exact (derivative),\njump sum (flips)")]
    if (frame.undersampled == 1).any():
        lines.append(
            Line2D(
                [], [], color="0.3", marker="o", linestyle="", markerfacecolor="white", alpha=0.5, label="undersampled"
            )
        )
    handles = [Line2D([], [], color=c, marker="o", markersize=4, label=f"width {w}") for w, c in colours.items()]
    figure.legend(handles=[*handles, *lines], loc="outside right center", fontsize=7.5, title=_say(frame))
    return figure


def step_eta(data: Data):
    """Slope of a step and fraction of sign changes against its size, a row for each unit of eta."""
    frame = cells_of(data)
    frame = frame[frame.delta_ntk_mean.notna()]
    if frame.empty:
        raise style.NothingToDraw("it shows whole steps; this study has none")
    base = base_curve(frame).iloc[0]
    for name in (*(name for name in SETTINGS if name != "bias_init"), "engine"):  # one setting
        frame = frame[frame[name] == base[name]]
    keys = ["eta_unit", "width", "depth", "label", "bias_init"]
    counts = frame.groupby(keys).eta.nunique()
    chosen = counts[counts > 1].index
    if not len(chosen):
        raise style.NothingToDraw("it shows networks at several step sizes; this study has none")
    units = sorted({key[0] for key in chosen})
    figure, axes = plt.subplots(len(units), 2, figsize=(9.4, 3.2 * len(units)), squeeze=False)
    for row, unit in zip(axes, units, strict=True):
        of_unit = [key for key in chosen if key[0] == unit]
        handles = []
        for key, colour in zip(of_unit, sns.color_palette("deep", len(of_unit)), strict=True):
            curve = frame[(frame[keys] == list(key)).all(axis=1)].sort_values("eta")
            ends = (
                -curve[c] / (curve.eta * curve.ntk_mean) for c in ("delta_ntk_mean", "delta_ntk_high", "delta_ntk_low")
            )
            flagged = curve.undersampled == 1
            points(row[0], curve.eta, *ends, flagged, colour, line="-")
            known = resolved(curve, "flip_predicted")
            first = -(curve.linear_mean + curve.flip_predicted) / (curve.eta * curve.ntk_mean)
            row[0].plot(curve.eta[known], first[known], "--", color=colour, linewidth=0.9)
            ends = (curve[f"flipped_fraction{end}"] for end in ("", "_low", "_high"))
            points(row[1], curve.eta, *ends, flagged, colour, line="-")
            handles.append(Line2D([], [], color=colour, marker="o", markersize=4,
                                  label=f"width {key[1]}, depth {key[2]}, label {key[3]}"))  # fmt: skip
            if known.any() and len(handles) == len(of_unit):
                handles.append(Line2D([], [], color="0.3", linestyle="--", label="first order: derivative\n+ jump sum"))
        what = r"step size $\eta$" if unit == "absolute" else r"step size $\eta$ in units of $2/\lambda_{max}(K_0)$"
        for axis in row:
            axis.set(xscale="log", xlabel=what)
            style.readable_log(axis.xaxis)
        row[0].set_ylabel(r"$-E[\Delta K]\,/\,(\eta\,E[K_0])$")
        row[0].axhline(0, color="0.6", linewidth=0.8)
        row[1].set_ylabel("fraction of sign changes")
        row[1].set_yscale("log")
        style.readable_log(row[1].yaxis)
        row[1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=7.5)
    return figure


def step_gram(data: Data):
    """E[DeltaK(x, x')] over sqrt(E K_0(x, x) E K_0(x', x')), batch and other points, of up to four cells."""
    dataset = data["first_step"]
    shown = [i for i in range(dataset.sizes["cell"]) if np.isfinite(dataset.delta_ntk_gram_mean[i]).all()][:4]
    if not shown:
        raise style.NothingToDraw("it shows cells that are drawn; this study has none")
    figure, axes = plt.subplots(1, len(shown), figsize=(1.6 + 2.6 * len(shown), 3.0), squeeze=False)
    images = []
    for i in shown:
        row = dataset.isel(cell=i)
        size = np.sqrt(np.diagonal(row.ntk_gram_mean.values))
        images.append(row.delta_ntk_gram_mean.values / np.outer(size, size))
    limit = max(np.abs(image).max() for image in images)
    for axis, i, image in zip(axes[0], shown, images, strict=True):
        row = dataset.isel(cell=i)
        picture = axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        edge = float(row.n_train) - 0.5
        axis.axhline(edge, color="black", linewidth=0.8)
        axis.axvline(edge, color="black", linewidth=0.8)
        axis.grid(False)
        axis.set(xlabel="point x", title=f"{row.activation.item()}, width {int(row.width)}, depth {int(row.depth)}\n"
                 f"$\\eta$ = {float(row.eta):g}, label {row.label.item()}")  # fmt: skip
    axes[0][0].set_ylabel("point x'; batch before the line")
    if len(shown) < dataset.sizes["cell"]:
        figure.suptitle(
            f"the first {len(shown)} of {dataset.sizes['cell']} cells; all are in first_step.zarr", fontsize=8
        )
    figure.colorbar(picture, ax=axes[0], label=r"$E[\Delta K(x, x')]\;/\;(E K_0(x,x)\,E K_0(x',x'))^{1/2}$")
    return figure


FIGURES = {"step_answer": step_answer, "step_change": step_change, "step_eta": step_eta, "step_gram": step_gram}
