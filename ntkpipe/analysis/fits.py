r"""Fits of exp(c beta) to moments, each with its interval, range, method and exact reference.

log S2 is not a straight line in beta (docs/theory.md section 2: its slope runs from 11/3 to 5), so a
fitted c depends on range and method. Every fit is an unweighted linear functional of
the cells' values, sum_i a_i y_i; the ``reference`` column applies the same functional to the
exact values of the same cells, and ``limit`` to the double-scaling curve.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis.intervals import Estimate, linear_combination
from ntkpipe.theory import limit


class Fit(NamedTuple):
    """One row of the ``fits`` dataset."""

    quantity: str
    method: str
    estimate: float
    low: float
    high: float
    reference: float
    limit: float
    beta_min: float
    beta_max: float
    n_cells: int
    reference_low: float = np.nan
    reference_high: float = np.nan


METHODS = {
    "origin": "log y = c beta",
    "prefactor": "log y = a + c beta",
    "exact_prefactor": "log y - log(S2_exact/exp(5 beta)) = c beta",
    "local_slope": "difference of log y over difference of beta, neighbouring cells",
}


def slope_coefficients(beta: Float[np.ndarray, " n"], free_prefactor: bool) -> Float[np.ndarray, " n"]:
    """a_i of c-hat = sum a_i y_i by least squares, through the origin or with an intercept."""
    centred = beta - beta.mean() if free_prefactor else beta
    return centred / np.sum(centred**2)


def fit(
    quantity: str,
    method: str,
    beta: Float[np.ndarray, " n"],
    log_values: list[Estimate],
    log_exact: Float[np.ndarray, " n"] | None,
    log_limit: Float[np.ndarray, " n"] | None,
) -> Fit | None:
    """One fit; None where it has too few distinct betas (or no exact prefactor).

    Parameters
    ----------
    beta: of the cells; log_values: log of their estimates with intervals, independent;
    log_exact: log of their exact values (None: not known); log_limit: of the limit curve.
    """
    needed = 2 if method in ("origin", "exact_prefactor", "local_slope") else 3
    if len(np.unique(beta)) < needed:
        return None
    a = slope_coefficients(beta, free_prefactor=method in ("prefactor", "local_slope"))
    offset = np.zeros_like(beta)
    if method == "exact_prefactor":
        if log_exact is None:
            return None
        offset = log_exact - limit.HANIN_NICA_EXPONENT * beta
    values = [Estimate(*(np.array(v) - o)) for v, o in zip(log_values, offset, strict=True)]
    estimate = linear_combination(a, values)
    reference = np.nan if log_exact is None else float(a @ (log_exact - offset))
    limit_value = np.nan if log_limit is None else float(a @ (log_limit - offset))
    if method == "exact_prefactor":
        limit_value = limit.HANIN_NICA_EXPONENT
    return Fit(quantity, method, *estimate, reference, limit_value, beta.min(), beta.max(), len(beta))


def local_slopes(
    quantity: str,
    beta: Float[np.ndarray, " n"],
    log_values: list[Estimate],
    log_exact: Float[np.ndarray, " n"] | None,
    log_limit: Float[np.ndarray, " n"] | None,
) -> list[Fit]:
    """d log y/d beta between neighbouring betas."""
    order = np.argsort(beta, kind="stable")
    rows = []
    for i, j in itertools.pairwise(order):
        if beta[j] - beta[i] < 1e-12:
            continue
        pair = np.array([i, j])
        rows.append(
            fit(
                quantity,
                "local_slope",
                beta[pair],
                [log_values[i], log_values[j]],
                None if log_exact is None else log_exact[pair],
                None if log_limit is None else log_limit[pair],
            )
        )
    return rows


def all_fits(
    quantity: str,
    beta: Float[np.ndarray, " n"],
    log_values: list[Estimate],
    log_exact: Float[np.ndarray, " n"] | None,
    log_limit: Float[np.ndarray, " n"] | None,
    beta_range: tuple[float, float],
) -> list[Fit]:
    """Every method on the cells in range, then local slopes over all cells."""
    inside = (beta >= beta_range[0] - 1e-12) & (beta <= beta_range[1] + 1e-12)
    rows = []
    if inside.any():
        kept = np.flatnonzero(inside)
        for method in ("origin", "prefactor", "exact_prefactor"):
            row = fit(
                quantity,
                method,
                beta[kept],
                [log_values[i] for i in kept],
                None if log_exact is None else log_exact[kept],
                None if log_limit is None else log_limit[kept],
            )
            rows += [row] if row is not None else []
    return rows + local_slopes(quantity, beta, log_values, log_exact, log_limit)
