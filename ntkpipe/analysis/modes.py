r"""How fast each eigenfunction is learned: residual coefficients, and what kernels predict for them.

Gradient descent with step eta (in flow time) on N points: r_{k+1} = (I - eta K_k) r_k. With a kernel that stays,
r_k = V (1 - eta l)^k V^T r_0. An operator T_p with eigenfunctions u_i under p predicts c_i(k) = (1 - eta N lambda_i)^k
c_i(0), c_i = <u_i, r>_p. Source: docs/theory.md section 9. Arrays have the leading dims seed and target.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntkpipe.analysis.drift import Eigen, eigenpairs

Coefficients = Float[np.ndarray, "seed target snapshot mode"]


class Linear(NamedTuple):
    """What a kernel that stays makes of a residual -y: the residual on the train points, and f - f_0 off them."""

    residual: Float[np.ndarray, "seed target snapshot n"]
    f_held_out: Float[np.ndarray, "seed target snapshot held"]


class AtKernel(NamedTuple):
    """The eigenvector of K_t that holds most of the residual, and how fast it is learned until the next snapshot.

    eigenvalue: lambda/N; share: (v.r)^2/|r|^2; ratio: measured over predicted decay, log|v.r'/v.r| over m
    log|1 - eta lambda| for m steps to the next snapshot; NaN where one of them does not decay, or there is no next.
    """

    eigenvalue: Float[np.ndarray, "seed target look"]
    share: Float[np.ndarray, "seed target look"]
    ratio: Float[np.ndarray, "seed target look"]


def descending(x: Float[np.ndarray, "seed mode"]) -> Float[np.ndarray, "seed mode"]:
    """x = eta l as it is where none reaches 2, beyond which (1 - x)^k has no bound; else NaN, for the whole seed."""
    return np.where(np.max(x, axis=1, keepdims=True, initial=0.0, where=~np.isnan(x)) < 2, x, np.nan)


def kept(x: Float[np.ndarray, "*shape"], steps: Int[np.ndarray, " snapshot"]) -> Float[np.ndarray, "*shape snapshot"]:
    """(1 - x)^k for each number of steps k."""
    return (1 - x[..., None]) ** steps


def gain(x: Float[np.ndarray, "*shape"], steps: Int[np.ndarray, " snapshot"]) -> Float[np.ndarray, "*shape snapshot"]:
    """(1 - (1 - x)^k)/x, which is k at x = 0, without cancellation at small x."""
    small = np.clip(x, 0.0, 0.5)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(small > 0, -np.expm1(steps * np.log1p(-small)) / small, steps)
        return np.where(x[..., None] <= 0.5, below, (1 - kept(x, steps)) / x[..., None])


def linear(
    eigen: Eigen,
    cross: Float[np.ndarray, "#seed held n"],
    residual: Float[np.ndarray, "seed target n"],
    rate: Float[np.ndarray, " seed"],
    steps: Int[np.ndarray, " snapshot"],
) -> Linear:
    """Gradient descent with the kernel K = V l V^T of ``eigen`` (one for all seeds, or one a seed) throughout.

    ``cross``: K between held-out and train points; f - f_0 = -cross V ((1 - (1 - eta l)^k)/l) V^T r_0 there. NaN from
    the first step on where the kernel descends without bound, eta l_1 >= 2: that predicts nothing.
    """
    x = descending(rate[:, None] * np.maximum(eigen.values, 0.0))
    start = np.einsum("sni,stn->sti", np.broadcast_to(eigen.vectors, (len(rate), *eigen.vectors.shape[1:])), residual)
    left = np.einsum("sik,sti->stki", kept(x, steps), start)
    moved = -np.einsum("s,sik,sti->stki", rate, gain(x, steps), start)
    back = np.swapaxes(eigen.vectors, 1, 2)[:, None]
    return Linear(left @ back, moved @ back @ np.swapaxes(cross, 1, 2)[:, None])


def evolving(
    ntk: Float[np.ndarray, "seed target look n n"],
    look_steps: Int[np.ndarray, " look"],
    residual: Float[np.ndarray, "seed target n"],
    rate: Float[np.ndarray, " seed"],
    steps: Int[np.ndarray, " snapshot"],
) -> Float[np.ndarray, "seed target snapshot n"]:
    """r_{k+1} = r_k - eta K_k r_k with K_k linear in k between the looks; looks begin and end with the snapshots."""
    r, out = residual[..., None], np.empty((*residual.shape[:2], len(steps), residual.shape[-1]))
    eta, at = rate[:, None, None, None], 0
    for i, step in enumerate(steps):
        while at < step:
            b = max(1, int(np.searchsorted(look_steps, at, side="right")))
            b = min(b, len(look_steps) - 1)
            w = (at - look_steps[b - 1]) / (look_steps[b] - look_steps[b - 1])
            r = r - eta * ((1 - w) * (ntk[:, :, b - 1] @ r) + w * (ntk[:, :, b] @ r))
            at += 1
        out[:, :, i] = r[..., 0]
    return out


def at_kernels(
    ntk: Float[np.ndarray, "seed target look n n"],
    looks: Int[np.ndarray, " look"],
    residual: Float[np.ndarray, "seed target snapshot n"],
    rate: Float[np.ndarray, " seed"],
    steps: Int[np.ndarray, " snapshot"],
) -> AtKernel:
    """The eigenvector of each K_t that holds most of the residual; ``looks``: numbers of the snapshots of K_t."""
    eigen = eigenpairs(ntk)
    here = np.einsum("stlni,stln->stli", eigen.vectors, residual[:, :, looks])
    best = np.argmax(np.where(np.isnan(here), -1.0, here**2), axis=-1)[..., None]
    values = np.take_along_axis(eigen.values, best, -1)[..., 0]
    now = np.take_along_axis(here, best, -1)[..., 0]
    following = np.minimum(looks + 1, len(steps) - 1)
    then = np.einsum("stlni,stln->stli", eigen.vectors, residual[:, :, following])
    then = np.take_along_axis(then, best, -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = now**2 / np.sum(residual[:, :, looks] ** 2, axis=-1)
        predicted = (steps[following] - steps[looks]) * np.log(np.abs(1 - rate[:, None, None] * values))
        ratio = log_ratio(np.abs(then / now), np.exp(predicted))
    return AtKernel(values / ntk.shape[-1], share, ratio)


def log_ratio(
    measured: Float[np.ndarray, "*shape"], predicted: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """log measured/log predicted of two shares left; NaN unless both lie in (0, 1)."""
    inside = (measured > 0) & (measured < 1) & (predicted > 0) & (predicted < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside, np.log(measured) / np.log(predicted), np.nan)


def coefficients(
    values: Float[np.ndarray, "*batch n"], functions: Float[np.ndarray, "n mode"], weights: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*batch mode"]:
    """c_i = sum_j weights_j u_i(theta_j) values_j."""
    return values @ (weights[:, None] * functions)


def window(left: Float[np.ndarray, "*batch snapshot"], share: float) -> Int[np.ndarray, "*batch"]:
    """The last snapshot before the share left first falls to ``share``; at least the second, at most the last."""
    with np.errstate(invalid="ignore"):
        below = left <= share
    first = np.where(below.any(axis=-1), np.argmax(below, axis=-1), left.shape[-1])
    return np.clip(first - 1, 1, left.shape[-1] - 1)


def at(values: Float[np.ndarray, "*batch snapshot"], index: Int[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """values at each one's snapshot."""
    return np.take_along_axis(values, index[..., None], -1)[..., 0]


def effective(
    left: Float[np.ndarray, "*batch"], steps: Int[np.ndarray, "*batch"], eta: Float[np.ndarray, "*batch"]
) -> Float[np.ndarray, "*batch"]:
    """lambda with (1 - eta lambda)^k = left; NaN where left is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(left > 0, -np.expm1(np.log(left) / steps) / eta, np.nan)


def fit_steps(
    size: Float[np.ndarray, "*batch snapshot"], steps: Int[np.ndarray, " snapshot"], share: float
) -> Float[np.ndarray, "*batch"]:
    """Steps after which size first falls to ``share`` of its first value, log size linear between snapshots.

    Infinity: not within the run; NaN: diverged before.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(size / size[..., :1]) - np.log(share)
    below = left <= 0
    first = np.argmax(below, axis=-1)
    first = np.maximum(first, 1)
    one, two = at(left, first - 1), at(left, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(np.isfinite(two), one / (one - two), 1.0)
    found = steps[first - 1] + part * (steps[first] - steps[first - 1])
    known = np.isfinite(size).all(axis=-1)
    return np.where(below.any(axis=-1), found, np.where(known, np.inf, np.nan))


class Deviation(NamedTuple):
    """Largest over the snapshots, in units of |y|: from the prediction within the modes, and of what is outside."""

    inside: Float[np.ndarray, "seed target"]
    outside: Float[np.ndarray, "seed target"]


def deviation(
    residual: Float[np.ndarray, "seed target snapshot n"],
    functions: Float[np.ndarray, "n mode"],
    weights: Float[np.ndarray, " n"],
    predicted: Coefficients,
) -> Deviation:
    """|c - predicted| and the change of the residual's part outside the modes, orthonormal under the weights."""
    c = coefficients(residual, functions, weights)
    size = np.sqrt(np.sum(weights * residual[:, :, 0] ** 2, axis=-1))
    inside = np.sqrt(np.sum((c - predicted) ** 2, axis=-1)).max(axis=-1) / size
    change = residual - residual[:, :, :1]
    total = np.sum(weights * change**2, axis=-1) - np.sum((c - c[:, :, :1]) ** 2, axis=-1)
    return Deviation(inside, np.sqrt(np.maximum(total, 0.0)).max(axis=-1) / size)


def root_mean_square(
    residual: Float[np.ndarray, "*batch n"], inside: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "*batch"]:
    """Over the points inside; NaN where there is none."""
    if not inside.any():
        return np.full(residual.shape[:-1], np.nan)
    return np.sqrt(np.mean(residual[..., inside] ** 2, axis=-1))
