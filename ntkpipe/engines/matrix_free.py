r"""Matrix-free draws of Gram matrices: any elementwise activation, O(n k^2) a layer.

The n x n weights are never formed; only what the network looks at is drawn ("deferred
decisions", docs/theory.md section 3). With H = h^{l-1} = Q R (thin QR, n_{l-1} x k) and G, N fresh
Gaussians,

.. math::
    z^l = \sqrt{v_l}\, G R, \qquad
    W^{l\top} \Delta = \sqrt{v_l}\,[\, Q (G^\top \Delta) + (I - Q Q^\top) N L^\top ],
    \quad \Delta^\top \Delta = L L^\top .

L^T is the R factor of a QR of Delta. Householder QR keeps Q orthonormal whatever the rank, so
repeated inputs, dead units and widths below k need no jitter. Exact in law.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ntkpipe.activations import numpy_activation
from ntkpipe.engines.base import Draws
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

_BATCH_BYTES = 64 * 2**20


def _bytes_per_draw(network: Network, k: int) -> int:
    return 8 * k * 5 * (network.input_dim + sum(network.widths) + 1)


def sample(
    network: Network,
    x: Float[np.ndarray, "k n0"],
    stream: Stream,
    quantum: int,
    n: int,
    *,
    gram: bool = True,
    precision: str = "float64",
) -> Draws:
    """The first n draws of a quantum; each draw has a generator of its own."""
    batch = max(1, min(n, _BATCH_BYTES // _bytes_per_draw(network, len(x))))
    parts = []
    for first in range(0, n, batch):
        rngs = [stream.generator(quantum, draw) for draw in range(first, min(first + batch, n))]
        parts.append(_sample_batch(network, x, rngs, gram, np.dtype(precision)))
    return Draws(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _sample_batch(network: Network, x, rngs: list[np.random.Generator], gram: bool, dtype: np.dtype) -> Draws:
    act = numpy_activation(network.activation, network.negative_slope)
    v, gain, bias_gain = network.weight_variance, network.weight_gain, network.bias_gain
    draws, k, depth = len(rngs), len(x), network.depth

    def normal(*shape: int) -> np.ndarray:
        out = np.empty((draws, *shape), dtype)
        for one, rng in zip(out, rngs, strict=True):
            rng.standard_normal(out=one, dtype=dtype)
        return out

    # Forward: per layer keep Q, G, the gates phi'(z), and the Gram matrix of what came in.
    h = np.broadcast_to(x.T.astype(dtype), (draws, network.input_dim, k))
    kept, inner = [], []
    for layer, width in enumerate((*network.widths, 1)):
        q, r = np.linalg.qr(h)
        fresh = normal(width, q.shape[-1])
        z = math.sqrt(v[layer]) * fresh @ r
        if network.bias_scale[layer]:
            z = z + network.bias_scale[layer] * normal(width, 1)
        inner.append(_products(h, gram))
        kept.append((q, fresh, act.dphi(z) if layer < depth else None))
        h = act.phi(z) if layer < depth else z
    output = h[:, 0, :]

    # Backward: delta^{d+1} = 1, one output.
    delta = np.ones((draws, 1, k), dtype)
    ntk = (gain[depth] * inner[depth] + bias_gain[depth]) * _products(delta, gram)
    for layer in range(depth, 0, -1):
        q, fresh, _ = kept[layer]
        gates = kept[layer - 1][2]
        r_delta = np.linalg.qr(delta, mode="r")
        noise = normal(q.shape[1], r_delta.shape[1]) @ r_delta
        # project the new part off what the forward pass has looked at
        back = q @ (np.swapaxes(fresh, 1, 2) @ delta - np.swapaxes(q, 1, 2) @ noise) + noise
        delta = math.sqrt(v[layer]) * back * gates
        ntk += (gain[layer - 1] * inner[layer - 1] + bias_gain[layer - 1]) * _products(delta, gram)
    if k == 1:
        ntk, output = ntk.reshape(draws), output.reshape(draws)
    return Draws(ntk.astype(np.float64), output.astype(np.float64), np.zeros(draws))


def _products(columns: Float[np.ndarray, "draw n k"], gram: bool) -> np.ndarray:
    """Inner products of the columns: all pairs, or the diagonal only."""
    if gram:
        return np.swapaxes(columns, 1, 2) @ columns
    return np.einsum("bnk,bnk->bk", columns, columns)
