r"""The kernels of networks of infinite width: NNGP and NTK (theory.md, section 7; Jacot et al. 2018).

With c_l = n_{l-1} Var W^l, G_l = n_{l-1} g_l, the gains g_l, t_l and bias scales s_l of :mod:`ntkpipe.networks`,

.. math::
    \Sigma^{l+1} = c_{l+1} T(\Sigma^l) + s_{l+1}^2, \qquad
    \Theta^{l+1} = G_{l+1} T(\Sigma^l) + t_{l+1} + c_{l+1}\, \dot T(\Sigma^l)\, \Theta^l,

    T = E[\phi(u) \phi(v)], \quad \dot T = E[\phi'(u) \phi'(v)], \quad (u, v) \sim N(0, \Sigma^l),

started at Sigma^1 = c_1 x.x'/n_0 + s_1^2, Theta^1 = g_1 x.x' + t_1; NNGP = Sigma^{d+1}, NTK = Theta^{d+1}.

From layer to layer goes not the covariance but the defect e = 1 - corr(u, v); :mod:`ntkpipe.theory.dual` has T in
closed form (relu, leaky_relu, linear, erf) or as an expansion (tanh, gelu), and says why.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.networks import Network
from ntkpipe.theory.dual import Block, Dual, dual_of

_BLOCK = 192  # entries a side: a block and its temporaries stay in the cache through all layers
_CLOSE = 0.99  # correlations beyond are computed from differences of vectors


class Kernels(NamedTuple):
    """nngp: covariance of the outputs f(x), f(x') at initialization; ntk: the limit of K, the same for every draw."""

    nngp: Float[np.ndarray, "k1 k2"]
    ntk: Float[np.ndarray, "k1 k2"]


def kernels(network: Network, x1: Float[np.ndarray, "k1 n0"], x2: Float[np.ndarray, "k2 n0"] | None = None) -> Kernels:
    """NNGP and NTK between the points x1 and x2 (x1 itself if not given) as the hidden widths go to infinity.

    Hidden widths do not matter but for the ``standard`` parametrization, whose NTK grows with them: there it is
    the leading order at the network's widths. Elementwise work in blocks, each through all layers: beyond the
    result, memory is O(k depth) (times the terms of the expansion).

    Raises
    ------
    ValueError: points of another dimension than the network's, a zero point where no random bias lifts it, or an
    activation that needs more than ``dual.MAX_TERMS`` terms (pre-activation variances above 7 for tanh, 30 for gelu).
    """
    symmetric = x2 is None
    for x in (x1,) if symmetric else (x1, x2):
        if x.shape[1] != network.input_dim:
            raise ValueError(f"points must have input_dim = {network.input_dim} coordinates, have {x.shape[1]}")
    second = 0 if symmetric else len(x1)  # where the second points begin
    points = np.asarray(x1 if symmetric else np.concatenate([x1, x2]), float)
    layers = _layers(network)
    unit, q = _directions(points, layers[0])
    dual = dual_of(network)
    sides = _sides(dual, layers, q)

    shape = (len(x1), len(points) - second)
    out = Kernels(np.empty(shape), np.empty(shape))
    for i in range(0, shape[0], _BLOCK):
        rows = slice(i, min(i + _BLOCK, shape[0]))
        for j in range(i if symmetric else 0, shape[1], _BLOCK):
            columns = slice(j, min(j + _BLOCK, shape[1]))
            a, b = rows, slice(columns.start + second, columns.stop + second)
            dot = points[a] @ points[b].T / network.input_dim
            block = _through(layers, sides, dual, _defect(unit[a], unit[b]), dot, a, b)
            for kernel, values in zip(out, block, strict=True):
                kernel[rows, columns] = values
                if symmetric:
                    kernel[columns, rows] = values.T if i < j else np.triu(values) + np.triu(values, 1).T
    return out


class _Layer(NamedTuple):
    """c, G, t, s of one weight layer."""

    c: float
    gain: float
    t: float
    s: float


def _layers(network: Network) -> list[_Layer]:
    weights = zip(network.fan_in, network.weight_variance, network.weight_gain, strict=True)
    biases = zip(network.bias_gain, network.bias_scale, strict=True)
    return [_Layer(n * v, n * g, t, s) for (n, v, g), (t, s) in zip(weights, biases, strict=True)]


def _directions(
    points: Float[np.ndarray, "k n0"], first: _Layer
) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, " k_or_1"]]:
    """The points with the bias as a further coordinate, normalized, and the variances of their pre-activations."""
    scaled = np.column_stack([math.sqrt(first.c / points.shape[1]) * points, np.full(len(points), first.s)])
    norm = np.linalg.norm(scaled, axis=1)
    if not norm.all():
        raise ValueError(f"points must not be zero where no random bias lifts them: row {int(norm.argmin())}")
    one_sphere = np.ptp(norm) <= 1e-14 * norm.max()  # what depends on norms alone is then a number
    return scaled / norm[:, None], norm[: 1 if one_sphere else None] ** 2


class _Side(NamedTuple):
    """One hidden layer at the points: sqrt(E[phi^2]), the same after weights and bias, and what the dual needs."""

    root: Float[np.ndarray, " k"]
    root_next: Float[np.ndarray, " k"]
    features: Float[np.ndarray, "k f"]


def _sides(dual: Dual, layers: list[_Layer], q: Float[np.ndarray, " k"]) -> list[_Side]:
    sides = []
    for after in layers[1:]:
        root, features = dual.features(q)
        q = after.c * root**2 + after.s**2
        sides.append(_Side(root, np.sqrt(q), features))
    return sides


def _part(values: np.ndarray, chosen: slice) -> np.ndarray:
    return values if len(values) == 1 else values[chosen]


def _through(
    layers: list[_Layer], sides: list[_Side], dual: Dual, e: Block, dot: Block, a: slice, b: slice
) -> tuple[Block, Block]:
    """NNGP and NTK of one block, from the defect of the first pre-activations and x.x'/n_0."""
    nngp, ntk = layers[0].c * dot + layers[0].s ** 2, layers[0].gain * dot + layers[0].t
    for after, side in zip(layers[1:], sides, strict=True):
        e, slope = dual.pair(e, _part(side.features, a), _part(side.features, b), after.c)
        root1, root2 = _part(side.root, a)[:, None], _part(side.root, b)
        inner = (1.0 - e) * root1
        inner *= root2
        if after is layers[-1]:
            nngp = after.c * inner + after.s**2
        ntk *= slope
        if after.gain != 1.0:
            inner *= after.gain
        ntk += inner
        if after.t:
            ntk += after.t
        if after.s:
            total = _part(side.root_next, a)[:, None] * _part(side.root_next, b)
            e = _with_bias(e, after, root1, root2, total)
    return nngp, ntk


def _with_bias(e: Block, layer: _Layer, root1, root2, total) -> Block:
    """The defect of sqrt(c) h + s b from that of h: [c R e + c s^2 (r_1 - r_2)^2/(total + c R + s^2)]/total.

    R = r_1 r_2; total = sqrt((c r_1^2 + s^2)(c r_2^2 + s^2)), the norms with biases.
    """
    weight = layer.c * root1 * root2
    norms = layer.c * layer.s**2 * (root1 - root2) ** 2
    norms /= total + weight + layer.s**2
    e = weight * e
    e += norms
    e /= total
    return e


def _defect(a: Float[np.ndarray, "k1 f"], b: Float[np.ndarray, "k2 f"]) -> Block:
    """1 - a.b of unit vectors; |a - b|^2/2, or 2 - |a + b|^2/2, where these keep more digits."""
    cosine = a @ b.T
    e = 1.0 - cosine
    for sign in (1.0, -1.0):
        i, j = np.nonzero(sign * cosine > _CLOSE)
        gap = np.zeros(len(i))
        for left, right in zip(a.T, b.T, strict=True):
            gap += (left[i] - sign * right[j]) ** 2
        e[i, j] = gap / 2 if sign > 0 else 2.0 - gap / 2
    return e
