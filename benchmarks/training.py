"""Cost of training and of its snapshots as ratios: `python benchmarks/training.py` (about 4 minutes on one core)."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from engines import line, ratio

from ntkpipe import data
from ntkpipe.config.data import DataConfig
from ntkpipe.config.train import TrainConfig
from ntkpipe.engines import catalogue, dense
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.training import descent
from ntkpipe.training import trajectories as draw

jax.config.update("jax_enable_x64", True)


def clock(call: Callable, per: int = 1, timer: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """A function that times one warm call and returns seconds over ``per``."""

    def once() -> float:
        start = timer()
        jax.block_until_ready(call())
        return (timer() - start) / per

    once()
    return once


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape)


def kernels() -> None:
    """The layer-wise identity against explicit Jacobians, and against its matrix products alone."""
    n, width, depth = 128, 512, 8
    network, x = Network(32, (width,) * depth), normal(0, n, 32)
    params = dense.init(jax.random.key(1), network)
    identity = jax.jit(lambda p: dense.ntk_and_output(p, x, network)[0])

    @jax.jit
    def explicit(params):
        jacobian = jax.vmap(jax.jacrev(lambda p, point: dense.forward(p, point[None], network)[0]), (None, 0))
        parts = [w.reshape(n, -1) for w, _ in jacobian(params, x)]
        return sum(g * w @ w.T for w, (g, _) in zip(parts, descent.gains(network), strict=True))

    @jax.jit
    def products(first, w, h, delta):
        ups = [first @ x.T, *(w[i] @ h[i] for i in range(depth - 1))]
        downs = [w[i].T @ delta[i + 1] for i in range(depth - 1)]
        return ups, downs, [x @ x.T, *(a.T @ a for a in h), *(a.T @ a for a in delta)]

    np.testing.assert_allclose(explicit(params), identity(params), rtol=1e-9, atol=1e-12)
    slow, fast, r = ratio(clock(lambda: explicit(params)), clock(lambda: identity(params)))
    what = "explicit Jacobians / layer-wise identity, 128 points, 8 x 512"
    line(what, f"{slow:.2f} s / {fast * 1e3:.0f} ms = {r:.0f}", ">= 10")
    arrays = (
        normal(2, width, 32),
        normal(3, depth - 1, width, width),
        normal(4, depth, width, n),
        normal(5, depth, width, n),
    )
    slow, fast, r = ratio(clock(lambda: identity(params)), clock(lambda: products(*arrays)))
    line("the identity / its matrix products alone", f"{slow * 1e3:.0f} ms / {fast * 1e3:.0f} ms = {r:.2f}", "<= 3")


def step() -> None:
    """A step of gradient descent against the machine's rate in products of its shapes: W h, W^T delta, delta h^T."""
    n, width, steps = 256, 1024, 4
    network, x = Network(32, (width,) * 4), normal(0, n, 32)
    state = descent.State(dense.init(jax.random.key(1), network), jnp.asarray(0), jnp.asarray(-1), jnp.asarray(False))
    advance = jax.jit(partial(descent.descend, network=network))
    arguments = state, steps, x, jnp.zeros(n), jnp.asarray(1e-6), jnp.asarray(1e20)
    w, h, delta = normal(2, width, width), normal(3, width, n), normal(4, width, n)
    three = jax.jit(lambda w, h, delta: (w @ h, w.T @ delta, delta @ h.T))
    slow, fast, _ = ratio(clock(lambda: advance(*arguments), steps), clock(lambda: three(w, h, delta)))
    got, ceiling = 6 * n * network.n_parameters / slow, 6 * n * width**2 / fast
    what = "step, 4 hidden layers, width 1024, batch 256, of the matmul rate"
    line(what, f"{got / 1e9:.0f} / {ceiling / 1e9:.0f} GFLOP/s = {got / ceiling:.2f}", ">= 0.5")


def seeds() -> None:
    """Small networks at once against one at a time: calls of one step, long calls, and runs with snapshots."""
    network = Network(2, (16, 16))
    together(Network(2, (8,)), 16, 32, 1, ">= 5")
    together(network, 64, 8, 1, ">= 5")
    together(network, 64, 32, 1, ">= 5")
    together(network, 64, 8, 1000, "-")
    train = TrainConfig(steps=100)
    slow, fast, r = ratio(
        clock(lambda: [run(network, 64, train, 1) for _ in range(8)]), clock(lambda: run(network, 64, train, 8))
    )
    line("  8 as runs of 100 steps with 16 snapshots", f"{slow:.2f} s / {fast:.2f} s = {r:.1f}", "-")


def together(network: Network, n: int, count: int, steps: int, target: str) -> None:
    """``count`` networks on n points, one by one and vmapped, in calls of ``steps`` steps."""
    rest = normal(0, n, 2), normal(1, n), jnp.asarray(1e-3), jnp.asarray(1e9)
    advance, calls = partial(descent.descend, network=network), jnp.asarray(steps)
    alone, vmapped = jax.jit(advance), jax.jit(jax.vmap(advance, in_axes=(0, None, None, None, None, None)))
    start = jax.vmap(partial(dense.init, network=network))(jax.random.split(jax.random.key(2), count))
    many = descent.State(start, jnp.zeros(count, int), jnp.full(count, -1), jnp.zeros(count, bool))
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], many) for i in range(count)]
    slow, fast, r = ratio(
        clock(lambda: [alone(state, calls, *rest) for state in each], count * steps),
        clock(lambda: vmapped(many, calls, *rest), count * steps),
    )
    what = f"{count} seeds one by one / vmapped, {network.depth} x {network.widths[0]}, {n} points, calls of {steps}"
    line(what, f"{slow * 1e6:.1f} us / {fast * 1e6:.1f} us = {r:.1f}", target)


def run(network: Network, n: int, train: TrainConfig, count: int) -> None:
    """Train ``count`` networks on n points of the circle, as a shard does."""
    points = data.make(DataConfig(train=n, eval=n), 0, "benchmark")
    with tempfile.TemporaryDirectory() as scratch:
        draw.train(network, points, train, Stream(0, "benchmark"), 0, count, Path(scratch))


def cost_model() -> None:
    """Core-seconds of a cell of 8 networks, measured and planned, compiling apart."""
    cells = {
        "small": ((16,) * 3, 64, TrainConfig(steps=2000)),
        "deep": ((64,) * 32, 64, TrainConfig(steps=100)),
        "wide": ((1024,) * 2, 64, TrainConfig(steps=20, snapshots=6)),
        "128 points": ((256,) * 4, 128, TrainConfig(steps=50)),
        "snapshots": ((256,) * 4, 128, TrainConfig(steps=15, spacing="linear")),
        "tensors": ((64,) * 4, 64, TrainConfig(steps=15, spacing="linear", tensors=True)),
        "batches": ((64,) * 4, 64, TrainConfig(method="sgd", batch=16, steps=1000)),
        "flow": ((32,) * 2, 32, TrainConfig(method="flow", steps=200)),
        "flow, kinks": ((32,) * 2, 32, TrainConfig(method="flow", steps=60)),
    }
    for name, (widths, n, train) in cells.items():
        network = Network(2, widths, activation="tanh" if name == "flow" or train.tensors else "relu")
        start = time.process_time()
        once = clock(lambda a=(network, n, train, 8): run(*a), timer=time.process_time)
        cold, warm = time.process_time() - start, once()
        task = catalogue.Task(network, n, "float64", "plain", "trajectory", train, n)
        planned = 8 * catalogue.seconds_per_draw("dense", task)
        what = f"8 networks, {name}: {len(widths)} x {widths[0]}, {n} points, {train.steps} steps ({train.method})"
        line(what, f"{warm:.2f} s / planned {planned:.2f} s = {warm / planned:.2f}", "0.5 to 2")
        line("  first run of the shape, with its compilation", f"+ {cold - warm:.1f} s", "-")


def main() -> None:
    """Print the table."""
    kernels()
    step()
    seeds()
    cost_model()


if __name__ == "__main__":
    main()
