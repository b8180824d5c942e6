r"""Residuals of gradient descent predicted around the frozen kernel, step by step: no error of discretization.

.. math::
    r^{k+1} = (I - \eta s K_k)\, r^k + \rho^k, \quad
    r_0^k = (I - \eta s K_0)^k r^0, \quad
    r_p^{k+1} = (I - \eta s K_0)\, r_p^k - \eta s\, \Delta K_k\, r_{p-1}^k ,

the remainder rho being what the step does beyond first order (thesis (2.3)). Order 0 is thesis (2.11). The flow's form
is in :mod:`ntkpipe.analysis.perturbation`; what it and this predict differs by the error of discretization.
DeltaK is linear in the step between snapshots. Every step is walked: the cost grows with their number.
Source: docs/theory.md section 5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.analysis.drift import eigenvalues, operator_norm
from ntkpipe.analysis.perturbation import Bound, descent_order_0


def orders(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, "*batch"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    residual: Float[np.ndarray, "*batch n"],
    highest: int = 2,
) -> Float[np.ndarray, "order *batch snapshot n"]:
    """Orders 0 .. ``highest`` at the snapshots, from r(0) = ``residual``; ``rate`` = eta s.

    Exact where K_k is linear in k between snapshots and the remainder is 0.

    Raises
    ------
    ValueError: ``highest`` is negative.
    """
    if highest < 0:
        raise ValueError(f"highest must be >= 0; it was {highest}")
    frozen = descent_order_0(step, rate, ntk[..., 0, :, :], residual)
    out = np.repeat(frozen[None], highest + 1, axis=0)
    if not highest:
        return out
    rate = np.asarray(rate)[..., None]
    kernel, current = ntk[..., 0, :, :], np.repeat(residual[None], highest + 1, axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        for s in range(len(step) - 1):
            for delta in _changes(step, ntk, s):
                moved = np.einsum("...ij,p...j->p...i", kernel, current)
                moved[1:] += np.einsum("...ij,p...j->p...i", delta, current[:-1])
                current = current - rate * moved
            out[1:, ..., s + 1, :] = current[1:]
    return out


def _changes(step: np.ndarray, ntk: np.ndarray, s: int) -> Iterator[np.ndarray]:
    """DeltaK of each step from snapshot s to the next, linear in the step."""
    left, right = (ntk[..., i, :, :] - ntk[..., 0, :, :] for i in (s, s + 1))
    count = int(step[s + 1] - step[s])
    for k in range(count):
        yield left + (right - left) * (k / count)


def forcing_size(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, "*batch"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    residual: Float[np.ndarray, "*batch n"],
) -> Float[np.ndarray, "*batch snapshot"]:
    """eta s sum_k |DeltaK_k r_0^k|/|r(0)|: the size of what order 1 adds (perturbation has the flow's)."""
    rate, kernel = np.asarray(rate), ntk[..., 0, :, :]
    out = np.zeros(ntk.shape[:-2])
    current, total = residual, np.zeros(rate.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        for s in range(len(step) - 1):
            for delta in _changes(step, ntk, s):
                total = total + rate * np.linalg.norm(np.einsum("...ij,...j->...i", delta, current), axis=-1)
                current = current - rate[..., None] * np.einsum("...ij,...j->...i", kernel, current)
            out[..., s + 1] = total
    return out / np.linalg.norm(residual, axis=-1)[..., None]


def bound(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, "*batch"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    residual: Float[np.ndarray, "*batch n"],
    remainder: Float[np.ndarray, "*batch snapshot"] | None = None,
) -> Bound:
    r"""Groenwall's bound on |r^k - (I - eta s K_0)^k r(0)| for gradient descent itself; ``rate`` = eta s.

    With kappa_k = |I - eta s K_k|_op, q_0 = |r(0)| and b_0 = 0,

    .. math::
        b_{k+1} = \kappa_0 b_k + \eta s |\Delta K_k|_{op}\, q_k + |\rho^k|, \quad q_{k+1} = \kappa_k q_k + |\rho^k| .

    ``remainder``: |rho| of the steps at the snapshots (None: 0). Norms between snapshots as in
    :func:`ntkpipe.analysis.perturbation.bound`: all three are convex in K or given, so ``upper`` is rigorous where
    K_k stays in the convex hull of its neighbouring snapshots and the remainder below the larger of theirs.
    """
    rate = np.asarray(rate)
    values = eigenvalues(ntk)
    contraction = np.abs(1 - rate[..., None, None] * values[..., [0, -1]]).max(axis=-1)
    change = operator_norm(ntk - ntk[..., :1, :, :])
    beyond = np.zeros(change.shape) if remainder is None else remainder

    def walk(between) -> np.ndarray:
        kappa, norm, rest = (between(a[..., :-1], a[..., 1:]) for a in (contraction, change, beyond))
        total, size = np.zeros(change.shape), np.linalg.norm(residual, axis=-1)
        last = np.where(np.isnan(change[..., 0]), np.nan, 0.0)
        total[..., 0] = last
        for s in range(len(step) - 1):
            for _ in range(int(step[s + 1] - step[s])):
                last = contraction[..., 0] * last + rate * norm[..., s] * size + rest[..., s]
                size = kappa[..., s] * size + rest[..., s]
            total[..., s + 1] = last
        return total

    with np.errstate(over="ignore", invalid="ignore"):
        return Bound(walk(lambda a, b: (a + b) / 2), walk(np.maximum))
