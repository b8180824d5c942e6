r"""Dense draws in JAX: explicit weights, everything the config can ask for.

The kernel is the layer-wise identity of docs/theory.md section 1, never the p-dimensional Jacobian:

.. math:: K = \sum_l [g_l H^{l-1\top} H^{l-1} + t_l] \circ (\Delta^{l\top} \Delta^l).

Runs of layers of one shape are scanned, draws are vmapped; one compilation per network shape.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import groupby

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ntkpipe.activations import jax_activation
from ntkpipe.engines.base import Draws
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream

_BATCH_BYTES = 128 * 2**20


def _bytes_per_draw(network: Network, k: int) -> int:
    weights = sum(a * b for a, b in zip(network.fan_in, (*network.widths, 1), strict=True))
    return 8 * (weights + 4 * k * sum(network.fan_in))


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
    """The first n draws of a quantum; draw i has the key split(quantum key)[i]."""
    with jax.enable_x64(True):
        keys = jax.random.split(stream.key(quantum), QUANTUM)
        batch = max(1, min(QUANTUM, _BATCH_BYTES // _bytes_per_draw(network, len(x))))
        batch = min(batch, 1 << (n - 1).bit_length())
        draw = _compiled(network, gram, precision)
        inputs = jnp.asarray(x, precision)
        parts = []
        for first in range(0, n, batch):
            chunk = keys[(np.arange(first, first + batch)) % QUANTUM]  # one shape: the last batch wraps
            parts.append([np.asarray(part, np.float64) for part in draw(chunk, inputs)])
    ntk, output = (np.concatenate(part)[:n] for part in zip(*parts, strict=True))
    if len(x) == 1:
        ntk, output = ntk.reshape(n), output.reshape(n)
    return Draws(ntk, output, np.zeros(n))


@lru_cache(maxsize=8)
def _compiled(network: Network, gram: bool, precision: str):
    def draw(key, x):
        params = init(key, network, precision)
        return ntk_and_output(params, x, network, gram)

    return jax.jit(jax.vmap(draw, in_axes=(0, None)))


def runs(network: Network) -> list[tuple[int, int]]:
    """(first, stop) of consecutive weight layers (0-based) of one shape, scale and gain."""
    outs = (*network.widths, 1)
    shape = list(
        zip(
            network.fan_in,
            outs,
            network.weight_variance,
            network.weight_gain,
            network.bias_gain,
            network.bias_scale,
            strict=True,
        )
    )
    bounds, first = [], 0
    for _, group in groupby(shape[:-1]):
        size = len(list(group))
        bounds.append((first, first + size))
        first += size
    return [*bounds, (first, first + 1)]


def init(key: Key[Array, ""], network: Network, precision: str = "float64") -> list[tuple[Array, Array]]:
    """Weights W (run, n_l, n_{l-1}) and biases (run, n_l, 1), scales multiplied in, per run of layers."""
    outs, params = (*network.widths, 1), []
    for first, stop in runs(network):
        count, shape = stop - first, (outs[first], network.fan_in[first])
        w_key, b_key = jax.random.split(jax.random.fold_in(key, first))
        w = jnp.sqrt(network.weight_variance[first]) * jax.random.normal(w_key, (count, *shape), precision)
        b = network.bias_scale[first] * (
            jax.random.normal(b_key, (count, shape[0], 1), precision)
            if network.bias_scale[first]
            else jnp.zeros((count, shape[0], 1), precision)
        )
        params.append((w, b))
    return params


def _scan(step, carry, xs, *, reverse: bool = False):
    """``lax.scan`` over a run of layers; a run of one (the only kind that changes the shape) is applied."""
    if xs[0].shape[0] > 1:
        return jax.lax.scan(step, carry, xs, reverse=reverse)
    carry, out = step(carry, jax.tree.map(lambda part: part[0], xs))
    return carry, jax.tree.map(lambda part: part[None], out)


def forward(params, x: Float[Array, "k n0"], network: Network) -> Float[Array, " k"]:
    """f(x): the plain forward pass, for autodiff and for tests."""
    act = jax_activation(network.activation, network.negative_slope)
    h = x.T
    for w, b in params[:-1]:
        h, _ = _scan(lambda h, wb: (act.phi(wb[0] @ h + wb[1]), None), h, (w, b))
    w, b = params[-1]
    return (w[0] @ h + b[0])[0]


def ntk_and_output(params, x: Float[Array, "k n0"], network: Network, gram: bool = True, columns: int | None = None):
    """(K, f) of one network by the layer-wise identity.

    K is (k, k); with ``columns`` the first of its columns, (k, columns); (k,) if not ``gram``.
    """
    act = jax_activation(network.activation, network.negative_slope)
    products = (lambda c: c.T @ c[:, :columns]) if gram else (lambda c: jnp.sum(c * c, axis=0))
    bounds = runs(network)

    def up(h, wb):
        z = wb[0] @ h + wb[1]
        return act.phi(z), (products(h), act.dphi(z))

    h, inner, gates = x.T, [], []
    for w, b in params[:-1]:
        h, (inside, gate) = _scan(up, h, (w, b))
        inner.append(inside)
        gates.append(gate)
    w_out, b_out = params[-1]
    output = (w_out[0] @ h + b_out[0])[0]

    def term(layer, inside, delta):
        return (network.weight_gain[layer] * inside + network.bias_gain[layer]) * products(delta)

    def down(layer, carry, wgi):
        back, ntk = carry
        w, gate, inside = wgi
        delta = back * gate  # delta^l = phi'(z^l) * W^{l+1,T} delta^{l+1}
        return (w.T @ delta, ntk + term(layer, inside, delta)), None

    delta = jnp.ones((1, x.shape[0]), x.dtype)
    carry = (w_out[0].T @ delta, term(network.depth, products(h), delta))
    for (first, _), (w, _), gate, inside in zip(
        reversed(bounds[:-1]), reversed(params[:-1]), reversed(gates), reversed(inner), strict=True
    ):
        carry, _ = _scan(partial(down, first), carry, (w, gate, inside), reverse=True)
    return carry[1], output
