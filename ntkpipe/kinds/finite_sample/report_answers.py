"""The sentences of a finite_sample study, from its datasets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from ntkpipe.analysis.spectrum import FEWEST
from ntkpipe.kinds.finite_sample import cells, report_beside
from ntkpipe.kinds.finite_sample.report_words import ENDS, ends, exponent, sizes
from ntkpipe.tables import interval
from ntkpipe.topics import Topic

NAMED = {
    "gram": "the Gram error |Phi^T Phi/N - I|_F",
    "operator": "the compressed operator's |C - diag lambda|_F",
    "action 1": "the eigen-action error of q = 1",
    "leakage 1": "the leakage from q = 1",
}


def reading(settings: Any) -> str:
    """What is measured, for all that follows."""
    how = "drawn uniformly" if settings.points == "uniform" else "at equal angles"
    return (
        f"N points of the circle, {how}, see a kernel through the modes 1, sqrt(2) cos(q theta), sqrt(2) sin(q theta), "
        f"q <= {settings.modes}: C = Phi^T K Phi/N^2 in place of diag lambda_q."
    )


def topics(data: xr.Dataset, fits: pd.DataFrame, config: Any, verified: list[dict[str, Any]]) -> list[Topic]:
    """The questions of a study, answered for the width and settings that most cells share."""
    rows = cells.alike(data)
    if rows.empty:
        return []
    part, settings = data.isel(cell=rows.cell.to_numpy()), config.settings
    first = rows.iloc[0]
    mine = fits[(fits.depth == first.depth) & (fits.bias_init == first.bias_init) & (fits.sigma_b == first.sigma_b)]
    mine = mine[(mine.activation == first.activation) & (mine.parametrization == first.parametrization)]
    head = f"Depth {first.depth}, width {first.width}: "
    return [
        Topic("How well do N points know the modes?", _known(head, part, mine, settings), ("concentration",)),
        Topic("How do modes couple?", _coupled(part, settings), ("mode_coupling",)),
        Topic("How loose are the bounds?", _loose(data, part, settings)),
        Topic("What does the self-term add?", _self_term(part, verified, settings)),
        Topic("N against width", report_beside.width(mine, data), ("points_and_width",)),
        Topic(
            "What becomes of a frequency between the modes?", report_beside.between(part, settings), ("incommensurate",)
        ),
        Topic("Where does noise go?", _noise(data, settings), ("noise_by_mode",)),
    ]


def _noise(data: xr.Dataset, settings: Any) -> list[str]:
    """Of the cells with noise: value by value, named where there are several values, 0 too."""
    found = []
    for rows in cells.noisy(data):
        first, part = rows.iloc[0], data.isel(cell=rows.cell.to_numpy())
        head = f"Depth {first.depth}, width {first.width}, noise {first.noise:g}: "
        several = len(np.unique(data["noise"])) > 1
        for text in report_beside.noise(part, settings):
            found.append(f"{head}{text[0].lower()}{text[1:]}" if several else text)
    return found


def _known(head: str, part: xr.Dataset, fits: pd.DataFrame, settings: Any) -> list[str]:
    """Error relative to the operator, and its exponents."""
    if settings.points == "equal":
        return []
    scale = [float(np.linalg.norm(_on_modes(part.isel(cell=i)))) for i in range(part.sizes["cell"])]
    said = []
    for i in sizes(part):
        at = part.isel(cell=i).sel(error="operator")
        share = [float(at[f"points_rms{end}"]) / scale[i] for end in ENDS]
        exact = float(at["rms_exact"]) / scale[i]
        said.append(f"{interval(*share)} at N = {int(at.train_points)} (exact {exact:.3g})")
    found = [
        f"{head}the compressed operator of the limit kernel is off diag lambda by a share of its norm, root mean "
        f"square, of {' and '.join(said)}."
    ]
    own = fits[
        (fits.of == "error") & (fits.quantity == "points") & (fits.kernel == "limit") & np.isfinite(fits.estimate)
    ]
    own = own[own.width == int(part.width[0])].set_index("error")
    slopes = [f"{words} {exponent(own.loc[name])}" for name, words in NAMED.items() if name in own.index]
    if slopes:
        found.append(f"Exponents in N, limit kernel: {'; '.join(slopes)}.")
    elif part.sizes["cell"] < FEWEST:
        found.append(
            f"An exponent in N needs {FEWEST} numbers of points at one width and noise; here: {part.sizes['cell']}."
        )
    return found


def _on_modes(at: xr.Dataset) -> np.ndarray:
    values = at["eigenvalue"].values
    return np.repeat(values, np.where(np.arange(len(values)) == 0, 1, 2))


def _coupled(part: xr.Dataset, settings: Any) -> list[str]:
    """Entries off the diagonal against lambda; on equal angles nothing couples below Nyquist."""
    frequency = np.concatenate([[0], np.repeat(part.frequency.values[1:], 2)])
    apart = frequency[:, None] != frequency
    found = []
    for i in sizes(part):
        at = part.isel(cell=i)
        entries = at["entry_rms"].sel(kernel="limit").values
        largest = float(entries[apart].max())
        n = int(at.train_points)
        if settings.points == "equal":
            where = "below" if 2 * settings.modes < n else "not all below"
            off = float(np.abs(entries - at["entry_exact"].values).max())
            found.append(
                f"N = {n} equal angles: modes up to {settings.modes} lie {where} Nyquist; the largest coupling of two "
                f"frequencies is {largest:.2g} (aliasing sum {float(at['entry_exact'].values[apart].max()):.2g}); all "
                f"entries agree with the aliasing sums to {off:.1g}."
            )
            continue
        values = at["eigenvalue"].values
        below = [str(q) for q in part.frequency.values if values[q] < entries[max(0, 2 * q - 1), frequency != q].max()]
        known = ", ".join(below) if below else "none"
        found.append(
            f"N = {n}: the largest coupling of two frequencies is {largest:.2g}, root mean square (exact "
            f"{float(at['entry_exact'].values[apart].max()):.2g}); frequencies with an eigenvalue below their own "
            f"largest coupling: {known}."
        )
    return found


def _loose(data: xr.Dataset, part: xr.Dataset, settings: Any) -> list[str]:
    """Bound over quantile, and how often draws pass the bound."""
    if not np.isfinite(data["bound"]).any():
        return []
    said = []
    for error, words in NAMED.items():
        if error not in part.error.values:
            continue
        at = part.sel(error=error, kernel="limit")
        ratios = []
        for i in sizes(part):
            one = at.isel(cell=i)
            ratio = [float(one["bound"] / one[f"quantile{end}"]) for end in ("", "_high", "_low")]
            known = np.isfinite([one["quantile_low"], one["quantile_high"]]).all()  # few draws have no such quantile
            ratio[1:] = ratio[1:] if known else [np.nan, np.nan]
            ratios.append(f"{interval(*ratio, '.2g')} at N = {int(one.train_points)}")
        said.append(f"for {words} {' and '.join(ratios)}")
    limit = data.sel(kernel="limit")
    draws = int(np.isfinite(limit["bound"]).sum()) * data.sizes["seed"]
    passed, worst = int(np.nansum(limit["exceeded"].values)), int(np.nanmax(limit["exceeded"].values))
    allowed = 1 - settings.probability
    count = f"{passed} of {draws} errors of draws lie beyond their bound, which allows {allowed:.2g} of them"
    if worst:
        tail = stats.binom.sf(worst - 1, data.sizes["seed"], allowed)
        count += (
            f"; most in one cell and error: {worst} of {data.sizes['seed']}, at least so many with probability "
            f"{tail:.2g} if the bound were the quantile"
        )
    return [f"Bound over measured quantile, at probability {settings.probability:g}: {'; '.join(said)}.", f"{count}."]


def _self_term(part: xr.Dataset, verified: list[dict[str, Any]], settings: Any) -> list[str]:
    """C_qq over lambda_q, and from which N on the self-term is the smaller part."""
    if settings.points == "equal":
        return []
    at = part.isel(cell=0).sel(kernel="limit")
    values, kappa = at["eigenvalue"].values, float(at["kappa"])
    said = []
    for q in dict.fromkeys((settings.signal, settings.modes)):
        for i in sizes(part):
            one = part.isel(cell=i, mode=max(0, 2 * q - 1)).sel(kernel="limit")
            said.append(
                f"C_qq of q = {q} at N = {int(one.train_points)} is {ends(one, 'diagonal')} (exact "
                f"{float(one['diagonal_exact']):.3g}; lambda_q = {values[q]:.3g})"
            )
    found = [f"It adds (Theta(0) - lambda_q)/N to every C_qq in the mean, Theta(0) = {kappa:.3g}: {'; '.join(said)}."]
    equal = [f"{kappa / v + 1:.3g} for q = {q}" for q, v in enumerate(values) if 0 < 3 * v < kappa]
    if equal:
        found.append(
            f"Theta(0)/N is as large as what the other points give, (1 - 1/N) lambda_q, at N = {', '.join(equal)}."
        )
    none = [str(q) for q, v in enumerate(values) if v == 0]
    if none:
        found.append(
            f"Of q = {', '.join(none)} lambda_q = 0: the self-term alone, Theta(0)/N, learns it, at the points and not "
            "between."
        )
    rows = [row for row in verified if ", C_qq" in row["cell"] and row["sampler"] == "limit"]
    if rows:
        inside = sum(row["inside"] == "yes" for row in rows)
        found.append(f"{inside} of {len(rows)} intervals of the mean C_qq, all cells, hold the exact value.")
    return found
