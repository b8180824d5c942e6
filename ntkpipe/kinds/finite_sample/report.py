"""What the report says of a finite_sample study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ntkpipe import store, tables
from ntkpipe.kinds.finite_sample import report_answers
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study
from ntkpipe.tables import interval, interval_of

METHODS = """
Kernels on N points of the circle are seen through the Fourier modes: exact means and variances of the compressed
operator are those of a U-statistic (Hoeffding, 1948); quantiles of errors, with order-statistics intervals, stand
beside bounds by Hoeffding's (1963) and McDiarmid's (1989) inequalities. Intervals of means are Student's t over draws,
those of exponents resample draws, and hold the scatter of cells around the power law where none is exactly known.
"""
PINNED_BY = "tests/laws/test_finite_sample.py"
ROUNDING = 1e-9
"""Difference, in units of kappa, up to which a mean without randomness is the exact one."""


def section(study: Study) -> dict[str, Any]:
    """A finite_sample study."""
    data = store.read_rows(Path(study.folder) / "finite_sample.zarr").load()
    fits = tables.load(study, "fits")
    rows = verification(data, study.config.settings, study.config.tolerances.confidence)
    return {
        "methods": methods(study),
        "question": report_answers.reading(study.config.settings),
        "topics": report_answers.topics(data, fits, study.config, rows),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "means over draws of C_qq, of (K phi/N - lambda phi)^2 at the points, of (phi^T noise)^2/(N phi^T "
        "phi) and of the coefficients of cos(omega theta)",
        "verification": rows,
        "coverage": coverage(study, data, rows),
        "tables": [
            ("Errors at the quantile, and their bounds", error_table(data)),
            ("Exponents", exponent_table(fits)),
            ("Self-term", self_term_table(data)),
            ("Noise, and training on it", noise_table(data)),
        ],
    }


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings = study.config.settings
    drawn = {"uniform": "drawn uniformly, anew for each network", "equal": "equal"}[settings.points]
    return (
        f"Angles were {drawn}; modes have frequencies up to {settings.modes}. Labels cos({settings.signal} theta) with "
        f"noise were learned by gradient descent on (1/2) sum (f - y)^2 from f - f_0 = 0, with {settings.eta:g} of the "
        f"critical step size 2/(N max lambda_q), until {settings.fitted:g} of the signal would be left on infinitely "
        "many points: by linear dynamics with the limit kernel and with K_0, and by the networks."
    )


def names_of(data: xr.Dataset) -> list[dict[str, str]]:
    """Columns that say which cell it is."""
    frame = data.drop_dims([dim for dim in data.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    more = tables.varying(frame, (*SETTINGS, "noise"))
    return [
        {"depth": str(row["depth"]), "width": str(row["width"] or row["widths"]), "N": str(row["train_points"])}
        | {name.replace("_", " "): tables.number(row[name]) for name in more}
        for row in frame.to_dict("records")
    ]


def error_table(data: xr.Dataset) -> list[dict[str, str]]:
    """Quantiles of the limit kernel's errors and of the networks', root mean squares and bounds."""
    found = []
    for i, names in enumerate(names_of(data)):
        for error in ("gram entry", "gram", "operator", "action 1", "leakage 1"):
            part = data.isel(cell=i).sel(error=error)
            ends = {k: interval(*(float(part[f"quantile{e}"].sel(kernel=k)) for e in ("", "_low", "_high")))
                    for k in ("limit", "network")}  # fmt: skip
            found.append(
                names
                | {"error": error, "quantile, limit kernel": ends["limit"]}
                | {"networks": "" if error.startswith("gram") else ends["network"]}
                | {"root mean square": tables.number(float(part["rms"].sel(kernel="limit")))}
                | {"exact": tables.number(float(part["rms_exact"])), "bound": tables.number(float(part["bound"]))}
            )
    return found


def exponent_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Exponents as the report prints them."""
    more = tables.varying(fits, ("depth", *SETTINGS))
    return [
        {name.replace("_", " "): tables.number(getattr(row, name)) for name in more}
        | {"of": row.error if row.of == "error" else row.of, "kernel": row.kernel, "width": str(row.width or "all")}
        | {"in": {"points": "N", "balance": "n/N at balance"}.get(row.quantity, row.quantity)}
        | {"estimate": interval(row.estimate, row.low, row.high, ".3f")}
        | {"as N, n grow": tables.number(float(row.expected)), "exact, same cells": tables.number(float(row.exact))}
        | {"cells": str(row.n_cells), "draws": f"{row.n_runs} of {row.n_all}"}
        for row in fits.itertuples()
    ]


def self_term_table(data: xr.Dataset) -> list[dict[str, str]]:
    """C_qq of the cosines against lambda_q and the exact mean."""
    found = []
    for i, names in enumerate(names_of(data)):
        for q in data.frequency.values:
            part = data.isel(cell=i, mode=max(0, 2 * q - 1))
            ends = {k: interval(*(float(part[f"diagonal{e}"].sel(kernel=k)) for e in ("", "_low", "_high")))
                    for k in ("limit", "network")}  # fmt: skip
            found.append(
                names
                | {"q": str(q), "lambda": tables.number(float(part["eigenvalue"].sel(frequency=q)))}
                | {"mean of C_qq, limit kernel": ends["limit"], "networks": ends["network"]}
                | {"exact": tables.number(float(part["diagonal_exact"]))}
            )
    return found


def noise_table(data: xr.Dataset) -> list[dict[str, str]]:
    """Signal left, excess error and error without noise of the three dynamics."""
    found = []
    for i, names in enumerate(names_of(data)):
        for how in data.dynamics.values:
            part = data.isel(cell=i).sel(dynamics=how)
            if not np.isfinite(part["excess"]):
                continue
            said = {
                name: interval(*(float(part[f"{of}{e}"]) for e in ("", "_low", "_high")))
                for name, of in (("signal left", "signal_left"), ("excess error", "excess"), ("clean", "clean_mse"))
            }
            found.append(
                names
                | {"dynamics": str(how), "signal left": said["signal left"]}
                | {"N to infinity": tables.number(float(part["signal_left_predicted"]))}
                | {"excess error": said["excess error"], "predicted": tables.number(float(part["excess_predicted"]))}
                | {"error without noise": said["clean"]}
            )
    return found


def coverage(study: Study, data: xr.Dataset, rows: list[dict[str, Any]]) -> str:
    """How many trainings finished, and how many intervals hold their exact value."""
    draws = data.sizes["cell"] * data.sizes["seed"]
    inside = sum(row["inside"] == "yes" for row in rows)
    share = 100 * study.config.tolerances.confidence
    asked = int((data["steps"] > 0).sum()) * data.sizes["seed"]
    lost = int(data["diverged"].where(data["steps"] > 0, 0).sum())
    trained = f"{asked - lost} of {asked} networks finished their training" if asked else "no network was trained"
    trained += f" ({draws - asked} have a signal that is not trained on)" if 0 < asked < draws else ""
    return (
        f"{trained}; {inside} of {len(rows)} "
        f"intervals hold the exact value, {share:g} % each where draws are many and of light tails"
    )


def verification(data: xr.Dataset, settings: Any, confidence: float) -> list[dict[str, Any]]:
    """Means over draws against exact values; of networks where their mean kernel is the limit, one hidden layer."""
    exact_omega = data["omega_exact"].expand_dims(cell=data.sizes["cell"])
    known = data.assign(omega_known=exact_omega, noise_known=data["noise_exact"] * xr.ones_like(data["noise_square"]))
    found, names = [], names_of(data)
    spread = float(stats.t.ppf((1 + confidence) / 2, max(1, data.sizes["seed"] - 1)))  # of an error in half an interval
    chi_squared = (2 / data.sizes["seed"]) ** 0.5  # relative error of a mean of squares
    places = sorted({0, 2 * settings.signal - 1, 2 * settings.modes - 1})
    for i, name in enumerate(names):
        part = known.isel(cell=i, mode=places)
        cell = ", ".join(f"{key} {value}" for key, value in name.items())
        one = int(part.depth) == 1 and str(part.parametrization.values) == "ntk"
        for kernel in ("limit", "network") if one else ("limit",):
            at = part.sel(kernel=kernel)
            found += _rows(f"{cell}, C_qq", kernel, at, "diagonal", "diagonal_exact", spread)
            if kernel == "limit":
                found += _rows(f"{cell}, eigen-action", kernel, at, "action_square", "action_exact", spread)
        if settings.points == "uniform":
            for omega in part.omega.values:
                at = part.sel(omega=omega)
                found += _rows(f"{cell}, omega {omega:g}", "points", at, "omega_mean", "omega_known", spread)
            if float(part.noise):
                found += _rows(f"{cell}, noise", "noise", part, "noise_square", "noise_known", chi_squared)
    return found


def _rows(cell: str, sampler: str, part: xr.Dataset, name: str, exact: str, spread: float) -> Iterator[dict[str, Any]]:
    for k, mode in enumerate(part.mode.values):
        value, low, high = (float(part[f"{name}{end}"][k]) for end in ("", "_low", "_high"))
        known = float(part[exact][k])
        if not np.isfinite([value, low, high, known]).all():
            continue
        rounding = ROUNDING * float(part["kappa"])
        error = known * spread if sampler == "noise" else (high - low) / 2 / spread
        yield {
            "cell": f"{cell}, {mode}",
            "sampler": sampler,
            "estimate": interval_of(pd.Series({"v": value, "v_low": low, "v_high": high}), "v", ".4g"),
            "exact": f"{known:.4g}",
            "inside": "yes" if low - rounding <= known <= high + rounding else "no",
            "z": f"{(value - known) / error:.2f}" if error > rounding else "",
            "undersampled": False,
            "other": "",
            "test": PINNED_BY,
        }
