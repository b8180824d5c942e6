"""Figures of mean_field: kernel and loss in both parametrizations, particles, rates in m, and modes."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.mean_field.rates import OWN
from ntkpipe.networks import MEAN_FIELD, SETTINGS

COLOURS = {MEAN_FIELD: "#D55E00", "ntk": "#0072B2"}
MARKERS = {MEAN_FIELD: "o", "ntk": "s"}
NAMES = {MEAN_FIELD: "mean field", "ntk": "ntk"}
CONFIDENCE = 0.95
RATES = (
    ("kernel_error", "end", r"$\|K_t-K_t^\infty\|_F/\|K_t^\infty\|_F$, end"),
    ("output_error", "end", r"rms $f_t-E f_t^\infty$, end"),
    ("moved", "end", r"rms $|\theta_t-\theta_0|$, end"),
    ("distance", "end", r"sliced $W_1(\mu_{m,t},\mu_{M,t})$, end"),
)


def cells_of(dataset: xr.Dataset) -> pd.DataFrame:
    """One row a cell in which a network finished, with its place as ``cell``, of the settings that most cells share.

    Raises
    ------
    NothingToDraw: no network finished.
    """
    frame = pd.DataFrame({name: dataset[name].values for name in (*SETTINGS, *OWN, "width")})
    frame = frame.assign(cell=np.arange(len(frame)))[dataset["n_finished"].values > 0]
    if frame.empty:
        raise style.NothingToDraw("it shows networks that finished their training; in this study none did")
    groups = frame.groupby([name for name in (*SETTINGS, *OWN) if name != "parametrization"], sort=False)
    return groups.get_group(groups.size().idxmax()).sort_values("width")


def both(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(parametrization, its cells), mean field first."""
    for name in COLOURS:
        part = frame[frame.parametrization == name]
        if len(part):
            yield name, part


def means(values: np.ndarray) -> np.ndarray:
    """Geometric mean over the second dim with its interval, (value, low, high) by the other dims."""
    return np.apply_along_axis(lambda v: np.array(geometric_mean(v, CONFIDENCE)), 1, values)


def kernel_moves(data: Data):
    """Drift at the end against m in both parametrizations, drift along time, and loss along time, with limits."""
    dataset, fits = data["mean_field"], data["fits"]
    frame = cells_of(dataset)
    figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.0))
    for name, part in both(frame):
        runs = means(dataset["drift"].isel(cell=part.cell.to_numpy(), snapshot=-1).values)
        axes[0].errorbar(
            part.width,
            runs[:, 0],
            style.bars(*runs.T),
            color=COLOURS[name],
            marker=MARKERS[name],
            linestyle="",
            markersize=5,
        )
        said = line(fits, frame, name, "drift", "end")
        if said is not None:
            m = np.array([part.width.min(), part.width.max()], float)
            axes[0].plot(m, np.exp(said["intercept"]) * m ** said["estimate"], color=COLOURS[name], linewidth=1)
        axes[0].plot([], [], color=COLOURS[name], marker=MARKERS[name], label=power(name, said))
        if name == MEAN_FIELD:
            axes[0].axhline(float(dataset["drift_end_limit"][part.cell.iloc[0]]), **style.LIMIT)
        for axis, variable in ((axes[1], "drift"), (axes[2], "loss")):
            _paths(axis, dataset, part, variable, name)
    axes[0].set(xlabel="width m", ylabel=r"$\|K_t-K_0\|_F/\|K_0\|_F$ at the end")
    axes[1].set(xlabel="flow time t", ylabel=r"$\|K_t-K_0\|_F/\|K_0\|_F$")
    axes[2].set(xlabel="flow time t", ylabel="training loss")
    for axis in axes:
        style.log(axis)
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8)
    axes[1].legend(handles=_widths(frame), loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8, ncols=2)
    return figure


def line(fits: xr.Dataset, frame: pd.DataFrame, parametrization: str, quantity: str, at: str) -> dict | None:
    """The exponent of these cells, from ``fits``; None where there is none."""
    rows = fits.to_dataframe().reset_index(drop=True)
    same = frame[frame.parametrization == parametrization].iloc[0]
    for name in (*SETTINGS, *OWN):
        rows = rows[rows[name] == same[name]]
    rows = rows[(rows.quantity == quantity) & (rows["at"] == at) & np.isfinite(rows.estimate)]
    return None if rows.empty else rows.iloc[0].to_dict()


def power(name: str, fit: dict | None) -> str:
    """A parametrization with its fitted power of m, interval and all."""
    if fit is None:
        return NAMES[name]
    value, low, high = (f"{round(fit[end], 2) + 0.0:.2f}" for end in ("estimate", "low", "high"))
    return f"{NAMES[name]}, $m^{{{value}}}$ [{low}, {high}]"


def _paths(axis, dataset: xr.Dataset, part: pd.DataFrame, variable: str, name: str) -> None:
    """Means over networks along time, thicker for wider ones, and the limit."""
    for k, row in enumerate(part.itertuples()):
        here = dataset.isel(cell=row.cell)
        time = here["time"].values[1:]
        found = means(here[variable].values.T[1:])
        shade = 0.3 + 0.7 * (k + 1) / len(part)
        axis.plot(time, found[:, 0], color=COLOURS[name], alpha=shade, linewidth=0.6 + 1.2 * (k + 1) / len(part))
        axis.fill_between(time, found[:, 1], found[:, 2], color=COLOURS[name], alpha=0.12, linewidth=0)
    limit = here[f"{variable}_limit"].values[1:]
    if (limit > 0).all():
        axis.plot(time, limit, **(style.LIMIT | ({} if name == MEAN_FIELD else {"linestyle": ":"})))


def _widths(frame: pd.DataFrame) -> list[Line2D]:
    widths = sorted(set(frame.width))
    found = [
        Line2D([], [], color="0.2", alpha=0.3 + 0.7 * (k + 1) / len(widths),
               linewidth=0.6 + 1.2 * (k + 1) / len(widths), label=f"m = {m}")
        for k, m in enumerate(widths)
    ]  # fmt: skip
    limits = ((style.LIMIT["linestyle"], MEAN_FIELD), (":", "ntk"))
    shown = set(frame.parametrization)
    return found + [
        Line2D([], [], color="black", linestyle=dashes, label=rf"$m=\infty$, {NAMES[name]}")
        for dashes, name in limits if name in shown
    ]  # fmt: skip


def particles(data: Data):
    """Directions of w and amplitudes a|w| of the units of one network, before and after, in either parametrization."""
    dataset = data["mean_field"]
    frame = cells_of(dataset)
    chosen = [(name, part.iloc[-1]) for name, part in both(frame)]
    figure, axes = plt.subplots(len(chosen), 2, figsize=(9.0, 0.6 + 2.5 * len(chosen)), squeeze=False, sharex=True,
                                sharey=True)  # fmt: skip
    for row, (name, cell) in zip(axes, chosen, strict=True):
        shown = dataset["shown"].isel(cell=cell.cell).values
        for axis, end, when in zip(row, shown, ("start", "end"), strict=True):
            theta = np.degrees(np.arctan2(end[:, 2], end[:, 1]) % (2 * np.pi))
            size = end[:, 0] * np.hypot(end[:, 1], end[:, 2])
            axis.plot(theta, size, ".", color=COLOURS[name], markersize=3, alpha=0.5, markeredgewidth=0)
            axis.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
            axis.set_title(f"{NAMES[name]}, m = {cell.width}, {when}", fontsize=9)
        row[0].set_ylabel("amplitude $a\\,|w|$")
    for axis in axes[-1]:
        axis.set_xlabel("direction of $w$ (degrees)")
        axis.set_xticks(range(0, 361, 60))
    for axis in axes.flat:
        axis.set_yscale("symlog", linthresh=1.0)
        top = 10.0 ** np.ceil(np.log10(max(10.0, np.nanmax(np.abs(axis.dataLim.intervaly)))))
        ticks = 10.0 ** np.arange(np.log10(top) + 1)
        axis.set_yticks([*-ticks[::-1], 0.0, *ticks], [f"{t:g}" for t in (*-ticks[::-1], 0.0, *ticks)])
        axis.minorticks_off()
    return figure


def rates(data: Data):
    """What falls with m and what does not, at the end of training: kernel, output, particles, measures."""
    dataset, fits = data["mean_field"], data["fits"]
    frame = cells_of(dataset)
    figure, grid = plt.subplots(2, 3, figsize=(10.8, 7.6))
    axes = grid.ravel()
    _dependence(axes[len(RATES)], dataset, frame)
    for axis in axes[len(RATES) + 1 :]:
        axis.set_axis_off()
    for axis, (variable, at, text) in zip(axes, RATES, strict=False):
        said = []
        for name, part in both(frame):
            values = dataset[variable].isel(cell=part.cell.to_numpy())
            values = values.sel(end=at) if variable == "distance" else values.isel(snapshot=-1)
            found = means(values.values)
            axis.errorbar(part.width, found[:, 0], style.bars(*found.T), color=COLOURS[name], marker=MARKERS[name],
                          linestyle="", markersize=5)  # fmt: skip
            fit = line(fits, frame, name, variable, at)
            if fit is not None:
                m = part.width[np.isfinite(found[:, 0])].agg(["min", "max"]).to_numpy(float)
                axis.plot(m, np.exp(fit["intercept"]) * m ** fit["estimate"], color=COLOURS[name], linewidth=1)
                said.append(Line2D([], [], color=COLOURS[name], marker=MARKERS[name], label=power(name, fit)))
            if variable == "output_error" and name != MEAN_FIELD:
                axis.axhline(
                    float(dataset["output_error_end_limit"][part.cell.iloc[0]]), **style.LIMIT | {"linestyle": ":"}
                )
        if not np.isfinite(dataset[variable].values).any():
            continue
        style.log(axis)
        axis.set_title(text, fontsize=9)
        axis.set_xlabel("width m")
        if said:
            axis.legend(handles=said, loc="upper center", bbox_to_anchor=(0.5, -0.19), fontsize=7.5)
    return figure


def _dependence(axis, dataset: xr.Dataset, frame: pd.DataFrame) -> None:
    """(m - 1) rho of a^2 at the end, with its interval; 0 of independent particles, -1 where the mean is fixed."""
    for shift, (name, part) in zip((0.96, 1.04), both(frame), strict=False):
        here = dataset.isel(cell=part.cell.to_numpy(), snapshot=-1).sel(test="a^2")
        found = np.stack([here[f"dependence{end}"].values for end in ("", "_low", "_high")], axis=1)
        axis.errorbar(part.width * shift, found[:, 0], style.bars(*found.T), color=COLOURS[name], marker=MARKERS[name],
                      linestyle="", markersize=5)  # fmt: skip
    for level in (0.0, -1.0):
        axis.axhline(level, color="0.6", linewidth=0.8, zorder=0)
    axis.set(yscale="symlog", xlabel="width m")
    axis.set_xscale("log")
    style.readable_log(axis.xaxis)
    axis.set_yticks([-1, 0, 1, 10], ["-1", "0", "1", "10"])
    axis.minorticks_off()
    axis.set_title(r"$(m-1)\,\rho$ of $a^2$ of two particles, end", fontsize=9)


def modes(data: Data):
    """What is left of each mode of the target along time: widest networks and limits, in either parametrization."""
    dataset = data["mean_field"]
    frame = cells_of(dataset)
    figure, axes = plt.subplots(1, dataset.sizes["frequency"], figsize=(1.2 + 3.1 * dataset.sizes["frequency"], 3.7),
                                squeeze=False, sharey=True)  # fmt: skip
    lowest: list[float] = []
    for axis, q in zip(axes[0], dataset.frequency.values, strict=True):
        for name, part in both(frame):
            here = dataset.isel(cell=int(part.cell.iloc[-1])).sel(frequency=q)
            time = here["time"].values[1:]
            found = means(here["mode_left"].values.T[1:])
            axis.errorbar(
                time,
                found[:, 0],
                style.bars(*found.T),
                color=COLOURS[name],
                marker=MARKERS[name],
                markersize=3.5,
                linestyle="",
                linewidth=0.8,
            )
            axis.plot(time, here["mode_left_limit"].values[1:], color=COLOURS[name], linewidth=1.1)
        axis.set_title(f"mode q = {q}", fontsize=9)
        lowest.append(np.nanmin(found[:, 0]) if np.isfinite(found[:, 0]).any() else 1.0)
        style.log(axis)
        axis.set_xlabel("flow time t")
    axes[0][0].set_ylim(bottom=max(min(lowest) / 3, 1e-12))  # the frozen kernel's exponentials fall beyond all networks
    axes[0][0].set_ylabel("amplitude of the residual\nover that of the target")
    handles = [
        Line2D([], [], color=COLOURS[name], marker=MARKERS[name], linestyle="",
               label=f"{NAMES[name]}, m = {part.width.iloc[-1]}")
        for name, part in both(frame)
    ]  # fmt: skip
    handles += [Line2D([], [], color=COLOURS[name], label=rf"{NAMES[name]}, $m=\infty$") for name, _ in both(frame)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


FIGURES = {"kernel_moves": kernel_moves, "particles": particles, "rates": rates, "modes": modes}
