"""What the report says of a spectral_bias study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import store, tables
from ntkpipe.kinds.spectral_bias import cells, report_answers
from ntkpipe.kinds.spectral_bias.fits import GROUP
from ntkpipe.plan import Study
from ntkpipe.tables import interval

METHODS = """
Spectral bias is measured as by Rahaman et al. (2019): full-batch gradient descent on a sum of sines on equally spaced
points of [0, 1), and the discrete Fourier transform of the network on these points along training. Each mode's fitting
step is compared with that of the same network with its kernel frozen at initialization. Robustness: the trained
variables are moved along random directions, by a multiple of their own norm.
"""
PINNED_BY = {
    "displacement": "tests/laws/test_spectral_bias.py",
    "rate": "tests/laws/test_spectral_bias.py",
}


def section(study: Study) -> dict[str, Any]:
    """A spectral_bias study."""
    fits, modes = tables.load(study, "fits"), tables.load(study, "modes")
    settings = study.config.settings
    return {
        "methods": methods(study),
        "topics": report_answers.topics(fits, settings.share),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "mean squared displacement of the modes at the smallest radius over that of first order (1 as the "
        "radius goes to 0); u* K_0 u of one hidden layer, whose mean is the limit's at any width",
        "verification": verification(fits, study.config.tolerances.confidence),
        "coverage": coverage(study, modes),
        "tables": [
            ("Step from which on a mode is fitted", time_table(fits)),
            ("Order of fitting, and exponent of the step in frequency", order_table(fits)),
            ("Robustness by radius", firm_table(fits)),
            ("Every cell", cell_table(modes)),
        ],
    }


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings = study.config.settings
    unit = "of the critical step size 2/(s lambda_max(K_0))" if settings.eta_unit == "critical" else "as step size"
    etas = ", ".join(f"{eta:g}" for eta in sorted({cell.settings.eta for cell in study.cells}))
    return (
        f"Each network was trained from the same weights on each target ({', '.join(settings.targets)} amplitudes, "
        f"frequencies {', '.join(map(str, settings.frequencies))}) on {settings.points} points, by {settings.steps} "
        f"steps of full-batch gradient descent with {etas} {unit}, then perturbed along {settings.directions} random "
        "directions."
    )


def head(row: Any, rows: pd.DataFrame) -> dict[str, str]:
    """Columns that say which cell it is."""
    more = tables.varying(rows, GROUP)
    return {"depth": str(row.depth), "width": str(row.width or row.widths or "none")} | {
        name.replace("_", " "): tables.number(getattr(row, name)) for name in more
    }


def _two(value: float, digits: str = ".3g") -> str:
    return interval(value, np.nan, np.nan, digits)


def time_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Each mode: measured and predicted steps, and their ratio."""
    times = fits[(fits.quantity == "time") & (fits.of == "fitted")]
    keys = ["depth", "width", "widths", *GROUP, "target", "frequency"]
    ratio = fits[(fits.quantity == "ratio") & (fits.of == "frozen")].set_index(keys)
    found = []
    for row in times.itertuples():
        over = ratio.loc[tuple(getattr(row, key) for key in keys)]
        found.append(
            head(row, times)
            | {"target": row.target, "k": str(row.frequency)}
            | {"step [interval]": interval(row.estimate, row.low, row.high) or "not within the run"}
            | {"K_0 frozen": _two(row.frozen), "infinite width": _two(row.limit)}
            | {"over K_0 frozen": interval(over.estimate, over.low, over.high)}
            | {"networks": f"{row.n_runs} of {row.n_all}"}
        )
    return found


def order_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Rank correlations, shares in order and exponents."""
    names = {"rank_correlation": "rank correlation", "in_order": "share in order", "exponent": "exponent"}
    rows = fits[fits.quantity.isin(names)]
    return [
        head(row, rows)
        | {"target": row.target, "of": f"{names[row.quantity]}, {row.of}"}
        | {"estimate [interval]": interval(row.estimate, row.low, row.high, ".2f")}
        | {"K_0 frozen": _two(row.frozen, ".2f"), "infinite width": _two(row.limit, ".2f")}
        | {"networks": f"{row.n_runs} of {row.n_all}"}
        for row in rows.itertuples()
    ]


def firm_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Slopes of what is kept, exponents of the displacement."""
    rows = fits[fits.quantity.isin(["kept_slope", "displacement_exponent"])]
    keys = ["depth", "width", "widths", *GROUP, "target", "radius"]
    found = []
    for _, part in rows.groupby(keys, sort=False):
        by = {row.quantity: row for row in part.itertuples()}
        row, moved = by["kept_slope"], by["displacement_exponent"]
        found.append(
            head(row, rows)
            | {"target": row.target, "radius": f"{row.radius:g}"}
            | {"slope of kept in log k": interval(row.estimate, row.low, row.high, ".2f")}
            | {"displacement ~ k^a, a": interval(moved.estimate, moved.low, moved.high, ".2f")}
            | {"first order": _two(moved.frozen, ".2f")}
        )
    return found


def cell_table(modes: pd.DataFrame) -> list[dict[str, str]]:
    """Each cell: how far kernel and weights went."""
    return [
        head(row, modes)
        | {"beta": tables.number(row.beta), "trainings": f"{row.n_runs} of {row.n_all}"}
        | {"drift": tables.interval_of(row, "drift"), "|theta_T - theta_0|/|theta_T|": tables.interval_of(row, "move")}
        for row in modes.itertuples()
    ]


def coverage(study: Study, modes: pd.DataFrame) -> str:
    """How many runs finished, and what they fitted."""
    paths = store.read_rows(Path(study.folder) / "modes.zarr")
    fitted = np.isfinite(paths["fit_step"].isel(kernel=0).values)
    return (
        f"{modes.n_runs.sum()} of {modes.n_all.sum()} trainings finished; {fitted.sum()} of {fitted.size} modes of "
        "them were fitted within the run"
    )


def verification(fits: pd.DataFrame, confidence: float) -> list[dict[str, Any]]:
    """Displacement at the smallest radius against first order; mean rates of one hidden layer against the limit."""
    fits = fits.assign(cell=cells.named(fits))
    rows = [(row, 1.0, f"{row.target}, radius {row.radius:g}", "displacement")
            for row in report_answers.of(fits, "linear_share").itertuples()]  # fmt: skip
    one = report_answers.of(fits, "rate")
    one = one[(one.depth == 1) & (one.parametrization == "ntk")]
    rows += [(row, row.limit, f"u* K_0 u, k = {row.frequency}", "rate") for row in one.itertuples()]
    return [_verified(row, exact, words, what, confidence) for row, exact, words, what in rows]


def _verified(row: Any, exact: float, words: str, what: str, confidence: float) -> dict[str, Any]:
    from scipy import stats

    known = np.isfinite(row.low) and row.high > row.low
    error = (row.high - row.low) / 2 / stats.t.ppf((1 + confidence) / 2, max(row.n_runs - 1, 1)) if known else np.nan
    return {
        "cell": f"{row.cell}, {words}",
        "sampler": "dense",
        "estimate": interval(row.estimate, row.low, row.high, ".4g"),
        "exact": f"{exact:.4g}",
        "inside": "" if not known else "yes" if row.low <= exact <= row.high else "no",
        "z": f"{(row.estimate - exact) / error:+.1f}" if known else "",
        "undersampled": False,
        "other": "",
        "test": PINNED_BY[what],
    }
