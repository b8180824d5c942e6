r"""Functions on the circle whose place in an RKHS is known, at the angles of :mod:`ntkpipe.angles`.

With eigenvalues :math:`\lambda_q` of the kernel under dtheta/(2 pi), :math:`|y|_H^2 = \sum_q |y_q|^2/\lambda_q`:
a trigonometric polynomial is inside wherever its modes have eigenvalues; the step, whose |y_q| falls as 1/q, is
outside wherever they fall at least as 1/q. One hidden layer without biases has none for odd q >= 3.
Source: docs/theory.md section 6.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

CENTRE, HALF = 1.3, 1.0
"""Of the arc on which the step is 1, in rad: its ends are on no equal angles."""


def values(target: str, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The target at angles theta: ``smooth``, ``odd`` or ``step``."""
    if target == "step":
        return np.where(np.abs((theta - CENTRE + np.pi) % (2 * np.pi) - np.pi) < HALF, 1.0, -1.0)
    return np.sum([np.cos(q * theta) for q in MODES[target]], axis=0)


MODES = {"smooth": (1, 2), "odd": (3,)}
"""q of the targets that are sums of cos(q theta)."""


def power(target: str, modes: Int[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    r"""|y_q|^2 + |y_{-q}|^2 (once for q = 0) of the modes q >= 0, y = sum_q y_q e^{i q theta}.

    step: y_q = (2/pi) sin(q HALF)/q up to a phase, y_0 = 2 HALF/pi - 1.
    """
    if target != "step":
        return np.isin(modes, MODES[target]) / 2.0
    q = np.maximum(modes, 1)
    return np.where(modes == 0, (2 * HALF / np.pi - 1) ** 2, 2 * (2 * np.sin(q * HALF) / (np.pi * q)) ** 2)
