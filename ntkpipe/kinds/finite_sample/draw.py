"""One shard of a finite_sample study: points, noise and a network each; their kernels seen through Fourier modes.

Cells of different N draw points, noise and networks anew, so that their errors are independent; cells that differ in
noise alone have the same, the noise scaled.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkpipe import angles
from ntkpipe.analysis import sampling
from ntkpipe.drawing import Arrays, merge
from ntkpipe.engines import dense
from ntkpipe.kinds.finite_sample.limits import Limit, Schedule, between, schedule, spectrum
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.theory.concentration import on_modes
from ntkpipe.training import descent

QUANTUM = 8
"""Networks drawn and trained at once, on one stream."""
DIVERGENCE = 1e4
"""A run whose |r|^2 exceeds this many times its first value has diverged: NaN."""
KERNELS = ("limit", "network")
DYNAMICS = ("limit", "frozen", "trained")
DIMS = {
    "gram": ("seed", "mode", "mode_"),
    "coupling": ("seed", "kernel", "mode", "mode_"),
    "action_max": ("seed", "kernel", "mode"),
    "action_square": ("seed", "kernel", "mode"),
    "omega_modes": ("seed", "omega", "mode"),
    "noise_modes": ("seed", "mode"),
    "signal_fit": ("seed", "dynamics", "mode"),
    "noise_fit": ("seed", "dynamics", "mode"),
    "error_clean": ("seed", "dynamics"),
    "error_noisy": ("seed", "dynamics"),
}


def draw(study: Any, shard: Any) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on)."""
    cell, stream = shard.cell, study.stream(shard.cell)
    return merge(
        [
            sample(cell.network, cell.settings, stream, quantum, n)
            for quantum, n in quanta(shard.start, shard.stop, QUANTUM)
        ]
    )


def constants(study: Any) -> dict[str, tuple[tuple[str, ...], np.ndarray, str]]:
    """Coordinates of the dims: name -> (dims, values, long name)."""
    settings = study.config.settings
    modes = np.array(mode_names(settings.modes), dtype=object)
    return {
        "kernel": (("kernel",), np.array(KERNELS, dtype=object), "limit kernel or K_0"),
        "dynamics": (("dynamics",), np.array(DYNAMICS, dtype=object), "dynamics"),
        "mode": (("mode",), modes, "column of Phi"),
        "mode_": (("mode_",), modes, "column of Phi"),
        "omega": (("omega",), np.array(settings.omega), "frequency of the target"),
    }


def mode_names(qmax: int) -> list[str]:
    """1, cos 1, sin 1, ...: columns of Phi."""
    return ["1", *(f"{name} {q}" for q in range(1, qmax + 1) for name in ("cos", "sin"))]


def sample(network: Network, config: Any, stream: Stream, quantum: int, n: int) -> Arrays:
    """The first n draws of a quantum; leading dim seed."""
    rng, size = stream.generator(quantum, config.train), (QUANTUM, config.train)
    theta, noise = rng.uniform(0, 2 * np.pi, size)[:n], config.noise * rng.standard_normal(size)[:n]
    if config.points == "equal":
        theta = np.broadcast_to(angles.equal(config.train), theta.shape)
    limit = spectrum(network)
    plan = schedule(
        limit, config.signal, config.train, eta=config.eta, fitted=config.fitted, most_steps=config.most_steps
    )
    eval_theta = angles.between(config.eval, config.train)
    every = [np.concatenate([row, eval_theta]) for row in theta]
    kernels, f_start, f_end = _networks(network, config, plan, stream, quantum, every, noise)
    rows = [
        _seen(network, config, limit, plan, every[i], noise[i], kernels[i], f_end[i] - f_start[i]) for i in range(n)
    ]
    return {name: (dims, np.stack([row[name] for row in rows])) for name, dims in DIMS.items()}


def _networks(network: Network, config: Any, plan: Schedule, stream: Stream, quantum: int, theta, noise):
    """K_0 (seed, points, N), f_0 (seed, 1, points), and f (seed, 2, points) after training, without and with noise.

    The labels are f_0 + y: what is learned starts at 0, as in the linear dynamics. NaN where a run diverged.
    """
    count = config.train
    signal = np.cos(config.signal * np.stack(theta)[:, :count])
    with jax.enable_x64(True):
        x = jnp.asarray(np.stack([angles.on_circle(row) for row in theta]))
        keys = jax.random.split(jax.random.fold_in(stream.key(quantum), count), QUANTUM)[: len(theta)]
        start = jax.vmap(partial(dense.init, network=network))(keys)
        look, train = _compiled(network, count)
        kernels, f_start = map(np.asarray, look(start, x))
        y = np.stack([signal, signal + noise], axis=1)
        limit = DIVERGENCE * np.sum(y**2, axis=-1)
        f_end, gone = map(np.asarray, train(start, plan.steps, x, f_start[:, None, :count] + y, plan.eta, limit))
    f_end = np.where(gone[..., None], np.nan, f_end)
    return kernels, f_start[:, None], f_end


@lru_cache(maxsize=16)
def _compiled(network: Network, count: int):
    """(look, train): kernels and outputs of networks at their own points; trained on the first ``count`` of them."""

    def train(start, steps, x, y, eta, limit):
        state = descent.State(start, jnp.zeros((), int), jnp.full((), -1), jnp.zeros((), bool))
        end = descent.descend(state, steps, x[:count], y, eta, limit, network)
        output = dense.forward(end.params, x, network)
        return output, (end.diverged >= 0) | ~(jnp.sum((output[:count] - y) ** 2) <= limit)

    by_label = jax.vmap(train, in_axes=(None, None, None, 0, None, 0))
    by_seed = jax.vmap(by_label, in_axes=(0, None, 0, 0, None, 0))
    look = jax.vmap(partial(dense.ntk_and_output, network=network, columns=count))
    return jax.jit(look), jax.jit(by_seed)


def _seen(network, config, limit: Limit, plan: Schedule, theta, noise, network_kernel, trained) -> dict:
    """What is kept of one draw."""
    count, qmax = config.train, config.modes
    modes, seen_between = angles.fourier_modes(theta[:count], qmax), angles.fourier_modes(theta[count:], qmax)
    kernels = between(network, theta, theta[:count]), network_kernel
    seen = [sampling.through_modes(k[:count], modes, on_modes(limit.eigenvalues[: qmax + 1])) for k in kernels]
    signal = np.cos(config.signal * theta)
    labels = np.stack([signal[:count], signal[:count] + noise], axis=1)
    fits = [sampling.linear_descent(k, labels, plan.eta, plan.steps)[count:] for k in kernels]
    fits = np.stack([*fits, trained[:, count:].T])  # (dynamics, eval, clean or noisy)
    if not plan.steps:
        fits = np.full(fits.shape, np.nan)
    error = np.mean((fits - signal[count:, None]) ** 2, axis=1)
    onto = seen_between.T / len(seen_between)
    wrapped = np.mod(theta[:count] + np.pi, 2 * np.pi) - np.pi
    return {
        "gram": modes.T @ modes / count,
        "coupling": np.stack([part.coupling for part in seen]),
        "action_max": np.stack([part.action_max for part in seen]),
        "action_square": np.stack([part.action_square for part in seen]),
        "omega_modes": np.stack([np.cos(omega * wrapped) @ modes / count for omega in config.omega]),
        "noise_modes": noise @ modes / count,
        "signal_fit": fits[..., 0] @ onto.T,
        "noise_fit": (fits[..., 1] - fits[..., 0]) @ onto.T,
        "error_clean": error[:, 0],
        "error_noisy": error[:, 1],
    }
