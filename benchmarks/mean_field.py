"""Cost of particles: `python benchmarks/mean_field.py` (under a minute); linear in the width, the limit in its nodes.

Prints core-seconds of one network on 64 points, without compiling, over those of half the width, and what the
cost model says.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import time

from ntkpipe import angles
from ntkpipe.config.mean_field import MeanFieldConfig
from ntkpipe.engines.catalogue import Task
from ntkpipe.kinds.mean_field import cost, draw
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import mean_field

WIDTHS = (16_384, 32_768, 65_536)
SETTINGS = MeanFieldConfig(train=64, steps=16, eta=0.03, snapshots=2)


def seconds(function, *args) -> float:
    """Process time of a call."""
    begin = time.process_time()
    function(*args)
    return time.process_time() - begin


def main() -> None:
    """Print the table."""
    print(f"{'m':>8}{'s':>9}{'over half':>11}{'model':>9}")
    before = None
    for m in WIDTHS:
        network, stream = Network(2, (m,), parametrization="mean_field"), Stream(0, "benchmark")
        draw.train(network, SETTINGS, stream, 0, 1)  # compiles
        took = min(seconds(draw.train, network, SETTINGS, stream, quantum, 1) for quantum in (1, 2, 3))
        task = Task(network, SETTINGS.train, "float64", "plain", "mean_field", SETTINGS)
        ratio = f"{took / before:.2f}" if before else ""
        print(f"{m:>8}{took:>9.2f}{ratio:>11}{cost.seconds(task):>9.2f}", flush=True)
        before = took
    theta, y = draw.data(SETTINGS)
    x = angles.on_circle(theta)
    for count in (256, 512):
        nodes = mean_field.quadrature("relu", count, 16)
        took = seconds(mean_field.follow, network, nodes, SETTINGS.snapshot_steps, x, y, 0.003)
        print(f"limit, {len(nodes.p)} nodes: {took:.2f} s")


if __name__ == "__main__":
    main()
