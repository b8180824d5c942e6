"""What a cell's trajectories say, seeds as a batch; maths in ``drift``, ``perturbation``, ``descent``, ``frozen``.

``eigen``: the eigendecompositions of K_t on the train points, (seed, snapshot, ..), made once a cell for all who ask.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

from ntkpipe.analysis import descent, drift, frozen, perturbation
from ntkpipe.analysis.drift import Eigen
from ntkpipe.analysis.intervals import Estimate, mean

SECTION = "docs/theory.md section 5"
PATHS = {
    "drift": ("|K_t - K_0|_F/|K_0|_F", SECTION),
    "drift_operator": ("|K_t - K_0|_op/|K_0|_op", SECTION),
    "drift_trace": ("tr(K_t - K_0)/tr K_0", SECTION),
    "cosine": ("<K_t, K_0>/(|K_t| |K_0|)", SECTION),
    "target_alignment": ("y^T K_t y/(|K_t|_F |y|^2)", SECTION),
    "rotation": ("largest principal angle of the leading eigenspace to the next snapshot (rad)", SECTION),
    "kernel_rate": ("relative change of K per e-fold of time, to the next snapshot", SECTION),
    "load": ("eta s lambda_max(K_t)/2", SECTION),
    "linearization_error": ("|f(theta_t) - f_lin(theta_t)|/|r(0)| on the train points", "thesis (2.1)-(2.3)"),
    "bound": ("Groenwall bound of |r(t) - r_0(t)|/|r(0)|, upper sum over snapshots", SECTION),
    "tightness": ("|r(t) - r_0(t)| over its bound", SECTION),
    "size": ("int |DeltaK_s|_op ds", SECTION),
    "forcing": ("int |DeltaK_s r_0(s)| ds/|r(0)|: size of what order 1 adds (of descent: the sum over steps)", SECTION),
    "third_error": ("|K_t predicted by K3 - K_t|/|K_t - K_0|", SECTION),
    "fourth_error": ("|K_t predicted by K3 and K4 - K_t|/|K_t - K_0|", SECTION),
}
"""Variables with the dims (cell, seed, snapshot)."""

RANK = 8
"""Most leading eigenvectors whose rotation is followed: they end at the widest gap of K_0 among these."""


def paths(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, " seed"],
    y: Float[np.ndarray, " n"],
    run: dict[str, np.ndarray],
    eigen: Eigen,
    method: str,
) -> dict[str, np.ndarray]:
    """All of :data:`PATHS`, ``order_error`` (seed, snapshot, order) and ``eigenvalues`` (seed, snapshot, mode).

    ``rate``: eta s; ``run``: the variables of ``trajectories`` of one cell. Gradient descent is compared with its own
    discrete orders and bound, step by step; minibatches too, whose noise is then part of the error; the flow with its
    continuous ones.
    """
    ntk, residual, time = run["ntk_train"], run["f_train"] - y, run["time"]
    first = residual[:, 0]
    norm = np.linalg.norm(first, axis=-1)[:, None]
    values, change = eigen.values, drift.change(ntk)
    if method == "flow":
        orders = perturbation.orders(time, ntk, first)
        limit = perturbation.bound(time, values, change, first)
        forcing = perturbation.forcing_size(time, ntk, orders[0])
    else:
        orders, forcing = descent.walk(step, rate, ntk, first)
        limit = descent.bound(step, rate, values, change, first, run["remainder"])
    out = {
        "drift": drift.drift(ntk),
        "drift_operator": drift.operator_drift(change, values),
        "drift_trace": drift.drift(ntk, "trace"),
        "cosine": drift.cosine(ntk),
        "target_alignment": drift.target_alignment(ntk, y),
        "rotation": drift.rotation(eigen, drift.leading_rank(values[:, 0], RANK)),
        "kernel_rate": drift.kernel_rate(time, ntk),
        "load": rate[:, None] * values[..., 0] / 2,
        "linearization_error": np.linalg.norm(run["f_train"] - run["f_linear_train"], axis=-1) / norm,
        "bound": limit / norm,
        "tightness": perturbation.tightness(residual, orders[0], limit),
        "size": perturbation.size(time, change),
        "forcing": forcing,
    }
    moved = drift.frobenius(ntk - ntk[:, :1])
    for name in ("third", "fourth"):
        if f"ntk_{name}" in run:
            wrong = drift.frobenius(run[f"ntk_{name}"] - ntk)
            out[f"{name}_error"] = np.divide(wrong, moved, out=np.full(moved.shape, np.nan), where=moved > 0)
    out["order_error"] = np.moveaxis(perturbation.relative_errors(residual, orders), 0, -1)
    out["eigenvalues"] = values
    return out


def frozen_errors(
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    run: dict[str, np.ndarray],
    eigen: Eigen,
    diag_reg: Float[np.ndarray, " reg"],
    modes: Float[np.ndarray, "eval mode"] | None = None,
    frequencies: Int[np.ndarray, " mode"] | None = None,
) -> dict[str, Float[np.ndarray, "seed snapshot ..."]]:
    """Mean squared errors of kernel regression with the kernel frozen at each snapshot, from f_t and from 0.

    On the train points, on the evaluation points, and leaving one train point out.
    With orthonormal ``modes`` on the evaluation points also the part of each frequency in the evaluation errors of
    regression and network: squares of the residual's coefficients, added up over a frequency's modes.
    """
    found = frozen.frozen(eigen, run["ntk_eval_train"], run["f_train"], run["f_eval"], y, y_eval, diag_reg)
    out = {
        name: np.stack([getattr(found[start], name) for start in ("network", "zero")], axis=2)
        for name in ("train_mse", "eval_mse", "loo_mse")
    }
    if modes is not None:
        which = (frequencies[:, None] == np.unique(frequencies)).astype(float)
        fitted = np.stack([found[start].f_eval for start in ("network", "zero")], axis=2)
        out["eval_mse_frequency"] = frozen.mode_coefficients(fitted - y_eval, modes) ** 2 @ which
        out["network_eval_mse_frequency"] = frozen.mode_coefficients(run["f_eval"] - y_eval, modes) ** 2 @ which
    return out


def at_loss(
    loss: Float[np.ndarray, "seed snapshot"], values: Float[np.ndarray, "seed snapshot"], share: float
) -> Float[np.ndarray, " seed"]:
    """values where the loss first falls below ``share`` of its first, linear in log loss; NaN where it does not."""
    out = np.full(len(loss), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.log(loss / loss[:, :1]) - np.log(share)
    for seed, path in enumerate(relative):
        below = np.flatnonzero(path <= 0)
        if len(below) and below[0] > 0:
            k = below[0]
            part = path[k - 1] / (path[k - 1] - path[k]) if np.isfinite(path[k]) else 1.0
            out[seed] = values[seed, k - 1] + part * (values[seed, k] - values[seed, k - 1])
    return out


def at_time(
    time: Float[np.ndarray, "seed snapshot"], values: Float[np.ndarray, "seed snapshot"], at: float
) -> Float[np.ndarray, " seed"]:
    """values at a flow time, linear in time between snapshots; NaN where they are not known there."""
    return np.array([np.interp(at, t, v, right=np.nan) for t, v in zip(time, values, strict=True)])


def geometric_mean(values: Float[np.ndarray, " seed"], confidence: float) -> Estimate:
    """exp(mean log) over seeds with Student's t; of the seeds where the value is known and positive."""
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    return Estimate(*(float(np.exp(end)) for end in mean(logs, confidence)))


def times(
    time: Float[np.ndarray, "seed snapshot"],
    kernel_rate: Float[np.ndarray, "seed snapshot"],
    rotation: Float[np.ndarray, "seed snapshot"],
    loss: Float[np.ndarray, "seed snapshot"],
    tolerance: float,
) -> dict[str, Shaped[np.ndarray, " seed"]]:
    """Flow times from which kernel, leading eigenspace and loss no longer move, per e-fold of time; did they ever?

    inf: not within the run; NaN: not known. The tolerance is relative for the kernel, rad for the eigenspace, in units
    of the first loss for the loss. What never moved faster has the time 0 and is not ``moved``.
    """
    rates = {
        ("freeze_time", "kernel_moved"): kernel_rate,
        ("rotation_time", "rotation_moved"): drift.rotation_rate(time, rotation),
        ("plateau_time", "loss_moved"): drift.loss_rate(time, loss),
    }
    found = {}
    for (settled, moved), rate in rates.items():
        found |= {settled: drift.settling_time(time, rate, tolerance), moved: drift.moved(rate, tolerance)}
    return found
