"""The ``fits`` dataset: rates, their ratios, times to fit, deviations off the train points, and their exponents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import labels
from ntkpipe.analysis import collapse, modes
from ntkpipe.analysis.intervals import Estimate, mean
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.eigenmodes import population
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study

ENDS = ("estimate", "low", "high")
RATIOS = {
    "rate_over_limit": "measured / limit",
    "rate_over_frozen": "measured / frozen",
    "rate_over_evolving": "measured / evolving",
    "frozen_over_limit": "frozen / limit",
}
DEVIATIONS = ("deviation_held_out", "deviation_train", "rest_held_out", "rest_train")
METHODS = {
    "rate": "effective eigenvalue at which a mode is learned, (1 - eta s N lambda)^k of it being left when last above "
    "eigenmodes.share; geometric mean over networks, of train: over the train points, held_out: off them; predicted: "
    "T_p; points: the limit kernel on the train points; frozen, evolving: K_0 and K_t of the same networks",
    "ratio": "log of what is left of a mode over the logarithm predicted; geometric mean over networks",
    "bend": "root mean square over the modes of log ratio, geometric mean over networks",
    "bend_width, bend_beta": "powers of bend in width at one depth, and in beta where depths differ, over the cells "
    "that differ in these alone, their scatter in the interval; predicted: of what fluctuates like width^-1/2",
    "unlearned": "largest change over networks and snapshots of a mode whose eigenvalue is 0",
    "quadratic": "u^T K_0 u/N^2, mean over networks; predicted: that of the limit kernel, its exact mean where depth "
    "is 1",
    "fit_time": "flow time times N, eta s N k, after which eigenmodes.share of the residual is left on a region, "
    "geometric mean over networks; none where a network does not come to it; predicted: the limit kernel on the same "
    "points with the steps of each network, whose size under eta_unit: critical is set by its own K_0, hence by the "
    "width; local: log(1/share) q^2/(-2 k'(0) p), p averaged on the region",
    "fit_exponent": "slope of log fit_time in log q over q >= 2, mean over networks",
    "fit_ratio": "fit_time on the sparse over that on the dense region in the same network, geometric mean",
    "deviation_held_out, deviation_train": "largest distance of the coefficients from T_p's prediction over the norm "
    "of the target, geometric mean over networks; predicted: with the limit kernel on the train points; of: all "
    "targets, root mean square",
    "rest_held_out, rest_train": "largest change outside the modes over the norm of the target, likewise",
    "deviation_width, deviation_beta, deviation_train_points": "the same of deviation_held_out and rest_held_out",
}
MEANINGS = {
    "estimate": "see methods",
    "low": "lower end of the interval over networks",
    "high": "upper end of the interval over networks",
    "predicted": "the estimate's value in theory; see methods",
    "points": "the estimate's value with the limit kernel on the train points",
    "frozen": "the estimate's value with the networks' own K_0",
    "evolving": "the estimate's value with the networks' own K_t",
    "local": "the estimate's value by the density where the residual is (docs/theory.md section 7), or NaN",
    "n_runs": "networks used",
    "n_all": "networks",
}
UNKNOWN = dict.fromkeys(MEANINGS, np.nan) | {"quantity": "", "of": "", "frequency": 0, "mode": -1, "region": "all"}
HALF = {("width", "bend"): -0.5, ("width", "deviation_held_out"): -0.5}
"""Powers that an initialization fluctuating like width^-1/2 gives; those of drift alone are the same for kinks."""
LEARNED_LEAST = 2
"""Smallest q of a slope in log q: lambda_1 belongs to another law."""


def dataset(study: Study, found: xr.Dataset, rate: np.ndarray) -> xr.Dataset:
    """One row a cell, quantity and mode, frequency or region; and the exponents over cells."""
    rows, confidence = [], study.config.tolerances.confidence
    for i, cell in enumerate(study.cells):
        part = found.isel(cell=i)
        head = UNKNOWN | cell.coords
        eta = rate[i] * cell.settings.train
        made = [*_rates(part, confidence), *_fits(part, cell, eta, confidence), *_deviations(part, confidence)]
        rows += [head | row | {"n_all": part.sizes["seed"]} for row in made]
    for exponent in _exponents(study, found, confidence):
        rows.append(UNKNOWN | exponent)
    return labels.fits(study, pd.DataFrame(rows), MEANINGS, METHODS)


def _ends(estimate: Estimate, values: np.ndarray | None = None) -> dict[str, Any]:
    row = dict(zip(ENDS, map(float, estimate), strict=True))
    return row if values is None else row | {"n_runs": int(np.isfinite(values).sum())}


def _middle(values: np.ndarray) -> float:
    return geometric_mean(values, 0.95).value


def _rates(part: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Rates and ratios of each mode that has a target; unlearned modes; the bend of the cell."""
    frequencies, target = part["frequency"].values, part["target_of"].values.astype(int)
    for i in np.flatnonzero(target >= 0):
        here, lam = part.isel(mode=i), float(part["eigenvalue"][i])
        head = {"frequency": int(frequencies[target[i]]), "mode": int(i)}
        values = here["quadratic_start"].values
        exact = float(here["quadratic_limit"])
        yield (
            head
            | {"quantity": "quadratic", "of": "start", "predicted": exact}
            | _ends(mean(values, confidence), values)
        )
        if lam == 0:
            change = here["not_learned"].values
            most = np.nanmax(change) if np.isfinite(change).any() else np.nan
            yield head | {"quantity": "unlearned", "of": "train", "predicted": 0.0} | _ends(
                Estimate(most, np.nan, np.nan), change
            )  # fmt: skip
            continue
        for of, name in (("train", "learned"), ("held_out", "learned_held_out")):
            values = here[name].values
            known = {"predicted": lam, "points": _middle(here["learned_limit"].values)}
            if of == "train":
                known |= {kernel: _middle(here[f"learned_{kernel}"].values) for kernel in ("frozen", "evolving")}
            yield head | {"quantity": "rate", "of": of} | known | _ends(geometric_mean(values, confidence), values)
        for name, of in RATIOS.items():
            values = here[name].values
            row = head | {"quantity": "ratio", "of": of, "predicted": 1.0}
            yield row | _ends(geometric_mean(values, confidence), values)
    for name, of in RATIOS.items():
        values = bend(part[name].values)
        yield {"quantity": "bend", "of": of} | _ends(geometric_mean(values, confidence), values)


def bend(ratio: np.ndarray) -> np.ndarray:
    """Root mean square over the modes of log ratio, of each network; NaN where it has none."""
    known = np.isfinite(ratio)
    logs = np.log(np.where(known, ratio, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.sum(logs**2, axis=-1) / known.sum(axis=-1))


def _fits(part: xr.Dataset, cell: Any, eta: np.ndarray, confidence: float) -> Iterator[dict[str, Any]]:
    """Times to fit each frequency on each region, their slope in log q, and sparse over dense."""
    q, steps, share = part["frequency"].values, part["step"].values, cell.settings.share
    kinks = population.kinks(cell.network)
    times = {
        name: eta[:, None, None] * np.moveaxis(_all_regions(part[name].values, steps, share), -1, 1)
        for name in ("size", "size_limit", "size_frozen")
    }  # (seed, region, target)
    regions = [str(region) for region in part["region"].values]
    local = {}
    for r, region in enumerate(regions):
        if not np.isfinite(part["size_limit"].values[..., r]).any():
            continue
        p = population.mean_density(cell.settings.density, region)
        local[region] = np.log(1 / share) * q**2 / (-2 * kinks.at_0 * p) if kinks.local else np.full(len(q), np.nan)
        for t, frequency in enumerate(q):
            measured, limit, frozen = (_reached(values[:, r, t]) for values in times.values())
            row = {"quantity": "fit_time", "of": "train", "frequency": int(frequency), "region": region}
            row |= {"predicted": _middle(limit), "frozen": _middle(frozen), "local": float(local[region][t])}
            yield row | _ends(geometric_mean(measured, confidence), measured)
        slopes = [_slopes(q, values[:, r]) for values in times.values()]
        row = {"quantity": "fit_exponent", "of": "train", "region": region, "local": 2.0 if kinks.local else np.nan}
        row |= {"predicted": mean(slopes[1], confidence).value, "frozen": mean(slopes[2], confidence).value}
        yield row | _ends(mean(slopes[0], confidence), slopes[0])
    if "dense" in local and "sparse" in local:
        for t, frequency in enumerate(q):
            ratios = [_reached(values[:, 2, t]) / _reached(values[:, 1, t]) for values in times.values()]
            row = {"quantity": "fit_ratio", "of": "train", "frequency": int(frequency), "region": "sparse / dense"}
            row |= {"predicted": _middle(ratios[1]), "frozen": _middle(ratios[2])}
            row |= {"local": float(local["sparse"][t] / local["dense"][t])}
            yield row | _ends(geometric_mean(ratios[0], confidence), ratios[0])


def _all_regions(size: np.ndarray, steps: np.ndarray, share: float) -> np.ndarray:
    return modes.fit_steps(np.moveaxis(size, 2, -1), steps, share)


def _reached(times: np.ndarray) -> np.ndarray:
    """Times of the networks; none where one of them does not come to it, for the others would be no sample."""
    return np.full(times.shape, np.nan) if np.isinf(times).any() else times


def _slopes(q: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Slope of log time in log q of each network, over the q >= 2 that all networks fit; three of them at least."""
    known = (q >= LEARNED_LEAST) & np.isfinite(times).all(axis=0)
    if known.sum() < 3:
        return np.full(len(times), np.nan)
    x = np.log(q[known]) - np.log(q[known]).mean()
    return np.log(times[:, known]) @ x / (x @ x)


def _deviations(part: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Distances from T_p's prediction, of each target and of all."""
    for name in DEVIATIONS:
        values = part[name].values
        predicted = part["deviation_limit"].values if name == "deviation_held_out" else np.full(values.shape, np.nan)
        for t, frequency in enumerate(part["frequency"].values):
            row = {"quantity": name, "of": "target", "frequency": int(frequency), "predicted": _middle(predicted[:, t])}
            yield row | _ends(geometric_mean(values[:, t], confidence), values[:, t])
        every, limit = (np.sqrt(np.mean(v**2, axis=1)) for v in (values, predicted))
        row = {"quantity": name, "of": "all", "predicted": _middle(limit)}
        yield row | _ends(geometric_mean(every, confidence), every)


def _exponents(study: Study, found: xr.Dataset, confidence: float) -> Iterator[dict[str, Any]]:
    """Powers of width at one depth, of beta where depths differ, of N, over cells that differ in these alone."""
    cells = pd.DataFrame([cell.coords for cell in study.cells])
    cells = cells[(cells.width > 0) & (cells.depth > 0)]
    same = [name for name in (*SETTINGS, "density", "scale", "train_points") if name in cells]
    sizes = {of: ("bend", bend(found[name].values)) for name, of in RATIOS.items()}
    for name in ("deviation_held_out", "rest_held_out"):
        sizes[name] = ("deviation", np.sqrt(np.mean(found[name].values ** 2, axis=2)))
    without = [*(name for name in same if name != "train_points"), "depth", "width"]
    for axis, shared in (("width", [*same, "depth"]), ("beta", same), ("train_points", without)):
        for _, group in cells.groupby(shared, sort=False):
            if axis == "beta" and group.depth.nunique() < 2:
                continue
            for of, (kind, values) in sizes.items():
                if group[axis].nunique() > 1 and not (axis == "train_points" and kind == "bend"):
                    yield from _power(group, values, shared, axis, kind, of, confidence)


def _runs(group: pd.DataFrame, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each run its row in the group, its cell, and log size."""
    here = values[group.index.to_numpy()]
    runs = np.repeat(np.arange(len(group)), here.shape[1])
    return runs, runs, collapse.known_log(here.ravel(), np.zeros(here.size, bool))


def _power(
    group: pd.DataFrame, values: np.ndarray, shared: list[str], axis: str, kind: str, of: str, confidence: float
) -> Iterator[dict[str, Any]]:
    """The power of one setting over the cells of a group, with their scatter around it in the interval."""
    runs, cell, logs = _runs(group, values)
    means = collapse.cell_means(logs, cell)
    if len(means.mean) < 2:
        return
    x = np.log(group[axis].to_numpy(float)[runs][means.first])
    known = {name: group[name].iloc[0] for name in shared}
    head = dict.fromkeys(group.columns, "") | {"depth": 0, "width": 0, "train_points": 0, "scale": np.nan}
    predicted = HALF.get((axis, kind if kind == "bend" else of), np.nan)
    row = {"beta": np.nan, "quantity": f"{kind}_{axis}", "of": of, "predicted": predicted}
    row |= {"n_runs": means.runs, "n_all": len(logs), "sigma_w": np.nan, "sigma_v": np.nan, "sigma_b": np.nan}
    yield head | row | known | _ends(collapse.line(x, means, confidence).slope)
