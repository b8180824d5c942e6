r"""Gate flips, predicted: the first-order effect of ReLU kinks on E[K] along a gradient step.

K jumps where a pre-activation z_i crosses 0, so even as eta -> 0 (docs/theory.md, section 4)

.. math::
    \frac{dE[K]}{d\eta} = -E[f \dot K] + \sum_i E[\rho_i J_i (v_{i,-}^+ - v_{i,+}^-)],

rho_i the density of z_i at 0, J_i = K(on) - K(off), v_i = -(f - y) <grad f, grad z_i> on either side.
Conditioned on z_i = 0 the forward pass does not see the gate, and with zeta^j = dz_i/dz^j one has
delta^j(off) = delta^j + a s zeta^j, delta^j(on) = delta^j + s zeta^j: s = (W^{l+1,T} delta^{l+1})_i what arrives at the
unit, a the slope below 0, delta^j without the unit. So with C = sum_j (g_j |h^{j-1}|^2 + t_j) delta^j.zeta^j and D the
same with |zeta^j|^2, <grad f, grad z_i> = C + a s D off and C + s D on, J = 2 (1 - a) s C + (1 - a^2) s^2 D. All else
given, s ~ N(0, v_{l+1} |delta^{l+1}|^2): its expectation is taken exactly. Given z_i = 0 unit i is a unit without
effect beside n_l - 1 ordinary ones, so ``UNITS`` such units are tried on each network, in one random layer a draw:
unbiased, by the exchangeability of units. Weights are revealed lazily: O(n) a layer.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from ntkpipe.activations import KINKED, numpy_activation
from ntkpipe.engines.lazy import LazyGaussian
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

UNITS = 4
"""Units at z = 0 that are tried on one network."""


def applies(network: Network) -> bool:
    """Whether the network has kinks, its z_i = 0 can be conditioned on, and the sum has a finite mean.

    With trained biases it has none in the end: where a single unit of a layer is active (probability n 2^-n), z = 0 of
    a unit above takes all of zeta away but the biases' part, against a density of order 1/|h|. From width 16 on no
    run will meet that.
    """
    kinked = network.activation in KINKED and network.bias_init != "normal" and network.depth > 0
    return kinked and (network.bias_init == "none" or min(network.widths[:-1], default=16) >= 16)


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
    """n_l rho J (v_-^+ - v_+^-) of a unit of one hidden layer, given z = 0 there; mean over ``UNITS`` units."""
    act = numpy_activation(network.activation, network.negative_slope)
    v, gain, shift = np.sqrt(network.weight_variance), network.weight_gain, network.bias_gain
    widths = [*network.widths, 1]
    widths[layer - 1] += UNITS - 1  # the units that are tried come first, n_l - 1 ordinary ones after them

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((draws, *shape))

    h = np.broadcast_to(x.T, (draws, network.input_dim, 1))
    weights, zs, inner = [], [], []
    for index, width in enumerate(widths):
        w = LazyGaussian(width, h.shape[1], draws, normal)
        z = v[index] * w.right(h)
        if index == layer - 1:  # z = 0: the component of such a row along h is 0, the rest of the row stays free
            w.g[:, :UNITS, :] = 0.0
            z[:, :UNITS, :] = 0.0
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
        spread = v[index] * np.linalg.norm(delta, axis=(1, 2))  # at the last turn: of what arrives at a unit tried
        delta = act.dphi(zs[index - 1]) * (v[index] * weights[index].left(delta))
    slope = network.negative_slope if network.activation == "leaky_relu" else 0.0
    delta[:, :UNITS, :] = 0.0
    zeta = np.zeros((*delta.shape[:2], UNITS))
    zeta[:, np.arange(UNITS), np.arange(UNITS)] = 1.0
    vectors = np.concatenate([delta, zeta], axis=2)
    c, d = np.zeros((draws, UNITS)), np.zeros((draws, UNITS))
    for index in range(layer - 1, -1, -1):
        c += inner[index][:, None] * np.einsum("ni,niu->nu", vectors[:, :, 0], vectors[:, :, 1:])
        d += inner[index][:, None] * np.sum(vectors[:, :, 1:] ** 2, axis=1)
        if index:
            vectors = act.dphi(zs[index - 1]) * (v[index] * weights[index].left(vectors))
    flux = _mean_jump_flux(c, d, (output - labels)[:, None], spread[:, None], slope)
    return network.widths[layer - 1] * density * flux.mean(axis=1)


def _mean_jump_flux(c, d, residual, spread, slope: float) -> Float[np.ndarray, "draw unit"]:
    """E over s ~ N(0, spread^2) of J (v_-^+ - v_+^-), v_- = -r (C + a s D), v_+ = -r (C + s D)."""
    jump = (2 * (1 - slope) * c, (1 - slope**2) * d)  # coefficients of s, s^2
    total = np.zeros(np.broadcast_shapes(c.shape, residual.shape))
    for inner, wanted in ((slope, -1.0), (1.0, 1.0)):  # -J r (C + inner s D) where wanted * r (C + inner s D) > 0
        rate = inner * d
        with np.errstate(divide="ignore", invalid="ignore"):
            edge = np.where(rate > 0, -c / rate, np.where(c > 0, -np.inf, np.inf))  # C + inner s D > 0 from there on
        above = _partial_moments(edge, spread)
        side = wanted * residual > 0
        parts = [np.where(side, up, whole - up) for up, whole in zip(above, (1.0, 0.0, spread**2, 0.0), strict=True)]
        product = (0.0, jump[0] * c, jump[1] * c + jump[0] * rate, jump[1] * rate)
        total = total - residual * sum(a * m for a, m in zip(product, parts, strict=True))
    return total


def _partial_moments(edge, spread) -> list[np.ndarray]:
    """E[s^k; s > edge], k = 0..3, of s ~ N(0, spread^2)."""
    at = np.divide(edge, spread, out=np.where(edge > 0, np.inf, -np.inf), where=spread > 0)
    finite = np.where(np.isfinite(at), at, 0.0)
    density = np.where(np.isfinite(at), np.exp(-0.5 * finite**2) / np.sqrt(2 * np.pi), 0.0)
    moments = [ndtr(-at), density]
    for k in (1, 2):
        moments.append(k * moments[k - 1] + finite**k * density)
    return [m * spread**k for k, m in enumerate(moments)]
