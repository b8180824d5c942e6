"""Figures of training by name; the tensors' prediction of the kernel is drawn here, the others in their own rooms."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.lines import Line2D

from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.figures_answer import regimes_answer
from ntkpipe.kinds.trajectory.figures_cells import cells_of, finished, quartiles
from ntkpipe.kinds.trajectory.figures_freeze import freeze, regression, stop
from ntkpipe.kinds.trajectory.figures_kernel import frequencies, kernel
from ntkpipe.kinds.trajectory.figures_methods import methods
from ntkpipe.kinds.trajectory.figures_paths import paths, predicted
from ntkpipe.kinds.trajectory.figures_rkhs import rkhs, spaces
from ntkpipe.kinds.trajectory.figures_thresholds import thresholds


def hierarchy(data: Data):
    """Relative error of DeltaK predicted from initialization by K3, and by K3 and K4, against width."""
    dataset = data["perturbation"]
    if "third_error" not in dataset:
        raise style.NothingToDraw("it shows K_t predicted by K3 and K4; train.tensors is off in this study")
    frame = cells_of(data)
    frame = frame[frame.finished > 0]
    steps = (frame.eta == frame.eta.mode().iloc[0]) & (frame.depth == frame.depth.mode().iloc[0])
    frame = frame[steps].sort_values("width")
    last = dataset.sizes["snapshot"] - 1
    shown = sorted({max(1, last // 4), max(1, last // 2), last})
    activations = list(dict.fromkeys(frame.activation))
    colours = dict(zip(activations, sns.color_palette("colorblind", len(activations)), strict=True))
    figure, axes = plt.subplots(1, len(shown), figsize=(1.0 + 3.1 * len(shown), 3.7), sharey=True, squeeze=False)
    for axis, snapshot in zip(axes[0], shown, strict=True):
        times = []
        for activation, part in frame.groupby("activation", sort=False):
            for k, (name, line, full) in enumerate((("third_error", "--", False), ("fourth_error", "-", True))):
                shift = 1.06 ** (2 * activations.index(activation) + k - len(activations) + 0.5)  # side by side
                found = [quartiles(finished(dataset, row, name)[:, snapshot]) for _, row in part.iterrows()]
                low, middle, high = np.array(found).T
                look = {"color": colours[activation], "markerfacecolor": colours[activation] if full else "white"}
                axis.errorbar(part.width * shift, middle, yerr=[middle - low, high - middle], fmt=line, marker="o",
                              markersize=4, linewidth=1.1, **look)  # fmt: skip
            times += [float(np.median(finished(dataset, row, "time")[:, snapshot])) for _, row in part.iterrows()]
        between = f"{min(times):.2g}" if max(times) < 1.01 * min(times) else f"{min(times):.2g} to {max(times):.2g}"
        axis.set_title(f"step {int(dataset.step[snapshot])}, flow time {between}", fontsize=9)
        axis.axhline(1, color="0.4", linewidth=0.9, linestyle=":")
        style.log(axis)
        axis.set(xlabel="width")
        widths = sorted(set(frame.width))
        axis.set_xticks(widths, [str(w) for w in widths])
        axis.minorticks_off()
    axes[0][0].set_ylabel(r"$|K_t^{pred}-K_t|_F\,/\,|K_t-K_0|_F$")
    handles = [Line2D([], [], color=c, linewidth=3, label=a) for a, c in colours.items()]
    handles += [
        Line2D([], [], color="0.3", linestyle="--", marker="o", markerfacecolor="white", label="K3"),
        Line2D([], [], color="0.3", marker="o", label="K3 and K4"),
        Line2D([], [], color="0.4", linestyle=":", label="no better than $K_0$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7.5)
    return figure


FIGURES = {
    "regimes_answer": regimes_answer,
    "thresholds": thresholds,
    "paths": paths,
    "kernel": kernel,
    "predicted": predicted,
    "freeze": freeze,
    "regression": regression,
    "stop": stop,
    "frequencies": frequencies,
    "rkhs": rkhs,
    "spaces": spaces,
    "methods": methods,
    "hierarchy": hierarchy,
}
