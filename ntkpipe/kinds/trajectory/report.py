"""What the report says of a training study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import store, tables
from ntkpipe.kinds.trajectory.report_answers import topics
from ntkpipe.kinds.trajectory.report_rkhs import rkhs_said
from ntkpipe.kinds.trajectory.report_words import HEAD, bracket, step, threshold
from ntkpipe.kinds.trajectory.scaling import GROUP
from ntkpipe.plan import Study
from ntkpipe.topics import Topic

METHODS = ""
STUDY_METHODS = """
Networks are trained, and kernels kept along the way. The residual is compared with Dyson orders around the kernel at
initialization (of discrete steps for descent, of the flow otherwise) and with a Groenwall bound. Exponents are least
squares over the cells' mean log sizes, intervals a bootstrap over seeds; diverged runs count as unstable and enter no
mean.
"""
PINNED_BY = {
    "gd": "tests/unit/analysis/test_descent.py",
    "sgd": "tests/unit/analysis/test_descent.py",
    "flow": "tests/unit/analysis/test_perturbation.py",
}
METHOD_NAMES = {
    "width_exponent": "p, power of the width",
    "depth_exponent": "q, power of the depth",
    "total_exponent": "p + q: 0 on beta alone",
    "beta_power": "power of beta alone",
    "beta_exponential": "exp(c beta) alone",
    "beta_star": "beta*, line in log beta",
    "beta_star_fraction": "beta*, half of the runs",
    "stable_load": "load at which half diverge",
    "rank_correlation": "rank correlation with |r - r_1|/|r - r_0|",
    "roc_area": "area under the ROC curve: when does order 1 fail",
    "forcing_star": "forcing at which half of the snapshots fail",
    "improves": "share of runs it improves",
}


SPACES = "Do the spaces H_t grow, and who generalizes better: the network, or the kernels along its way?"


def section(study: Study) -> dict[str, Any]:
    """A training study."""
    folder = Path(study.folder)
    cells, regimes, fits = (tables.load(study, name) for name in ("perturbation", "regimes", "fits"))
    paths = store.read_rows(folder / "perturbation.zarr")
    end = np.isfinite(paths["loss"].values[:, :, -1])
    cells = cells.assign(cell=np.arange(len(cells)), runs=end.shape[1], finished=end.sum(axis=1))
    config = study.config.reading
    spaces = tables.load(study, "rkhs")
    settings = tables.varying(spaces, GROUP)
    norms = tables.load(study, "norms")
    of_spaces = [
        text for _, part in spaces.groupby(list(HEAD), sort=False) for text in rkhs_said(part, norms, config, settings)
    ]
    return {
        "methods": STUDY_METHODS,
        "topics": [*topics(cells, fits, paths, config), Topic(SPACES, of_spaces, ("rkhs", "spaces"))],
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "error of the frozen kernel after one step, median over seeds (no exact value exists)",
        "verification": verification(study, cells, paths),
        "coverage": coverage(cells, paths),
        "tables": [
            ("Scaling at the end of the run, thresholds and predictors", fit_table(cells, fits)),
            ("Scaling where the loss first falls below regimes.loss", fit_table(cells, fits, "loss")),
            ("Shares of runs in which an order improves on the order below", fit_table(cells, fits, "forcing")),
            ("What tells when order 1 fails to help, over runs and snapshots", fit_table(cells, fits, "run")),
            ("beta* along training", fit_table(cells, fits, "step")),
            ("Every cell: sizes at the end (geometric means over runs that did not diverge) and regimes",
             cell_table(cells, regimes)),
        ],
    }  # fmt: skip


def fit_table(cells: pd.DataFrame, fits: pd.DataFrame, at: str = "end") -> list[dict[str, str]]:
    """Fits as the report prints them; beyond the grid, thresholds are bounds."""
    settings = tables.varying(cells, GROUP)
    rows = []
    chosen = fits[fits["at"].str.startswith(at)]
    for row in chosen.itertuples():
        here = (cells.width == row.width) if row.width > 0 else (cells.width > 0)
        x = cells.eta if row.method == "stable_load" else cells.beta[(cells.eta == row.eta) & here]
        limits = row.method in ("beta_star", "beta_star_fraction", "stable_load")
        estimate = threshold(row, x.min(), x.max()) if limits else bracket(row, ".3g")
        rows.append(
            {name.replace("_", " "): tables.number(getattr(row, name)) for name in settings}
            | {
                "eta": "all" if np.isnan(row.eta) else step(row.eta, row.eta_unit).removeprefix("eta = "),
                "quantity": row.quantity if row.at == at else f"{row.quantity}, {row.at}",
                "fit": METHOD_NAMES[row.method] + _where(row),
                "estimate [interval]": estimate,
                "R^2": "" if np.isnan(row.r2) else f"{row.r2:.2f}",
                "scatter": tables.number(float(f"{row.scatter:.2g}")),
                "cells": str(int(row.n_cells)),
                "runs": f"{int(row.n_runs)} of {int(row.n_all)}",
            }
        )
    return rows


def _where(row) -> str:
    """What of the cells a fit holds, where that is not all."""
    said = [f"{name} {getattr(row, name):g}" for name in ("tolerance", "width", "depth") if getattr(row, name) > 0]
    return f" ({', '.join(said)})" if said else ""


def cell_table(cells: pd.DataFrame, regimes: pd.DataFrame) -> list[dict[str, str]]:
    """Each cell with its sizes at the end, fractions of regimes, and how many runs the means hold."""
    settings = tables.varying(cells, GROUP)

    rows = []
    for row, regime in zip(cells.itertuples(), regimes.itertuples(), strict=True):
        rows.append(
            {name.replace("_", " "): tables.number(getattr(row, name)) for name in settings}
            | {"width": str(row.width or row.widths), "depth": str(row.depth), "beta": tables.number(row.beta)}
            | {"eta": step(row.eta, row.eta_unit).removeprefix("eta = "), "load": f"{regime.load:.3g}"}
            | {"drift": tables.interval_of(row, "drift_end")}
            | {"error of order 0": tables.interval_of(row, "order_0_end")}
            | {f"order {p}": tables.number(float(f"{getattr(row, f'order_{p}_end'):.3g}")) for p in (1, 2)}
            | {"forcing": tables.interval_of(row, "forcing_end")}
            | {"linearization error": tables.interval_of(row, "linearization_error_end")}
            | {name: f"{getattr(regime, name):.2f}" for name in ("lazy", "weak", "strong", "dead", "unstable")}
            | {"runs in the means": f"{row.finished} of {row.runs}"}
        )
    return rows


def coverage(cells: pd.DataFrame, paths: xr.Dataset) -> str:
    """How many runs finished, whether the bound held at every snapshot of those, and the error of the flow."""
    done = np.isfinite(paths["loss"].values[:, :, -1])
    bounded = done & (cells.training != "sgd").to_numpy()[:, None]  # minibatch noise is not part of the bound
    share = np.where(bounded[..., None], paths["tightness"].values, np.nan)
    text = f"{done.sum()} of {done.size} runs finished; those that diverged are in no mean"
    if np.isfinite(share).any():
        text += (
            f"; the largest share of its Groenwall bound that an error took is {np.nanmax(share):.2g} "
            f"({'holds' if np.nanmax(share) <= 1 else 'VIOLATED'})"
        )
    if "flow_error" in paths and np.isfinite(paths["flow_error"].values).any():
        text += (
            "; the flow differs from itself at a hundredth of the tolerances by at most "
            f"{np.nanmax(paths['flow_error'].values):.2g} of the first residual"
        )
    return text


def verification(study: Study, cells: pd.DataFrame, paths: xr.Dataset) -> list[dict[str, Any]]:
    """The widest network of each depth and step size: its largest share of the Groenwall bound, at most 1.

    No exact value of a trained network's error exists; the tests pin engine and orders.
    """
    chosen = cells[cells.finished > 0]
    keys = [*tables.varying(cells, GROUP), "depth", "eta"]
    chosen = chosen[chosen.width == chosen.groupby(keys).width.transform("max")]
    rows = []
    for row in chosen.itertuples():
        error = paths["order_error"].values[row.cell, :, 1, 0]
        done = np.isfinite(paths["loss"].values[row.cell, :, -1])
        low, high = error[done].min(), error[done].max()
        share = np.nanmax(paths["tightness"].values[row.cell][done])
        settings = "".join(f"{getattr(row, name)}, " for name in tables.varying(cells, GROUP))
        rows.append(
            {
                "cell": f"{settings}depth {row.depth}, width {row.width or row.widths}, {step(row.eta, row.eta_unit)}",
                "sampler": f"{row.engine}, {row.training}",
                "estimate": f"{np.median(error[done]):.6g} (seeds {low:.3g} to {high:.3g})",
                "exact": "",
                "inside": "",
                "z": "",
                "undersampled": False,
                "other": f"largest share of the bound {share:.2g}, at most 1",
                "test": PINNED_BY[row.training],
            }
        )
    return rows
