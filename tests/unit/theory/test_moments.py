"""Exact moments against closed forms, against exact enumeration, and among each other."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import comb, exp, log, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe.networks import Network
from ntkpipe.theory import moments

# log_moments multiplies matrices of positive entries: relative error of about (layers x terms) ulp.
ROUNDING = 1e-12


@pytest.mark.parametrize("input_dim", [1, 10])
@pytest.mark.parametrize("widths", [(), (1,), (3, 7, 2), (64,) * 32, (1024,) * 3])
def test_mean_without_biases(input_dim, widths):
    expected = (len(widths) + 1) * 2.5 / input_dim
    if widths == ():
        expected = 2.5 / input_dim  # K = sigma_v^2 |x|^2/n_0
    assert moments.mean(Network(input_dim, widths), 2.5) == pytest.approx(expected, rel=ROUNDING)


def _traps_formula(n, depth):
    """docs/theory.md, section 8: S2 at equal widths, no biases, L = depth + 1 weight layers."""
    layers, r = depth + 1, (1 - 1 / n) / (1 + 5 / n)
    total = sum(1 / 3 + (2 / 3) * r ** abs(i - j) for i in range(layers) for j in range(layers))
    return (1 + 5 / n) ** (layers - 1) * total / layers**2


@pytest.mark.parametrize(("n", "depth"), [(1, 1), (1, 6), (2, 5), (10, 11), (64, 64), (256, 30), (5000, 4)])
def test_s2_at_equal_widths_is_the_closed_sum(n, depth):
    assert moments.s2(Network(10, (n,) * depth), 1.0) == pytest.approx(_traps_formula(n, depth), rel=ROUNDING)


def test_the_numbers_of_the_notes():
    net = Network(10, (10,) * 11)
    assert exp(moments.log_moments(net, 1.0, 2)[1]) == pytest.approx(64.88, abs=0.005)
    assert moments.s2(net, 1.0) == pytest.approx(45.06, abs=0.005)
    # Trained biases tame the law. The notes say 9.45; 9.504 rests on the enumeration below.
    biased = Network(10, (10,) * 11, bias_init="zero")
    assert moments.s2(biased, 1.0) == pytest.approx(9.45, rel=0.01)


@pytest.mark.parametrize("output_bias", [True, False])
@pytest.mark.parametrize("widths", [(), (1,), (1, 2, 3), (3, 1, 1, 2), (10,) * 11, (9, 4)])
def test_mean_with_trained_biases(widths, output_bias):
    """(d + 1)|x|^2/n_0 + sigma_b^2 [output bias + (1/2) sum_l prod_{k<l} (1 - 2^-n_k)]."""
    net = Network(4, widths, bias_init="zero", sigma_b=0.7, output_bias=output_bias)
    hidden = 0.5 * sum(prod(1 - 0.5**n for n in widths[:below]) for below in range(len(widths)))
    weights = (len(widths) + 1) * 1.5 / 4
    expected = weights + 0.49 * (output_bias + hidden)
    assert moments.mean(net, 1.5) == pytest.approx(expected, rel=ROUNDING)


def test_bias_term_of_wide_networks_is_half_the_depth_plus_one():
    net = Network(1, (1000,) * 8, bias_init="zero", sigma_b=2.0)
    assert moments.mean(net, 1.0) == pytest.approx(9 + 4 * (8 / 2 + 1), rel=ROUNDING)


# --- exact enumeration ------------------------------------------------------------------------
#
# Given the sets of active units K is the kernel of a linear network on these units, a polynomial
# in Gaussian weights that is unchanged when a unit's incoming and outgoing weights change sign.
# So the gates are independent fair coins, and E[K^p] is a finite sum of Gaussian moments. No
# chi-squares, no recursion: this knows nothing of the theory tested. Rotating x onto an axis,
# only one weight a unit counts in the first layer, with h^0 = |x|.


class _Polynomial(dict):
    """monomial (sorted tuple of variables) -> coefficient."""

    def __add__(self, other):
        result = _Polynomial(self)
        for mono, c in other.items():
            result[mono] = result.get(mono, 0) + c
        return result

    def __mul__(self, other):
        result = _Polynomial()
        for (m1, c1), (m2, c2) in product(self.items(), other.items()):
            mono = tuple(sorted(m1 + m2))
            result[mono] = result.get(mono, 0) + c1 * c2
        return result

    def mean(self):
        return sum(c * prod(_gaussian(mono.count(v)) for v in set(mono)) for mono, c in self.items())


def _gaussian(power):
    return 0 if power % 2 else prod(range(1, power, 2))


def _constant(value):
    return _Polynomial({(): value})


def _total(terms):
    result = _Polynomial()
    for term in terms:
        result = result + term
    return result


def _linear_kernel(active, v, gains, bias_gains, norm_squared):
    """K of the linear network with these numbers of units: coefficients v go to squared weights.

    Every weight enters K an even number of times together with its scale, so the scale sqrt(v)
    is carried as v on each *pair*: z is kept with unit weights and v multiplied per squared layer.
    """
    outs, fans = (*active, 1), (1, *active)
    weights = [
        [[_Polynomial({((layer, j, i),): Fraction(1)}) for i in range(fans[layer])] for j in range(outs[layer])]
        for layer in range(len(outs))
    ]
    h, up = [[_constant(Fraction(1))]], [norm_squared]
    for layer in range(len(active)):
        h.append([_total(w * below for w, below in zip(row, h[-1], strict=True)) for row in weights[layer]])
        up.append(up[-1] * v[layer])
    delta, down = [_constant(Fraction(1))], Fraction(1)
    kernel = _Polynomial()
    for layer in range(len(active), -1, -1):
        inner = _total(part * part for part in h[layer])
        outer = _total(part * part for part in delta)
        kernel = kernel + inner * outer * _constant(gains[layer] * up[layer] * down)
        kernel = kernel + outer * _constant(bias_gains[layer] * down)
        if layer:
            columns = zip(*weights[layer], strict=True)
            delta = [_total(w * above for w, above in zip(column, delta, strict=True)) for column in columns]
            down = down * v[layer]
    return kernel


def _enumerated(net, norm_squared, order):
    """E[K^p], p = 1..order, as exact fractions."""
    v, gains, bias_gains = (
        [Fraction(x).limit_denominator(10**6) for x in part]
        for part in (net.weight_variance, net.weight_gain, net.bias_gain)
    )
    found = [Fraction(0)] * order
    for active in product(*(range(n + 1) for n in net.widths)):
        chance = prod(Fraction(comb(n, m), 2**n) for n, m in zip(net.widths, active, strict=True))
        if 0 in active:
            kernel = _constant(bias_gains[-1])
        else:
            kernel = _linear_kernel(active, v, gains, bias_gains, norm_squared)
        power = _constant(Fraction(1))
        for p in range(order):
            power = power * kernel
            found[p] += chance * power.mean()
    return found


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize(
    ("widths", "order"),
    [((), 4), ((1,), 4), ((3,), 4), ((1, 1, 1), 4), ((2, 1), 4), ((1, 2), 4), ((2, 2), 3), ((2, 1, 2), 2), ((1, 3), 3)],
)
def test_moments_are_those_of_exact_enumeration(widths, order, bias_init, parametrization):
    settings = {"sigma_b": 0.5, "sigma_v": 1.5, "parametrization": parametrization, "bias_init": bias_init}
    net = Network(3, widths, **settings)
    expected = [log(value) for value in _enumerated(net, Fraction(7, 4), order)]
    np.testing.assert_allclose(moments.log_moments(net, 1.75, order), expected, rtol=0, atol=ROUNDING)


def test_enumeration_without_output_bias():
    net = Network(3, (2, 1), bias_init="zero", output_bias=False)
    expected = [log(value) for value in _enumerated(net, Fraction(1), 3)]
    np.testing.assert_allclose(moments.log_moments(net, 1.0, 3), expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("n", [1, 4, 50])
def test_one_hidden_layer_by_hand(n):
    """ntk: K = (2/n_0 n)|x|^2 chi2(2m); standard: E[K] = (n/2)|x|^2 (2/n_0 + 1/n)."""
    scale = 2 / (3 * n) * 1.75
    for p, value in enumerate(np.exp(moments.log_moments(Network(3, (n,)), 1.75)), start=1):
        expected = sum(comb(n, m) * 0.5**n * prod(2 * m + 2 * r for r in range(p)) for m in range(1, n + 1))
        assert value == pytest.approx(scale**p * expected, rel=ROUNDING)
    standard = Network(3, (n,), parametrization="standard")
    assert moments.mean(standard, 1.75) == pytest.approx(n / 2 * 1.75 * (2 / 3 + 1 / n), rel=ROUNDING)


def test_depth_zero_is_a_constant():
    net = Network(5, (), sigma_v=2.0)
    np.testing.assert_allclose(moments.log_moments(net, 3.0), np.arange(1, 5) * log(4 * 3 / 5), rtol=1e-14)
    assert moments.s2(net, 3.0) == pytest.approx(1, rel=1e-14)
    assert moments.s2_relative_sd(net, 3.0) == pytest.approx(0, abs=1e-7)  # a root of a difference of ones
    assert moments.dead_fraction(net) == 0


NETWORKS = st.fixed_dictionaries(
    {
        "input_dim": st.integers(1, 20),
        "widths": st.lists(st.integers(1, 200), max_size=40).map(tuple),
        "parametrization": st.sampled_from(["ntk", "standard"]),
        "bias_init": st.sampled_from(["none", "zero"]),
        "sigma_b": st.floats(0.01, 10),
        "output_bias": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(keys=NETWORKS, norm_squared=st.floats(0.01, 100))
def test_orders_are_consistent(keys, norm_squared):
    """log E[K^p] is convex in p (Lyapunov) and 0 at p = 0; hence Jensen's E[K^p] >= E[K]^p."""
    net = Network(**keys)
    logs = np.concatenate([[0.0], moments.log_moments(net, norm_squared)])
    slack = ROUNDING * (1 + np.abs(logs).max())
    assert np.all(np.diff(logs, 2) >= -slack)
    assert np.all(logs[1:] >= np.arange(1, 5) * logs[1] - slack)


@settings(max_examples=30, deadline=None)
@given(keys=NETWORKS, factor=st.floats(0.01, 100))
def test_scales(keys, factor):
    """K is of degree one in (|x|^2, sigma_b^2) in the ntk parametrization."""
    net = Network(**(keys | {"parametrization": "ntk"}))
    scaled = replace(net, sigma_b=net.sigma_b * factor**0.5)
    shift = moments.log_moments(scaled, factor) - moments.log_moments(net, 1.0)
    np.testing.assert_allclose(shift, np.arange(1, 5) * log(factor), rtol=0, atol=1e-10)


@pytest.mark.parametrize("sigma_w", [0.1, 1.0, 8.0])
def test_moments_far_outside_the_float_range(sigma_w):
    """Without biases K scales with (sigma_w^2/2)^depth: e^-1350 and e^+890 are no obstacle to logs."""
    he, other = Network(10, (64,) * 256), Network(10, (64,) * 256, sigma_w=sigma_w)
    expected = moments.log_moments(he, 1.0) + np.arange(1, 5) * 256 * log(sigma_w**2 / 2)
    np.testing.assert_allclose(moments.log_moments(other, 1.0), expected, rtol=1e-10)
    assert moments.s2(other, 1.0) == pytest.approx(moments.s2(he, 1.0), rel=1e-8)


@pytest.mark.parametrize("widths", [(1, 2), (3, 1, 5), (10,) * 7])
def test_dead_fraction(widths):
    assert moments.dead_fraction(Network(2, widths)) == pytest.approx(1 - prod(1 - 0.5**n for n in widths), rel=1e-13)


def test_dead_fraction_of_wide_networks_does_not_cancel_and_is_no_negative_zero():
    assert moments.dead_fraction(Network(2, (100,) * 3)) == pytest.approx(3 * 0.5**100, rel=1e-12)
    assert str(moments.dead_fraction(Network(2, (2048, 2048)))) == "0.0"


def test_relative_sd_of_s2_by_hand():
    """Depth 1, ntk: K = c chi2(2m), so all four moments are binomial sums."""
    n = 5
    e = [sum(comb(n, m) / 2**n * prod(2 * m + 2 * r for r in range(p)) for m in range(n + 1)) for p in range(5)]
    # Var(K^2/e2 - 2 K/e1), written out
    variance = (e[4] / e[2] ** 2 - 1) + 4 * (e[2] / e[1] ** 2 - 1) - 4 * (e[3] / (e[1] * e[2]) - 1)
    assert moments.s2_relative_sd(Network(3, (n,)), 1.0) == pytest.approx(variance**0.5, rel=1e-10)


@pytest.mark.parametrize(
    ("network", "norm", "order", "text"),
    [
        (Network(3, (4,), activation="tanh"), 1.0, 2, "relu.*activation was 'tanh'"),
        (Network(3, (4,), bias_init="normal"), 1.0, 2, "bias_init none or zero.*was 'normal'"),
        (Network(3, (4,)), 1.0, 5, "order must be 1 to 4; it was 5"),
        (Network(3, (4,)), 1.0, 0, "order must be 1 to 4; it was 0"),
        (Network(3, (4,)), 0.0, 1, "norm_squared must be positive; it was 0.0"),
        (Network(3, (4,)), float("nan"), 1, "norm_squared must be positive; it was nan"),
    ],
)
def test_refusals(network, norm, order, text):
    with pytest.raises(ValueError, match=text):
        moments.log_moments(network, norm, order)
