r"""First-step updates without weights: K before and after one gradient step, and its derivative at eta = 0.

The weights are :class:`~ntkpipe.engines.lazy.LazyGaussian`; a step changes W^l by the rank-B term
-eta g_l Delta^l diag(r) H^{l-1 T} (train columns), kept as factors. Exact in law at finite eta, O(n) a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe.activations import Activation, numpy_activation
from ntkpipe.engines.lazy import LazyGaussian, _t
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

_BATCH_BYTES = 64 * 2**20


class StepDraws(NamedTuple):
    """Draws of one gradient step on the first ``n_train`` of k inputs.

    ntk_0, ntk_1: kernels before and after, (draw, k, k) and (draw, eta, k, k); derivative: dK/d eta at
    eta = 0 where no gate flips; output_0: f before; residual: f - y on the train points; eta: step size used;
    flipped: fraction of gates of the inputs that change sign.
    """

    ntk_0: Float[np.ndarray, "draw k k"]
    ntk_1: Float[np.ndarray, "draw eta k k"]
    derivative: Float[np.ndarray, "draw k k"]
    output_0: Float[np.ndarray, "draw k"]
    residual: Float[np.ndarray, "draw train"]
    eta: Float[np.ndarray, "draw eta"]
    flipped: Float[np.ndarray, "draw eta"]


class _Pass(NamedTuple):
    """Everything of one forward and backward pass: per layer, inputs h^{l-1}, z^l, delta^l, W^{l T} delta^l."""

    h: list[np.ndarray]
    z: list[np.ndarray]
    delta: list[np.ndarray]
    back: list[np.ndarray]


class _Layers:
    """The weight layers of a batch of networks, with the updates made to them."""

    def __init__(self, network: Network, x: np.ndarray, draws: int, normal):
        self.network = network
        outs = (*network.widths, 1)
        self.w = [LazyGaussian(n, fan, draws, normal) for n, fan in zip(outs, network.fan_in, strict=True)]
        self.bias = [
            s * normal(n, 1) if s else np.zeros((draws, n, 1)) for n, s in zip(outs, network.bias_scale, strict=True)
        ]
        self.x = np.broadcast_to(x.T, (draws, *x.T.shape))
        self.act: Activation = numpy_activation(network.activation, network.negative_slope)

    def run(self, update=None) -> _Pass:
        """Forward and backward, with W^l + A^l C^{l T} and biases + c^l where ``update`` = (A, C, c) is given."""
        net, h = self.network, self.x
        hs, zs = [], []
        for layer, w in enumerate(self.w):
            z = np.sqrt(net.weight_variance[layer]) * w.right(h) + self.bias[layer]
            if update is not None:
                a, c, shift = update[layer]
                z = z + a @ (_t(c) @ h) + shift
            hs.append(h)
            zs.append(z)
            h = self.act.phi(z)
        delta = np.ones_like(zs[-1])
        deltas, backs = [delta], []
        for layer in range(net.depth, 0, -1):
            back = np.sqrt(net.weight_variance[layer]) * self.w[layer].left(delta)
            if update is not None:
                a, c, _ = update[layer]
                back = back + c @ (_t(a) @ delta)
            delta = self.act.dphi(zs[layer - 1]) * back
            deltas.append(delta)
            backs.append(back)
        return _Pass(hs, zs, deltas[::-1], [np.zeros(0), *backs[::-1]])

    def kernel(self, run: _Pass) -> Float[np.ndarray, "draw k k"]:
        """K by the layer-wise identity."""
        net = self.network
        return sum(
            (net.weight_gain[i] * _t(run.h[i]) @ run.h[i] + net.bias_gain[i]) * (_t(run.delta[i]) @ run.delta[i])
            for i in range(net.depth + 1)
        )

    def direction(self, run: _Pass, residual: Float[np.ndarray, "draw train"]):
        """-grad of the half-sum loss, as (A, C, c) a layer with W-update A C^T and bias update c."""
        net, n = self.network, residual.shape[1]
        factors = []
        for i in range(net.depth + 1):
            signal = -run.delta[i][:, :, :n] * residual[:, None, :]
            factors.append(
                (net.weight_gain[i] * signal, run.h[i][:, :, :n], net.bias_gain[i] * signal.sum(2, keepdims=True))
            )
        return factors

    def derivative(self, run: _Pass, direction) -> Float[np.ndarray, "draw k k"]:
        """dK along a direction with the gates of a ReLU held fixed."""
        net = self.network
        v = np.sqrt(net.weight_variance)
        h_dot, z_dots, h_dots = np.zeros_like(run.h[0]), [], []
        for i, (a, c, shift) in enumerate(direction):
            h_dots.append(h_dot)
            z_dot = a @ (_t(c) @ run.h[i]) + shift + (v[i] * self.w[i].right(h_dot) if i else 0.0)
            z_dots.append(z_dot)
            h_dot = self.act.dphi(run.z[i]) * z_dot
        delta_dots = [np.zeros_like(run.delta[-1])]
        for i in range(net.depth, 0, -1):
            a, c, _ = direction[i]
            back_dot = c @ (_t(a) @ run.delta[i])
            if i < net.depth:
                back_dot = back_dot + v[i] * self.w[i].left(delta_dots[0])
            gate, bend = self.act.dphi(run.z[i - 1]), self.act.ddphi(run.z[i - 1])
            delta_dots.insert(0, gate * back_dot + bend * z_dots[i - 1] * run.back[i])
        total = 0.0
        for i in range(net.depth + 1):
            inner = net.weight_gain[i] * _t(run.h[i]) @ run.h[i] + net.bias_gain[i]
            half_h = _t(run.h[i]) @ h_dots[i]
            half_d = _t(run.delta[i]) @ delta_dots[i]
            total = total + net.weight_gain[i] * (half_h + _t(half_h)) * (_t(run.delta[i]) @ run.delta[i])
            total = total + inner * (half_d + _t(half_d))
        return total


def flipped_fraction(before: list[np.ndarray], after: list[np.ndarray]) -> Float[np.ndarray, " draw"]:
    """Fraction of hidden gates, over layers, units and inputs, whose pre-activation changes sign."""
    flips = sum(((a > 0) != (b > 0)).sum(axis=(1, 2)) for a, b in zip(before, after, strict=True))
    return flips / sum(a.shape[1] * a.shape[2] for a in before)


def sample(
    network: Network,
    x: Float[np.ndarray, "k n0"],
    labels: Float[np.ndarray, "draw train"],
    etas: tuple[float, ...],
    relative: bool,
    stream: Stream,
    quantum: int,
    n: int,
) -> StepDraws:
    """The first n draws of a quantum.

    Parameters
    ----------
    x: train points first, then points outside the batch. labels: y of the train points, one row a draw.
    etas: step sizes; ``relative``: in units of 2/lambda_max(K_0(train, train)).
    """
    per_draw = 8 * len(x) * (4 + 2 * len(etas)) * 6 * (sum(network.fan_in) + 1)
    batch = max(1, min(n, _BATCH_BYTES // per_draw))
    parts = []
    for first in range(0, n, batch):
        rngs = [stream.generator(quantum, draw) for draw in range(first, min(first + batch, n))]
        parts.append(_sample_batch(network, x, labels[first : first + len(rngs)], etas, relative, rngs))
    return StepDraws(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _sample_batch(network, x, labels, etas, relative, rngs) -> StepDraws:
    def normal(*shape: int) -> np.ndarray:
        out = np.empty((len(rngs), *shape))
        for one, rng in zip(out, rngs, strict=True):
            rng.standard_normal(out=one)
        return out

    layers = _Layers(network, x, len(rngs), normal)
    before = layers.run()
    ntk_0 = layers.kernel(before)
    output = before.z[-1][:, 0, :]
    n_train = labels.shape[1]
    residual = output[:, :n_train] - labels
    direction = layers.direction(before, residual)
    derivative = layers.derivative(before, direction)
    unit = step_unit(ntk_0[:, :n_train, :n_train], relative)
    kernels, flips = [], []
    for eta in etas:
        scale = (eta * unit)[:, None, None]
        after = layers.run([(scale * a, c, scale * shift) for a, c, shift in direction])
        kernels.append(layers.kernel(after))
        flips.append(flipped_fraction(before.z[:-1], after.z[:-1]) if network.depth else np.zeros(len(rngs)))
    sizes = unit[:, None] * np.asarray(etas)
    return StepDraws(ntk_0, np.stack(kernels, 1), derivative, output, residual, sizes, np.stack(flips, 1))


def step_unit(ntk_train: Float[np.ndarray, "draw train train"], relative: bool) -> Float[np.ndarray, " draw"]:
    """1, or 2/lambda_max(K_0) (0 where the kernel is 0)."""
    if not relative:
        return np.ones(len(ntk_train))
    largest = np.linalg.eigvalsh(ntk_train)[:, -1]
    return np.divide(2.0, largest, out=np.zeros_like(largest), where=largest > 0)
