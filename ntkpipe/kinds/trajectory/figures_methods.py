"""Descent, minibatches and the flow on the same networks, against flow time."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_cells import band, cells_of, finished
from ntkpipe.kinds.trajectory.figures_paths import TIME
from ntkpipe.networks import SETTINGS

METHODS = {
    "gd": ("gradient descent", "#0072B2"),
    "sgd": ("minibatches", "#E69F00"),
    "flow": ("gradient flow", "#000000"),
}
PANELS = (("loss", "training loss"), ("drift", r"drift $|K_t-K_0|_F\,/\,|K_0|_F$"))
LEAST = 2
"""Methods that a cell must have to be compared."""


def methods(data: Data):
    """Loss and drift of the same networks by method: rows the smallest and the largest beta that have several."""
    frame = cells_of(data)
    frame = frame[frame.finished > 0]
    keys = [*SETTINGS, "loss_kind", "eta", "eta_unit", "width", "depth"]
    count = frame.groupby(keys).training.transform("nunique")
    frame = frame[count >= LEAST]
    if frame.empty:
        raise style.NothingToDraw("it compares methods of training; no cell of this study has two")
    groups = sorted((part for _, part in frame.groupby(keys)), key=lambda part: part.beta.iloc[0])
    shown = [groups[0]] + ([groups[-1]] if len(groups) > 1 else [])
    dataset = data["perturbation"]
    figure, axes = plt.subplots(len(shown), 2, figsize=(8.8, 0.9 + 3.0 * len(shown)), squeeze=False)
    for row_axes, part in zip(axes, shown, strict=True):
        first = part.iloc[0]
        for axis, (name, label) in zip(row_axes, PANELS, strict=True):
            for _, row in part.iterrows():
                band(axis, finished(dataset, row, "time"), finished(dataset, row, name), METHODS[row.training][1])
            style.log(axis)
            axis.set(ylabel=label, xlabel=TIME)
            axis.set_title(rf"{first.activation}, width {first.width}, depth {first.depth}", fontsize=9)
    present = set(frame.training)
    handles = [Line2D([], [], color=c, label=words) for name, (words, c) in METHODS.items() if name in present]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5)
    return figure
