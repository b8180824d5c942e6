"""Shards of trajectories: networks trained together, a snapshot at a time, so that a killed job goes on."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.slices import Arrays, Slices, concatenate
from ntkpipe.streams import Stream, quanta
from ntkpipe.training import checkpoint, descent, layers, observe, tensors

QUANTUM = 8
"""Networks trained at once, on one stream."""
SHADOW = 0.25
"""Smallest step of the flow that another is compared with, in units of that one's."""

DIMS = {
    "f_train": ("train",),
    "f_eval": ("eval",),
    "ntk_train": ("train", "train_"),
    "ntk_eval_train": ("eval", "train"),
    "f_linear_train": ("train",),
    "ntk_layers": ("layer", "train", "train_"),
    "ntk_third": ("train", "train_"),
    "ntk_fourth": ("train", "train_"),
}
"""Dims of a snapshot's variables after (seed, snapshot)."""


def draw(study: Any, shard: Any, scratch: Path) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on).

    Kernels are read from ``scratch``, a snapshot at a time, when they are written.
    """
    cell, stream, data = shard.cell, study.stream(shard.cell), study.data
    parts = [
        train(cell.network, data, cell.settings, stream, quantum, n, scratch / str(quantum))
        for quantum, n in quanta(shard.start, shard.stop, QUANTUM)
    ]
    return {name: (dims, concatenate([part[name][1] for part in parts])) for name, (dims, _) in parts[0].items()}


def constants(study: Any) -> dict[str, tuple[tuple[str, ...], np.ndarray, str]]:
    """Variables that all cells share: name -> (dims, values, long name)."""
    data = study.data
    return {
        "x_train": (("train", "coordinate"), data.x_train, "train points"),
        "y_train": (("train",), data.y_train, "labels of the train points, noise included"),
        "x_eval": (("eval", "coordinate"), data.x_eval, "evaluation points"),
        "y_eval": (("eval",), data.y_eval, "target on the evaluation points, without noise"),
        "step": (("snapshot",), np.array(study.config.settings.snapshot_steps), "steps taken"),
    }


def train(network: Network, data: Any, config: Any, stream: Stream, quantum: int, n: int, scratch: Path) -> Arrays:
    """Train the first n networks of a quantum; name -> (dims, array) with the leading dims seed and snapshot."""
    with jax.enable_x64(True):
        x, y, x_eval = (jnp.asarray(part, "float64") for part in (data.x_train, data.y_train, data.x_eval))
        init_key, order_key = jax.random.split(stream.key(quantum))
        start = jax.vmap(partial(dense.init, network=network))(jax.random.split(init_key, QUANTUM)[:n])
        keys = jax.random.split(order_key, QUANTUM)[:n]
        advance, look = _compiled(network, config.method, config.batch, config.rtol, config.atol)
        scale = 1.0 if config.loss == "half_sum" else 1.0 / len(y)
        first = look(start, start, x, y, x_eval, jnp.zeros(n))
        size = np.full(n, config.eta)
        if config.eta_unit == "critical":
            size = descent.critical_steps(np.asarray(first.ntk_train), config.eta, scale)
        eta = jnp.asarray(size * scale)  # in flow time
        limit = config.divergence * jnp.sum((first.f_train - y) ** 2, axis=1)
        state = descent.State(start, jnp.zeros(n, int), jnp.full(n, -1, int), jnp.zeros(n, bool))
        shadow = jax.tree.map(lambda leaf: leaf[:1], state)
        times = np.asarray(eta)[:, None] * np.array(config.snapshot_steps)
        done, (state, shadow) = checkpoint.load(scratch, (state, shadow))
        for number, step in enumerate(config.snapshot_steps):
            if number < done:
                continue
            more = step - (config.snapshot_steps[number - 1] if number else 0)
            if more:
                state = advance(state, more, x, y, eta, limit, keys)
                if config.method == "flow":
                    tight = _compiled(network, config.method, None, config.rtol / 100, config.atol / 100, SHADOW)[0]
                    shadow = tight(shadow, more, x, y, eta[:1], limit[:1], keys[:1])
            seen = look(state.params, start, x, y, x_eval, eta)
            state = descent.marked(state, ~(jnp.sum((seen.f_train - y) ** 2, axis=1) <= limit))
            row = {name: np.array(value, float) for name, value in seen._asdict().items()}
            for value in row.values():
                value[(np.asarray(state.diverged) >= 0) | np.asarray(state.gave_up)] = np.nan
            if config.per_layer:
                row["ntk_layers"] = np.where(
                    np.isnan(row["ntk_train"])[:, None], np.nan, _layers(network)(state.params, x)
                )
            row["loss"] = 0.5 * scale * np.sum((row["f_train"] - data.y_train) ** 2, axis=1)
            row["flow_error"] = np.full(n, np.nan)
            if config.method == "flow":
                row["flow_error"] = _flow_error(network, row["f_train"], shadow.params, x, y, first.f_train)
            if config.tensors:
                predicted = _predictor(network)(start, x, y, jnp.asarray(times[:, number]))
                row |= dict(zip(("ntk_third", "ntk_fourth"), map(np.asarray, predicted), strict=True))
            checkpoint.save(scratch, number, row, (state, shadow))
        arrays = _kept(scratch, len(config.snapshot_steps))
        arrays["time"] = ("seed", "snapshot"), times
        arrays["eta_used"] = ("seed",), size
        diverged = np.asarray(state.diverged)
        arrays["status"] = ("seed",), np.where(diverged >= 0, 1, np.where(np.asarray(state.gave_up), 2, 0))
        arrays["diverged_time"] = ("seed",), np.where(diverged >= 0, diverged * np.asarray(eta), np.nan)
    return arrays


def _kept(scratch: Path, count: int) -> Arrays:
    """The snapshots, their kernels a slice at a time; the rest is small."""
    small: dict[str, list[np.ndarray]] = {}
    for number in range(count):
        row = checkpoint.row(scratch, number)
        for name, value in row.items():
            if value.ndim < 3:
                small.setdefault(name, []).append(value)
    arrays: dict[str, np.ndarray | Slices] = {name: np.stack(values, axis=1) for name, values in small.items()}
    for name in row.keys() - small.keys():
        shape = (len(row[name]), count, *row[name].shape[1:])
        arrays[name] = Slices(shape, lambda number, name=name: checkpoint.row(scratch, number)[name])
    return {name: (("seed", "snapshot", *DIMS.get(name, ())), array) for name, array in arrays.items()}


def _flow_error(network: Network, f: np.ndarray, shadow: Any, x, y, f_start) -> np.ndarray:
    """|f - f'|/|r_0| of the first network against :data:`SHADOW` and tolerances / 100; NaN for the others."""
    better = jax.vmap(lambda p: dense.forward(p, x, network))(shadow)[0]
    out = np.full(len(f), np.nan)
    out[0] = np.linalg.norm(f[0] - np.asarray(better)) / np.linalg.norm(np.asarray(f_start[0] - y))
    return out


@lru_cache(maxsize=16)
def _compiled(network: Network, method: str, batch: int | None, rtol: float, atol: float, floor: float = 1.0):
    """(advance, look), vmapped over networks; the number of steps is traced, so each compiles once a shape."""

    def advance(state, steps, x, y, eta, limit, key):
        arguments = (state, steps, x, y, eta, limit, network)
        if method == "gd":
            return descent.descend(*arguments)
        if method == "sgd":
            return descent.descend_stochastically(*arguments, batch=batch, key=key)
        return descent.flow(*arguments, rtol=rtol, atol=atol, floor=floor)

    def look(params, start, x, y, x_eval, eta):
        return observe.snapshot(params, start, x, y, x_eval, eta, network)

    return (
        jax.jit(jax.vmap(advance, in_axes=(0, None, None, None, 0, 0, 0))),
        jax.jit(jax.vmap(look, in_axes=(0, 0, None, None, None, 0))),
    )


@lru_cache(maxsize=16)
def _layers(network: Network):
    """Layer-wise kernels, vmapped over networks; compiled once a shape."""
    return jax.jit(jax.vmap(partial(layers.layer_kernels, network=network), in_axes=(0, None)))


@lru_cache(maxsize=16)
def _predictor(network: Network):
    """K_t from the tensors at initialization, vmapped over networks; compiled once a shape."""

    def predict(start, x, y, time):
        third, fourth = tensors.predict(start, x, y, network, time[None])
        return third[0], fourth[0]

    return jax.jit(jax.vmap(predict, in_axes=(0, None, None, 0)))
