r"""The linear model f_w(x) = x.w under gradient descent, solved; loss (1/2) |X^T w - y|^2.

With A = X X^T = Q diag(lambda) Q^T and w_inf = A^+ X y + (I - A A^+) w_0, the projection of w_0 on the minimizers,

.. math:: w_k - w_\infty = Q (1 - \eta \Lambda)^k Q^T (w_0 - w_\infty), \qquad \eta < 2/\lambda_{\max}.

Source: thesis (1.2)-(1.8); docs/theory.md section 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

RANK = 1e-12
"""Eigenvalues below this share of the largest count as 0."""

Steps = Sequence[int] | Int[np.ndarray, " snapshot"]
"""Numbers of steps, rising."""


class Modes(NamedTuple):
    """Eigenvalues of A, falling, those of the kernel exactly 0, and its eigenvectors as columns."""

    eigenvalues: Float[np.ndarray, " dim"]
    vectors: Float[np.ndarray, "dim dim"]


def modes(x: Float[np.ndarray, "dim n"]) -> Modes:
    """Eigenvalues and eigenvectors of A = X X^T."""
    values, vectors = np.linalg.eigh(x @ x.T)
    values = np.where(values > RANK * values[-1], values, 0.0)
    return Modes(values[::-1].copy(), vectors[:, ::-1].copy())


def spectrum(points: int, dim: int, condition: float) -> Float[np.ndarray, " dim"]:
    """Geometric eigenvalues from 1 to 1/condition on the range, of dimension min(points, dim), and zeros."""
    rank = min(points, dim)
    values = condition ** -(np.arange(rank) / max(1, rank - 1))
    return np.concatenate([values, np.zeros(dim - rank)])


def minimum_norm(x: Float[np.ndarray, "dim n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " dim"]:
    """A^+ X y, the minimizer of least norm (thesis (1.4))."""
    return np.linalg.pinv(x.T, rcond=RANK**0.5) @ y


def limit(
    x: Float[np.ndarray, "dim n"], y: Float[np.ndarray, " n"], start: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, " dim"]:
    """Where gradient descent from ``start`` ends: the minimizer nearest to it."""
    values, vectors = modes(x)
    kernel = vectors[:, values == 0]
    return minimum_norm(x, y) + kernel @ (kernel.T @ start)


def after(
    x: Float[np.ndarray, "dim n"],
    y: Float[np.ndarray, " n"],
    start: Float[np.ndarray, " dim"],
    eta: float,
    steps: Steps,
) -> Float[np.ndarray, "snapshot dim"]:
    """w_k at each of the steps, by its closed form."""
    values, vectors = modes(x)
    end = limit(x, y, start)
    factors = (1.0 - eta * values) ** np.asarray(steps)[:, None]
    return end + (factors * (vectors.T @ (start - end))) @ vectors.T


def critical(x: Float[np.ndarray, "dim n"]) -> float:
    """2/lambda_max(A), from which on gradient descent diverges."""
    return float(2.0 / modes(x).eigenvalues[0])


def expected_error(
    eigenvalues: Float[np.ndarray, " dim"],
    eta: float,
    steps: Steps,
    noise: float,
    teacher: float,
    start: float,
) -> Float[np.ndarray, " snapshot"]:
    r"""E |w_k - w*|^2 over label noise, teacher w* and w_0, entries of variances noise^2, teacher^2 and start^2:

    sum_i (1 - eta lambda_i)^{2k} (teacher^2 + start^2) + noise^2 (1 - (1 - eta lambda_i)^k)^2/lambda_i [lambda_i > 0].
    """
    factors = (1.0 - eta * eigenvalues) ** np.asarray(steps)[:, None]
    inverse = np.divide(1.0, eigenvalues, out=np.zeros(len(eigenvalues)), where=eigenvalues > 0)
    return factors**2 @ np.full(len(eigenvalues), teacher**2 + start**2) + noise**2 * (1 - factors) ** 2 @ inverse
