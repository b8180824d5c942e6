"""What the report answers of a study of the limit: kernels, rates, depth/width, predictions, profiles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.kinds.infinite_width.report_words import (
    ends_of_widths,
    exponent,
    groups,
    known,
    setting,
    settings,
    shape,
    verdict,
)
from ntkpipe.tables import interval_of
from ntkpipe.topics import Topic

KERNELS = "How far are finite kernels from the limit?"
RATES = "At which rate?"
BETA = "Does depth/width decide?"
FUNCTIONS = "What do trained networks predict, and does the limit say so?"
PROFILE = "What does training do to the kernel's profile?"
RATED = {
    "kernel distance": ("the distance |K_0 - Theta|", "start"),
    "kernel movement": ("the movement |K_t - K_0| by training", "end"),
    "function error": ("the error |f_t - f_0 - A_t (y - f_0(X))| of one network", "end"),
    "function error by movement": ("the part of that error that the kernel's movement makes", "end"),
}
MEAN_RATES = {"mean kernel": ("E K_0", "start"), "mean function": ("E f_t", "end")}


def topics(cells: pd.DataFrame, fits: pd.DataFrame, found: xr.Dataset) -> list[Topic]:
    """Questions, answers and figures; ``cells`` and ``fits`` are the tables, ``found`` the dataset of the cells."""
    cells = cells.assign(place=np.arange(len(cells)))
    return [
        Topic(KERNELS, kernels_said(cells, found), ("limit_distance",)),
        Topic(RATES, rates_said(fits)),
        Topic(BETA, beta_said(fits)),
        Topic(FUNCTIONS, functions_said(cells, found), ("limit_functions", "limit_predictions")),
        Topic(PROFILE, profile_said(cells), ("limit_profile",)),
    ]


def _head(said: str) -> str:
    return f"{said}: " if said else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _capital_if(name: str, text: str) -> str:
    """After the setting where there is one, else the beginning of a sentence."""
    return f"{name}: {text}" if name else _capital(text)


def _along_widths(cells: pd.DataFrame, name: str, words: str) -> Iterable[str]:
    """For each setting, an estimate at the narrowest and the widest cell of each depth, after these words."""
    for said, part in groups(cells):
        texts = [
            f"{interval_of(first, name)} at width {first.width} and {interval_of(last, name)} at width {last.width} "
            f"(depth {first.depth})"
            for first, last in ends_of_widths(part, name)
        ]
        if texts:
            yield _capital_if(said, f"{words} {'; '.join(texts)}.")


def kernels_said(cells: pd.DataFrame, found: xr.Dataset) -> list[str]:
    """Distances at the start and the end, what training adds, and what of them is a bias of the mean kernel."""
    said = []
    for name, words in (
        ("distance_start", "|K_0 - Theta|/|Theta| on the train points, geometric mean over networks, is"),
        ("distance_end", "after training |K_t - Theta|/|Theta| is"),
        ("movement_end", "training moves the kernel by |K_t - K_0|/|Theta| ="),
    ):
        said += _along_widths(cells, name, words)
    if not said:
        said = [
            f"|K_0 - Theta|/|Theta| is {interval_of(row, 'distance_start')} at {shape(row)}, and "
            f"{interval_of(row, 'distance_end') or 'not known (runs diverged)'} after training."
            for row in cells.itertuples()
            if np.isfinite(row.distance_start)
        ][:4]
    return [*said, *_bias_said(cells, found), *_exact_said(cells)]


def _bias_said(cells: pd.DataFrame, found: xr.Dataset) -> list[str]:
    """Where the mean kernel differs from Theta beyond its noise, and how much of the distance that is."""
    said = []
    for at, words in ((0, "at the start"), (-1, "after training")):
        part = found.isel(snapshot=at)
        bias, low, rest = (part[name].values for name in ("bias", "bias_low", "fluctuation"))
        total = bias + rest
        judged = np.isfinite(low) & (total > 0)
        if not judged.any():
            continue
        seen = judged & (low > 0)
        text = (
            f"The mean kernel {words} differs from Theta beyond its noise in {seen.sum()} of {judged.sum()} cells"
            " (squared bias against the variance over networks)"
        )
        if seen.any():
            share = np.where(seen, bias / np.where(judged, total, 1), -1.0)
            best = int(share.argmax())
            row = next(cells[cells.place == best].itertuples())
            text += f"; at most {100 * share[best]:.0f} % of the squared distance is bias ({_cell(row, cells)})"
        else:
            text += ": what is seen is the fluctuation from network to network"
        said.append(f"{text}.")
    return said


def _cell(row, cells: pd.DataFrame) -> str:
    return ", ".join(filter(None, [setting(row, settings(cells)), shape(row)]))


def _exact_said(cells: pd.DataFrame) -> list[str]:
    """One hidden layer: E K_0 = Theta exactly, as the kernel is a mean over independent units."""
    rows = cells[(cells.depth == 1) & np.isfinite(cells.excess_start_low)]
    rows = rows.drop_duplicates(["width", "activation", "parametrization", "bias_init", "sigma_b", "sigma_w"])
    if rows.empty:
        return []
    inside = (rows.excess_start_low <= 0) & (rows.excess_start_high >= 0)
    worst = next(rows.iloc[[rows.excess_start.abs().to_numpy().argmax()]].itertuples())
    return [
        "With one hidden layer E K_0 = Theta at any width: the interval of <K_0, Theta>/|Theta|^2 - 1 holds 0 in "
        f"{inside.sum()} of {len(rows)} such cells, the largest being {interval_of(worst, 'excess_start')} "
        f"({_cell(worst, cells)})."
    ]


def rates_said(fits: pd.DataFrame) -> list[str]:
    """Exponents in the width at each depth, beside those expected; of one network, and of means."""
    said = []
    for name, part in groups(fits):
        for quantity, (words, at) in RATED.items():
            texts = []
            for row in known(part, quantity, at, "width_exponent").sort_values("depth").itertuples():
                if np.isnan(row.depth):
                    continue
                text = f"{exponent(row)} at depth {row.depth:.0f}"
                if judged := verdict(row):
                    text += f" ({judged}"
                    last = known(part, quantity, at, "last_exponent")
                    last = last[last.depth == row.depth]
                    if len(last) and not row.low <= row.expected <= row.high:
                        text += f"; between the two largest widths {exponent(next(last.itertuples()))}"
                    text += ")"
                texts.append(text)
            if texts:
                said.append(_capital_if(name, f"{words} goes like width^p, p = {'; '.join(texts)}."))
        said += _means_said(name, part)
    measured = fits[(fits.method == "width_exponent") & fits.expected.isna() & np.isfinite(fits.estimate)]
    if len(measured):
        said.append(
            "For kinked activations no exponent of what the movement does is claimed: gates flip, which the "
            "derivatives of the kernel do not see; it is measured."
        )
    return said


def _means_said(name: str, part: pd.DataFrame) -> list[str]:
    """Exponents of the means, or that their deviations are not seen."""
    said = []
    for quantity, (words, at) in MEAN_RATES.items():
        rows = part[(part.quantity == quantity) & (part["at"] == at) & (part.method == "mean_exponent")]
        if quantity == "mean kernel":
            rows = rows[rows.depth > 1]  # with one hidden layer there is nothing to see
        good = known(rows, quantity, at, "mean_exponent")
        texts = [
            f"{exponent(row)} at depth {row.depth:.0f}" + (f" ({verdict(row)})" if verdict(row) else "")
            for row in good.itertuples()
        ]
        if texts:
            said.append(f"{_head(name)}{words} less its limit goes like width^p, p = {'; '.join(texts)}.")
        depths = sorted(set(rows.depth) - set(good.depth))
        if depths:
            at_depths = f"depth {', '.join(f'{d:.0f}' for d in depths)}"
            said.append(
                f"{_head(name)}{words} less its limit has no exponent at {at_depths}: with these seeds the deviation "
                "is not seen, or at too few widths."
            )
    return said


def beta_said(fits: pd.DataFrame) -> list[str]:
    """p + q of width^p depth^q: 0 on depth/width alone."""
    said = []
    for name, part in groups(fits):
        for quantity, (words, at) in RATED.items():
            for row in known(part, quantity, at, "total_exponent").itertuples():
                answer = "may depend on depth/width alone" if row.low <= 0 <= row.high else (
                    "is no function of depth/width alone: it grows with depth more than it falls with width"
                    if row.low > 0
                    else "is no function of depth/width alone: it falls with width more than it grows with depth"
                )  # fmt: skip
                p, q, power = (
                    known(part, quantity, at, method) for method in ("width_exponent", "depth_exponent", "beta_power")
                )
                p, q = p[p.depth.isna()], q[q.width.isna()]
                text = _capital_if(name, f"{words} {answer}: width^p depth^q with p + q = {exponent(row)}")
                if len(p) and len(q):
                    text += f" (p = {exponent(next(p.itertuples()))}, q = {exponent(next(q.itertuples()))})"
                if len(power):
                    alone = next(power.itertuples())
                    text += f"; on beta alone beta^c, c = {exponent(alone)}"
                    if np.isfinite(alone.scatter):
                        text += f", cells scatter by {alone.scatter:.1f} times their seeds' error"
                said.append(f"{text}.")
    return said


def functions_said(cells: pd.DataFrame, found: xr.Dataset) -> list[str]:
    """One network against its own limit, and means, variances and errors over networks against the limit's."""
    words = (
        "one network differs from its own limit f_0 + A_t (y - f_0(X)), in root mean square at the evaluation points "
        "over that of the labels, by"
    )
    said = list(_along_widths(cells, "function_error_end", words))
    end = found.isel(snapshot=-1).sel(on="eval")
    said += _mean_said(cells, end)
    for on, words in (("eval", "evaluation"), ("train", "train")):
        said += _inside(
            found.isel(snapshot=-1).sel(on=on), cells, "variance_ratio", 1.0,
            f"The variance over networks at the {words} points, over the limit's (1 in the limit; chi-square)",
        )  # fmt: skip
    error, low, high, limit = (end[n].values for n in ("error", "error_low", "error_high", "error_limit"))
    judged = np.isfinite(low) & np.isfinite(limit)
    if judged.any():
        inside = judged & (low <= limit) & (limit <= high)
        rows = cells[judged]
        widest = rows[rows.width == rows.width.max()].iloc[0]
        at = int(widest.place)
        said.append(
            f"Mean squared error of the trained networks against the target at the evaluation points: the limit's "
            f"bias^2 + variance is inside the interval in {inside.sum()} of {judged.sum()} cells; at "
            f"{_cell(widest, cells)} {error[at]:.3g} [{low[at]:.3g}, {high[at]:.3g}], the limit's {limit[at]:.3g}."
        )
    return said


def _mean_said(cells: pd.DataFrame, end: xr.Dataset) -> list[str]:
    """The mean as it comes, and with the noise of f_0 taken out."""
    said = _inside(
        end, cells, "plain_shift", 0.0,
        "The mean over networks at the evaluation points, along the limit's mean m: <E f_t - m, m>/|m|^2 (0 in the "
        "limit; Student's intervals)",
    )  # fmt: skip
    return said + _inside(
        end, cells, "mean_shift", 0.0,
        "The same with each network's own limit taken off, which removes the noise of f_0 and no bias",
    )  # fmt: skip


def _inside(part: xr.Dataset, cells: pd.DataFrame, name: str, exact: float, words: str) -> list[str]:
    """In how many cells an interval holds the limit's value, and the estimates that lie outermost."""
    value, low, high = (part[f"{name}{end}"].values for end in ("", "_low", "_high"))
    judged = np.isfinite(low) & np.isfinite(high)
    if not judged.any():
        return []
    holds = judged & (low <= exact) & (exact <= high)
    text = f"{words}: {exact:g} is inside in {holds.sum()} of {judged.sum()} cells"
    order = [i for i in np.argsort(np.where(judged, value, np.inf), kind="stable") if judged[i]]
    ends = dict.fromkeys((order[0], order[-1]))
    rows = [next(cells[cells.place == i].itertuples()) for i in ends]
    texts = [
        f"{value[row.place]:.3g} [{low[row.place]:.3g}, {high[row.place]:.3g}] ({_cell(row, cells)})" for row in rows
    ]
    return [f"{text}; from {' to '.join(texts)}." if len(texts) > 1 else f"{text}; {texts[0]}."]


def profile_said(cells: pd.DataFrame) -> list[str]:
    """What training changes at x_0 itself and at the point farthest from it."""
    said = []
    for stem, where in (("peak", "at x_0 itself, K(x_0, x_0)"), ("far", "at the point farthest from x_0, K(x_0, x)")):
        rows = cells[np.isfinite(cells[f"{stem}_change_low"])]
        if rows.empty:
            continue
        up, down = (rows[f"{stem}_change_low"] > 0).sum(), (rows[f"{stem}_change_high"] < 0).sum()
        said.append(
            f"{_capital(where)}/Theta(x_0, x_0): training raises it beyond the interval in {up} and lowers it in "
            f"{down} of {len(rows)} cells (paired by network)."
        )
        for name, part in groups(rows):
            texts = [
                f"from {interval_of(row, f'{stem}_start')} to {interval_of(row, f'{stem}_end')}, change "
                f"{interval_of(row, f'{stem}_change', '.2g')} at {shape(row)}"
                for pair in ends_of_widths(part, f"{stem}_change")
                for row in pair
            ]
            if texts:
                said.append(f"{_head(name)}{'; '.join(texts)}.")
    return said
