"""The ``growth`` dataset: exponents gamma in N of norms and of inclusion constants, and their values, with verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from ntkpipe import labels
from ntkpipe.analysis import growth
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.analysis.spectrum import FEWEST, over_seeds
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.plan import Study

METHODS = {
    "gamma": "exponent of value ~ N^gamma over points_min <= N <= points_max, least squares of logs, mean over "
    "networks that have a value on at least three N; a / b: of the quotient in the same network",
    "value": "geometric mean over networks on points_max points (network: mean squared error on the finest points, "
    "trained on points_max)",
}
MEANINGS = {
    "estimate": "exponent or value; see methods",
    "low": "lower end of the interval over networks",
    "high": "upper end of the interval over networks",
    "last": "exponent between the two largest N",
    "last_low": "lower end of its interval",
    "last_high": "upper end of its interval",
    "bend": "last less the exponent between the two N before: 0 of a power law",
    "bend_low": "lower end of its interval",
    "bend_high": "upper end of its interval",
    "scatter": "root mean square residual of log value from the power law, median over networks",
    "predicted": "gamma of the partial sums of |y_q|^2/lambda_q, limit kernel; NaN where a mode has no eigenvalue",
    "asymptotic": "gamma as N -> infinity by the decay of the limit kernel: alpha - 1 of a step, else 0",
    "limit": "the same quantity with the limit kernel; NaN where that is singular",
    "n_runs": "networks used",
    "n_singular": "networks without a value on points_max points, the kernel being singular there (limit: 1 if it is)",
    "n_all": "networks",
}
ENDS = ("estimate", "low", "high")
UNKNOWN = dict.fromkeys(MEANINGS, np.nan) | {"verdict": ""}


class Path(NamedTuple):
    """A positive quantity of networks by number of points, and what is known of it at infinite width.

    gone: networks without a value because a kernel is singular. exact, partial: by number of points, of the limit
    kernel and of partial sums over its modes; asymptotic: exponent as N grows.
    """

    of: str
    kernel: str
    values: Float[np.ndarray, "seed size"]
    gone: Bool[np.ndarray, "seed size"]
    exact: Float[np.ndarray, " size"] | None = None
    partial: Float[np.ndarray, " size"] | None = None
    asymptotic: float = np.nan


def dataset(study: Study, found: xr.Dataset) -> xr.Dataset:
    """One row a cell, target, ridge, path, and exponent or value."""
    settings, confidence = study.config.settings, study.config.tolerances.confidence
    rows = []
    for i, cell in enumerate(study.cells):
        for target in found.target.values:
            for reg in found.diag_reg.values:
                part = found.isel(cell=i).sel(target=target, diag_reg=reg)
                head = UNKNOWN | cell.coords | {"target": target, "diag_reg": reg}
                for path in _paths(part):
                    said = {"of": path.of, "kernel": path.kernel}
                    rows += [head | said | row for row in _rows(path, part.points.values, settings.bounded, confidence)]
                rows.append(head | _network(part, cell.settings.train, confidence))
    return labels.fits(study, pd.DataFrame(rows), MEANINGS, METHODS)


def _paths(part: xr.Dataset) -> Iterator[Path]:
    """Norms, errors and inclusion constants of one cell, target and ridge, and quotients of the same networks."""
    norm, error, gone = ({str(k): part[name].sel(kernel=k).values for k in part.kernel.values} for name in
                         ("norm", "eval_mse", "singular"))  # fmt: skip
    exact, singular = part["norm_limit"].values, part["singular_limit"].values.astype(bool)
    known = exact, part["norm_partial"].values, _asymptotic(part)
    for kernel in ("start", "trained"):
        yield Path("norm", kernel, norm[kernel], gone[kernel], *known)
    yield Path("norm", "limit", exact[None], singular[None], *known)
    for kernel in error:
        yield Path("error", kernel, error[kernel], gone[kernel], part["eval_mse_limit"].values)
    yield Path("error", "limit", part["eval_mse_limit"].values[None], singular[None])
    for of, values in (("norm", norm), ("error", error)):
        for kernel in (name for name in values if name != "start"):
            either = gone["start"] | gone[kernel]
            yield Path(of, f"{kernel} / start", values[kernel] / values["start"], either)
    alive = np.isfinite(part["moved"].values)[:, None]
    constants = {str(space): part["inclusion"].sel(space=space).values for space in part.space.values}
    constants["redrawn in start"] = apart(part["redrawn"].values)
    for space, constant in constants.items():
        yield Path("inclusion", space, constant, np.isnan(constant) & alive)
    for one, other in (("start in trained", "trained in start"), ("trained in start", "redrawn in start")):
        ratio = constants[one] / constants[other]
        yield Path("inclusion", f"{one} / {other}", ratio, np.isnan(ratio) & alive)


def apart(redrawn: Float[np.ndarray, "seed seed size"]) -> Float[np.ndarray, "seed size"]:
    r"""Jackknife pseudo-values of the geometric mean of c over ordered pairs of different networks.

    Pairs share networks. theta = mean of log c over pairs, theta_(k) without network k: exp(n theta - (n - 1)
    theta_(k)) has the geometric mean exp(theta) over the networks, and Student's t over its logarithms is the
    jackknife interval; it is linear in log c, so exponents in N are too. Networks with a singular kernel are left out,
    NaN; so are all where fewer than three are left.
    """
    found = np.full(redrawn.shape[1:], np.nan)
    for i in range(redrawn.shape[-1]):
        logs = np.log(redrawn[..., i])
        kept = np.flatnonzero(np.isfinite(np.diagonal(logs)))
        n, logs = len(kept), logs[np.ix_(kept, kept)]
        if n < 3 or not np.isfinite(logs).all():
            continue
        pairs = logs * ~np.eye(n, dtype=bool)
        total, own = pairs.sum(), pairs.sum(axis=0) + pairs.sum(axis=1)
        without = (total - own) / ((n - 1) * (n - 2))
        found[kept, i] = np.exp(total / (n - 1) - (n - 1) * without)
    return found


def _rows(path: Path, sizes: np.ndarray, bounded: float, confidence: float) -> Iterator[dict[str, Any]]:
    """Exponents over all N and over the last ``FEWEST``, and the value on each N."""
    counts = {"n_all": len(path.values)}
    one, local = path.kernel == "limit", growth.local_exponents(sizes, path.values)
    for smallest in sorted({int(sizes[0]), int(sizes[-FEWEST])}) if path.of != "error" else ():
        law = growth.exponent(sizes, path.values, smallest)
        row = {"quantity": "gamma", "points_min": smallest, "points_max": int(sizes[-1])} | counts
        row |= {"n_runs": int(np.isfinite(law.exponent).sum()), "n_singular": int(path.gone[:, -1].sum())}
        row["scatter"] = _median(law.scatter)
        for name, values in (("", law.exponent), ("last", local[:, -1]), ("bend", local[:, -1] - local[:, -2])):
            ends = ENDS if not name else (name, f"{name}_low", f"{name}_high")
            row |= dict(zip(ends, _known(values) if one else over_seeds(values, confidence), strict=True))
        row["asymptotic"] = path.asymptotic
        if path.exact is not None and path.partial is not None:
            row |= {"limit": _slope(sizes, path.exact, smallest), "predicted": _slope(sizes, path.partial, smallest)}
        yield row | {"verdict": verdict(row, bounded, path.kernel)}
    for i, n in enumerate(sizes):
        values = path.values[:, i]
        estimate = _known(values) if one else geometric_mean(values, confidence)
        row = {"quantity": "value", "points_min": int(n), "points_max": int(n)} | counts
        row |= {"n_runs": int(np.isfinite(values).sum()), "n_singular": int(path.gone[:, i].sum())}
        if path.exact is not None:
            row["limit"] = path.exact[i]
        if row["n_runs"] or row["n_singular"]:
            yield row | dict(zip(ENDS, estimate, strict=True))


def _network(part: xr.Dataset, train: int, confidence: float) -> dict[str, Any]:
    """The trained network's own error, as a value on its train points."""
    error = part["network_mse"].values
    row = {"of": "error", "kernel": "network", "quantity": "value", "points_min": train, "points_max": train}
    row |= dict(zip(ENDS, geometric_mean(error, confidence), strict=True))
    return row | {"n_runs": int(np.isfinite(error).sum()), "n_singular": 0, "n_all": len(error)}


def verdict(row: dict[str, Any], bounded: float, kernel: str) -> str:
    """What an exponent says, by its interval and that of the last local one (of the limit kernel: by the numbers).

    singular: most networks have no value on the most points; bounded, grows: both lie on one side of ``bounded``;
    open: neither. Of a quotient: rises, falls: both lie on one side of 0 (slowing: the local exponent comes nearer to 0
    by its interval); level: both lie within half of ``bounded`` of 0; open: none of these.
    """
    if 2 * row["n_singular"] > row["n_all"]:
        return "singular"
    if kernel == "limit":
        lows = highs = np.array([row["estimate"], row["last"]])
    else:
        lows, highs = (np.array([row[end], row[f"last_{end}"]]) for end in ("low", "high"))
    if "/" not in kernel:
        return "bounded" if (highs < bounded).all() else "grows" if (lows > bounded).all() else "open"
    if (lows > 0).all() or (lows[0] > 0 and row["bend_high"] < 0):
        return "rises, slowing" if row["bend_high"] < 0 else "rises"
    if (highs < 0).all() or (highs[0] < 0 and row["bend_low"] > 0):
        return "falls, slowing" if row["bend_low"] > 0 else "falls"
    return "level" if (lows > -bounded / 2).all() and (highs < bounded / 2).all() else "open"


def _slope(sizes: np.ndarray, values: np.ndarray, smallest: int) -> float:
    return float(growth.exponent(sizes, values, smallest).exponent)


def _asymptotic(part: xr.Dataset) -> float:
    """0 of a target of finitely many modes; of the step the growth of its slowest parity."""
    if not np.isfinite(part["norm_partial"].values).all():
        return np.nan
    if part.target.item() != "step":
        return 0.0
    return float(np.max([0.0, *(part[f"decay_{parity}"] - 1 for parity in ("even", "odd"))]))


def _known(values: np.ndarray) -> Estimate:
    return Estimate(float(values[0]), np.nan, np.nan)


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
