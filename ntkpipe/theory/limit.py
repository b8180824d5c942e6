r"""The double-scaling limit: n -> infinity at fixed beta = depth/width, equal widths, ReLU, no biases.

.. math::
    S_2(\beta) = \frac{(9\beta^2 + 6\beta - 1)\,e^{5\beta} + e^{-\beta}}{27\beta^2}

(docs/theory.md, section 2). Hanin & Nica (2019, Theorem 1) state the order exp(5 beta) up to
constants; here the constants are: the prefactor runs from 1 to 1/3 and the local slope
d log S2/d beta from 11/3 to 5.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import exprel

HANIN_NICA_EXPONENT = 5.0


def s2_limit(beta: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    r"""S2(beta) in the limit; 1 at beta = 0.

    Written with E(z) = (e^z - 1)/z so that nothing cancels to 0/0:
    S2 e^{-5b} = 1/3 + [6b - (1 - e^{-6b})]/(27 b^2), the bracket from a series below b = 0.01.
    """
    beta = np.asarray(beta, dtype=float)
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(HANIN_NICA_EXPONENT * beta) * prefactor_limit(beta))


def prefactor_limit(beta: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """S2(beta)/exp(5 beta): 1 at beta = 0, 1/3 as beta -> infinity."""
    beta = np.asarray(beta, dtype=float)
    z = 6.0 * beta
    with np.errstate(divide="ignore", invalid="ignore"):
        direct = (1.0 - exprel(-z)) / z  # = [z - (1 - e^-z)]/z^2
    series = 1 / 2 - z / 6 + z**2 / 24 - z**3 / 120 + z**4 / 720 - z**5 / 5040
    return np.asarray(1 / 3 + (4 / 3) * np.where(np.abs(z) < 0.05, series, direct))


def local_slope_limit(beta: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """d log S2/d beta: 11/3 at beta = 0, 5 as beta -> infinity (prefactor differentiated in closed form)."""
    beta = np.asarray(beta, dtype=float)
    z = 6.0 * beta
    with np.errstate(divide="ignore", invalid="ignore"):
        direct = ((1.0 - np.exp(-z)) / z**2) - 2.0 * (1.0 - exprel(-z)) / z**2
    series = -1 / 6 + z / 12 - z**2 / 40 + z**3 / 180 - z**4 / 1008
    derivative = 6.0 * (4 / 3) * np.where(np.abs(z) < 0.05, series, direct)
    return np.asarray(HANIN_NICA_EXPONENT + derivative / prefactor_limit(beta))
