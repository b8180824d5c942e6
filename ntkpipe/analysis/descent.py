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

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.analysis.drift import eigenpairs


class Walk(NamedTuple):
    """What a walk over the steps finds, at the snapshots.

    orders: r_0 .. r_p; forcing: eta s sum_k |DeltaK_k r_0^k|/|r(0)|, the size of what order 1 adds (perturbation has
    the flow's).
    """

    orders: Float[np.ndarray, "order *batch snapshot n"]
    forcing: Float[np.ndarray, "*batch snapshot"]


def walk(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, "*batch"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    residual: Float[np.ndarray, "*batch n"],
    highest: int = 2,
) -> Walk:
    """Orders 0 .. ``highest`` and the forcing, from r(0) = ``residual``, in the eigenbasis of K_0; ``rate`` = eta s.

    Order 0 is exact; the others are where K_k is linear in k between snapshots. Above the edge of stability,
    eta s lambda_max(K_0) > 2, they grow without bound, and are not finite in the end.

    Raises
    ------
    ValueError: ``highest`` is negative.
    """
    if highest < 0:
        raise ValueError(f"highest must be >= 0; it was {highest}")
    values, basis = eigenpairs(ntk[..., 0, :, :])
    start, rate = np.einsum("...ji,...j->...i", basis, residual), np.asarray(rate)[..., None]
    delta = np.swapaxes(basis, -2, -1)[..., None, :, :] @ (ntk - ntk[..., :1, :, :]) @ basis[..., None, :, :]
    modes, total = np.repeat(start[None], highest + 1, axis=0), np.zeros(start.shape[:-1])
    out, forcing = np.empty((highest + 1, *ntk.shape[:-1])), np.zeros(ntk.shape[:-2])
    out[..., 0, :] = modes
    with np.errstate(over="ignore", invalid="ignore"):
        factor = 1 - rate * values
        for s in range(len(step) - 1):
            for k in range(step[s], step[s + 1]):
                part = (k - step[s]) / (step[s + 1] - step[s])
                between = (1 - part) * delta[..., s, :, :] + part * delta[..., s + 1, :, :]
                force = rate * np.einsum("...ij,p...j->p...i", between, modes[: max(highest, 1)])
                total = total + np.linalg.norm(force[0], axis=-1)
                modes = factor * modes
                modes[1:] -= force[:highest]
            out[..., s + 1, :], forcing[..., s + 1] = modes, total
        orders = np.einsum("...ij,p...sj->p...si", basis, out)
    return Walk(orders, forcing / np.linalg.norm(residual, axis=-1)[..., None])


def bound(
    step: Int[np.ndarray, " snapshot"],
    rate: Float[np.ndarray, "*batch"],
    values: Float[np.ndarray, "*batch snapshot n"],
    change: Float[np.ndarray, "*batch snapshot"],
    residual: Float[np.ndarray, "*batch n"],
    remainder: Float[np.ndarray, "*batch snapshot"] | None = None,
) -> Float[np.ndarray, "*batch snapshot"]:
    r"""Groenwall's bound on |r^k - (I - eta s K_0)^k r(0)| for gradient descent itself; ``rate`` = eta s.

    With kappa_k = |I - eta s K_k|_op, q_0 = |r(0)| and b_0 = 0,

    .. math::
        b_{k+1} = \kappa_0 b_k + \eta s |\Delta K_k|_{op}\, q_k + |\rho^k|, \quad q_{k+1} = \kappa_k q_k + |\rho^k| .

    ``values``: eigenvalues of K_k, descending; ``change``: |DeltaK_k|_op; ``remainder``: |rho| of the steps at the
    snapshots (None: 0). Between snapshots the larger of the neighbours': kappa and the norm are convex in K, so it is
    rigorous where K_k stays in the convex hull of its neighbouring snapshots and the remainder below the larger of
    theirs.
    """
    rate = np.asarray(rate)
    contraction = np.abs(1 - rate[..., None, None] * values[..., [0, -1]]).max(axis=-1)
    beyond = np.zeros(change.shape) if remainder is None else remainder
    kappa, norm, rest = (np.maximum(a[..., :-1], a[..., 1:]) for a in (contraction, change, beyond))
    total, size = np.zeros(change.shape), np.linalg.norm(residual, axis=-1)
    last = np.where(np.isnan(change[..., 0]), np.nan, 0.0)
    total[..., 0] = last
    with np.errstate(over="ignore", invalid="ignore"):
        for s in range(len(step) - 1):
            for _ in range(step[s], step[s + 1]):
                last = contraction[..., 0] * last + rate * norm[..., s] * size + rest[..., s]
                size = kappa[..., s] * size + rest[..., s]
            total[..., s + 1] = last
    return total
