r"""Random perturbations of trained variables: :math:`\theta_T + r |\theta_T| \delta`, delta uniform on the unit sphere.

With p trained variables E[delta delta^T] = I/p, so to first order in r a linear read-out <u, f> moves by a random
amount of mean 0 and variance :math:`r^2 |\theta_T|^2 u^T K_T u/p`. Source: docs/theory.md section 8.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent
from ntkpipe.training.descent import Params


def trained(network: Network) -> int:
    """p, the number of trained variables: those of a frozen readout are none."""
    outs, found = (*network.widths, 1), 0
    for out, fan, g, t in zip(outs, network.fan_in, network.weight_gain, network.bias_gain, strict=True):
        found += out * fan * (g > 0) + out * (t > 0)
    return found


def norm(params: Params, network: Network) -> Float[Array, ""]:
    """|theta| of the trained variables."""
    return descent.distance(params, jax.tree.map(jnp.zeros_like, params), network)


def direction(generator: np.random.Generator, network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """delta, uniform on the unit sphere of the trained variables, as a change of the stored weights and biases."""
    outs, drawn, square = (*network.widths, 1), [], 0.0
    for (first, stop), (g, t) in zip(dense.runs(network), descent.gains(network), strict=True):
        w = generator.standard_normal((stop - first, outs[first], network.fan_in[first]))
        b = generator.standard_normal((stop - first, outs[first], 1))
        square += np.sum(w**2) * (g > 0) + np.sum(b**2) * (t > 0)
        drawn.append((g**0.5 * w, t**0.5 * b))
    return [(w / square**0.5, b / square**0.5) for w, b in drawn]
