"""The linear model in training, step by step: data of a given spectrum, gradient descent, where it diverges.

What it should do stands in :mod:`ntkpipe.theory.linear`. Source: thesis (1.2)-(1.8); docs/theory.md section 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ntkpipe.theory import linear

BISECTIONS, LONG = 26, 400
"""Of the search for the largest step size that converges, and its steps."""
FLOOR = 1e-26
"""A gradient whose square is below this share of the first has vanished, to rounding."""


def data(rng: np.random.Generator, points: int, dim: int, condition: float) -> Float[np.ndarray, "dim points"]:
    """X with random singular vectors, X X^T having the geometric spectrum of :func:`linear.spectrum`."""
    rank = min(points, dim)
    left, right = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in (dim, points))
    return left * np.sqrt(linear.spectrum(points, dim, condition)[:rank]) @ right.T


def descend(
    x: Float[np.ndarray, "dim n"],
    y: Float[np.ndarray, " n"],
    start: Float[np.ndarray, "run dim"],
    eta: float,
    steps: Sequence[int],
) -> Float[np.ndarray, "snapshot run dim"]:
    """Gradient descent w <- w - eta X (X^T w - y) (thesis (1.5)), from several starts, seen at the steps."""
    w, done, seen = start, 0, []
    with np.errstate(over="ignore", invalid="ignore"):
        for step in steps:
            for _ in range(step - done):
                w = w - eta * (w @ x - y) @ x.T
            done = step
            seen.append(w)
    return np.array(seen)


def largest_stable(x: Float[np.ndarray, "dim n"], y: Float[np.ndarray, " n"]) -> float:
    """The largest step size at which the gradient falls, by bisection of what gradient descent does.

    It falls if half of ``LONG`` steps leave more of it than all of them. Nothing is read off the spectrum but the
    bracket, from trace and largest diagonal entry of A.
    """
    a, start = x @ x.T, np.zeros((1, len(x)))
    low, high = 1.0 / np.trace(a), 4.0 / np.max(np.diag(a))
    for _ in range(BISECTIONS):
        eta = (low + high) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            path = descend(x, y, start, eta, (0, LONG // 2, LONG))[:, 0]
            first, half, end = np.sum(((path @ x - y) @ x.T) ** 2, axis=1)
        if np.isfinite(end) and (end <= half or end <= FLOOR * first):
            low = eta
        else:
            high = eta
    return float(low)


def run(rng: np.random.Generator, config: Any, starts: Sequence[str]) -> dict[str, np.ndarray]:
    """One teacher and start, on data of each number of points: name -> array (points, start, ...)."""
    dim, steps = config.dim, config.snapshot_steps
    teacher, random = rng.standard_normal((2, dim)) / dim**0.5
    begin = np.stack([np.zeros(dim) if s == "zero" else config.scale * random for s in starts])
    rows = []
    for points in config.points:
        x = data(rng, points, dim, config.condition)
        y = teacher @ x + config.noise * rng.standard_normal(points)
        values, vectors = linear.modes(x)
        eta = config.eta * (linear.critical(x) if config.eta_unit == "critical" else 1.0)
        eta *= 1.0 if config.loss == "half_sum" or config.eta_unit == "critical" else 1.0 / points
        path = descend(x, y, begin, eta, steps)  # (snapshot, start, dim)
        ends = np.stack([linear.limit(x, y, w) for w in begin])
        closed = np.stack([linear.after(x, y, w, eta, steps) for w in begin], axis=1)
        size, kernel = np.linalg.norm(ends, axis=1), vectors[:, values == 0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            along = np.einsum("ksd,de->ske", path - ends, vectors)
            rows.append(
                {
                    "component": np.where(values > 0, along / along[:, :1], np.nan),
                    "eigenvalue": values,
                    "closed_gap": np.max(np.linalg.norm(path - closed, axis=2), axis=0) / size,
                    "limit_gap": np.linalg.norm(path[-1] - ends, axis=1) / size,
                    "limit_expected": np.linalg.norm(closed[-1] - ends, axis=1) / size,
                    "kernel_moved": np.linalg.norm((path[-1] - begin) @ kernel, axis=1) / size,
                    "threshold": largest_stable(x, y) / linear.critical(x),
                    "teacher_error": np.sum((path - teacher) ** 2, axis=2).T,
                }
            )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
