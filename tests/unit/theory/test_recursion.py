"""The recursion's pieces against brute force: binomial-chi2 moments, top moments, linearity."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from ntkpipe.engines import scalar
from ntkpipe.networks import Network
from ntkpipe.theory import recursion
from ntkpipe.theory.recursion import ONE, B, F, G, S, layer_edges, layer_moment, monomials


def _chi2_moment(degrees, power):
    """E[X^power] for X ~ chi2(degrees) = degrees (degrees + 2) ...; chi2 of 0 or fewer is 0."""
    value = Fraction(1)
    for r in range(power):
        value *= max(degrees, 0) + 2 * r
    return value if power == 0 or degrees > 0 else Fraction(0)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
@pytest.mark.parametrize(("i", "j"), [(0, 0), (1, 0), (0, 1), (2, 1), (1, 3), (4, 0), (0, 4), (4, 4)])
def test_layer_moment_is_the_binomial_sum(n, i, j):
    expected = sum(Fraction(comb(n, m), 2**n) * _chi2_moment(m, i) * _chi2_moment(m - 1, j) for m in range(1, n + 1))
    assert layer_moment(n, i, j) == float(expected)  # exact up to the one rounding


@pytest.mark.parametrize(("with_biases", "count"), [(False, [3, 6, 10, 15]), (True, [5, 15, 35, 70])])
def test_number_of_monomials(with_biases, count):
    assert [len(monomials(p, with_biases)) for p in (1, 2, 3, 4)] == count


def test_top_monomials_carry_the_moments_of_g():
    net = Network(3, (4,), sigma_v=2.0, bias_init="zero", sigma_b=0.5)
    values = dict(zip(monomials(3, True), recursion.initial_monomials(net, 3, True), strict=True))
    v = 4 / 4  # sigma_v^2/n
    assert values[F, F, F] == pytest.approx(15 * v**3)
    assert values[G, F, F] == pytest.approx(3 * v * v**2)
    assert values[G, G, B] == pytest.approx(v**2)
    assert values[S, S, ONE] == pytest.approx(0.25**2)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_edges_are_the_engine_step_on_monomials(degree, parametrization):
    """One layer with given (m, a, b), by the scalar engine's step and by the edges."""
    net = Network(3, (4, 5), parametrization=parametrization, bias_init="zero", sigma_b=0.7)
    rng = np.random.default_rng(0)
    walk = scalar.State(net, rng.standard_normal(1))
    for layer in (2, 1):
        before = [float(part[0]) for part in (walk.g, walk.f, walk.b, walk.s)] + [1.0]
        walk.step(np.array([3]), np.array([1.3]), np.array([0.4]))
        after = [float(part[0]) for part in (walk.g, walk.f, walk.b, walk.s)] + [1.0]
        states = monomials(degree, True)
        for mono, image in zip(states, layer_edges(net, layer, degree, True), strict=True):
            expected = np.prod([after[variable] for variable in mono])
            got = sum(
                e.coefficient * 1.3**e.i * 0.4**e.j * np.prod([before[v] for v in states[e.target]]) for e in image
            )
            np.testing.assert_allclose(got, expected, rtol=1e-13)  # a few dozen positive terms
