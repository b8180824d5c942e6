"""One shard of a spectral_bias study: outputs along trainings, kernels before and after, and perturbed networks."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkpipe.drawing import Arrays, merge
from ntkpipe.engines import dense
from ntkpipe.kinds.spectral_bias.perturbations import direction, norm
from ntkpipe.kinds.spectral_bias.targets import amplitudes, grid, phases, values
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.training import descent, paths

QUANTUM = 8
"""Networks trained at once, on one stream."""


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
    settings, seed = study.config.settings, study.config.seed
    return {
        "z": (("point",), grid(settings.points), "train points"),
        "y": (("target", "point"), values(settings, seed), "targets"),
        "amplitude": (("target", "frequency"), amplitudes(settings), "amplitudes A_i"),
        "phase": (("frequency",), phases(settings, seed), "phases phi_i (rad)"),
        "radius": (("radius",), np.array(settings.radii), "size of the perturbation in units of |theta_T|"),
    }


def train(network: Network, config: Any, stream: Stream, quantum: int, n: int, scratch: Path | None = None) -> Arrays:
    """The first n networks of a quantum, each trained on every target from the same weights; leading dim seed."""
    y = values(config, stream.seed)
    many = len(y)
    with jax.enable_x64(True):
        x = jnp.asarray(grid(config.points)[:, None])
        start = jax.vmap(partial(dense.init, network=network))(jax.random.split(stream.key(quantum), QUANTUM)[:n])
        runs = jax.tree.map(lambda leaf: jnp.repeat(leaf, many, axis=0), start)  # targets run fastest
        look, perturbed, sizes = _compiled(network)
        scale = 1.0 if config.loss == "half_sum" else 1.0 / config.points
        ntk = np.asarray(look(runs, x)[0])[::many]
        eta = np.full(n, config.eta)
        if config.eta_unit == "critical":
            eta = descent.critical_steps(ntk, config.eta, scale)
        labels, rate = jnp.asarray(np.tile(y, (n, 1))), jnp.asarray(np.repeat(eta * scale, many))

        def output(_, state: descent.State) -> dict[str, np.ndarray]:
            gone = np.asarray(state.diverged) >= 0
            return {"f": np.where(gone[:, None], np.nan, look(state.params, x)[1])}

        rows, state = paths.observe(
            network, runs, config.snapshot_steps, x, labels, rate, config.divergence, output, scratch
        )
        gone, ntk_end = np.asarray(state.diverged) >= 0, np.array(look(state.params, x)[0])
        drawn = [stream.generator(quantum, seed) for seed in range(n)]
        away = []
        for _ in range(config.directions):
            deltas = [direction(generator, network) for generator in drawn]
            delta = jax.tree.map(lambda *leaves: np.repeat(np.stack(leaves), many, axis=0), *deltas)
            away.append(np.array(perturbed(state.params, delta, jnp.asarray(config.radii), x)))
        moved, size = map(np.array, sizes(state.params, runs))
        found = {
            "f": np.stack([row["f"] for row in rows], axis=1),
            "ntk_end": ntk_end,
            "f_perturbed": np.stack(away, axis=2),
        }
        found |= {"distance": moved, "norm": size}
        diverged = np.asarray(state.diverged)
    for name in ("ntk_end", "f_perturbed", "distance", "norm"):
        found[name][gone] = np.nan
    found["diverged_step"] = np.where(gone, diverged, np.nan)
    found = {name: array.reshape(n, many, *array.shape[1:]) for name, array in found.items()}
    found |= {"ntk_start": ntk, "eta_used": eta}
    return {name: (DIMS[name], array) for name, array in found.items()}


DIMS = {
    "f": ("seed", "target", "snapshot", "point"),
    "ntk_start": ("seed", "point", "point_"),
    "ntk_end": ("seed", "target", "point", "point_"),
    "f_perturbed": ("seed", "target", "radius", "direction", "point"),
    "distance": ("seed", "target"),
    "norm": ("seed", "target"),
    "diverged_step": ("seed", "target"),
    "eta_used": ("seed",),
}


@lru_cache(maxsize=16)
def _compiled(network: Network):
    """(look, perturbed, sizes), vmapped over runs: (K, f); f at each radius along delta; distance and norm."""

    def perturbed(params, delta, radii, x):
        size = norm(params, network)
        return jax.lax.map(lambda r: dense.forward(descent.moved(params, delta, r * size), x, network), radii)

    def sizes(params, start):
        return descent.distance(params, start, network), norm(params, network)

    look = jax.vmap(partial(dense.ntk_and_output, network=network), in_axes=(0, None))
    away = jax.vmap(perturbed, in_axes=(0, 0, None, None))
    return jax.jit(look), jax.jit(away), jax.jit(jax.vmap(sizes))
