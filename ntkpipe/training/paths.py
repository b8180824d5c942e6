"""Short trainings, many at once: the networks at each of some steps of gradient descent, and what is seen of them.

Those of which much is kept at every snapshot are in :mod:`ntkpipe.training.trajectories`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import checkpoint, descent
from ntkpipe.training.checkpoint import Row
from ntkpipe.training.descent import Params, State

PAUSES = 50
"""Moments of a training, at least, at which it may be kept."""
SECONDS = 10.0
"""Between two that are kept."""


def follow(
    network: Network,
    start: Params,
    steps: Sequence[int],
    x: Float[Array, "train n0"],
    y: Float[Array, "run train"],
    eta: Float[Array, " run"],
    divergence: float,
    begun: State | None = None,
) -> Iterator[State]:
    """The runs at each of the steps (rising; 0 is the start), all trained on the points x, each on its own labels.

    ``start``: parameters with the leading dim run; eta in flow time (step size times s). A run whose |r|^2 exceeds
    ``divergence`` times its first value, or is not finite, has diverged: see :class:`~ntkpipe.training.descent.State`.
    ``begun``: a state that was yielded before, to go on from; the steps are those beyond it.
    """
    advance, forward = _compiled(network)
    state = at_start(start, len(y)) if begun is None else begun
    limit, done = divergence * jnp.sum((forward(start, x) - y) ** 2, axis=1), int(state.step[0])
    for step in steps:
        if step > done:
            state, done = advance(state, step - done, x, y, eta, limit), step
        state = descent.marked(state, ~(jnp.sum((forward(state.params, x) - y) ** 2, axis=1) <= limit))
        yield state


def observe(
    network: Network,
    start: Params,
    steps: Sequence[int],
    x: Float[Array, "train n0"],
    y: Float[Array, "run train"],
    eta: Float[Array, " run"],
    divergence: float,
    look: Callable[[int, State], Row],
    scratch: Path | None = None,
) -> tuple[list[Row], State]:
    """What ``look(number, state)`` sees at each of the steps of :func:`follow`, and the last state.

    Kept in ``scratch``, if given, every :data:`SECONDS`, between snapshots too: a training that was killed goes on from
    there, bit for bit.
    """
    pauses = sorted({*steps, *range(0, steps[-1], max(1, steps[-1] // PAUSES))})
    kept, state = 0, at_start(start, len(y))
    if scratch is not None:
        kept, state = checkpoint.load(scratch, state)
    rows, last = [checkpoint.row(scratch, number) for number in range(kept)], time.monotonic()
    begun = state if kept else None
    for number, state in enumerate(follow(network, start, pauses[kept:], x, y, eta, divergence, begun), kept):
        rows.append(look(steps.index(pauses[number]), state) if pauses[number] in steps else {})
        if scratch is not None and time.monotonic() - last > SECONDS:
            checkpoint.save(scratch, number, rows[kept:], state)
            kept, last = len(rows), time.monotonic()
    return [row for row, step in zip(rows, pauses, strict=True) if step in steps], state


def at_start(params: Params, runs: int) -> State:
    """Runs that have done no step."""
    return State(params, jnp.zeros(runs, int), jnp.full(runs, -1, int), jnp.zeros(runs, bool))


@lru_cache(maxsize=16)
def _compiled(network: Network):
    """(descend, forward), vmapped over runs; the number of steps is traced, so each compiles once a shape."""
    advance = jax.vmap(partial(descent.descend, network=network), in_axes=(0, None, None, 0, 0, 0))
    return jax.jit(advance), jax.jit(jax.vmap(partial(dense.forward, network=network), in_axes=(0, None)))
