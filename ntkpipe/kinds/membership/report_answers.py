"""The sentences of a membership study, from the rows of ``growth``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import tables
from ntkpipe.networks import SETTINGS
from ntkpipe.tables import interval

NAMES = {"smooth": "cos(theta) + cos(2 theta)", "odd": "cos(3 theta)", "step": "the step"}
OWN = ("train_points", "steps")
"""Settings of the training that a grid may vary."""
KERNELS = {"limit": "infinite width", "start": "networks at the start", "trained": "networks after training on it"}
SPACES = {
    "trained in start": "H_t in H_0 (K_t <= c K_0)",
    "start in trained": "H_0 in H_t (K_0 <= c K_t)",
    "redrawn in start": "H_0 of a redrawn network in H_0",
}


def varying(frame: pd.DataFrame) -> list[str]:
    """Settings, depth and width that differ between the rows."""
    return tables.varying(frame, ("depth", "width", "widths", *SETTINGS, *OWN))


def setting(row: Any, names: list[str], usual: dict[str, int] | None = None) -> str:
    """A cell in words, by what varies in the study; sigma_b is said with the biases, training where not as usual."""
    said = [
        f"{name.replace('_', ' ')} {tables.number(getattr(row, name))}"
        for name in names
        if name not in ("widths", "bias_init", "sigma_b") and (usual or {}).get(name) != getattr(row, name)
    ]
    if {"bias_init", "sigma_b"} & set(names):
        scale = f"sigma_b {row.sigma_b:g}"
        said.append({"none": "no biases", "zero": scale, "normal": f"random biases, {scale}"}[row.bias_init])
    return ", ".join(said) or "the one cell"


def answers(growth: pd.DataFrame, settings: Any, norms: xr.Dataset) -> list[str]:
    """Where each target is, what training does to it, whether the spaces lie in each other, and what all learn."""
    names, usual = varying(growth), {"train_points": settings.train, "steps": settings.steps}
    growth = growth.assign(cell=[setting(row, names, usual) for row in growth.itertuples()])
    exponents = growth[growth.quantity == "gamma"]
    exponents = exponents[exponents.points_min == exponents.points_min.max()]
    at = settings.diag_reg[0]
    first, values = exponents[exponents.diag_reg == at], growth[(growth.quantity == "value") & (growth.diag_reg == at)]
    found = [
        f"Exponents gamma of norm ~ N^gamma are over N = {int(first.points_min.iloc[0])} to "
        f"{int(first.points_max.iloc[0])}, at diag_reg {at:g}: bounded (inside the space) where the intervals of "
        f"gamma and of the exponent of the last two N lie below {settings.bounded:g}, growing (outside) where both lie "
        "above. A network has finitely many units, so on enough points every function is outside its space: this is "
        "said of these N."
    ]
    found += _inclusion_said(first, values, names)
    for target, part in first[first.of == "norm"].groupby("target", sort=False):
        for kernel, words in KERNELS.items():
            said = verdicts(part[part.kernel == kernel], "outside, K_N being singular on it,")
            found.append(f"{NAMES[target]}, {words}: {said}.")
        found += _bounded_by_training(target, part, names)
        found += _ratios_said(target, values[(values.of == "norm") & (values.target == target)])
    found += [*_errors_said(values), *biases_said(norms)]
    return found + _other_ridges(exponents, settings.diag_reg)


def verdicts(rows: pd.DataFrame, singular: str) -> str:
    """The cells by verdict, with the smallest and the largest exponent of each; ``singular``: that verdict in words."""
    said = []
    for found, group in rows.groupby("verdict", sort=False):
        cells = "every cell" if len(group) == len(rows) else f"{len(group)} of {len(rows)} cells"
        if found == "singular":
            said.append(f"{singular} for {cells if len(group) == len(rows) else '; '.join(group.cell)}")
            continue
        text = f"{found} for {cells}, gamma {extremes(group)}"
        if lost := int(group.n_singular.sum()):
            text += f" ({lost} of {int(group.n_all.sum())} networks, singular, not counted)"
        if (group.kernel == "limit").all() and np.isfinite(group.asymptotic).any():
            text += f", {_range(group.asymptotic)} as N grows by the decay of the spectrum"
        said.append(text)
    return "; ".join(said)


def extremes(rows: pd.DataFrame, digits: str = ".2f") -> str:
    """The smallest and the largest estimate, with intervals and cells."""
    rows = rows[np.isfinite(rows.estimate)].sort_values("estimate", kind="stable")
    if rows.empty:
        return "not known"
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    return " to ".join(f"{_estimate(end, digits)} ({end.cell})" for end in ends)


def _estimate(row: Any, digits: str = ".3g") -> str:
    return interval(row.estimate, row.low, row.high, digits)


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _bounded_by_training(target: str, part: pd.DataFrame, names: list[str]) -> Iterator[str]:
    """Does training bound a norm that grew? By the verdicts of the same cells, and by the quotient's exponents."""
    grew = set(part[(part.kernel == "start") & (part.verdict == "grows")].cell)
    if not grew:
        return
    part = part[part.cell.isin(grew)]
    after = part[part.kernel == "trained"].verdict.value_counts()
    counts = ", ".join(f"{word if word == 'grows' else f'is {word}'} in {n}" for word, n in after.items())
    yield (
        f"Does training on {NAMES[target]} bound its norm? Of {len(grew)} cells where it grows with K_0, with K_t it "
        f"{counts}."
    )
    quotient = part[(part.kernel == "trained / start") & (part.verdict != "singular")]
    said = [
        f"{word} in {len(group)} (exponent {extremes(group)})"
        for word, group in quotient.groupby("verdict", sort=False)
    ]
    if said:
        yield f"The norm after training over that before, on {NAMES[target]}, as N grows: {'; '.join(said)}."
    for axis in ("width", *OWN):
        for rows in along(quotient, axis, names):
            by = ", ".join(
                f"{getattr(r, axis)}: {_estimate(r, '.2f')}, last two N {tables.interval_of(r, 'last', '.2f')}"
                for r in rows.itertuples()
            )
            yield f"Its exponent by {axis.replace('_', ' ')} ({_rest(rows, axis, names)}): {by}."


def along(rows: pd.DataFrame, axis: str, names: list[str]) -> Iterator[pd.DataFrame]:
    """Groups of cells that differ in this setting alone, at least two, in its order."""
    rest = [name for name in names if name not in (axis, "widths")]
    for _, group in rows.groupby(rest, sort=False) if rest else [((), rows)]:
        if group[axis].nunique() > 1:
            yield group.sort_values(axis)


def _rest(rows: pd.DataFrame, axis: str, names: list[str]) -> str:
    return setting(next(rows.itertuples()), [name for name in names if name != axis])


def _ratios_said(target: str, rows: pd.DataFrame) -> list[str]:
    """By what training multiplies the norm on the most points."""
    rows = rows[(rows.kernel == "trained / start") & np.isfinite(rows.estimate)]
    rows = rows[rows.points_max == rows.points_max.max()]
    if rows.empty:
        return []
    n = int(rows.points_max.iloc[0])
    return [f"Training on {NAMES[target]} multiplies its norm on {n} points by {extremes(rows, '.3g')}."]


def _other_ridges(exponents: pd.DataFrame, ridges: tuple[float, ...]) -> list[str]:
    """For how many rows the other ridges give the same verdict as the first."""
    keys, said = ["of", "kernel", "target", "cell"], []
    first = exponents[exponents.diag_reg == ridges[0]].set_index(keys).verdict
    known = first != "singular"
    for reg in ridges[1:]:
        other = exponents[exponents.diag_reg == reg].set_index(keys).verdict.reindex(first.index)
        text = f"at diag_reg {reg:g} the same verdict in {int((other == first)[known].sum())} of {int(known.sum())}"
        if not known.all():
            counts = other[~known].value_counts().items()
            text += (
                f"; of {int((~known).sum())} singular ones {', '.join(f'{n} then say {word}' for word, n in counts)}"
            )
        said.append(text)
    return [f"Rows of the table growth at other ridges: {'. '.join(said)}."] if said else []


def _inclusion_said(exponents: pd.DataFrame, values: pd.DataFrame, names: list[str]) -> list[str]:
    """Does training enlarge the space? Growth of the inclusion constants, and the constants on the most points."""
    target = exponents.target.iloc[-1]
    rows = exponents[(exponents.of == "inclusion") & (exponents.target == target)]
    values = values[(values.of == "inclusion") & (values.target == target)]
    n = int(values.points_max.max())
    finest = values[values.points_max == n]
    by_space = finest[np.isfinite(finest.low)].pivot(index="cell", columns="kernel", values=["low", "high"]).dropna()
    low, high = by_space["low"], by_space["high"]
    found = [
        f"Does training on {NAMES[target]} enlarge the space? H lies in H' iff the smallest c with K <= c K' stays "
        "bounded as N grows. How much of c is finite width is told by networks that are only drawn anew.",
        f"On {n} points c of H_t in H_0 lies above that of a redrawn network (intervals apart) in "
        f"{int((low['trained in start'] > high['redrawn in start']).sum())} of {len(by_space)} cells and below in "
        f"{int((high['trained in start'] < low['redrawn in start']).sum())}; c of H_0 in H_t lies above that of H_t in "
        f"H_0 in {int((low['start in trained'] > high['trained in start']).sum())} and below in "
        f"{int((high['start in trained'] < low['trained in start']).sum())}: where it lies above, training loses more "
        "directions than it gains.",
    ]
    for space, words in SPACES.items():
        said = verdicts(rows[rows.kernel == space], "no c, K_N being singular,")
        found.append(f"{words}: c {said}; on {n} points c = {extremes(finest[finest.kernel == space], '.3g')}.")
    for axis in ("width", *OWN):
        for group in along(finest[finest.kernel == "trained in start"], axis, names):
            same = [finest[(finest.kernel == k) & finest.cell.isin(group.cell)].sort_values(axis) for k in SPACES]
            by = "; ".join(
                f"{SPACES[part.kernel.iloc[0]].split(' (')[0]} {', '.join(_estimate(r) for r in part.itertuples())}"
                for part in same
            )
            at = ", ".join(str(v) for v in group[axis])
            found.append(f"c by {axis.replace('_', ' ')} {at} ({_rest(group, axis, names)}): {by}.")
    return found


def errors(values: pd.DataFrame) -> pd.DataFrame:
    """Errors of the interpolants on half of the finest points, and of the networks."""
    rows = values[(values.of == "error") & np.isfinite(values.estimate)]
    kernels = rows[rows.kernel != "network"]
    return rows[(rows.kernel == "network") | (rows.points_max == kernels.points_max.max())]


def _errors_said(values: pd.DataFrame) -> list[str]:
    """Who learns a target better: its interpolant by K_0 or by K_t, and the network itself."""
    found = []
    for target, rows in errors(values).groupby("target", sort=False):
        ratio = rows[(rows.kernel == "trained / start") & np.isfinite(rows.low)]
        if ratio.empty:
            continue
        n, better, worse = int(ratio.points_max.iloc[0]), int((ratio.high < 1).sum()), int((ratio.low > 1).sum())
        found.append(
            f"Learning {NAMES[target]} from {n} points: the interpolant by K_t errs less than that by K_0 in {better} "
            f"of {len(ratio)} cells and more in {worse}, error over error {extremes(ratio)}; K_0 "
            f"{extremes(rows[rows.kernel == 'start'], '.2g')}, infinite width "
            f"{extremes(rows[rows.kernel == 'limit'], '.2g')}, the trained networks themselves "
            f"{extremes(rows[rows.kernel == 'network'], '.2g')}."
        )
    return found


def biases_said(norms: xr.Dataset) -> list[str]:
    """What becomes of the norms on the finest points as the biases, which start at zero, vanish."""
    part, found = norms.isel(points=-1), []
    columns = ["depth", "width", "bias_init", "sigma_b", *OWN]
    cells = part[columns].to_dataframe()[columns].assign(cell=np.arange(part.sizes["cell"]))
    cells = cells[cells.bias_init == "zero"]
    for target in part.target.values:
        said = []
        for depth, of_depth in cells.groupby("depth"):
            groups = [g for _, g in of_depth.groupby(["width", *OWN]) if g.sigma_b.nunique() > 1]
            if not groups:
                continue
            rows = max(groups, key=lambda g: (g.sigma_b.nunique(), g.width.iloc[0])).sort_values("sigma_b")
            ends = [part.isel(cell=rows.cell.iloc[i]).sel(target=target) for i in (-1, 0)]
            start = [_mean_said(end.sel(kernel="start")) for end in ends]
            limit = [tables.number(float(end["norm_limit"])) or "none" for end in ends]
            said.append(
                f"depth {depth}, width {rows.width.iloc[0]}: {start[0]} to {start[1]} at the start (infinite width "
                f"{limit[0]} to {limit[1]}) from sigma_b = {rows.sigma_b.iloc[-1]:g} to {rows.sigma_b.iloc[0]:g}"
            )
        if said:
            found.append(f"{NAMES[target]}, norm on {int(part.points)} points as biases vanish: {'; '.join(said)}.")
    return found


def _mean_said(part: xr.Dataset) -> str:
    return interval(*(float(part[f"norm_{end}"]) for end in ("mean", "low", "high"))) or "none"
