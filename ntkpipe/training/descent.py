r"""Training of one network: full-batch gradient descent, minibatch SGD, gradient flow; to be vmapped over seeds.

Loss s/2 |f(X) - y|^2 with s = 1 (``half_sum``) or 1/N (``mean``). A step in the trained variables moves W^l by
-eta g_l dL/dW^l and b^l by -eta t_l dL/db^l (docs/theory.md sections 1 and 5); in flow time t = eta s k both are
discretizations of

.. math:: \dot\theta = -\sum_i r_i \nabla f(x_i), \qquad \dot r = -K_t r.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ntkpipe.activations import KINKED
from ntkpipe.engines import dense
from ntkpipe.networks import Network

Params = list[tuple[Array, Array]]

MAX_STEPS = 20_000
"""Of the flow's integrator between two snapshots; beyond, the run is given up."""
SMALLEST = 0.03, 1.0, 1 / 5_000
"""The flow's smallest step at kinks, where none meets the tolerances: the first over tr K_t; where the time between two
snapshots is too long for that, this time times the third, up to the second over tr K_t."""


class State(NamedTuple):
    """One network in training.

    diverged: the step at which it diverged (-1: it did not); gave_up: whether the flow's integrator ran out of steps.
    """

    params: Any
    step: Int[Array, ""]
    diverged: Int[Array, ""]
    gave_up: Any = False


def critical_steps(ntk: Float[np.ndarray, "seed n n"], eta: float, scale: float = 1.0) -> Float[np.ndarray, " seed"]:
    """eta times 2/(s lambda_max(K_0)), where a frozen kernel stops converging, of each network; 0 of a dead one."""
    largest = np.linalg.eigvalsh(ntk)[:, -1]
    return np.divide(2.0 * eta / scale, largest, out=np.zeros(len(ntk)), where=largest > 0)


def gains(network: Network) -> list[tuple[float, float]]:
    """(g_l, t_l) of each run of layers."""
    return [(network.weight_gain[first], network.bias_gain[first]) for first, _ in dense.runs(network)]


def slope(params: Params, x, network: Network) -> tuple[Float[Array, " k"], Callable[[Array], Params]]:
    """f(x), and r -> -sum_i r_i grad f(x_i) as a change of the stored weights and biases, from one forward pass."""
    output, pull = jax.vjp(lambda p: dense.forward(p, x, network), params)

    def change(residual):
        (gradient,) = pull(residual)
        return [(-g * w, -t * b) for (w, b), (g, t) in zip(gradient, gains(network), strict=True)]

    return output, change


def direction(params: Params, x, residual, network: Network) -> Params:
    """-sum_i r_i grad f(x_i) as a change of the stored weights and biases."""
    return slope(params, x, network)[1](residual)


def moved(params: Params, change: Params, size) -> Params:
    """params + size * change."""
    return jax.tree.map(lambda p, c: p + size * c, params, change)


def marked(state: State, bad) -> State:
    """The state, with this step noted as that of divergence where ``bad``, unless one was noted before."""
    return state._replace(diverged=jnp.where((state.diverged < 0) & bad, state.step, state.diverged))


def distance(params: Params, start: Params, network: Network) -> Float[Array, ""]:
    """|theta - theta_0| in the trained variables."""
    total = 0.0
    for (w, b), (w_0, b_0), (g, t) in zip(params, start, gains(network), strict=True):
        total += jnp.sum((w - w_0) ** 2) / g if g else 0.0
        total += jnp.sum((b - b_0) ** 2) / t if t else 0.0
    return jnp.sqrt(total)


def descend(
    state: State,
    steps: Int[Array, ""],
    x: Float[Array, "train n0"],
    y: Float[Array, " train"],
    eta: Float[Array, ""],
    limit: Float[Array, ""],
    network: Network,
) -> State:
    """``steps`` steps of full-batch gradient descent; eta in flow time (step size times s).

    ``limit``: the value of |r|^2 from which on (or where it is not finite) the run has diverged.
    """

    def one(_, state: State) -> State:
        output, change = slope(state.params, x, network)
        residual = output - y
        state = marked(state, ~(jnp.sum(residual**2) <= limit))
        return state._replace(params=moved(state.params, change(residual), eta), step=state.step + 1)

    return jax.lax.fori_loop(0, steps, one, state)


def descend_stochastically(
    state: State,
    steps: Int[Array, ""],
    x: Float[Array, "train n0"],
    y: Float[Array, " train"],
    eta: Float[Array, ""],
    limit: Float[Array, ""],
    network: Network,
    *,
    batch: int,
    key: Key[Array, ""],
) -> State:
    """``steps`` steps on minibatches, drawn without replacement for each step by its number.

    The gradient of a batch is scaled by N/batch, so that its mean is the full one.
    """
    count = len(x)

    def one(_, state: State) -> State:
        rows = jax.random.choice(jax.random.fold_in(key, state.step), count, (batch,), replace=False)
        output, change = slope(state.params, x[rows], network)
        residual = output - y[rows]
        state = marked(state, ~(jnp.sum(residual**2) * count / batch <= limit))
        return state._replace(params=moved(state.params, change(residual), eta * count / batch), step=state.step + 1)

    return jax.lax.fori_loop(0, steps, one, state)


def flow(
    state: State,
    steps: Int[Array, ""],
    x: Float[Array, "train n0"],
    y: Float[Array, " train"],
    eta: Float[Array, ""],
    limit: Float[Array, ""],
    network: Network,
    *,
    rtol: float,
    atol: float,
    floor: float | None = 1.0,
) -> State:
    """Gradient flow over the time ``steps * eta``: Tsitouras' 5(4) pair with a PI step-size controller (diffrax).

    ``floor``: the smallest step of a network with kinks, in units of :data:`SMALLEST`; steps at most MAX_STEPS/floor.
    None: no smallest step, and the run is given up where gates chatter.
    """
    import diffrax

    def field(_, params, __):
        output, change = slope(params, x, network)
        return change(output - y)

    time, smallest = steps * eta, None
    if network.activation in KINKED and floor is not None:
        trace, (low, high, share) = jnp.trace(dense.ntk_and_output(state.params, x, network)[0]), SMALLEST
        smallest = floor * jnp.clip(share * time, low / trace, high / trace)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=time,
        dt0=None,
        y0=state.params,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol, dtmin=smallest, force_dtmin=True),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=int(MAX_STEPS / (floor or 1.0)),
        throw=False,
    )
    params = jax.tree.map(lambda leaf: leaf[0], solution.ys)
    residual = dense.forward(params, x, network) - y
    gave_up = state.gave_up | (solution.result == diffrax.RESULTS.max_steps_reached)
    state = State(params, state.step + steps, state.diverged, gave_up)
    return marked(state, ~(jnp.sum(residual**2) <= limit) & ~gave_up)
