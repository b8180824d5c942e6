"""Figures of Gram matrices: K(x, x') against angle, and the spectrum's ends against beta."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data

_MARKERS = {"matrix_free": "o", "dense": "x"}


def _engine_handles(engines) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker=_MARKERS.get(e, "o"), color="0.3", markersize=4, label=f"engine {e}")
        for e in engines
    ]


def _one_setting(data: Data):
    """The Gram statistics of the first setting, and a note where the study has others."""
    gram = data["gram"].load()
    names = style.panels(gram.drop_dims("angle").to_dataframe().reset_index(drop=True))
    others = len(set(names)) - 1
    keep = [i for i, name in enumerate(names) if name == names[0]]
    keep = [i for i in keep if gram.width.values[i] > 0]
    if not keep:
        raise style.NothingToDraw("it shows cells with layers of one width; this study has none to show")
    note = f"{names[0]} ({others} other settings are in gram.zarr and the tables)" if others else ""
    return gram.isel(cell=keep), note


def _scale(data: Data, row) -> float:
    """E[K(x, x)] of a cell: exact where it is known, else measured."""
    table = data["moments"]
    same = (table.depth.values == int(row.depth)) & (table.widths.values == str(row.widths.values))
    exact = table.ntk_mean_exact.values[same]
    return float(exact[0]) if len(exact) and np.isfinite(exact[0]) else float(row.ntk_mean[0])


def gram_angle(data: Data):
    """Mean of K(x, x') over E[K(x, x)], and relative standard deviation, against angle."""
    gram, note = _one_setting(data)
    widths = sorted(set(gram.width.values))
    betas = sorted(set(gram.beta.values))
    colours = dict(zip(betas, sns.color_palette("flare", len(betas)), strict=True))
    figure, axes = plt.subplots(
        2, len(widths), figsize=(1.6 + 2.7 * len(widths), 5.0), sharex=True, sharey="row", squeeze=False
    )
    degrees = np.degrees(gram.angle.values)
    engines = list(dict.fromkeys(gram.engine.values))
    for column, width in enumerate(widths):
        for cell in np.flatnonzero(gram.width.values == width):
            row = gram.isel(cell=cell)
            engine = str(row.engine.values)
            colour = (*colours[float(row.beta)], 0.3 if int(row.undersampled) else 1.0)
            marker, shift = _MARKERS.get(engine, "o"), 2.0 * engines.index(engine)
            top, base = axes[0, column], _scale(data, row)
            errors = [row.ntk_mean - row.ntk_mean_low, row.ntk_mean_high - row.ntk_mean]
            top.errorbar(
                degrees + shift,
                row.ntk_mean / base,
                yerr=[e.values / base for e in errors],
                fmt=marker,
                color=colour,
                markersize=3.5,
                linewidth=0.9,
            )
            top.plot(degrees, row.ntk_mean / base, color=colour, linewidth=0.6)
            spread, low, high = (
                np.sqrt(np.maximum(row[f"ntk_variance{end}"], 0)) / np.abs(row.ntk_mean)
                for end in ("", "_low", "_high")
            )
            bottom = axes[1, column]
            bottom.errorbar(
                degrees + shift,
                spread,
                yerr=[(spread - low).values, (high - spread).values],
                fmt=marker,
                color=colour,
                markersize=3.5,
                linewidth=0.9,
            )
            bottom.plot(degrees, spread, color=colour, linewidth=0.6)
        axes[0, column].set_title(f"width {width}")
        axes[1, column].set_xlabel("angle between x and x' (degrees)")
        axes[1, column].set_xticks([0, 45, 90, 135, 180])
    axes[0, 0].set_ylabel(r"$E[K(x,x')]\,/\,E[K(x,x)]$")
    axes[1, 0].set_ylabel(r"relative s.d. of $K(x,x')$")
    handles = [Line2D([], [], color=c, label=rf"$\beta$ = {b:g}") for b, c in colours.items()]
    if (gram.undersampled.values == 1).any():
        handles.append(Line2D([], [], color="0.3", alpha=0.3, label="pale: undersampled,\ninterval not to be trusted"))
    if note:
        figure.suptitle(textwrap.fill(note, 60), fontsize=7)
    figure.legend(handles=[*handles, *_engine_handles(engines)], loc="outside right center", fontsize=7.5)
    return figure


def gram_spectrum(data: Data):
    """Median smallest eigenvalue and condition number against beta, with 5-95 % bands over networks."""
    gram, note = _one_setting(data)
    colours = style.palette(set(gram.width.values))
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
    engines = list(dict.fromkeys(gram.engine.values))
    panels = (("min_eigenvalue", "smallest eigenvalue of the Gram matrix"), ("condition", "condition number"))
    for axis, (name, text) in zip(axes, panels, strict=True):
        middle = gram[f"{name}_median"].values
        if not (np.isfinite(middle) & (middle > 0)).any():  # nothing that a log axis could show
            axis.set(xticks=[], yticks=[], ylabel=text)
            axis.text(0.5, 0.5, "singular in most networks of every cell", transform=axis.transAxes, ha="center")
            continue
        for width, colour in colours.items():
            for engine in engines:
                chosen = (gram.width.values == width) & (gram.engine.values == engine)
                part = gram.isel(cell=np.flatnonzero(chosen)).sortby("beta")
                if not part.sizes["cell"]:
                    continue
                shift = 1 + 0.03 * engines.index(engine)
                y, low, high = (part[f"{name}_median{end}"].values for end in ("", "_low", "_high"))
                axis.errorbar(
                    part.beta * shift,
                    y,
                    yerr=[y - low, high - y],
                    fmt=_MARKERS.get(engine, "o"),
                    color=colour,
                    markersize=4,
                    linewidth=1.0,
                )
                if engine == engines[0]:
                    axis.plot(part.beta, y, color=colour, linewidth=0.8)
                    axis.fill_between(part.beta, part[f"{name}_p05"], part[f"{name}_p95"], color=colour, alpha=0.12)
        axis.set(xscale="log", yscale="log", xlabel=r"$\beta$ = depth/width", ylabel=text)
        style.readable_log(axis.yaxis)
        style.readable_log(axis.xaxis)
        ticks = sorted(set(gram.beta.values))
        axis.set_xticks(ticks, [f"{b:g}" for b in ticks])
    handles = [
        Line2D([], [], color=c, marker="o", markersize=4, label=f"width {w}: median, 5-95 % band")
        for w, c in colours.items()
    ]
    if note:
        figure.suptitle(textwrap.fill(note, 60), fontsize=7)
    figure.legend(handles=[*handles, *_engine_handles(engines)], loc="outside right center", fontsize=7.5)
    return figure


FIGURES = {"gram_angle": gram_angle, "gram_spectrum": gram_spectrum}
