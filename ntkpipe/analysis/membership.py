r"""A target against a kernel that may be singular on it: norm on the kernel's range, and what lies outside.

.. math::
    y^T K^+ y = \sum_{\lambda_k > \mathrm{floor}} \frac{(v_k \cdot y)^2}{\lambda_k}, \qquad
    \mathrm{outside} = \sum_{\lambda_k \le \mathrm{floor}} \frac{(v_k \cdot y)^2}{|y|^2} .

Where no function of the space has the values y, the norm is infinite, not large: K is singular on y, and a number for
y^T K^{-1} y would be that of rounding. Below the floor N eps lambda_1/``ACCURACY`` an eigenvalue is not told from 0, so
this is singular to rounding; a kernel with eigenvalues that small without being 0 looks the same.
Source: docs/theory.md section 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntkpipe.analysis.drift import ACCURACY, EPS, Eigen
from ntkpipe.analysis.frozen import ridge

ROUNDING = EPS**0.5
"""|P y|/|y| up to which a target has no part outside the range: half of the digits, as vectors near the floor mix."""


class OnRange(NamedTuple):
    """By kernel and ``diag_reg``.

    norm: y^T (K + lambda)^+ y, NaN where singular; outside: share of |y|^2 below the floor; singular: whether that is
    more than rounding; rank: eigenvalues above the floor; eval_mse: mean squared error, at points held out, of the
    interpolant (least squares where there is none). NaN, and not singular, of a kernel that is not finite.
    """

    norm: Float[np.ndarray, "*batch reg"]
    outside: Float[np.ndarray, "*batch reg"]
    singular: Bool[np.ndarray, "*batch reg"]
    rank: Int[np.ndarray, "*batch reg"]
    eval_mse: Float[np.ndarray, "*batch reg"]


def on_range(
    eigen: Eigen,
    ntk_eval_train: Float[np.ndarray, "*batch eval n"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> OnRange:
    """Norm and interpolation of y by a kernel given by its eigenpairs; NaN errors where there are no eval points.

    With all eigenvalues above the floor the norm is :func:`ntkpipe.analysis.rkhs.squared_norm`.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    moved = eigen.values[..., None, :] + ridge(eigen.values, diag_reg)[..., None]
    kept = moved > len(y) * eps / ACCURACY * moved[..., :1]
    c = np.einsum("...ji,j->...i", eigen.vectors, y)[..., None, :]
    inverse = np.divide(1.0, moved, out=np.zeros_like(moved), where=kept)
    finite = np.isfinite(eigen.values[..., :1])
    outside = np.where(finite, np.sum(np.where(kept, 0.0, c**2), axis=-1) / np.sum(y**2), np.nan)
    singular = outside > ROUNDING**2
    norm = np.where(finite & ~singular, np.sum(c**2 * inverse, axis=-1), np.nan)
    predicted = np.einsum("...en,...nk,...rk->...re", ntk_eval_train, eigen.vectors, c * inverse, optimize=True)
    error = np.mean((predicted - y_eval) ** 2, axis=-1) if len(y_eval) else np.full_like(norm, np.nan)
    return OnRange(norm, outside, singular, kept.sum(axis=-1), np.where(finite, error, np.nan))


def fourier_norm(
    row: Float[np.ndarray, "*batch n"], y: Float[np.ndarray, " n"], eps: float = EPS
) -> Float[np.ndarray, "*batch"]:
    r"""y^T K^{-1} y of a circulant kernel by its first row: sum_k |y_k|^2/\hat K_k, discrete Fourier transforms.

    On N equal angles of the circle a zonal kernel with the eigenvalues lambda_q has
    :math:`\hat K_k = N \sum_m \lambda_{|k + m N|}`: the aliased sum. NaN where K is singular on y.
    """
    values = np.fft.fft(row).real
    power = np.broadcast_to(np.abs(np.fft.fft(y)) ** 2 / len(y), values.shape)
    kept = values > len(y) * eps / ACCURACY * values.max(axis=-1, keepdims=True)
    outside = np.sum(np.where(kept, 0.0, power), axis=-1) > ROUNDING**2 * np.sum(y**2)
    total = np.sum(np.divide(power, values, out=np.zeros_like(values), where=kept), axis=-1)
    return np.asarray(np.where(outside, np.nan, total))


def partial_norms(
    power: Float[np.ndarray, " q"], eigenvalues: Float[np.ndarray, " q"], sizes: Int[np.ndarray, " size"], floor: float
) -> Float[np.ndarray, " size"]:
    """sum_{q < N/2} |y_q|^2/lambda_q, q = 0, 1, ..: what N equal angles can see of the norm.

    ``floor``: eigenvalues up to this are not known, NaN where the target has such a mode.
    """
    needed = power > 0
    known = np.where(eigenvalues > floor, eigenvalues, np.nan)
    terms = np.where(needed, power / known, 0.0)
    return np.array([terms[: (n + 1) // 2].sum() for n in sizes])
