"""One shard of a membership study: kernels as functions, of networks at initialization and trained on each target."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkpipe import angles
from ntkpipe.drawing import Arrays, merge
from ntkpipe.engines import dense
from ntkpipe.kinds.membership.targets import values
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.training import descent, paths

QUANTUM = 8
"""Networks trained at once, on one stream."""
DIVERGENCE = 1e4
"""A run whose loss exceeds this many times its first loss has diverged: NaN."""


def draw(study: Any, shard: Any, scratch: Path | None = None) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on).

    Trainings are kept in ``scratch``, to go on after a kill.
    """
    cell, stream = shard.cell, study.stream(shard.cell)
    return merge(
        [
            train(cell.network, cell.settings, stream, quantum, n, scratch and scratch / str(quantum))
            for quantum, n in quanta(shard.start, shard.stop, QUANTUM)
        ]
    )


def constants(study: Any) -> dict[str, tuple[tuple[str, ...], np.ndarray, str]]:
    """Variables that all cells share: name -> (dims, values, long name)."""
    settings = study.config.settings
    theta = angles.equal(settings.points[-1])
    return {
        "theta": (("probe",), theta, "angle of the finest points (rad)"),
        "y": (("target", "probe"), np.stack([values(t, theta) for t in settings.targets]), "targets"),
    }


def train(network: Network, config: Any, stream: Stream, quantum: int, n: int, scratch: Path | None = None) -> Arrays:
    """The first n networks of a quantum, each trained on every target from the same weights; leading dim seed."""
    theta = angles.equal(config.points[-1])
    theta_train, m = angles.between(config.train, len(theta)), len(theta)
    with jax.enable_x64(True):
        x = jnp.asarray(angles.on_circle(theta_train))
        points = jnp.concatenate([jnp.asarray(angles.on_circle(theta)), x])  # one compilation of the kernel serves all
        y = np.stack([values(target, theta_train) for target in config.targets])
        start = jax.vmap(partial(dense.init, network=network))(jax.random.split(stream.key(quantum), QUANTUM)[:n])
        look, count = _compiled(network), len(y)
        ntk, f = map(np.asarray, look(start, points))
        eta, loss = descent.critical_steps(ntk[:, m:, m:], config.eta), losses(f[:, None, m:], y)
        runs = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), start)  # targets run fastest
        labels, rates = jnp.asarray(np.tile(y, (n, 1))), jnp.asarray(np.repeat(eta, count))
        _, state = paths.observe(network, runs, (config.steps,), x, labels, rates, DIVERGENCE, lambda *_: {}, scratch)
        seen = [look(jax.tree.map(lambda leaf, t=t: leaf[t::count], state.params), points) for t in range(count)]
        ntk_trained, f_trained = (np.stack(part, axis=1) for part in zip(*seen, strict=True))
    end = losses(f_trained[:, :, m:], y)
    gone = (np.asarray(state.diverged) >= 0).reshape(n, count)
    found = {
        "ntk_start": ntk[:, :m, :m],
        "ntk_trained": ntk_trained[:, :, :m, :m],
        "f_trained": f_trained[:, :, :m],
        "loss_start": loss,
        "loss_end": end,
        "eta_used": eta,
    }
    for name in ("ntk_trained", "f_trained", "loss_end"):
        found[name][gone] = np.nan
    return {name: (DIMS[name], array) for name, array in found.items()}


DIMS = {
    "ntk_start": ("seed", "probe", "probe_"),
    "ntk_trained": ("seed", "target", "probe", "probe_"),
    "f_trained": ("seed", "target", "probe"),
    "loss_start": ("seed", "target"),
    "loss_end": ("seed", "target"),
    "eta_used": ("seed",),
}


def losses(f: Float[np.ndarray, "seed #target train"], y: Float[np.ndarray, "target train"]) -> np.ndarray:
    """(1/2) sum (f - y)^2 over the train points, (seed, target)."""
    return 0.5 * np.sum((f - y) ** 2, axis=-1)


@lru_cache(maxsize=16)
def _compiled(network: Network):
    """(K, f) at points, vmapped over networks."""
    return jax.jit(jax.vmap(partial(dense.ntk_and_output, network=network), in_axes=(0, None)))
