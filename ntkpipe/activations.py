r"""Activations phi and their derivatives, once for NumPy and once for JAX.

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


class Activation(NamedTuple):
    """An elementwise function and its derivative."""

    phi: Callable[[Any], Any]
    dphi: Callable[[Any], Any]


def _build(name: str, a: float, xp: Any, erf: Callable[[Any], Any]) -> Activation:
    def normal_cdf(z):
        return 0.5 * (1.0 + erf(z / math.sqrt(2.0)))

    table = {
        "relu": (lambda z: xp.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
        "leaky_relu": (lambda z: xp.where(z > 0, z, a * z), lambda z: xp.where(z > 0, 1.0, a).astype(z.dtype)),
        "tanh": (xp.tanh, lambda z: 1.0 - xp.tanh(z) ** 2),
        "erf": (erf, lambda z: (2.0 / math.sqrt(math.pi)) * xp.exp(-(z**2))),
        "gelu": (
            lambda z: z * normal_cdf(z),
            lambda z: normal_cdf(z) + z * xp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
        ),
        "linear": (lambda z: z, xp.ones_like),
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
