"""One shard of a mean_field study: networks of one hidden layer in training, as particles.

A particle is theta = (a, w), both N(0, 1) at the start, whatever the parametrization: the stored weights over their
standard deviation. With pace 1 in ``mean_field`` and m^{-1/2} in ``ntk``, thesis (2.18)-(2.19) in flow time are

    a' = -pace sigma_v sum_i r_i phi(z_i),  w' = -pace sigma_v s sum_i r_i a phi'(z_i) x_i,  z = s w.x, s^2 = c_1/n_0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkpipe import angles
from ntkpipe.activations import jax_activation
from ntkpipe.drawing import Arrays, merge
from ntkpipe.engines import dense
from ntkpipe.networks import MEAN_FIELD, Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.theory import infinite_width
from ntkpipe.training import descent, paths
from ntkpipe.training.descent import Params, State

QUANTUM = 8
"""Networks trained at once, on one stream."""
RTOL, ATOL = 1e-7, 1e-9
"""Of the flow's integrator."""
PART = 0.25
"""Of a step, the time over which means of test functions are differenced."""
TESTS = {
    "exp(-|theta|^2/2)": lambda a, w: jnp.exp(-(a**2 + w @ w) / 2),
    "a^2": lambda a, w: a**2,
    "|w|^2": lambda a, w: w @ w,
    "|a||w|": lambda a, w: jnp.abs(a) * jnp.sqrt(w @ w),
    "a^2 - |w|^2": lambda a, w: a**2 - w @ w,
}
"""psi of one particle, in the order of :data:`ntkpipe.theory.mean_field.TESTS`."""
COORDINATES = ("a", "w_1", "w_2")
"""Of a particle theta."""
DIMS = {
    "time": ("seed", "snapshot"),
    "loss": ("seed", "snapshot"),
    "f_train": ("seed", "snapshot", "train"),
    "ntk_train": ("seed", "snapshot", "train", "train_"),
    "particles": ("seed", "end", "particle", "coordinate"),
    "moment": ("seed", "snapshot", "test"),
    "moment_square": ("seed", "snapshot", "test"),
    "moment_rate": ("seed", "snapshot", "test"),
    "moment_step": ("seed", "snapshot", "test"),
    "unit_square": ("seed", "snapshot"),
    "moved": ("seed", "snapshot"),
    "eta_used": ("seed",),
    "status": ("seed",),
}


def draw(study: Any, shard: Any) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on)."""
    cell, stream = shard.cell, study.stream(shard.cell)
    return merge(
        [
            train(cell.network, cell.settings, stream, quantum, n)
            for quantum, n in quanta(shard.start, shard.stop, QUANTUM)
        ]
    )


def constants(study: Any) -> dict[str, tuple[tuple[str, ...], np.ndarray, str]]:
    """Variables that all cells share: name -> (dims, values, long name)."""
    settings = study.config.settings
    theta, y = data(settings)
    return {
        "theta": (("train",), theta, "angle of the train points (rad)"),
        "y": (("train",), y, "target"),
        "step": (("snapshot",), np.array(settings.snapshot_steps), "steps done"),
        "end": (("end",), np.array(["start", "end"], dtype=object), "start or end of the training"),
        "coordinate": (("coordinate",), np.array(COORDINATES, dtype=object), "coordinate of a particle"),
        "test": (("test",), np.array(list(TESTS), dtype=object), "test function psi(a, w)"),
    }


def data(settings: Any) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Angles of the train points, and the target there."""
    theta = angles.equal(settings.train)
    return theta, np.sum([a * np.cos(q * theta) for q, a in settings.target.items()], axis=0)


def flow_step(network: Network, settings: Any, x: Float[np.ndarray, "n 2"]) -> float:
    """The step in flow time, the same for all widths and both parametrizations."""
    if settings.eta_unit == "critical":
        limit = infinite_width.kernels(replace(network, parametrization="ntk"), x).ntk
        return float(2 * settings.eta / np.linalg.eigvalsh(limit)[-1])
    return settings.eta / (settings.train if settings.loss == "mean" else 1)


def train(network: Network, settings: Any, stream: Stream, quantum: int, n: int) -> Arrays:
    """The first n networks of a quantum; leading dim seed."""
    theta, y = data(settings)
    x = angles.on_circle(theta)
    eta, scale = flow_step(network, settings, x), 1 / (settings.train if settings.loss == "mean" else 1)
    with jax.enable_x64(True):
        init, look = _compiled(network)
        start = init(jax.random.split(stream.key(quantum), QUANTUM)[:n])
        x, labels, etas, seen = jnp.asarray(x), jnp.asarray(np.tile(y, (n, 1))), jnp.full(n, eta), []
        follow = paths.follow if settings.method == "gd" else flow
        for state in follow(network, start, settings.snapshot_steps, x, labels, etas, settings.divergence):
            found = {name: np.array(value) for name, value in look(state.params, start, x, labels[0], eta).items()}
            gone = np.asarray((state.diverged >= 0) | state.gave_up)
            for value in found.values():
                value[gone] = np.nan
            seen.append(found)
    kept = [part.pop("particles") for part in seen]
    found = {name: np.stack([part[name] for part in seen], axis=1) for name in seen[0]}
    found["loss"] = 0.5 * scale * np.sum((found["f_train"] - y) ** 2, axis=-1)
    found["time"] = np.tile(eta * np.array(settings.snapshot_steps, float), (n, 1))
    found["particles"] = np.stack([kept[0], kept[-1]], axis=1)
    found["eta_used"] = np.full(n, eta)
    found["status"] = np.where(np.asarray(state.diverged) >= 0, 1, np.where(np.asarray(state.gave_up), 2, 0))
    return {name: (dims, found[name]) for name, dims in DIMS.items()}


def flow(
    network: Network,
    start: Params,
    steps: tuple[int, ...],
    x: Float[Array, "train n0"],
    y: Float[Array, "run train"],
    eta: Float[Array, " run"],
    divergence: float,
) -> Iterator[State]:
    """As :func:`ntkpipe.training.paths.follow`, by gradient flow over the same times."""
    advance, forward = _flow(network)
    state = paths.at_start(start, len(y))
    limit, done = divergence * jnp.sum((forward(start, x) - y) ** 2, axis=1), 0
    for step in steps:
        if step > done:
            state, done = advance(state, step - done, x, y, eta, limit), step
        yield state


@lru_cache(maxsize=16)
def _flow(network: Network):
    advance = partial(descent.flow, network=network, rtol=RTOL, atol=ATOL)
    forward = jax.vmap(partial(dense.forward, network=network), in_axes=(0, None))
    return jax.jit(jax.vmap(advance, in_axes=(0, None, None, 0, 0, 0))), jax.jit(forward)


def particles_of(params: Params, network: Network) -> Float[Array, "m d_and_1"]:
    """(a, w) of each unit, from the stored weights."""
    (w, _), (a, _) = params
    inner, outer = np.sqrt(network.weight_variance)
    return jnp.concatenate([a[0].T / outer, w[0] / inner], axis=1)


def velocity(
    theta: Float[Array, "m d_and_1"], x: Float[Array, "n n0"], y: Float[Array, " n"], network: Network
) -> tuple[Float[Array, "m d_and_1"], Float[Array, "m n"]]:
    """pace b(theta; mu), thesis (2.18)-(2.19) in flow time, and sigma_v a phi(z), whose mean over pace is f."""
    act = jax_activation(network.activation, network.negative_slope)
    m = len(theta)
    pace = 1.0 if network.parametrization == MEAN_FIELD else m**-0.5
    a, w, scaled = theta[:, :1], theta[:, 1:], np.sqrt(network.weight_variance[0]) * x
    z = w @ scaled.T
    h = act.phi(z)
    units = network.sigma_v * a * h
    residual = units.mean(axis=0) / pace - y
    learns = float(network.readout == "trained")
    back = network.sigma_v * residual
    return -pace * jnp.concatenate([learns * (h @ back)[:, None], (a * act.dphi(z) * back) @ scaled], axis=1), units


def step_of_flow(params: Params, x, y, network: Network, time) -> Params:
    """A step of Heun's method, by autodiff of the network and not by the particles' velocity."""
    first = descent.direction(params, x, dense.forward(params, x, network) - y, network)
    then = descent.moved(params, first, time)
    second = descent.direction(then, x, dense.forward(then, x, network) - y, network)
    return descent.moved(descent.moved(params, first, time / 2), second, time / 2)


@lru_cache(maxsize=16)
def _compiled(network: Network):
    """(init, look), vmapped over networks; look: what is seen of one at a snapshot."""

    def psis(theta):
        return jax.vmap(lambda p: jnp.stack([psi(p[0], p[1:]) for psi in TESTS.values()]))(theta)

    def rates(theta, x, y):
        """Values of psi, their rates grad psi . velocity, and what units add to f."""
        speed, units = velocity(theta, x, y, network)
        return *jax.jvp(psis, (theta,), (speed,)), units

    def look(params, start, x, y, eta):
        ntk, f = dense.ntk_and_output(params, x, network)
        theta = particles_of(params, network)
        after = particles_of(step_of_flow(params, x, y, network, PART * eta), network)
        (seen, rate, units), (seen_after, rate_after, _) = rates(theta, x, y), rates(after, x, y)
        mean = seen.mean(axis=0)
        return {
            "particles": theta,
            "f_train": f,
            "ntk_train": ntk,
            "moment": mean,
            "moment_square": (seen**2).mean(axis=0),
            "moment_rate": (rate + rate_after).mean(axis=0) / 2,
            "moment_step": (seen_after.mean(axis=0) - mean) / (PART * eta),
            "unit_square": jnp.mean(units**2),
            "moved": jnp.sqrt(jnp.mean(jnp.sum((theta - particles_of(start, network)) ** 2, axis=1))),
        }

    init = jax.vmap(partial(dense.init, network=network))
    # init as it stands: jax keeps its random numbers by shape, and both parametrizations share them
    return init, jax.jit(jax.vmap(look, in_axes=(0, 0, None, None, None)))
