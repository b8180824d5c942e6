"""Infinite width beside the networks of a cell: the mean-field limit by quadrature, or the frozen kernel's law.

In ``mean_field`` every network tends to one path; in ``ntk`` K stays and f_t keeps a law over networks (docs/theory.md
sections 7 and 12).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ntkpipe import angles
from ntkpipe.kinds.mean_field import draw
from ntkpipe.networks import MEAN_FIELD
from ntkpipe.theory import function_space, infinite_width, mean_field


class Limit(NamedTuple):
    """At every snapshot: what networks of infinite width do.

    f: output in the mean over networks; spread: root mean square over points of its deviation from that; modes: root
    of the expected power of the residual in each frequency of the target; error: how far the quadrature's coarser
    sibling is off in K, relative (0 where there is none).
    """

    f: Float[np.ndarray, "snapshot n"]
    spread: Float[np.ndarray, " snapshot"]
    ntk: Float[np.ndarray, "snapshot n n"]
    loss: Float[np.ndarray, " snapshot"]
    modes: Float[np.ndarray, "snapshot q"]
    moments: Float[np.ndarray, "snapshot test"]
    error: Float[np.ndarray, " snapshot"]


def of(cell: Any) -> Limit:
    """The limit of a cell of a study."""
    network, settings = cell.network, cell.settings
    theta, y = draw.data(settings)
    x, steps = angles.on_circle(theta), settings.snapshot_steps
    eta, scale = draw.flow_step(network, settings, x), 1 / (settings.train if settings.loss == "mean" else 1)
    columns = mode_columns(settings)
    if network.parametrization == MEAN_FIELD:
        path, coarse = (
            mean_field.follow(
                network,
                mean_field.quadrature(network.activation, settings.limit_angles // part, settings.limit_amplitudes),
                *(steps, x, y, eta, settings.method == "flow"),
            )
            for part in (1, 2)
        )
        residual = path.f - y
        power = np.stack([np.sum((residual @ c) ** 2, axis=1) for c in columns], axis=1)
        error = np.linalg.norm(path.ntk - coarse.ntk, axis=(1, 2)) / np.linalg.norm(path.ntk, axis=(1, 2))
        loss = 0.5 * scale * np.sum(residual**2, axis=1)
        return Limit(path.f, np.zeros(len(steps)), path.ntk, loss, np.sqrt(power), path.moments, error)
    kernels = infinite_width.kernels(replace(network, parametrization="ntk"), x)
    spectrum = function_space.modes(kernels)
    time = eta * np.array(steps, float)
    learned = (
        function_space.flow(spectrum, time)
        if settings.method == "flow"
        else function_space.descent(spectrum, eta, np.array(steps))
    )
    f = function_space.mean(spectrum, learned, y)
    covariance = function_space.covariance(spectrum, learned, kernels.nngp)
    variance = np.trace(covariance, axis1=1, axis2=2) / len(y)
    power = np.stack(
        [np.sum(((f - y) @ c) ** 2, axis=1) + np.einsum("iq,tij,jq->t", c, covariance, c) for c in columns], axis=1
    )
    loss = 0.5 * scale * (np.sum((f - y) ** 2, axis=1) + len(y) * variance)
    shape = (len(steps), *kernels.ntk.shape)
    start = np.array([mean for mean, _ in mean_field.at_start(network.input_dim).values()])
    return Limit(
        f,
        np.sqrt(variance),
        np.broadcast_to(kernels.ntk, shape),
        loss,
        np.sqrt(np.maximum(power, 0.0)),  # of a mode that is learned rounding is left
        np.tile(start, (len(steps), 1)),
        np.zeros(len(steps)),
    )


def mode_columns(settings: Any) -> list[Float[np.ndarray, "n columns"]]:
    """For each frequency of the target the modes of unit norm, over N and |y_q|: the power of y is 1 in each."""
    theta, y = draw.data(settings)
    modes = angles.fourier_modes(theta, max(settings.frequencies)) / len(theta)
    which = angles.mode_frequencies(max(settings.frequencies))
    parts = [modes[:, which == q] for q in settings.frequencies]
    return [part / np.linalg.norm(y @ part) for part in parts]
