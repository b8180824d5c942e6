"""Figures of finite samples: errors and bounds against N, couplings, width against N, incommensurate targets, noise."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.finite_sample import cells

COLOURS = {"limit": "#0072B2", "network": "#D55E00", "frozen": "#009E73", "trained": "#D55E00"}
SAID = {
    "limit": "limit kernel",
    "network": "networks",
    "frozen": "linear dynamics, $K_0$",
    "trained": "trained networks",
}
BOUND = {"color": "0.35", "linewidth": 1.3, "linestyle": ":"}


def cells_of(dataset: xr.Dataset, *, one_width: bool = True) -> pd.DataFrame:
    """:func:`cells.alike`.

    Raises
    ------
    NothingToDraw: no cell has hidden layers of one width.
    """
    rows = cells.alike(dataset, one_width=one_width)
    if rows.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    return rows


def title(rows: pd.DataFrame) -> str:
    """The network of these cells in words."""
    first = rows.iloc[0]
    width = f", width {first.width}" if rows.width.nunique() == 1 else ""
    return f"depth {first.depth}{width}, {style.BIASES[first.bias_init]}"


def errorbar(axis, x, part: xr.Dataset, name: str, **kw) -> None:
    """A variable with its interval; an end that is not known is the value itself, an upper one at infinity an arrow."""
    middle, low, high = (part[f"{name}{end}"].values for end in ("", "_low", "_high"))
    known = [np.where(np.isfinite(end), np.abs(middle - end), 0.0) for end in (low, high)]
    axis.errorbar(x, middle, known, **({"marker": "o", "markersize": 4, "linewidth": 1.1} | kw))
    endless = np.isposinf(high)
    if endless.any():
        x, middle = np.broadcast_to(x, middle.shape)[endless], middle[endless]
        look = {"color": kw.get("color"), "linewidth": 1.1, "linestyle": "none"}
        axis.errorbar(x, middle, 0.35 * np.abs(middle), lolims=True, **look)


def ticks(axis, sizes) -> None:
    """Numbers of points, or widths, on a log axis."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(int(n)) for n in sizes])
    axis.minorticks_off()


def concentration(data: Data):
    """Quantiles of four errors against N, with bounds and exact root mean squares."""
    dataset = data["finite_sample"]
    rows = cells_of(dataset)
    part, n = dataset.isel(cell=rows.cell.to_numpy()), rows.train_points.to_numpy()
    q = 1 if "leakage 1" in dataset.error.values else 0
    panels = {
        "gram": r"Gram matrix, $\|\Phi^T\Phi/N-I\|_F$",
        "operator": r"compressed operator, $\|C-\mathrm{diag}\,\lambda\|_F$",
        f"action {q}": rf"eigen-action, largest $|K\phi/N-\lambda\phi|$, q = {q}",
        f"leakage {q}": f"leakage from q = {q} into other q",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(12.4, 3.7))
    for axis, (error, words) in zip(axes, panels.items(), strict=True):
        here = part.sel(error=error)
        for k, kernel in enumerate(("limit",) if error == "gram" else ("limit", "network")):
            errorbar(axis, n * 1.04 ** (2 * k - 1), here.sel(kernel=kernel), "quantile", color=COLOURS[kernel])
        axis.plot(n, here["rms_exact"].values, **style.LIMIT)
        axis.plot(n, here["bound"].values, **BOUND)
        ticks(axis, n)
        axis.set_yscale("log")
        style.readable_log(axis.yaxis)
        axis.set_title(words, fontsize=8.5)
        axis.set_xlabel("number of points N")
    axes[0].set_ylabel("error")
    handles = [Line2D([], [], color=COLOURS[k], marker="o", label=f"quantile, {SAID[k]}") for k in ("limit", "network")]
    handles += [Line2D([], [], label="exact root mean square, limit kernel", **style.LIMIT),
                Line2D([], [], label="bound on the quantile, limit kernel", **BOUND)]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(title(rows), fontsize=9)
    return figure


def mode_coupling(data: Data):
    """|C| of one draw at the smallest and the largest N, for both kernels, and its limit."""
    dataset = data["finite_sample"]
    rows = cells_of(dataset)
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    frequency = dataset.frequency.values
    diagonal = np.diag(np.repeat(dataset["eigenvalue"].isel(cell=ends[0].cell).values, np.where(frequency == 0, 1, 2)))
    pictures = [
        (f"{SAID[kernel]}, N = {end.train_points}", dataset["picture"].isel(cell=end.cell).sel(kernel=kernel).values)
        for end in ends
        for kernel in ("limit", "network")
    ] + [(r"$N\to\infty$: diag $\lambda_q$", diagonal)]
    top = max(picture.max() for _, picture in pictures)
    norm = LogNorm(1e-4 * top, top)
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.5 * len(pictures) + 0.9, 3.1), squeeze=False)
    places = np.concatenate([[0], 2 * frequency[1:] - 0.5])
    for axis, (words, picture) in zip(axes[0], pictures, strict=True):
        image = axis.imshow(np.maximum(picture, norm.vmin), norm=norm, cmap="viridis", interpolation="nearest")
        axis.set_title(words, fontsize=8.5)
        axis.set_xticks(places, [str(q) for q in frequency])
        axis.set_yticks(places, [str(q) for q in frequency])
        axis.tick_params(length=0)
        axis.grid(False)
        axis.set_xlabel("q'")
    axes[0][0].set_ylabel("q (cos above sin)")
    bar = figure.colorbar(image, ax=list(axes[0]), shrink=0.8, extend="min")
    bar.set_label(r"$|C_{qq'}|$")
    figure.suptitle(title(rows), fontsize=9)
    return figure


def points_and_width(data: Data):
    """Errors of the points and of the width, each against N and against n."""
    dataset = data["finite_sample"]
    rows = cells_of(dataset, one_width=False)
    if rows.width.nunique() < 2:
        raise style.NothingToDraw("it shows errors against width; this study has one width")
    part = dataset.isel(cell=rows.cell.to_numpy())
    values = {"points": "points_rms", "width": "width_rms"}
    names = {
        "points": r"of points, $\|C_{\infty}-\mathrm{diag}\,\lambda\|_F$",
        "width": r"of width, $\|C_{n}-C_{\infty}\|_F$",
    }
    markers = {"points": "o", "width": "s"}
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.9), sharey=True)
    for axis, along, other in ((axes[0], "train_points", "width"), (axes[1], "width", "train_points")):
        colours = style.palette(sorted(set(rows[other])))
        for value, colour in colours.items():
            here = (rows[other] == value).to_numpy()
            order = np.argsort(rows[along].to_numpy()[here])
            for of, marker in markers.items():
                chosen = part.isel(cell=np.flatnonzero(here)[order])
                errorbar(axis, chosen[along].values, chosen, values[of], color=colour, marker=marker,
                         linestyle="-" if of == "points" else "--")  # fmt: skip
        ticks(axis, sorted(set(rows[along])))
        axis.set_yscale("log")
        sizes = np.array(sorted(set(rows[along])), float)
        of = "points" if along == "train_points" else "width"
        start = np.nanmax(part[values[of]].values[rows[along].to_numpy() == sizes[0]])
        axis.plot(sizes, 1.25 * start * (sizes / sizes[0]) ** -0.5, color="black", linewidth=1.0, linestyle=":")
        head = "n" if other == "width" else "N"
        handles = [Line2D([], [], color=c, linewidth=3, label=f"{head} = {v}") for v, c in colours.items()]
        axis.legend(handles=handles, fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    one = rows.drop_duplicates("train_points")
    axes[0].plot(one.train_points, dataset["operator_exact"].values[one.cell], **style.LIMIT)
    style.readable_log(axes[0].yaxis)
    axes[0].set_xlabel("number of points N")
    axes[1].set_xlabel("width n")
    axes[0].set_ylabel("root mean square error")
    lines = {"points": "-", "width": "--"}
    handles = [
        Line2D([], [], color="0.3", marker=markers[of], linestyle=lines[of], label=text) for of, text in names.items()
    ]
    handles += [Line2D([], [], label="of points, exact", **style.LIMIT),
                Line2D([], [], color="black", linestyle=":", label="power -1/2")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(title(rows), fontsize=9)
    return figure


def incommensurate(data: Data):
    """Coefficients of cos(omega theta) on the cosines, at the smallest and the largest N, against closed forms."""
    dataset = data["finite_sample"]
    rows = cells_of(dataset)
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    q = dataset.frequency.values
    places = np.maximum(0, 2 * q - 1)
    exact = dataset["omega_exact"].isel(mode=places)
    colours = dict(zip((end.cell for end in ends), ("#E69F00", "#0072B2"), strict=False))
    figure, axes = plt.subplots(
        1, dataset.sizes["omega"], figsize=(1.0 + 3.9 * dataset.sizes["omega"], 3.6), squeeze=False, sharey=True
    )
    for axis, omega in zip(axes[0], dataset.omega.values, strict=True):
        for k, end in enumerate(ends):
            here = dataset.isel(cell=end.cell, mode=places).sel(omega=omega)
            x = q + 0.24 * (k - 0.5 * (len(ends) - 1))
            sd = here["omega_sd_exact"].values
            axis.bar(x, 2 * sd, 0.22, here["omega_exact"].values - sd, color=colours[end.cell], alpha=0.25, linewidth=0)
            errorbar(axis, x, here, "omega_mean", color=colours[end.cell], linestyle="none", markersize=3.5)
        axis.hlines(exact.sel(omega=omega), q - 0.38, q + 0.38, color="black", linewidth=1.3)
        axis.set_xticks(q)
        axis.set_xlabel("frequency q of the mode")
        axis.set_title(rf"$\cos(\omega\theta)$, $\omega$ = {omega:g}", fontsize=9)
    axes[0][0].set_ylabel(r"coefficient on $2^{1/2}\cos(q\theta)$")
    handles = [Line2D([], [], color="black", label="closed form")]
    handles += [Line2D([], [], color=colours[e.cell], marker="o", label=f"N = {e.train_points}: mean, interval; band: "
                       "one draw's exact sd") for e in ends]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def noise_by_mode(data: Data):
    """What noise adds to each fitted mode, in units of noise^2/N, and what it costs between the points."""
    dataset = data["finite_sample"]
    found = [rows[rows.steps > 0] for rows in cells.noisy(dataset)]
    found = [rows for rows in found if len(rows)]
    if not found:
        raise style.NothingToDraw("it shows what label noise adds; this study has none, or trained on none")
    rows = found[-1]
    others = ", ".join(f"{part.noise.iloc[0]:g}" for part in found[:-1])
    part, n = dataset.isel(cell=rows.cell.to_numpy()), rows.train_points.to_numpy()
    q = dataset.frequency.values
    places = np.maximum(0, 2 * q - 1)
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.9))
    widest, share = part.isel(cell=-1, mode=places), part["noise_exact"].isel(cell=-1).item()
    scaled = widest.assign({name: widest[name] / share for name in widest.data_vars if name.startswith("noise_")})
    errorbar(axes[0], q - 0.18, scaled, "noise_square", color="0.45", linestyle="none", marker="^")
    for k, how in enumerate(COLOURS_OF):
        errorbar(axes[0], q - 0.06 + 0.12 * k, scaled.sel(dynamics=how), "noise_fit_square", color=COLOURS[how],
                 linestyle="none")  # fmt: skip
        errorbar(axes[1], n * 1.04 ** (k - 1), part.sel(dynamics=how), "excess", color=COLOURS[how])
    axes[0].plot(q, scaled["noise_fit_predicted"].values, **style.LIMIT)
    axes[0].set(xlabel="frequency q of the mode", ylabel=r"mean square / ($\sigma^2/N$)", yscale="log")
    axes[0].set_xticks(q)
    axes[0].set_title(f"into the modes, N = {n[-1]}", fontsize=9)
    axes[1].plot(n, part["excess_predicted"].values, **style.LIMIT)
    ticks(axes[1], n)
    style.log(axes[1], "y")
    axes[1].set(xlabel="number of points N", ylabel="excess mean squared error")
    axes[1].set_title("between the points", fontsize=9)
    floor = scaled["noise_fit_predicted"].values
    axes[0].set_ylim(max(1e-6, 0.1 * floor[floor > 0].min()) if (floor > 0).any() else None, 5)
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    handles = [Line2D([], [], color="0.45", marker="^", linestyle="none", label="the noise itself")]
    handles += [Line2D([], [], color=COLOURS[how], marker="o", label=f"fitted: {SAID[how]}") for how in COLOURS_OF]
    handles.append(Line2D([], [], label="as on infinitely many points", **style.LIMIT))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7.5)
    figure.suptitle(
        rf"{title(rows)}, noise $\sigma$ = {rows.noise.iloc[0]:g}{f' (not {others})' if others else ''}, "
        f"after {rows.steps.iloc[-1]} steps",
        fontsize=9,
    )
    return figure


COLOURS_OF = ("limit", "frozen", "trained")
FIGURES = {
    "concentration": concentration,
    "mode_coupling": mode_coupling,
    "points_and_width": points_and_width,
    "incommensurate": incommensurate,
    "noise_by_mode": noise_by_mode,
}
