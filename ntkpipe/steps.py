"""One shard of a first-step study: draws of one gradient step and the mergeable sums of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ntkpipe.engines import jumps
from ntkpipe.engines.step_matrix_free import StepDraws
from ntkpipe.networks import Network
from ntkpipe.sampling import Arrays
from ntkpipe.streams import QUANTUM, Stream, quanta

STATISTICS = (
    "count",  # networks
    "ntk_0",  # sum of K_0, averaged over the diagonal of the train points
    "ntk_0_square",
    "delta",  # sum of DeltaK, the same average
    "delta_square",
    "linear",  # sum of eta dK/d eta with the gates held
    "linear_square",
    "flip",  # sum of DeltaK - eta dK/d eta: gate flips and higher orders in eta
    "flip_square",
    "ratio",  # sum of DeltaK/K_0 over networks with K_0 > 0
    "alive",  # number of networks with K_0 > 0
    "flipped",  # sum of the fraction of gates flipped
    "grown",  # number of networks whose kernel grows
    "delta_frobenius",  # sum of |DeltaK(X, X)|_F/|K_0(X, X)|_F on the train points
    "delta_eval",  # sum of DeltaK averaged over the diagonal of the points outside the batch
    "ntk_0_eval",
    "jump",  # sum of the predicted jump sum per unit eta (kinks, one train point, absolute eta)
)


def draw_shard(
    sample: Callable[..., StepDraws],
    network: Network,
    x: Float[np.ndarray, "k n0"],
    stream: Stream,
    start: int,
    stop: int,
    *,
    eta: float,
    relative: bool,
    label: float | str,
    n_train: int,
    block: int,
    keep: str,
) -> Arrays:
    """Draws start..stop of one cell: sums, and with ``keep`` full the draws; name -> (dims, array).

    Raises
    ------
    FloatingPointError: a draw is not finite.
    """
    parts = []
    for quantum, n in quanta(start, stop):
        labels = draw_labels(stream, quantum, label, n_train)
        draws = sample(network, x, labels[:n], (eta,), relative, stream, quantum, n)
        if not all(np.isfinite(part).all() for part in draws):
            raise FloatingPointError(f"a first step of quantum {quantum} is not finite")
        predicted = predicted_jumps(network, x, labels[:n], stream, quantum, relative)
        parts.append(reduce_draws(draws, predicted, n_train, block, keep))
    return {name: (dims, np.concatenate([part[name][1] for part in parts])) for name, (dims, _) in parts[0].items()}


def draw_labels(stream: Stream, quantum: int, label: float | str, n_train: int) -> Float[np.ndarray, "draw train"]:
    """y of the train points for a whole quantum, from a stream of their own."""
    if label == "normal":
        return Stream(stream.seed, stream.text + "/labels").generator(quantum).standard_normal((QUANTUM, n_train))
    return np.full((QUANTUM, n_train), float(label))


def predicted_jumps(network, x, labels, stream: Stream, quantum: int, relative: bool) -> Float[np.ndarray, " draw"]:
    """Independent draws of the predicted jump sum; NaN where the prediction does not apply."""
    if len(x) > 1 or relative or not jumps.applies(network):
        return np.full(len(labels), np.nan)
    return jumps.sample(network, x, labels[:, 0], Stream(stream.seed, stream.text + "/jumps"), quantum)


def reduce_draws(
    draws: StepDraws, predicted: Float[np.ndarray, " draw"], n_train: int, block: int, keep: str
) -> Arrays:
    """Draws of one quantum -> sums and kept draws."""
    eta = draws.eta[:, 0]
    delta = draws.ntk_1[:, 0] - draws.ntk_0
    linear = eta[:, None, None] * draws.derivative
    train, evaluation = slice(0, n_train), slice(n_train, None)
    ntk_0, change, first, outside, outside_0 = (
        _mean_diagonal(gram, part)
        for gram, part in (
            (draws.ntk_0, train),
            (delta, train),
            (linear, train),
            (delta, evaluation),
            (draws.ntk_0, evaluation),
        )
    )
    flip = change - first
    alive = ntk_0 > 0
    size, moved = (np.linalg.norm(gram[:, train, train], axis=(1, 2)) for gram in (draws.ntk_0, delta))
    columns = {
        "count": np.ones_like(eta),
        "ntk_0": ntk_0,
        "ntk_0_square": ntk_0**2,
        "delta": change,
        "delta_square": change**2,
        "linear": first,
        "linear_square": first**2,
        "flip": flip,
        "flip_square": flip**2,
        "ratio": np.divide(change, ntk_0, out=np.zeros_like(change), where=alive),
        "alive": alive.astype(float),
        "flipped": draws.flipped[:, 0],
        "grown": (change > 0).astype(float),
        "delta_frobenius": np.divide(moved, size, out=np.zeros_like(moved), where=size > 0),
        "delta_eval": outside,
        "ntk_0_eval": outside_0,
        "jump": predicted,
    }
    table = np.stack([columns[name] for name in STATISTICS], axis=1)
    arrays: Arrays = {"sums": (("block", "statistic"), np.add.reduceat(table, np.arange(0, len(table), block), axis=0))}
    if keep == "full":
        gram = ("seed", "input", "input_") if draws.ntk_0.shape[1] > 1 else ("seed",)
        for name, value in (("ntk", draws.ntk_0), ("delta_ntk", delta), ("delta_ntk_linear", linear)):
            arrays[name] = gram, value.reshape(len(value)) if len(gram) == 1 else value
        arrays["output"] = gram[:2], draws.output_0.reshape(len(eta)) if len(gram) == 1 else draws.output_0
        arrays["eta_used"] = ("seed",), eta
        arrays["flipped_fraction"] = ("seed",), draws.flipped[:, 0]
    return arrays


def _mean_diagonal(gram: Float[np.ndarray, "draw k k"], part: slice) -> Float[np.ndarray, " draw"]:
    diagonal = np.diagonal(gram, axis1=1, axis2=2)[:, part]
    return diagonal.mean(axis=1) if diagonal.shape[1] else np.full(len(gram), np.nan)
