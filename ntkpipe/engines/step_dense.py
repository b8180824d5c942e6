"""First-step updates with explicit weights, by automatic differentiation: the independent judge."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkpipe.activations import jax_activation
from ntkpipe.engines import dense
from ntkpipe.engines.step_matrix_free import StepDraws
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream

_BATCH_BYTES = 128 * 2**20


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
    """The first n draws of a quantum; see :func:`ntkpipe.engines.step_matrix_free.sample`."""
    with jax.enable_x64(True):
        keys = jax.random.split(stream.key(quantum), QUANTUM)
        batch = max(1, min(1 << (n - 1).bit_length(), _BATCH_BYTES // (8 * (4 + len(etas)) * network.n_parameters)))
        step = _compiled(network, etas, relative, labels.shape[1])
        parts = []
        for first in range(0, n, batch):
            rows = np.arange(first, first + batch) % n
            out = step(keys[rows], jnp.asarray(x), jnp.asarray(labels[rows]))
            parts.append([np.asarray(part) for part in out])
    return StepDraws(*(np.concatenate(part)[:n] for part in zip(*parts, strict=True)))


@lru_cache(maxsize=4)
def _compiled(network: Network, etas: tuple[float, ...], relative: bool, n_train: int):
    gains = [(network.weight_gain[i], network.bias_gain[i]) for i, _ in dense.runs(network)]
    act = jax_activation(network.activation, network.negative_slope)

    def preactivations(params, x):
        h, out = x.T, []
        for w, b in params[:-1]:
            for i in range(w.shape[0]):
                z = w[i] @ h + b[i]
                out.append(z)
                h = act.phi(z)
        return out

    def step(key, x, y):
        params = dense.init(key, network)

        def kernel(p):
            return dense.ntk_and_output(p, x, network)[0]

        def loss(p):
            return 0.5 * jnp.sum((dense.forward(p, x, network)[:n_train] - y) ** 2)

        gradient = jax.grad(loss)(params)
        # a step in the trained variables moves W by -eta * gain * dL/dW
        direction = [(-g * dw, -t * db) for (dw, db), (g, t) in zip(gradient, gains, strict=True)]
        ntk_0, derivative = jax.jvp(kernel, (params,), (direction,))
        output = dense.forward(params, x, network)
        unit = 1.0
        if relative:  # a dead network has no critical step size: it stays where it is
            largest = jnp.linalg.eigvalsh(ntk_0[:n_train, :n_train])[-1]
            unit = jnp.where(largest > 0, 2.0 / jnp.where(largest > 0, largest, 1.0), 0.0)
        before = preactivations(params, x)
        total = max(sum(z.size for z in before), 1)

        def after(eta):
            moved = jax.tree.map(lambda p, d: p + eta * d, params, direction)
            flips = sum(jnp.sum((a > 0) != (b > 0)) for a, b in zip(before, preactivations(moved, x), strict=True))
            return kernel(moved), flips / total

        sizes = unit * jnp.asarray(etas)
        kernels, flips = jax.vmap(after)(sizes)
        return ntk_0, kernels, derivative, output, output[:n_train] - y, sizes, flips

    return jax.jit(jax.vmap(step, in_axes=(0, None, 0)))
