r"""A Gaussian matrix that is drawn only where one looks at it: exact in law (docs/theory.md, section 3).

w (rows x cols, iid N(0, 1)) is known on the span of orthonormal Q as w Q = G, and from the left on
the span of orthonormal P as w^T P = M. A new right direction q (orthogonal to Q) and a new left
direction p (orthogonal to P) are revealed by

.. math::
    w q = P M^T q + (I - P P^T) g, \qquad w^T p = Q G^T p + (I - Q Q^T) g',

g, g' fresh. Products cost O((rows + cols) r) for r revealed directions, never rows x cols. Everything
is batched over draws along the first axis.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Normal = Callable[..., np.ndarray]
"""normal(*shape): fresh standard Gaussians (draw, *shape)."""


_FLOOR = 1e-10
"""Relative size below which what Gram-Schmidt leaves of a vector is rounding noise."""


def _t(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, 1, 2)


class LazyGaussian:
    """A batch of independent Gaussian matrices, revealed as they are used."""

    def __init__(self, rows: int, cols: int, draws: int, normal: Normal):
        self.normal = normal
        self.q, self.g = np.zeros((draws, cols, 0)), np.zeros((draws, rows, 0))
        self.p, self.m = np.zeros((draws, rows, 0)), np.zeros((draws, cols, 0))

    def right(self, x: Float[np.ndarray, "draw cols k"]) -> Float[np.ndarray, "draw rows k"]:
        """w x."""
        coefficients, new = _extend(self.q, x)
        if new.shape[2]:
            fresh = self.normal(self.p.shape[1], new.shape[2])
            image = self.p @ (_t(self.m) @ new) + fresh - self.p @ (_t(self.p) @ fresh)
            self.q, self.g = np.concatenate([self.q, new], 2), np.concatenate([self.g, image], 2)
        return self.g @ coefficients

    def left(self, u: Float[np.ndarray, "draw rows k"]) -> Float[np.ndarray, "draw cols k"]:
        """w^T u."""
        coefficients, new = _extend(self.p, u)
        if new.shape[2]:
            fresh = self.normal(self.q.shape[1], new.shape[2])
            image = self.q @ (_t(self.g) @ new) + fresh - self.q @ (_t(self.q) @ fresh)
            self.p, self.m = np.concatenate([self.p, new], 2), np.concatenate([self.m, image], 2)
        return self.m @ coefficients


def _extend(basis: Float[np.ndarray, "draw n r"], x: Float[np.ndarray, "draw n k"]):
    """(coefficients of x in the longer basis, the new directions).

    Gram-Schmidt in two passes, then the singular directions of what is left, at most n - r of them:
    they span it whatever its rank. Where one is rounding noise a fixed direction takes its place: to
    reveal a direction that is not needed costs a Gaussian and changes no law, but all must be orthonormal.
    """
    n, r = basis.shape[1:]
    old = _t(basis) @ x
    rest = x - basis @ old
    again = _t(basis) @ rest
    old, rest = old + again, rest - basis @ again
    size = min(x.shape[2], n - r)
    if size == 0:
        return old, np.zeros((*basis.shape[:2], 0))
    if x.shape[2] == 1:  # one vector is its own singular direction, without LAPACK's cost a draw
        scale = np.linalg.norm(rest, axis=1)[:, None, :]
        new = np.divide(rest, scale, out=np.zeros_like(rest), where=scale > 0)
        singular = scale[:, :, 0]
    else:
        q, triangle = np.linalg.qr(rest)
        u, s, vt = np.linalg.svd(triangle, full_matrices=False)
        new, scale, singular = q @ u[:, :, :size], (s[:, :, None] * vt)[:, :size], s[:, :size]
    noise = singular <= _FLOOR * np.linalg.norm(x, axis=(1, 2))[:, None]
    if noise.any():
        spare = np.random.default_rng(r).standard_normal((n, size)) / np.sqrt(n)
        new = np.where(noise[:, None, :], spare, new)
    for _ in range(3):
        new = new - basis @ (_t(basis) @ new)
        if size == 1:
            turn = np.linalg.norm(new, axis=1)[:, None, :]
            new = new / turn
        else:
            new, turn = np.linalg.qr(new)
        scale = turn @ scale
    # x and -x are to reveal the same Gaussian, so that runs which differ in a label's sign share their networks
    sign = np.where(new.sum(axis=1) < 0, -1.0, 1.0)
    new, scale = new * sign[:, None, :], scale * sign[:, :, None]
    return np.concatenate([old, scale], axis=1), new
