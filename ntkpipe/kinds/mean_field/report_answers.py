"""The sentences of a mean_field study, from its tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import tables
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.mean_field.rates import OWN
from ntkpipe.networks import MEAN_FIELD, SETTINGS
from ntkpipe.tables import interval, interval_of
from ntkpipe.topics import Topic

NAMES = {MEAN_FIELD: "Mean field", "ntk": "Ntk"}
TIMES = {"start": "at the start", "half": "when half of the loss is gone", "end": "at the end"}


def topics(cells: pd.DataFrame, fits: pd.DataFrame, dataset: xr.Dataset, confidence: float) -> list[Topic]:
    """Does the kernel move, does it converge, are particles independent, and which modes are learned?"""
    compared = ", compared with ntk" if cells.parametrization.nunique() > 1 else ""
    return [
        Topic("Does the kernel move at infinite width?", moves(cells, fits), ("kernel_moves", "particles")),
        Topic("What do steps do beside the flow?", beside_flow(cells, dataset, confidence)),
        Topic("Does the kernel converge as m grows?", converges(cells, fits), ("rates",)),
        Topic("Do particles become independent?", independent(cells, fits, dataset)),
        Topic(f"Which modes are learned{compared}?", learned(cells, dataset), ("modes",)),
    ]


def settings_of(frame: pd.DataFrame) -> list[str]:
    """Settings in which rows differ, apart from the parametrization."""
    return tables.varying(frame, [name for name in (*SETTINGS, *OWN) if name != "parametrization"])


def alike(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(words, rows) of each setting, both parametrizations together."""
    names = settings_of(frame)
    if not names:
        yield "", frame
        return
    for _, part in frame.groupby(names, sort=False):
        row = next(part.itertuples())
        yield "".join(f"{n.replace('_', ' ')} {tables.number(getattr(row, n))}, " for n in names), part


def exponent(fits: pd.DataFrame, like: Any, quantity: str, at: str = "end") -> Any:
    """The row of ``fits`` for a cell's settings; None where there is none."""
    rows = fits[(fits.quantity == quantity) & (fits["at"] == at) & np.isfinite(fits.estimate)]
    for name in (*SETTINGS, *OWN):
        rows = rows[rows[name] == getattr(like, name)]
    return None if rows.empty else next(rows.itertuples())


def power(row: Any) -> str:
    """m^p with its interval, and what theory says."""
    theory = f"theory {row.expected:g}" if np.isfinite(row.expected) else "no rate is known: particles gather at gates"
    if np.isfinite(row.expected_before):
        theory = f"theory {row.expected:g} as m grows, {row.expected_before:g} before"
    return f"m^p with p = {interval(*(round(v, 2) + 0.0 for v in (row.estimate, row.low, row.high)), '.2f')} ({theory})"


def moves(cells: pd.DataFrame, fits: pd.DataFrame) -> list[str]:
    """The drift at the end, by parametrization: does it stay as the width grows?"""
    found = []
    for words, part in alike(cells):
        for name, rows in part.groupby("parametrization", sort=False):
            rows = rows[rows.n_finished > 0].sort_values("width")
            if rows.empty:
                found.append(f"{NAMES[name]}: {words}not known: no network finished.")
                continue
            narrow, wide = rows.iloc[0], rows.iloc[-1]
            fit = exponent(fits, wide, "drift")
            answer = verdict(fit, name)
            text = (
                f"{answer}{NAMES[name].lower() if answer else NAMES[name]}: {words}|K_t - K_0|/|K_0| at the end is "
                f"{interval_of(wide, 'drift_end')} at m = {wide.width}"
            )
            if name == MEAN_FIELD:
                text += f", {wide.drift_end_limit:.3g} at infinite width"
            if narrow.width != wide.width:
                text += f", {interval_of(narrow, 'drift_end')} at m = {narrow.width}"
            if fit is not None:
                text += f"; it goes like {power(fit)}"
            moved = exponent(fits, wide, "moved")
            if moved is not None:
                text += f". A particle moves by {interval_of(wide, 'moved_end')} at that m, like {power(moved)}"
            found.append(f"{text}.")
    return found


def beside_flow(cells: pd.DataFrame, dataset: xr.Dataset, confidence: float) -> list[str]:
    """Drift and loss at the end of descent over those of the flow, same networks; where a study has both."""
    found = []
    names = [name for name in (*SETTINGS, *OWN) if name != "training"]
    for _, part in cells.groupby([*names, "width"], sort=False, dropna=False):
        place = {row.training: row.cell for row in part.itertuples()}
        if set(place) != {"gd", "flow"}:
            continue
        row, said = next(part.itertuples()), []
        for name, words in (("drift", "|K_t - K_0|/|K_0|"), ("loss", "the loss")):
            ends = dataset[name].isel(snapshot=-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = ends.isel(cell=place["gd"]).values / ends.isel(cell=place["flow"]).values
            mean = geometric_mean(ratio, confidence)
            if np.isfinite(mean.value):
                said.append(f"{words} {interval(*mean)} times")
        if said:
            found.append(
                f"{NAMES[row.parametrization]}, m = {row.width}, eta {row.eta:g}: descent ends with "
                f"{' and '.join(said)} that of the flow from the same networks (geometric means)."
            )
    return found


def verdict(fit: Any, name: str) -> str:
    """Yes, no, or nothing, by the interval of the drift's exponent."""
    if fit is None:
        return ""
    if fit.high < 0:
        return "It falls with m in "
    if name == MEAN_FIELD and fit.low > -0.25:
        return "It does in "
    return ""


def converges(cells: pd.DataFrame, fits: pd.DataFrame) -> list[str]:
    """Distance of kernel and output from infinite width, and of measures from the widest."""
    found = []
    for words, part in alike(cells):
        for name, rows in part.groupby("parametrization", sort=False):
            rows = rows[rows.n_finished > 0].sort_values("width")
            if rows.empty:
                continue
            wide = rows.iloc[-1]
            limit = "the mean-field limit" if name == MEAN_FIELD else "the frozen kernel of infinite width"
            text = (
                f"{NAMES[name]}: {words}K_t at the end is off {limit} by {interval_of(wide, 'kernel_error_end')} "
                f"(relative) at m = {wide.width}"
            )
            for at, when in TIMES.items():
                fit = exponent(fits, wide, "kernel_error", at)
                text += "" if fit is None else f"; {when} it goes like {power(fit)}"
            text += (
                f". f_t is {interval_of(wide, 'output_error_end')} (root mean square) off its mean at infinite width"
            )
            if wide.output_error_end_limit > 0:
                text += f", where {wide.output_error_end_limit:.3g} is left of it, outputs being random"
            for at in ("half", "end"):
                fit, when = exponent(fits, wide, "output_error", at), TIMES[at]
                text += "" if fit is None else f"; {when} it goes like {power(fit)}"
            found.append(f"{text}.")
            ends = [exponent(fits, wide, "distance", at) for at in ("start", "end")]
            if None not in ends:
                found.append(
                    f"{NAMES[name]}: {words}sliced Wasserstein distance of a network's particles from those of the "
                    f"widest networks: at the start like {power(ends[0])}, at the end like {power(ends[1])}."
                )
    return found


def independent(cells: pd.DataFrame, fits: pd.DataFrame, dataset: xr.Dataset) -> list[str]:
    """(m - 1) rho at the end, by test function, over widths."""
    found = []
    for words, part in alike(cells):
        for name, rows in part.groupby("parametrization", sort=False):
            rows = rows[rows.n_finished > 1].sort_values("width")
            if rows.empty:
                continue
            here = dataset.isel(cell=rows.cell.to_numpy(), snapshot=-1)
            low, high = (here[f"dependence_{end}"].values for end in ("low", "high"))
            value = here["dependence"].values
            apart, known = (high < 0) | (low > 0), np.isfinite(low)
            if not known.any():
                continue
            wide = rows.iloc[-1]
            j = int(np.argmax(np.where(known[-1], np.abs(value[-1]), -1.0)))
            rho = interval(*(v[-1, j] / (wide.width - 1) for v in (value, low, high)), ".2g")
            text = (
                f"{NAMES[name]}: {words}(m - 1) times the correlation of two particles of a network at the end lies "
                f"between {np.nanmin(value):.2f} and {np.nanmax(value):.2f} over test functions and widths; its "
                f"interval leaves out 0 in {int(apart.sum())} of {int(known.sum())}"
            )
            negative = (high < 0) & known
            if negative.any():
                test = str(dataset.test.values[np.argmax(negative.sum(axis=0))])
                k = int(np.argmax(negative.sum(axis=0)))
                said = ", ".join(
                    f"{interval(value[c, k], low[c, k], high[c, k], '.2f')} at m = {row.width}"
                    for c, row in enumerate(rows.itertuples())
                )
                text += f"; of {test} it is {said}: below 0, particles repel each other, as training fixes their mean"
            text += (
                f". At m = {wide.width} the largest correlation is {rho}: where (m - 1) times it stays as m grows, it "
                "is of order 1/m."
            )
            found.append(text)
            fit = exponent(fits, wide, "output_error", "half")
            if fit is not None and name == MEAN_FIELD:
                p, low_, high_ = (2 * v for v in (fit.estimate, fit.low, fit.high))
                found.append(
                    f"Mean field: {words}the mean square deviation of f_t between networks and the limit, when half of "
                    f"the loss is gone, goes like m^p with p = {interval(p, low_, high_, '.2f')} (theory -1)."
                )
    return found


def time_said(values: np.ndarray) -> str:
    """Median over networks with quartiles; in words where modes are not learned within the run."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "not known"
    if np.isinf(known).all():
        return "not in the run"
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf")
    if len(known) == 1:
        return f"{middle:.2g}"
    said = [f"{v:.2g}" if np.isfinite(v) else "beyond" for v in (middle, low, high)]
    return f"{said[0]} [{said[1]}, {said[2]}]"


def learned(cells: pd.DataFrame, dataset: xr.Dataset) -> list[str]:
    """Learning times of the widest networks, mode by mode, in both parametrizations, and at infinite width."""
    found = []
    for words, part in alike(cells):
        part = part[part.n_finished > 0]
        wide = {name: rows.loc[rows.width.idxmax()] for name, rows in part.groupby("parametrization", sort=False)}
        if not wide:
            continue
        for q in dataset.frequency.values:
            said, limits = [], {}
            for name, row in wide.items():
                here = dataset.isel(cell=int(row.cell)).sel(frequency=q)
                limits[name] = float(here["learning_time_limit"])
                said.append(
                    f"{time_said(here['learning_time'].values)} in {NAMES[name].lower()} at m = {row.width} (infinite "
                    f"width {time_said(np.array([limits[name]]))})"
                )
            text = f"Mode q = {q}: {words}its residual falls to 1/e of the target's amplitude at flow time "
            text += ", ".join(said)
            if len(limits) == 2 and np.isfinite(list(limits.values())).all():
                ratio = limits["ntk"] / limits[MEAN_FIELD]
                way = "sooner" if ratio > 1 else "later"
                text += f"; at infinite width {max(ratio, 1 / ratio):.2g} times {way} in mean field"
            found.append(f"{text}.")
        if len(wide) == 2 and found:
            found[-1] += " Medians with quartiles over networks; ntk starts from random outputs, mean field near 0."
    return found
