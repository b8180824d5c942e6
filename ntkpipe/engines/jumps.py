r"""Gate flips, predicted: the first-order effect of ReLU kinks on E[K] along a gradient step.

K jumps where a pre-activation z_i crosses 0, so even as eta -> 0 (docs/theory.md, section 4)

.. math::
    \frac{dE[K]}{d\eta} = -E[f \dot K] + \sum_i E[\rho_i J_i (v_{i,-}^+ - v_{i,+}^-)],

rho_i the density of z_i at 0, J_i = K(on) - K(off), v_i = -(f - y) <grad f, grad z_i> on either side.
Conditioned on z_i = 0 the forward pass does not see the gate, and with zeta^j = dz_i/dz^j one has
delta^j(on) = delta^j(off) + s zeta^j, s = (1 - a) (W^{l+1,T} delta^{l+1})_i (a the slope below 0). So with
C = sum_j (g_j |h^{j-1}|^2 + t_j) delta^j(off).zeta^j and D the same with |zeta^j|^2, J = 2 s C + s^2 D,
<grad f, grad z_i> = C off and C + s D on. One unit of one random layer a draw estimates the sum without
bias, by the exchangeability of units. Weights are revealed lazily: O(n) a layer.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkpipe.activations import numpy_activation
from ntkpipe.engines.lazy import LazyGaussian
from ntkpipe.networks import Network
from ntkpipe.streams import Stream


def applies(network: Network) -> bool:
    """Whether the network has kinks and its z_i = 0 can be conditioned on."""
    return network.activation in ("relu", "leaky_relu") and network.bias_init != "normal" and network.depth > 0


def sample(
    network: Network, x: Float[np.ndarray, "1 n0"], labels: Float[np.ndarray, " draw"], stream: Stream, quantum: int
) -> Float[np.ndarray, " draw"]:
    """Unbiased draws of the jump sum, one a label; their mean is dE[K]/d eta plus E[f Kdot].

    Each draw looks at one unit of one layer, the layer drawn uniformly.
    """
    layers = stream.generator(quantum, 0).integers(1, network.depth + 1, size=len(labels))
    out = np.empty(len(labels))
    for layer in np.unique(layers):
        rows = np.flatnonzero(layers == layer)
        rng = stream.generator(quantum, int(layer))
        out[rows] = network.depth * _one_layer(network, x, labels[rows], int(layer), rng)
    return out


def _one_layer(network: Network, x, labels, layer: int, rng: np.random.Generator) -> Float[np.ndarray, " draw"]:
    draws = len(labels)
    batch = max(1, 2**22 // (sum(network.fan_in) + 1))
    parts = [
        _batch(network, x, labels[first : first + batch], layer, rng, min(batch, draws - first))
        for first in range(0, draws, batch)
    ]
    return np.concatenate(parts)


def _batch(network: Network, x, labels, layer: int, rng, draws: int) -> Float[np.ndarray, " draw"]:
    """n_l rho J (v_-^+ - v_+^-) of unit 0 of one hidden layer, given z = 0 there."""
    act = numpy_activation(network.activation, network.negative_slope)
    v, gain, shift = np.sqrt(network.weight_variance), network.weight_gain, network.bias_gain

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((draws, *shape))

    h = np.broadcast_to(x.T, (draws, network.input_dim, 1))
    weights, zs, inner = [], [], []
    for index, width in enumerate((*network.widths, 1)):
        w = LazyGaussian(width, h.shape[1], draws, normal)
        z = v[index] * w.right(h)
        if index == layer - 1:  # z_0 = 0: the component of row 0 along h is 0, the rest of the row stays free
            w.g[:, 0, :] = 0.0
            z[:, 0, :] = 0.0
        inner.append(gain[index] * np.sum(h**2, axis=(1, 2)) + shift[index])
        weights.append(w)
        zs.append(z)
        h = act.phi(z)
    output = zs[-1][:, 0, 0]
    norm = np.sqrt((inner[layer - 1] - shift[layer - 1]) / gain[layer - 1])  # |h^{l-1}|
    with np.errstate(divide="ignore"):
        density = np.where(norm > 0, 1.0 / (np.sqrt(2 * np.pi) * v[layer - 1] * norm), 0.0)

    delta = np.ones((draws, 1, 1))
    for index in range(network.depth, layer - 1, -1):
        back = v[index] * weights[index].left(delta)
        delta = act.dphi(zs[index - 1]) * back
    slope = network.negative_slope if network.activation == "leaky_relu" else 0.0
    s = (1.0 - slope) * back[:, 0, 0]
    delta[:, 0, :] = slope * back[:, 0, :]
    zeta = np.zeros_like(delta)
    zeta[:, 0, :] = 1.0
    pair = np.concatenate([delta, zeta], axis=2)
    c, d = np.zeros(draws), np.zeros(draws)
    for index in range(layer - 1, -1, -1):
        c += inner[index] * np.sum(pair[:, :, 0] * pair[:, :, 1], axis=1)
        d += inner[index] * np.sum(pair[:, :, 1] ** 2, axis=1)
        if index:
            pair = act.dphi(zs[index - 1]) * (v[index] * weights[index].left(pair))
    residual = output - labels
    jump = 2.0 * s * c + s**2 * d
    off, on = -residual * c, -residual * (c + s * d)
    flux = np.maximum(off, 0.0) - np.maximum(-on, 0.0)
    return network.widths[layer - 1] * density * jump * flux
