r"""What the infinitely wide network predicts at a finite time: mean and covariance over initializations.

Theta is the limit of the NTK, Sigma that of the NNGP kernel (:mod:`ntkpipe.theory.infinite_width`), X the N train
points with labels y. The network starts as f_0 ~ GP(0, Sigma), its kernel stays Theta, the loss is s/2 |f(X) - y|^2:

.. math::
    f_t(x) = f_0(x) + \Theta(x, X)\, \varphi_t(\Theta)\, (y - f_0(X)), \qquad
    \varphi_t(\lambda) = \frac{1 - g_t(\lambda)}{\lambda}, \quad \varphi_t(0) = t,

g_t = exp(-lambda t) of the flow in flow time, (1 - eta s lambda)^k of k steps of gradient descent, t = eta s k. With
Theta(X, X) = U diag(lambda) U^T nothing is inverted. f_t is a Gaussian process whose mean is that from f_0 = 0 and

.. math:: f_t - E f_t = f_0 - \Theta(\cdot, X)\, \varphi_t(\Theta)\, f_0(X),

on the train points U diag(g_t) U^T f_0(X), without cancellation as it decays. Points are in one order throughout: the N
train points first, then any others.

**Singular kernels.** Eigenvalues up to N eps lambda_1 are not told from 0 and taken for it: what f_0(X) - y has there
stays. Where Theta(x, X) u is rounding too, as in exact arithmetic for Theta u = 0, such a mode is without effect at x;
otherwise (eigenvalues that are small, not 0) varphi = t, and predictions off the train points are NaN from the time on
at which rounding decides, N eps lambda_1 t > ``ACCURACY``; so is t = infinity there.

Source: docs/theory.md section 7; Lee et al. 2019, "Wide neural networks of any depth evolve as linear models under
gradient descent", their mean and covariance of f_t on test points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.theory.infinite_width import Kernels

EPS = float(np.finfo(np.float64).eps)
ACCURACY = 1e-3
"""Largest N eps lambda_1 t at which a mode with an eigenvalue lost in rounding has a value off the train points."""
_NOISE = 1000.0  # roundings that a kernel's own entries may be off by, where it is checked


class Modes(NamedTuple):
    """Theta(X, X) = U diag(values) U^T, values ascending, and both kernels between all p points and the modes.

    reach: Theta(., X) U; prior: Sigma(., X) U; rounding: N eps lambda_1. The first N rows are the train points.
    """

    values: Float[np.ndarray, " n"]
    vectors: Float[np.ndarray, "n n"]
    reach: Float[np.ndarray, "p n"]
    prior: Float[np.ndarray, "p n"]
    rounding: float


class Learned(NamedTuple):
    """At each time, of each mode: kept is g_t, the part of the residual that is left; gain is (1 - g_t)/lambda."""

    kept: Float[np.ndarray, "time n"]
    gain: Float[np.ndarray, "time n"]


def modes(to_train: Kernels) -> Modes:
    """Decompose Theta(X, X), from both kernels between all points (train points first) and the train points, (p, N).

    Such are ``kernels(network, np.concatenate([X, x]), X)``.

    Raises
    ------
    ValueError: kernels that are not both of one shape (p, N), 1 <= N <= p, that are not finite, or whose first N rows
    are not symmetric, or not positive semi-definite (Theta), beyond rounding.
    """
    nngp, ntk = (np.asarray(kernel, float) for kernel in to_train)
    if ntk.ndim != 2 or ntk.shape != nngp.shape or not 1 <= ntk.shape[1] <= ntk.shape[0]:
        raise ValueError(f"ntk and nngp must both be (p, N) with 1 <= N <= p; they are {ntk.shape} and {nngp.shape}")
    n = ntk.shape[1]
    for name, kernel in (("ntk", ntk), ("nngp", nngp)):
        if not np.isfinite(kernel).all():
            raise ValueError(f"{name} must be finite")
        if np.abs(kernel[:n] - kernel[:n].T).max() > _NOISE * n * EPS * np.abs(kernel[:n]).max():
            raise ValueError(f"the first N = {n} rows of {name} must be symmetric: the train points come first")
    values, vectors = np.linalg.eigh((ntk[:n] + ntk[:n].T) / 2)
    rounding = n * EPS * float(np.abs(values).max())
    if values[0] < -_NOISE * rounding:
        raise ValueError(f"ntk must be positive semi-definite on the train points; an eigenvalue is {values[0]:.3g}")
    values = np.where(values > rounding, values, 0.0)
    beyond = ntk[n:] @ vectors
    noise = 4 * n * EPS * np.linalg.norm(ntk[n:], axis=1)
    beyond[(values == 0.0) & (np.abs(beyond) <= noise[:, None])] = 0.0
    return Modes(values, vectors, np.concatenate([vectors * values, beyond]), nngp @ vectors, rounding)


def flow(modes: Modes, time: Float[np.ndarray, " time"]) -> Learned:
    """g_t = exp(-lambda t) and (1 - g_t)/lambda of gradient flow at flow times t; infinity is one of them.

    Raises
    ------
    ValueError: times that are not a vector, or negative.
    """
    if time.ndim != 1 or not np.all(time >= 0):
        raise ValueError(f"time must be a vector of numbers >= 0; it is {time}")
    values = np.where(modes.values > 0, modes.values, 1.0)
    exponent = -time[:, None] * values
    return _learned(modes, values, np.exp(exponent), -np.expm1(exponent), time)


def descent(modes: Modes, eta: float, steps: Int[np.ndarray, " time"] | Float[np.ndarray, " time"]) -> Learned:
    """g_t = (1 - eta lambda)^k and (1 - g_t)/lambda after k steps of full-batch gradient descent; k may be infinity.

    eta: in flow time, the step size times the s of the loss, as in :func:`ntkpipe.training.descent.descend`. With eta
    lambda > 2 a mode grows, as it does in the network.

    Raises
    ------
    ValueError: eta that is not positive and finite; steps that are not a vector, negative or not integer; infinitely
    many where eta lambda_1 >= 2.
    """
    if not 0 < eta < np.inf:
        raise ValueError(f"eta must be positive and finite; it is {eta}")
    if steps.ndim != 1 or not np.all((steps >= 0) & (np.floor(steps) == steps)):
        raise ValueError(f"steps must be a vector of integers >= 0 (or infinity); they are {steps}")
    largest = eta * modes.values[-1]
    if np.isinf(steps).any() and largest >= 2:
        raise ValueError(f"steps must be finite where eta lambda_1 >= 2, it is {largest:.6g}; lower eta")
    values, k = np.where(modes.values > 0, modes.values, 1.0), steps[:, None].astype(float)
    size = eta * values
    over = size > 1  # 1 - eta lambda is negative: the sign alternates
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.where(k > 0, k * np.log1p(np.where(over, size - 2.0, -size)), 0.0)  # k log|1 - eta lambda|
        minus = over & (k % 2 == 1)
        kept = np.where(minus, -1.0, 1.0) * np.exp(exponent)
        return _learned(modes, values, kept, np.where(minus, 1.0 - kept, -np.expm1(exponent)), eta * k[:, 0])


def _learned(modes: Modes, values, kept, done, time) -> Learned:
    """From g_t and 1 - g_t at the eigenvalues that are not 0; elsewhere g_t = 1, (1 - g_t)/lambda = t."""
    null = modes.values == 0.0
    at_zero = np.where(modes.rounding * time <= ACCURACY, time, np.nan) if modes.rounding else time
    acts = null & modes.reach.any(axis=0)
    gain = np.where(acts, at_zero[:, None], np.where(null, 0.0, done / values))
    return Learned(np.where(null, 1.0, kept), gain)


def mean(modes: Modes, learned: Learned, y: Float[np.ndarray, " n"]) -> Float[np.ndarray, "time p"]:
    """E f_t = Theta(., X) varphi_t(Theta) y at all points: f_t of a network that starts at f_0 = 0.

    Raises
    ------
    ValueError: not one label a train point.
    """
    n = len(modes.values)
    if y.shape != (n,):
        raise ValueError(f"y must have one label a train point, ({n},); it is {y.shape}")
    labels = y @ modes.vectors
    train = (np.where(modes.values > 0, learned.gain, 0.0) * labels) @ modes.reach[:n].T
    return np.concatenate([train, (learned.gain * labels) @ modes.reach[n:].T], axis=1)


def variance(modes: Modes, learned: Learned, nngp: Float[np.ndarray, " p"]) -> Float[np.ndarray, "time p"]:
    """Var f_t at all points, from their Sigma(x, x); O(p N^2) a time, without the covariances between points.

    Raises
    ------
    ValueError: not one Sigma(x, x) a point.
    """
    n, p = len(modes.values), len(modes.reach)
    if nngp.shape != (p,):
        raise ValueError(f"nngp must have one variance a point, ({p},); it is {nngp.shape}")
    start, inner = modes.prior[n:], modes.vectors.T @ modes.prior[:n]
    out = np.empty((len(learned.kept), p))
    for row, kept, gain in zip(out, *learned, strict=True):
        weights = _weights(modes, kept, gain)
        row[:] = np.sum((weights @ inner) * weights, axis=1)
        row[n:] += nngp[n:] + 2 * np.sum(weights[n:] * start, axis=1)
    return np.maximum(out, 0.0)


def covariance(modes: Modes, learned: Learned, nngp: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "time p p"]:
    """Cov(f_t(x), f_t(x')) between all points, from their Sigma; symmetric.

    With A = Theta(., X) varphi_t(Theta) it is Sigma - A Sigma(X, .) - Sigma(., X) A^T + A Sigma(X, X) A^T.

    Raises
    ------
    ValueError: not one row and column of Sigma a point.
    """
    n, p = len(modes.values), len(modes.reach)
    if nngp.shape != (p, p):
        raise ValueError(f"nngp must have one row and column a point, ({p}, {p}); it is {nngp.shape}")
    start, inner = modes.prior[n:], modes.vectors.T @ modes.prior[:n]
    out = np.empty((len(learned.kept), p, p))
    for matrix, kept, gain in zip(out, *learned, strict=True):
        weights = _weights(modes, kept, gain)
        matrix[:] = weights @ inner @ weights.T
        cross = weights @ start.T
        matrix[:, n:] += cross
        matrix[n:] += cross.T
        matrix[n:, n:] += nngp[n:, n:]
    return (out + np.swapaxes(out, 1, 2)) / 2


def _weights(modes: Modes, kept: Float[np.ndarray, " n"], gain: Float[np.ndarray, " n"]) -> Float[np.ndarray, "p n"]:
    """W of f_t - E f_t = W U^T f_0(X) on the train points, f_0 + W U^T f_0(X) at the others."""
    n = len(modes.values)
    return np.concatenate([modes.vectors * kept, -modes.reach[n:] * gain])


def expected_error(
    mean: Float[np.ndarray, "time m"], variance: Float[np.ndarray, "time m"], target: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " time"]:
    """E over initializations of the mean over m points of (f_t - target)^2: bias^2 + variance, both averaged.

    For the train points columns ``[:, :N]`` of mean and variance, for the others ``[:, N:]``. The expected loss is
    s N/2 times that of the train points.

    Raises
    ------
    ValueError: mean and variance of different shapes, no points, or not one target a point.
    """
    if mean.ndim != 2 or mean.shape != variance.shape or target.shape != mean.shape[1:] or not target.size:
        shapes = f"{mean.shape}, {variance.shape} and {target.shape}"
        raise ValueError(f"mean, variance and target must be (time, m), (time, m) and (m,), m >= 1; they are {shapes}")
    return np.mean((mean - target) ** 2 + variance, axis=1)
