"""Sentences on what stands beside the modes at the points: the width, frequencies between modes, label noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.kinds.finite_sample.report_words import ENDS, ends, exponent, sizes
from ntkpipe.tables import interval

DYNAMICS = {"limit": "with the limit kernel", "frozen": "with K_0", "trained": "of the trained networks"}


def width(fits: pd.DataFrame, data: xr.Dataset) -> list[str]:
    """Two-way exponents, where both errors balance, and whether they add in square."""
    rows = fits[(fits.width == 0) & np.isfinite(fits.estimate)].set_index(["of", "quantity"])
    words = {"sampling": "error of points", "width": "error of width"}
    said = [
        f"{name}: N^{exponent(rows.loc[of, 'N'])}, n^{exponent(rows.loc[of, 'n'])}"
        for of, name in words.items()
        if {(of, "N"), (of, "n")} <= set(rows.index)
    ]
    if not said:
        return []
    found = [f"Both apart, |C_limit - diag lambda| and |C_n - C_limit|, fitted as N^p n^q: {'; '.join(said)}."]
    if ("balance", "balance") in rows.index:
        row = rows.loc["balance", "balance"]
        ratio = interval(row.estimate, row.low, row.high)
        found.insert(
            0,
            f"The error of width is as large as that of points at a width of {ratio} times the number of points, if "
            "both fall like a power -1/2; wider networks are limited by their points.",
        )
    cross, low, high = (data[f"cross{end}"].values for end in ENDS)
    if np.isfinite(low).any():
        zero = int(((low <= 0) & (high >= 0)).sum())
        found.append(
            f"Their squares add up to that of |C_n - diag lambda| within {np.nanmax(np.abs(cross)):.1%}; the interval "
            f"of the cross term holds 0 in {zero} of {int(np.isfinite(low).sum())} cells."
        )
    return found


def between(part: xr.Dataset, settings: Any) -> list[str]:
    """Share of cos(omega theta) outside its two nearest modes, in closed form; and spread over draws."""
    if settings.points == "equal":
        return []
    found = []
    for omega in part.omega.values:
        near = sorted((int(np.floor(omega)), int(np.ceil(omega))))
        at = part.sel(omega=omega)
        exact = at["omega_exact"].values
        if near[1] > settings.modes:
            continue
        power = (1 + np.sinc(2 * omega)) / 2
        share = 1 - sum(exact[max(0, 2 * q - 1)] ** 2 for q in near) / power
        known, text = exact[max(0, 2 * near[0] - 1)], []
        for i in sizes(at):
            one = at.isel(cell=i, mode=max(0, 2 * near[0] - 1))
            sd, exact_sd = float(one["omega_sd"]), f"exact {float(one['omega_sd_exact']):.2g}"
            spread = f"{sd:.2g} ({exact_sd})" if np.isfinite(sd) else f"{exact_sd}, not measured from one draw"
            text.append(
                f"{ends(one, 'omega_mean')} at N = {int(one.train_points)}, a draw's standard deviation {spread}"
            )
        found.append(
            f"cos({omega:g} theta) has {share:.1%} of its power outside the modes {near[0]} and {near[1]}; its "
            f"coefficient on q = {near[0]}, {known:.3g} in closed form, is measured as {'; '.join(text)}."
        )
    return found


def noise(part: xr.Dataset, settings: Any) -> list[str]:
    """Into the modes, into the fit, and between the points; only where there is noise."""
    at = part.isel(cell=-1)
    if not float(at.noise):
        return []
    n, frequency = int(at.train_points), part.frequency.values
    places = np.maximum(0, 2 * frequency - 1)
    exact = float(at["noise_exact"])
    measured = at["noise_square"].values
    measured = measured[np.isfinite(measured)]
    inside = int(((at["noise_square_low"] <= exact) & (exact <= at["noise_square_high"])).sum())
    seen = "modes" if len(measured) == at.sizes["mode"] else "modes that are not 0 on all points"
    found = [
        f"Into every mode alike, with mean square sigma^2/N: at N = {n} that is {exact:.3g}, the mean over {seen} is "
        f"{measured.mean():.3g} and {inside} of {len(measured)} intervals hold it."
    ]
    if not int(at["steps"]):
        return [*found, f"The signal, q = {settings.signal}, has no eigenvalue, or needs more steps than allowed."]
    fitted = at["noise_fit_square"].sel(dynamics="limit").values[places] / exact
    predicted = at["noise_fit_predicted"].values[places] / exact
    if np.isfinite(fitted).all():
        pairs = [f"q = {q} {a:.2g} ({b:.2g})" for q, a, b in zip(frequency, fitted, predicted, strict=True)]
        found.append(
            f"When the signal is fitted ({int(at['steps'])} steps), the linear dynamics has learned these shares of "
            f"it, N = {n} (in brackets those of infinitely many points): {', '.join(pairs)}."
        )
    said = [
        f"{words} {ends(at.sel(dynamics=how), 'excess')}"
        for how, words in DYNAMICS.items()
        if np.isfinite(at["excess"].sel(dynamics=how))
    ]
    if said:
        found.append(
            f"Between the points noise adds to the mean squared error, N = {n}: {', '.join(said)}; predicted "
            f"{float(at['excess_predicted']):.3g}."
        )
    left = [f"{words} {ends(at.sel(dynamics=how), 'signal_left')}" for how, words in DYNAMICS.items()
            if np.isfinite(at["signal_left"].sel(dynamics=how))]  # fmt: skip
    if left:
        found.append(
            f"Of the signal is then left: {', '.join(left)}; {float(at['signal_left_predicted']):.3g} on infinitely "
            "many points."
        )
    lost = int(part["diverged"].sum())
    if lost:
        found.append(f"{lost} of {part.sizes['cell'] * part.sizes['seed']} trainings diverged; they are left out.")
    return found
