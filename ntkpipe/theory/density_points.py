r"""Densities by name or from a file, points drawn from them, and eigenfunctions anywhere on the circle.

The quantiles theta_j = F^{-1}((j + 1/2)/N) of a density p have equal mass each: sums over them divided by N are
integrals under p, and K(X, X)/N acts like T_p of :mod:`ntkpipe.theory.density`. Source: docs/theory.md section 7.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ntkpipe import angles
from ntkpipe.theory import circle, density
from ntkpipe.theory.density import Density, Eigenfunctions

GRID = 2**14
"""Equal pieces of the circle on which a density is integrated: exactly where it is constant on each."""
PARAMETERS = {"uniform": 0, "halves": 1, "cosine": 1, "von_mises": 1}
RATIOS = (1e-6, 1e6)
"""Ratios of halves: beyond them no train point lies on one of the halves."""


class Regions(NamedTuple):
    """The longest arcs on which p is above, and below, 1/(2 pi): (from, to), NaN where there is none."""

    dense: tuple[float, float]
    sparse: tuple[float, float]


def named(text: str) -> Density:
    """The density that a text names: ``uniform``, ``halves:4``, ``cosine:0.8``, ``von_mises:2``.

    Raises
    ------
    ValueError: it names none, or its parameter is missing, no number, or out of range.
    """
    name, *parameters = text.split(":")
    if name not in PARAMETERS or len(parameters) != PARAMETERS[name]:
        raise ValueError("uniform, halves:RATIO, cosine:A, von_mises:KAPPA, or the path of a csv or npy file")
    try:
        numbers = [float(parameter) for parameter in parameters]
    except ValueError:
        raise ValueError(f"{name} with a number after the colon") from None
    if name == "halves" and numbers[0] > 0 and not RATIOS[0] <= numbers[0] <= RATIOS[1]:
        raise ValueError(f"halves with a ratio from {RATIOS[0]:g} to {RATIOS[1]:g}")
    try:
        return density.NAMED[name](*numbers)
    except ValueError as error:
        raise ValueError(f"{name} with a parameter in its range ({error})") from None


def table(path: Path) -> Float[np.ndarray, "row 2"]:
    """theta and weight of a csv or npy file: columns by name where the csv has a header, else in this order.

    Raises
    ------
    OSError, ValueError: it is missing, damaged, or has other columns.
    """
    from ntkpipe import tabular

    rows, second, names = tabular.load(path)
    if names is not None and sorted(names) != ["theta", "weight"]:
        raise ValueError(f"it must have the columns theta and weight; its header has {', '.join(names)}")
    if second is not None or rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"it must be a table with the columns theta and weight; its shape is {rows.shape}")
    return rows if names is None else rows[:, [names.index("theta"), names.index("weight")]]


def of(text: str) -> Density:
    """The density of a name or of a file; raises what :func:`named`, :func:`table` and ``from_table`` raise."""
    if text.endswith((".csv", ".npy")):
        return density.from_table(*table(Path(text)).T)
    return named(text)


def quantiles(p: Density, n: int) -> Float[np.ndarray, " n"]:
    """theta_j with mass (j + 1/2)/n of p on [0, theta_j]; for p = 1/(2 pi) equal angles at half steps.

    The distribution function is linear on each of ``GRID`` pieces: exact where p is constant on them, else to
    O(GRID^-2).
    """
    edges = angles.equal(GRID)
    mass = p(edges + np.pi / GRID)
    total = np.concatenate([[0.0], np.cumsum(mass)]) / mass.sum()
    return np.interp((np.arange(n) + 0.5) / n, total, np.append(edges, 2 * np.pi))


def dense(p: Density, theta: Float[np.ndarray, " t"]) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """Where p is above, and where below, 1/(2 pi), to rounding."""
    relative = 2 * np.pi * p(theta) - 1
    return relative > 1e-12, relative < -1e-12


def regions(p: Density) -> Regions:
    """The longest dense and the longest sparse arc, to 2 pi/``GRID``; an arc may pass 2 pi."""
    theta = angles.equal(GRID) + np.pi / GRID
    return Regions(*(_longest(inside) for inside in dense(p, theta)))


def _longest(inside: Bool[np.ndarray, " t"]) -> tuple[float, float]:
    """Ends of the longest run of True around the circle."""
    if not inside.any():
        return np.nan, np.nan
    if inside.all():
        return 0.0, 2 * np.pi
    start = int(np.argmin(inside))  # a piece outside: no run passes it
    turned = np.roll(inside, -start).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([turned, [0]])))
    best = int(np.argmax(edges[1::2] - edges[::2]))
    ends = (edges[[2 * best, 2 * best + 1]] + 1 + start) * (2 * np.pi / GRID)
    turn = 2 * np.pi * np.floor(ends[0] / (2 * np.pi))
    return float(ends[0] - turn), float(ends[1] - turn)


def extend(
    found: Eigenfunctions,
    kernel: Callable[[Float[np.ndarray, " t"]], Float[np.ndarray, " t"]],
    theta: Float[np.ndarray, " t"],
) -> Float[np.ndarray, "t r"]:
    r"""Eigenfunctions at other angles, by the same truncated kernel as on their grid.

    u(theta) = (1/lambda) sum over |q| < m/2 of lambda_q a_q e^{i q theta}, a_q = sum_j w_j u(theta_j) e^{-i q theta_j}.
    """
    q = np.arange(len(found.theta) // 2)
    modes = circle.spectrum(kernel, q).eigenvalues * np.where(q == 0, 1.0, 2.0)
    a = np.exp(-1j * q[:, None] * found.theta) @ (found.weights[:, None] * found.functions)
    return (np.exp(1j * theta[:, None] * q) @ (modes[:, None] * a)).real / found.eigenvalues
