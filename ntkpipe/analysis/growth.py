r"""Is a function in the space? What its norm does as the number of points grows.

On N points every target has a finite norm :math:`y^T K_N^{-1} y`. It never falls as points are added, and stays
bounded iff the target is in the RKHS of the kernel (docs/theory.md section 6): the exponent gamma of norm ~ N^gamma
tells what the number does not. The same of the inclusion constant of two kernels. Subsets of points are nested, so
that one evaluation of the kernel serves all of them.

A network with p parameters has a kernel of rank at most p: beyond N = p a norm is the ridge's. It is not given.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ntkpipe.analysis import rkhs
from ntkpipe.analysis.drift import EPS, Eigen, eigenpairs
from ntkpipe.analysis.frozen import regress
from ntkpipe.analysis.spaces import Pencil, pencil
from ntkpipe.analysis.spectrum import PowerLaw, power_law, ridge, shifted

Subsets = Sequence[Int[np.ndarray, " _"]]


class Growth(NamedTuple):
    """By number of points and ``diag_reg``.

    norm: y^T (K_N + lambda)^{-1} y; eval_mse: mean squared error of the interpolant at the eval points, held out; NaN
    where rounding decides. resolved: whether N does not exceed the rank and the solve is above the precision floor.
    """

    norm: Float[np.ndarray, "*batch size reg"]
    eval_mse: Float[np.ndarray, "*batch size reg"]
    resolved: Bool[np.ndarray, "*batch size reg"]


def check_nested(subsets: Subsets) -> None:
    """Raise ValueError unless each subset of points holds the one before and more."""
    for i, (small, large) in enumerate(itertools.pairwise(subsets)):
        if not (len(small) < len(large) and np.isin(small, large).all()):
            raise ValueError(f"subsets must be nested and grow; subset {i + 1} does not hold subset {i} and more")


def decompositions(ntk: Float[np.ndarray, "*batch n n"], subsets: Subsets) -> list[Eigen]:
    """Eigenpairs of the kernel on each subset of its points.

    Raises
    ------
    ValueError: the subsets are not nested.
    """
    check_nested(subsets)
    return [eigenpairs(_restricted(ntk, index)) for index in subsets]


def growth(
    eigens: Sequence[Eigen],
    subsets: Subsets,
    ntk_eval_train: Float[np.ndarray, "*batch eval n"],
    y: Float[np.ndarray, " n"],
    y_eval: Float[np.ndarray, " eval"],
    diag_reg: Float[np.ndarray, " reg"],
    parameters: int | None = None,
    eps: float = EPS,
) -> Growth:
    """The target's norm, and the error of its interpolation, on each subset of the points.

    ``eigens``: of :func:`decompositions`, made once for all targets; ``parameters``: p of a finite network, None for a
    limit kernel; batches need one dim at least (the seed).

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    parts = []
    for eigen, index in zip(eigens, subsets, strict=True):
        within = parameters is None or len(index) <= parameters
        cross = ntk_eval_train[..., index]
        zero = np.zeros(eigen.values.shape), np.zeros(cross.shape[:-1])
        fit = regress(eigen, cross, *zero, y[index], y_eval, diag_reg, eps)
        floor = rkhs.prediction_error(eigen, y[index], diag_reg, eps)
        norm = rkhs.squared_norm(eigen, y[index], diag_reg, eps)
        resolved = shifted(eigen.values, ridge(eigen.values, diag_reg), eps).resolved & within
        with np.errstate(invalid="ignore"):
            parts.append(
                (
                    np.where(resolved, norm, np.nan),
                    np.where(resolved & (fit.eval_mse > floor**2), fit.eval_mse, np.nan),
                    resolved,
                )
            )
    return Growth(*(np.stack(column, axis=-2) for column in zip(*parts, strict=True)))


def inclusion(
    ntk: Float[np.ndarray, "*batch n n"],
    base: Float[np.ndarray, "*batch n n"],
    subsets: Subsets,
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> Pencil:
    """:func:`ntkpipe.analysis.spaces.pencil` of (K_t, K_0 + lambda) on each subset, (*batch, size, reg).

    Without a ridge the largest never falls as points are added, nor does the smallest rise. H_t lies in H_0 iff the
    largest stays bounded, H_0 in H_t iff the smallest stays above 0.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative, or the subsets are not nested.
    """
    eigens = decompositions(base, subsets)
    found = [pencil(_restricted(ntk, i), e, diag_reg, eps) for e, i in zip(eigens, subsets, strict=True)]
    return Pencil(*(np.stack(column, axis=-2) for column in zip(*found, strict=True)))


def exponent(
    sizes: Int[np.ndarray, " size"],
    values: Float[np.ndarray, "*batch size reg"],
    smallest: int = 1,
    largest: int | None = None,
) -> PowerLaw:
    """gamma of values ~ N^gamma, (*batch, reg), by least squares of logs over smallest <= N <= largest where known.

    0 in the limit inside the space, positive outside. A fit over finite N also sees a bounded norm on its way up:
    compare ranges. Its interval is over seeds, :func:`ntkpipe.analysis.spectrum.over_seeds`.
    """
    by_size = np.moveaxis(values, -2, -1)
    inside = (by_size > 0) & (sizes >= smallest) & (sizes <= (sizes.max() if largest is None else largest))
    return power_law(sizes, by_size, inside)


def _restricted(ntk: np.ndarray, index: np.ndarray) -> np.ndarray:
    return ntk[..., index[:, None], index]
