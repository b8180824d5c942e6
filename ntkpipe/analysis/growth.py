r"""Is a function in the space? What its norm does as the number of points grows; the same of one space in another.

On N points every target has a finite norm :math:`y^T K_N^{-1} y`. It never falls as points are added, and stays
bounded iff the target is in the RKHS of the kernel (docs/theory.md section 6): the exponent gamma of norm ~ N^gamma
tells what the number does not. H_t lies in H_0 iff the smallest c with K_t <= c K_0 stays bounded. Subsets of points
are nested, so that one evaluation of the kernel serves all of them.

A network has a kernel of finite rank: read its exponents well below, where K_N is still like its operator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.analysis.drift import EPS, Eigen, eigenpairs
from ntkpipe.analysis.membership import OnRange, on_range
from ntkpipe.analysis.spaces import Pencil, pencil
from ntkpipe.analysis.spectrum import PowerLaw, power_law

Subsets = Sequence[Int[np.ndarray, " _"]]


def check_nested(subsets: Subsets) -> None:
    """Raise ValueError unless each subset of points holds the one before and more."""
    for i, (small, large) in enumerate(itertools.pairwise(subsets)):
        if not (len(small) < len(large) and np.isin(small, large).all()):
            raise ValueError(f"subsets must be nested and grow; subset {i + 1} does not hold subset {i} and more")


def decompositions(ntk: Float[np.ndarray, "*batch n n"], subsets: Subsets) -> list[Eigen]:
    """Eigenpairs of the kernel on each subset of its points, made once for all that is asked of them.

    Raises
    ------
    ValueError: the subsets are not nested.
    """
    check_nested(subsets)
    return [eigenpairs(_restricted(ntk, index)) for index in subsets]


def norms(
    eigens: Sequence[Eigen],
    ntk: Float[np.ndarray, "*batch n n"],
    subsets: Subsets,
    y: Float[np.ndarray, " n"],
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> OnRange:
    """:func:`ntkpipe.analysis.membership.on_range` on each subset, (*batch, size, reg).

    ``eigens``: of :func:`decompositions`. Errors are at the points that only the last subset has, so none for itself.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    held_out = np.setdiff1d(subsets[-1], subsets[-2])
    parts = []
    for eigen, index in zip(eigens, subsets, strict=True):
        rest = np.setdiff1d(held_out, index)
        parts.append(on_range(eigen, ntk[..., rest[:, None], index], y[index], y[rest], diag_reg, eps))
    return OnRange(*(np.stack(column, axis=-2) for column in zip(*parts, strict=True)))


def inclusion(
    ntk: Float[np.ndarray, "*batch n n"],
    base: Sequence[Eigen],
    subsets: Subsets,
    diag_reg: Float[np.ndarray, " reg"],
    eps: float = EPS,
) -> Pencil:
    """:func:`ntkpipe.analysis.spaces.pencil` of (K_t, K_0 + lambda) on each subset, (*batch, size, reg).

    ``base``: of :func:`decompositions` of K_0, whose dims broadcast against those of ``ntk``. Without a ridge the
    largest never falls as points are added, nor does the smallest rise. H_t lies in H_0 iff the largest stays bounded,
    H_0 in H_t iff the smallest stays above 0.

    Raises
    ------
    ValueError: a ``diag_reg`` is negative.
    """
    found = [pencil(_restricted(ntk, i), e, diag_reg, eps) for e, i in zip(base, subsets, strict=True)]
    return Pencil(*(np.stack(column, axis=-2) for column in zip(*found, strict=True)))


def exponent(sizes: Int[np.ndarray, " size"], values: Float[np.ndarray, "*batch size"], smallest: int = 1) -> PowerLaw:
    """gamma of values ~ N^gamma by least squares of logs over N >= smallest where they are known.

    0 in the limit inside the space, positive outside. A fit over finite N also sees a bounded norm on its way up:
    compare it with :func:`local_exponents`. Its interval is over seeds, :func:`ntkpipe.analysis.spectrum.over_seeds`.
    """
    return power_law(sizes, values, (values > 0) & (sizes >= smallest))


def local_exponents(
    sizes: Int[np.ndarray, " size"], values: Float[np.ndarray, "*batch size"]
) -> Float[np.ndarray, "*batch size-1"]:
    """d log(values)/d log N between neighbouring N: all the same for a power law; NaN where a value is not known."""
    known = np.where(values > 0, values, np.nan)
    return np.asarray(np.diff(np.log(known), axis=-1) / np.diff(np.log(sizes)))


def _restricted(ntk: np.ndarray, index: np.ndarray) -> np.ndarray:
    return ntk[..., index[:, None], index]
