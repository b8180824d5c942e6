"""The recursion of (f, K, Kdot): Wishart moments by hand, double sum and small networks by hand."""

from math import comb, factorial

import numpy as np
import pytest

from ntkpipe.networks import Network
from ntkpipe.theory import first_step, step_recursion
from ntkpipe.theory.recursion import layer_moment
from ntkpipe.theory.step_recursion import wishart_moment


def _evaluate(moment, b, q, r, nu):
    def rising(p):
        return np.prod([nu / 2 + k for k in range(p)])

    return sum(c * b**i * q**j * r**k * rising(p) for (i, j, k, p), c in moment.items())


@pytest.mark.parametrize("nu", [0, 1, 2, 5])
def test_wishart_moments_by_hand(nu):
    b, q, r = 1.3, 0.4, 0.9
    cases = {
        (1, 0, 0): nu * b,
        (0, 1, 0): nu * q,
        (2, 0, 0): nu * (nu + 2) * b**2,
        (0, 2, 0): nu * (b * r + q**2) + nu**2 * q**2,
        (1, 0, 1): nu**2 * b * r + 2 * nu * q**2,
        (1, 1, 0): nu * (nu + 2) * b * q,
        (3, 0, 0): nu * (nu + 2) * (nu + 4) * b**3,
        (0, 0, 4): nu * (nu + 2) * (nu + 4) * (nu + 6) * r**4,
    }
    for powers, value in cases.items():
        assert _evaluate(wishart_moment(*powers), b, q, r, nu) == pytest.approx(value, rel=1e-12), powers


def test_wishart_moment_of_one_direction_is_isserlis():
    """nu = 1: W12^3 = (x y)^3, E = 9 b q r + 6 q^3 for Gaussians with E x^2 = b, E x y = q, E y^2 = r."""
    b, q, r = 1.3, 0.4, 0.9
    assert _evaluate(wishart_moment(0, 3, 0), b, q, r, 1) == pytest.approx(9 * b * q * r + 6 * q**3, rel=1e-12)


def test_odd_monomials_are_refused():
    with pytest.raises(ValueError, match="odd power"):
        step_recursion.image((1, 0, 0, 0, 0, 0, 0))


def mean_f_kdot_double_sum(network: Network, norm_squared: float) -> float:
    """E[f Kdot] without biases as a sum over pairs of layers k < l: derived apart from the recursion.

    2 sum 2 g_l g_k E[F_{l-1} B_l] E|h^{k-1}|^4 X_{k,l}, X_{l-1,l} = E[R_{l-1}],
    X_{k,l} = E[R_k] prod_{j=k+1}^{l-1} E[R_j^2] + v_{k+1} E[R_k (m_k - 1)^+] X_{k+1,l}.
    """
    d, v, g, widths = network.depth, network.weight_variance, network.weight_gain, network.widths
    r1 = [v[k] * layer_moment(widths[k], 1, 0) for k in range(d)]
    r2 = [v[k] ** 2 * layer_moment(widths[k], 2, 0) for k in range(d)]
    ab = [v[k] * layer_moment(widths[k], 1, 1) for k in range(d)]
    square, cross = 3.0 * v[d] ** 2, v[d]
    fb = {d + 1: cross}
    for k in range(d, 0, -1):
        n = widths[k - 1]
        cross = v[k - 1] * (layer_moment(n, 1, 0) * square + v[k] * layer_moment(n, 1, 1) * cross)
        square = v[k - 1] ** 2 * layer_moment(n, 2, 0) * square
        fb[k] = cross
    forward = norm_squared**2 * np.concatenate([[1.0], np.cumprod(r2)])
    total = 0.0
    for layer in range(2, d + 2):
        x, second = r1[layer - 2], 1.0
        for k in range(layer - 1, 0, -1):
            if k < layer - 1:
                second *= r2[k]
                x = r1[k - 1] * second + v[k] * ab[k - 1] * x
            total += 4.0 * g[layer - 1] * g[k - 1] * fb[layer] * forward[k - 1] * x
    return total


@pytest.mark.parametrize("widths", [(1,), (3,), (8, 12, 10), (32,) * 8, (2, 64, 5, 7)])
@pytest.mark.parametrize("settings", [{}, {"parametrization": "standard"}, {"sigma_w": 1.0, "sigma_v": 2.0}])
def test_mean_is_the_double_sum(widths, settings):
    network = Network(6, widths, **settings)
    expected = mean_f_kdot_double_sum(network, 0.7)
    assert first_step.mean_f_kdot(network, 0.7) == pytest.approx(expected, rel=1e-12)


def test_frozen_readout_is_the_double_sum_without_its_gain():
    trained, frozen = (Network(6, (8, 12, 10), readout=readout) for readout in ("trained", "frozen"))
    expected = mean_f_kdot_double_sum(frozen, 1.0)
    assert first_step.mean_f_kdot(frozen, 1.0) == pytest.approx(expected, rel=1e-12)
    assert 0 < expected < first_step.mean_f_kdot(trained, 1.0)


def _one_layer(network: Network, norm_squared: float, power: int, with_f: bool) -> float:
    """E[(f^with_f Kdot)^2] of one hidden layer by hand.

    f = |x| s phi, Kdot = 4 (g_1|x|^2 + t_1) g_2 delta.h = 4 (g_1|x|^2 + t_1) g_2 f: delta^1.h^1 = f, and
    f = |x| s phi with phi ~ N(0, v_2), s^2 = v_1 a, a ~ chi2(m), m ~ Binomial(n, 1/2).
    """
    n = network.widths[0]
    v, g, t = network.weight_variance, network.weight_gain, network.bias_gain
    factor = 4 * (g[0] * norm_squared + t[0]) * g[1]
    order = power * (1 + with_f) // 2  # of f^2
    a = sum(comb(n, m) / 2**n * np.prod([m + 2.0 * r for r in range(order)]) for m in range(1, n + 1))
    gauss = factorial(2 * order) / (2**order * factorial(order))
    return factor**power * (norm_squared * v[0] * v[1]) ** order * a * gauss


@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("width", [1, 2, 9])
def test_second_moment_of_one_hidden_layer_by_hand(bias_init, parametrization, width):
    network = Network(3, (width,), bias_init=bias_init, parametrization=parametrization, sigma_b=0.6)
    got = first_step.derivative(network, 0.8, label_square=2.5)
    expected = _one_layer(network, 0.8, 2, True) + 2.5 * _one_layer(network, 0.8, 2, False)
    assert got.second == pytest.approx(expected, rel=1e-12)
    f_kdot = _one_layer(network, 0.8, 2, False) / (4 * (network.weight_gain[0] * 0.8 + network.bias_gain[0]))
    assert got.mean == pytest.approx(-f_kdot / network.weight_gain[1], rel=1e-12)


def test_derivative_scales_with_the_input_without_biases():
    network = Network(6, (8, 12, 10))
    one, two = (first_step.derivative(network, norm) for norm in (1.0, 3.0))
    assert two.mean == pytest.approx(9 * one.mean, rel=1e-12)
    assert two.second == pytest.approx(81 * one.second, rel=1e-12)


def test_networks_without_an_exact_law_are_refused():
    for settings in ({"activation": "tanh"}, {"bias_init": "normal"}):
        with pytest.raises(ValueError, match="exact derivative needs"):
            first_step.derivative(Network(6, (8,), **settings), 1.0)


def test_linear_model_does_not_move():
    assert first_step.derivative(Network(6, ()), 1.0) == (0.0, 0.0)
