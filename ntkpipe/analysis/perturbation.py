r"""Residuals predicted around the frozen kernel: orders 0, 1, 2 of the flow, and Groenwall's bound.

.. math::
    \dot r = -K_t r,\quad K_t = K_0 + \Delta K_t,\quad
    r_p(t) = e^{-K_0 t} r(0) - \int_0^t e^{-K_0 (t-s)} \Delta K_s\, r_{p-1}(s)\, ds .

DeltaK is known at the snapshots only. Quadrature: DeltaK linear in time between snapshots; DeltaK_s r_{p-1}(s) linear
on ``substeps`` equal parts of that; the exponential factor exact, in the eigenbasis of K_0 (weights phi_1 - phi_2 and
phi_2 of an exponential integrator), however large lambda h is. The error is of second order in the distance of
snapshots. NaN in (a diverged run) gives NaN from that snapshot on, except in order 0, which K_0 decides.
Source: docs/theory.md section 5.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkpipe.analysis.drift import eigenpairs

SUBSTEPS = 8


def phi(z: Float[np.ndarray, "*shape"]) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """phi_1(z) = (e^z - 1)/z and phi_2(z) = (e^z - 1 - z)/z^2; a series where |z| < 1/2, which would cancel."""
    small = np.abs(z) < 0.5
    series, large = np.where(small, z, 0.0), np.where(small, 1.0, z)
    second = np.zeros_like(series)
    for k in range(16, 1, -1):  # sum_k z^(k-2)/k!, innermost first
        second = (1.0 + second * series) / k
    with np.errstate(over="ignore", invalid="ignore"):
        first_large = np.expm1(large) / large
        second_large = (first_large - 1.0) / large
    return np.where(small, 1.0 + series * second, first_large), np.where(small, second, second_large)


def orders(
    time: Float[np.ndarray, "*batch snapshot"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    residual: Float[np.ndarray, "*batch n"],
    highest: int = 2,
    substeps: int = SUBSTEPS,
) -> Float[np.ndarray, "order *batch snapshot n"]:
    """r_0(t) .. r_p(t) of the flow at the snapshots, p = ``highest``, from r(0) = ``residual`` = f_0 - y.

    Order 0 is exact. ``substeps`` resolves the decay of r_{p-1} between snapshots, not the path of DeltaK there.

    Raises
    ------
    ValueError: ``highest`` is negative, or ``substeps`` is not positive.
    """
    if highest < 0 or substeps < 1:
        raise ValueError(f"highest must be >= 0 and substeps >= 1; they were {highest} and {substeps}")
    decay, basis = eigenpairs(ntk[..., 0, :, :])
    start = np.einsum("...ji,...j->...i", basis, residual)
    delta = np.swapaxes(basis, -2, -1)[..., None, :, :] @ (ntk - ntk[..., :1, :, :]) @ basis[..., None, :, :]
    n_snapshots = time.shape[-1]
    out = np.empty((highest + 1, *residual.shape[:-1], n_snapshots, residual.shape[-1]))
    modes = np.repeat(start[None], highest + 1, axis=0)  # a_p, in the eigenbasis
    out[..., 0, :] = modes
    forcing = np.zeros_like(modes[1:])  # DeltaK a_{p-1}, p = 1 ..
    for s in range(n_snapshots - 1):
        h = (time[..., s + 1] - time[..., s])[..., None] / substeps
        factor = np.exp(-decay * h)
        first, second = phi(-decay * h)
        for j in range(1, substeps + 1):
            now = time[..., s, None] + j * h
            part = j / substeps
            between = (1 - part) * delta[..., s, :, :] + part * delta[..., s + 1, :, :] if highest else None
            modes[0] = np.exp(-decay * now) * start
            for p in range(1, highest + 1):
                arrived = np.einsum("...ij,...j->...i", between, modes[p - 1])
                modes[p] = factor * modes[p] - h * ((first - second) * forcing[p - 1] + second * arrived)
                forcing[p - 1] = arrived
        out[..., s + 1, :] = modes
    return np.einsum("...ij,p...sj->p...si", basis, out)


def relative_errors(
    residual: Float[np.ndarray, "*batch snapshot n"], predicted: Float[np.ndarray, "order *batch snapshot n"]
) -> Float[np.ndarray, "order *batch snapshot"]:
    """|r(t) - r_p(t)|/|r(0)| by order, batch and snapshot."""
    return np.linalg.norm(residual - predicted, axis=-1) / np.linalg.norm(residual[..., :1, :], axis=-1)


def bound(
    time: Float[np.ndarray, "*batch snapshot"],
    values: Float[np.ndarray, "*batch snapshot n"],
    change: Float[np.ndarray, "*batch snapshot"],
    residual: Float[np.ndarray, "*batch n"],
) -> Float[np.ndarray, "*batch snapshot"]:
    r"""Groenwall's bound on the error of order 0, for the flow, from r(0) = ``residual``.

    .. math::
        |r(t) - r_0(t)| \le |r(0)| \int_0^t e^{-\lambda_{min}(K_0)(t-s)}\, |\Delta K_s|_{op}\,
        e^{-\int_0^s \lambda_{min}(K_u) du}\, ds .

    ``values``: eigenvalues of K_t, descending; ``change``: |DeltaK_t|_op. Between snapshots both are constants, the
    larger norm and the smaller eigenvalue, the exponentials exact: an upper bound, with the error of quadrature (first
    order) within, wherever K_t stays on the segment between its two neighbouring snapshots, for the norm is convex and
    lambda_min concave; also wherever both quantities are monotone from snapshot to snapshot.
    It holds for the flow: for gradient descent see :func:`ntkpipe.analysis.descent.bound`.
    """
    least = values[..., -1]
    frozen, rates = least[..., :1], np.minimum(least[..., :-1], least[..., 1:])
    norms, h = np.maximum(change[..., :-1], change[..., 1:]), np.diff(time, axis=-1)
    # int_0^h e^{-frozen (h - u)} e^{-rate u} du, with no exponential that overflows
    weight = h * np.exp(-np.minimum(frozen, rates) * h) * phi(-np.abs(frozen - rates) * h)[0]
    decayed = np.exp(-_cumulative(rates * h))  # bound of |r(s)|/|r(0)| at the snapshots
    total = np.zeros(time.shape)
    for s in range(h.shape[-1]):
        gained = norms[..., s] * weight[..., s] * decayed[..., s]
        total[..., s + 1] = np.exp(-frozen[..., 0] * h[..., s]) * total[..., s] + gained
    total = np.where(np.isnan(change[..., :1]), np.nan, total)
    return np.linalg.norm(residual, axis=-1)[..., None] * total


def tightness(
    residual: Float[np.ndarray, "*batch snapshot n"],
    frozen: Float[np.ndarray, "*batch snapshot n"],
    limit: Float[np.ndarray, "*batch snapshot"],
) -> Float[np.ndarray, "*batch snapshot"]:
    """|r(t) - r_0(t)|/bound, at most 1 up to quadrature where the bound holds.

    NaN where the bound is 0 (at the start), and where r_0 has grown beyond float64 (descent beyond the critical step).
    """
    with np.errstate(over="ignore"):
        error = np.linalg.norm(residual - frozen, axis=-1)
    return np.where(np.isfinite(error), error, np.nan) / np.where(limit == 0, np.nan, limit)


def size(
    time: Float[np.ndarray, "*batch snapshot"], change: Float[np.ndarray, "*batch snapshot"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """int_0^t |DeltaK_s|_op ds by the trapezoidal rule, of ``change``: the size of the perturbation, without unit.

    The term of order p of the series is at most size^p/p! of |r(0)| (positive semi-definite K_0): below 1 it converges
    fast. It grows on after all is learned, and so does not say when order 1 matters: :func:`forcing_size` does.
    """
    return _trapezoid(time, change)


def forcing_size(
    time: Float[np.ndarray, "*batch snapshot"],
    ntk: Float[np.ndarray, "*batch snapshot n n"],
    frozen: Float[np.ndarray, "*batch snapshot n"],
) -> Float[np.ndarray, "*batch snapshot"]:
    r"""int_0^t |DeltaK_s r_0(s)| ds/|r(0)| by the trapezoidal rule: the size that says when order 1 matters.

    ``frozen``: order 0. Every mode is discounted at its own pace: what DeltaK does in directions already learned does
    not count. The correction |r_1(t) - r_0(t)|/|r(0)| is at most this (positive semi-definite K_0), and it is at most
    :func:`size`.
    """
    force = np.einsum("...ij,...j->...i", ntk - ntk[..., :1, :, :], frozen)
    return _trapezoid(time, np.linalg.norm(force, axis=-1)) / np.linalg.norm(frozen[..., :1, :], axis=-1)


def _trapezoid(time: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Integrals from the first snapshot on; NaN throughout if the first value is."""
    total = _cumulative((values[..., 1:] + values[..., :-1]) / 2 * np.diff(time, axis=-1))
    return np.where(np.isnan(values[..., :1]), np.nan, total)


def _cumulative(pieces: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((*pieces.shape[:-1], 1)), np.cumsum(pieces, axis=-1)], axis=-1)
