r"""The almost-everywhere derivative of K along a gradient step: exact moments and limit (docs/theory.md, section 4).

One gradient step of size eta on (x, y) with loss (f - y)^2/2 moves K(x, x) by DeltaK. Where no gate
flips, dK/d eta = -(f - y) Kdot with Kdot = <grad f, grad K>. Under f -> -f, Kdot changes sign too, so

.. math::
    E[dK/d\eta] = -E[f \dot K], \qquad E[(dK/d\eta)^2] = E[f^2 \dot K^2] + E[y^2]\, E[\dot K^2],

both finite sums by the recursion of :mod:`ntkpipe.theory.step_recursion`: ReLU, any widths, with or without biases
that start at 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.networks import Network
from ntkpipe.theory import moments, step_recursion

refuse = moments.refuse
"""Why the exact moments are not available for a network; None where they are."""


class Derivative(NamedTuple):
    """E[dK/d eta] and E[(dK/d eta)^2], gates held."""

    mean: float
    second: float

    @property
    def deviation(self) -> float:
        """Standard deviation of dK/d eta."""
        return float(np.sqrt(max(self.second - self.mean**2, 0.0)))


def _monomial(phi: int, v: int, z: int) -> step_recursion.Monomial:
    return (phi, 0, 0, 0, 0, v, z)


def derivative(network: Network, norm_squared: float, label_square: float = 0.0) -> Derivative:
    """Exact moments of dK(x, x)/d eta at finite width; O(depth).

    Parameters
    ----------
    norm_squared: |x|^2. label_square: E[y^2].

    Raises
    ------
    ValueError: for a network whose law is not exactly solvable.
    """
    if (reason := refuse(network)) is not None:
        raise ValueError(f"the exact derivative needs {reason}")
    x = float(np.sqrt(norm_squared))
    scale = np.array([4 * x**3, 4 * x])  # Kdot = scale . (V, Z)
    first = _means(network, (_monomial(1, 1, 0), _monomial(1, 0, 1)))
    squares = ((2, 0), (1, 1), (0, 2))
    weights = np.array([scale[0] ** 2, 2 * scale[0] * scale[1], scale[1] ** 2])
    with_f = weights @ _means(network, tuple(_monomial(2, *pair) for pair in squares))
    alone = weights @ _means(network, tuple(_monomial(0, *pair) for pair in squares))
    return Derivative(float(-x * scale @ first), float(norm_squared * with_f + label_square * alone))


def _means(network: Network, wanted: tuple[step_recursion.Monomial, ...]) -> Float[np.ndarray, " wanted"]:
    mantissa, log = step_recursion.log_moments(network, wanted)
    with np.errstate(over="ignore"):
        return mantissa * np.exp(log)


def mean_f_kdot(network: Network, norm_squared: float) -> float:
    """E[f Kdot] at finite width: minus the mean of :func:`derivative`."""
    return -derivative(network, norm_squared).mean


def mean_f_kdot_limit(
    beta: float | Float[np.ndarray, "..."], width: float, input_dim: float, norm_squared: float
) -> Float[np.ndarray, "..."]:
    r"""n -> infinity at fixed beta, equal widths, ``ntk`` parametrization, He scale:

    (n |x|^2/n_0)^2 (4/3) e^{5 beta} [beta^2/2 - beta/6 + (1 - e^{-6 beta})/36].
    """
    beta = np.asarray(beta, dtype=float)
    z = 6.0 * beta
    series = z**3 / 6 - z**4 / 24 + z**5 / 120 - z**6 / 720 + z**7 / 5040  # z^2/2 - z + 1 - e^-z
    bracket = np.where(np.abs(z) < 0.05, series, z**2 / 2 - z - np.expm1(-z)) / 36
    return np.asarray((width * norm_squared / input_dim) ** 2 * (4 / 3) * np.exp(5 * beta) * bracket)


def hanin_nica_ratio_limit(beta: float | Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """E[f Kdot]/E[K] over (d beta/n_0) exp(5 beta) |x|^2 in the limit: 4/3 at beta -> 0, 2/(3 beta) beyond."""
    beta = np.asarray(beta, dtype=float)
    return np.asarray(mean_f_kdot_limit(beta, 1.0, 1.0, 1.0) / (beta**3 * np.exp(5 * beta)))
