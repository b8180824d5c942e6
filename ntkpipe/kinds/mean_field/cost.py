"""What a network of a mean_field study costs, linear in the width; see :mod:`ntkpipe.costs`."""

from __future__ import annotations

from typing import Any

MiB = 2**20


def seconds(task: Any) -> float:
    """Core-seconds of a network: its steps, and its kernels and moments at the snapshots."""
    m, n, settings = task.network.widths[0], task.n_inputs, task.settings
    looks = len(settings.snapshot_steps) * (m * n * (n + 60) * 5e-10 + m * 1e-6)
    steps = settings.steps * (5e-6 + m * n * 6e-9) * (50 if settings.method == "flow" else 1)
    return 5e-3 + looks + steps


def start(task: Any) -> float:
    """Core-seconds of compiling a cell."""
    return 2.8 if task.settings.method == "gd" else 9.0


def memory(task: Any) -> int:
    """Bytes of eight networks at a snapshot: activations and gates on all points, and their particles."""
    m, n = task.network.widths[0], task.n_inputs
    return max(128 * MiB, 8 * 8 * m * (10 * n + 40) + 8 * 8 * len(task.settings.snapshot_steps) * n * n)
