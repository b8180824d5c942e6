"""One look for all figures."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from ntkpipe.networks import SETTINGS

Data = dict[str, xr.Dataset]
"""datasets of a study by name"""

LIMIT = {"color": "black", "linewidth": 1.3, "linestyle": "--"}
HANIN_NICA = {"color": "0.45", "linewidth": 1.3, "linestyle": ":"}
BIASES = {"none": "no biases", "zero": "trained biases, start at 0", "normal": "random biases"}


class NothingToDraw(Exception):
    """A figure has no cell to show; the message says which it would show."""


def blank(name: str, reason: str) -> Figure:
    """A figure that says why it shows nothing, in its label too; see :func:`save`."""
    figure = plt.figure(figsize=(5.0, 1.2))
    figure.set_label(reason)
    figure.text(0.5, 0.5, "\n".join(wrap(f"{name}: {reason}", 60)), ha="center", va="center")
    return figure


def panels(frame: pd.DataFrame, like: pd.DataFrame | None = None) -> list[str]:
    """For each row the settings, apart from depth and width, that vary in the study; biases always."""
    like = frame if like is None else like
    axes = [name for name in SETTINGS if name in like and name != "bias_init"]
    varying = [name for name in axes if like[name].nunique() > 1]
    return [
        ", ".join([BIASES[row["bias_init"]], *(f"{name} {_short(row[name])}" for name in varying)])
        for row in frame.to_dict("records")
    ]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@contextmanager
def applied():
    """Seaborn's ticks style at paper size; deterministic SVG ids; text stays text."""
    rc = {
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "ntkpipe",
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        "savefig.dpi": 160,
        "axes.grid": True,
        "grid.linewidth": 0.4,
        "grid.color": "0.88",
        "legend.frameon": False,
        "font.size": 9,
        "mathtext.fontset": "dejavusans",
    }
    with sns.axes_style("ticks"), sns.plotting_context("paper"), plt.rc_context(rc):
        yield


def settle(figure: Figure) -> None:
    """Number short log axes at 1, 2, 5; lay the figure out once, which each format would do again."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and isinstance(axis.get_major_locator(), LogLocator) and high < 100 * low:
                axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=20))
    figure.set_dpi(plt.rcParams["savefig.dpi"])
    for _ in range(2):  # the second pass knows the sizes of tick labels and legend
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, path: Path) -> None:
    """Save without the time of day, so that equal figures are equal files; its label describes an SVG."""
    described = {"Date": None, **({"Description": figure.get_label()} if figure.get_label() else {})}
    metadata = {".svg": described, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}[path.suffix]
    figure.savefig(path, metadata=metadata)


def bars(middle: Any, low: Any, high: Any) -> Float[np.ndarray, "2 n"]:
    """Lengths of error bars of estimates with intervals; none where the interval is not known."""
    return np.nan_to_num(np.stack([np.asarray(middle - low, float), np.asarray(high - middle, float)]))


def palette(values) -> dict:
    """A colour for each value of an ordered quantity (width), light to dark avoided at both ends."""
    values = sorted(values)
    colours = sns.color_palette("viridis", n_colors=len(values) + 1)[: len(values)]
    return dict(zip(values, colours, strict=True))


def log(axes, which: str = "xy") -> None:
    """Logarithmic axes with :func:`readable_log`; an axis on which nothing positive was drawn stays linear."""
    for name in which:
        if math.isfinite(getattr(axes.dataLim, f"minpos{name}")):
            axes.set(**{f"{name}scale": "log"})
            readable_log(getattr(axes, f"{name}axis"))


def readable_log(axis) -> None:
    """Log axis with plain numbers up to 1000 and powers beyond; over less than 1.5 decades 2 and 5 have them too."""

    def text(value: float, _position) -> str:
        if 1e-3 < value < 1e4:
            return f"{value:g}"
        exponent = math.floor(math.log10(value) + 1e-9)
        mantissa = value / 10.0**exponent
        return f"$10^{{{exponent}}}$" if abs(mantissa - 1) < 1e-6 else rf"${mantissa:g}\times10^{{{exponent}}}$"

    def between(value: float, position) -> str:
        low, high = sorted(axis.get_view_interval())
        decades, first = math.log10(high / low), round(value / 10.0 ** math.floor(math.log10(value) + 1e-9), 6)
        wanted = (2, 5) if decades > 0.6 else (1.5, 2, 3, 4, 5, 6, 7, 8)
        return text(value, position) if decades < 1.5 and first in wanted else ""

    axis.set_major_locator(LogLocator(base=10, numticks=12))
    axis.set_major_formatter(FuncFormatter(text))
    axis.set_minor_locator(LogLocator(base=10, subs=(1.5, *range(2, 10)), numticks=12))
    axis.set_minor_formatter(FuncFormatter(between))
