"""What a snapshot of a network in training records."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training.descent import Params, direction, distance, moved


class Snapshot(NamedTuple):
    """One network at one time.

    f_linear_train: f_0 + <grad f(theta_0), theta_t - theta_0>; distance: |theta_t - theta_0| in the trained variables;
    remainder: |f(theta') - f(theta) + eta K_t r|_2 of one full-batch step of eta (in flow time) from here.
    """

    f_train: Float[Array, " train"]
    f_eval: Float[Array, " eval"]
    ntk_train: Float[Array, "train train"]
    ntk_eval_train: Float[Array, "eval train"]
    f_linear_train: Float[Array, " train"]
    distance: Float[Array, ""]
    remainder: Float[Array, ""]


def snapshot(
    params: Params,
    start: Params,
    x_train: Float[Array, "train n0"],
    y_train: Float[Array, " train"],
    x_eval: Float[Array, "eval n0"],
    eta: Float[Array, ""],
    network: Network,
) -> Snapshot:
    """Kernels by the layer-wise identity, outputs, and how far the linear picture holds."""
    n = len(x_train)
    ntk, f = dense.ntk_and_output(params, jnp.concatenate([x_train, x_eval]), network, columns=n)
    change = jax.tree.map(lambda p, q: p - q, params, start)
    f_start, slope = jax.jvp(lambda p: dense.forward(p, x_train, network), (start,), (change,))
    residual = f[:n] - y_train
    after = dense.forward(moved(params, direction(params, x_train, residual, network), eta), x_train, network)
    return Snapshot(
        f_train=f[:n],
        f_eval=f[n:],
        ntk_train=ntk[:n],
        ntk_eval_train=ntk[n:],
        f_linear_train=f_start + slope,
        distance=distance(params, start, network),
        remainder=jnp.linalg.norm(after - f[:n] + eta * ntk[:n] @ residual),
    )
