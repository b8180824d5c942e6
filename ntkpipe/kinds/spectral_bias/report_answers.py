"""The sentences of the report of a spectral_bias study; every number stands in its ``fits`` table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ntkpipe.kinds.spectral_bias import cells
from ntkpipe.kinds.spectral_bias.fits import HEAD
from ntkpipe.tables import interval
from ntkpipe.topics import Topic

NAMES = {"equal": "equal amplitudes", "rising": "amplitudes that rise with frequency", "given": "the given amplitudes"}
ROUNDING = 1e-8
"""What rounding may make of a ratio that is 1, or of a difference that is 0, after thousands of steps."""
WHO = {"frozen": "K_0 frozen", "limit": "the kernel of infinite width"}


def topics(fits: pd.DataFrame, share: float) -> list[Topic]:
    """Questions and answers."""
    fits = fits.assign(cell=cells.named(fits))
    shown = cells.left_out(fits[fits.beta.notna()].drop_duplicates(list(HEAD)))
    return [
        Topic("Which frequencies are learned first?", _order(fits, share) + shown, ("spectral_bias", "spectra")),
        Topic("Does the kernel at the start predict the rates?", _predicted(fits), ()),
        Topic("How does finite beta bend them?", _bent(fits), ("bending",)),
        Topic("Which frequencies survive a perturbation of the weights?", _firm(fits), ("robustness",)),
    ]


def of(fits: pd.DataFrame, quantity: str, which: str | None = None, target: str | None = None) -> pd.DataFrame:
    """Fits of one quantity that have a value."""
    rows = fits[(fits.quantity == quantity) & np.isfinite(fits.estimate)]
    rows = rows if which is None else rows[rows.of == which]
    return rows if target is None else rows[rows.target == target]


def targets_of(fits: pd.DataFrame) -> list[str]:
    """Names of the targets, in order."""
    return [target for target in dict.fromkeys(fits.target) if target in NAMES]


def said(row: Any, digits: str = ".3g") -> str:
    return interval(row.estimate, row.low, row.high, digits)


def extremes(rows: pd.DataFrame, digits: str = ".3g", by: str = "cell") -> str:
    """The smallest and the largest estimate, with intervals, and where they are."""
    rows = rows.sort_values("estimate", kind="stable")
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    return " to ".join(f"{said(end, digits)} ({getattr(end, by)})" for end in ends)


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"


def against(rows: pd.DataFrame, value: float) -> tuple[int, int]:
    """How many intervals lie above and below a value, whole and by more than rounding."""
    return int((rows.low > value + ROUNDING).sum()), int((rows.high < value - ROUNDING).sum())


def _order(fits: pd.DataFrame, share: float) -> list[str]:
    found = []
    for target in targets_of(fits):
        ranks, many = of(fits, "rank_correlation", "fitted", target), ""
        if len(ranks):
            up, down = against(ranks, 0.0)
            sure = len(ranks[(ranks.low == ranks.high) & (ranks.estimate == 1.0)])
            answer = (
                "Low ones first"
                if up == len(ranks)
                else "High ones first"
                if down == len(ranks)
                else f"Low ones first in {up} of {len(ranks)} cells, high ones first in {down}"
                if up or down
                else "No order is seen beyond the intervals"
            )
            many = f" In {sure} of {len(ranks)} cells it is 1 in every network." if sure else ""
            known = [f"{WHO[name]} {_range(ranks[name])}" for name in WHO if np.isfinite(ranks[name]).any()]
            found.append(
                f"With {NAMES[target]}: {answer}. Rank correlation of frequency with the step from which on the error "
                f"of a mode stays below {1 - share:g} of its amplitude: {extremes(ranks)}"
                + (f"; predicted by {', by '.join(known)}" if known else "")
                + f".{many}"
            )
        strict = of(fits, "in_order", "fitted", target)
        if len(strict):
            found.append(
                f"Every mode fitted within the run, the last perhaps not, and strictly before the next higher one "
                f"({NAMES[target]}): share of networks "
                f"{extremes(strict, '.2g')}."
            )
        powers = of(fits, "exponent", "fitted", target)
        if len(powers):
            pair = powers[np.isfinite(powers.frozen) & np.isfinite(powers["limit"])]
            text = f"As a power of frequency k ({NAMES[target]}), the step grows like k^a, a = {extremes(powers)}"
            if len(pair):
                text += (
                    f"; of the same modes with K_0 frozen a = {_range(pair.frozen)}, with "
                    f"infinite width {_range(pair['limit'])}"
                )
            found.append(f"{text}.")
        reached = of(fits, "rank_correlation", "reached", target)
        if len(reached):
            up, down = against(reached, 0.0)
            found.append(
                f"By amplitude alone, |f~(k)| above {share:g} A_k for good ({NAMES[target]}): rank correlation "
                f"{extremes(reached)}, above 0 in {up} and below in {down} of {len(reached)} cells."
            )
    return found


def _predicted(fits: pd.DataFrame) -> list[str]:
    found = []
    for kernel, words in WHO.items():
        rows = of(fits, "ratio", kernel)
        modes = rows[(rows.frequency > 0) & np.isfinite(rows.low)]
        if modes.empty:
            continue
        up, down = against(modes, 1.0)
        late = len(modes) - up - down
        answer = "Yes, within the intervals" if late == len(modes) else "Not the rates" if late == 0 else "In part"
        where = modes.assign(at=[f"k = {r.frequency}, {r.cell}, {r.target}" for r in modes.itertuples()])
        kinds = (
            (up, "above 1 with its whole interval"),
            (down, "below 1 with its whole interval"),
            (late, "1 within its interval"),
        )
        counts = " and ".join(f"{how} for {count} of {len(modes)} modes" for count, how in kinds if count)
        found.append(
            f"{answer}: measured over predicted fitting step, by {words}, is {counts} (cells and targets counted "
            f"apart); {extremes(where, '.3g', 'at')}."
        )
    change = of(fits, "exponent_change")
    change = change[(change.of == "fitted") & np.isfinite(change.low)]
    if len(change):
        up, down = against(change, 0.0)
        where = change.assign(at=[f"{r.cell}, {r.target}" for r in change.itertuples()])
        found.append(
            "Exponent of the step in frequency, of the network less with K_0 frozen over the same modes: "
            f"{extremes(where, '.2g', 'at')}; above 0, so that high modes lose more than low ones, in {up} of "
            f"{len(change)} cells and targets, below 0 in {down}."
        )
    missing = fits[(fits.quantity == "time") & (fits.of == "fitted") & ~np.isfinite(fits.estimate)]
    every = fits[(fits.quantity == "time") & (fits.of == "fitted")]
    if len(missing):
        found.append(
            f"{len(missing)} of {len(every)} modes are fitted by fewer than half of their networks within the run, and "
            "have no measured step: ratios and exponents are of the others."
        )
    return found


def _bent(fits: pd.DataFrame) -> list[str]:
    found = []
    for target in targets_of(fits):
        rows = of(fits, "ratio", "frozen", target)
        rows = rows[rows.frequency == 0]
        if rows.beta.nunique() > 1:
            ends = rows.sort_values("beta").iloc[[0, -1]]
            first, last = ends.itertuples()
            found.append(
                f"Fitting step over that with K_0 frozen, mean of logs over modes ({NAMES[target]}): {said(first)} at "
                f"beta = {first.beta:.3g} ({first.cell}), {said(last)} at beta = {last.beta:.3g} ({last.cell})."
            )
        laws = {
            name: of(fits, name, "frozen", target) for name in ("width_exponent", "depth_exponent", "total_exponent")
        }
        told = [
            f"{words} {said(next(laws[name].itertuples()), '.2g')}"
            for name, words in (
                ("width_exponent", "p ="),
                ("depth_exponent", "q ="),
                ("total_exponent", "p + q ="),
            )
            if len(laws[name]) and np.isfinite(laws[name].low.iloc[0])
        ]
        if told:
            found.append(
                f"Size of the departure, |log ratio| averaged over modes, as width^p depth^q ({NAMES[target]}): "
                f"{', '.join(told)}; on beta alone p + q would be 0."
            )
        grown = of(fits, "quotient_ratio", None, target)
        if (grown.depth == 0).any():
            found.append(
                f"Without hidden layers f is linear in what is trained and its kernel does not move ({NAMES[target]})."
            )
        grown = grown[grown.depth > 0]
        if len(grown):
            where = grown.assign(at=[f"k = {r.frequency}, {r.cell}" for r in grown.itertuples()])
            text = (
                f"Training changes the kernel on a mode, u* K_T u over u* K_0 u ({NAMES[target]}), by "
                f"{extremes(where, '.3g', 'at')}"
            )
            judged = int(np.isfinite(grown.low).sum())
            if judged:
                up, down = against(grown, 1.0)
                text += f"; it grows in {up} and shrinks in {down} of {judged} modes and cells, with the whole interval"
            found.append(f"{text}.")
        loads = of(fits, "load", None, target)
        if len(loads):
            found.append(
                f"The load eta s lambda_max(K)/2, beyond 1 of which a frozen kernel descends without bound, is "
                f"{_range(loads.frozen)} at the start and {extremes(loads)} at the end "
                f"({NAMES[target]})."
            )
    return found


def _firm(fits: pd.DataFrame) -> list[str]:
    found = []
    for target in targets_of(fits):
        slopes = of(fits, "kept_slope", None, target)
        slopes = slopes[np.isfinite(slopes.low)]
        if len(slopes):
            up, down = against(slopes, 0.0)
            answer = (
                "Low ones" if down and not up else "High ones" if up and not down else "No frequency more than another"
                if not up and not down else "It depends on cell and radius"
            )  # fmt: skip
            strongest = slopes.assign(at=[f"radius {r.radius:g}, {r.cell}" for r in slopes.itertuples()])
            found.append(
                f"{answer} ({NAMES[target]}): slope of what is kept of a fitted mode in log k is below 0 with its "
                f"whole interval in {down} and above in {up} of {len(slopes)} cells and radii; "
                f"{extremes(strongest, '.2g', 'at')}."
            )
        moved = of(fits, "displacement_exponent", None, target)
        if len(moved):
            first = moved[moved.radius == moved.radius.min()]
            theory = first[np.isfinite(first.frozen)]
            text = f"The displacement of a mode itself goes as k^a ({NAMES[target]}), at the smallest radius a = "
            text += extremes(first, ".2g")
            if len(theory):
                text += f" (first order, exact: {_range(theory.frozen)})"
            if len(first) and (first.high < 0).all():
                text += ": low frequencies are moved most, as the kernel is largest on them"
            found.append(f"{text}.")
    return found
