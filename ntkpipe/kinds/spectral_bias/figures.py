"""Figures of spectral_bias: when each mode is fitted, the spectrum along training, bending by beta, robustness."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.spectral_bias import cells
from ntkpipe.kinds.spectral_bias.cells import few
from ntkpipe.kinds.spectral_bias.fits import GROUP

SAID = {"equal": "equal amplitudes $A_i = 1$", "rising": "rising amplitudes $A_i = i/m$", "given": "given amplitudes"}
ENDS = ("estimate", "low", "high")


def every_cell(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a cell, with its place as ``cell``."""
    frame = dataset.drop_dims([dim for dim in dataset.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    return frame.assign(cell=np.arange(len(frame)))


def cells_of(dataset: xr.Dataset) -> pd.DataFrame:
    """The cells of equal hidden widths of the setting that most cells share.

    Raises
    ------
    NothingToDraw: there is none.
    """
    frame = cells.of_one_setting(every_cell(dataset))
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    return frame


def rows_of(data: Data, frame: pd.DataFrame, quantity: str, of: str, target: str) -> pd.DataFrame:
    """Fits of one quantity, of these cells and this target."""
    dataset = data["fits"]
    names = ["quantity", "of", "target", "frequency", "radius", "depth", "width", "beta", *GROUP, "frozen", "limit"]
    rows = dataset[[*names, *ENDS]].to_dataframe().reset_index(drop=True)
    rows = rows[(rows.quantity == quantity) & (rows.of == of) & (rows.target == target)]
    return rows.merge(frame[["depth", "width", *GROUP]])


def trained(frame: pd.DataFrame, dataset: xr.Dataset) -> str:
    """How the networks shown were trained; below it what else varies in the study, and how many cells are shown."""
    row, every = frame.iloc[0], every_cell(dataset)
    more = cells.setting(row, every, without=("activation", "sigma_b", "eta", "eta_unit"))
    count = f"{len(frame)} of {len(every)} cells shown" if len(frame) < len(every) else ""
    below = "\n" + "; ".join(filter(None, (more, count))) if more or count else ""
    unit = r" $\times\,2/\lambda_{\max}(K_0)$" if row.eta_unit == "critical" else ""
    last = int(dataset["step"].values[-1])
    return (
        rf"{row.activation}, $\sigma_b$ = {row.sigma_b:g}, {last} steps of gradient descent, $\eta$ = {row.eta:g}{unit}"
        + below
    )


def spectral_bias(data: Data):
    """Step at which each mode is fitted against its frequency, by depth (rows) and target (columns)."""
    dataset = data["modes"]
    frame, names = cells_of(dataset), list(dataset.target.values)
    depths, colours, last = sorted(set(frame.depth)), style.palette(set(frame.width)), int(dataset["step"].values[-1])
    shape = {"figsize": (1.4 + 3.4 * len(names), 1.2 + 2.5 * len(depths)), "squeeze": False, "sharex": True}
    figure, axes = plt.subplots(len(depths), len(names), sharey="row", **shape)
    for line, depth in zip(axes, depths, strict=True):
        for axis, name in zip(line, names, strict=True):
            rows = rows_of(data, frame[frame.depth == depth], "time", "fitted", name)
            for j, (width, part) in enumerate(rows.groupby("width")):
                part = part.sort_values("frequency")
                at = part.frequency * 1.03 ** (j - (len(colours) - 1) / 2)
                axis.errorbar(
                    at,
                    part.estimate,
                    style.bars(part.estimate, part.low, part.high),
                    color=colours[width],
                    marker="o",
                    markersize=4.5,
                    linestyle="none",
                    linewidth=1.2,
                )
                axis.plot(part.frequency, part.frozen, color=colours[width], linestyle=":", linewidth=1.4)
            limit = rows.sort_values(["width", "frequency"]).groupby("frequency")["limit"].last()
            axis.plot(limit.index, limit, **style.LIMIT)
            style.log(axis)
            if axis.get_ylim()[1] > last:
                axis.axhline(last, color="0.6", linewidth=0.8)
            axis.set_xticks(dataset.frequency.values, [str(k) for k in dataset.frequency.values])
            axis.xaxis.set_minor_locator(plt.NullLocator())
        line[0].set_ylabel(f"depth {depth}\nstep from which it is fitted")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(SAID[name], fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("frequency k (cycles over [0, 1))")
    handles = [Line2D([], [], color=c, marker="o", linestyle="none", label=f"width {w}") for w, c in colours.items()]
    handles += [Line2D([], [], color="0.3", linestyle=":", label="$K_0$ frozen"),
                Line2D([], [], label="infinite width", **style.LIMIT),
                Line2D([], [], color="0.6", linewidth=0.8, label="end of the run")]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(trained(frame, dataset), fontsize=9)
    return figure


def spectra(data: Data):
    """|f~(q)| over steps and frequencies for up to three cells (columns) and each target (rows)."""
    dataset = data["modes"]
    frame, names = few(cells_of(dataset)), list(dataset.target.values)
    steps, q = dataset["step"].values, dataset["mode"].values
    shape = {"figsize": (1.6 + 2.7 * len(frame), 1.0 + 2.2 * len(names)), "squeeze": False, "sharex": True}
    figure, axes = plt.subplots(len(names), len(frame), sharey=True, **shape)
    beyond = steps[-1] ** 2 / steps[-2] if steps[-2] else 2.0 * steps[-1]  # where the start alone comes before the end
    edges = np.sqrt(steps[1:] * np.append(steps[2:], beyond))
    edges = np.concatenate([[0.7], edges])
    for line, name in zip(axes, names, strict=True):
        for axis, (_, cell) in zip(line, frame.iterrows(), strict=True):
            values = dataset["spectrum"].isel(cell=cell.cell).sel(target=name).values[1:]
            mesh = axis.pcolormesh(edges, np.arange(len(q) + 1) - 0.5, values.T, cmap="viridis", vmin=0, vmax=1.1,
                                   rasterized=True)  # fmt: skip
            axis.set_xscale("log")
            style.readable_log(axis.xaxis)
            axis.set_yticks(dataset.frequency.values)
            axis.grid(visible=False)
        line[0].set_ylabel(f"{SAID[name]}\nfrequency q")
    for axis, (_, cell) in zip(axes[0], frame.iterrows(), strict=True):
        axis.set_title(f"depth {cell.depth}, width {cell.width}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("step")
    figure.colorbar(mesh, ax=axes, label=r"$|\tilde f_t(q)|$, mean over networks", extend="max", shrink=0.8)
    figure.suptitle(trained(frame, dataset), fontsize=9)
    return figure


def bending(data: Data):
    """Measured over frozen fitting times (upper) and K_T/K_0 on each mode (lower) against beta, by target."""
    dataset = data["modes"]
    frame, names = cells_of(dataset), list(dataset.target.values)
    colours = style.palette(dataset.frequency.values)
    shape = {"figsize": (1.4 + 3.6 * len(names), 5.8), "squeeze": False, "sharex": True}
    figure, axes = plt.subplots(2, len(names), sharey="row", **shape)
    for line, quantity, of in zip(axes, ("ratio", "quotient_ratio"), ("frozen", "K_T/K_0"), strict=True):
        for axis, name in zip(line, names, strict=True):
            rows = rows_of(data, frame, quantity, of, name)
            for j, (k, colour) in enumerate(colours.items()):
                part = rows[rows.frequency == k].sort_values("beta")
                for depth, same in part.groupby("depth"):
                    at = same.beta * 1.025 ** (j - (len(colours) - 1) / 2)
                    axis.errorbar(
                        at,
                        same.estimate,
                        style.bars(same.estimate, same.low, same.high),
                        color=colour,
                        marker=_marker(frame, depth),
                        markersize=4.5,
                        linewidth=1.0,
                        linestyle="-",
                        alpha=0.9,
                    )
            axis.axhline(1.0, color="black", linewidth=1.0, linestyle="--")
            style.log(axis)
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(SAID[name], fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(r"$\beta$ = depth/width")
    axes[0][0].set_ylabel("fitting step, network\nover $K_0$ frozen")
    axes[1][0].set_ylabel("$u^* K_T\\,u / u^* K_0\\,u$")
    handles = [Line2D([], [], color=c, linewidth=3, label=f"k = {k}") for k, c in colours.items()]
    handles += [Line2D([], [], color="0.3", marker=_marker(frame, d), linestyle="none", label=f"depth {d}")
                for d in sorted(set(frame.depth))]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=7, fontsize=8)
    figure.suptitle(trained(frame, dataset), fontsize=9)
    return figure


def _marker(frame: pd.DataFrame, depth: int) -> str:
    return "osD^vP"[sorted(set(frame.depth)).index(depth) % 6]


def robustness(data: Data):
    """What a perturbation keeps of each mode (upper) and by how much it moves it (lower), for up to three cells."""
    dataset = data["robustness"]
    name = dataset.target.values[0]
    frame = few(cells_of(dataset))
    radii, colours = dataset.radius.values, style.palette(dataset.frequency.values)
    shape = {"figsize": (1.4 + 2.9 * len(frame), 5.6), "squeeze": False, "sharex": True}
    figure, axes = plt.subplots(2, len(frame), sharey="row", **shape)
    for column, (_, cell) in zip(axes.T, frame.iterrows(), strict=True):
        here = dataset.isel(cell=cell.cell).sel(target=name)
        for j, (k, colour) in enumerate(colours.items()):
            part, at = here.sel(frequency=k), radii * 1.03 ** (j - (len(colours) - 1) / 2)
            for axis, quantity in zip(column, ("kept", "displacement"), strict=True):
                middle, low, high = (part[f"{quantity}_{end}"].values for end in ("mean", "low", "high"))
                lengths = style.bars(middle, low, high)
                axis.errorbar(at, middle, lengths, color=colour, marker="o", markersize=4, linewidth=1.1)
            column[1].plot(radii, part["displacement_linear_mean"].values, color=colour, linestyle=":", linewidth=1.3)
        column[0].axhline(0.5, color="0.6", linewidth=0.8)
        column[0].set_ylim(-0.6, 1.6)
        column[0].set_title(f"depth {cell.depth}, width {cell.width}", fontsize=9)
        style.log(column[1])
        column[1].set_xlabel(r"radius in units of $|\theta_T|$")
    axes[0][0].set_ylabel("kept of the fitted mode")
    axes[1][0].set_ylabel(r"$|\tilde f' - \tilde f|/A$, r.m.s. over directions")
    handles = [Line2D([], [], color=c, marker="o", label=f"k = {k}") for k, c in colours.items()]
    handles.append(Line2D([], [], color="0.3", linestyle=":", label="first order, exact"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(f"{SAID[name]}; {trained(frame, data['modes'])}", fontsize=9)
    return figure


FIGURES = {"spectral_bias": spectral_bias, "spectra": spectra, "bending": bending, "robustness": robustness}
