r"""Activations phi with phi' and phi'', once for NumPy and once for JAX.

======================  =========================  ==============================
name                    phi(z)                     phi'(z) (0 at the ReLU kink)
======================  =========================  ==============================
relu                    max(z, 0)                  1{z > 0}
leaky_relu              max(z, a z)                1{z > 0} + a 1{z <= 0}
tanh                    tanh z                     1 - tanh(z)^2
erf                     erf z                      2 exp(-z^2)/sqrt(pi)
gelu                    z Phi(z)                   Phi(z) + z exp(-z^2/2)/sqrt(2 pi)
linear                  z                          1
======================  =========================  ==============================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

KINKED = ("relu", "leaky_relu")
"""Those whose phi' jumps, at z = 0: a gate flips there."""


class Activation(NamedTuple):
    """An elementwise function and its first two derivatives (almost everywhere)."""

    phi: Callable[[Any], Any]
    dphi: Callable[[Any], Any]
    ddphi: Callable[[Any], Any]


def _build(name: str, a: float, xp: Any, erf: Callable[[Any], Any]) -> Activation:
    def normal_cdf(z):
        return 0.5 * (1.0 + erf(z / math.sqrt(2.0)))

    root_pi, root_2pi = math.sqrt(math.pi), math.sqrt(2 * math.pi)
    table = {
        "relu": (lambda z: xp.where(z > 0, z, 0), lambda z: (z > 0).astype(z.dtype), xp.zeros_like),
        "leaky_relu": (
            lambda z: xp.where(z > 0, z, a * z),
            lambda z: xp.where(z > 0, 1.0, a).astype(z.dtype),
            xp.zeros_like,
        ),
        "tanh": (xp.tanh, lambda z: 1.0 - xp.tanh(z) ** 2, lambda z: -2.0 * xp.tanh(z) * (1.0 - xp.tanh(z) ** 2)),
        "erf": (
            erf,
            lambda z: (2.0 / root_pi) * xp.exp(-(z**2)),
            lambda z: (-4.0 / root_pi) * z * xp.exp(-(z**2)),
        ),
        "gelu": (
            lambda z: z * normal_cdf(z),
            lambda z: normal_cdf(z) + z * xp.exp(-(z**2) / 2) / root_2pi,
            lambda z: (2.0 - z**2) * xp.exp(-(z**2) / 2) / root_2pi,
        ),
        "linear": (lambda z: z, xp.ones_like, xp.zeros_like),
    }
    return Activation(*table[name])


def numpy_activation(name: str, negative_slope: float = 0.01) -> Activation:
    """phi and phi' on NumPy arrays."""
    import numpy as np
    from scipy.special import erf

    return _build(name, negative_slope, np, erf)


def jax_activation(name: str, negative_slope: float = 0.01) -> Activation:
    """phi and phi' on JAX arrays."""
    import jax.numpy as jnp
    from jax.scipy.special import erf

    return _build(name, negative_slope, jnp, erf)
