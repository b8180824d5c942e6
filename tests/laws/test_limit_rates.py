"""At which rate finite networks come to the limit: kernels, their means, and what trained networks predict."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.analysis import collapse, infinite_width
from ntkpipe.engines import dense, matrix_free
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream
from ntkpipe.theory import function_space
from ntkpipe.theory.infinite_width import Kernels, kernels
from ntkpipe.training import paths

pytestmark = pytest.mark.law

X = np.array([[1.0, 0.3, -0.5], [0.2, -0.9, 0.4], [-0.6, 0.5, 0.8], [0.4, 0.4, 1.1], [-0.3, -1.0, 0.2]])
CONFIDENCE = 0.999


def drawn(network, name, quanta):
    """K_0 of independent networks."""
    parts = [matrix_free.sample(network, X, Stream(7, name), q, QUANTUM).ntk for q in range(quanta)]
    return np.concatenate(parts)


def width_exponent(widths, sizes):
    """The exponent of positive sizes, (width, seed): least squares of mean logs, the seeds resampled."""
    means = collapse.cell_means(np.log(sizes).ravel(), np.repeat(np.arange(len(widths)), sizes.shape[1]))
    slope = collapse.least_squares(np.log(widths)[:, None])[1]
    return collapse.estimate(slope, means, CONFIDENCE)


def test_kernels_fluctuate_like_width_to_the_minus_one_half():
    """Two hidden ReLU layers: the interval of the exponent of |K_0 - Theta| holds -1/2."""
    widths, sizes = (64, 128, 256), []
    for n in widths:
        network = Network(3, (n,) * 2, bias_init="zero", sigma_b=0.5)
        theta = kernels(network, X).ntk
        sizes.append(infinite_width.distance(drawn(network, "fluctuation", 1)[:512], theta, theta))
    found = width_exponent(widths, np.array(sizes))
    assert found.low < -0.5 < found.high and found.high - found.low < 0.3


def test_mean_kernels_come_to_the_limit_like_one_over_width():
    """Six ReLU layers. E K_0 - Theta is read along its own direction, which other networks of width 16 give."""
    widths, means = (16, 32, 64), []
    for n in widths:
        network = Network(3, (n,) * 6)
        theta = kernels(network, X).ntk
        if not means:
            direction = drawn(network, "direction", 8).mean(axis=0) - theta
            direction /= np.linalg.norm(direction) * np.linalg.norm(theta)
        along = np.einsum("sij,ij->s", drawn(network, "rates", 12) - theta, direction)
        means.append((along.mean(), along.std(ddof=1) / np.sqrt(len(along)), len(along) - 1.0))
    assert means[0][0] > 5 * means[0][1]
    found = infinite_width.power(np.array(widths, float), *np.array(means).T, CONFIDENCE).exponent
    assert found.low < -1 < found.high < -0.5


STEPS, ETA, TRAIN = (0, 3, 10), 0.15, 3
Y = np.array([0.8, -0.5, 0.3])


def learned(network, seeds):
    """f_t of independent networks at :data:`STEPS`, (seed, step, point)."""
    start = jax.vmap(partial(dense.init, network=network))(jax.random.split(jax.random.key(11), seeds))
    y, eta = jnp.tile(Y, (seeds, 1)), jnp.full(seeds, ETA)
    forward = jax.jit(jax.vmap(lambda params: dense.forward(params, jnp.asarray(X), network)))
    states = paths.follow(network, start, STEPS, jnp.asarray(X[:TRAIN]), y, eta, 1e6)
    return np.stack([np.asarray(forward(state.params)) for state in states], axis=1)


@pytest.mark.usefixtures("quick_compile")
def test_trained_networks_come_to_their_limit_and_their_means_faster():
    """tanh, one hidden layer: f_t less f_0 + A_t (y - f_0(X)) falls like width^-1/2, its mean like 1/width.

    And the variance of f_t over networks is the limit's at the widest, by its chi-square interval.
    """
    widths, sizes, means = (16, 64, 256), [], []
    for n in widths:
        network = Network(3, (n,), "tanh", bias_init="normal", sigma_b=0.3)
        both = kernels(network, X)
        limit = function_space.modes(Kernels(both.nngp[:, :TRAIN], both.ntk[:, :TRAIN]))
        seen = infinite_width.learned(limit, "gd", ETA, np.array(STEPS), ETA * np.array(STEPS))
        f = learned(network, 3072)
        gap = f - np.stack([infinite_width.linear(limit, seen, start, Y) for start in f[:, 0]])
        m = function_space.mean(limit, seen, Y)
        shift = infinite_width.shift(gap[:, -1], m[-1])
        means.append((shift.mean(), shift.std(ddof=1) / np.sqrt(len(shift)), len(shift) - 1.0))
        sizes.append(infinite_width.rms(gap[:256, -1], 1.0))
    one = width_exponent(widths[1:], np.array(sizes)[1:])
    assert one.low < -0.5 < one.high and one.high - one.low < 0.3
    assert abs(means[0][0]) > 5 * means[0][1]
    mean = infinite_width.power(np.array(widths, float), *np.array(means).T, CONFIDENCE).exponent
    assert mean.low < -1 < mean.high < -0.5
    # the variance over networks, at the widest
    variance = function_space.variance(limit, seen, np.diag(both.nngp).copy())
    covariance = function_space.covariance(limit, seen, both.nngp)
    for k in range(len(STEPS)):
        ratio = infinite_width.variance_ratio(f[:256, k], variance[k], covariance[k], CONFIDENCE)
        assert ratio.low < 1 < ratio.high and ratio.high / ratio.low < 2
        wrong = infinite_width.variance_ratio(f[:256, k], variance[k - 1], covariance[k - 1], CONFIDENCE)
        assert not wrong.low < 1 < wrong.high
