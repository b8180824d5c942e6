"""Cost of the engines as ratios in one run: `python benchmarks/engines.py` (about 3 minutes on one core).

Every pair is timed alternately, warm, and the median ratio is printed beside its target.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from ntkpipe.engines import dense, guided, matrix_free, scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import moments

REPEATS = 5


def per_draw(engine, network: Network, x: np.ndarray, draws: int) -> Callable[[], float]:
    """A function that times one warm call and returns seconds per draw."""
    stream = Stream(0, "benchmark")

    def once() -> float:
        start = time.perf_counter()
        engine.sample(network, x, stream, 0, draws)
        return (time.perf_counter() - start) / draws

    once()  # warm: compiled, caches filled
    return once


def ratio(slow: Callable[[], float], fast: Callable[[], float]) -> tuple[float, float, float]:
    """(median seconds slow, median seconds fast, median of paired ratios)."""
    pairs = [(slow(), fast()) for _ in range(REPEATS)]
    return (
        statistics.median(p[0] for p in pairs),
        statistics.median(p[1] for p in pairs),
        statistics.median(p[0] / p[1] for p in pairs),
    )


def line(what: str, measured: str, target: str) -> None:
    """One row of the table."""
    print(f"{what:<64}{measured:>34}   target {target}", flush=True)


def ten_million_draws() -> None:
    """Peak memory of sampling and collecting a cell of 10^7 draws, in a process of its own."""
    code = """
import resource, tempfile
from ntkpipe import collect, config, kinds, plan, shards
with tempfile.TemporaryDirectory() as folder:
    study = {"kind": "initialization", "grid": {"width": 256, "depth": 15}, "seeds": 10_000_000}
    planned = plan.make(config.parse({"results": folder, "studies": {"big": study}})).studies["big"]
    for shard in planned.shards:
        arrays = kinds.load(planned, "draw").draw(planned, shard)
        shards.write(shard.path, arrays, shards.attrs_of(planned, shard))
    collect.run(planned)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    line("a cell of 10^7 draws, sampled and collected: peak memory", f"{float(out):.2f} GiB", "<= 2 GiB")


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    one, eight = rng.standard_normal((1, 32)), rng.standard_normal((8, 32))
    narrow, wide = Network(32, (256,) * 15), Network(32, (16384,) * 15)

    slow, fast, r = ratio(per_draw(dense, narrow, one, 64), per_draw(scalar, narrow, one, 1024))
    what = "dense / scalar, one input, 15 hidden layers, width 256"
    line(what, f"{slow * 1e3:.1f} ms / {fast * 1e6:.2f} us = {r:.0f}", ">= 2000")

    slow, fast, r = ratio(per_draw(scalar, wide, one, 1024), per_draw(scalar, narrow, one, 1024))
    line("scalar, width 16384 / width 256", f"{slow * 1e6:.2f} us / {fast * 1e6:.2f} us = {r:.2f}", "<= 1.5")

    big = Network(32, (1024,) * 15)
    slow, fast, r = ratio(per_draw(dense, big, eight, 4), per_draw(matrix_free, big, eight, 32))
    what = "dense / matrix_free, 8 inputs, 15 hidden layers, width 1024"
    line(what, f"{slow * 1e3:.0f} ms / {fast * 1e3:.1f} ms = {r:.0f}", ">= 20")

    moments.log_moments(Network(32, (8,) * 2), 1.0)
    start = time.perf_counter()
    moments.log_moments(Network(32, (1024,) * 1024), 1.0)
    line("exact moments 1 to 4, depth 1024, width 1024", f"{time.perf_counter() - start:.3f} s", "< 1 s")

    deep = Network(32, (64,) * 256)  # beta = 4
    start = time.perf_counter()
    draws = [guided.sample(deep, one, Stream(0, "benchmark"), q, 1024) for q in range(98)]
    seconds = time.perf_counter() - start
    value = np.concatenate([np.exp(d.log_weight) * d.ntk**2 for d in draws])
    exact = np.exp(moments.log_moments(deep, float(np.sum(one**2)), 2)[1])
    error, ess = value.mean() / exact - 1, value.sum() ** 2 / np.sum(value**2)
    what = f"guided E[K^2] at beta = 4, width 64, {len(value)} draws, {seconds:.0f} s"
    line(what, f"error {100 * error:+.2f} %, ess {ess:.0f}", "< 2 %")

    ten_million_draws()
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB)")


if __name__ == "__main__":
    main()
