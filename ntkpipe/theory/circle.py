r"""Kernels on the circle: closed forms of one hidden ReLU layer, eigenvalues of zonal kernels (theory.md, section 7).

A kernel that depends on the angle t in [0, pi] between two points alone has the eigenfunctions cos(q theta),
sin(q theta) under the uniform law dtheta/(2 pi), with the eigenvalues

.. math:: \lambda_q = \frac{1}{\pi} \int_0^\pi \Theta(t) \cos(q t)\, dt,

each q >= 1 twice. Infinite width, one hidden ReLU layer, |x| = 1, n_0 = 2, He weights, no biases, every layer
trained:

.. math::
    \Theta(t) = \frac{\sin t + 2(\pi - t)\cos t}{2\pi}, \qquad
    \lambda_q = \frac{q^2 + 3}{\pi^2 (q^2 - 1)^2} \ (q\ \text{even}), \quad \lambda_1 = \tfrac14, \quad
    \lambda_q = 0 \ (q\ \text{odd} \ge 3).

Hidden biases that start at zero and are trained add sigma_b^2 (pi - t)/(2 pi), hence sigma_b^2/(pi^2 q^2) for odd q and
sigma_b^2/4 for q = 0: no mode is left out any more. A trained output bias adds sigma_b^2 to Theta and to lambda_0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ntkpipe.networks import Network
from ntkpipe.theory import infinite_width

_NODES = 16  # of Gauss and Legendre on every panel
_MAX_PANELS = 2**14
_CHUNK = 2**22  # entries of a block of the cosine matrix


class Spectrum(NamedTuple):
    """eigenvalues of the modes asked for; error: how far doubling the nodes moved the one that moved most."""

    eigenvalues: Float[np.ndarray, " q"]
    error: float


def relu_kernel(
    t: Float[np.ndarray, "..."], *, hidden_bias: float = 0.0, output_bias: float = 0.0
) -> Float[np.ndarray, "..."]:
    """Theta at angles t in [0, pi], one hidden layer; the biases by their sigma_b^2, 0 where there are none."""
    plain = (np.sin(t) + 2 * (np.pi - t) * np.cos(t)) / (2 * np.pi)
    return np.asarray(plain + hidden_bias * (np.pi - t) / (2 * np.pi) + output_bias)


def relu_eigenvalues(
    modes: Int[np.ndarray, " q"], *, hidden_bias: float = 0.0, output_bias: float = 0.0
) -> Float[np.ndarray, " q"]:
    """lambda_q >= 0 of :func:`relu_kernel` for modes q = 0, 1, 2, ..."""
    q = np.asarray(modes, float)
    odd = q % 2 == 1
    even_part = (q**2 + 3) / (np.pi * np.where(odd, 1.0, q**2 - 1)) ** 2
    plain = np.where(odd, np.where(q == 1, 0.25, 0.0), even_part)
    bias = np.where(odd, 1 / (np.pi * np.maximum(q, 1)) ** 2, np.where(q == 0, 0.25, 0.0))
    return plain + hidden_bias * bias + output_bias * (q == 0)


def profile(network: Network, t: Float[np.ndarray, " t"], norm: float = 1.0) -> infinite_width.Kernels:
    """NNGP and NTK of infinite width between two points at angle t, both of the given norm; each of shape (1, t)."""
    at_zero, at_t = np.zeros((1, network.input_dim)), np.zeros((len(t), network.input_dim))
    at_zero[0, 0] = norm
    at_t[:, 0], at_t[:, 1] = norm * np.cos(t), norm * np.sin(t)
    return infinite_width.kernels(network, at_zero, at_t)


def spectrum(
    kernel: Callable[[Float[np.ndarray, " t"]], Float[np.ndarray, " t"]],
    modes: Int[np.ndarray, " q"],
    tolerance: float = 1e-12,
) -> Spectrum:
    """Eigenvalues lambda_q of a zonal kernel, given as a function of the angle t in [0, pi].

    Gauss-Legendre panels: exponentially accurate although the kernels have kinks, which sit at the ends t = 0 and
    t = pi. Panels double until no eigenvalue moves by more than tolerance times the mean of |Theta|, the most that an
    eigenvalue can be: the error is absolute, and small eigenvalues have fewer digits.

    Raises
    ------
    ValueError: the tolerance is not reached (a kernel that is not smooth inside (0, pi), or a tolerance below 1e-15).
    """
    panels = max(4, int(np.max(modes)) // 4)  # at most two waves a panel
    before, _ = _quadrature(kernel, modes, panels)
    while (panels := 2 * panels) <= _MAX_PANELS:
        values, mean = _quadrature(kernel, modes, panels)
        error = float(np.max(np.abs(values - before)))
        if error <= tolerance * mean:
            return Spectrum(values, error)
        before = values
    raise ValueError(
        f"tolerance must be reachable with {_MAX_PANELS * _NODES} nodes, was {tolerance:.1e}: "
        "give a larger one, or a kernel that is smooth between 0 and pi"
    )


@lru_cache(maxsize=1)
def _gauss() -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2


def _quadrature(kernel, modes: Int[np.ndarray, " q"], panels: int) -> tuple[Float[np.ndarray, " q"], float]:
    """The eigenvalues and (1/pi) int |Theta| dt."""
    nodes, weights = _gauss()
    t = (np.pi / panels * (np.arange(panels)[:, None] + nodes)).ravel()
    weighted = kernel(t) * np.tile(weights / panels, panels)  # (1/pi) dt
    step = max(1, _CHUNK // len(t))
    blocks = [np.cos(np.multiply.outer(modes[i : i + step], t)) @ weighted for i in range(0, len(modes), step)]
    return np.concatenate(blocks), float(np.abs(weighted).sum())
