"""What is known of a cell without drawing it: the limit kernel's spectrum, and the steps until a signal is fitted."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe import angles
from ntkpipe.networks import Network
from ntkpipe.theory import circle, infinite_width

KNOWN = 1e-10
"""Share of the largest eigenvalue below which one counts as 0: beyond its quadrature's error."""
LAST = 256
"""Frequencies up to which noise that enters a fit is summed; beyond, lambda_q t is small."""


class Limit(NamedTuple):
    """lambda_q of the limit kernel k, mu_q of k^2, and k(0)."""

    eigenvalues: Float[np.ndarray, " q"]
    squared: Float[np.ndarray, " q"]
    kappa: float


class Schedule(NamedTuple):
    """eta in flow time, steps until the signal is fitted on infinitely many points; 0 where it is not trained on."""

    eta: float
    steps: int


@lru_cache(maxsize=64)
def spectrum(network: Network) -> Limit:
    """Frequencies 0 to ``LAST``; eigenvalues that are not told from 0 are 0."""
    modes = np.arange(LAST + 1)
    values = circle.spectrum(lambda t: kernel(network, t), modes).eigenvalues
    values = np.where(values > KNOWN * values.max(), values, 0.0)
    squared = circle.spectrum(lambda t: kernel(network, t) ** 2, modes).eigenvalues
    return Limit(values, squared, float(kernel(network, np.zeros(1))[0]))


def kernel(network: Network, t: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """k at angles t in [0, pi]."""
    return circle.profile(network, t).ntk[0]


def between(network: Network, one: Float[np.ndarray, " k"], other: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k n"]:
    """The limit kernel between points at these angles."""
    return infinite_width.kernels(network, angles.on_circle(one), angles.on_circle(other)).ntk


def schedule(limit: Limit, signal: int, train: int, *, eta: float, fitted: float, most_steps: int) -> Schedule:
    """(1 - eta N lambda_signal)^steps <= fitted for the first time, eta in units of 2/(N max lambda_q)."""
    size = 2 * eta / (train * float(limit.eigenvalues.max()))
    value = float(limit.eigenvalues[signal]) if signal < len(limit.eigenvalues) else 0.0
    if not value:
        return Schedule(size, 0)
    steps = math.ceil(math.log(fitted) / math.log1p(-size * train * value))
    return Schedule(size, steps if steps <= most_steps else 0)


def learned(limit: Limit, plan: Schedule, train: int) -> Float[np.ndarray, " q"]:
    """1 - (1 - eta N lambda_q)^steps: what infinitely many points would have learned of each frequency."""
    return 1 - (1 - plan.eta * train * limit.eigenvalues) ** plan.steps
