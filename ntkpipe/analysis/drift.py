r"""How far the kernel moves along a run, how fast, and when it stops.

Distance from K_0 says how far the lazy picture is off, but not whether the kernel still moves: one that rotates,
:math:`K_t = U_t K_0 U_t^T`, may keep its distance from K_0 for ever. Whether it is frozen is a matter of velocity.
Rates and rotations stand at the snapshot where their interval begins; that of the last snapshot is NaN.
What needs the spectrum takes the :class:`Eigen` of the path, so that each K_t is decomposed once.

Arrays in, arrays out: ``*batch`` are dims such as seeds. NaN in (a diverged run) gives NaN out.
Source: docs/theory.md section 5.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

EPS = float(np.finfo(np.float64).eps)
ACCURACY = 1e-3
"""Largest relative error by rounding, as N eps times the condition number of a solve, of a number still given."""
DEAD = 1e-12
"""Share of tr K_0 at and below which a kernel is that of a dead network."""


class Eigen(NamedTuple):
    """Symmetric eigendecompositions, eigenvalues descending; vectors in columns."""

    values: Float[np.ndarray, "*batch n"]
    vectors: Float[np.ndarray, "*batch n n"]


def eigenpairs(matrices: Float[np.ndarray, "*batch n n"]) -> Eigen:
    """Eigenvalues, descending, and eigenvectors of symmetric matrices; NaN where a matrix is not finite."""
    finite = np.isfinite(matrices).all(axis=(-2, -1))
    values, vectors = np.linalg.eigh(np.where(finite[..., None, None], matrices, 0.0))
    values = np.where(finite[..., None], values[..., ::-1], np.nan)
    return Eigen(values, np.where(finite[..., None, None], vectors[..., ::-1], np.nan))


def eigenvalues(ntk: Float[np.ndarray, "*batch n n"]) -> Float[np.ndarray, "*batch n"]:
    """Eigenvalues of symmetric matrices, descending; NaN where a matrix is not finite."""
    finite = np.isfinite(ntk).all(axis=(-2, -1))
    values = np.linalg.eigvalsh(np.where(finite[..., None, None], ntk, 0.0))
    return np.where(finite[..., None], values[..., ::-1], np.nan)


def operator_norm(matrices: Float[np.ndarray, "*batch n n"]) -> Float[np.ndarray, "*batch"]:
    """Largest absolute eigenvalue of symmetric matrices."""
    return np.asarray(np.abs(eigenvalues(matrices)[..., [0, -1]]).max(axis=-1))


def frobenius(matrices: Float[np.ndarray, "*batch row column"]) -> Float[np.ndarray, "*batch"]:
    """|A|_F."""
    return np.asarray(np.sqrt(np.einsum("...ij,...ij->...", matrices, matrices)))


def drift(
    ntk: Float[np.ndarray, "*batch snapshot n n"], norm: Literal["frobenius", "trace"] = "frobenius"
) -> Float[np.ndarray, "*batch snapshot"]:
    """|K_t - K_0|_F/|K_0|_F; ``trace``: (tr K_t - tr K_0)/tr K_0, with its sign. NaN where K_0 = 0 (a dead network)."""
    if norm == "trace":
        trace = np.trace(ntk, axis1=-2, axis2=-1)
        return _ratio(trace - trace[..., :1], trace[..., :1])
    return _ratio(frobenius(ntk - ntk[..., :1, :, :]), frobenius(ntk[..., :1, :, :]))


def change(ntk: Float[np.ndarray, "*batch snapshot n n"]) -> Float[np.ndarray, "*batch snapshot"]:
    """|K_t - K_0|_op."""
    return operator_norm(ntk - ntk[..., :1, :, :])


def operator_drift(
    size: Float[np.ndarray, "*batch snapshot"], values: Float[np.ndarray, "*batch snapshot n"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """|K_t - K_0|_op/|K_0|_op from :func:`change` and the eigenvalues of K_t; NaN where K_0 = 0."""
    return _ratio(size, np.abs(values[..., :1, [0, -1]]).max(axis=-1))


def dead(ntk: Float[np.ndarray, "*batch snapshot n n"]) -> Bool[np.ndarray, "*batch"]:
    """tr K_t <= 1e-12 tr K_0 at the last snapshot: all gates closed, and nothing moves again. False if it diverged."""
    trace = np.trace(ntk, axis1=-2, axis2=-1)
    return np.asarray(trace[..., -1] <= DEAD * trace[..., 0])


def cosine(ntk: Float[np.ndarray, "*batch snapshot row column"]) -> Float[np.ndarray, "*batch snapshot"]:
    """<K_t, K_0>/(|K_t|_F |K_0|_F): 1 where the kernel only grew or shrank."""
    inner = np.einsum("...sij,...ij->...s", ntk, ntk[..., 0, :, :])
    size = frobenius(ntk)
    return _ratio(inner, size * size[..., :1])


def target_alignment(
    ntk: Float[np.ndarray, "*batch snapshot n n"], y: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """Kernel-target alignment y^T K_t y/(|K_t|_F |y|^2), at most 1: for K_t = c y y^T."""
    return _ratio(np.einsum("i,...ij,j->...", y, ntk, y), frobenius(ntk) * (y @ y))


def eigengap(values: Float[np.ndarray, "*batch n"], rank: int) -> Float[np.ndarray, "*batch"]:
    """(lambda_r - lambda_{r+1})/lambda_1: what a top-r eigenspace is known by; 1 for r = n."""
    if rank == values.shape[-1]:
        return np.where(np.isnan(values[..., 0]), np.nan, 1.0)
    return _ratio(values[..., rank - 1] - values[..., rank], values[..., 0])


def leading_rank(values: Float[np.ndarray, "*batch n"], most: int) -> int:
    """The r up to ``most`` (and n - 1) with the largest mean log(lambda_r/lambda_{r+1}) over the batch; 1 if none.

    Where the leading eigenspace ends by the spectrum itself: a rank that cuts a pair of nearly equal eigenvalues (sine
    and cosine on the circle) would see it turn when nothing does.
    """
    known = values[np.isfinite(values).all(axis=-1) & (values[..., 0] > 0)]
    last = min(most, values.shape[-1] - 1)
    if not len(known) or last < 1:
        return 1
    floor = known[..., :1] * known.shape[-1] * EPS
    logs = np.log(np.maximum(known[..., : last + 1], floor))
    return 1 + int(np.argmax((logs[..., :-1] - logs[..., 1:]).mean(axis=tuple(range(logs.ndim - 1)))))


def principal_angles(first: Eigen, second: Eigen, rank: int, eps: float = EPS) -> Float[np.ndarray, "*batch rank"]:
    """Principal angles, ascending, in radians, between the top-r eigenspaces of two kernels (dims broadcast).

    With bases U and V: cosines are the singular values of U^T V, sines those of (I - U U^T) V, each angle from both
    (either alone loses half the digits at one end). They are known to N eps over the smaller relative
    :func:`eigengap`; NaN where that exceeds ``ACCURACY`` (a rank that cuts a pair of equal eigenvalues).

    Raises
    ------
    ValueError: ``rank`` is not in 1 .. N.
    """
    n = first.values.shape[-1]
    if not 1 <= rank <= n:
        raise ValueError(f"rank must be in 1 .. {n}, the number of points; it was {rank}")
    floor = n * eps / ACCURACY
    defined = (eigengap(first.values, rank) > floor) & (eigengap(second.values, rank) > floor)
    u, v = (np.where(np.isfinite(part.vectors), part.vectors, 0.0)[..., :rank] for part in (first, second))
    overlap = np.swapaxes(u, -2, -1) @ v
    sines = np.linalg.svd(v - u @ overlap, compute_uv=False)[..., ::-1]
    angles = np.arctan2(sines, np.linalg.svd(overlap, compute_uv=False))
    return np.where(defined[..., None], angles, np.nan)


def rotation(eigen: Eigen, rank: int) -> Float[np.ndarray, "*batch snapshot"]:
    """Largest of the :func:`principal_angles` between the top-r eigenspaces of a snapshot and of the next one.

    Raises
    ------
    ValueError: ``rank`` is not in 1 .. N.
    """
    values, vectors = eigen
    now, then = Eigen(values[..., :-1, :], vectors[..., :-1, :, :]), Eigen(values[..., 1:, :], vectors[..., 1:, :, :])
    return _at_start(principal_angles(now, then, rank)[..., -1])


def velocity(
    time: Float[np.ndarray, "*batch snapshot"], ntk: Float[np.ndarray, "*batch snapshot row column"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """|K_{t+h} - K_t|_F/(h |K_t|_F) from a snapshot to the next, per unit of time."""
    step = frobenius(np.diff(ntk, axis=-3))
    return _at_start(_ratio(step, np.diff(time, axis=-1) * frobenius(ntk)[..., :-1]))


def efold(time: Float[np.ndarray, "*batch snapshot"]) -> Float[np.ndarray, "*batch snapshot"]:
    r"""Time scale h/log((t+h)/t) of an interval, the logarithmic mean of its ends; h for the first, which begins at 0.

    Velocity times this is the change per e-fold of time: of K = log t it is the same on every grid.
    """
    h, start = np.diff(time, axis=-1), time[..., :-1]
    begun = start > 0
    return _at_start(np.where(begun, h / np.log1p(np.where(begun, h / np.where(begun, start, 1.0), 1.0)), h))


def kernel_rate(
    time: Float[np.ndarray, "*batch snapshot"], ntk: Float[np.ndarray, "*batch snapshot row column"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """Relative change of the kernel per e-fold of time, :func:`velocity` times :func:`efold`; no unit.

    Snapshots are log-spaced, and so is what happens in a run: mode q converges at about 1/lambda_q. Velocity alone
    would call any slow process frozen, and its threshold would depend on the unit of time.
    """
    return velocity(time, ntk) * efold(time)


def rotation_rate(
    time: Float[np.ndarray, "*batch snapshot"], angle: Float[np.ndarray, "*batch snapshot"]
) -> Float[np.ndarray, "*batch snapshot"]:
    """:func:`rotation` per e-fold of time, angle/h times :func:`efold`; rad. As :func:`kernel_rate`, of directions."""
    return _at_start(angle[..., :-1] / np.diff(time, axis=-1)) * efold(time)


def loss_rate(
    time: Float[np.ndarray, "*batch snapshot"],
    loss: Float[np.ndarray, "*batch snapshot"],
    relative_to: Literal["initial", "current"] = "initial",
) -> Float[np.ndarray, "*batch snapshot"]:
    """|L_{t+h} - L_t| per e-fold of time, over L_0: a loss that falls exponentially to 0 comes to its plateau there.

    ``current``: over L_t, by which it never does (a plateau of a plot with a logarithmic loss axis).
    """
    scale = loss[..., :1] if relative_to == "initial" else loss[..., :-1]
    change = _ratio(np.abs(np.diff(loss, axis=-1)), scale * np.diff(time, axis=-1))
    return _at_start(change) * efold(time)


def settling_time(
    time: Float[np.ndarray, "*batch snapshot"], rate: Float[np.ndarray, "*batch snapshot"], tolerance: float
) -> Float[np.ndarray, "*batch"]:
    """First snapshot time from which on the rates of all intervals are below the tolerance.

    As fine as the snapshots, and as good as the run is long: what moves again after its end is not seen. inf where the
    last interval is not below (not settled by then); NaN where a rate is (a diverged run, a dead network).
    """
    still = rate[..., :-1] < tolerance
    settled = np.flip(np.logical_and.accumulate(np.flip(still, axis=-1), axis=-1), axis=-1)
    if not still.shape[-1]:
        return np.full(time.shape[:-1], np.nan)
    first = np.take_along_axis(time, settled.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    first = np.where(settled[..., -1], first, np.inf)
    return np.where(np.isnan(rate[..., :-1]).any(axis=-1), np.nan, first)


def moved(rate: Float[np.ndarray, "*batch snapshot"], tolerance: float) -> Bool[np.ndarray, "*batch"]:
    """Did any rate ever reach the tolerance? What never moved is settled from time 0 on and came to rest at no time.

    Rates that are not known (NaN) count as below it.
    """
    return np.asarray((rate[..., :-1] >= tolerance).any(axis=-1))


def _ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    """above/below, NaN where below is 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.divide(above, np.where(below == 0, np.nan, below)))


def _at_start(intervals: np.ndarray) -> np.ndarray:
    """Values of intervals, at the snapshots where they begin."""
    return np.concatenate([intervals, np.full((*intervals.shape[:-1], 1), np.nan)], axis=-1)
