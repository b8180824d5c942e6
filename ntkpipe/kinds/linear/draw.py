"""One shard of a linear study: the linear model in cells of depth 0, deep linear networks in the others.

Every cell holds every variable; those of the other model are NaN.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkpipe.drawing import Arrays, merge
from ntkpipe.kinds.linear.settings import STARTS, step_size, target
from ntkpipe.networks import Network
from ntkpipe.streams import Stream, quanta
from ntkpipe.theory import deep_linear as exact
from ntkpipe.training import deep_linear, linear_model

QUANTUM = 8
"""Networks trained at once, on one stream."""
DIMS = {
    "component": ("seed", "points", "start", "snapshot", "direction"),
    "eigenvalue": ("seed", "points", "direction"),
    "closed_gap": ("seed", "points", "start"),
    "limit_gap": ("seed", "points", "start"),
    "limit_expected": ("seed", "points", "start"),
    "kernel_moved": ("seed", "points", "start"),
    "threshold": ("seed", "points"),
    "teacher_error": ("seed", "points", "start", "snapshot"),
    "map": ("seed", "snapshot", "output", "feature"),
    "drift": ("seed", "snapshot"),
    "eta_used": ("seed",),
    "balance": ("seed", "halving"),
    "balance_flow": ("seed",),
    "flow_gap": ("seed", "halving"),
    "autodiff_gap": ("seed",),
    "mode_path": ("seed", "snapshot", "mode"),
    "mode_flow": ("seed", "snapshot", "mode"),
    "mode_gap": ("seed", "mode", "halving"),
    "mode_kernel_gap": ("seed",),
}


def draw(study: Any, shard: Any) -> Arrays:
    """The arrays of a planned shard (untyped: plan and config are no code that a draw depends on)."""
    cell, stream = shard.cell, study.stream(shard.cell)
    one = networks if cell.network.depth else models
    return merge(
        [
            one(cell.network, cell.settings, stream, quantum, n)
            for quantum, n in quanta(shard.start, shard.stop, QUANTUM)
        ]
    )


def constants(study: Any) -> dict[str, tuple[tuple[str, ...], np.ndarray, str]]:
    """Variables that all cells share: name -> (dims, values, long name)."""
    settings = study.config.settings
    return {
        "step": (("snapshot",), np.array(settings.snapshot_steps), "step of the snapshot"),
        "singular_value": (("mode",), np.array(settings.singular_values), "singular values of A*"),
    }


def whole(found: dict[str, np.ndarray], config: Any, n: int) -> Arrays:
    """All variables of n networks with their dims; NaN where nothing was found."""
    sizes = {
        "seed": n, "points": len(config.points), "start": len(STARTS), "snapshot": len(config.snapshot_steps),
        "direction": config.dim, "feature": config.dim, "output": config.outputs, "halving": config.halvings + 1,
        "mode": len(config.singular_values),
    }  # fmt: skip
    arrays = {}
    for name, dims in DIMS.items():
        shape = tuple(sizes[dim] for dim in dims)
        array = np.asarray(found.get(name, np.full(shape, np.nan)), dtype=float)
        if array.shape != shape:
            raise ValueError(f"{name} must have the shape {shape}; it had {array.shape}")
        arrays[name] = dims, array
    return arrays


def models(network: Network, config: Any, stream: Stream, quantum: int, n: int) -> Arrays:
    """The first n linear models of a quantum, on data of their own."""
    rows = [linear_model.run(stream.generator(quantum, draw), config, STARTS) for draw in range(n)]
    return whole({name: np.stack([row[name] for row in rows]) for name in rows[0]}, config, n)


def networks(network: Network, config: Any, stream: Stream, quantum: int, n: int) -> Arrays:
    """The first n deep linear networks of a quantum."""
    law = deep_linear.law(config.dim, network.widths, config.outputs, config.scale, network.parametrization)
    generators = [stream.generator(quantum, draw) for draw in range(n)]
    goal, steps, eta = target(config), config.snapshot_steps, step_size(config, law)
    weights = [deep_linear.init(rng, law) for rng in generators]
    small = max(network.widths) <= config.flow_width
    if small:  # and a balanced one, whose frames carry no information: one is enough
        weights.append(deep_linear.balanced(generators[0], law.sizes, len(config.singular_values), config.mode_start))
    gains = np.array([law.gains] * n + [(1.0,) * len(law.gains)] * small)
    etas = np.array([eta] * n + [step_size(config, law, modes=True)] * small)
    with jax.enable_x64(True):
        start = deep_linear.stacked(weights)
        run = deep_linear.descend(start, gains, goal, etas, steps)
        maps = np.asarray(run.maps)[:n]
        gone = ~(errors(maps, goal) <= config.divergence * errors(maps[:, :1], goal))
        gone = np.maximum.accumulate(gone, axis=1)  # diverged, from here on
        found = {
            "map": np.where(gone[..., None, None], np.nan, maps),
            "drift": np.where(gone, np.nan, np.asarray(run.drift)[:n]),
            "eta_used": np.full(n, eta),
        }
        if small:
            found |= beside_the_flow(run, start, gains, etas, config)
    return whole(found, config, n)


def errors(maps: Any, goal: Any) -> np.ndarray:
    """|A - A'|_F^2."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sum((np.asarray(maps) - np.asarray(goal)) ** 2, axis=(-2, -1))


def beside_the_flow(run: Any, start: tuple, gains: np.ndarray, etas: np.ndarray, config: Any) -> dict[str, np.ndarray]:
    """Descent by step size against the flow, what both do to the balance, and kernels; the last network is balanced.

    What the balanced one tells is written to the first network, NaN to the others.
    """
    goal, steps, n = target(config), np.array(config.snapshot_steps), len(etas) - 1
    times = etas[:, None] * steps
    flow = deep_linear.flow(start, gains, goal, times, config.rtol, config.atol)
    runs = [run]
    for h in range(1, config.halvings + 1):
        runs.append(deep_linear.descend(start, gains, goal, etas / 2**h, [int(step) * 2**h for step in steps]))
    gaps = np.stack([np.sqrt(errors(run.maps[:n], flow.maps[:n]).mean(axis=1)) for run in runs], axis=1)
    checks = []
    for weights in (start, run.weights):
        pairs = (_kernels(tuple(w[i] for w in weights), gains[i]) for i in range(n))
        checks.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs])
    values, layers = np.array(config.singular_values), gains.shape[1]
    curves = np.stack([exact.mode(times[n], config.mode_start, s, layers) for s in values], axis=1)
    spectrum = np.sort(exact.balanced_kernel(curves[-1], config.outputs, config.dim, layers).ravel())
    eigenvalues = np.linalg.eigvalsh(exact.kernel([np.asarray(w[n]) for w in flow.weights], gains[n]))
    balanced = {
        "mode_path": along(run.maps[n], len(values)),
        "mode_flow": along(flow.maps[n], len(values)),
        "mode_gap": np.stack([np.sqrt(np.mean((along(r.maps[n], len(values)) - curves) ** 2, 0)) for r in runs], 1),
        "mode_kernel_gap": np.linalg.norm(eigenvalues - spectrum) / np.linalg.norm(spectrum),
    }
    balanced["mode_gap"] /= values[:, None]
    nothing = {name: np.full((n - 1, *np.shape(value)), np.nan) for name, value in balanced.items()}
    return {
        "balance": np.stack([run.imbalance[:n] for run in runs], axis=1),
        "balance_flow": np.asarray(flow.imbalance[:n]),
        "flow_gap": gaps / np.linalg.norm(goal),
        "autodiff_gap": np.max(checks, axis=0),
    } | {name: np.concatenate([np.asarray(value)[None], nothing[name]]) for name, value in balanced.items()}


def _kernels(weights: tuple, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    by_products = exact.kernel([np.asarray(w) for w in weights], list(gains))
    return by_products, np.asarray(deep_linear.kernel_by_autodiff(weights, jnp.asarray(gains)))


def along(maps: Any, modes: int) -> np.ndarray:
    """u_i^T A v_i along the target's singular vectors, which are unit vectors."""
    return np.asarray(maps)[..., np.arange(modes), np.arange(modes)]
