"""The sentences of a membership study, from the rows of ``growth``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import tables
from ntkpipe.kinds.membership.report_words import (
    OWN,
    above_and_below,
    along,
    extremes,
    own,
    rest_of,
    setting,
    sides,
    varying,
    verdicts,
)
from ntkpipe.tables import estimate, interval
from ntkpipe.topics import Topic

NAMES = {"smooth": "cos(theta) + cos(2 theta)", "odd": "cos(3 theta)", "step": "the step"}
KERNELS = {"limit": "infinite width", "start": "networks at the start", "trained": "networks after training on it"}
SPACES = {
    "trained in start": "H_t in H_0",
    "start in trained": "H_0 in H_t",
    "redrawn in start": "H_0 of a redrawn network in H_0",
}


def reading(growth: pd.DataFrame, settings: Any) -> str:
    """How verdicts are read, for all that follows."""
    rows = growth[growth.quantity == "gamma"]
    small, large = int(rows.points_min.max()), int(rows.points_max.max())
    return (
        f"Exponents gamma of norm ~ N^gamma are over N = {small} to {large}, at diag_reg {settings.diag_reg[0]:g}: "
        "bounded (inside the space) where the intervals of gamma and of the exponent of the last two N lie below "
        f"{settings.bounded:g}, growing (outside) where both lie above. A network has finitely many units, so on "
        "enough points every function is outside its space: verdicts are of these N. Cells that differ in steps or "
        "train points alone train the same networks."
    )


def topics(growth: pd.DataFrame, settings: Any, norms: xr.Dataset) -> list[Topic]:
    """Do the spaces lie in each other, where is each target and what does training do to it, and what is learned?"""
    names, usual = varying(growth), {"train_points": settings.train, "steps": settings.steps}
    growth = growth.assign(cell=[setting(row, names, usual) for row in growth.itertuples()])
    exponents = growth[growth.quantity == "gamma"]
    exponents = exponents[exponents.points_min == exponents.points_min.max()]
    at = settings.diag_reg[0]
    first, values = exponents[exponents.diag_reg == at], growth[(growth.quantity == "value") & (growth.diag_reg == at)]
    found = [Topic("Does training enlarge the space?", _inclusion_said(first, values, names), ("inclusion",))]
    for target, part in first[first.of == "norm"].groupby("target", sort=False):
        said = list(_bounded_by_training(target, part, names))
        for kernel, words in KERNELS.items():
            verdict = verdicts(own(part, kernel, names), "outside, K_N being singular on it,")
            said.append(f"{words[0].upper()}{words[1:]}: {verdict}.")
        said += _ratios_said(target, values[(values.of == "norm") & (values.target == target)])
        found.append(Topic(f"Is {NAMES[target]} in the RKHS, and does training bring it in?", said))
    found[-1] = found[-1]._replace(figures=("norm_growth",))
    return [
        *found,
        Topic("How does moving from H_0 to H_t change the inductive bias?", _errors_said(values)),
        Topic("What becomes of the norms as biases vanish?", biases_said(norms), ("membership_sigma_b",)),
        Topic("Do the verdicts depend on the ridge?", _other_ridges(exponents, settings.diag_reg)),
    ]


def _bounded_by_training(target: str, part: pd.DataFrame, names: list[str]) -> Iterator[str]:
    """Does training bound a norm that grew? By the verdicts of the same cells, and by the quotient's exponents."""
    grew = set(part[(part.kernel == "start") & (part.verdict == "grows")].cell)
    if not grew:
        return
    part = part[part.cell.isin(grew)]
    after = part[part.kernel == "trained"].verdict.value_counts()
    bounded = int(after.get("bounded", 0))
    rest = ", ".join(f"{word} in {n}" for word, n in after.items() if word != "bounded")
    yield (
        f"{'No' if not bounded else 'Yes' if bounded == len(grew) else 'In part'}: of {len(grew)} cells in which its "
        f"norm grows with K_0, training on it bounds the norm in {bounded}{f' ({rest})' if rest else ''}."
    )
    quotient = part[(part.kernel == "trained / start") & (part.verdict != "singular")]
    said = [
        f"{word} in {len(group)} (exponent {extremes(group)})"
        for word, group in quotient.groupby("verdict", sort=False)
    ]
    if said:
        yield f"Its norm after training over that before, in the same network, as N grows: {'; '.join(said)}."
    for axis in ("width", *OWN):
        for rows in along(quotient, axis, names):
            by = ", ".join(
                f"{getattr(r, axis)}: {estimate(r, '.2f')}, last two N {tables.interval_of(r, 'last', '.2f')}"
                for r in rows.itertuples()
            )
            yield f"That exponent by {axis.replace('_', ' ')} ({rest_of(rows, axis, names)}): {by}."


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
        text = (
            f"at diag_reg {reg:g} the same verdict in {int((other == first)[known].sum())} of {int(known.sum())} rows"
        )
        if not known.all():
            counts = other[~known].value_counts().items()
            text += (
                f"; of {int((~known).sum())} singular ones {', '.join(f'{n} then say {word}' for word, n in counts)}"
            )
        said.append(text)
    return [f"Rows of the table growth at other ridges: {'. '.join(said)}."] if said else []


def _inclusion_said(exponents: pd.DataFrame, values: pd.DataFrame, names: list[str]) -> list[str]:
    """Does training enlarge the space? Constants against those of redrawn networks and each other, and their growth."""
    target = exponents.target.iloc[-1]
    rows = exponents[(exponents.of == "inclusion") & (exponents.target == target)]
    values = values[(values.of == "inclusion") & (values.target == target) & np.isfinite(values.estimate)]
    if values.empty:
        return ["Not known: at this ridge every K_N is singular, or no training finished."]
    n = int(values.points_max.max())
    finest = values[values.points_max == n]
    more, back = (
        finest[finest.kernel == kernel]
        for kernel in ("trained in start / redrawn in start", "start in trained / trained in start")
    )
    gained, _ = above_and_below(more)
    answer = (
        "No more than drawing it anew does" if not gained else "In some cells" if 2 * gained <= len(more) else "Yes"
    )
    found = []
    if len(more):
        found.append(
            f"{answer}: c, the smallest with K_t <= c K_0 on {n} points after training on {NAMES[target]}, over that "
            f"of a redrawn network's K_0 is {sides(more)}."
        )
    if len(back):
        found.append(
            f"c of H_0 in H_t (K_0 <= c K_t) over that of H_t in H_0, in the same network, is {sides(back)}: above 1, "
            "the direction that shrinks most does so by more than the one that grows most."
        )
    for space, words in SPACES.items():
        said = verdicts(own(rows, space, names), "none, K_N being singular,")
        found.append(f"c of {words} as N grows: {said}; on {n} points {extremes(own(finest, space, names), '.3g')}.")
    for axis in ("width", *OWN):
        for group in along(finest[finest.kernel == "trained in start"], axis, names):
            by = "; ".join(
                f"{words} {', '.join(estimate(r) for r in same.sort_values(axis).itertuples())}"
                for space, words in SPACES.items()
                for same in [finest[(finest.kernel == space) & finest.cell.isin(group.cell)]]
            )
            at = ", ".join(str(v) for v in group[axis])
            found.append(f"c by {axis.replace('_', ' ')} {at} ({rest_of(group, axis, names)}): {by}.")
    return found


def errors(values: pd.DataFrame) -> pd.DataFrame:
    """Errors of the interpolants on half of the finest points, and of the networks."""
    rows = values[(values.of == "error") & np.isfinite(values.estimate)]
    kernels = rows[rows.kernel != "network"]
    return rows[(rows.kernel == "network") | (rows.points_max == kernels.points_max.max())]


def _errors_said(values: pd.DataFrame) -> list[str]:
    """Who learns a target better: its interpolant by K_0, by K_t, by K_t trained on another; and the network itself."""
    found, rows = [], errors(values)
    for target, part in rows.groupby("target", sort=False):
        said = {kernel: group for kernel, group in part.groupby("kernel") if np.isfinite(group.low).any()}
        if "trained / start" not in said:
            continue
        n = int(said["trained / start"].points_max.iloc[0])
        text = (
            f"{NAMES[target]}, interpolated from {n} points: error with K_t, trained on it, over that with K_0 is "
            f"{sides(said['trained / start'])}"
        )
        if "other / start" in said:
            text += f"; with K_t trained on another function {sides(said['other / start'])}"
        limit = part[part.kernel == "limit"]
        text += f". Error with K_0 {extremes(said['start'], '.2g')}, with the kernel of infinite width "
        text += f"{extremes(limit, '.2g')}"
        if "network" in said:
            text += f"; of the trained networks, from their own train points, {extremes(said['network'], '.2g')}"
        found.append(f"{text}.")
    if found:
        found.insert(
            0,
            "K_t has seen the function at its train points: what is a gain of the space in general shows in K_t "
            f"trained on another function. {_bias_answer(rows)}",
        )
    return found


def _bias_answer(rows: pd.DataFrame) -> str:
    """In words: for how many cells and targets training helps, on the target itself and on another."""
    said = []
    for kernel, words in (("trained / start", "itself"), ("other / start", "another")):
        known = rows[(rows.kernel == kernel) & np.isfinite(rows.low)]
        if len(known):
            worse, better = above_and_below(known)
            said.append(
                f"trained on {words}, K_t errs less than K_0 in {better} and more in {worse} of {len(known)} cells and "
                "functions"
            )
    return f"{'; '.join(said)[:1].upper()}{'; '.join(said)[1:]}."


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
