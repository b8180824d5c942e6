"""What the report says of a linear study; its sentences stand in ``report_answers``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import store, tables
from ntkpipe.kinds.linear import report_answers
from ntkpipe.kinds.linear.report_answers import cell_said
from ntkpipe.plan import Study
from ntkpipe.tables import interval, interval_of

METHODS = """
Linear networks have exact solutions, which stand beside every run: the linear model's closed form, the singular values
of a deep network from balanced weights (Saxe et al., 2014), quantities that gradient flow conserves, and the
deterministic networks of infinite width (Chizat et al., 2024; for one hidden layer Tu et al., 2024). Orders of
convergence are extrapolated to a step of 0.
"""
PINNED_BY = {
    "decay_factor": "tests/laws/test_linear.py",
    "threshold": "tests/laws/test_linear.py",
    "teacher_error": "tests/laws/test_linear.py",
    "balance_order": "tests/laws/test_deep_linear.py",
    "flow_order": "tests/laws/test_deep_linear.py",
    "mode_order": "tests/laws/test_deep_linear.py",
}
"""Quantities that have an exact value at finite width -> the tests that pin them."""
ROUNDING = 1e-6
"""Relative difference below which a number whose runs all agree counts as its exact value."""


def section(study: Study) -> dict[str, Any]:
    """A linear study."""
    dataset = store.read_rows(Path(study.folder) / "linear.zarr").load()
    fits, cells = tables.load(study, "fits"), tables.load(study, "linear")
    return {
        "methods": methods(study),
        "question": "Exact values stand beside the estimates; intervals are Student's t over networks.",
        "topics": report_answers.topics(fits, cells, dataset, study.config.settings),
        "fits_title": "",
        "fits": [],
        "undersampled": [],
        "verified": "numbers that have an exact value at finite width",
        "verification": verification(fits),
        "coverage": coverage(cells),
        "tables": [
            ("Orders of convergence in the step", order_table(fits)),
            ("Exponents in width and scale, and where networks become lazy", exponent_table(fits)),
            ("Every deep network: kernel and distance from infinite width", cell_table(cells)),
        ],
    }


def methods(study: Study) -> str:
    """Settings of the study, for the methods paragraph."""
    settings, said = study.config.settings, []
    if any(not cell.network.depth for cell in study.cells):
        points = ", ".join(map(str, settings.points))
        said.append(
            f"Linear models in {settings.dim} dimensions were fitted to {points} points with noise {settings.noise:g} "
            f"and a spectrum of condition {settings.condition:g}"
        )
    if any(cell.network.depth for cell in study.cells):
        values = ", ".join(f"{value:g}" for value in settings.singular_values)
        said.append(
            f"deep linear networks learned a matrix with singular values {values} from {settings.dim} whitened inputs "
            f"to {settings.outputs} outputs"
        )
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}; {settings.steps} steps of full-batch gradient descent."


def order_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Orders as the report prints them; those of modes once a depth."""
    rows = fits[fits.quantity.str.endswith("_order")]
    modes = rows.quantity == "mode_order"
    rows = pd.concat([rows[~modes], rows[modes].drop_duplicates(["depth", "of"])])
    return [
        {"cell": cell_said(row) if row.quantity != "mode_order" else f"depth {row.depth:g}, balanced"}
        | {"quantity": " ".join(filter(None, [row.quantity.replace("_", " "), row.of]))}
        | {"estimate [interval]": interval(row.estimate, row.low, row.high, ".4f"), "exact": f"{row.expected:g}"}
        for row in rows.itertuples()
    ]


def exponent_table(fits: pd.DataFrame) -> list[dict[str, str]]:
    """Exponents as the report prints them."""
    rows = fits[fits.quantity.str.endswith("_exponent") | (fits.quantity == "lazy_scale")]
    return [
        {"cells": cell_said(row), "quantity": row.quantity.replace("_", " ")}
        | {"estimate [interval]": interval(row.estimate, row.low, row.high)}
        | {"infinite width": tables.number(float(row.expected)), "runs": f"{row.n_runs} of {row.n_all}"}
        for row in rows.itertuples()
    ]


def cell_table(cells: pd.DataFrame) -> list[dict[str, str]]:
    """Each deep cell."""
    return [
        {"cell": cell_said(row), "drift": interval_of(row, "drift_end")}
        | {"drift at infinite width": tables.number(float(row.drift_limit))}
        | {"distance of A from infinite width": interval_of(row, "limit_error")}
        | {"error left": f"{row.final_error:.1e}" if np.isfinite(row.final_error) else ""}
        | {"diverged": f"{row.diverged:.0f}"}
        for row in cells[cells.depth > 0].itertuples()
    ]


def coverage(cells: pd.DataFrame) -> str:
    """How many deep networks diverged, and what rounding leaves of identities."""
    said, deep = [], cells[cells.depth > 0]
    if len(deep):
        said.append(f"{deep.diverged.sum():.0f} deep networks diverged")
    for name, words in (
        ("closed_gap", "the linear model differs from its closed form by at most"),
        ("autodiff_gap", "K by products of weights from K by autodiff by at most"),
        ("balance_flow", "the conserved matrices change under the flow by at most"),
        ("mode_kernel_gap", "K of balanced networks from its closed form by at most"),
    ):
        if np.isfinite(cells[name]).any():
            said.append(f"{words} {np.nanmax(cells[name]):.1e}")
    return "; ".join(said) + ("" if len(said) < 2 else " (relative)")


def verification(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Every number with an exact value at finite width, and whether its interval holds it."""
    rows = fits[fits.quantity.isin(PINNED_BY) & np.isfinite(fits.estimate)]
    modes = rows.quantity == "mode_order"
    rows = pd.concat([rows[~modes], rows[modes].drop_duplicates(["depth", "of"])])
    found = []
    for row in rows.itertuples():
        off = abs(row.estimate - row.expected)
        inside = row.low <= row.expected <= row.high or off <= ROUNDING * abs(row.expected)
        known = np.isfinite(row.low) or off <= ROUNDING * abs(row.expected)
        where = f"depth {row.depth:g}, balanced" if row.quantity == "mode_order" else cell_said(row)
        name = " ".join(filter(None, [row.quantity.replace("_", " "), row.of]))
        found.append(
            {
                "cell": f"{where}: {name}",
                "sampler": "dense",
                "estimate": interval(row.estimate, row.low, row.high, ".6g"),
                "exact": f"{row.expected:.6g}",
                "inside": ("yes" if inside else "no") if known else "",
                "z": "",
                "undersampled": False,
                "other": "",
                "test": PINNED_BY[row.quantity],
            }
        )
    return found
