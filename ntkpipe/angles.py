"""The circle: points by their angles, and Fourier modes."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int


def equal(n: int) -> Float[np.ndarray, " n"]:
    """2 pi j/n: nested where one n divides another."""
    return 2 * np.pi * np.arange(n) / n


def between(n: int, others: int) -> Float[np.ndarray, " n"]:
    """2 pi j/n, shifted by pi/lcm(n, others): as far from all ``others`` equal angles as they can keep."""
    return equal(n) + np.pi / math.lcm(n, others)


def on_circle(theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Unit vectors."""
    return np.column_stack([np.cos(theta), np.sin(theta)])


def of(x: Float[np.ndarray, "n n0"]) -> Float[np.ndarray, " n"]:
    """theta in [0, 2 pi) of points on the circle, from their first two coordinates.

    Raises
    ------
    ValueError: a point has no angle, both coordinates being zero.
    """
    if not np.hypot(x[:, 0], x[:, 1]).all():
        raise ValueError("points on the circle must not be zero in the first two coordinates; one was")
    theta = np.arctan2(x[:, 1], x[:, 0]) % (2 * np.pi)
    return np.where(theta < 2 * np.pi, theta, 0.0)  # a tiny negative angle rounds up to 2 pi


def fourier_modes(theta: Float[np.ndarray, " n"], qmax: int) -> Float[np.ndarray, "n modes"]:
    """Columns 1, sqrt(2) cos(theta), sqrt(2) sin(theta), ..., sqrt(2) cos(qmax theta), sqrt(2) sin(qmax theta).

    Orthonormal under d theta/(2 pi); on n > 2 qmax equal angles (shifted or not) also F^T F / n = I, so that
    F^T f / n are the coefficients of f and sum c^2 = mean f^2. :func:`mode_frequencies` names the columns.

    Raises
    ------
    ValueError: qmax is negative.
    """
    if qmax < 0:
        raise ValueError(f"qmax must be at least 0; it was {qmax}")
    modes = np.ones((len(theta), 2 * qmax + 1))
    phase = theta[:, None] * np.arange(1, qmax + 1)
    modes[:, 1::2], modes[:, 2::2] = math.sqrt(2) * np.cos(phase), math.sqrt(2) * np.sin(phase)
    return modes


def mode_frequencies(qmax: int) -> Int[np.ndarray, " modes"]:
    """Frequency q of each column of :func:`fourier_modes`: 0, 1, 1, 2, 2, ..., qmax, qmax."""
    return (np.arange(2 * qmax + 1) + 1) // 2
