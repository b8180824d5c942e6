"""networks -> ``modes`` (coefficients and rates), ``density`` (eigenfunctions), ``fits``: labels at the border."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ntkpipe import labels, parallel, store
from ntkpipe.analysis import drift, modes
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.eigenmodes import SECTION, density_rows, fit_rows, population
from ntkpipe.labels import cell_coords, variable_attrs
from ntkpipe.plan import Cell, Study
from ntkpipe.theory import density_points

REGIONS = ("all", "dense", "sparse")
PATH = ("cell", "seed", "target", "snapshot", "mode")
SIZE = ("cell", "seed", "target", "snapshot", "region")
RUN, MODE, LOOK = ("cell", "seed", "target"), ("cell", "seed", "mode"), ("cell", "seed", "target", "look")
OWN = 0.25
"""Share of a target that a mode must hold at the start, so that its rate is read from that target's training."""
FOUND = {
    "c_train": (PATH, "coefficient <u_i, r_t> of the residual, over the train points"),
    "c_held_out": (PATH, "coefficient <u_i, r_t> of the residual over the held-out points, weighted by p"),
    "c_operator": (
        PATH,
        "held-out coefficient predicted by T_p: (1 - eta s N lambda_i)^t <u_i, r_0>; NaN where it diverges",
    ),
    "c_limit": (PATH, "coefficient over the train points with the limit kernel on these points"),
    "c_limit_held_out": (PATH, "coefficient over the held-out points with the limit kernel on the train points"),
    "c_frozen": (PATH, "coefficient over the train points with the network's own K_0"),
    "c_evolving": (PATH, "coefficient over the train points with the network's K_t, linear between those kept"),
    "size": (SIZE, "root mean square residual over the train points of a region"),
    "size_limit": (
        SIZE,
        "root mean square residual over the train points of a region, limit kernel on the train points",
    ),
    "size_frozen": (SIZE, "root mean square residual over the train points of a region, network's own K_0"),
    "eigenvalue": (("cell", "mode"), "lambda_i of T_p, limit kernel; 0: never learned; NaN: not told from 0"),
    "mode_frequency": (("cell", "mode"), "frequency of the mode; NaN where p is not uniform"),
    "target_of": (("cell", "mode"), "number of the target that holds most of the mode; -1: none holds a quarter"),
    "learned": (MODE, "effective lambda: (1 - eta s N lambda)^k is what is left when last above fits' share"),
    "learned_limit": (MODE, "effective lambda with the limit kernel on the train points"),
    "learned_frozen": (MODE, "effective lambda with the network's own K_0"),
    "learned_evolving": (MODE, "effective lambda with the network's K_t"),
    "learned_held_out": (MODE, "effective lambda of the coefficient over the held-out points"),
    "rate_over_limit": (
        MODE,
        "log of what is left of a mode over that predicted by the limit kernel on the train points",
    ),
    "rate_over_frozen": (MODE, "log of what is left of a mode over that predicted by K_0"),
    "rate_over_evolving": (MODE, "log of what is left of a mode over that predicted by K_t"),
    "frozen_over_limit": (
        MODE,
        "log of what K_0 leaves of a mode over that of the limit kernel: what the draw of K_0 does",
    ),
    "not_learned": (MODE, "change of the coefficient over the run, where lambda_i is 0: exactly 0 in theory"),
    "kernel_eigenvalue": (LOOK, "lambda/N of the eigenvector of K_t that holds most of the residual"),
    "kernel_share": (LOOK, "share of |r|^2 on the eigenvector of K_t that holds most of the residual"),
    "kernel_ratio": (
        LOOK,
        "decay on that eigenvector of K_t until the next snapshot over that predicted by lambda(K_t)",
    ),
    "quadratic_start": (("cell", "seed", "mode"), "u^T K_0 u/N^2: its mean is the limit's where depth is 1"),
    "quadratic_limit": (("cell", "mode"), "u^T Theta u/N^2 with the limit kernel on the train points"),
    "deviation_train": (
        RUN,
        "largest distance of coefficients from T_p's prediction, train points, over the target's norm",
    ),
    "deviation_held_out": (
        RUN,
        "largest distance of coefficients from T_p's prediction, held out, over the target's norm",
    ),
    "rest_train": (RUN, "largest change of the residual outside the modes, train points, over the target's norm"),
    "rest_held_out": (RUN, "largest change of the residual outside the modes, held out, over the target's norm"),
    "deviation_limit": (RUN, "deviation_held_out with the limit kernel on the train points: what N points do"),
    "moved": (RUN, "|K_t - K_0|_F/|K_0|_F on the train points at the end"),
    "drift": (
        ("cell",),
        "relative movement |K_t - K_0|_F/|K_0|_F, geometric mean over networks of its r.m.s. over targets",
    ),
    "drift_low": (("cell",), "lower end of the interval of drift"),
    "drift_high": (("cell",), "upper end of the interval of drift"),
    "n_runs": (("cell",), "trainings that finished"),
    "n_diverged": (("cell",), "trainings that diverged"),
    "n_unlearned": (("cell",), "modes of the targets that have no eigenvalue"),
}
"""Variables of ``modes``: name -> (dims, meaning)."""


def run(study: Study) -> None:
    """Write ``modes.zarr``, ``density.zarr`` and ``fits.zarr``; as many cells in memory as there are threads."""
    folder = Path(study.folder)
    data = store.read_rows(folder / "networks.zarr")
    for cell in study.cells:  # what threads share is made once
        _theory(study, cell)
    cells = parallel.each(lambda i: of_cell(study, study.cells[i], data.isel(cell=i).load()), range(len(study.cells)))
    found = dataset(study, cells, data)
    store.write_dataset(folder / "modes.zarr", found)
    store.write_dataset(folder / "density.zarr", density_rows.dataset(study))
    store.write_dataset(folder / "fits.zarr", fit_rows.dataset(study, found, data["rate"].values))


def _theory(study: Study, cell: Cell):
    settings = cell.settings
    where = cell.network, settings.density, settings.train, settings.evaluate
    return population.operator(*where, settings.modes), *population.on_points(*where)


def of_cell(study: Study, cell: Cell, data: xr.Dataset) -> dict[str, Any]:
    """What ``modes`` holds of a cell: name -> array without the dim cell."""
    settings, n = cell.settings, cell.settings.train
    operator, limit, limit_cross = _theory(study, cell)
    steps, rate = data["step"].values, data["rate"].values
    theta = density_points.quantiles(density_points.of(settings.density), n)
    q = data["frequency"].values[:, None]
    r = data["f_train"].values[..., :n] - settings.scale * np.cos(q * theta)[:, None]
    apart = data["f_held_out"].values - settings.scale * np.cos(q * data["theta_held_out"].values)[:, None]
    path, looks = data["ntk_path"].values[..., :n, :n], np.array(settings.kernel_snapshots)
    ntk, cross = path[:, 0, 0], data["ntk_held_out"].values[..., :n]
    by_limit = modes.linear(limit, limit_cross, r[:, :, 0], rate, steps)
    by_start = modes.linear(drift.eigenpairs(ntk), cross, r[:, :, 0], rate, steps)
    by_path = modes.evolving(path, steps[looks], r[:, :, 0], rate, steps)
    even = np.full(n, 1 / n)
    c = {
        name: modes.coefficients(values, operator.train, even)
        for name, values in (("train", r), ("limit", by_limit.residual), ("frozen", by_start.residual),
                             ("evolving", by_path))
    }  # fmt: skip
    c["held_out"] = modes.coefficients(apart, operator.held_out, operator.weights)
    outside = apart[:, :, :1] + by_limit.f_held_out
    c["limit_held_out"] = modes.coefficients(outside, operator.held_out, operator.weights)
    left = np.swapaxes(modes.kept(modes.descending(rate[:, None] * n * operator.eigenvalues), steps), 1, 2)[:, None]
    c["operator"] = left * c["held_out"][:, :, :1]
    found: dict[str, Any] = {f"c_{name}": values for name, values in c.items()}
    for name, values in (("size", r), ("size_limit", by_limit.residual), ("size_frozen", by_start.residual)):
        inside = np.ones(n, bool), *density_points.dense(density_points.of(settings.density), theta)
        found[name] = np.stack([modes.root_mean_square(values, where) for where in inside], axis=-1)
    y = np.cos(q * data["theta_held_out"].values)
    share_of = modes.coefficients(y, operator.held_out, operator.weights) ** 2 / (y**2 @ operator.weights)[:, None]
    found |= rates(c, np.nan_to_num(share_of), operator.eigenvalues, rate * n, steps, settings.share)
    found |= {f"kernel_{k}": v for k, v in modes.at_kernels(path, looks, r, rate, steps)._asdict().items()}
    quadratic = np.einsum("ni,snm,mi->si", operator.train, ntk, operator.train) / n**2
    found["quadratic_start"] = quadratic
    theta_limit = limit.vectors[0].T @ operator.train
    found["quadratic_limit"] = limit.values[0] @ theta_limit**2 / n**2
    known = np.isfinite(operator.eigenvalues)
    for name, values, functions, weights in (
        ("train", r, operator.train, even),
        ("held_out", apart, operator.held_out, operator.weights),
        ("limit", outside, operator.held_out, operator.weights),
    ):
        own = modes.coefficients(values[:, :, :1], functions, weights)
        there = modes.deviation(values, functions[:, known], weights, (left * own)[..., known])
        found[f"deviation_{name}"] = there.inside
        if name != "limit":
            found[f"rest_{name}"] = there.outside
    found |= {"eigenvalue": operator.eigenvalues, "mode_frequency": operator.frequency}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["moved"] = drift.frobenius(path[:, :, -1] - ntk[:, None]) / drift.frobenius(ntk)[:, None]
    each = np.sqrt(np.mean(found["moved"] ** 2, axis=1))  # targets share networks: one number a network
    ends = geometric_mean(each, study.config.tolerances.confidence)
    found |= dict(zip(("drift", "drift_low", "drift_high"), ends, strict=True))
    gone = data["diverged"].values >= 0
    own_modes = operator.eigenvalues[found["target_of"] >= 0]
    return found | {"n_runs": (~gone).sum(), "n_diverged": gone.sum(), "n_unlearned": (own_modes == 0).sum()}


def rates(
    c: dict[str, np.ndarray],
    share_of: Float[np.ndarray, "target mode"],
    eigenvalues: Float[np.ndarray, " mode"],
    eta: Float[np.ndarray, " seed"],
    steps: Int[np.ndarray, " snapshot"],
    share: float,
) -> dict[str, np.ndarray]:
    """Of each mode, from the target that holds most of it: effective eigenvalues, and ratios of logs."""
    target = np.where(share_of.max(axis=0) >= OWN, share_of.argmax(axis=0), -1)
    mine = {name: _own(values, target) for name, values in c.items()}  # (seed, mode, snapshot)
    last = modes.window(mine["train"], share)
    k, when = steps[last], {name: modes.at(values, last) for name, values in mine.items()}
    lam = {name: modes.effective(values, k, np.broadcast_to(eta[:, None], k.shape)) for name, values in when.items()}
    learns = np.isfinite(eigenvalues) & (eigenvalues > 0)

    def over(a: str, b: str) -> np.ndarray:
        return np.where(learns, modes.log_ratio(when[a], when[b]), np.nan)

    changed = np.abs(mine["train"] - 1).max(axis=-1)
    return {
        "target_of": target.astype(float),
        "learned": lam["train"],
        **{f"learned_{name}": lam[name] for name in ("limit", "frozen", "evolving", "held_out")},
        **{f"rate_over_{name}": over("train", name) for name in ("limit", "frozen", "evolving")},
        "frozen_over_limit": over("frozen", "limit"),
        "not_learned": np.where(eigenvalues == 0, changed, np.nan),
    }


def _own(c: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What is left of each mode in the training of its target, (seed, mode, snapshot); NaN where it has none."""
    chosen = np.stack([c[:, t, :, i] for i, t in enumerate(target)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((target >= 0)[:, None], chosen / chosen[..., :1], np.nan)


def dataset(study: Study, found: list[dict[str, Any]], data: xr.Dataset) -> xr.Dataset:
    """The ``modes`` dataset."""
    variables = {
        name: (dims, np.stack([cell[name] for cell in found]), variable_attrs(text, SECTION))
        for name, (dims, text) in FOUND.items()
    }
    coords = cell_coords(list(study.cells)) | {
        "frequency": ("target", data["frequency"].values),
        "step": ("snapshot", data["step"].values),
        "target": ("target", np.arange(data.sizes["target"])),
        "look": ("look", np.arange(data.sizes["look"])),
        "look_step": ("look", data["look_step"].values),
        "mode": ("mode", np.arange(len(found[0]["eigenvalue"]))),
        "region": ("region", np.array(REGIONS, dtype=object)),
    }
    result = labels.dataset(study, variables, coords)
    result["rate"] = (("cell", "seed"), data["rate"].values, variable_attrs("step size in flow time, eta s", SECTION))
    return result
