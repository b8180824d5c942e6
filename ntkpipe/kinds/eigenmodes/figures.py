"""Figures of eigenmodes: decay of modes, rates against eigenvalues, what finite width bends, held-out against train."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D
from scipy import stats

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.eigenmodes.figures_density import eigenfunctions, fit_times
from ntkpipe.kinds.eigenmodes.report_words import setting, varying

CONFIDENCE = 0.95
RATIOS = {"measured / limit": "#0072B2", "frozen / limit": "#E69F00", "measured / frozen": "#D55E00"}
MOST = 3
"""Cells whose decay is shown."""


def frame_of(dataset: xr.Dataset) -> pd.DataFrame:
    """Coordinates and variables of the cells or fits, one row each; ``place``: the number of the row."""
    rows = next(dim for dim in ("fit", "cell") if dim in dataset.dims)
    found = dataset.drop_dims([dim for dim in dataset.dims if dim != rows]).to_dataframe().reset_index(drop=True)
    return found.assign(place=np.arange(len(found)))


def mode_decay(data: Data):
    """What is left of each target's own mode against time: networks, K_0, and T_p; nearest and farthest cells."""
    modes, fits = data["modes"], frame_of(data["fits"])
    cells = frame_of(modes)
    uniform = cells[cells.density == "uniform"]
    if uniform.empty:
        raise style.NothingToDraw("it shows Fourier modes under the uniform density; this study has none")
    names = varying(cells)
    bend = fits[(fits.quantity == "bend") & (fits.of == "measured / limit") & np.isfinite(fits.estimate)]
    known = {setting(row, names): row.estimate for row in bend.itertuples()}
    order = sorted(uniform.itertuples(), key=lambda row: known.get(setting(row, names), np.inf))
    lost = [row for row in order if row.n_unlearned]
    chosen = list({row.place: row for row in (order[0], order[-1], *lost[:1])}.values())[:MOST]
    figure, axes = plt.subplots(1, len(chosen), figsize=(1.0 + 3.3 * len(chosen), 3.7), squeeze=False, sharey=True)
    q = modes["frequency"].values
    colours = style.palette(q)
    for axis, row in zip(axes[0], chosen, strict=True):
        part = modes.isel(cell=row.place)
        target = part["target_of"].values.astype(int)
        tau = part["rate"].values.mean() * row.train_points * part["step"].values
        for i in np.flatnonzero(target >= 0):
            here = part.isel(target=target[i], mode=i)
            left = {n: here[f"c_{n}"].values / here[f"c_{n}"].values[:, :1] for n in ("train", "frozen", "operator")}
            mean = left["train"].mean(axis=0)
            half = _half(left["train"])
            colour = colours[q[target[i]]]
            axis.errorbar(
                tau[1:], mean[1:], half[1:], color=colour, marker="o", markersize=3.5, linewidth=0, elinewidth=1
            )
            axis.plot(tau[1:], left["frozen"].mean(axis=0)[1:], color=colour, linewidth=1.0)
            axis.plot(tau[1:], left["operator"].mean(axis=0)[1:], color=colour, linewidth=1.3, linestyle="--")
        axis.set_title("\n".join(_two_lines(setting(row, names))), fontsize=8)
        axis.set_xlabel(r"time $\eta s N t$")
        axis.set_xscale("log")
        style.readable_log(axis.xaxis)
        axis.set_ylim(-0.12, 1.15)
    axes[0][0].set_ylabel(r"left of $\cos q\theta$ (train points)")
    handles = [Line2D([], [], color=c, marker="o", linewidth=0, label=f"q = {n}") for n, c in colours.items()]
    handles += [Line2D([], [], color="0.3", linewidth=1.0, label="$K_0$ frozen"),
                Line2D([], [], color="0.3", linestyle="--", label=r"$(1-\eta s N\lambda_q)^t$")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)), fontsize=8)
    return figure


def _half(values: np.ndarray) -> np.ndarray:
    """Half of Student's interval over seeds."""
    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1])
    return stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def _two_lines(text: str) -> list[str]:
    """A cell's words on two lines."""
    parts = text.split(", ")
    half = (len(parts) + 1) // 2
    return [", ".join(parts[:half]), ", ".join(parts[half:])]


def mode_rates(data: Data):
    """Effective eigenvalue of each mode against that of T_p, a panel for each scale of the targets."""
    rows = frame_of(data["fits"])
    rows = rows[(rows.quantity == "rate") & (rows.of == "train") & np.isfinite(rows.estimate) & (rows.width > 0)]
    if rows.empty:
        raise style.NothingToDraw("it shows rates of modes; none is known in this study")
    scales, widths = sorted(set(rows.scale)), sorted(set(rows.width))
    colours, depths = style.palette(widths), sorted(set(rows.depth))
    markers = dict(zip(depths, "osD^vP", strict=False))
    figure, axes = plt.subplots(1, len(scales), figsize=(1.0 + 3.4 * len(scales), 3.9), squeeze=False, sharey=True)
    for axis, scale in zip(axes[0], scales, strict=True):
        for (width, depth, density), part in rows[rows.scale == scale].groupby(["width", "depth", "density"]):
            filled = density == "uniform"
            axis.errorbar(
                part.predicted,
                part.estimate,
                style.bars(part.estimate, part.low, part.high),
                color=colours[width],
                linewidth=0,
                elinewidth=1,
                marker=markers.get(depth, "x"),
                markersize=5,
                alpha=0.85,
                markerfacecolor=colours[width] if filled else "white",
            )
        ends = np.array([rows.predicted.min(), rows.predicted.max()]) * [0.8, 1.25]
        axis.plot(ends, ends, **style.LIMIT)
        style.log(axis)
        axis.set_title(f"targets {scale:g} cos q$\\theta$", fontsize=9)
        axis.set_xlabel(r"eigenvalue $\lambda_i$ of $T_p$, limit kernel")
    axes[0][0].set_ylabel(r"rate: effective $\lambda$ of the networks")
    handles = [Line2D([], [], color=c, marker="o", linewidth=0, label=f"width {w}") for w, c in colours.items()]
    if len(depths) > 1:
        handles += [Line2D([], [], color="0.3", marker=markers.get(d, "x"), linewidth=0, label=f"depth {d}")
                    for d in depths]  # fmt: skip
    if rows.density.nunique() > 1:
        handles.append(Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linewidth=0,
                              label="density not uniform"))  # fmt: skip
    handles.append(Line2D([], [], label="infinite width", **style.LIMIT))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def bend(data: Data):
    """Measured over limit rates by frequency and width, and the size of the bend against beta, by its two causes."""
    fits = frame_of(data["fits"])
    ratio = fits[(fits.quantity == "ratio") & np.isfinite(fits.estimate) & (fits.width > 0)]
    sizes = fits[(fits.quantity == "bend") & np.isfinite(fits.estimate) & (fits.width > 0) & fits.of.isin(list(RATIOS))]
    if ratio.empty or sizes.empty:
        raise style.NothingToDraw("it shows measured over predicted rates; none is known in this study")
    scales = sorted(set(sizes.scale))
    figure, axes = plt.subplots(2, len(scales), figsize=(1.0 + 3.6 * len(scales), 6.4), squeeze=False, sharey="row")
    for (top, low), scale in zip(axes.T, scales, strict=True):
        here = ratio[(ratio.scale == scale) & (ratio.of == "measured / limit")]
        same = here.groupby(["depth", "density", "bias_init", "train_points"]).width.nunique()
        usual = same.idxmax()
        key = (here.depth == usual[0]) & (here.density == usual[1]) & (here.bias_init == usual[2])
        here = here[key & (here.train_points == usual[3])]
        colours = style.palette(sorted(set(here.width)))
        for k, (width, part) in enumerate(here.groupby("width")):
            part = part.sort_values("frequency")
            top.errorbar(
                part.frequency + 0.06 * (k - len(colours) / 2),
                part.estimate,
                style.bars(part.estimate, part.low, part.high),
                marker="o",
                color=colours[width],
                markersize=4.5,
                linewidth=1.0,
                label=f"width {width}",
            )
        top.axhline(1.0, **style.LIMIT)
        top.set_yscale("log")
        style.readable_log(top.yaxis)
        top.set_xlabel("q of the target")
        top.set_title(f"targets {scale:g} cos q$\\theta$; depth {usual[0]}, {usual[1]}", fontsize=9)
        top.legend(fontsize=7.5)
        for of, colour in RATIOS.items():
            part = sizes[(sizes.of == of) & (sizes.scale == scale)]
            for depth, points in part.groupby("depth"):
                shift = 1.03 ** (list(RATIOS).index(of) - 1)
                low.errorbar(
                    points.beta * shift,
                    points.estimate,
                    style.bars(points.estimate, points.low, points.high),
                    color=colour,
                    linewidth=0,
                    elinewidth=1,
                    marker="os^D"[min(depth, 4) - 1],
                    markersize=5,
                    alpha=0.85,
                )
        beta = np.array([sizes.beta.min(), sizes.beta.max()])
        anchor = sizes[(sizes.of == "frozen / limit") & (sizes.scale == scale)]
        if len(anchor) and beta[0] < beta[1]:
            at = np.exp(np.mean(np.log(anchor.estimate)) - 0.5 * np.mean(np.log(anchor.beta)))
            low.plot(beta, at * np.sqrt(beta), color="0.4", linestyle=":", linewidth=1.3)
        style.log(low)
        low.set_xlabel(r"$\beta$ = depth/width")
    axes[0][0].set_ylabel("rate, measured / limit")
    axes[1][0].set_ylabel("root mean square over modes\nof log ratio of rates")
    handles = [Line2D([], [], color=c, marker="o", linewidth=0, label=of) for of, c in RATIOS.items()]
    handles.append(Line2D([], [], color="0.4", linestyle=":", label=r"$\beta^{1/2}$"))
    if sizes.depth.nunique() > 1:
        handles += [Line2D([], [], color="0.3", marker="os^D"[min(d, 4) - 1], linewidth=0, label=f"depth {d}")
                    for d in sorted(set(sizes.depth))]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8)
    return figure


def held_out(data: Data):
    """Coefficients held out against those on the train points, and how far they are from T_p's prediction by width."""
    modes, fits = data["modes"], frame_of(data["fits"])
    cells = frame_of(modes)
    cells = cells[cells.width > 0]
    rows = fits[(fits.of == "all") & np.isfinite(fits.estimate) & (fits.width > 0)]
    if cells.empty or rows.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    widths = sorted(set(cells.width))
    colours = style.palette(widths)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.2))
    for row in cells.itertuples():
        part = modes.isel(cell=row.place)
        target = part["target_of"].values.astype(int)
        i = np.flatnonzero((target >= 0) & (part["eigenvalue"].values > 0))
        train, apart = (np.abs(part[f"c_{n}"].values[:, target[i], :, i] / row.scale) for n in ("train", "held_out"))
        left.plot(train[:, :, 1:].ravel(), apart[:, :, 1:].ravel(), ".", color=colours[row.width], markersize=1.6,
                  alpha=0.35, rasterized=True)  # fmt: skip
    left.plot([1e-3, 1], [1e-3, 1], **style.LIMIT)
    left.set(xlabel=r"$|\langle r_t, u_i\rangle|$ on the train points", ylabel=r"$|\langle r_t, u_i\rangle|$ held out")
    style.log(left)
    left.set(xlim=(1e-3, 1.3), ylim=(1e-3, 1.3))
    for k, (_, of_scale) in enumerate(rows.groupby("scale")):
        for j, (name, colour) in enumerate(
            (("deviation_held_out", "#0072B2"), ("deviation_train", "#E69F00"), ("rest_held_out", "#009E73"))
        ):
            part = of_scale[of_scale.quantity == name].sort_values("width")
            at = part.width * 1.07 ** (k - 0.5) * 1.04 ** (j % 2)
            right.errorbar(
                at,
                part.estimate,
                style.bars(part.estimate, part.low, part.high),
                color=colour,
                linewidth=0,
                elinewidth=1,
                marker="os^D"[min(k, 3)],
                markersize=5,
                alpha=0.85,
            )
            if name == "deviation_held_out":
                right.plot(part.width, part.predicted, linewidth=0, marker="_", markersize=11, color="black")
    style.log(right)
    right.set(xlabel="width", ylabel="over the norm of the target")
    handles = [Line2D([], [], color=c, marker="o", linewidth=0, label=f"width {w}") for w, c in colours.items()]
    handles += [Line2D([], [], color=c, linewidth=3, label=n) for n, c in
                (("held out from $T_p$", "#0072B2"), ("train from $T_p$", "#E69F00"),
                 ("outside the modes, held out", "#009E73"))]  # fmt: skip
    handles.append(
        Line2D([], [], color="black", marker="_", markersize=11, linewidth=0, label="limit kernel on N points")
    )
    handles += [Line2D([], [], color="0.3", marker="os^D"[min(k, 3)], linewidth=0, label=f"scale {s:g}")
                for k, s in enumerate(sorted(set(rows.scale)))]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


FIGURES = {
    "mode_decay": mode_decay,
    "mode_rates": mode_rates,
    "bend": bend,
    "eigenfunctions": eigenfunctions,
    "fit_times": fit_times,
    "held_out": held_out,
}
