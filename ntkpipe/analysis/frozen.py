r"""Kernel regression with the kernel frozen at a snapshot t*, against training on.

.. math::
    g(x) = f(x) + K_{t^*}(x, X)\, (K_{t^*} + \lambda I)^{-1} (y - f(X)), \quad
    \lambda = \mathrm{diag\_reg} \cdot \mathrm{tr} K_{t^*}/N ,

from f = f_t* (what is left to fit, in the linear model around theta_t*) or from f = 0 (the kernel alone). ``diag_reg``
is relative to the mean eigenvalue, so that results do not depend on the scale of K. Numbers that rounding decides are
not given: NaN and a flag. Train errors are against the labels y, eval errors against the target without noise. What
chooses a ridge without eval labels is the leave-one-out error, with lambda held:

.. math::
    y_i - g^{(-i)}(x_i) = [(K + \lambda I)^{-1} (y - f(X))]_i / [(K + \lambda I)^{-1}]_{ii} .

From 0 it is the error on points not seen, exactly. From f_t* only the correction is fitted without the point: the
network was trained on it, and the error is too small.
Source: docs/theory.md section 5.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntkpipe.analysis.drift import ACCURACY, EPS, Eigen


class Shifted(NamedTuple):
    """K + lambda by ``diag_reg``: its eigenvalues, and whether rounding leaves a solve with it its digits.

    error: N eps (lambda_1 + lambda)/(lambda_N + lambda), relative, of a solve; resolved: at most ``ACCURACY``.
    """

    values: Float[np.ndarray, "*batch reg n"]
    error: Float[np.ndarray, "*batch reg"]
    resolved: Bool[np.ndarray, "*batch reg"]


def ridge(
    values: Float[np.ndarray, "*batch n"], diag_reg: Float[np.ndarray, " reg"]
) -> Float[np.ndarray, "*batch reg"]:
    """lambda = diag_reg tr K/N, tr K/N being the mean eigenvalue.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    if not (diag_reg >= 0).all():
        raise ValueError(f"diag_reg must be >= 0; it was {diag_reg.tolist()}")
    return diag_reg * values.mean(axis=-1)[..., None]


def shifted(
    values: Float[np.ndarray, "*batch n"], ridges: Float[np.ndarray, "*batch reg"], eps: float = EPS
) -> Shifted:
    """Eigenvalues of K + lambda with their precision; ``eps``: relative rounding error of the kernel's entries."""
    moved = values[..., None, :] + ridges[..., None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error = values.shape[-1] * eps * moved[..., 0] / moved[..., -1]
    return Shifted(moved, error, (moved[..., -1] > 0) & (error <= ACCURACY))


class Regression(NamedTuple):
    """Kernel regression by snapshot and ``diag_reg``.

    f_eval: g at the eval points; train_mse, eval_mse, loo_mse: mean squared errors, loo_mse leaving one out; resolved:
    false where f_eval, eval_mse and loo_mse are below the precision floor (NaN), or the run had diverged;
    train_resolved: the same of train_mse, which must also exceed the rounding error of the solve.
    """

    f_eval: Float[np.ndarray, "*batch snapshot reg eval"]
    train_mse: Float[np.ndarray, "*batch snapshot reg"]
    eval_mse: Float[np.ndarray, "*batch snapshot reg"]
    loo_mse: Float[np.ndarray, "*batch snapshot reg"]
    resolved: Bool[np.ndarray, "*batch snapshot reg"]
    train_resolved: Bool[np.ndarray, "*batch snapshot reg"]


def frozen(
    eigen: Eigen,
    ntk_eval_train: Float[np.ndarray, "*batch snapshot eval n"],
    f_train: Float[np.ndarray, "*batch snapshot n"],
    f_eval: Float[np.ndarray, "*batch snapshot eval"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> dict[str, Regression]:
    """Regressions ``network`` (from f_t*) and ``zero`` (from 0), with the eigendecompositions of the train kernels.

    ``eps`` is the relative rounding error of the kernels' entries, that of float64 if not told.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    zero = np.zeros_like(f_train), np.zeros_like(f_eval)
    return {
        name: regress(eigen, ntk_eval_train, *start, y, y_eval, diag_reg, eps)
        for name, start in (("network", (f_train, f_eval)), ("zero", zero))
    }


def regress(
    eigen: Eigen,
    ntk_eval_train: Float[np.ndarray, "*batch snapshot eval n"],
    f_train: Float[np.ndarray, "*batch snapshot n"],
    f_eval: Float[np.ndarray, "*batch snapshot eval"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> Regression:
    """Kernel regression from f, with the eigendecomposition of the train kernel.

    The train residual is lambda (K + lambda)^{-1} (y - f), mode by mode, not a difference of nearly equal numbers.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    ridges = ridge(eigen.values, diag_reg)
    solve = shifted(eigen.values, ridges, eps)
    left = np.einsum("...ji,...j->...i", eigen.vectors, y - f_train)[..., None, :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        coefficients = left / solve.values
        correction = np.einsum("...en,...nk,...rk->...re", ntk_eval_train, eigen.vectors, coefficients, optimize=True)
        predicted = f_eval[..., None, :] + correction
        inverse = np.einsum("...ik,...rk->...ri", eigen.vectors**2, 1 / solve.values, optimize=True)  # its diagonal
        left_out = np.einsum("...ik,...rk->...ri", eigen.vectors, coefficients, optimize=True) / inverse
        loo_mse = np.mean(left_out**2, axis=-1)
        train_mse = np.mean((ridges[..., None] * coefficients) ** 2, axis=-1)
        eval_mse = np.mean((predicted - y_eval) ** 2, axis=-1)
        resolved = solve.resolved & np.isfinite(eval_mse)
        train_resolved = resolved & (train_mse > solve.error**2 * np.mean(left**2, axis=-1))
    return Regression(
        np.where(resolved[..., None], predicted, np.nan),
        np.where(train_resolved, train_mse, np.nan),
        np.where(resolved, eval_mse, np.nan),
        np.where(resolved, loo_mse, np.nan),
        resolved,
        train_resolved,
    )


def mode_coefficients(
    residual: Float[np.ndarray, "*batch eval"], modes: Float[np.ndarray, "eval mode"]
) -> Float[np.ndarray, "*batch mode"]:
    r"""<phi_q, r>/(|phi_q| M^{1/2}) for each mode (column) over M eval points, whatever the scale of phi_q.

    Their squares are the shares of the mean squared error: for a complete orthogonal set they add up to it. Fourier
    modes on a uniform grid are orthogonal; the two of a frequency are added by squares. NaN for a mode that is 0.
    """
    norms = np.linalg.norm(modes, axis=0) * np.sqrt(len(modes))
    return residual @ modes / np.where(norms == 0, np.nan, norms)


def regression_flops(train: int, evaluation: int) -> float:
    """N^3/3 + 2 N^2 + 2 M N: one regression by Cholesky, its triangular solves, and M predictions; not the kernel.

    What someone pays who wants this one result. Here one eigendecomposition (about 9 N^3) serves every diag_reg.
    """
    return train**3 / 3 + 2.0 * train**2 + 2.0 * evaluation * train


def kernel_flops(sizes: tuple[int, ...], train: int, evaluation: int) -> float:
    """Flops of K(X, X) and K(x, X) of a dense network with layer ``sizes`` n_0, n_1, .., n_d, 1.

    Forward and backward passes, 4 flops a weight and point, then one inner product of n_{l-1} and one of n_l numbers
    for each layer and pair: sum_l [4 n_{l-1} n_l (N + M) + 2 (n_{l-1} + n_l) N (N + M)].
    """
    points = train + evaluation
    pairs = itertools.pairwise(sizes)
    return float(sum(4 * n * m * points + 2 * (n + m) * train * points for n, m in pairs))


def training_flops(
    sizes: tuple[int, ...], points: float, evaluation: int, steps: Int[np.ndarray, "*shape"] | int
) -> Float[np.ndarray, "*shape"]:
    """Flops of training on for ``steps`` steps of ``points`` points, then M predictions: 6 p points steps + 2 p M.

    p weights; a step costs 2 flops a weight and point forward and 4 backward; biases and activations are not counted.
    """
    weights = sum(n * m for n, m in itertools.pairwise(sizes))
    return np.asarray(6.0 * weights * points * steps + 2.0 * weights * evaluation)


def points_a_step(method: str, train: int, batch: int | None) -> float:
    """Points whose gradients a step takes: N of gd, those of its batch of sgd; NaN of the flow, whose steps vary."""
    return {"gd": train, "sgd": batch}.get(method, np.nan)
