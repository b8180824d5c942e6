r"""The kernel layer by layer: K = sum_l K_l, what the weights and biases of each layer contribute.

.. math:: K_l = [g_l H^{l-1\top} H^{l-1} + t_l] \circ (\Delta^{l\top} \Delta^l).
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training.tensors import features


def layer_kernels(params, x: Float[Array, "k n0"], network: Network) -> Float[Array, "layer k k"]:
    """K_l on the points x for l = 1..d+1 (docs/theory.md section 1); their sum is K."""
    parts = []
    for (first, _), (h, delta) in zip(dense.runs(network), features(params, x, network), strict=True):
        inner = network.weight_gain[first] * jnp.einsum("rik,ril->rkl", h, h) + network.bias_gain[first]
        parts.append(inner * jnp.einsum("rik,ril->rkl", delta, delta))
    return jnp.concatenate(parts)
