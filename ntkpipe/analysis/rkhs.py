r"""The path of RKHSs H_t of the kernels K_t: norms, interpolants and their distance from the network.

On N train points, with the ridge lambda = ``diag_reg`` tr K_t/N always explicit, and :math:`|v|^2_H` standing for

.. math:: v^T (K + \lambda)^{-1} v ,

without ridge the smallest squared norm of a function in H with the values v at the train points: a lower bound of the
norm of any such function, and the norm of the interpolant g_t(x) = K_t(x, X)(K_t + lambda)^{-1} y itself for v = y.
What it is of f_t - f_0, which the network knows beyond these points, is such a bound too.

Arrays in, arrays out; each kernel is decomposed once. Numbers that rounding decides are NaN. Source: docs/theory.md
section 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis import spaces, spectrum
from ntkpipe.analysis.drift import ACCURACY, EPS, Eigen, eigenpairs, principal_angles
from ntkpipe.analysis.frozen import Regression, regress, ridge, shifted

SECTION = "docs/theory.md section 6"
STARTS = ("zero", "initial")
"""What an interpolant starts from: g = K(x, X) K^{-1} y, or f_0 + K(x, X) K^{-1} (y - f_0(X))."""
RANK = 4
"""Leading eigenvectors of K_t and K_0 whose spaces are compared."""

_PATH = ("cell", "seed", "snapshot")
_REG = (*_PATH, "diag_reg")
_START = (*_PATH, "start", "diag_reg")
PATHS = {
    "target_norm": (_REG, "y^T (K_t + lambda)^{-1} y", SECTION),
    "target_norm_free": (_PATH, "y^T K_t^{-1} y without ridge; NaN below the precision floor", SECTION),
    "interpolant_norm": (_REG, "squared norm in H_t of the interpolant g_t of y", SECTION),
    "learned_norm_initial": (_REG, "|f_t - f_0|^2 in H_0, on the train points", SECTION),
    "learned_norm": (_REG, "|f_t - f_0|^2 in H_t, on the train points", SECTION),
    "interpolant_mse": (_START, "mean squared error of g_t at the eval points", SECTION),
    "interpolant_loo": (_START, "mean squared error of g_t on train points left out one by one, lambda held", SECTION),
    "kernel_mse": (_PATH, "interpolant_mse from zero at the run's diag_reg of least interpolant_loo", SECTION),
    "kernel_reg": (_PATH, "that diag_reg", SECTION),
    "distance_network": (_START, "root mean square of f_t - g_t at the eval points", SECTION),
    "distance_initial": (_START, "root mean square of f_t - g_0 at the eval points", SECTION),
    "distance_moved": (_START, "root mean square of g_t - g_0 at the eval points", SECTION),
    "pencil_smallest": (_REG, "largest c with c (K_0 + lambda) <= K_t", SECTION),
    "pencil_largest": (_REG, "smallest c with K_t <= c (K_0 + lambda)", SECTION),
    "pencil_back": (_REG, "smallest c with K_0 <= c (K_t + lambda), lambda of K_t", SECTION),
    "log_det_ratio": (_REG, "log [det(K_t + lambda)/det(K_0 + lambda)]/N, lambda of K_0", SECTION),
    "principal_angle": ((*_PATH, "angle"), "principal angles of the leading eigenspaces of K_t and K_0 (rad)", SECTION),
    "decay_exponent": (_PATH, "a of lambda_k ~ k^{-a}, least squares in log-log", SECTION),
    "decay_scatter": (_PATH, "root mean square of the residuals of log lambda_k", SECTION),
    "decay_first": (_PATH, "first k of the fit of the decay", SECTION),
    "decay_last": (_PATH, "last k of the fit of the decay", SECTION),
    "effective_rank": (_PATH, "exp of the entropy of lambda_k/tr K_t", SECTION),
    "participation_ratio": (_PATH, "(tr K_t)^2/tr K_t^2", SECTION),
    "effective_dimension": (_REG, "tr K_t (K_t + lambda)^{-1}", SECTION),
    "condition": (_PATH, "lambda_1/lambda_N of K_t; NaN below the precision floor", SECTION),
    "resolved": (_REG, "whether a solve with K_t + lambda is above the precision floor", SECTION),
}
"""Variables of the dataset ``rkhs``: name -> (dims, meaning, source)."""


def squared_norm(
    eigen: Eigen, v: Float[np.ndarray, "*#batch n"], diag_reg: Float[np.ndarray, " reg"], eps: float = EPS
) -> Float[np.ndarray, "*batch reg"]:
    """v^T (K + lambda)^{-1} v, in units of v^2/K; falling in the ridge. Dims of ``eigen`` and v broadcast.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    found = shifted(eigen.values, ridge(eigen.values, diag_reg), eps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = np.sum(_coordinates(eigen, v)[..., None, :] ** 2 / found.values, axis=-1)
    return np.where(found.resolved, total, np.nan)


def interpolant_norm(
    eigen: Eigen, v: Float[np.ndarray, "*#batch n"], diag_reg: Float[np.ndarray, " reg"], eps: float = EPS
) -> Float[np.ndarray, "*batch reg"]:
    """|g|^2_H = alpha^T K alpha of g = sum_i alpha_i K(., x_i), alpha = (K + lambda)^{-1} v.

    Without ridge it is :func:`squared_norm`, with one less: that of the regression, which does not reach v. Rounding
    moves it by up to 3 N eps lambda_1 |alpha|^2, more than a solve where v has a part outside the space: NaN there.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    found = shifted(eigen.values, ridge(eigen.values, diag_reg), eps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squares = (_coordinates(eigen, v)[..., None, :] / found.values) ** 2  # alpha^2, mode by mode
        total = np.sum(eigen.values[..., None, :] * squares, axis=-1)
        rounding = 3 * v.shape[-1] * eps * eigen.values[..., :1] * squares.sum(axis=-1)
    return np.where(found.resolved & (rounding <= ACCURACY * total), total, np.nan)


def prediction_error(
    eigen: Eigen, v: Float[np.ndarray, "*#batch n"], diag_reg: Float[np.ndarray, " reg"], eps: float = EPS
) -> Float[np.ndarray, "*batch reg"]:
    """N eps lambda_1 |alpha|, alpha = (K + lambda)^{-1} v: what rounding adds to a prediction K(x, X) alpha.

    A perturbation E of K changes it by w(x)^T E alpha with w(x) = (K + lambda)^{-1} K(X, x), whose size is of order 1.
    """
    found = shifted(eigen.values, ridge(eigen.values, diag_reg), eps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alpha = np.linalg.norm(_coordinates(eigen, v)[..., None, :] / found.values, axis=-1)
        return v.shape[-1] * eps * eigen.values[..., :1] * alpha


class Interpolants(NamedTuple):
    """Of the two :data:`STARTS`: mean squared errors of g_t, and root mean squares of differences at the eval points.

    loo_mse: on train points left out one by one; network: f_t - g_t; initial: f_t - g_0; moved: g_t - g_0, 0 at the
    first snapshot. NaN where either is below the precision floor, or their difference is below the rounding error of
    predictions.
    """

    eval_mse: Float[np.ndarray, "*batch snapshot start reg"]
    loo_mse: Float[np.ndarray, "*batch snapshot start reg"]
    network: Float[np.ndarray, "*batch snapshot start reg"]
    initial: Float[np.ndarray, "*batch snapshot start reg"]
    moved: Float[np.ndarray, "*batch snapshot start reg"]


def interpolants(
    eigen: Eigen,
    ntk_eval_train: Float[np.ndarray, "*batch snapshot eval n"],
    f_train: Float[np.ndarray, "*batch snapshot n"],
    f_eval: Float[np.ndarray, "*batch snapshot eval"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> Interpolants:
    """How far the network is from the (ridge) interpolants of its own kernel and of its first one.

    From f_0, g_0 is where training in the linear model around theta_0 ends, so f_t - g_0 is what the lazy picture
    leaves at late times; f_t - g_t asks the same of the kernel as it is now.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    parts = []
    for train, evaluation in (
        (np.zeros_like(f_train), np.zeros_like(f_eval)),
        tuple(np.broadcast_to(f[..., :1, :], f.shape) for f in (f_train, f_eval)),
    ):
        g: Regression = regress(eigen, ntk_eval_train, train, evaluation, y, y_eval, diag_reg, eps)
        floor = prediction_error(eigen, y - train, diag_reg, eps)
        g_0, floor_0 = g.f_eval[..., :1, :, :], floor[..., :1, :]
        network = _distance(f_eval[..., None, :] - g.f_eval, floor)
        initial = _distance(f_eval[..., None, :] - g_0, np.broadcast_to(floor_0, floor.shape))
        parts.append((g.eval_mse, g.loo_mse, network, initial, _distance(g.f_eval - g_0, floor + floor_0)))
    return Interpolants(*(np.stack(column, axis=-2) for column in zip(*parts, strict=True)))


def at_least(
    loo_mse: Float[np.ndarray, "*batch reg"], values: Float[np.ndarray, "*#batch reg"]
) -> Float[np.ndarray, "*batch"]:
    """``values`` at the ridge of least leave-one-out error, each kernel its own; NaN where no error is known."""
    known = np.isfinite(loo_mse)
    best = np.argmin(np.where(known, loo_mse, np.inf), axis=-1, keepdims=True)
    found = np.take_along_axis(np.broadcast_to(values, loo_mse.shape), best, axis=-1)[..., 0]
    return np.where(known.any(axis=-1), found, np.nan)


def paths(
    ntk_train: Float[np.ndarray, "seed snapshot n n"],
    ntk_eval_train: Float[np.ndarray, "seed snapshot eval n"],
    f_train: Float[np.ndarray, "seed snapshot n"],
    f_eval: Float[np.ndarray, "seed snapshot eval"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    rank: int = RANK,
    decay_range: tuple[int, int | None] = (spectrum.FIRST, None),
    eps: float = EPS,
    eigen: Eigen | None = None,
) -> dict[str, np.ndarray]:
    """All of :data:`PATHS` of one cell, without the cell's dim. NaN of a diverged or dead network.

    ``rank``: of the leading eigenspaces that are compared; ``decay_range``: of k in :func:`spectrum.decay`;
    ``eigen``: eigenpairs of ``ntk_train``, where they are known already.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative, ``rank`` is not in 1 .. N, or ``decay_range`` no range in it.
    """
    eigen = eigenpairs(ntk_train) if eigen is None else eigen
    first = Eigen(eigen.values[:, :1], eigen.vectors[:, :1])
    learned = f_train - f_train[:, :1]
    fitted = interpolants(eigen, ntk_eval_train, f_train, f_eval, y, y_eval, diag_reg, eps)
    between = spaces.pencil(ntk_train, first, diag_reg, eps)
    zero = fitted.loo_mse[..., STARTS.index("zero"), :]
    if eigen.values.shape[-1] > 2:
        slope = spectrum.decay(eigen.values, *decay_range, eps=eps)
    else:  # no range of k to fit
        gone, none = np.full(eigen.values.shape[:-1], np.nan), np.zeros(eigen.values.shape[:-1], int)
        slope = spectrum.Decay(gone, gone, none, none)
    return {
        "target_norm": squared_norm(eigen, y, diag_reg, eps),
        "target_norm_free": squared_norm(eigen, y, np.zeros(1), eps)[..., 0],
        "interpolant_norm": interpolant_norm(eigen, y, diag_reg, eps),
        "learned_norm_initial": squared_norm(first, learned, diag_reg, eps),
        "learned_norm": squared_norm(eigen, learned, diag_reg, eps),
        "interpolant_mse": fitted.eval_mse,
        "interpolant_loo": fitted.loo_mse,
        "kernel_mse": at_least(zero, fitted.eval_mse[..., STARTS.index("zero"), :]),
        "kernel_reg": at_least(zero, diag_reg),
        "distance_network": fitted.network,
        "distance_initial": fitted.initial,
        "distance_moved": fitted.moved,
        "pencil_smallest": between.smallest,
        "pencil_largest": between.largest,
        "pencil_back": spaces.pencil(ntk_train[:, :1], eigen, diag_reg, eps).largest,
        "log_det_ratio": spaces.log_det_ratio(eigen.values, first.values, diag_reg, eps),
        "principal_angle": principal_angles(first, eigen, rank, eps),
        **{f"decay_{name}": value for name, value in slope._asdict().items()},
        "effective_rank": spectrum.effective_rank(eigen.values),
        "participation_ratio": spectrum.participation_ratio(eigen.values),
        "effective_dimension": spectrum.effective_dimension(eigen.values, diag_reg, eps),
        "condition": spectrum.condition(eigen.values, eps),
        "resolved": shifted(eigen.values, ridge(eigen.values, diag_reg), eps).resolved,
    }


def _coordinates(eigen: Eigen, v: np.ndarray) -> np.ndarray:
    """V^T v."""
    return np.einsum("...ji,...j->...i", eigen.vectors, v)


def _distance(difference: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Root mean square over the last dim; NaN where it is not above the floor, unless it is 0."""
    size = np.sqrt(np.mean(difference**2, axis=-1))
    with np.errstate(invalid="ignore"):
        return np.where((size == 0) | (size > floor), size, np.nan)
