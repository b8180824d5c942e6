"""What the report says of an initialization study."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ntkpipe import store, tables
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

METHODS = """
S2 = E[K^2]/E[K]^2 is the ratio of sample moments with a studentized bootstrap interval over blocks on the log
scale; cells whose exact relative standard error (or, where there is none, effective sample size) is out of
tolerance are flagged undersampled and left out of fits. Exact finite-width moments come from the transfer-matrix
recursion of the ReLU kernel's law. Slopes are unweighted least squares of log S2 on beta with intervals by variance
recovery (Zou and Donner, 2008), compared with exp(5 beta) (Hanin and Nica, 2019).
"""

FIT_METHODS = {
    "origin": "through the origin",
    "prefactor": "free prefactor",
    "exact_prefactor": "exact prefactor",
}

PINNED_BY = {
    "scalar": "tests/laws/test_engines.py::test_scalar_moments_agree_with_exact",
    "guided": "tests/laws/test_guided.py::test_guided_second_moment",
    "matrix_free": "tests/laws/test_engines.py::test_gram_engines_agree",
    "dense": "tests/laws/test_engines.py::test_scalar_and_dense_agree",
    "exact": "tests/unit/theory/test_moments.py",
}


def section(study: Study) -> dict[str, Any]:
    """An initialization study."""
    moments, fits = tables.load(study, "moments"), tables.load(study, "fits")
    names = [
        "depth",
        "width",
        "beta",
        "bias_init",
        "engine",
        "sampling",
        "ess",
        "tail_share",
        "s2_relative_error_exact",
    ]
    return {
        "question": "Does E[K^2]/E[K]^2 explode like exp(c beta)? Fitted with a free prefactor, ",
        "answer": answer(fits),
        "fits_title": "Fits of S2 = exp(c beta)",
        "fits": fits_table(fits),
        "more_fits": [
            ("Typical values: exp(c beta) fits of the median and of exp(E[log K]) over E[K]", typical_table(fits))
        ],
        "tables": [("Spectra of the Gram matrices", gram_table(study))],
        "undersampled": moments[moments.undersampled == 1][names].map(tables.number).to_dict("records"),
        "verified": "S2",
        "verification": verification(study, moments),
        "coverage": agreement(moments, study.config.tolerances.confidence),
        "cross_check": gram_agreement(study),
    }


def answer(fits: pd.DataFrame) -> str:
    """One clause per bias setting: c of the widest network with the longest range of beta, with its exact value."""
    rows = fits[(fits.quantity == "s2") & (fits.method == "prefactor")]
    sentences = []
    for bias, part in rows.groupby("bias_init"):
        row = part.sort_values(["beta_max", "width"]).iloc[-1]
        text = {"none": "without biases", "zero": "with trained biases", "normal": "with random biases"}[bias]
        exact = "" if np.isnan(row.reference) else f" (exact for these cells: {row.reference:.2f})"
        if bias == "none":
            exact += "; log S2 is no straight line: its slope runs from 11/3 at beta = 0 to 5 only as beta grows"
        sentences.append(
            f"{text}, width {row.width}, beta in [{row.beta_min:.3g}, {row.beta_max:.3g}]: "
            f"c = {row.estimate:.2f} [{row.low:.2f}, {row.high:.2f}]{exact}"
        )
    return "; ".join(sentences)


def fits_table(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Fits of S2 over the range, one row each."""
    return _fit_rows(fits[(fits.quantity == "s2") & fits.method.isin(FIT_METHODS)])


def typical_table(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Fits of typical values."""
    return _fit_rows(fits[(fits.quantity != "s2") & fits.method.isin(FIT_METHODS)])


def _fit_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    rows = rows.sort_values(["quantity", "bias_init", "method", "width"])
    return [
        {
            "quantity": row.quantity,
            "width": row.width,
            "bias_init": row.bias_init,
            "method": FIT_METHODS[row.method],
        }
        | tables.fit_numbers(row)
        for row in rows.itertuples()
    ]


def gram_table(study: Study) -> list[dict[str, Any]]:
    """Gram spectra by cell, where the study has them."""
    if not study.is_gram:
        return []
    frame = tables.load(study, "gram")
    return frame[tables.columns(study, "gram", frame)].map(tables.number).to_dict("records")


def verification(study: Study, moments: pd.DataFrame) -> list[dict[str, Any]]:
    """Each S2 estimate beside its exact value, z-score, an independent engine's estimate and its test."""
    rows = []
    shape = ["widths", "depth", *SETTINGS]
    for i, row in moments.iterrows():
        same = (moments[shape] == row[shape]).all(axis=1) & (moments.index != i)
        others = [
            f"{'guided' if o.sampling == 'guided' else o.engine}: {o.s2:.4g} [{o.s2_low:.4g}, {o.s2_high:.4g}]"
            for o in moments[same].itertuples()
        ]
        sampler = "guided" if row.sampling == "guided" else row.engine
        rows.append(
            {
                "cell": f"depth {row.depth}, width {row.width or row.widths}, biases {row.bias_init}",
                "sampler": sampler,
                "estimate": f"{row.s2:.5g} [{row.s2_low:.5g}, {row.s2_high:.5g}]",
                "exact": tables.number(float(row.s2_exact)),
                "inside": "" if row.undersampled else _inside(row),
                "z": "" if row.undersampled else tables.number(float(row.s2_z)),
                "undersampled": bool(row.undersampled),
                "other": "; ".join(others),
                "test": PINNED_BY[sampler],
            }
        )
    return rows


def gram_agreement(study: Study) -> list[dict[str, Any]]:
    """Two-sample KS between engines that drew one cell: entries, smallest eigenvalue, log-determinant."""
    if not (study.is_gram and study.config.keep == "full"):
        return []
    samples = store.read_rows(Path(study.folder) / "samples.zarr")
    by_law: dict[str, list[int]] = {}
    cells = [cell for cell in study.cells if cell.engine != "exact"]
    for row, cell in enumerate(cells):
        by_law.setdefault(str(cell.network), []).append(row)
    found = []
    for rows in by_law.values():
        for one, two in itertools.combinations(rows, 2):
            a, b = (_gram_features(samples.isel(cell=row)) for row in (one, two))
            values = {name: tables.number(float(stats.ks_2samp(a[name], b[name]).pvalue)) for name in a}
            network = cells[one].network
            what = {"depth": network.depth, "width": cells[one].coords["width"]}
            found.append(what | {"engines": f"{cells[one].engine}, {cells[two].engine}"} | values)
    return found


def _gram_features(draws: xr.Dataset) -> dict[str, np.ndarray]:
    ntk, values = draws["ntk"].values, draws["eigenvalues"].values
    with np.errstate(divide="ignore"):
        logdet = np.log(values).sum(axis=1)
    return {
        "p, K(x1, x1)": ntk[:, 0, 0],
        "p, K(x1, x2)": ntk[:, 0, 1],
        "p, smallest eigenvalue": values[:, -1],
        "p, log-determinant": logdet[np.isfinite(logdet)],
    }


def _inside(row: pd.Series) -> str:
    if np.isnan(row.s2_exact) or np.isnan(row.s2_low):
        return ""
    return "yes" if row.s2_low <= row.s2_exact <= row.s2_high else "no"


def agreement(moments: pd.DataFrame, confidence: float) -> str:
    """How many trusted intervals hold the exact value."""
    trusted = moments[(moments.undersampled == 0) & moments.s2_exact.notna() & (moments.n_samples > 0)]
    if not len(trusted):
        return "no trusted estimate has an exact value beside it"
    inside = ((trusted.s2_low <= trusted.s2_exact) & (trusted.s2_exact <= trusted.s2_high)).sum()
    worst = trusted.s2_z.abs().max()
    worst_text = "" if np.isnan(worst) else f"; the largest |z| is {worst:.2f}"
    return f"{inside} of {len(trusted)} trusted {100 * confidence:g} % intervals hold the exact value{worst_text}"
