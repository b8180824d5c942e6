r"""Two kernels on the same N points: does the space of one contain that of the other, with which constants?

H_t lies in H_0 iff :math:`K_t \le c K_0` for some c (Aronszajn 1950), the smallest c being the largest generalized
eigenvalue of the pencil (K_t, K_0). On finitely many points with K_0 invertible there always is one: what decides is
whether c grows with N (:func:`ntkpipe.analysis.growth.inclusion`). The ridge is lambda = ``diag_reg`` tr K_0/N, of the
kernel that is to contain the other: of K_0 it stays where it is while K_t moves. Both kernels scaled alike give the
same.

Numbers that rounding decides are NaN. Source: docs/theory.md section 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis.drift import ACCURACY, EPS, Eigen, eigenvalues, frobenius
from ntkpipe.analysis.frozen import ridge, shifted


class Pencil(NamedTuple):
    """Extreme generalized eigenvalues: smallest (K_0 + lambda) <= K_t <= largest (K_0 + lambda), both sharp."""

    smallest: Float[np.ndarray, "*batch reg"]
    largest: Float[np.ndarray, "*batch reg"]


def pencil(
    ntk: Float[np.ndarray, "*batch n n"], base: Eigen, diag_reg: Float[np.ndarray, " reg"], eps: float = EPS
) -> Pencil:
    """Extreme eigenvalues of (K_t, K_0 + lambda): those of S V^T K_t V S, K_0 = V L V^T, S = (L + lambda)^{-1/2}.

    ``base``: the eigenpairs of K_0, whose dims broadcast against those of ``ntk`` (one K_0 for all snapshots). The
    other way round, K_0 and the eigenpairs of K_t, the largest is the smallest c with K_0 <= c (K_t + lambda). Without
    a ridge both are 1 for K_t = K_0; with one the smallest is lambda_N/(lambda_N + lambda) there. It is known as far as
    it exceeds N eps |K_t|_F/(lambda_N + lambda), the largest where the solve with K_0 is.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    n = ntk.shape[-1]
    found = shifted(base.values, ridge(base.values, diag_reg), eps)
    within = np.swapaxes(base.vectors, -2, -1) @ ntk @ base.vectors
    size = frobenius(ntk)
    smallest, largest = [], []
    for r in range(len(diag_reg)):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            whiten = 1 / np.sqrt(found.values[..., r, :])
            spectrum = eigenvalues(whiten[..., :, None] * within * whiten[..., None, :])
            floor = n * eps * size / found.values[..., r, -1]
        resolved = found.resolved[..., r]
        largest.append(np.where(resolved, spectrum[..., 0], np.nan))
        smallest.append(np.where(resolved & (floor <= ACCURACY * spectrum[..., -1]), spectrum[..., -1], np.nan))
    return Pencil(np.stack(smallest, axis=-1), np.stack(largest, axis=-1))


def log_det_ratio(
    values: Float[np.ndarray, "*batch n"],
    base: Float[np.ndarray, "*#batch n"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> Float[np.ndarray, "*batch reg"]:
    """(1/N) log [det(K_t + lambda)/det(K_0 + lambda)] from the eigenvalues: the mean log growth of a direction.

    log c for K_t = c K_0 without a ridge; modes far below it do not count. NaN where either sum is not known to
    ``ACCURACY``, or the ratio does not exceed the rounding error of both, unless it is 0.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    ridges = ridge(base, diag_reg)
    after = shifted(values, np.broadcast_to(ridges, (*values.shape[:-1], len(diag_reg))), eps)
    before = shifted(base, ridges, eps)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.mean(np.log(after.values) - np.log(before.values), axis=-1)
        rounding = sum(np.mean(eps * part.values[..., :1] / part.values, axis=-1) for part in (after, before))
    known = after.resolved & before.resolved & ((change == 0) | (np.abs(change) > rounding * values.shape[-1]))
    return np.where(known, change, np.nan)
