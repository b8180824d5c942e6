"""The sentences of an eigenmodes study, from the rows of ``fits`` and ``density``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe.kinds.eigenmodes.report_words import ROUNDING, modes_of, share_inside
from ntkpipe.tables import estimate
from ntkpipe.topics import Topic


def reading(settings: Any) -> str:
    """How the numbers are read, for all that follows."""
    return (
        "The rate of a mode is the effective eigenvalue lambda, (1 - eta s N lambda)^k of the mode being left after k "
        f"steps, read where it is last above {100 * settings.share:g} % (or at the end of the run); intervals are over "
        "networks. At infinite width the kernel stays, and each mode of T_p has its eigenvalue as rate."
    )


def topics(
    fits: pd.DataFrame, cells: pd.DataFrame, density: pd.DataFrame, modes: xr.Dataset, settings: Any
) -> list[Topic]:
    """The four questions."""
    return [
        Topic("At which rate is each mode learned?", list(_rates(fits, cells, modes)), ("mode_decay", "mode_rates")),
        Topic("How does finite beta bend the rates?", list(_bend(fits, cells)), ("bend",)),
        Topic("What does the density do?", list(_density(fits, density, settings)), ("eigenfunctions", "fit_times")),
        Topic("Do the modes generalise off the training set?", list(_held_out(fits)), ("held_out",)),
    ]


def _of(fits: pd.DataFrame, quantity: str, of: str | None = None) -> pd.DataFrame:
    rows = fits[(fits.quantity == quantity) & np.isfinite(fits.estimate)]
    return rows if of is None else rows[rows.of == of]


def _range(values: pd.Series, digits: str) -> str:
    low, high = f"{values.min():{digits}}", f"{values.max():{digits}}"
    return low if low == high else f"{low} to {high}"


def nearest(fits: pd.DataFrame) -> pd.DataFrame:
    """Rows of the cell whose kernel is nearest to its limit: of the least bend, measured over limit."""
    bend = _of(fits, "bend", "measured / limit")
    return fits[fits.cell == bend.loc[bend.estimate.idxmin()].cell] if len(bend) else fits.iloc[:0]


def _rates(fits: pd.DataFrame, cells: pd.DataFrame, modes: xr.Dataset) -> Iterator[str]:
    """Measured rates against the eigenvalues, nearest to the limit; by K_0 and K_t; what is never learned."""
    rows = _of(nearest(fits), "rate", "train")
    if len(rows):
        said = "; ".join(
            f"q = {q}: {estimate(r)}, theory {r.predicted:.3g}"
            for q, r in zip(modes_of(rows), rows.itertuples(), strict=True)
        )
        yield f"Nearest to infinite width ({rows.cell.iloc[0]}), rates lambda by the target cos(q theta): {said}."
    every = _of(fits, "ratio")
    counts = []
    for of, words in (("measured / limit", "the limit kernel on the same points"),
                      ("measured / frozen", "their own K_0"), ("measured / evolving", "their K_t")):  # fmt: skip
        part = every[every.of == of]
        inside, known = share_inside(part)
        if known:
            worst = part.loc[np.abs(np.log(part.estimate)).idxmax()]
            counts.append(
                f"by {words}, {inside} of {known} "
                f"(worst: {estimate(worst)}, cos({worst.frequency} theta), {worst.cell})"
            )
    if counts:
        yield f"Rates within their interval, over cells and modes, measured over predicted {'; '.join(counts)}."
    ratio, share = modes["kernel_ratio"].values, modes["kernel_share"].values
    known = np.isfinite(ratio)
    if known.any():
        ends = np.nanquantile(ratio, [0.25, 0.5, 0.75])
        yield (
            "Projected on the eigenvector of K_t that holds most of the residual (median share "
            f"{np.nanmedian(share[known]):.2f}), decay until the next snapshot over that predicted by lambda(K_t): "
            f"median {ends[1]:.3f}, quartiles {ends[0]:.3f} to {ends[2]:.3f} over runs and snapshots."
        )
    lost = _of(fits, "unlearned")
    if len(lost):
        q = ", ".join(str(n) for n in sorted(set(lost.frequency)))
        runs = cells[cells.cell.isin(lost.cell)]
        yield (
            f"Never learned, having no eigenvalue: q = {q} ({'; '.join(dict.fromkeys(runs.cell))}): largest change of "
            f"a coefficient in any network {lost.estimate.max():.1e}, exactly 0 in theory. They enter no mean."
        )


def _bend(fits: pd.DataFrame, cells: pd.DataFrame) -> Iterator[str]:
    """Sizes of |log ratio| by cell, and their powers of width and beta; which modes are bent most."""
    rows = _of(fits, "bend", "measured / limit").sort_values("estimate")
    if rows.empty:
        return
    ends = [next(rows.iloc[[i]].itertuples()) for i in dict.fromkeys((0, len(rows) - 1))]
    said = " to ".join(f"{estimate(r)} ({r.cell})" for r in ends)
    yield f"Root mean square over modes of log(measured/limit rate): {said}."
    parts = {of: _of(fits, "bend", of).set_index("cell").estimate for of in ("frozen / limit", "measured / frozen")}
    both = pd.DataFrame(parts).dropna()
    both = both[both.max(axis=1) > ROUNDING]
    if len(both):
        drawn = int((both["frozen / limit"] > both["measured / frozen"]).sum())
        yield (
            f"What the draw of K_0 does (frozen/limit) outweighs what its movement does (measured/frozen) in {drawn} "
            f"of {len(both)} cells; drift of K up to {cells.drift.max():.2g}."
        )
    ratio = _of(fits, "ratio", "measured / limit")
    slow, fast = int((ratio.high < 1 - ROUNDING).sum()), int((ratio.low > 1 + ROUNDING).sum())
    judged = int(np.isfinite(ratio.low).sum())
    if judged:
        yield (
            f"Of {judged} cells and modes {slow} are learned more slowly than at infinite width with their whole "
            f"interval, {fast} faster."
        )
    by = ratio.groupby("frequency").estimate.apply(lambda v: float(np.exp(np.log(v).mean())))
    if len(by) > 1:
        yield (
            "Measured/limit by q, geometric mean over cells: " + ", ".join(f"{q}: {v:.2f}" for q, v in by.items()) + "."
        )
    for axis in ("width", "beta"):
        powers = _of(fits, f"bend_{axis}")
        if len(powers):
            said = "; ".join(f"{r.of}: {estimate(r, '.2f')} ({r.cell})" for r in powers.itertuples() if r.of in SHOWN)
            expected = " (-0.5 expected of fluctuations at initialization and of kinks)" if axis == "width" else ""
            yield f"As a power of {axis}{expected}: {said}."


OWN_STEP = (
    "The limit kernel takes the steps of each network, whose size is set by the network's own K_0: its times differ "
    "between widths by whole steps and by lambda_max(K_0). "
)
SHOWN = ("measured / limit", "measured / frozen", "frozen / limit")


def _density(fits: pd.DataFrame, density: pd.DataFrame, settings: Any) -> Iterator[str]:
    """Times on dense and sparse regions, their slopes, and local frequencies."""
    ratios = fits[(fits.quantity == "fit_ratio") & np.isfinite(fits.estimate)]
    unit = OWN_STEP if settings.eta_unit == "critical" else ""
    inside, known = share_inside(ratios)
    if known:
        yield (
            f"{unit}Time to fit on the sparse over that on the dense region: within its interval that of the limit "
            f"kernel on the same points in {inside} of {known} cells and frequencies."
        )
    for cell, part in ratios.groupby("cell", sort=False):
        said = "; ".join(f"q = {r.frequency}: {estimate(r)}, limit kernel {r.predicted:.3g}" for r in part.itertuples())
        local = part.local[np.isfinite(part.local)]
        rule = f"; time ~ q^2/p alone gives {local.iloc[0]:.3g} at every q" if len(local) else ""
        yield f"Sparse over dense, {cell}: {said}{rule}."
    slopes = _of(fits, "fit_exponent")
    slopes = slopes[slopes.region.isin(["dense", "sparse"]) | (slopes.cell.isin(_uniform_like(slopes, density)))]
    if len(slopes):
        said = "; ".join(
            f"{'uniform' if r.region == 'all' else r.region} {estimate(r, '.2f')}, limit kernel {r.predicted:.2f} "
            f"({r.cell})"
            for r in slopes.itertuples()
        )
        yield f"Slope of log time in log q, q >= 2 (2 by q^2/p): {said}."
    for row in (
        density[np.isfinite(density.frequency_ratio)].drop_duplicates(["density", "depth", "bias_init"]).itertuples()
    ):
        law = f", sqrt(p) {row.frequency_ratio_local:.3g}" if row.local else "; opposite points are tied, no local law"
        power = (
            f" (power {row.frequency_exponent:.2f} of the density ratio)" if np.isfinite(row.frequency_exponent) else ""
        )
        yield (
            f"Local frequency of the eigenfunctions of T_p, dense over sparse, geometric mean over modes "
            f"({row.density}, depth {row.depth}): {row.frequency_ratio:.3g}{power}{law}."
        )


def _uniform_like(slopes: pd.DataFrame, density: pd.DataFrame) -> list[str]:
    """The uniform cell nearest to each cell with regions: same depth and width; none where no density is uneven."""
    uneven = density[density.mass_dense > 0]
    even = density[(density.mass_dense == 0) & density.width.isin(uneven.width) & density.depth.isin(uneven.depth)]
    return [cell for cell in even.cell if cell in set(slopes.cell)][:2] if len(uneven) else []


def _held_out(fits: pd.DataFrame) -> Iterator[str]:
    """Held-out against train deviations, what N points do, and the powers of width and N."""
    apart, train = (
        fits[(fits.quantity == f"deviation_{name}") & (fits.of == "all") & np.isfinite(fits.estimate)].set_index("cell")
        for name in ("held_out", "train")
    )
    if apart.empty:
        return
    if apart.estimate.max() < ROUNDING:
        yield f"Coefficients follow T_p's prediction to rounding: they leave it by at most {apart.estimate.max():.1g}."
        return
    known = (apart.estimate >= ROUNDING) & (train.estimate.reindex(apart.index) >= ROUNDING)
    quotient = (apart.estimate / train.estimate)[known].dropna()
    if quotient.empty:
        return
    alike = quotient.min() > 0.8 and quotient.max() < 1.25
    yield (
        f"Held-out coefficients leave T_p's prediction by {_range(apart.estimate, '.2g')} of the target's norm, "
        f"{_range(quotient, '.2f')} times what they do on the train points: "
        f"modes are {'learned at the same rate' if alike else 'not learned alike'} off the training set."
    )
    best = apart.loc[apart.estimate.idxmin()]
    yield (
        f"Least at {apart.estimate.idxmin()}: {estimate(best)}, where the limit kernel on the same N points leaves it "
        f"by {best.predicted:.2g}: that is what finitely many points do."
    )
    rest = fits[(fits.quantity == "rest_held_out") & (fits.of == "all") & (fits.estimate >= ROUNDING)]
    if len(rest):
        yield f"Outside the modes f_t gains {_range(rest.estimate, '.2g')} of the target's norm."
    for axis, words in (("width", "width"), ("train_points", "N")):
        rows = _of(fits, f"deviation_{axis}", "deviation_held_out")
        if len(rows):
            said = "; ".join(f"{estimate(r, '.2f')} ({r.cell})" for r in rows.itertuples())
            yield f"The held-out deviation as a power of {words}: {said}."
