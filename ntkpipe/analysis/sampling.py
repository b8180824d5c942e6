r"""Kernels on sampled points seen through modes, and the linear dynamics that they drive.

Phi is the N x M matrix of modes at the points (:func:`ntkpipe.angles.fourier_modes`); arrays in, arrays out, ``*batch``
are dims such as seed. Source: docs/theory.md section 10.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from ntkpipe import angles
from ntkpipe.analysis.intervals import NOTHING, Estimate
from ntkpipe.theory.concentration import cosine, on_modes


class Seen(NamedTuple):
    """A kernel on N points through M modes: C = Phi^T K Phi/N^2, and max and mean square over points of e_q."""

    coupling: Float[np.ndarray, "m m"]
    action_max: Float[np.ndarray, " m"]
    action_square: Float[np.ndarray, " m"]


def through_modes(
    kernel: Float[np.ndarray, "n n"], modes: Float[np.ndarray, "n m"], eigenvalues: Float[np.ndarray, " m"]
) -> Seen:
    """C and the eigen-action errors e_q = (K/N) phi_q - lambda_q phi_q."""
    acted = kernel @ modes / len(modes)
    error = acted - modes * eigenvalues
    return Seen(modes.T @ acted / len(modes), np.abs(error).max(axis=0), np.mean(error**2, axis=0))


def linear_descent(
    kernel: Float[np.ndarray, "p n"], labels: Float[np.ndarray, "n k"], eta: float, steps: int
) -> Float[np.ndarray, "p k"]:
    """What ``steps`` steps of gradient descent with this kernel learn of each column of labels, from f = 0.

    f <- f + eta K (y - f(X)), the first n rows of K being those of the points X; in N^2 a step, nothing is inverted.
    """
    n = kernel.shape[1]
    weights, on_points = np.zeros_like(labels), kernel[:n]
    for _ in range(steps):
        weights = weights + eta * (labels - on_points @ weights)
    return kernel @ weights


def errors(
    gram: Float[np.ndarray, "*#batch m m"],
    coupling: Float[np.ndarray, "*#batch m m"],
    action_max: Float[np.ndarray, "*#batch m"],
    eigenvalues: Float[np.ndarray, " q"],
) -> dict[str, Float[np.ndarray, "..."]]:
    """The errors that :func:`ntkpipe.theory.concentration.bounds` bounds, by their names there."""
    qmax = len(eigenvalues) - 1
    frequency = angles.mode_frequencies(qmax)
    off = gram - np.eye(len(frequency))
    found = {
        "gram entry": np.abs(off).max(axis=(-2, -1)),
        "gram": np.linalg.norm(off, axis=(-2, -1)),
        "operator": np.linalg.norm(coupling - np.diag(on_modes(eigenvalues)), axis=(-2, -1)),
    }
    for q in range(qmax + 1):
        found[f"action {q}"] = action_max[..., cosine(q)]
        found[f"leakage {q}"] = np.linalg.norm(coupling[..., frequency != q, cosine(q)], axis=-1)
    return {name: np.asarray(values) for name, values in found.items()}


def quantile(values: Float[np.ndarray, " seed"], p: float, confidence: float) -> Estimate:
    """The p-quantile of independent values with its order-statistics interval, free of assumptions on their law.

    The number of values below the true quantile is Binomial(n, p): the ends are the order statistics whose binomial
    tails are at most (1 - confidence)/2 each; -inf or inf where there is none.
    """
    values = np.sort(values[np.isfinite(values)])
    n = len(values)
    if not n:
        return NOTHING
    tail = (1 - confidence) / 2
    # X_(r) <= quantile fails with P(B <= r - 1), X_(s) >= quantile with P(B >= s), B ~ Binomial(n, p)
    low, high = int(stats.binom.ppf(tail, n, p)), int(stats.binom.ppf(1 - tail, n, p)) + 1
    low = low if stats.binom.cdf(low - 1, n, p) <= tail else low - 1
    ends = (values[low - 1] if low >= 1 else -np.inf, values[high - 1] if high <= n else np.inf)
    return Estimate(float(np.quantile(values, p)), float(ends[0]), float(ends[1]))


def root_mean_square(mean: Estimate) -> Estimate:
    """The interval of a mean square as one of its root; a negative end is 0."""
    return Estimate(*(float(np.sqrt(max(end, 0.0))) if np.isfinite(end) else np.nan for end in mean))


def normal_variance(values: Float[np.ndarray, " seed"], confidence: float) -> Estimate:
    """Variance of independent normal values of mean 0 with its chi-squared interval; NaN is left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return NOTHING
    total, tail = float(known @ known), (1 - confidence) / 2
    low, high = stats.chi2.ppf([1 - tail, tail], len(known))
    return Estimate(total / len(known), float(total / low), float(total / high))
