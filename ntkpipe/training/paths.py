"""Short trainings, many at once: the networks at each of some steps of gradient descent, kept in memory.

Long ones, that go on after a kill, are those of :mod:`ntkpipe.training.trajectories`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent
from ntkpipe.training.descent import Params, State


def follow(
    network: Network,
    start: Params,
    steps: Sequence[int],
    x: Float[Array, "train n0"],
    y: Float[Array, "run train"],
    eta: Float[Array, " run"],
    divergence: float,
) -> Iterator[State]:
    """The runs at each of the steps (rising; 0 is the start), all trained on the points x, each on its own labels.

    ``start``: parameters with the leading dim run; eta in flow time (step size times s). A run whose |r|^2 exceeds
    ``divergence`` times its first value, or is not finite, has diverged: see :class:`~ntkpipe.training.descent.State`.
    """
    advance, forward = _compiled(network)
    state = State(start, jnp.zeros(len(y), int), jnp.full(len(y), -1, int), jnp.zeros(len(y), bool))
    limit, done = divergence * jnp.sum((forward(start, x) - y) ** 2, axis=1), 0
    for step in steps:
        if step > done:
            state, done = advance(state, step - done, x, y, eta, limit), step
        yield descent.marked(state, ~(jnp.sum((forward(state.params, x) - y) ** 2, axis=1) <= limit))


@lru_cache(maxsize=16)
def _compiled(network: Network):
    """(descend, forward), vmapped over runs; the number of steps is traced, so each compiles once a shape."""
    advance = jax.vmap(partial(descent.descend, network=network), in_axes=(0, None, None, 0, 0, 0))
    return jax.jit(advance), jax.jit(jax.vmap(partial(dense.forward, network=network), in_axes=(0, None)))
