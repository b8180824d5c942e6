"""One shard of an eigenmodes study: networks trained on cos(q theta), one frequency at a time, under a density."""

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
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.theory import density_points
from ntkpipe.training import descent, paths

QUANTUM = 8
"""Networks trained at once, on one stream."""
DIMS = {
    "f_train": ("seed", "target", "snapshot", "train"),
    "f_held_out": ("seed", "target", "snapshot", "held_out"),
    "ntk_held_out": ("seed", "held_out", "train"),
    "ntk_path": ("seed", "target", "look", "train", "train_"),
    "rate": ("seed",),
    "diverged": ("seed", "target"),
}


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
    looks = np.array(settings.snapshot_steps)[list(settings.kernel_snapshots)]
    return {
        "frequency": (("target",), np.array(settings.frequencies), "q of the target cos(q theta)"),
        "step": (("snapshot",), np.array(settings.snapshot_steps), "step of gradient descent"),
        "look_step": (("look",), looks, "step at which K_t is kept"),
        "theta_held_out": (("held_out",), held_out(settings.evaluate), "angle of the held-out points (rad)"),
    }


def held_out(n: int) -> Float[np.ndarray, " n"]:
    """n equal angles at half steps."""
    return angles.equal(n) + np.pi / n


def targets(frequencies: tuple[int, ...], theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, "target n"]:
    """cos(q theta), a row a frequency."""
    return np.cos(np.array(frequencies)[:, None] * theta)


def train(network: Network, config: Any, stream: Stream, quantum: int, n: int, scratch: Path | None = None) -> Arrays:
    """The first n networks of a quantum, each trained on every target from the same weights; leading dim seed."""
    theta = density_points.quantiles(density_points.of(config.density), config.train)
    count, runs = len(config.frequencies), n * len(config.frequencies)
    scale = 1.0 if config.loss == "half_sum" else 1.0 / config.train
    with jax.enable_x64(True):
        x = jnp.asarray(angles.on_circle(theta))
        points = jnp.concatenate([x, jnp.asarray(angles.on_circle(held_out(config.evaluate)))])
        start = jax.vmap(partial(dense.init, network=network))(jax.random.split(stream.key(quantum), QUANTUM)[:n])
        start = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), start)  # run = (network, target)
        look = _compiled(network, config.train)
        ntk, first = (np.asarray(part)[::count] for part in look(start, points))
        size = np.full(n, config.eta)
        if config.eta_unit == "critical":
            size = descent.critical_steps(ntk[:, : config.train], config.eta, scale)
        shift = first if config.centred else np.zeros_like(first)
        y = (config.scale * targets(config.frequencies, theta) + shift[:, None, : config.train]).reshape(runs, -1)

        def seen(number: int, state: descent.State) -> dict[str, np.ndarray]:
            ntk_t, f = (np.array(part) for part in look(state.params, points))
            gone = np.asarray(state.diverged) >= 0
            f[gone], ntk_t[gone] = np.nan, np.nan
            found = {"f": f.reshape(n, count, -1) - shift[:, None]}
            if number in config.kernel_snapshots:
                found["ntk"] = ntk_t[:, : config.train].reshape(n, count, config.train, config.train)
            return found

        rows, state = paths.observe(
            network, start, config.snapshot_steps, x, jnp.asarray(y), jnp.asarray(np.repeat(size * scale, count)),
            config.divergence, seen, scratch,
        )  # fmt: skip
        f = np.stack([row["f"] for row in rows], axis=2)
    found = {
        "f_train": f[..., : config.train],
        "f_held_out": f[..., config.train :],
        "ntk_held_out": ntk[:, config.train :],
        "ntk_path": np.stack([row["ntk"] for row in rows if "ntk" in row], axis=2),
        "rate": size * scale,
        "diverged": np.asarray(state.diverged, float).reshape(n, count),
    }
    return {name: (DIMS[name], array) for name, array in found.items()}


@lru_cache(maxsize=16)
def _compiled(network: Network, columns: int):
    """K between all points and the first of them, and f on all, vmapped over runs."""
    look = partial(dense.ntk_and_output, network=network, columns=columns)
    return jax.jit(jax.vmap(lambda params, x: look(params, x), in_axes=(0, None)))
