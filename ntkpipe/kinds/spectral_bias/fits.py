"""What the modes say in numbers: times by frequency, their exponents and order, and measured over predicted ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import collapse, fourier
from ntkpipe.analysis.intervals import NOTHING, Estimate, mean
from ntkpipe.analysis.regimes import fraction
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

MEANING = {
    "estimate": "estimate",
    "low": "lower end of its interval",
    "high": "upper end of its interval",
    "frozen": "the same of the dynamics with K_0 frozen",
    "limit": "the same of the dynamics with the kernel of infinite width",
    "n_runs": "networks in it",
    "n_all": "all networks",
}
METHODS = {
    "time": "geometric mean over networks of the step from which on a mode is fitted (reached)",
    "exponent": "a of step ~ k^a in a network, mean over networks; predictions over the same modes",
    "exponent_change": "a of the network less a with K_0 frozen, paired",
    "rank_correlation": "Spearman's, of step and frequency in a network, mean over networks; its interval ignores that "
    "it is at most 1",
    "in_order": "fraction of networks in which every mode comes strictly before the next higher one (Clopper-Pearson)",
    "ratio": "geometric mean over networks of step over predicted step; frequency 0: of the mean log over modes",
    "quotient_ratio": "geometric mean over networks of u* K_T u/(u* K_0 u)",
    "load": "geometric mean over networks of eta s lambda_max(K_T)/2; frozen: of K_0",
    "rate": "mean over networks of u* K_0 u",
    "kept_slope": "slope of what is kept in log k in a network, over its fitted modes, mean over networks; below 0: "
    "low frequencies survive longer",
    "displacement_exponent": "a of displacement ~ k^a in a network, mean over networks; frozen: of its first order",
    "linear_share": "mean over networks, modes averaged, of squared displacement at the smallest radius over that of "
    "first order; 1 where first order is exact",
    "width_exponent": "p of |log ratio| ~ width^p depth^q, |log ratio| averaged over modes",
    "depth_exponent": "q of the same",
    "total_exponent": "p + q: 0 on beta alone",
    "beta_power": "c of |log ratio| ~ beta^c",
}
GROUP = (*SETTINGS, "eta", "eta_unit", "loss_kind")
HEAD = ("depth", "width", "widths", "beta", *GROUP)
Found = tuple[str, str, Any, Any, dict[str, Any]]
"""quantity, of, frequency, radius (0 where they are none), the rest of the row"""
OF = {"fit_step": "fitted", "reach_step": "reached"}


def dataset(study: Study, modes: xr.Dataset, firm: xr.Dataset) -> xr.Dataset:
    """The ``fits`` dataset."""
    confidence, rows = study.config.tolerances.confidence, []
    for i in range(modes.sizes["cell"]):
        cell, here = modes.isel(cell=i), firm.isel(cell=i)
        head = {name: cell[name].item() for name in HEAD}
        for row in _untrained(cell, confidence):
            rows.append(head | _row("", *row))
        for target in modes.target.values:
            parts = [cell.sel(target=target), here.sel(target=target)]
            for source in (_times(parts[0], confidence), _changes(parts[0], confidence), _firmness(*parts, confidence)):
                rows += [head | _row(str(target), *row) for row in source]
    rows += _over_cells(modes, confidence)
    return labels.fits(study, pd.DataFrame(rows), MEANING, METHODS)


def _row(target: str, quantity: str, of: str, frequency: Any, radius: Any, found: dict[str, Any]) -> dict[str, Any]:
    estimate = found.pop("found")
    names = {"target": target, "quantity": quantity, "of": of, "frequency": int(frequency), "radius": float(radius)}
    values = dict(zip(("estimate", "low", "high"), estimate, strict=True))
    return names | values | {"frozen": np.nan, "limit": np.nan} | found


def _counted(values: np.ndarray) -> dict[str, int]:
    return {"n_runs": int(np.isfinite(values).sum()), "n_all": len(values)}


def of_most(estimate: Any, values: np.ndarray, confidence: float) -> Estimate:
    """An estimate over networks, of those with a value if they are at least half: the rest is no sample."""
    known = np.isfinite(values)
    return estimate(values, confidence) if 2 * known.sum() >= len(values) else NOTHING


def _untrained(cell: xr.Dataset, confidence: float) -> Iterator[Found]:
    """u* K_0 u of each mode."""
    for k in cell.frequency.values:
        values = cell["quotient_start"].sel(frequency=k).values
        limit = float(cell["quotient_limit"].sel(frequency=k))
        yield "rate", "K_0", k, 0.0, {"found": mean(values, confidence), "limit": limit} | _counted(values)


def _within_one(estimate: Estimate) -> Estimate:
    """Of a correlation: its interval ends at -1 and 1."""
    return Estimate(*(float(np.clip(end, -1.0, 1.0)) for end in estimate))


def _positive(step: np.ndarray) -> np.ndarray:
    """Steps that have a logarithm; NaN for those at the start and beyond the end."""
    return np.where(np.isfinite(step) & (step > 0), step, np.nan)


def _times(cell: xr.Dataset, confidence: float) -> Iterator[Found]:
    """When modes are fitted, and in which order."""
    frequencies = cell.frequency.values
    for name, of in OF.items():
        step = cell[name].transpose("kernel", "seed", "frequency").values
        alive = ~np.isnan(step[0]).any(axis=-1)
        for j, k in enumerate(frequencies):
            values = [_positive(part[:, j]) for part in step]
            middle = [of_most(geometric_mean, part, confidence) for part in values]
            more = {"frozen": middle[1].value, "limit": middle[2].value} | _counted(values[0])
            yield "time", of, k, 0.0, {"found": middle[0]} | more
        known = np.isfinite(_positive(step[0]))
        slopes = [fourier.exponents(frequencies, np.where(known, _positive(part), np.nan)) for part in step]
        for quantity, parts in (
            ("exponent", slopes),
            ("rank_correlation", [fourier.rank_correlations(frequencies, part) for part in step]),
        ):
            middle = [of_most(mean, part, confidence) for part in parts]
            more = {"frozen": middle[1].value, "limit": middle[2].value} | _counted(parts[0])
            found = _within_one(middle[0]) if quantity == "rank_correlation" else middle[0]
            yield quantity, of, 0, 0.0, {"found": found} | more
        difference = slopes[0] - slopes[1]
        yield "exponent_change", of, 0, 0.0, {"found": of_most(mean, difference, confidence)} | _counted(difference)
        order = [fourier.ordered(part) for part in step]
        count, runs = int(np.nansum(order[0])), int(alive.sum())
        more = {"frozen": _share(order[1]), "limit": _share(order[2]), "n_runs": runs, "n_all": len(alive)}
        found = fraction(count, runs, confidence) if runs else NOTHING
        yield "in_order", of, 0, 0.0, {"found": found} | more


def _share(hits: np.ndarray) -> float:
    known = hits[np.isfinite(hits)]
    return float(known.mean()) if len(known) else np.nan


def ratios(step: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """step/predicted of each network and mode; NaN where either is not known, or at the start."""
    return _positive(step) / _positive(predicted)


def overall(ratio: np.ndarray) -> np.ndarray:
    """log ratio of each network, mean over its modes; of networks in which at least half of the modes have one."""
    known = np.isfinite(ratio)
    logs = np.log(np.where(known, ratio, 1.0)).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return np.where(2 * known.sum(axis=-1) >= ratio.shape[-1], logs, np.nan)


def _changes(cell: xr.Dataset, confidence: float) -> Iterator[Found]:
    """Measured over predicted times, and what training makes of the kernel on each mode."""
    step = cell["fit_step"].transpose("kernel", "seed", "frequency").values
    for kernel, predicted in zip(cell.kernel.values[1:], step[1:], strict=True):
        ratio = ratios(step[0], predicted)
        for k, values in zip((0, *cell.frequency.values), (np.exp(overall(ratio)), *ratio.T), strict=True):
            found = of_most(geometric_mean, values, confidence)
            yield "ratio", str(kernel), k, 0.0, {"found": found} | _counted(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = cell["quotient_end"].values / cell["quotient_start"].values
    for k, values in zip(cell.frequency.values, grown.T, strict=True):
        found = of_most(geometric_mean, values, confidence)
        yield "quotient_ratio", "K_T/K_0", k, 0.0, {"found": found} | _counted(values)
    load, begun = cell["load_end"].values, geometric_mean(cell["load_start"].values, confidence)
    more = {"found": of_most(geometric_mean, load, confidence), "frozen": begun.value}
    yield "load", "K_T", 0, 0.0, more | _counted(load)


def _firmness(cell: xr.Dataset, firm: xr.Dataset, confidence: float) -> Iterator[Found]:
    """Which modes a perturbation leaves, by radius; and how far first order holds at the smallest."""
    frequencies = firm.frequency.values
    for j, radius in enumerate(firm.radius.values):
        part = firm.isel(radius=j)
        values = fourier.slopes(np.log(frequencies), part["kept"].transpose("seed", "frequency").values)
        yield "kept_slope", "kept", 0, radius, {"found": of_most(mean, values, confidence)} | _counted(values)
        size, first = (
            part[name].transpose("seed", "frequency").values for name in ("displacement", "displacement_linear")
        )
        values = fourier.exponents(frequencies, size)
        expected = mean(fourier.exponents(frequencies, first), confidence).value
        more = {"found": of_most(mean, values, confidence), "frozen": expected}
        yield "displacement_exponent", "displacement", 0, radius, more | _counted(values)
        if j == 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.mean((size / first) ** 2, axis=-1)
            yield "linear_share", "displacement", 0, radius, {"found": mean(share, confidence)} | _counted(share)


def _over_cells(modes: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """|log ratio| by width and depth, and on beta alone, for each target and setting."""
    cells = modes[list(HEAD)].to_dataframe()[list(HEAD)].reset_index(drop=True)
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    for _, group in cells.groupby(list(GROUP), sort=False):
        for target in modes.target.values:
            part = modes.isel(cell=group.index.to_numpy()).sel(target=target)
            steps = part["fit_step"].transpose("kernel", "cell", "seed", "frequency").values
            for kernel, predicted in zip(part.kernel.values[1:], steps[1:], strict=True):
                size = overall(np.exp(np.abs(np.log(ratios(steps[0], predicted)))))  # mean |log ratio| of a network
                logs = collapse.known_log(size.ravel(), np.zeros(size.size, bool)).reshape(size.shape)
                place = np.repeat(np.arange(len(group)), logs.shape[1])
                means = collapse.cell_means(logs.ravel(), place)
                if len(means.mean) < 2:
                    continue
                columns = [np.repeat(group[name].to_numpy(float), logs.shape[1]) for name in ("width", "depth", "beta")]
                law = collapse.collapse(*columns, means, confidence)
                head = {name: group[name].iloc[0] for name in GROUP} | {
                    "depth": 0,
                    "width": 0,
                    "widths": "",
                    "beta": np.nan,
                }
                counts = {"n_runs": means.runs, "n_all": logs.size}
                found = law.width, law.depth, law.total, law.power.slope
                for quantity, estimate in zip(list(METHODS)[-4:], found, strict=True):
                    yield head | _row(str(target), quantity, str(kernel), 0, 0.0, {"found": estimate} | counts)
