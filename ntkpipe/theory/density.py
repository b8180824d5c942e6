r"""Zonal kernels on the circle under a non-uniform density (thesis 2.3.3; Basri et al. 2020; theory.md, section 7).

.. math:: (T_p u)(\theta) = \int_0^{2\pi} k(\angle(\theta, \phi))\, u(\phi)\, p(\phi)\, d\phi, \qquad \int p = 1,

is self-adjoint in L2(p); with p = 1/(2 pi) its eigenvalues are the lambda_q of :mod:`ntkpipe.theory.circle`. A slope
k'(0) < 0 (the kink of ReLU) gives lambda u'' = 2 k'(0) p u + smoother terms: eigenfunctions of small eigenvalues
oscillate with sqrt(p).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import linalg, special

from ntkpipe.theory import circle

Density = Callable[[Float[np.ndarray, " t"]], Float[np.ndarray, " t"]]  # p at angles in radians, any period


class Eigenfunctions(NamedTuple):
    """Leading eigenpairs of T_p on a grid; sum_j weights_j u_i(theta_j) u_k(theta_j) = delta_ik."""

    theta: Float[np.ndarray, " m"]  # (j + 1/2) 2 pi/m
    weights: Float[np.ndarray, " m"]  # p(theta_j) 2 pi/m
    eigenvalues: Float[np.ndarray, " r"]  # falling; NaN where rounding decides
    functions: Float[np.ndarray, "m r"]
    error: float  # relative, of all: how far doubling m moved the eigenvalue that moved most, or the mass is from 1


def uniform() -> Density:
    """p = 1/(2 pi)."""
    return lambda theta: np.full(np.shape(theta), 1 / (2 * np.pi))


def halves(ratio: float) -> Density:
    """p is ratio times as large on [0, pi) as on [pi, 2 pi). Raises ValueError: ratio not positive and finite."""
    if not 0 < ratio < np.inf:
        raise ValueError(f"ratio must be positive and finite, was {ratio}")
    return lambda theta: np.where(np.mod(theta, 2 * np.pi) < np.pi, ratio, 1.0) / (np.pi * (1 + ratio))


def cosine(a: float) -> Density:
    """p = (1 + a cos theta)/(2 pi). Raises ValueError: |a| > 1, where p would be negative, or a is not finite."""
    if not abs(a) <= 1:
        raise ValueError(f"a must lie in [-1, 1] (p would be negative), was {a}")
    return lambda theta: (1 + a * np.cos(theta)) / (2 * np.pi)


def von_mises(kappa: float) -> Density:
    """p = exp(kappa cos theta)/(2 pi I_0(kappa)). Raises ValueError: kappa negative or not finite."""
    if not 0 <= kappa < np.inf:
        raise ValueError(f"kappa must be at least 0 and finite, was {kappa}")
    return lambda theta: np.exp(kappa * (np.cos(theta) - 1)) / (2 * np.pi * special.i0e(kappa))


NAMED: dict[str, Callable[..., Density]] = {
    "uniform": uniform,
    "halves": halves,
    "cosine": cosine,
    "von_mises": von_mises,
}


def from_table(theta: Float[np.ndarray, " t"], weight: Float[np.ndarray, " t"]) -> Density:
    """p in proportion to the weights, linear between the angles around the circle, normalised exactly.

    Raises
    ------
    ValueError: an angle or weight is not finite, a weight negative, an angle twice there (modulo 2 pi), or no mass.
    """
    if not (np.isfinite(theta).all() and np.isfinite(weight).all()):
        raise ValueError("theta and weight must be finite: remove the rows that are not")
    if (weight < 0).any():
        raise ValueError(f"weight must be at least 0, the smallest was {weight.min()}")
    angles = np.mod(theta, 2 * np.pi)
    order = np.argsort(angles)
    angles, weight = angles[order], weight[order]
    if len(angles) == 0 or (np.diff(angles) == 0).any():
        raise ValueError("theta must have at least one angle and none twice (modulo 2 pi)")
    closed = np.append(angles, angles[0] + 2 * np.pi), np.append(weight, weight[0])
    mass = np.trapezoid(closed[1], closed[0])
    if not 0 < mass < np.inf:
        raise ValueError(f"weight must have a positive, finite mass, was {mass}")
    return lambda t: np.interp(t, angles, weight / mass, period=2 * np.pi)


def eigenfunctions(
    kernel: Callable[[Float[np.ndarray, " t"]], Float[np.ndarray, " t"]],
    density: Density,
    count: int,
    tolerance: float = 1e-4,
    largest: int = 2048,
) -> Eigenfunctions:
    r"""The `count` largest eigenvalues of T_p and their eigenfunctions, for a zonal kernel k(t), t in [0, pi].

    Nystroem on m equal angles, S K S v = lambda v with S = diag(sqrt(w_j)), w_j = p(theta_j) 2 pi/m, and
    u = K S v/lambda, known also where p = 0. A kernel sampled at the angles has a kink on the diagonal and converges
    like m^-2 whatever p. So K holds, instead of k(theta_i - theta_j), its Fourier modes below m/2, with the exact
    lambda_q of :func:`circle.spectrum`, which integrates over the kink: faster than any power of m where p is smooth,
    m^-2 where it jumps (tested). Angles lie at half steps: jumps at 0 and pi, those of `halves`, fall between them and
    every piece has its exact mass.

    m doubles until no eigenvalue moves by more than tolerance times itself and the grid has mass 1 to tolerance, where
    kinks of p between angles show first. p may jump at 0 and pi only: the error does not bound what a jump elsewhere
    does. Eigenvalues below 1000 m eps lambda_1 are not told from 0: they and their functions are NaN and do not hold
    up the doubling. Where p jumps, functions have fewer digits than eigenvalues. Sign: positive at the first angle
    where |u| is half its maximum. In an eigenspace of several dimensions (p uniform) the basis is arbitrary.

    Raises
    ------
    ValueError: count < 1; p negative or not finite; the tolerance or the mass 1 is not reached with `largest` angles;
    circle.spectrum does not converge.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, was {count}")
    m = max(64, 2 ** int(np.ceil(np.log2(4 * count))))
    before = _nystroem(kernel, density, count, m).eigenvalues if 2 * m <= largest else None
    while (m := 2 * m) <= largest:
        found = _nystroem(kernel, density, count, m)
        moved = np.abs(before / found.eigenvalues - 1)[~np.isnan(found.eigenvalues)]
        error = float(np.max(np.append(moved, abs(found.weights.sum() - 1))))
        if error <= tolerance:
            return found._replace(error=error)
        before = found.eigenvalues
    raise ValueError(
        f"tolerance {tolerance:.1e} for {count} eigenvalues must be reachable with {largest} angles: give "
        "a larger one, fewer eigenvalues, more angles, or a density that is smoother and has mass 1"
    )


def _nystroem(kernel, density: Density, count: int, m: int) -> Eigenfunctions:
    """One grid; the error still NaN."""
    theta = (np.arange(m) + 0.5) * (2 * np.pi / m)
    weights = density(theta) * (2 * np.pi / m)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("density must be finite and at least 0 at every angle")
    modes = circle.spectrum(kernel, np.arange(m // 2 + 1)).eigenvalues
    gram = linalg.toeplitz(np.fft.irfft(modes, m) * m)  # sum over |q| < m/2 of lambda_q cos(q (theta_i - theta_j))
    root = np.sqrt(weights)
    values, vectors = linalg.eigh(root[:, None] * gram * root, subset_by_index=[m - count, m - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    values = np.where(values > 1000 * m * np.finfo(float).eps * values[0], values, np.nan)
    functions = gram @ (root[:, None] * vectors) / values
    size = np.abs(functions)
    first = np.argmax(size >= size.max(axis=0) / 2, axis=0)
    functions = functions * np.sign(functions[first, np.arange(count)])
    return Eigenfunctions(theta, weights, values, functions, np.nan)


def project(modes: Eigenfunctions, values: Float[np.ndarray, " m"]) -> Float[np.ndarray, " r"]:
    """Coefficients <u_i, f>_p = sum_j weights_j u_i(theta_j) f(theta_j) of a function given at modes.theta."""
    return modes.functions.T @ (modes.weights * values)


def local_frequency(
    theta: Float[np.ndarray, " m"], function: Float[np.ndarray, " m"], arc: tuple[float, float]
) -> float:
    """Sign changes per radian in the arc from arc[0] on to arc[1] > arc[0] (it may pass 2 pi); wave number/pi.

    (changes - 1) over the distance from the first to the last, each placed by linear interpolation: exact for equal
    distances, wherever the arc begins. NaN with fewer than two changes.

    Raises
    ------
    ValueError: the arc's length is not in (0, 2 pi].
    """
    start, stop = arc
    if not 0 < stop - start <= 2 * np.pi:
        raise ValueError(f"arc must have a length in (0, 2 pi], was {arc}")
    offset = np.mod(theta - start, 2 * np.pi)
    order = np.argsort(offset)
    order = order[offset[order] <= stop - start]
    x, u = offset[order], function[order]
    i = np.flatnonzero((u[1:] >= 0) != (u[:-1] >= 0))
    if len(i) < 2:
        return float("nan")
    crossings = x[i] + (x[i + 1] - x[i]) * u[i] / (u[i] - u[i + 1])
    return float((len(i) - 1) / (crossings[-1] - crossings[0]))


def predicted_frequency(density: Float[np.ndarray, "*t"], eigenvalue: float, slope: float) -> Float[np.ndarray, "*t"]:
    r"""Sign changes per radian sqrt(-2 k'(0) p/lambda)/pi of an eigenfunction where the density is p; slope = k'(0).

    From lambda u'' = 2 k'(0) p u; the sqrt(p) of Basri et al. 2020. For small eigenvalues, whose waves are short
    against the changes of p, and kernels without a kink at t = pi: :func:`circle.relu_kernel` with hidden_bias = 1,
    slope -1/pi. Others tie u(theta) to u(theta + pi): a sum of two waves where p differs there.

    Raises
    ------
    ValueError: eigenvalue not positive or slope not negative.
    """
    if not (eigenvalue > 0 and slope < 0):
        raise ValueError(f"eigenvalue must be positive and slope negative, were {eigenvalue} and {slope}")
    return np.sqrt(-2 * slope * density / eigenvalue) / np.pi


def steps_to_share(
    eigenvalues: Float[np.ndarray, " r"], eta: float, points: int, share: float
) -> Float[np.ndarray, " r"]:
    """Smallest k >= 1 with |1 - eta n lambda|^k <= share: steps until that share of a mode's residual is left.

    Gradient descent on (1/2) sum over n points drawn from p, kernel fixed, n large: K(X, X)/n acts like T_p. Infinite
    where lambda <= 0 or eta n lambda >= 2 (no decay), NaN where lambda is.

    Raises
    ------
    ValueError: share not in (0, 1), eta or points not positive.
    """
    if not (0 < share < 1 and eta > 0 and points > 0):
        raise ValueError(f"share must lie in (0, 1), eta and points be positive, were {share}, {eta}, {points}")
    x = eta * points * eigenvalues
    with np.errstate(divide="ignore"):
        rate = -np.where(x < 1, np.log1p(-np.minimum(x, 1)), np.log(np.abs(x - 1)))
        steps = np.maximum(1, np.ceil(-np.log(share) / rate))
    return np.where(rate <= 0, np.inf, steps)
